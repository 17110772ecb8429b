"""Roaming offers side by side, and who has agreed with whom: operators by EVSPs.

A price at a glance is what one and the same charge costs under each offer; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from zoneinfo import ZoneInfo

from marketplace.contracts.model import Absence, Agreed
from marketplace.offerings.model import Audience, RoamingTerms
from roaming.charge import Charge
from roaming.party import PartyId
from roaming.pricing import Price, price_charge
from roaming.refusal import Malformed
from roaming.tariff import Tariff

NOON = 12


class BadComparison(Malformed):
    """What cannot be compared."""


@dataclass(frozen=True, slots=True)
class Session:
    """The charge by which offers are compared: at noon of the day, at an even power."""

    energy_wh: int = 20_000
    minutes: int = 40

    def charge(self, time_zone: str, now: datetime) -> Charge:
        begins = now.astimezone(ZoneInfo(time_zone)).replace(
            hour=NOON, minute=0, second=0, microsecond=0
        )
        return Charge.whole(begins, begins + timedelta(minutes=self.minutes), self.energy_wh)


@dataclass(frozen=True, slots=True)
class Offer:
    """A roaming offering as it is made to one EVSP. `contract_id`: it has accepted it."""

    offering_id: str
    operator: PartyId
    terms: RoamingTerms
    valid_from: datetime | None
    valid_until: datetime | None
    published_at: datetime
    contract_id: str | None = None


@dataclass(frozen=True, slots=True)
class Glance:
    """What the session costs: anywhere, and in each group of charge points with its own tariff."""

    everywhere: Price
    groups: Mapping[str, Price]


def glance(terms: RoamingTerms, session: Session, now: datetime) -> Glance:
    charge, zone = session.charge(terms.time_zone, now), ZoneInfo(terms.time_zone)

    def price(tariff: Tariff, vat: Decimal | None) -> Price:
        return price_charge(tariff, charge, time_zone=zone, vat_percent=vat)

    return Glance(
        price(terms.tariff, terms.vat_percent),
        {group.name: price(group.tariff, group.vat_percent) for group in terms.tariff_groups},
    )


class Status(StrEnum):
    """How two parties stand with each other on roaming, the first that holds."""

    IN_FORCE = "in-force"
    SUSPENDED = "suspended"
    AGREED = "agreed"
    OFFERED = "offered"
    ASKED = "asked"
    ENDED = "ended"


_OF_ABSENCE = {
    Absence.NOT_YET_VALID: Status.AGREED,
    Absence.EXPIRED: Status.ENDED,
    Absence.TERMINATED: Status.ENDED,
    Absence.PARTNER_LEFT: Status.ENDED,
}


@dataclass(frozen=True, slots=True)
class OpenOffer:
    """What an operator offers now, to whom."""

    offering_id: str
    operator: PartyId
    audience: Audience


@dataclass(frozen=True, slots=True)
class Cell:
    """An operator and an EVSP. `offers`: made and not accepted; `asked`: negotiations in which the
    EVSP has asked for an offer."""

    operator: PartyId
    evsp: PartyId
    status: Status
    agreed: Agreed | None
    offers: tuple[str, ...]
    asked: tuple[str, ...]


def cell(
    operator: PartyId,
    evsp: PartyId,
    agreed: Agreed | None,
    offers: Sequence[str],
    asked: Sequence[str],
) -> Cell | None:
    """None where the two have nothing to do with each other."""
    if agreed is None and not offers and not asked:
        return None
    status = _status(agreed)
    if status in (None, Status.ENDED):
        status = Status.OFFERED if offers else Status.ASKED if asked else Status.ENDED
    assert status is not None
    return Cell(operator, evsp, status, agreed, tuple(offers), tuple(asked))


def _status(agreed: Agreed | None) -> Status | None:
    if agreed is None:
        return None
    if agreed.absence is None:
        return Status.IN_FORCE
    # Whatever else keeps it from being in force may pass.
    return _OF_ABSENCE.get(agreed.absence, Status.SUSPENDED)


def made_to(
    offers: Collection[OpenOffer], evsp: PartyId, roles: Collection[str]
) -> Iterator[OpenOffer]:
    return (one for one in offers if one.operator != evsp and one.audience.includes(evsp, roles))
