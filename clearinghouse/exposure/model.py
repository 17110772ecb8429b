"""Exposure: an accepted charge is a debt before anybody knows its price.

The hub's operator may cap what an EVSP owes. Against the cap and what the EVSP has deposited count
what it owes by the ledger and what is *held*: an amount for each charge that was authorised and not
billed yet. A charge is accepted only if its hold fits. The same holds serve the limits that an EVSP
sets to its own customers.

Law: when a hold is granted, all holds and debts together are within cap and deposits. A refused
claim changes nothing. A hold ends once: when its record is booked, or when it has waited too long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Any

from clearinghouse.customers.model import Limits
from clearinghouse.ledger.model import PAYABLE, RECEIVABLE, Account, Subject
from roaming.contract_id import ContractId
from roaming.events import EventType
from roaming.evse_id import EvseId
from roaming.money import Money, places_of
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed, Unknown

HOLD_DAYS = 7
HOLD_DAYS_MOST = 90
AMOUNT_MOST_MINOR = 10**15
SLACK_PERCENT = 10
"""How far below a threshold the exposure must fall before crossing it again is told again."""

OWED = frozenset(
    PAYABLE[subject]
    for subject in (
        Subject.CHARGE,
        Subject.VAT,
        # A disputed amount may turn out to be owed after all.
        Subject.DISPUTED_CHARGE,
        Subject.DISPUTED_VAT,
        Subject.FEE,
        Subject.FEE_VAT,
        Subject.SETTLEMENT,
    )
)
"""What counts as owed. What the EVSP itself is owed by others does not lessen it."""


class BadLimit(Malformed):
    """A limit or a deposit that breaks a rule of its own."""


class NoLimit(Unknown):
    """The EVSP has no limit here."""


class ReferenceUsed(Clash):
    """The reference stands for another deposit."""


class DepositTooSmall(Clash):
    """There is not so much there to take."""


class Level(StrEnum):
    """How near the limit is: each is told when it is reached, and again only after a relief."""

    WITHIN = "within"
    WARNED = "warned"
    EXHAUSTED = "exhausted"


_ORDER = list(Level)
TOLD_AS = {
    Level.WITHIN: EventType.EXPOSURE_EASED,
    Level.WARNED: EventType.EXPOSURE_WARNED,
    Level.EXHAUSTED: EventType.EXPOSURE_EXHAUSTED,
}
_FROM_PERCENT = {Level.EXHAUSTED: 100, Level.WARNED: 80}


class Deposit(StrEnum):
    """Money of an EVSP that the hub holds; both raise what it may owe."""

    PREPAYMENT = "prepayment"
    COLLATERAL = "collateral"

    @property
    def subject(self) -> Subject:
        return Subject(self.value)

    @property
    def account(self) -> Account:
        return RECEIVABLE[self.subject]


@dataclass(frozen=True, slots=True)
class Limit:
    """The net debit cap of one EVSP. `hold`: what a charge holds that names no amount itself."""

    evsp: PartyId
    cap: Money
    hold: Money
    hold_days: int
    set_by: str
    set_at: datetime
    level: Level = Level.WITHIN

    @property
    def currency(self) -> str:
        return self.cap.currency


def limit_of(
    evsp: PartyId, cap: Money, hold: Money, *, hold_days: int = HOLD_DAYS, by: str, now: datetime
) -> Limit:
    """A limit in its one spelling, or BadLimit."""
    for name, amount in (("cap", cap), ("hold", hold)):
        if not 0 <= amount.minor <= AMOUNT_MOST_MINOR:
            raise _bad(name, str(amount), "not below 0, and at most 10^15 minor units")
    if hold.currency != cap.currency:
        raise _bad("hold", str(hold), f"in the cap's currency, {cap.currency}")
    if not 1 <= hold_days <= HOLD_DAYS_MOST:
        raise _bad("hold_days", hold_days, f"1 to {HOLD_DAYS_MOST} days")
    return Limit(evsp, cap, hold, hold_days, by, now)


def usual_hold(currency: str) -> Money:
    """What a charge holds where nobody has said how much: 50 of the currency's own units."""
    return Money(50 * 10 ** places_of(currency), currency)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one EVSP's exposure is made of, in minor units of its limit's currency.

    `unrated`: currencies in which something counts too, and that nobody can convert today.
    """

    currency: str
    cap_minor: int
    prepaid_minor: int = 0
    collateral_minor: int = 0
    owed_minor: int = 0
    held_minor: int = 0
    unrated: tuple[str, ...] = ()

    @property
    def room_minor(self) -> int:
        return self.cap_minor + self.prepaid_minor + self.collateral_minor

    @property
    def used_minor(self) -> int:
        return self.owed_minor + self.held_minor

    @property
    def left_minor(self) -> int:
        return self.room_minor - self.used_minor

    @property
    def percent(self) -> int:
        """How much of the room is used, rounded down; without room everything is."""
        return 100 if self.room_minor <= 0 else self.used_minor * 100 // self.room_minor

    def told(self) -> dict[str, Any]:
        """As events tell it."""
        return {
            "currency": self.currency,
            "cap_minor": self.cap_minor,
            "prepaid_minor": self.prepaid_minor,
            "collateral_minor": self.collateral_minor,
            "owed_minor": self.owed_minor,
            "held_minor": self.held_minor,
            "left_minor": self.left_minor,
            "percent": self.percent,
        }

    def __str__(self) -> str:
        def shown(minor: int) -> str:
            return Money(minor, self.currency).figure

        parts = [f"cap {shown(self.cap_minor)}"]
        if self.prepaid_minor:
            parts.append(f"prepaid {shown(self.prepaid_minor)}")
        if self.collateral_minor:
            parts.append(f"collateral {shown(self.collateral_minor)}")
        parts += [
            f"owed {shown(self.owed_minor)}",
            f"held {shown(self.held_minor)}",
            f"left {shown(self.left_minor)} {self.currency}",
        ]
        return ", ".join(parts)


SpendingKey = tuple[ContractId, datetime]
"""A customer and a day, by its first instant."""

Rates = Mapping[tuple[str, str], Fraction]
"""What one unit of a currency is in another, by (from, to)."""


def converted(amount: Money, currency: str, rates: Rates) -> int | None:
    """Minor units in `currency`, rounded up, so that rounding breaks no limit. None: no rate."""
    if amount.currency == currency:
        return amount.minor
    rate = rates.get((amount.currency, currency))
    if rate is None:
        return None
    scale = Fraction(10 ** places_of(currency), 10 ** places_of(amount.currency))
    return -(-amount.minor * rate * scale // 1)


@dataclass(frozen=True, slots=True)
class Sums:
    """What the books say about one EVSP, in each currency as it is; all of it positive."""

    owed: tuple[Money, ...] = ()
    held: tuple[Money, ...] = ()
    prepaid: tuple[Money, ...] = ()
    collateral: tuple[Money, ...] = ()

    @property
    def currencies(self) -> set[str]:
        every = (*self.owed, *self.held, *self.prepaid, *self.collateral)
        return {one.currency for one in every}


def figures_of(currency: str, cap_minor: int, sums: Sums, rates: Rates) -> Figures:
    """The sums in one currency. What cannot be converted counts as unknown, not as nothing; but a
    deposit that cannot be, counts as none."""
    unrated = {
        one.currency
        for one in (*sums.owed, *sums.held)
        if one.minor and converted(one, currency, rates) is None
    }

    def total(amounts: Iterable[Money]) -> int:
        return sum(converted(one, currency, rates) or 0 for one in amounts)

    def at_least(amounts: Iterable[Money]) -> int:
        return -sum(converted(-one, currency, rates) or 0 for one in amounts)

    return Figures(
        currency=currency,
        cap_minor=cap_minor,
        prepaid_minor=at_least(sums.prepaid),
        collateral_minor=at_least(sums.collateral),
        owed_minor=total(sums.owed),
        held_minor=total(sums.held),
        unrated=tuple(sorted(unrated)),
    )


@dataclass(frozen=True, slots=True)
class Spending:
    """What a customer has spent in the day and the month of a charge: booked, and held for it."""

    day_minor: int = 0
    month_minor: int = 0
    unrated: tuple[str, ...] = ()

    def left_of(self, limits: Limits) -> tuple[int | None, int | None]:
        """What may still be spent on the day and in the month; None is open. Where something was
        spent that nobody can convert, nothing is known to be left."""
        today, month = (
            None if most is None else 0 if self.unrated else max(most - spent, 0)
            for most, spent in (
                (limits.per_day_minor, self.day_minor),
                (limits.per_month_minor, self.month_minor),
            )
        )
        return today, month

    def and_held(self, minor: int) -> Spending:
        return replace(self, day_minor=self.day_minor + minor, month_minor=self.month_minor + minor)


def spending_of(
    currency: str, day: Iterable[Money], month: Iterable[Money], rates: Rates
) -> Spending:
    """Amounts in one currency; what cannot be converted counts as unknown, not as nothing."""
    days, months = list(day), list(month)
    unrated = {
        one.currency
        for one in (*days, *months)
        if one.minor and converted(one, currency, rates) is None
    }
    return Spending(
        sum(converted(one, currency, rates) or 0 for one in days),
        sum(converted(one, currency, rates) or 0 for one in months),
        tuple(sorted(unrated)),
    )


@dataclass(frozen=True, slots=True)
class Claim:
    """A charge that would be accepted, if what it may come to can be owed.

    `most`: what it may come to without VAT, where that is known. `takes`: whether a hold is to be
    taken; else it is only looked whether one could be.
    """

    authorisation_id: str
    operator: PartyId
    charge_id: str | None
    evsp: PartyId
    contract_id: ContractId | None
    evse_id: EvseId
    charge_at: datetime
    most: Money | None = None
    limits: Limits | None = None
    takes: bool = True

    @property
    def spending_key(self) -> SpendingKey | None:
        if self.contract_id is None or self.limits is None:
            return None
        return spending_key(self.contract_id, self.limits, self.charge_at)


@dataclass(frozen=True, slots=True)
class Weighed:
    """What became of a claim. `says`: the figures, for the EVSP alone."""

    granted: bool
    says: str | None = None
    held: Money | None = None
    keeps_days: int = HOLD_DAYS


UNLIMITED = Weighed(granted=True)


def weigh(
    claim: Claim,
    limit: Limit | None,
    figures: Figures | None,
    spending: Spending | None,
    rates: Rates,
) -> Weighed:
    """Whether a claim fits into the customer's own limits, then into its EVSP's."""
    words: list[str] = []
    amount = claim.most
    if spending is not None:
        assert claim.limits is not None
        limits = claim.limits
        amount = amount or (usual_hold(limits.currency) if limit is None else limit.hold)
        counted, refusal = _customers(amount, claim, spending, rates)
        if refusal is not None:
            return Weighed(False, refusal)
        if amount.currency == limits.currency:
            amount = Money(counted, limits.currency)
        words.append(f"customer: left {Money(_least_left(limits, spending), limits.currency)}")
    if limit is not None:
        assert figures is not None
        amount = amount or limit.hold
        words.append(str(figures))
        refusal = _evsps(amount, limit, figures, rates)
        if refusal is not None:
            return Weighed(False, "; ".join((*words, refusal)))
    if amount is None or not words:
        return UNLIMITED
    words.append(f"holds {amount}" if claim.takes else f"would hold {amount}")
    days = HOLD_DAYS if limit is None else limit.hold_days
    return Weighed(True, "; ".join(words), amount if claim.takes else None, days)


def _customers(
    amount: Money, claim: Claim, spending: Spending, rates: Rates
) -> tuple[int, str | None]:
    """What a charge counts in the currency of the customer's limits, and why it does not fit."""
    assert claim.limits is not None
    currency = claim.limits.currency
    counted = converted(amount, currency, rates)
    if spending.unrated or counted is None:
        missing = spending.unrated or (amount.currency,)
        return 0, f"customer: no exchange rate for {', '.join(missing)}"
    left = _least_left(claim.limits, spending)
    if claim.most is None:
        # Nobody said how much it will be: then it is not more than the customer has left.
        counted = min(counted, left)
    if left <= 0 or counted > left:
        asked = f", asked {Money(counted, currency)}" if left > 0 else ""
        return 0, f"customer: left {Money(left, currency)}{asked}"
    return counted, None


