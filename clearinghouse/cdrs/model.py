"""Charge detail records: what an operator tells of a charge, and which of it the house may book.

The rules are data (RULES): each has a name that partners see, a severity, and a sentence. A record
that breaks a severe rule is kept with its reasons and is neither priced nor posted; one that breaks
warning rules only is flagged: priced, posted and cleared like any other, and carries the warning.
What is merely noted leaves the state alone. What becomes of a booked record is a table (LIFE).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any

from clearinghouse.meter_values.model import Check
from clearinghouse.meter_values.model import Outcome as MeterOutcome
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

CLOCK_DRIFT = timedelta(minutes=5)
LONG_CHARGE = timedelta(hours=24)
LONGEST_CHARGE = timedelta(days=366)
LATE_AFTER = timedelta(days=3)
ROUNDING_WH_PER_PERIOD = 1
"""Meters tell kWh with three places or fewer; each period's energy may be rounded by so much."""
POWER_TOLERANCE_PERCENT = 10
POWER_TOLERANCE_S = 60
"""A rated power is exceeded by a little, and the clocks of meter and charge point may differ."""
METER_TOLERANCE_WH = 10
"""Meters show, and sign, hundredths of a kWh."""
COST_TOLERANCE_MINOR = 1
"""Operators round in their own order."""


class BadCdr(Malformed):
    """A record that is no record: a field is missing, or breaks the rule of its own shape."""


class CdrIdReused(Clash):
    """The operator has already had another record accepted under this cdr_id."""


class UnknownCdr(Unknown):
    """No record by this operator and id that the caller may see."""


class CannotBecome(Clash):
    """The record's state does not allow this step."""


class State(StrEnum):
    ACCEPTED = "accepted"
    FLAGGED = "flagged"
    REJECTED = "rejected"
    APPROVED = "approved"
    DECLINED = "declined"
    CREDITED = "credited"
    """Taken back, whole, by a credit."""
    REVISED = "revised"
    """Taken back, and another record stands in its place."""


class Step(StrEnum):
    """What somebody does to a record that is booked."""

    APPROVE = "approve"
    DECLINE = "decline"
    RESOLVE = "resolve"
    CREDIT = "credit"
    REVISE = "revise"


_OPEN = {
    Step.APPROVE: State.APPROVED,
    Step.DECLINE: State.DECLINED,
    Step.CREDIT: State.CREDITED,
}
LIFE: Mapping[State, Mapping[Step, State]] = {
    State.ACCEPTED: _OPEN,
    State.FLAGGED: _OPEN,
    # An operator may find its own error also after the EVSP did not.
    State.APPROVED: {Step.APPROVE: State.APPROVED, Step.CREDIT: State.CREDITED},
    # A dispute holds the amount, and ends in one of two ways; by no approval past it.
    State.DECLINED: {Step.RESOLVE: State.APPROVED, Step.CREDIT: State.CREDITED},
    # What has been taken back may be replaced.
    State.CREDITED: {Step.REVISE: State.REVISED},
    State.REVISED: {},
    State.REJECTED: {},
}
"""From state to state, as `docs/cdrs.md` draws it. A rejected record may be handed in again."""


def after(state: State, step: Step) -> State:
    """The state that `step` leads to. Raises CannotBecome, which names the steps there are."""
    reached = LIFE[state].get(step)
    if reached is None:
        raise CannotBecome(
            f"a record that is {state} takes no step {step}",
            field="state",
            value=state.value,
            rule=", ".join(LIFE[state]) or "nothing follows",
        )
    return reached


class Severity(StrEnum):
    """As telecom clearing grades faults. FATAL ones are of whole files: see cdr_files."""

    NOTICE = "notice"
    WARNING = "warning"
    SEVERE = "severe"
    FATAL = "fatal"


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

    `rateable` is False when the agreement's tariff cannot be read; `price`, without VAT, is there
    once the record is priced; `meter` is what came of its signed values, if it brought any.
    """

    now: datetime
    evse: Evse | None
    authorisation: Authorisation | None
    customer: Customer | None
    agreed: bool
    rateable: bool = True
    price: Money | None = None
    meter: Check | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Which rule was broken, in a word and in a sentence."""

    name: str
    says: str


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


