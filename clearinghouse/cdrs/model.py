"""Charge detail records: what an operator tells of a charge, and which of it the house may book.

The rules are data (RULES): each has a name that partners see, a severity, and a sentence. A record
that breaks a rejecting rule is kept with its reasons and is neither priced nor posted; one that
breaks flagging rules only is priced, posted and cleared like any other, and carries the warning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any

from clearinghouse.rating.model import Rated
from roaming.charge import Charge, ChargingPeriod
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed, Unknown
from roaming.token import TokenUid

CLOCK_DRIFT = timedelta(minutes=5)
LONG_CHARGE = timedelta(hours=24)
LONGEST_CHARGE = timedelta(days=366)
ROUNDING_WH_PER_PERIOD = 1
"""Meters tell kWh with three places or fewer; each period's energy may be rounded by so much."""


class BadCdr(Malformed):
    """A record that is no record: a field is missing, or breaks the rule of its own shape."""


class CdrIdReused(Clash):
    """The operator has already had another record accepted under this cdr_id."""


class UnknownCdr(Unknown):
    """No record by this operator and id that the caller may see."""


class State(StrEnum):
    ACCEPTED = "accepted"
    FLAGGED = "flagged"
    REJECTED = "rejected"


class Severity(StrEnum):
    REJECT = "reject"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Submission:
    """A record as its operator tells it, identifiers normalised and times in UTC.

    At least one of `authorisation_id`, `contract_id` and `token_uid` is there. `time_zone` is the
    name of a zone, where the operator gives one. `content` is the SHA-256 of all the rest.
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

    @property
    def charge(self) -> Charge:
        """What is priced."""
        if not self.periods:
            return Charge.whole(self.start, self.end, self.energy_wh)
        return Charge(self.start, self.end, self.periods)


@dataclass(frozen=True, slots=True)
class Evse:
    """Whose a charge point is, and by which clock its days are reckoned."""

    operator: PartyId
    time_zone: str | None


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
    """What the house once decided about a charge."""

    authorisation_id: str
    operator: PartyId
    evse_id: EvseId
    evsp: PartyId | None
    contract_id: ContractId | None
    accepted: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What the house knows about one record. `agreed`: an agreement covered it at its start.

    `rateable` is False when the agreement's tariff cannot be read.
    """

    now: datetime
    evse: Evse | None
    authorisation: Authorisation | None
    customer: Customer | None
    agreed: bool
    rateable: bool = True


def authorised(cdr: Submission, facts: Facts) -> bool:
    """Whether the house has accepted this very charge before it began.

    Such a charge is owed whatever became of the contract meanwhile: the operator gave its energy
    on our word.
    """
    given = facts.authorisation
    return (
        given is not None
        and given.accepted
        and given.evsp is not None
        and given.operator == cdr.operator
        and given.evse_id == cdr.evse_id
        and (cdr.contract_id is None or given.contract_id in (None, cdr.contract_id))
    )


def home(cdr: Submission, facts: Facts) -> tuple[PartyId, ContractId | None] | None:
    """The EVSP that owes this charge and the contract it is for, or None where nobody does."""
    if authorised(cdr, facts):
        assert facts.authorisation is not None
        assert facts.authorisation.evsp is not None
        return facts.authorisation.evsp, facts.authorisation.contract_id or cdr.contract_id
    if facts.customer is not None:
        return facts.customer.evsp, facts.customer.contract_id
    return None


def _periods_unordered(cdr: Submission, _: Facts) -> bool:
    starts = [period.start for period in cdr.periods]
    return any(one > following for one, following in pairwise(starts))


def _periods_outside(cdr: Submission, _: Facts) -> bool:
    return any(not cdr.start <= period.start <= cdr.end for period in cdr.periods)


def _energy_off_wh(cdr: Submission) -> int:
    if not cdr.periods:
        return 0
    return abs(cdr.energy_wh - sum(period.energy_wh for period in cdr.periods))


def _energy_mismatch(cdr: Submission, _: Facts) -> bool:
    return _energy_off_wh(cdr) > ROUNDING_WH_PER_PERIOD * len(cdr.periods)


