"""The modules that come with the hub: one file each in `library/`, their texts in plain English.

They are model text, not legal advice.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from marketplace.framework.model import Module

FOLDER = Path(__file__).parent / "library"


@cache
def built_in() -> Sequence[Module]:
    """All of them, in the order of their names; not yet numbered."""
    return tuple(
        Module.parse(tomllib.loads(file.read_text(encoding="utf-8")) | {"name": file.stem})
        for file in sorted(FOLDER.glob("*.toml"))
    )
