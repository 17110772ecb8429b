"""A charge point: its connectors and EVSEs, its password, and what its status means to drivers."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from roaming.evse_id import EvseId
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed, Unauthenticated, Unknown

STATIONS_AT_ONCE = 5_000
CONNECTORS_MOST = 99
PASSWORD_SHORTEST, PASSWORD_LONGEST = 16, 40
# A process tells every minute which sockets it holds; one that died tells nothing any more.
LEASE_RENEWED_S = 60.0
LEASE = timedelta(seconds=150)
_SALT_BYTES = 16
_CHARGE_POINT = re.compile(r"[A-Za-z0-9*_=+|@.-](?:[A-Za-z0-9*_=+|@. -]{0,46}[A-Za-z0-9*_=+|@.-])?")
_CHARGE_POINT_RULE = (
    "1 to 48 letters, digits, blanks and * - _ = + | @ . (no colon: HTTP Basic ends the name there)"
)


class BadStation(Malformed):
    """An enrolment that breaks a rule of its own."""


class EvseTaken(Clash):
    """The EVSE belongs to another charge point of the operator already."""


class UnknownStation(Unknown):
    """The operator has enrolled no such charge point."""


class WrongPassword(Unauthenticated):
    """Whoever calls itself this charge point does not know its password."""


@dataclass(frozen=True, slots=True)
class StationRef:
    """Which charge point: its identity is unique within its operator."""

    operator: PartyId
    charge_point: str

    @property
    def stream(self) -> str:
        """Its stream in the log."""
        return f"station:{self.operator}:{self.charge_point}"


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """SHA-256 with a salt of its own, compared in constant time.

    Our passwords have 120 random bits (given ones must be long): nobody tries them all, and a slow
    hash would only slow us, when ten thousand stations come back at once after a power cut.
    """

    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, password: str) -> PasswordHash:
        salt = secrets.token_bytes(_SALT_BYTES)
        return cls(salt, _digest(salt, password.encode()))

    def matches(self, password: bytes) -> bool:
        return hmac.compare_digest(self.digest, _digest(self.salt, password))


def _digest(salt: bytes, password: bytes) -> bytes:
    return hashlib.sha256(salt + password).digest()


def new_password() -> str:
    """20 characters, the longest that OCPP 1.6 security profile 1 can set, with 120 random bits."""
    return secrets.token_urlsafe(15)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A charge point as its operator wants it. `connectors`: EVSE by connector number."""

    charge_point: str
    connectors: Mapping[int, EvseId]
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What became of it; `password` is told this once, and only where we made it."""

    charge_point: str
    created: bool
    changed: bool
    password: str | None = field(default=None, repr=False)


def enrolment(charge_point: str, connectors: Mapping[str, str], password: str | None) -> Enrolment:
    """An enrolment held to its rules. Raises BadStation, BadIdentifier."""
    if _CHARGE_POINT.fullmatch(charge_point) is None:
        raise BadStation(
            "no identity of a charge point",
            field="charge_point",
            value=charge_point[:60],
            rule=_CHARGE_POINT_RULE,
        )
    if not 0 < len(connectors) <= CONNECTORS_MOST:
        raise _bad(charge_point, "connectors", len(connectors), f"1 to {CONNECTORS_MOST} of them")
    if password is not None:
        _hold_to_rules(charge_point, password)
    return Enrolment(
        charge_point,
        {_number(charge_point, number): EvseId(evse) for number, evse in connectors.items()},
        password,
    )


def _number(charge_point: str, said: str) -> int:
    if not (said.isascii() and said.isdigit() and said[0] != "0" and int(said) <= CONNECTORS_MOST):
        raise _bad(charge_point, "connectors", said[:20], f"numbered 1 to {CONNECTORS_MOST}")
    return int(said)


def _hold_to_rules(charge_point: str, password: str) -> None:
    length = len(password)
    if not PASSWORD_SHORTEST <= length <= PASSWORD_LONGEST:
        rule = f"{PASSWORD_SHORTEST} to {PASSWORD_LONGEST} characters"
        raise _bad(charge_point, "password", f"{length} characters", rule)
    if not (password.isascii() and password.isprintable()):
        raise _bad(charge_point, "password", f"{length} characters", "printable ASCII")


def _bad(charge_point: str, name: str, value: object, rule: str) -> BadStation:
    return BadStation(
        f"charge point {charge_point}: {name} {value!r}: {rule}", field=name, value=value, rule=rule
    )


def without_doubles(asked: Sequence[Enrolment]) -> None:
    """One call names a charge point once, and an EVSE at one charge point. BadStation."""
    names: set[str] = set()
    homes: dict[EvseId, str] = {}
    for one in asked:
        if one.charge_point in names:
            raise _bad(one.charge_point, "charge_point", one.charge_point, "once in a call")
        names.add(one.charge_point)
        for evse_id in one.connectors.values():
            other = homes.setdefault(evse_id, one.charge_point)
            if other != one.charge_point:
                rule = f"at one charge point, not at {other} as well"
                raise _bad(one.charge_point, "connectors", evse_id.display, rule)


# OCPP 1.6 section 7.7 (ChargePointStatus) in the words of OCPI 2.2.1 (mod_locations, Status). A
# connector in use is CHARGING to a driver who looks for a free one, whether or not current flows.
_OCPI_STATUS = {
    "Available": "AVAILABLE",
    "Preparing": "CHARGING",
    "Charging": "CHARGING",
    "SuspendedEV": "CHARGING",
    "SuspendedEVSE": "CHARGING",
    "Finishing": "CHARGING",
    "Reserved": "RESERVED",
    "Unavailable": "INOPERATIVE",
    "Faulted": "OUTOFORDER",
}
# An EVSE with two connectors serves one car at a time: what its busiest connector says, holds.
_STRONGEST_FIRST = ("CHARGING", "RESERVED", "AVAILABLE", "INOPERATIVE", "OUTOFORDER")


def ocpi_status(status: str) -> str:
    return _OCPI_STATUS[status]


def evse_status(of_connectors: Iterable[str]) -> str:
    """The status of an EVSE from those of its connectors, in OCPI's words; UNKNOWN for none."""
    told = set(of_connectors)
    return next((status for status in _STRONGEST_FIRST if status in told), "UNKNOWN")


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A StatusNotification. Connector 0 is the charge point's main controller. `at`: its time."""

    connector_id: int
    status: str
    error_code: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Boot:
    """What a charge point says about itself when it starts."""

    vendor: str
    model: str
    firmware: str | None


@dataclass(frozen=True, slots=True)
class Connector:
    """`evse_id` is None for the main controller, connector 0, alone."""

    connector_id: int
    evse_id: EvseId | None
    status: str | None
    error_code: str | None
    status_at: datetime | None


@dataclass(frozen=True, slots=True)
class Station:
    """A charge point as it is known. `connected` is as true as the last renewal of its lease."""

    ref: StationRef
    connectors: tuple[Connector, ...]
    password: PasswordHash = field(repr=False)
    connected: bool = False
    last_seen_at: datetime | None = None
    booted_at: datetime | None = None
    vendor: str | None = None
    model: str | None = None
    firmware: str | None = None


@dataclass(frozen=True, slots=True)
class News:
    """Something changed about an operator's stations, or about one; None: look at all again."""

    operator: PartyId | None = None
    charge_point: str | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """An EVSE whose status the hub does not know yet.

    `numbers`: by connector, up to which of its changes `status` tells; later ones stay due.
    """

    ref: StationRef
    evse_id: EvseId
    status: str
    numbers: Mapping[int, int]
