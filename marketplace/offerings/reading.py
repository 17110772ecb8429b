"""How terms are read: what is wrong with them is named by its path."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from roaming.refusal import Malformed


class BadTerms(Malformed):
    """Terms that break a rule; `field` is the path of what is wrong."""


def bad(field: str, value: object, rule: str) -> BadTerms:
    shown = None if value is None else str(value)[:100]
    return BadTerms(f"{field}: {rule}", field=field, value=shown, rule=rule)


def only(raw: Mapping[str, Any], path: str, known: Collection[str]) -> None:
    for key in raw:
        if key not in known:
            # Terms bind: a word that is not understood must not seem to be agreed.
            raise bad(f"{path}.{key[:100]}", None, f"one of: {', '.join(known)}")


def whole(
    raw: Mapping[str, Any], key: str, least: int, most: int, default: int, *, path: str = "terms"
) -> int:
    value = raw.get(key, default)
    if type(value) is not int or not least <= value <= most:
        raise bad(f"{path}.{key}", value, f"a whole number from {least} to {most}")
    return value


def text(raw: object, field: str) -> str:
    if not isinstance(raw, str):
        raise bad(field, raw, "a text")
    return raw


def time_zone(raw: object, field: str) -> str:
    name = text(raw, field)
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise bad(field, raw, "an IANA time zone, as Europe/Paris") from None
    return name
