"""Signed meter values in the Open Charge Metering Format (OCMF), and whose signature they bear.

A key that comes along with what it has signed proves nothing of the meter: anybody can make one.
Only the keys that an operator has registered for an EVSE make its values verified. The facts of the
format are those of S.A.F.E. e.V., OCMF 1.4 (github.com/SAFE-eV/OCMF-Open-Charge-Metering-Format).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from itertools import chain
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from roaming.refusal import Malformed, Unknown
from roaming.rounding import half_up

MOST_KEYS = 10
MOST_SIGNED_VALUES = 100
"""In one record: begin and end are two, and each costs a signature to check."""
MOST_TEXT_BYTES = 64 * 1024


class BadMeterKey(Malformed):
    """No public key of a kind that meters sign with."""


class UnknownMeterKey(Unknown):
    """No keys are registered for this EVSE."""


class Outcome(StrEnum):
    """In the order of what weighs more where the values of one record differ."""

    INVALID = "invalid"
    UNSUPPORTED = "unsupported-format"
    KEY_UNREGISTERED = "key-unregistered"
    VERIFIED = "verified"


_WEIGHT = {outcome: weight for weight, outcome in enumerate(Outcome)}


@dataclass(frozen=True, slots=True)
class Check:
    """What came of a record's signed values.

    `signed_wh` is the energy between the signed begin and end, where a sound signature vouches for
    both; `begin` and `end` are their times, where the meter's clock was synchronised.
    """

    outcome: Outcome
    says: str
    signed_wh: int | None = None
    begin: datetime | None = None
    end: datetime | None = None

    @property
    def sound(self) -> bool:
        return self.outcome in (Outcome.VERIFIED, Outcome.KEY_UNREGISTERED)


class Unreadable(Exception):
    """Not a text of the format, or of a kind that is not verified here."""


# OCMF 1.4, table 22. OpenSSL has no secp192k1.
_CURVES = {
    "secp256k1": "secp256k1",
    "secp192r1": "secp192r1",
    "secp256r1": "secp256r1",
    "brainpool256r1": "brainpoolP256r1",
    "secp384r1": "secp384r1",
    "brainpool384r1": "brainpoolP384r1",
}
_METHOD = re.compile(r"ECDSA-([a-z0-9]+)-SHA256")
_DEFAULT_METHOD = "ECDSA-secp256r1-SHA256"


@lru_cache(maxsize=4096)
def public_key(told: str) -> ec.EllipticCurvePublicKey:
    """A key as operators write it: SubjectPublicKeyInfo, DER in hex or base64, or PEM."""
    try:
        if told.lstrip().startswith("-----BEGIN"):
            key = serialization.load_pem_public_key(told.encode())
        else:
            key = serialization.load_der_public_key(_bytes_of(told))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _bad_key(told, str(error)) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES.values():
        raise _bad_key(told, "not on a curve of the format")
    return key


def _bad_key(told: str, why: str) -> BadMeterKey:
    return BadMeterKey(
        f"no public key: {why}",
        field="public_keys",
        value=told[:200],
        rule="SubjectPublicKeyInfo, DER in hex or base64, or PEM; on a curve of OCMF 1.4",
    )


def spelt(key: ec.EllipticCurvePublicKey) -> str:
    """A key's one spelling in this house: DER in lower-case hex."""
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return der.hex()


def keys_of(told: Sequence[str]) -> tuple[str, ...]:
    """Keys to register, each once. Raises BadMeterKey."""
    if len(told) > MOST_KEYS:
        raise BadMeterKey(
            f"{len(told)} keys for one EVSE",
            field="public_keys",
            value=len(told),
            rule=f"at most {MOST_KEYS}",
        )
    return tuple(dict.fromkeys(spelt(public_key(one)) for one in told))


