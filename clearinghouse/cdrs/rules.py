"""Which records the house may book.

The rules are data (RULES): each has a name that partners see, a severity, and a sentence. A record
that breaks a severe rule is kept with its reasons and is neither priced nor posted; one that breaks
warning rules only is flagged: priced, posted and cleared like any other, and carries the warning.
What is merely noted leaves the state alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from clearinghouse.cdrs.life import State
from clearinghouse.cdrs.model import Authorisation, Customer, Evse, Reason, Submission
from clearinghouse.meter_values.model import Check
from clearinghouse.meter_values.model import Outcome as MeterOutcome
from roaming.contract_id import ContractId
from roaming.money import Money
from roaming.party import PartyId

CLOCK_DRIFT = timedelta(minutes=5)
LONG_CHARGE = timedelta(hours=24)
LONGEST_CHARGE = timedelta(days=366)
LATE_AFTER = timedelta(days=3)
AUTHORISED_WITHIN = timedelta(days=2)
"""A charge begins so near the moment that its authorisation was asked for; else it is another."""
ROUNDING_WH_PER_PERIOD = 1
"""Meters tell kWh with three places or fewer; each period's energy may be rounded by so much."""
POWER_TOLERANCE_PERCENT = 10
POWER_TOLERANCE_S = 60
"""A rated power is exceeded by a little, and the clocks of meter and charge point may differ."""
METER_TOLERANCE_WH = 10
"""Meters show, and sign, hundredths of a kWh."""
COST_TOLERANCE_MINOR = 1
"""Operators round in their own order."""


class Severity(StrEnum):
    """As telecom clearing grades faults. FATAL ones are of whole files: see cdr_files."""

    NOTICE = "notice"
    WARNING = "warning"
    SEVERE = "severe"
    FATAL = "fatal"


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


def authorised(cdr: Submission, facts: Facts) -> bool:
    """Whether the house has accepted this very charge before it began.

    Such a charge is owed whatever became of the contract meanwhile: the operator gave its energy
    on our word. So that word does not hold for charges of some other day.
    """
    given = facts.authorisation
    return (
        given is not None
        and given.accepted
        and given.evsp is not None
        and given.operator == cdr.operator
        and given.evse_id == cdr.evse_id
        and abs(cdr.start - given.at) <= AUTHORISED_WITHIN
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
