"""Paper: a template and its data become a PDF that lasts (PDF/A-3), the same bytes every time.

Law: data is never spliced into a template. It is handed over as JSON and set as text, so a name
that looks like a command is printed as it is written.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, time
from datetime import date as Day
from pathlib import Path
from typing import Any, Final, Literal

import typst

from kit.encoding import encode_json

STANDARD: Final = "a-3b"
DOTS_PER_INCH = 100
STAND_IN = "?"
"""Stands on paper for a character that none of the fonts has; the data keep the character."""

_UNPRINTABLE = {"Cc", "Cs", "Co", "Cn"}
_LAST_OF_LATIN = "\u024f"
_MOST_ATTEMPTS = 8
_NOT_IN_FONT = re.compile(r'the text `"(.+?)"` could not be displayed', re.DOTALL)


class Printer:
    """One compiler with its fonts, which is most of the work of the first page; kept for all.

    `root`: the folder that templates are in, and that they may read. Only the fonts that come with
    the compiler are used: those of a machine would make other pages on another one.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._compiler = typst.Compiler(
            root=str(root), font_paths=typst.Fonts(include_system_fonts=False)
        )
        # The compiler keeps its last input; threads must not exchange them.
        self._lock = threading.Lock()

    def pdf(
        self, template: str, data: Mapping[str, Any], *, day: Day, attached: str | None = None
    ) -> bytes:
        """A document as PDF/A-3, dated `day`. The template finds `attached` in `sys.inputs`."""
        return self._compile("pdf", template, data, day, attached)[0]

    def png(self, template: str, data: Mapping[str, Any], *, day: Day) -> list[bytes]:
        """The pages of it as pictures."""
        return self._compile("png", template, data, day, None)

    def _compile(
        self,
        form: Literal["pdf", "png"],
        template: str,
        data: Mapping[str, Any],
        day: Day,
        attached: str | None,
    ) -> list[bytes]:
        told = encode_json(_printable(data)).decode()
        for attempt in range(_MOST_ATTEMPTS):
            inputs = {"data": told, "day": day.isoformat(), "attached": attached or ""}
            try:
                with self._lock:
                    made = self._compiler.compile(
                        input=str(self._root / template),
                        format=form,
                        ppi=DOTS_PER_INCH if form == "png" else None,
                        sys_inputs=inputs,
                        pdf_standards=STANDARD if form == "pdf" else None,
                        pdf_tags=False,
                        timestamp=datetime.combine(day, time.min, tzinfo=UTC),
                    )
            except typst.TypstError as error:
                missing = _NOT_IN_FONT.search(str(error))
                if missing is None:
                    raise
                last = attempt == _MOST_ATTEMPTS - 2
                told = _without(told, None if last else missing[1])
                continue
            assert made is not None
            return made if isinstance(made, list) else [made]
        raise AssertionError("a page of Latin letters can be printed")


def _printable(value: Any) -> Any:
    """The same data without what no font has: control characters, halves of characters."""
    if isinstance(value, Mapping):
        return {key: _printable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(one) for one in value]
    if not isinstance(value, str) or (value.isascii() and value.isprintable()):
        return value
    return "".join(
        STAND_IN if unicodedata.category(letter) in _UNPRINTABLE and letter != "\n" else letter
        for letter in value
    )


def _without(told: str, missing: str | None) -> str:
    """Put the stand-in for the letters of `missing`; None: for all that are not Latin."""
    if missing is None:
        return "".join(letter if letter <= _LAST_OF_LATIN else STAND_IN for letter in told)
    letters = {letter for letter in missing if letter > "\x7f"}
    return "".join(STAND_IN if letter in letters else letter for letter in told)
