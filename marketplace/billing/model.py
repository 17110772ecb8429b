"""Invoices by difference: what a contract's month comes to, less what invoices have taken for it.

A contract's month (UTC, as quotas are) is rated whole, up to a cut-off, whenever it is billed; each
line of that has a key, and what earlier invoices took under the key is taken off. So a month that
is billed twice is billed once, one that is billed in parts comes to the same to the cent, and use
that is recorded after the cut-off is on a later invoice, as a line that names its month.

Laws. The lines of all invoices and credit notes of a contract's month, those left out that a seller
gave away, are what the month comes to; but what was given away is not taken back once more, where
it turns out not to have been due. A cut-off never goes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from documents.invoice import Unit
from marketplace.offerings.model import ServiceTerms
from marketplace.offerings.price import PricePlan
from marketplace.offerings.rating import (
    Charge,
    Quarter,
    Use,
    What,
    days_in_force,
    rate,
    round_lines,
)
from roaming.money import Money
from roaming.month import Month
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed, NotYours, Unknown

LOOK_BACK = 3
"""Months before the one that is billed, in which late use is looked for; those billed before."""
DAYS_TO_PAY = 30
"""Where the contract's clause `payment-terms` says nothing."""


class BadCutOff(Malformed):
    """Not a moment up to which this month can be billed."""


class OtherRunUnderWay(Clash):
    """One run bills at a time."""


class UnknownRun(Unknown):
    """No billing run by this id."""


class UnknownInvoice(Unknown):
    """No invoice by this number that the caller may see."""


class NotForYou(NotYours):
    """What the operator of the hub does, or the seller of an invoice."""


class State(StrEnum):
    """How far a billing run has come."""

    CONTRACTS = "contracts"
    FEES = "fees"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Tally:
    """What a run has come to by now."""

    contracts: int = 0
    invoices: int = 0
    credit_notes: int = 0
    not_invoiced: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.contracts + other.contracts,
            self.invoices + other.invoices,
            self.credit_notes + other.credit_notes,
            self.not_invoiced + other.not_invoiced,
        )


@dataclass(frozen=True, slots=True)
class Run:
    """One billing of a month up to a cut-off. `earlier`: months in which late use is looked for.

    `after`: the last contract (then: the last provider) that is done with. `summed`: usage is added
    up and stays as it was at that moment, for all of the run.
    """

    run_id: str
    month: Month
    up_to: datetime
    earlier: tuple[Month, ...]
    by: PartyId
    begun_at: datetime
    state: State = State.CONTRACTS
    summed: bool = False
    after: str = ""
    tally: Tally = Tally()
    finished_at: datetime | None = None

    @property
    def months(self) -> tuple[Month, ...]:
        return *self.earlier, self.month

    def cut_off(self, month: Month) -> datetime:
        """Up to when a month is rated: an earlier one whole."""
        return min(self.up_to, month.ends_at)


def cut_off(
    month: Month, up_to: datetime | None, before: datetime | None, now: datetime
) -> datetime:
    """Up to when a month is to be billed. `before`: up to when it was already. Raises BadCutOff."""
    asked = month.ends_at if up_to is None else up_to
    if asked > now:
        raise BadCutOff(
            "not over yet" if up_to is None else "a moment to come",
            field="month" if up_to is None else "up_to",
            value=str(month) if up_to is None else asked.isoformat(),
            rule=f"a month that is over, or up_to a moment before {now.isoformat()}",
        )
    if not month.starts_at < asked <= month.ends_at:
        raise BadCutOff(
            f"not in {month}",
            field="up_to",
            value=asked.isoformat(),
            rule=f"after {month.starts_at.isoformat()}, at the latest {month.ends_at.isoformat()}",
        )
    if before is not None and asked < before:
        raise BadCutOff(
            "the month is billed further than that already",
            field="up_to",
            value=asked.isoformat(),
            rule=f"not before {before.isoformat()}",
        )
    return asked


