"""Every command that a page names is there, with every option that the page gives it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from gridroam import cli

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("*/README.md")),
]
_COMMAND = re.compile(r"(?:^|`)gridroam ([a-z][^`\n#|]*)", re.MULTILINE)


def commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for told in _COMMAND.findall(re.sub(r"\\\n", " ", page.read_text())):
            yield str(page.relative_to(ROOT)), told.strip()


def known(told: str) -> str | None:
    """What there is not of a command, as a page writes it; None where there is all of it."""
    found: Any = typer.main.get_command(cli.app)
    # What may be left out stands in brackets, and of several one is written with a bar.
    words = shlex.split(re.sub(r"[\[\]]", " ", told).replace("&", " "), comments=True)
    while words and hasattr(found, "commands") and not words[0].startswith("-"):
        name = words.pop(0)
        if name not in found.commands:
            return f"no command {name}"
        found = found.commands[name]
    options = {name for one in found.params for name in one.opts} | {"--help"}
    wrong = [one for one in words if one.startswith("--") and one.partition("=")[0] not in options]
    return f"no option {', '.join(wrong)}" if wrong else None


def test_pages_name_commands_at_all() -> None:
    assert len(list(commands())) > 20


@pytest.mark.parametrize(("page", "told"), sorted(set(commands())))
def test_a_command_on_a_page_is_one_that_there_is(page: str, told: str) -> None:
    assert known(told) is None, page


@pytest.mark.parametrize(
    ("told", "says"),
    [("no-such", "no command no-such"), ("settle --period 2025-01 --soon", "no option --soon")],
)
def test_what_there_is_not_is_found(told: str, says: str) -> None:
    assert known(told) == says
