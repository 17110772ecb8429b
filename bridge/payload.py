"""What a message says, without its wire: JSON's own values, and decimals that stay exact.

A payload is a `dict`, `list`, `str`, `bool`, `int`, `Decimal`, `float` or None. A number with a
fraction is read as a `Decimal` and written digit by digit, so that 19.90 arrives as 19.90.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Self

import msgspec

from roaming.refusal import Malformed, Unavailable, Unknown

_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class BadPayload(Malformed):
    """A payload that the interface does not allow; `field` is a JSON path as $.cdrs[0].id."""

    def __init__(self, detail: str, *, value: object, rule: str, path: str = "") -> None:
        super().__init__(detail, field="$" + path, value=_shortly(value), rule=rule)

    def below(self, step: str | int) -> Self:
        """The same, seen from one level further up."""
        named = f"[{step}]" if isinstance(step, int) else f".{step}"
        self.field = f"${named}{(self.field or '$')[1:]}"
        return self


class BadAnswer(Unavailable):
    """The provider answered something else than its own interface document says."""


class UnknownOperation(Unknown):
    """The interface has no operation of this name."""


def _shortly(value: object) -> object:
    if isinstance(value, str):
        return value if len(value) <= 100 else value[:97] + "..."
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, Sequence):
        return "an array"
    return value


def read_json(content: bytes) -> object:
    """Raises BadPayload."""
    try:
        return _DECODER.decode(content)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadPayload(f"no JSON: {error}", value=None, rule="JSON in UTF-8") from None


def write_json(payload: object) -> bytes:
    return _ENCODER.encode(payload)