def _over_power(cdr: Submission, facts: Facts) -> bool:
    if facts.evse is None or facts.evse.max_power_w is None or cdr.end < cdr.start:
        return False
    seconds = int((cdr.end - cdr.start).total_seconds()) + POWER_TOLERANCE_S
    most = facts.evse.max_power_w * seconds * (100 + POWER_TOLERANCE_PERCENT)
    return cdr.energy_wh * 3_600 * 100 > most


def _tell_power(cdr: Submission, facts: Facts) -> str:
    assert facts.evse is not None
    return (
        f"{cdr.energy_wh} Wh in {int((cdr.end - cdr.start).total_seconds())} s,"
        f" at an EVSE of {facts.evse.max_power_w} W"
    )


def _currency_differs(cdr: Submission, facts: Facts) -> bool:
    told, price = cdr.total_cost, facts.price
    return told is not None and price is not None and told.currency != price.currency


def _cost_differs(cdr: Submission, facts: Facts) -> bool:
    told, price = cdr.total_cost, facts.price
    if told is None or price is None or told.currency != price.currency:
        return False
    return abs(told.minor - price.minor) > COST_TOLERANCE_MINOR


def _tell_cost(cdr: Submission, facts: Facts) -> str:
    return f"the operator reckons {cdr.total_cost}, the agreement's tariff gives {facts.price}"


def _signature_invalid(_: Submission, facts: Facts) -> bool:
    return facts.meter is not None and facts.meter.outcome is MeterOutcome.INVALID


def _meter_differs(cdr: Submission, facts: Facts) -> bool:
    if facts.meter is None or facts.meter.signed_wh is None:
        return False
    return abs(facts.meter.signed_wh - cdr.energy_wh) > METER_TOLERANCE_WH


def _tell_meter(cdr: Submission, facts: Facts) -> str:
    assert facts.meter is not None
    return f"the meter signed {facts.meter.signed_wh} Wh, energy_wh is {cdr.energy_wh}"


def _meter_elsewhen(cdr: Submission, facts: Facts) -> bool:
    if facts.meter is None:
        return False
    times = (facts.meter.begin, facts.meter.end)
    return any(
        at is not None and not cdr.start - CLOCK_DRIFT <= at <= cdr.end + CLOCK_DRIFT
        for at in times
    )


def _tell_age(cdr: Submission, facts: Facts) -> str:
    return f"told {(facts.now - cdr.end).days} days after the charge ended"


@dataclass(frozen=True, slots=True)
class Rule:
    """`tells` says it with the record's own figures, where those help; `says` in general."""

    name: str
    severity: Severity
    says: str
    broken_by: Callable[[Submission, Facts], bool]
    tells: Callable[[Submission, Facts], str] | None = None

    def reason(self, cdr: Submission, facts: Facts) -> Reason:
        return Reason(self.name, self.says if self.tells is None else self.tells(cdr, facts))