def _energy_rounded(cdr: Submission, facts: Facts) -> bool:
    return _energy_off_wh(cdr) > 0 and not _energy_mismatch(cdr, facts)


def _uncovered(cdr: Submission, facts: Facts) -> bool:
    return home(cdr, facts) is not None and not facts.agreed


def _blocked(cdr: Submission, facts: Facts) -> bool:
    return facts.customer is not None and facts.customer.blocked and not authorised(cdr, facts)


def _expired(cdr: Submission, facts: Facts) -> bool:
    return (
        facts.customer is not None
        and not facts.customer.valid_at(cdr.start)
        and not authorised(cdr, facts)
    )


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    severity: Severity
    says: str
    broken_by: Callable[[Submission, Facts], bool]


RULES: tuple[Rule, ...] = (
    Rule(
        "evse-unknown",
        Severity.REJECT,
        "the house does not know this EVSE",
        lambda cdr, facts: facts.evse is None,
    ),
    Rule(
        "evse-of-another-operator",
        Severity.REJECT,
        "an operator tells of charges at its own EVSEs",
        lambda cdr, facts: facts.evse is not None and facts.evse.operator != cdr.operator,
    ),
    Rule(
        "unknown-contract",
        Severity.REJECT,
        "no EVSP has told the house of this contract or token",
        lambda cdr, facts: home(cdr, facts) is None,
    ),
    Rule(
        "no-roaming-agreement",
        Severity.REJECT,
        "no roaming agreement of the two parties covered this EVSE when the charge began",
        _uncovered,
    ),
    Rule(
        "contract-blocked",
        Severity.REJECT,
        "the contract is blocked, and the house had not authorised this charge",
        _blocked,
    ),
    Rule(
        "contract-expired",
        Severity.REJECT,
        "the contract was not valid when the charge began, and the house had not authorised it",
        _expired,
    ),
    Rule(
        "end-before-start",
        Severity.REJECT,
        "a charge ends after it has begun",
        lambda cdr, facts: cdr.end < cdr.start,
    ),
    Rule(
        "in-the-future",
        Severity.REJECT,
        "a charge is told when it is over",
        lambda cdr, facts: max(cdr.start, cdr.end) > facts.now + CLOCK_DRIFT,
    ),
    Rule(
        "longer-than-a-year",
        Severity.REJECT,
        "no charge takes more than 366 days",
        lambda cdr, facts: cdr.end - cdr.start > LONGEST_CHARGE,
    ),
    Rule(
        "negative-energy",
        Severity.REJECT,
        "energy is 0 Wh or more, in all and in each period",
        lambda cdr, facts: cdr.energy_wh < 0 or any(p.energy_wh < 0 for p in cdr.periods),
    ),
    Rule(
        "periods-out-of-order",
        Severity.REJECT,
        "no period begins before the one before it",
        _periods_unordered,
    ),
    Rule(
        "periods-outside-charge",
        Severity.REJECT,
        "every period begins between the charge's start and end",
        _periods_outside,
    ),
    Rule(
        "energy-mismatch",
        Severity.REJECT,
        "the periods' energies add up to energy_wh, to 1 Wh for each period",
        _energy_mismatch,
    ),
    Rule(
        "tariff-unreadable",
        Severity.REJECT,
        "the agreement's tariff cannot be read",
        lambda cdr, facts: not facts.rateable,
    ),
    Rule(
        "authorisation-mismatch",
        Severity.FLAG,
        "authorisation_id names no accepted authorisation of this charge",
        lambda cdr, facts: cdr.authorisation_id is not None and not authorised(cdr, facts),
    ),
    Rule(
        "energy-rounded",
        Severity.FLAG,
        "the periods' energies, by which the charge is priced, differ from energy_wh by rounding",
        _energy_rounded,
    ),
    Rule(
        "zero-energy",
        Severity.FLAG,
        "the charge took no energy",
        lambda cdr, facts: cdr.energy_wh == 0,
    ),
    Rule(
        "zero-duration",
        Severity.FLAG,
        "the charge took no time",
        lambda cdr, facts: cdr.start == cdr.end,
    ),
    Rule(
        "longer-than-24h",
        Severity.FLAG,
        "the charge took more than a day",
        lambda cdr, facts: cdr.end - cdr.start > LONG_CHARGE,
    ),
)
"""In the order in which reasons are told: where several apply, the first is the main one."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Which rule was broken, in a word and in a sentence."""

    name: str
    says: str


