"""The base of every expected "no".

A refusal is part of the business, not a bug. It carries no status code: the same refusal is an HTTP
status, a SOAP fault or an OCPP CALLERROR, and the edge that speaks the protocol picks the word.
"""

from __future__ import annotations


class Refusal(Exception):
    """An expected "no". `field` and `value` say what was wrong, `rule` says what would be right."""

    def __init__(
        self,
        detail: str,
        *,
        field: str | None = None,
        value: object = None,
        rule: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.value = value
        self.rule = rule


class Malformed(Refusal):
    """What came does not follow its own rules."""


class Unknown(Refusal):
    """There is no such thing, or none that the caller may know of."""


class NotYours(Refusal):
    """The thing exists, and belongs to another party."""


class Clash(Refusal):
    """What is asked contradicts what is already recorded."""


class TooMuch(Refusal):
    """More than was agreed: a rate, a quota."""


class TooLarge(TooMuch):
    """A body over its limit."""


class Unauthenticated(Refusal):
    """The caller has not shown who it is."""


class Unavailable(Refusal):
    """Not now: something that the answer needs cannot be reached or trusted."""