RULES: tuple[Rule, ...] = (
    Rule(
        "evse-unknown",
        Severity.SEVERE,
        "the house does not know this EVSE",
        lambda cdr, facts: facts.evse is None,
    ),
    Rule(
        "evse-of-another-operator",
        Severity.SEVERE,
        "an operator tells of charges at its own EVSEs",
        lambda cdr, facts: facts.evse is not None and facts.evse.operator != cdr.operator,
    ),
    Rule(
        "unknown-contract",
        Severity.SEVERE,
        "no EVSP has told the house of this contract or token",
        lambda cdr, facts: home(cdr, facts) is None,
    ),
    Rule(
        "no-roaming-agreement",
        Severity.SEVERE,
        "no roaming agreement of the two parties covered this EVSE when the charge began",
        _uncovered,
    ),
    Rule(
        "contract-blocked",
        Severity.SEVERE,
        "the contract is blocked, and the house had not authorised this charge",
        _blocked,
    ),
    Rule(
        "contract-expired",
        Severity.SEVERE,
        "the contract was not valid when the charge began, and the house had not authorised it",
        _expired,
    ),
    Rule(
        "end-before-start",
        Severity.SEVERE,
        "a charge ends after it has begun",
        lambda cdr, facts: cdr.end < cdr.start,
    ),
    Rule(
        "in-the-future",
        Severity.SEVERE,
        "a charge is told when it is over",
        lambda cdr, facts: max(cdr.start, cdr.end) > facts.now + CLOCK_DRIFT,
    ),
    Rule(
        "longer-than-a-year",
        Severity.SEVERE,
        "no charge takes more than 366 days",
        lambda cdr, facts: cdr.end - cdr.start > LONGEST_CHARGE,
    ),
    Rule(
        "negative-energy",
        Severity.SEVERE,
        "energy is 0 Wh or more, in all and in each period",
        lambda cdr, facts: cdr.energy_wh < 0 or any(p.energy_wh < 0 for p in cdr.periods),
    ),
    Rule(
        "periods-out-of-order",
        Severity.SEVERE,
        "no period begins before the one before it",
        _periods_unordered,
    ),
    Rule(
        "periods-outside-charge",
        Severity.SEVERE,
        "every period begins between the charge's start and end",
        _periods_outside,
    ),
    Rule(
        "energy-mismatch",
        Severity.SEVERE,
        "the periods' energies add up to energy_wh, to 1 Wh for each period",
        _energy_mismatch,
    ),
    Rule(
        "tariff-unreadable",
        Severity.SEVERE,
        "the agreement's tariff cannot be read",
        lambda cdr, facts: not facts.rateable,
    ),
    Rule(
        "authorisation-mismatch",
        Severity.WARNING,
        "authorisation_id names no accepted authorisation of this charge",
        lambda cdr, facts: cdr.authorisation_id is not None and not authorised(cdr, facts),
    ),
    Rule(
        "energy-rounded",
        Severity.WARNING,
        "the periods' energies, by which the charge is priced, differ from energy_wh by rounding",
        _energy_rounded,
    ),
    Rule(
        "zero-energy",
        Severity.WARNING,
        "the charge took no energy",
        lambda cdr, facts: cdr.energy_wh == 0,
    ),
    Rule(
        "zero-duration",
        Severity.WARNING,
        "the charge took no time",
        lambda cdr, facts: cdr.start == cdr.end,
    ),
    Rule(
        "longer-than-24h",
        Severity.WARNING,
        "the charge took more than a day",
        lambda cdr, facts: cdr.end - cdr.start > LONG_CHARGE,
    ),
    Rule(
        "currency-differs",
        Severity.WARNING,
        "total_cost is in another currency than the agreement, by which the charge is priced",
        _currency_differs,
        _tell_cost,
    ),
    Rule(
        "total-cost-differs",
        Severity.WARNING,
        "total_cost differs from the agreement's price by more than one minor unit",
        _cost_differs,
        _tell_cost,
    ),
    Rule(
        "meter-signature-invalid",
        Severity.WARNING,
        "a signed meter value bears the signature of no key that is known for this EVSE",
        _signature_invalid,
    ),
    Rule(
        "meter-values-differ",
        Severity.WARNING,
        "energy_wh differs by more than 10 Wh from what the meter signed at begin and end",
        _meter_differs,
        _tell_meter,
    ),
    Rule(
        "meter-values-of-another-time",
        Severity.WARNING,
        "the meter signed begin or end, by a synchronised clock, outside this charge",
        _meter_elsewhen,
    ),
    # Noted only: a register of charge points is wrong more often than a meter.
    Rule(
        "energy-over-power",
        Severity.NOTICE,
        "more energy than the EVSE's power, as Search EVSE knows it, gives in that time",
        _over_power,
        _tell_power,
    ),
    # Noted only: which of two records is the later one depends on the order they come in, and
    # operators let several connectors share an EVSE id.
    Rule(
        "overlap",
        Severity.NOTICE,
        "another booked charge on the same EVSE took place at the same time",
        lambda cdr, facts: False,  # about two records: see `with_overlaps`
    ),
    Rule(
        "gap-before-periods",
        Severity.NOTICE,
        "the first period begins after the charge: the time before belongs to none",
        lambda cdr, facts: bool(cdr.periods) and cdr.periods[0].start > cdr.start,
    ),
    Rule(
        "late",
        Severity.NOTICE,
        f"told more than {LATE_AFTER.days} days after the charge ended",
        lambda cdr, facts: facts.now - cdr.end > LATE_AFTER,
        _tell_age,
    ),
)
"""In the order in which reasons are told: where several apply, the first is the main one."""
_DECIDING = tuple(rule for rule in RULES if rule.severity is not Severity.NOTICE)
_NOTED = tuple(rule for rule in RULES if rule.severity is Severity.NOTICE)


