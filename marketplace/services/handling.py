"""How the gateway is to carry a service's calls: its provider says so, and may say otherwise later.

Read from JSON and written back in one form. What is not told is as it always was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from roaming.header_names import may_be_passed_on
from roaming.refusal import Malformed

LONGEST_TIMEOUT_S = 120.0
USUAL_TIMEOUT_S = 30.0
MOST_OPERATIONS = 500
LONGEST_EXPRESSION = 4_000
LONGEST_HEALTH_PATH = 200
MOST_HEADERS = 20
# What every server reads the same way (RFC 3986, section 3.3): no query, and no way up or out.
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)+/?")


class BadHandling(Malformed):
    """Handling that breaks a rule; `field` is the path of what is wrong."""


class Mode(StrEnum):
    """How the contract of a call is minded: not at all, by noting what would be refused, or so
    that nothing passes without one.
    """

    OFF = "off"
    SHADOW = "shadow"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True)
class ContentMap:
    """JMESPath expressions: what the provider is asked, from what the caller asked, and what the
    caller is answered, from what the provider answered. None: as it came.
    """

    request: str | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Handling:
    """`timeouts_s` and `maps` go by the operation's name, or `METHOD /path` where it has none.

    `health_path`: below each endpoint, where it says whether it is well. None: it is not asked.
    `headers`: further ones that are passed on, of what is asked and of what is answered.
    """

    mode: Mode = Mode.ENFORCE
    timeout_s: float = USUAL_TIMEOUT_S
    timeouts_s: Mapping[str, float] = field(default_factory=dict)
    maps: Mapping[str, ContentMap] = field(default_factory=dict)
    health_path: str | None = None
    headers: tuple[str, ...] = ()

    @classmethod
    def parse(cls, raw: object) -> Handling:
        """From JSON; BadHandling names the path of what is wrong."""
        told = _object(raw, "handling")
        unknown = told.keys() - set(_MEMBERS)
        if unknown:
            raise _bad(f"handling.{min(unknown)}", None, ", ".join(_MEMBERS))
        mode = told.get("mode", Mode.ENFORCE.value)
        if mode not in list(Mode):
            raise _bad("handling.mode", mode, ", ".join(Mode))
        timeouts_s = _by_operation(told, "timeouts_s")
        return cls(
            mode=Mode(mode),
            timeout_s=_seconds(told.get("timeout_s", USUAL_TIMEOUT_S), "handling.timeout_s"),
            timeouts_s={
                name: _seconds(value, f"handling.timeouts_s.{name}")
                for name, value in timeouts_s.items()
            },
            maps={
                name: _map(value, f"handling.maps.{name}")
                for name, value in _by_operation(told, "maps").items()
            },
            health_path=_path(told.get("health_path"), "handling.health_path"),
            headers=_headers(told.get("headers", []), "handling.headers"),
        )

    def to_json(self) -> dict[str, Any]:
        """Only what differs from the usual."""
        told: dict[str, Any] = {}
        if self.mode is not Mode.ENFORCE:
            told["mode"] = self.mode.value
        if self.timeout_s != USUAL_TIMEOUT_S:
            told["timeout_s"] = self.timeout_s
        if self.timeouts_s:
            told["timeouts_s"] = dict(self.timeouts_s)
        if self.maps:
            told["maps"] = {
                name: {"request": one.request, "answer": one.answer}
                for name, one in self.maps.items()
            }
        if self.health_path is not None:
            told["health_path"] = self.health_path
        if self.headers:
            told["headers"] = list(self.headers)
        return told


_MEMBERS = ("mode", "timeout_s", "timeouts_s", "maps", "health_path", "headers")
USUAL = Handling()


def _by_operation(told: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = _object(told.get(key, {}), f"handling.{key}")
    if len(found) > MOST_OPERATIONS:
        raise _bad(f"handling.{key}", len(found), f"at most {MOST_OPERATIONS} operations")
    return found


def _map(raw: object, path: str) -> ContentMap:
    told = _object(raw, path)
    unknown = told.keys() - {"request", "answer"}
    if unknown:
        raise _bad(f"{path}.{min(unknown)}", None, "request, answer")
    return ContentMap(*(_expression(told.get(key), f"{path}.{key}") for key in _SIDES))


_SIDES = ("request", "answer")


def _expression(raw: object, path: str) -> str | None:
    if raw is None:
        return None
    if not isinstance(raw, str) or not 0 < len(raw) <= LONGEST_EXPRESSION or "\x00" in raw:
        raise _bad(path, raw, f"a JMESPath expression of at most {LONGEST_EXPRESSION} characters")
    return raw


def _path(raw: object, path: str) -> str | None:
    if raw is None:
        return None
    if (
        not isinstance(raw, str)
        or len(raw) > LONGEST_HEALTH_PATH
        or _PATH.fullmatch(raw) is None
        or "%2e" in raw.lower()
    ):
        raise _bad(path, raw, f"a path as /health, of at most {LONGEST_HEALTH_PATH} characters")
    return raw


def _headers(raw: object, path: str) -> tuple[str, ...]:
    if not isinstance(raw, list) or len(raw) > MOST_HEADERS:
        raise _bad(path, raw, f"a list of at most {MOST_HEADERS} names of headers")
    known: set[str] = set()
    for n, name in enumerate(raw):
        if not isinstance(name, str) or not may_be_passed_on(name):
            rule = "a header's name, and none that tells who calls or belongs to one connection"
            raise _bad(f"{path}.{n}", name, rule)
        if name.lower() in known:
            raise _bad(f"{path}.{n}", name, "each name once")
        known.add(name.lower())
    return tuple(raw)


def _seconds(raw: object, path: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise _bad(path, raw, "a number of seconds")
    if not 0.05 <= raw <= LONGEST_TIMEOUT_S:
        raise _bad(path, raw, f"0.05 to {LONGEST_TIMEOUT_S:g} seconds")
    return float(raw)


def _object(raw: object, path: str) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise _bad(path, raw, "an object")
    for key in raw:
        if not isinstance(key, str) or not 0 < len(key) <= 300 or not key.isprintable():
            raise _bad(path, key, "names of 1 to 300 printable characters")
    return raw


def _bad(path: str, value: object, rule: str) -> BadHandling:
    shown = None if value is None else str(value)[:100]
    return BadHandling("this cannot be how a service is called", field=path, value=shown, rule=rule)
