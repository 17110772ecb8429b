"""Who takes part: two letters of a country and three characters given out there, as `FR*PD1`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Self

from roaming.identifier import refused, tidied

_FIELD = "party"
_RULE = "two letters of a country and three letters or digits, as FR*PD1, FR-PD1 or FRPD1"
_SHAPE = re.compile(r"([A-Z]{2})[*-]?([A-Z0-9]{3})")


class PartyId(str):
    """An operator, a provider or the hub itself, in the canonical form `FR*PD1`.

    Takes any case and either separator or none; raises BadIdentifier. The country is held to its
    shape alone, not to a list: hubs go by codes such as `EU`, which ISO 3166-1 only reserves.
    (eMI3 part 2 "Business objects"; ISO 15118-2 annex H; OCPI 2.2.1 terminology.)
    """

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        if type(value) is cls:
            return value
        if not isinstance(value, str):
            raise refused(_FIELD, value, _RULE)
        return super().__new__(cls, _canonical(value))

    @property
    def country(self) -> str:
        return self[:2]

    @property
    def code(self) -> str:
        return self[3:]

    @property
    def compact(self) -> str:
        """`FRPD1`"""
        return self[:2] + self[3:]

    @property
    def dashed(self) -> str:
        """`FR-PD1`, the form for addresses, where `*` reads badly."""
        return f"{self[:2]}-{self[3:]}"

    def __repr__(self) -> str:
        return f"PartyId({str(self)!r})"


@lru_cache(maxsize=4096)
def _canonical(text: str) -> str:
    shape = _SHAPE.fullmatch(tidied(_FIELD, text, _RULE))
    if shape is None:
        raise refused(_FIELD, text, _RULE)
    return f"{shape[1]}*{shape[2]}"