def _least_left(limits: Limits, spending: Spending) -> int:
    return min(left for left in spending.left_of(limits) if left is not None)


def _evsps(amount: Money, limit: Limit, figures: Figures, rates: Rates) -> str | None:
    """Why an amount does not fit under the EVSP's cap, or None: it does."""
    counted = converted(amount, limit.currency, rates)
    if figures.unrated or counted is None:
        return f"no exchange rate for {', '.join(figures.unrated or (amount.currency,))}"
    if figures.left_minor <= 0 or counted > figures.left_minor:
        return f"asked {Money(counted, limit.currency)}"
    return None


@dataclass(slots=True)
class Weighing:
    """Claims of one moment, one after the other: each sees what those before it hold."""

    limits: Mapping[PartyId, Limit]
    figures: dict[PartyId, Figures]
    spendings: dict[SpendingKey, Spending] = field(default_factory=dict)
    rates: Rates = field(default_factory=dict)
    refused: set[PartyId] = field(default_factory=set)
    """EVSPs whose own limit refused a claim."""

    def weigh(self, claim: Claim) -> Weighed:
        limit, figures = self.limits.get(claim.evsp), self.figures.get(claim.evsp)
        key = claim.spending_key
        spending = None if key is None else self.spendings.get(key)
        outcome = weigh(claim, limit, figures, spending, self.rates)
        if not outcome.granted:
            alone = replace(claim, limits=None)
            if not weigh(alone, limit, figures, None, self.rates).granted:
                self.refused.add(claim.evsp)
        elif outcome.held is not None:
            self._hold(claim, outcome.held)
        return outcome

    def _hold(self, claim: Claim, amount: Money) -> None:
        figures = self.figures.get(claim.evsp)
        if figures is not None:
            counted = converted(amount, figures.currency, self.rates)
            assert counted is not None
            self.figures[claim.evsp] = replace(figures, held_minor=figures.held_minor + counted)
        for key, spending in self.spendings.items():
            # A day is of its month, but a month has other days.
            if claim.contract_id == key[0] and claim.limits is not None:
                counted = converted(amount, claim.limits.currency, self.rates)
                assert counted is not None
                if day_of(claim.charge_at) == key[1]:
                    self.spendings[key] = spending.and_held(counted)
                elif month_of(claim.charge_at) == month_of(key[1]):
                    month_minor = spending.month_minor + counted
                    self.spendings[key] = replace(spending, month_minor=month_minor)


