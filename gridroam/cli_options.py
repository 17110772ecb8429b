"""What the commands share: where the hub is, and how they print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gridroam import exits
from kit.encoding import encode_json

DEFAULT_HOME = Path("~/.local/share/gridroam")

HomeFolder = Annotated[
    Path, typer.Option("--home", help="The hub's home folder.", envvar="GRIDROAM_HOME")
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        help="A PostgreSQL to use instead of the embedded one.",
        envvar="GRIDROAM_DATABASE_URL",
    ),
]


def print_json(value: Any) -> None:
    try:
        sys.stdout.write(encode_json(value).decode() + "\n")
    except BrokenPipeError:
        exits.write_no_more()
        raise typer.Exit(0) from None
