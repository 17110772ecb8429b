"""Names that XML can carry. What is no NCName is spelled so that it can be read back."""

from __future__ import annotations

import re
from collections.abc import Container

_START = r"A-Z_a-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c\u200d"
_START += r"\u2070-\u218f\u2c00-\u2fef\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\U00010000-\U000effff"
_NC_NAME = re.compile(rf"[{_START}][-.0-9\u00b7\u0300-\u036f\u203f\u2040{_START}]*\Z")
_NO_START = re.compile(rf"[^{_START}]")
_NO_PART = re.compile(rf"[^-.0-9\u00b7\u0300-\u036f\u203f\u2040{_START}]")
_SPELLED = re.compile(r"_x([0-9A-F]{4,6})_")
# What a name may not hold in XML 1.0, nor any text.
_NO_TEXT = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def is_name(text: str) -> bool:
    return _NC_NAME.match(text) is not None


def xml_name(text: str) -> str:
    """An NCName for any text but the empty one: `_x0024_ref` for `$ref`. No two share one."""
    if is_name(text) and not _SPELLED.search(text):
        return text
    kept = _SPELLED.sub(r"_x005F_x\1_", text)
    kept = _NO_PART.sub(_spelled, kept)
    return _spelled(kept[0]) + kept[1:] if _NO_START.match(kept) else kept or "_"


def _spelled(found: re.Match[str] | str) -> str:
    return f"_x{ord(found if isinstance(found, str) else found[0]):04X}_"


def plain_name(text: str) -> str:
    """An NCName to read, for what is never read back: what does not fit becomes `_`."""
    kept = re.sub(r"__+", "_", _NO_PART.sub("_", text)).strip("_") or "_"
    return "_" + kept if _NO_START.match(kept) else kept


def distinct(name: str, taken: Container[str]) -> str:
    """The name, with a number if others have it."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found


def clean(text: str) -> str:
    """Text without what XML cannot carry."""
    return _NO_TEXT.sub("\ufffd", text)