def examine(cdr: Submission, facts: Facts) -> tuple[State, tuple[Reason, ...]]:
    """Hold a record against every rule that decides on its state."""
    broken = [rule for rule in _DECIDING if rule.broken_by(cdr, facts)]
    if not broken:
        return State.ACCEPTED, ()
    rejected = any(rule.severity is Severity.SEVERE for rule in broken)
    reasons = tuple(rule.reason(cdr, facts) for rule in broken)
    return State.REJECTED if rejected else State.FLAGGED, reasons


def notices(cdr: Submission, facts: Facts) -> tuple[Reason, ...]:
    """What is worth a word and changes nothing."""
    return tuple(rule.reason(cdr, facts) for rule in _NOTED if rule.broken_by(cdr, facts))


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


def with_overlaps(
    candidates: Sequence[Cdr], booked: Mapping[tuple[PartyId, str], str]
) -> list[Cdr]:
    """The candidates of a batch, each told which other charge took place on its EVSE meanwhile.

    `booked` names, by candidate, such a charge that is on record already.
    """
    earlier: dict[EvseId, list[Cdr]] = {}
    noted: list[Cdr] = []
    for cdr in candidates:
        if not cdr.booked or cdr.submission.credit_reference_id is not None:
            noted.append(cdr)
            continue
        beside = earlier.setdefault(cdr.submission.evse_id, [])
        other = booked.get(cdr.key) or next(
            (one.submission.cdr_id for one in beside if _overlap(one, cdr)), None
        )
        beside.append(cdr)
        if other is not None:
            notice = Reason("overlap", f"at the same time as cdr {other} on the same EVSE")
            cdr = replace(cdr, notices=(*cdr.notices, notice))
        noted.append(cdr)
    return noted


def _overlap(one: Cdr, other: Cdr) -> bool:
    if one.key == other.key or one.fingerprint == other.fingerprint:
        return False
    mine, its = one.submission, other.submission
    return mine.start < its.end and its.start < mine.end


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


@dataclass(frozen=True, slots=True)
class Settled:
    """What a batch came to: its outcomes in order, the records to write, and those that a credit or
    a replacement has changed (their state alone)."""

    outcomes: list[Outcome]
    to_write: list[Cdr]
    changed: list[Cdr]


def settle_batch(
    candidates: Sequence[Cdr],
    booked: Mapping[Key, Cdr],
    rejected: Mapping[Key, Cdr],
    fingerprints: Mapping[bytes, str],
) -> Settled:
    """Decide, in order, what each candidate of a batch becomes beside what is on record.

    `booked` and `rejected` are the records now kept under the candidates' keys and those that they
    refer to (of rejected ones the latest), `fingerprints` the ids of booked records by fingerprint.
    A record that was rejected may come again, mended or not; told again unmended, it is known.
    """
    now_booked, now_rejected = dict(booked), dict(rejected)
    now_fingerprints = dict(fingerprints)
    outcomes: list[Outcome] = []
    to_write: list[Cdr] = []
    changed: dict[Key, Cdr] = {}

    def change(cdr: Cdr, step: Step) -> None:
        # Its content may be told again: by the record that stands in its place.
        if cdr.fingerprint is not None:
            now_fingerprints.pop(cdr.fingerprint, None)
        moved = replace(cdr, state=after(cdr.state, step), fingerprint=None)
        now_booked[cdr.key] = changed[cdr.key] = moved

    for candidate in candidates:
        if (earlier := now_booked.get(candidate.key)) is not None:
            outcomes.append(outcome_of_known(earlier, candidate.submission))
            continue
        cdr = candidate
        if cdr.booked and cdr.fingerprint is not None:
            first = now_fingerprints.get(cdr.fingerprint)
            if first is not None and first != cdr.submission.replaces:
                cdr = _rejected(cdr, duplicate_of(first))
        referred = now_booked.get(reference) if (reference := referred_key(cdr)) else None
        if cdr.booked and reference is not None:
            cdr = _corrected(cdr, referred)
        if cdr.booked:
            if referred is not None:
                credits = cdr.submission.credit_reference_id is not None
                change(referred, Step.CREDIT if credits else Step.REVISE)
            now_booked[cdr.key] = cdr
            if cdr.fingerprint is not None:
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
    written = {cdr.key: n for n, cdr in enumerate(to_write) if cdr.booked}
    for key in written.keys() & changed.keys():
        # Written and changed by one batch: it is written as it then stands.
        to_write[written[key]] = changed.pop(key)
    return Settled(outcomes, to_write, list(changed.values()))


