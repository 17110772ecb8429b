"""How a month is settled, how payments come in, and what happens when one does not."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date as Day
from datetime import datetime
from typing import Any

from clearinghouse.ledger.model import Kind
from clearinghouse.netting.default import Share
from clearinghouse.periods import model as periods
from clearinghouse.periods.model import Month, Period, State, Step
from clearinghouse.settling import default as defaults
from clearinghouse.settling import model
from clearinghouse.settling.default import Correction, NothingFailed, Rule
from clearinghouse.settling.model import (
    AtRate,
    NotSettled,
    PairTotal,
    Payment,
    PaymentState,
    Receipt,
    Settlement,
    SourceReused,
    UnknownPayment,
)
from clearinghouse.settling.ports import After, Book, Books, Rates, Terms, ToPost
from clearinghouse.settling.setoff import SetOff
from kit.clock import Clock
from kit.event_log import NewEvent
from roaming.events import EventType
from roaming.money import Money, places_of
from roaming.party import PartyId

STREAM = "settlements"


@dataclass(frozen=True, slots=True)
class Settled:
    """What settling a month came to, or would."""

    period: Period
    settlements: Sequence[Settlement]


@dataclass(frozen=True, slots=True)
class House:
    """What settling needs of the house."""

    books: Books
    terms: Terms
    rates: Rates
    hub: PartyId
    clock: Clock


async def plan(month: Month, *, into: str | None = None, house: House) -> Settled:
    """What settling the month would come to now; nothing is written."""
    rates = await _rates(month, into, house)
    async with house.books.read() as book:
        period = await book.period(month)
        if period.state is State.SETTLED:
            return Settled(period, await book.settlements(month, None))
        made = await _settlements(month, into, rates, book, house, house.clock())
        return Settled(period, made)


async def settle(month: Month, *, into: str | None = None, house: House) -> Settled:
    """Make payments of what a closed month leaves owing, for good: in one transaction.

    Asked again, it tells what it came to. Raises PeriodCannot for a month that is not closed,
    NoRate where no rate was published into `into`.
    """
    rates = await _rates(month, into, house)
    async with house.books.settling(month) as book:
        period = await book.period(month)
        if period.state is State.SETTLED:
            return Settled(period, await book.settlements(month, None))
        now = house.clock()
        period = periods.after(period, Step.SETTLE, now)
        settlements = await _settlements(month, into, rates, book, house, now)
        await book.keep_settled(period, settlements, now)
        postings = [
            ToPost(Kind.SETTLEMENT, _settled_event(one, house.hub, now), entries)
            for one in settlements
            for entries in model.entries_of(one)
        ]
        unsettled = await book.unsettled(month)
        assert unsettled == 0, f"{unsettled} accounts of {month} would have something left"
        await book.tell(
            [*_party_events(settlements, now), _period_event(period, settlements, house.hub, now)]
        )
        # Last: from here until the commit, whoever books a record waits for its balances.
        await book.post(postings, month.last_moment, now)
        return Settled(period, settlements)


async def _rates(month: Month, into: str | None, house: House) -> dict[str, AtRate]:
    """By what each currency of the month is settled in `into`: the rates of its last day.

    Looked up before the transaction: a closed month gets no further currency.
    """
    if into is None:
        return {}
    places_of(into)
    async with house.books.read() as book:
        currencies = {one.currency for one in await book.pair_totals(month)}
    found = {}
    for currency in sorted(currencies - {into}):
        exchange = await house.rates.find(currency, into, month.last_moment.date())
        found[currency] = AtRate(exchange.factor, str(exchange))
    return found


async def _settlements(
    month: Month,
    into: str | None,
    rates: Mapping[str, AtRate],
    book: Book,
    house: House,
    now: datetime,
) -> list[Settlement]:
    totals = await book.pair_totals(month)
    due = _due(totals, into, month, house.terms, now)
    # Proving the fewest payments may take a second or two: not the event loop's.
    return await asyncio.to_thread(model.settle, month, totals, due, into=into, rates=rates)


def _due(
    totals: Sequence[PairTotal], into: str | None, month: Month, terms: Terms, now: datetime
) -> dict[tuple[str, str], Day]:
    days: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    moments = (month.last_moment, month.starts_at)
    for one in totals:
        of_group = days[one.clearing_group, into or one.currency]
        for at in moments:
            told = terms.days_to_pay(one.creditor, one.debtor, at)
            if told is not None:
                of_group.add(told)
                break
    return {group: model.due_on(now, told) for group, told in days.items()}


async def set_offs(month: Month, party: PartyId, *, books: Books) -> Sequence[SetOff]:
    """What a party owed and was owed for a settled month, and the payments that settle it."""
    async with books.read() as book:
        await _must_be_settled(month, book)
        found = await book.settlements(month, party)
        papers = tuple(await book.papers(month, party))
    return [
        SetOff(
            party=party,
            period_id=one.period_id,
            clearing_group=one.clearing_group,
            currency=one.currency,
            strategy=one.strategy,
            pairs=one.pairs,
            payments=one.payments,
            papers=papers,
        )
        for one in found
    ]


async def payments(
    party: PartyId | None,
    *,
    month: Month | None,
    state: PaymentState | None,
    after: After | None,
    limit: int,
    books: Books,
) -> Sequence[Payment]:
    """Payments that a party makes or gets (None: everybody's), by the day that they are due."""
    async with books.read() as book:
        return await book.payments(party, month=month, state=state, after=after, limit=limit)


async def show_payment(payment_id: str, *, party: PartyId | None, books: Books) -> Payment:
    """A payment that the party makes or gets. Raises UnknownPayment."""
    async with books.read() as book:
        found = await book.payment(payment_id)
    return _visible(found, payment_id, party)


async def record_payment(
    payment_id: str,
    amount: Money,
    paid_at: datetime,
    source: str,
    *,
    by: PartyId | None = None,
    house: House,
) -> Payment:
    """Money came for a payment, or went back: the ledger says so, and how much is still open.

    `source` names the fact; told again, it counts once. `by`: whoever tells, who must be the payee
    (None: the hub, or its bank). Raises UnknownPayment, PaymentCannot, PaysTooMuch, SourceReused,
    BadReceipt.
    """
    async with house.books.write() as book:
        now = house.clock()
        payment = _visible(await book.payment(payment_id), payment_id, by)
        if by is not None and by != payment.payee:
            raise model.NotPayee(
                "its payee says that money came", field="payment_id", value=payment_id, rule="payee"
            )
        if amount.currency != payment.currency:
            raise model.BadReceipt(
                f"the payment is in {payment.currency}",
                field="currency",
                value=amount.currency,
                rule=payment.currency,
            )
        receipt = Receipt(payment_id, model.told_source(source), amount.minor, paid_at)
        known = await book.receipt(payment_id, source)
        if known is not None:
            if (known.amount_minor, known.paid_at) != (receipt.amount_minor, receipt.paid_at):
                raise SourceReused(
                    "this source told of something else before",
                    field="source",
                    value=source,
                    rule="another name for another fact",
                )
            return payment
        covered = await book.receipt(payment_id, model.COLLATERAL)
        after = model.received(
            payment,
            receipt,
            defaulted=await book.has_defaulted(payment),
            covered_minor=0 if covered is None else covered.amount_minor,
        )
        await book.keep_receipt(receipt, after, now)
        event = _receipt_event(receipt, after, now)
        value_at = await book.value_at(now)
        await book.post(
            [ToPost(Kind.PAYMENT, event, model.owed(payment, -receipt.amount_minor))], value_at, now
        )
        return after


async def write_off(payment_id: str, *, by: PartyId, house: House) -> Payment:
    """The payee gives up what is open of a payment: nobody owes it any more.

    Asked again, it tells that it was. Raises UnknownPayment, NotPayee, PaymentCannot.
    """
    async with house.books.write() as book:
        now = house.clock()
        payment = _visible(await book.payment(payment_id), payment_id, by)
        if by != payment.payee:
            raise model.NotPayee(
                "its payee gives it up", field="payment_id", value=payment_id, rule="payee"
            )
        if payment.state is PaymentState.WRITTEN_OFF:
            return payment
        after = model.written_off(payment)
        await book.keep_payment(after, now)
        event = NewEvent(
            stream=STREAM,
            type=EventType.PAYMENT_WRITTEN_OFF,
            party=payment.payer,
            body={**_payment_told(after), "given_up_minor": payment.open_minor},
            occurred_at=now,
        )
        entries = model.owed(payment, -payment.open_minor)
        value_at = await book.value_at(now)
        await book.post([ToPost(Kind.DEFAULT, event, entries)], value_at, now)
        return after


@dataclass(frozen=True, slots=True)
class Defaulted:
    """What a default does to a month: a correction for each group, and how everybody comes out."""

    defaulter: PartyId
    month: Month
    rule: Rule
    corrections: Sequence[Correction]
    shares: Mapping[tuple[str, str], Sequence[Share]]


async def default(
    party: PartyId,
    month: Month,
    rule: Rule,
    *,
    means: Mapping[PartyId, Money] | None = None,
    confirm: bool,
    house: House,
) -> Defaulted:
    """Who loses what when a party does not pay; with `confirm`, it is posted.

    What the hub holds of it in collateral goes first. Raises NotSettled, NothingFailed,
    NoLongerWhole.
    """
    async with house.books.correcting(month) as book:
        await _must_be_settled(month, book)
        now = house.clock()
        left = dict(await book.collateral(party, house.hub))
        corrections: list[Correction] = []
        shares: dict[tuple[str, str], Sequence[Share]] = {}
        for settlement in await book.settlements(month, None):
            currency = settlement.currency
            collateral = max(0, left.get(currency, 0))
            if rule is Rule.UNWIND:
                made = defaults.unwound(
                    settlement, party, hub=house.hub, collateral_minor=collateral
                )
            else:
                shared = defaults.shared_out(
                    settlement,
                    party,
                    hub=house.hub,
                    collateral_minor=collateral,
                    means={
                        one: money.minor
                        for one, money in (means or {}).items()
                        if money.currency == currency
                    },
                )
                made = None
                if shared is not None:
                    made, shares[settlement.clearing_group, currency] = shared
            if made is not None:
                corrections.append(made)
                left[currency] = collateral - made.collateral_minor
        if not corrections:
            raise NothingFailed(
                f"{party} has nothing open of {month}",
                field="party",
                value=party,
                rule="a party with a payment that is due",
            )
        if confirm:
            await _correct(corrections, book, house, now)
    return Defaulted(party, month, rule, corrections, shares)


async def _correct(
    corrections: Sequence[Correction], book: Book, house: House, now: datetime
) -> None:
    value_at = await book.value_at(now)
    for one in corrections:
        await book.keep_correction(one, now)
    await book.post(
        [
            ToPost(
                Kind.DEFAULT,
                _default_event(one, house.hub, now),
                defaults.correction_entries(one, house.hub),
            )
            for one in corrections
        ],
        value_at,
        now,
    )
    await book.tell([event for one in corrections for event in _loss_events(one, now)])


async def _must_be_settled(month: Month, book: Book) -> None:
    period = await book.period(month)
    if period.state is not State.SETTLED:
        raise NotSettled(
            f"period {month} is {period.state}", field="period_id", value=str(month), rule="settled"
        )


def _visible(found: Payment | None, payment_id: str, party: PartyId | None) -> Payment:
    if found is None or party not in (None, found.payer, found.payee):
        raise UnknownPayment(f"no payment {payment_id}", field="payment_id", value=payment_id)
    return found


def _settled_event(settlement: Settlement, hub: PartyId, now: datetime) -> NewEvent:
    """Totals only: who pays whom is told to those whom it concerns."""
    return NewEvent(
        stream=STREAM,
        type=EventType.SETTLEMENT_POSTED,
        party=hub,
        body={
            "period_id": settlement.period_id,
            "clearing_group": settlement.clearing_group,
            "currency": settlement.currency,
            "strategy": settlement.strategy.value,
            "method": None if settlement.method is None else settlement.method.value,
            "pairs": len(settlement.pairs),
            "total_minor": settlement.total_minor,
            "netted_minor": settlement.netted_minor,
            "payments": len(settlement.payments),
            "paid_minor": settlement.paid_minor,
            "rates": {currency: rate.by for currency, rate in settlement.rates.items()},
        },
        occurred_at=now,
    )


def _party_events(settlements: Sequence[Settlement], now: datetime) -> list[NewEvent]:
    """To each party, the payments that it has to make and to expect."""
    told: defaultdict[PartyId, list[dict[str, Any]]] = defaultdict(list)
    for settlement in settlements:
        for payment in settlement.payments:
            for party in (payment.payer, payment.payee):
                told[party].append(_payment_told(payment))
    return [
        NewEvent(
            stream=STREAM,
            type=EventType.PAYMENTS_DUE,
            party=party,
            body={"period_id": theirs[0]["period_id"], "payments": theirs},
            occurred_at=now,
        )
        for party, theirs in sorted(told.items())
    ]


def _payment_told(payment: Payment) -> dict[str, Any]:
    return {
        "payment_id": payment.payment_id,
        "period_id": payment.period_id,
        "clearing_group": payment.clearing_group,
        "payer": payment.payer,
        "payee": payment.payee,
        "currency": payment.currency,
        "amount_minor": payment.amount_minor,
        "due_on": payment.due_on.isoformat(),
        "reference": payment.reference,
        "state": payment.state.value,
    }


def _period_event(
    period: Period, settlements: Sequence[Settlement], hub: PartyId, now: datetime
) -> NewEvent:
    return NewEvent(
        stream="periods",
        type=EventType.PERIOD_SETTLED,
        party=hub,
        body={
            "period_id": str(period.month),
            "state": period.state.value,
            "settlements": len(settlements),
            "payments": sum(len(one.payments) for one in settlements),
        },
        occurred_at=now,
    )


def _receipt_event(receipt: Receipt, payment: Payment, now: datetime) -> NewEvent:
    return NewEvent(
        stream=STREAM,
        type=EventType.PAYMENT_RECORDED,
        party=payment.payee,
        body={
            **_payment_told(payment),
            "paid_minor": payment.paid_minor,
            "came_minor": receipt.amount_minor,
            "paid_at": receipt.paid_at,
            "source": receipt.source,
        },
        occurred_at=now,
    )


def _default_event(correction: Correction, hub: PartyId, now: datetime) -> NewEvent:
    return NewEvent(
        stream=STREAM,
        type=EventType.DEFAULT_POSTED,
        party=hub,
        body={
            "period_id": correction.period_id,
            "clearing_group": correction.clearing_group,
            "currency": correction.currency,
            "defaulter": correction.defaulter,
            "rule": correction.rule.value,
            "collateral_minor": correction.collateral_minor,
            "lost_minor": sum(max(0, one.loses_minor) for one in correction.losses),
        },
        occurred_at=now,
    )


def _loss_events(correction: Correction, now: datetime) -> list[NewEvent]:
    """To each whom it concerns: what it was to get, what it gets, and what changes for it."""
    concerned = {one.party for one in correction.losses} | {
        party
        for payment in (*correction.failed, *correction.unwound, *correction.instead)
        for party in (payment.payer, payment.payee)
    }
    losses = {one.party: one for one in correction.losses}
    return [
        NewEvent(
            stream=STREAM,
            type=EventType.PARTNER_DEFAULTED,
            party=party,
            body={
                "period_id": correction.period_id,
                "clearing_group": correction.clearing_group,
                "currency": correction.currency,
                "defaulter": correction.defaulter,
                "rule": correction.rule.value,
                "loses_minor": losses[party].loses_minor if party in losses else 0,
                "taken_back": [
                    one.payment_id for one in correction.unwound if party in (one.payer, one.payee)
                ],
                "failed": [
                    one.payment_id for one in correction.failed if party in (one.payer, one.payee)
                ],
                "instead": [
                    _payment_told(one)
                    for one in correction.instead
                    if party in (one.payer, one.payee)
                ],
            },
            occurred_at=now,
        )
        for party in sorted(concerned)
    ]
