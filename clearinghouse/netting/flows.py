"""What netting does, step by step. Routes, statements and the command line all start here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import uuid4

from clearinghouse.netting import model
from clearinghouse.netting.model import ClearingRun, Period, Strategy, UnknownRun
from clearinghouse.netting.ports import Books
from kit.clock import Clock
from kit.event_log import NewEvent
from roaming.events import EventType
from roaming.money import places_of
from roaming.party import PartyId

LARGEST_PAGE = 100


async def run_clearing(
    period: Period,
    currency: str,
    strategy: Strategy,
    *,
    caller: PartyId,
    hub: PartyId,
    books: Books,
    clock: Clock,
) -> ClearingRun:
    """Clear a period and record it. The hub sees all of it, another caller what concerns it.

    Gross and bilateral clearing of a partner are those of its own obligations. Multilateral
    clearing and that of cycles are always of all: a partner's payments depend on everyone's.
    """
    (run,) = await run_clearings(
        period, currency, [strategy], caller=caller, hub=hub, books=books, clock=clock
    )
    return run


async def run_clearings(
    period: Period,
    currency: str,
    strategies: Sequence[Strategy],
    *,
    caller: PartyId,
    hub: PartyId,
    books: Books,
    clock: Clock,
) -> list[ClearingRun]:
    """Clear a period by several strategies, all from one look at the ledger; see run_clearing."""
    places_of(currency)
    whole = caller == hub or any(strategy.needs_everyone for strategy in strategies)
    runs: list[ClearingRun] = []
    async with books.open() as book:
        everyone = await book.obligations(period, currency, None if whole else caller)
        own = [one for one in everyone if caller in (one.debtor, one.creditor)]
        for strategy in strategies:
            all_of_it = caller == hub or strategy.needs_everyone
            run = ClearingRun(
                run_id=str(uuid4()),
                requested_by=caller,
                period=period,
                currency=currency,
                # Proving the fewest payments may take a second or two: not the event loop's.
                clearing=await asyncio.to_thread(
                    model.clear, strategy, everyone if all_of_it else own
                ),
                recorded_at=clock(),
            )
            await book.record(run, _event(run))
            runs.append(_seen(run, caller, hub))
    return runs


async def show_run(run_id: str, *, caller: PartyId, hub: PartyId, books: Books) -> ClearingRun:
    """A recorded run that the caller or the hub asked for, as far as it concerns the caller."""
    async with books.open() as book:
        run = await book.find(run_id)
    if run is None or run.requested_by not in (caller, hub):
        raise UnknownRun(f"no clearing run {run_id}", field="run_id", value=run_id)
    return _seen(run, caller, hub)


async def list_runs(caller: PartyId, *, hub: PartyId, books: Books) -> Sequence[ClearingRun]:
    """The latest runs that the caller or the hub asked for, without their lines."""
    async with books.open() as book:
        return await book.runs(sorted({caller, hub}), LARGEST_PAGE)


def _seen(run: ClearingRun, caller: PartyId, hub: PartyId) -> ClearingRun:
    if caller == hub:
        return run
    return ClearingRun(
        run_id=run.run_id,
        requested_by=run.requested_by,
        period=run.period,
        currency=run.currency,
        clearing=run.clearing.seen_by(caller),
        recorded_at=run.recorded_at,
    )


def _event(run: ClearingRun) -> NewEvent:
    """Totals only: who owes whom is told to those whom it concerns."""
    clearing = run.clearing
    return NewEvent(
        stream="clearing-runs",
        type=EventType.CLEARING_RUN_RECORDED,
        party=run.requested_by,
        body={
            "run_id": run.run_id,
            "from": run.period.start,
            "to": run.period.end,
            "currency": run.currency,
            "strategy": clearing.strategy.value,
            "method": None if clearing.method is None else clearing.method.value,
            "cdrs": sum(debt.cdrs for debt in clearing.obligations),
            "gross_minor": sum(debt.amount_minor for debt in clearing.obligations),
            "payments": len(clearing.payments),
            "paid_minor": sum(payment.amount_minor for payment in clearing.payments),
        },
        occurred_at=run.recorded_at,
    )