def referred_key(cdr: Cdr) -> Key | None:
    """The record that this one takes back or stands for, if it does."""
    told = cdr.submission
    reference = told.credit_reference_id or told.replaces
    return None if reference is None else (told.operator, reference)


def _corrected(cdr: Cdr, referred: Cdr | None) -> Cdr:
    """A credit with its amounts, or a replacement as it came; rejected where it cannot be."""
    told = cdr.submission
    reason = _no_credit(told, referred) if told.credit_reference_id else _no_replacement(referred)
    if reason is not None:
        return _rejected(cdr, reason)
    assert referred is not None
    if told.credit_reference_id is None:
        return cdr
    assert referred.rated is not None
    return replace(
        cdr,
        evsp=referred.evsp,
        contract_id=referred.contract_id,
        rated=referred.rated.negated(),
    )


def credit_of(cdr: Cdr, credit_id: str, now: datetime) -> Cdr:
    """The house's own credit of a booked record, as the operator would tell it."""
    assert cdr.rated is not None
    told = replace(
        cdr.submission,
        cdr_id=credit_id,
        credit_reference_id=cdr.submission.cdr_id,
        replaces=None,
        content=hashlib.sha256(b"credit\n" + cdr.submission.content).digest(),
    )
    return replace(
        cdr,
        submission=told,
        state=State.ACCEPTED,
        reasons=(),
        rated=cdr.rated.negated(),
        fingerprint=None,
        recorded_at=now,
        notices=(),
    )


def _no_credit(told: Submission, credited: Cdr | None) -> Reason | None:
    if credited is None:
        return Reason("credit-of-unknown", "no record is booked under credit_reference_id")
    was = credited.submission
    if was.credit_reference_id is not None:
        return Reason("credit-of-credit", "a credit is not credited; hand in a new record")
    if credited.state is State.DECLINED:
        return Reason("in-dispute", "its EVSP has declined it: answer the dispute instead")
    if Step.CREDIT not in LIFE[credited.state]:
        return Reason("credited-already", f"the record is {credited.state} already")
    same = (was.evse_id, was.start, was.end, was.energy_wh) == (
        told.evse_id,
        told.start,
        told.end,
        told.energy_wh,
    )
    if not same:
        return Reason(
            "credit-mismatch", "a credit repeats evse_id, start, end and energy_wh of its record"
        )
    return None


def _no_replacement(replaced: Cdr | None) -> Reason | None:
    if replaced is None:
        return Reason("replaces-unknown", "no record is booked under the id that it replaces")
    if replaced.state is State.REVISED:
        return Reason("replaced-already", "another record stands in its place already")
    if replaced.state is not State.CREDITED:
        return Reason("replaces-uncredited", "a record is credited before it is replaced")
    return None


def _rejected(cdr: Cdr, reason: Reason) -> Cdr:
    return replace(
        cdr, state=State.REJECTED, reasons=(reason, *cdr.reasons), rated=None, fingerprint=None
    )