def spending_key(contract_id: ContractId, limits: Limits, at: datetime) -> SpendingKey | None:
    """Whose spending of which day counts; None where the customer has no limit of that kind."""
    if limits.per_day_minor is None and limits.per_month_minor is None:
        return None
    return contract_id, day_of(at)


def day_of(at: datetime) -> datetime:
    """The first instant of its day, in UTC as all days and months of the hub."""
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def month_of(at: datetime) -> datetime:
    return day_of(at).replace(day=1)


def next_month(at: datetime) -> datetime:
    return month_of(month_of(at) + timedelta(days=32))


def level_after(before: Level, figures: Figures, *, refused: bool = False) -> Level:
    """How near the limit is now. A level that was reached is left a little below where it begins,
    so that small ups and downs are not told each time."""
    if refused:
        return Level.EXHAUSTED
    for level, threshold in _FROM_PERCENT.items():
        was_here = _ORDER.index(before) >= _ORDER.index(level)
        if figures.percent >= threshold - (SLACK_PERCENT if was_here else 0):
            return level
    return Level.WITHIN


def reached(before: Level, after: Level) -> tuple[Level, ...]:
    """The levels that are told now: each that was crossed going up; going down, the new one."""
    if _ORDER.index(after) > _ORDER.index(before):
        return tuple(_ORDER[_ORDER.index(before) + 1 : _ORDER.index(after) + 1])
    return (after,) if after is not before else ()


