"""Which charge point: an EVSE id, kept in the one form that two spellings of it share."""

from __future__ import annotations

import re
from typing import Self

from roaming.identifier import refused, tidied
from roaming.party import PartyId

_FIELD = "evse_id"
_RULE = (
    "two letters of a country, three letters or digits of the operator, E, then 1 to 31 letters or "
    "digits, optionally parted by *; or DIN SPEC 91286, as +49*810*000*438"
)
_CANONICAL = re.compile(r"[A-Z]{2}[A-Z0-9]{3}E[A-Z0-9]{1,31}")
_ISO = re.compile(r"[A-Z]{2}[*-]?[A-Z0-9]{3}[*-]?E[A-Z0-9*-]+")
_DIN = re.compile(r"\+?([0-9]{1,3})\*([0-9]{3})((?:\*?[0-9]){1,31})")

# ITU-T E.164 country codes that belong to one country alone (or, as +44, +39 and +47, to one
# country with charge points and some small dependencies).
_COUNTRY_OF_DIALLING_CODE = {
    "30": "GR",
    "31": "NL",
    "32": "BE",
    "33": "FR",
    "34": "ES",
    "36": "HU",
    "39": "IT",
    "40": "RO",
    "41": "CH",
    "43": "AT",
    "44": "GB",
    "45": "DK",
    "46": "SE",
    "47": "NO",
    "48": "PL",
    "49": "DE",
    "90": "TR",
    "351": "PT",
    "352": "LU",
    "353": "IE",
    "354": "IS",
    "355": "AL",
    "356": "MT",
    "357": "CY",
    "358": "FI",
    "359": "BG",
    "370": "LT",
    "371": "LV",
    "372": "EE",
    "373": "MD",
    "376": "AD",
    "377": "MC",
    "378": "SM",
    "380": "UA",
    "381": "RS",
    "382": "ME",
    "383": "XK",
    "385": "HR",
    "386": "SI",
    "387": "BA",
    "389": "MK",
    "420": "CZ",
    "421": "SK",
    "423": "LI",
}


class EvseId(str):
    """An EVSE id without separators and in upper case, as `FRPD1ECORGL1`.

    Separators carry no meaning (ISO 15118-2 annex H: "optional separator"), so ids that differ only
    in them, in case or in surrounding blanks are the same id. Both `*` and `-` are taken. Ids of
    DIN SPEC 91286 are turned into their ISO form as OCHP 1.4 "EvseId, Backward Compatibility" says:
    `+49*823*1234*5678` is `DE*823*E1234*5678`. Raises BadIdentifier; a station or pool id (id type
    `P`, `S` or `L`) is not an EVSE id.
    """

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        if type(value) is cls:
            return value
        if isinstance(value, str) and _CANONICAL.fullmatch(value):
            return super().__new__(cls, value)
        return super().__new__(cls, _normalised(value))

    @property
    def party(self) -> PartyId:
        """The operator named in the id. Who operates it today is for the master data to say."""
        return PartyId(self[:5])

    @property
    def display(self) -> str:
        """`FR*PD1*ECORGL1`"""
        return f"{self[:2]}*{self[2:5]}*{self[5:]}"

    def __repr__(self) -> str:
        return f"EvseId({str(self)!r})"


def _normalised(value: object) -> str:
    text = tidied(_FIELD, value, _RULE)
    if _ISO.fullmatch(text):
        text = text.replace("*", "").replace("-", "")
        if _CANONICAL.fullmatch(text):
            return text
    din = _DIN.fullmatch(text)
    if din is None:
        raise refused(_FIELD, value, _RULE)
    country = _COUNTRY_OF_DIALLING_CODE.get(din[1])
    if country is None:
        raise refused(_FIELD, value, f"the dialling code {din[1]} must name a country we can map")
    return f"{country}{din[2]}E{din[3].replace('*', '')}"
