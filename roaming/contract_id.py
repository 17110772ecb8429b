"""Under which customer contract: the eMAID, with the check digits that keep typing errors out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Self

from roaming.identifier import refused, tidied
from roaming.party import PartyId

_FIELD = "contract_id"
_RULE = (
    "two letters of a country, three letters or digits of the provider, nine of the instance and "
    "its check digit, as FR-XYZ-123456789-2; or DIN SPEC 91286, as NL-TNM-012204-5"
)
_SPELT = re.compile(r"[A-Z]{2}[A-Z0-9]{13}")
_ISO = re.compile(r"([A-Z]{2})[*-]?([A-Z0-9]{3})[*-]?([A-Z0-9]{9})(?:[*-]?([A-Z0-9]))?")
_DIN = re.compile(r"([A-Z]{2})[*-]?([A-Z0-9]{3})[*-]?([A-Z0-9]{6})(?:[*-]?([0-9X]))?")

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class ContractId(str):
    """An e-mobility account identifier (eMAID) of ISO 15118-1: 15 characters, `FRXYZ1234567892`.

    Takes any case, `-` or `*` between the parts or nothing, surrounding blanks. Without its check
    digit (14 characters) it is given one; with a wrong one it is refused. An identifier of DIN SPEC
    91286 (11 or 12 characters) becomes the eMAID with `00`, its instance and its own check digit as
    the instance (OCHP 1.4 "ContractId, Backward Compatibility"): `NL-TNM-012204-5` is
    `NL-TNM-000122045-U`. Raises BadIdentifier.
    """

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        if type(value) is cls:
            return value
        if not isinstance(value, str):
            raise refused(_FIELD, value, _RULE)
        # By far most come in their one spelling, and lists of them by the million.
        if _SPELT.fullmatch(value) is not None and check_digit(value[:14]) == value[14]:
            return str.__new__(cls, value)
        return super().__new__(cls, _normalised(value))

    @property
    def provider(self) -> PartyId:
        return PartyId(self[:5])

    @property
    def check_digit(self) -> str:
        return self[14]

    @property
    def display(self) -> str:
        """`FR-XYZ-123456789-2`"""
        return f"{self[:2]}-{self[2:5]}-{self[5:14]}-{self[14]}"

    @property
    def din(self) -> str | None:
        """`NL-TNM-012204-5` where the identifier may have come from DIN SPEC 91286, else None."""
        if self[5:7] != "00" or din_check_digit(self[:5] + self[7:13]) != self[13]:
            return None
        return f"{self[:2]}-{self[2:5]}-{self[7:13]}-{self[13]}"

    def __repr__(self) -> str:
        return f"ContractId({str(self)!r})"


def check_digit(code: str) -> str:
    """The check digit of an eMAID's first 14 characters, all of A-Z and 0-9 in upper case.

    eMI3 "Check Digit Calculation for Contract-IDs", which ISO 15118-1 takes over: a character is a
    pair of bits and a pair of trits; position n multiplies the first by P1^n modulo 2 and the
    second by P2^n modulo 3, and the digit at position 15 brings both sums to zero.
    """
    a, b, c, d, e, f, g = _PAIRS
    packed = a[code[:2]] + b[code[2:4]] + c[code[4:6]] + d[code[6:8]]
    packed += e[code[8:10]] + f[code[10:12]] + g[code[12:]]
    # Two bits, then two trits.
    number = 18 * (packed & 1) + 9 * (packed >> 8 & 1)
    return _ALPHABET[number + 3 * ((packed >> 16 & 0xFF) % 3) + (packed >> 24) % 3]


def din_check_digit(code: str) -> str:
    """The check digit of the first 11 characters of a DIN SPEC 91286 contract id, X for ten.

    A letter counts as the two digits of its place in the alphabet, A = 10 to Z = 35. The digits are
    weighted by 1, 2, 4, … and their sum is taken modulo 11.
    """
    digits = "".join(str(_ALPHABET.index(character)) for character in code)
    total = sum(int(digit) << place for place, digit in enumerate(digits)) % 11
    return "X" if total == 10 else str(total)


@lru_cache(maxsize=65536)
def _normalised(text: str) -> str:
    tidy = tidied(_FIELD, text, _RULE)
    if shape := _ISO.fullmatch(tidy):
        return _checked(text, shape[1] + shape[2] + shape[3], shape[4])
    if shape := _DIN.fullmatch(tidy):
        own = din_check_digit(shape[1] + shape[2] + shape[3])
        if shape[4] not in (None, own):
            raise refused(_FIELD, text, f"the DIN SPEC 91286 check digit must be {own}")
        return _checked(text, f"{shape[1]}{shape[2]}00{shape[3]}{own}", None)
    raise refused(_FIELD, text, _RULE)


def _checked(text: str, code: str, given: str | None) -> str:
    own = check_digit(code)
    if given not in (None, own):
        raise refused(_FIELD, text, f"the ISO 15118-1 check digit must be {own}")
    return code + own


_Row = tuple[int, int]
_Matrix = tuple[_Row, _Row]
_P1: _Matrix = ((0, 1), (1, 1))
_P2: _Matrix = ((0, 1), (1, 2))


def _times(row: _Row, matrix: _Matrix, modulus: int) -> _Row:
    (a, b), (c, d) = matrix
    return (row[0] * a + row[1] * c) % modulus, (row[0] * b + row[1] * d) % modulus


def _shares(position: int) -> Mapping[str, int]:
    """What each character at `position` (1 to 14) adds to the check digit.

    The two bits and the two trits stand in a byte each, so that one addition of whole numbers adds
    all four; 14 of them cannot overflow a byte. Bringing the sums to zero takes the negative of
    the sum times the inverse of position 15's matrix, and P1^-15 is 1 and P2^-15 is P2.
    """
    shares = {}
    for index, character in enumerate(_ALPHABET):
        bits = (index // 18, index // 9 % 2)
        trits = _times((-(index // 3), -index), _P2, 3)
        for _ in range(position):
            bits = _times(bits, _P1, 2)
            trits = _times(trits, _P2, 3)
        shares[character] = bits[0] | bits[1] << 8 | trits[0] << 16 | trits[1] << 24
    return shares


_SHARES = tuple(_shares(position) for position in range(1, 15))
# Two characters at a time: half the additions.
_PAIRS = tuple(
    {x + y: first[x] + second[y] for x in _ALPHABET for y in _ALPHABET}
    for first, second in zip(_SHARES[::2], _SHARES[1::2], strict=True)
)