@dataclass(frozen=True, slots=True)
class Movement:
    """Money that came to the hub from an EVSP, or went back (negative)."""

    reference: str
    evsp: PartyId
    deposit: Deposit
    amount: Money


def movement_of(reference: str, evsp: PartyId, deposit: Deposit, amount: Money) -> Movement:
    """A movement in its one spelling, or BadLimit."""
    if not (0 < len(reference) <= 100 and reference.isprintable()):
        raise _bad("reference", reference[:60], "1 to 100 printable characters")
    if not 0 < abs(amount.minor) <= AMOUNT_MOST_MINOR:
        raise _bad("amount", str(amount), "above 0, and at most 10^15 minor units")
    return Movement(reference, evsp, deposit, amount)


def may_leave(movement: Movement, there_minor: int, figures: Figures | None) -> None:
    """Refuse to give back what is not there, or what is needed for what is owed or held."""
    assert movement.amount.minor < 0
    currency = movement.amount.currency
    taken = -movement.amount.minor
    if taken > there_minor:
        raise DepositTooSmall(
            f"{movement.evsp} has {Money(there_minor, currency)} of {movement.deposit} here",
            field="amount",
            value=str(Money(taken, currency)),
            rule=f"at most {Money(there_minor, currency)}",
        )
    if figures is not None and figures.currency == currency and taken > figures.left_minor:
        left = Money(max(figures.left_minor, 0), currency)
        raise DepositTooSmall(
            f"what {movement.evsp} owes and holds needs it: {figures}",
            field="amount",
            value=str(Money(taken, currency)),
            rule=f"at most {left}",
        )


def _bad(field_: str, value: object, rule: str) -> BadLimit:
    return BadLimit(f"{field_} {value!r}: {rule}", field=field_, value=value, rule=rule)