def examine(cdr: Submission, facts: Facts) -> tuple[State, tuple[Reason, ...]]:
    """Hold a record against every rule."""
    broken = [rule for rule in RULES if rule.broken_by(cdr, facts)]
    if not broken:
        return State.ACCEPTED, ()
    rejected = any(rule.severity is Severity.REJECT for rule in broken)
    reasons = tuple(Reason(rule.name, rule.says) for rule in broken)
    return State.REJECTED if rejected else State.FLAGGED, reasons


def duplicate_of(first_cdr_id: str) -> Reason:
    return Reason("duplicate-content", f"the same charge is booked as cdr {first_cdr_id}")


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

    `evsp`, `rated` and `time_zone` are None for rejected records that did not come so far.
    """

    submission: Submission
    state: State
    reasons: tuple[Reason, ...]
    evsp: PartyId | None
    contract_id: ContractId | None
    rated: Rated | None
    fingerprint: bytes | None
    recorded_at: datetime

    @property
    def key(self) -> tuple[PartyId, str]:
        return self.submission.operator, self.submission.cdr_id

    @property
    def booked(self) -> bool:
        return self.state is not State.REJECTED


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a submission. `known`: it was here already, and nothing was written.

    `reused`: its id belongs to another record (`cdr` is what was booked first).
    """

    cdr: Cdr
    known: bool = False
    reused: bool = False


def outcome_of_known(booked: Cdr, told: Submission) -> Outcome:
    """What to answer to a cdr_id that has been booked: the same again, or that it is taken."""
    return Outcome(booked, known=True, reused=booked.submission.content != told.content)


def settle_batch(
    candidates: Sequence[Cdr],
    booked: Mapping[tuple[PartyId, str], Cdr],
    rejected: Mapping[tuple[PartyId, str], Cdr],
    fingerprints: Mapping[bytes, str],
) -> tuple[list[Outcome], list[Cdr]]:
    """Decide, in order, what each candidate of a batch becomes beside what is on record.

    `booked` and `rejected` are the records now kept under the candidates' keys (of rejected ones
    the latest), `fingerprints` the ids of booked records by fingerprint. Returns the outcomes in
    order, and the records to write. A record that was rejected may come again, mended or not; told
    again unmended, it is known.
    """
    now_booked, now_rejected = dict(booked), dict(rejected)
    now_fingerprints = dict(fingerprints)
    outcomes: list[Outcome] = []
    to_write: list[Cdr] = []
    for candidate in candidates:
        if (earlier := now_booked.get(candidate.key)) is not None:
            outcomes.append(outcome_of_known(earlier, candidate.submission))
            continue
        cdr = candidate
        if cdr.booked:
            assert cdr.fingerprint is not None
            if (first := now_fingerprints.get(cdr.fingerprint)) is not None:
                cdr = _as_duplicate(cdr, first)
        if cdr.booked:
            assert cdr.fingerprint is not None
            now_booked[cdr.key] = cdr
            now_fingerprints[cdr.fingerprint] = cdr.submission.cdr_id
        else:
            known = now_rejected.get(cdr.key)
            if (
                known is not None
                and known.submission.content == cdr.submission.content
                and known.reasons == cdr.reasons
            ):
                outcomes.append(Outcome(known, known=True))
                continue
            now_rejected[cdr.key] = cdr
        outcomes.append(Outcome(cdr))
        to_write.append(cdr)
    return outcomes, to_write


def _as_duplicate(cdr: Cdr, first_cdr_id: str) -> Cdr:
    return Cdr(
        submission=cdr.submission,
        state=State.REJECTED,
        reasons=(duplicate_of(first_cdr_id), *cdr.reasons),
        evsp=cdr.evsp,
        contract_id=cdr.contract_id,
        rated=None,
        fingerprint=None,
        recorded_at=cdr.recorded_at,
    )