def next_to_bill(month: Month, billed: Mapping[Month, datetime]) -> Month | None:
    """Which month a hub bills by itself once `month` is over; None: none. `billed`: up to when.

    A month that nobody billed because the hub was away is made up for; where none was billed before
    it, that is nobody's surprise.
    """
    if billed.get(month) == month.ends_at:
        return None
    before = [one for one in billed if one < month]
    return max(before).next if before else month


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract on a service, as far as billing is concerned. `ends`: by term or termination.

    `asked_once`: the most that the contracts whose place it took asked as a one-time price.
    """

    contract_id: str
    service: str
    major: int
    category: str
    provider: PartyId
    requester: PartyId
    terms: ServiceTerms
    begins: datetime
    ends: datetime | None
    days_to_pay: int = DAYS_TO_PAY
    asked_once: Decimal = Decimal(0)

    @property
    def prices(self) -> PricePlan | None:
        """What is due under it."""
        agreed = self.terms.prices
        return None if agreed is None else agreed.after(self.asked_once)

    @property
    def currency(self) -> str:
        assert self.terms.currency is not None, "a price has a currency"
        return self.terms.currency

    @property
    def by_quarter(self) -> bool:
        return self.terms.prices is not None and self.terms.prices.by_quarter


@dataclass(frozen=True, slots=True)
class Used:
    """What a contract was called for in a month: of calls that cost money alone."""

    calls: int = 0
    bytes: int = 0
    units: int = 0
    quarters: Sequence[Quarter] = ()


@dataclass(frozen=True, slots=True)
class Bought:
    """Packs that were bought under a contract in a month."""

    packs: int = 0
    amount_minor: int = 0


@dataclass(frozen=True, slots=True)
class Item:
    """A line of what a month comes to, or of what invoices took for it. `unit`: as it is read."""

    key: str
    text: str
    quantity: Decimal
    unit: str
    amount_minor: int


def rated(
    contract: Contract, month: Month, up_to: datetime, used: Used, bought: Bought
) -> list[Item]:
    """What a contract's month comes to up to a cut-off, line by line, each rounded once."""
    items = []
    prices = contract.prices
    if prices is not None:
        charges = rate(prices, _use(contract, month, up_to, used))
        items = [
            _item(charge, money)
            for charge, money in zip(charges, round_lines(charges, contract.currency), strict=True)
        ]
    if bought.packs:
        items.append(
            Item("packs", "Packs of calls", Decimal(bought.packs), "pack", bought.amount_minor)
        )
    return items


def _use(contract: Contract, month: Month, up_to: datetime, used: Used) -> Use:
    begins, ends = contract.begins, contract.ends
    never = ends is not None and ends <= begins
    until = min(up_to, month.ends_at).date()
    return Use(
        year=month.year,
        month=month.number,
        days=0 if never else days_in_force(begins, ends, month.starts_at.date(), until),
        first=not never and Month.of(begins) == month and begins < up_to,
        calls=used.calls,
        bytes=used.bytes,
        units=used.units,
        quarters=used.quarters,
    )


def _item(charge: Charge, money: Money) -> Item:
    counted = charge.what is What.USE
    # A thirtieth of a month has no end as a decimal: what is not counted is there once.
    quantity = _decimal(charge.quantity) if counted else Decimal(1)
    unit = charge.unit if counted else charge.what.value
    return Item(charge.key, charge.text, quantity, unit, money.minor)


def _decimal(quantity: Fraction) -> Decimal:
    """Calls and units are whole, kilobytes have three places."""
    return Decimal(quantity.numerator) / Decimal(quantity.denominator)


def difference(items: Iterable[Item], taken: Mapping[str, Item]) -> list[Item]:
    """What is to be billed yet: each line less what was taken for it, the lines that changed."""
    due = {item.key: item for item in items}
    for key, had in taken.items():
        # What is no longer lacking to a minimum is no line any more; it was one.
        now = due.get(key) or Item(key, had.text, Decimal(0), had.unit, 0)
        due[key] = Item(
            key,
            now.text,
            now.quantity - had.quantity,
            now.unit,
            now.amount_minor - had.amount_minor,
        )
    return [item for item in due.values() if item.amount_minor or item.quantity]


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be billed of one contract, month by month. Below zero in all: it is credited."""

    contract: Contract
    items: tuple[tuple[Month, Item], ...]

    @property
    def net_minor(self) -> int:
        return sum(item.amount_minor for _, item in self.items)

    @property
    def by_month(self) -> tuple[tuple[Month, int], ...]:
        sums: dict[Month, int] = {}
        for month, item in self.items:
            sums[month] = sums.get(month, 0) + item.amount_minor
        return tuple(sorted(sums.items()))


def drawn(
    contract: Contract,
    run: Run,
    used: Mapping[Month, Used],
    bought: Mapping[Month, Bought],
    taken: Mapping[Month, Mapping[str, Item]],
) -> Draft | None:
    """What a run has to bill of a contract; None where it comes to nothing."""
    items = tuple(
        (month, item)
        for month in run.months
        for item in difference(
            rated(
                contract,
                month,
                run.cut_off(month),
                used.get(month, Used()),
                bought.get(month, Bought()),
            ),
            taken.get(month, {}),
        )
    )
    draft = Draft(contract, items)
    # Lines that make up for each other wait for what makes a difference.
    return draft if draft.net_minor else None


UNITS = {"kilobyte": Unit.KILOBYTE, "recurring": Unit.ONE}


def unit_of(named: str) -> Unit:
    return UNITS.get(named, Unit.ONE)


def supplied_at(month: Month, up_to: datetime) -> datetime:
    """The moment by which a line's VAT is decided: the last one of what it is for."""
    return min(up_to, month.ends_at) - timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Uninvoiced:
    """What is due and cannot be invoiced, with what is wanted; a later run that looks at the months
    does it, and until then it is told. `contract_id` None: the marketplace's own fee."""

    seller: PartyId
    buyer: PartyId
    currency: str
    by_month: tuple[tuple[Month, int], ...]
    wanted: tuple[str, ...]
    noted_at: datetime
    contract_id: str | None = None

    @property
    def months(self) -> tuple[Month, ...]:
        return tuple(month for month, _ in self.by_month)

    @property
    def net_minor(self) -> int:
        return sum(minor for _, minor in self.by_month)