def _bytes_of(told: str) -> bytes:
    """Hex or base64, whichever it is."""
    bare = "".join(told.split())
    try:
        return bytes.fromhex(bare)
    except ValueError:
        return base64.b64decode(bare, validate=True)


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading, with what it inherits from the one before it written out."""

    register: str
    reason: str
    energy_wh: Fraction | None
    at: datetime | None
    usable: bool


@dataclass(frozen=True, slots=True)
class Ocmf:
    """A text of the format, taken apart."""

    payload: str
    curve: str
    signature: bytes
    readings: tuple[Reading, ...]

    def signed_by(self, key: ec.EllipticCurvePublicKey) -> bool:
        if key.curve.name != self.curve:
            return False
        try:
            key.verify(self.signature, self.payload.encode(), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


def read(text: str) -> Ocmf:
    """Take a text apart: `OCMF|payload|signature`, or base64 of it. Raises Unreadable.

    The payload is kept letter by letter, since that is what was signed.
    """
    if len(text) > MOST_TEXT_BYTES:
        raise Unreadable(f"more than {MOST_TEXT_BYTES} characters")
    if not text.lstrip().startswith("OCMF|"):
        try:
            text = base64.b64decode("".join(text.split()), validate=True).decode()
        except ValueError:
            raise Unreadable("neither OCMF nor base64 of it") from None
    # Some append the key as a fourth section; it proves as little there as anywhere else.
    header, *sections = text.strip().split("|")
    if header != "OCMF" or len(sections) not in (2, 3):
        raise Unreadable("not of the form OCMF|payload|signature")
    payload, signature = _object(sections[0]), _object(sections[1])
    method = signature.get("SA", _DEFAULT_METHOD)
    named = _METHOD.fullmatch(method) if isinstance(method, str) else None
    if named is None or named[1] not in _CURVES:
        raise Unreadable(f"signature method {str(method)[:60]} is not verified here")
    return Ocmf(
        payload=sections[0],
        curve=_CURVES[named[1]],
        signature=_signature(signature),
        readings=tuple(_readings(payload.get("RD"))),
    )


def _object(section: str) -> Mapping[str, Any]:
    try:
        # Numbers as they are written: 2935.600 has three places.
        found = json.loads(
            section, parse_float=Decimal, parse_int=Decimal, parse_constant=_no_number
        )
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"a section is not JSON: {str(error)[:100]}") from None
    if not isinstance(found, dict):
        raise Unreadable("a section is not a JSON object")
    return found


def _no_number(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _signature(section: Mapping[str, Any]) -> bytes:
    data, encoding = section.get("SD"), section.get("SE", "hex")
    if not isinstance(data, str) or encoding not in ("hex", "base64"):
        raise Unreadable("no signature data in hex or base64")
    try:
        if encoding == "base64":
            return base64.b64decode(data, validate=True)
        return bytes.fromhex(data)
    except (ValueError, binascii.Error):
        raise Unreadable(f"the signature data is not {encoding}") from None


def _readings(told: Any) -> Iterable[Reading]:
    """Each with what it leaves out because the reading before it says the same."""
    if not isinstance(told, list):
        return
    kept: dict[str, Any] = {}
    for one in told[: MOST_SIGNED_VALUES * 10]:
        if not isinstance(one, dict):
            raise Unreadable("a reading is not a JSON object")
        kept = {**kept, **one}
        yield Reading(
            register=str(kept.get("RI", "")),
            reason=str(kept.get("TX", "")),
            energy_wh=_energy(one.get("RV"), kept.get("RU")),
            at=_time(kept.get("TM")),
            usable=kept.get("ST", "G") == "G" and "E" not in str(kept.get("EF", "")),
        )


def _energy(value: Any, unit: Any) -> Fraction | None:
    factor = {"kWh": 1000, "Wh": 1}.get(unit) if isinstance(unit, str) else None
    if factor is None or not isinstance(value, Decimal):
        return None
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or not -12 <= exponent <= 12 or abs(value) >= 10**12:
        return None
    return Fraction(value) * factor


def _time(told: Any) -> datetime | None:
    """The time of a reading whose clock was synchronised (S); other clocks tell nothing sure."""
    text, _, state = told.partition(" ") if isinstance(told, str) else ("", "", "")
    if state != "S":
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


# OCMF 1.4, table 25, and IEC 62056-6-1: imports only; the vehicle's side of the cable before the
# mains' side, since it is the energy that is sold.
_REGISTERS = ("B3", "B1", "B2", "B0", "1")
_OBIS = re.compile(
    r"(?:[0-9A-Fa-f]{1,2}-[0-9A-Za-z]{1,2}:)?0*([0-9A-Fa-f]{1,2})\.0*8\.[0-9A-Za-z]+.*"
)
_BEGIN, _END = frozenset("B"), frozenset("ELRAP")


def _rank(register: str) -> int | None:
    shape = _OBIS.fullmatch(register)
    if shape is None:
        # Not an OBIS code: whatever it counts, it is the only thing that the meter tells.
        return len(_REGISTERS)
    code = shape[1].upper()
    return _REGISTERS.index(code) if code in _REGISTERS else None


def _transaction(readings: Sequence[Reading]) -> tuple[Reading, Reading] | None:
    """The begin and end of a charge, on the register that says best what was sold."""
    ranks = {one.register: _rank(one.register) for one in readings}
    for register in sorted((r for r in ranks if ranks[r] is not None), key=lambda r: ranks[r] or 0):
        own = [one for one in readings if one.register == register and one.energy_wh is not None]
        if any(one.reason == "X" or not one.usable for one in own):
            continue
        begins = [one for one in own if one.reason in _BEGIN]
        ends = [one for one in own if one.reason in _END]
        if len(begins) == 1 and len(ends) == 1:
            return begins[0], ends[0]
    return None


def check(entries: Sequence[Any], registered: Sequence[str]) -> Check | None:
    """Hold a record's signed values (of OCPI's shape) against the keys registered for its EVSE.

    None where it brings none.
    """
    if not entries:
        return None
    found: list[tuple[Outcome, str, Ocmf | None]] = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("signed_values"), list):
            return Check(Outcome.UNSUPPORTED, "not of OCPI's shape: no list of signed_values")
        if str(entry.get("encoding_method", "")).upper() != "OCMF":
            method = str(entry.get("encoding_method"))[:36]
            return Check(Outcome.UNSUPPORTED, f"encoding method {method} is not verified here")
        if len(found) + len(entry["signed_values"]) > MOST_SIGNED_VALUES:
            return Check(Outcome.UNSUPPORTED, f"more than {MOST_SIGNED_VALUES} signed values")
        for value in entry["signed_values"]:
            found.append(_check_value(value, entry.get("public_key"), registered))
    if not found:
        return Check(Outcome.UNSUPPORTED, "no signed value")
    outcome, says, _ = min(found, key=lambda one: _WEIGHT[one[0]])
    if outcome not in (Outcome.VERIFIED, Outcome.KEY_UNREGISTERED):
        return Check(outcome, says)
    both = _transaction(list(chain(*(one.readings for _, _, one in found if one is not None))))
    if both is None:
        return Check(outcome, f"{says}; no begin and end of one register")
    begin, end = both
    assert begin.energy_wh is not None
    assert end.energy_wh is not None
    return Check(outcome, says, half_up(end.energy_wh - begin.energy_wh), begin.at, end.at)


def _check_value(
    value: Any, told_key: Any, registered: Sequence[str]
) -> tuple[Outcome, str, Ocmf | None]:
    text = value.get("signed_data") if isinstance(value, dict) else None
    if not isinstance(text, str):
        return Outcome.UNSUPPORTED, "a signed value without signed_data", None
    try:
        ocmf = read(text)
    except Unreadable as error:
        return Outcome.UNSUPPORTED, str(error), None
    if any(ocmf.signed_by(public_key(key)) for key in registered):
        return Outcome.VERIFIED, "signed by a key that the operator registered", ocmf
    if isinstance(told_key, str) and told_key:
        try:
            if ocmf.signed_by(public_key(told_key)):
                says = "signed by the key that came along, which is not registered for this EVSE"
                return Outcome.KEY_UNREGISTERED, says, ocmf
        except BadMeterKey:
            return Outcome.UNSUPPORTED, "the key that came along cannot be read", None
    elif not registered:
        return Outcome.KEY_UNREGISTERED, "no key is registered for this EVSE, nor came along", None
    return Outcome.INVALID, "no key that is known made this signature", None
