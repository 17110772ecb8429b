"""What the identifiers have in common: how they are tidied, and how a bad one is refused."""

from __future__ import annotations

from roaming.refusal import Malformed

_SHOWN = 60


class BadIdentifier(Malformed):
    """An identifier that breaks its own rules; says which field, which value, which rule."""


def refused(field: str, value: object, rule: str) -> BadIdentifier:
    """The refusal of `value`, to be raised by the caller. A very long value is told in part."""
    shown = value
    if isinstance(value, str):
        shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}… ({len(value)} characters)"
    elif value is not None:
        shown = type(value).__name__
    return BadIdentifier(f"{field} {shown!r}: {rule}", field=field, value=shown, rule=rule)


def tidied(field: str, value: object, rule: str) -> str:
    """`value` without surrounding blanks, in upper case; BadIdentifier if it is not ASCII text.

    Only ASCII is put into upper case, since beyond it two different letters may share one upper
    case (the dotless i and i do), and one identifier would pass for another.
    """
    if not isinstance(value, str) or not value.isascii():
        raise refused(field, value, rule)
    return value.strip(" \t\r\n").upper()
