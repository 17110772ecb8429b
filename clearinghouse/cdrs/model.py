"""Charge detail records: what an operator tells of a charge, and what the house keeps of it.

Which of them the house may book is told by its rules (rules.py), what becomes of a booked one by
its life (life.py), and what a batch of them comes to, beside what is on record, by batch.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clearinghouse.cdrs.life import State
from clearinghouse.meter_values.model import Check
from clearinghouse.rating.model import Rated
from roaming.charge import Charge, ChargingPeriod
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from roaming.money import Money
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed, Unknown
from roaming.token import TokenUid

Key = tuple[PartyId, str]
"""Operator and cdr_id."""


class BadCdr(Malformed):
    """A record that is no record: a field is missing, or breaks the rule of its own shape."""


class CdrIdReused(Clash):
    """The operator has already had another record accepted under this cdr_id."""


class UnknownCdr(Unknown):
    """No record by this operator and id that the caller may see."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A record as its operator tells it, identifiers normalised and times in UTC.

    At least one of `authorisation_id`, `contract_id` and `token_uid` is there. `time_zone` is the
    name of a zone, where the operator gives one. `content` is the SHA-256 of all the rest.
    `total_cost` is what the operator reckons that the charge costs, without VAT.

    `credit_reference_id`: this is a credit, which takes the record of that id back (OCPI 2.2.1
    mod_cdrs, "Credit CDRs"). `replaces`: it stands in the place of a credited one.
    """

    operator: PartyId
    cdr_id: str
    evse_id: EvseId
    authorisation_id: str | None
    contract_id: ContractId | None
    token_uid: TokenUid | None
    start: datetime
    end: datetime
    time_zone: str | None
    energy_wh: int
    periods: tuple[ChargingPeriod, ...]
    signed_meter_values: Sequence[Any]
    content: bytes
    total_cost: Money | None = None
    credit_reference_id: str | None = None
    replaces: str | None = None

    @property
    def charge(self) -> Charge:
        """What is priced."""
        if not self.periods:
            return Charge.whole(self.start, self.end, self.energy_wh)
        return Charge(self.start, self.end, self.periods)


@dataclass(frozen=True, slots=True)
class Evse:
    """Whose a charge point is, by which clock its days are reckoned, and what it can give."""

    operator: PartyId
    time_zone: str | None
    max_power_w: int | None = None
    country: str | None = None


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer contract that an EVSP keeps here."""

    contract_id: ContractId
    evsp: PartyId
    blocked: bool
    valid_from: datetime | None
    valid_until: datetime | None

    def valid_at(self, at: datetime) -> bool:
        if self.valid_from is not None and at < self.valid_from:
            return False
        return self.valid_until is None or at < self.valid_until


@dataclass(frozen=True, slots=True)
class Authorisation:
    """What the house once decided about a charge. `at`: the moment that was asked about."""

    authorisation_id: str
    operator: PartyId
    evse_id: EvseId
    evsp: PartyId | None
    contract_id: ContractId | None
    at: datetime
    accepted: bool


@dataclass(frozen=True, slots=True)
class Reason:
    """Which rule was broken, in a word and in a sentence."""

    name: str
    says: str


def fingerprint(cdr: Submission, contract: str) -> bytes:
    """16 bytes that two tellings of one charge share, under whatever cdr_id they come."""
    parts = (
        cdr.operator,
        cdr.evse_id,
        contract,
        cdr.start.isoformat(),
        cdr.end.isoformat(),
        str(cdr.energy_wh),
    )
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Cdr:
    """A record as the house keeps it. `debtor` is the EVSP, `creditor` the operator.

    `evsp`, `rated` and `time_zone` are None for rejected records that did not come so far. A credit
    is rated with the negated amounts of what it credits. `moved_to`: the value date of a record
    whose month was closed already when it came.
    """

    submission: Submission
    state: State
    reasons: tuple[Reason, ...]
    evsp: PartyId | None
    contract_id: ContractId | None
    rated: Rated | None
    fingerprint: bytes | None
    recorded_at: datetime
    notices: tuple[Reason, ...] = ()
    meter: Check | None = None
    moved_to: datetime | None = None

    @property
    def value_at(self) -> datetime:
        """By what it belongs to an accounting period."""
        return self.moved_to or self.submission.end

    @property
    def key(self) -> tuple[PartyId, str]:
        return self.submission.operator, self.submission.cdr_id

    @property
    def booked(self) -> bool:
        return self.state is not State.REJECTED
