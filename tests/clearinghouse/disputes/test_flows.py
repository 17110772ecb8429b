"""Disputes on a real PostgreSQL: the amount waits, comes back or is credited; never both."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from clearinghouse.cdrs import flows as cdr_flows
from clearinghouse.cdrs.life import State as CdrState
from clearinghouse.cdrs.model import UnknownCdr
from clearinghouse.cdrs.store import SqlBooks as Cdrs
from clearinghouse.disputes import flows
from clearinghouse.disputes.model import (
    Action,
    CannotDecline,
    Dispute,
    DisputeCannot,
    NotYourTurn,
    Reason,
    State,
    TooLate,
    UnknownDispute,
)
from clearinghouse.disputes.store import SqlBooks
from clearinghouse.disputes.tasks import deadlines
from clearinghouse.ledger.store import SqlLedger
from clearinghouse.periods import flows as periods
from clearinghouse.periods.model import Month
from clearinghouse.periods.store import SqlBooks as Periods
from kit.database import Database
from kit.event_log import START
from roaming.party import PartyId
from tests.clearinghouse.cdrs.fakes import (
    EVSP,
    NOW,
    OPERATOR,
    OTHER_EVSP,
    OTHER_OPERATOR,
    intake_of,
    keep_customer,
    submission,
)

HUB = PartyId("EU*GRD")


@pytest.fixture
async def booked(database: Database) -> Database:
    """A-1 is owed: 5.00 EUR and 1.00 VAT, in January 2025."""
    await keep_customer(database)
    await tell(database, "A-1")
    return database


async def tell(database: Database, cdr_id: str, **changes: Any) -> CdrState:
    (one,) = await cdr_flows.receive([submission(cdr_id, **changes)], intake=intake_of(database))
    return one.cdr.state


async def decline(database: Database, cdr_id: str = "A-1", **how: Any) -> Dispute:
    return await flows.decline(
        OPERATOR,
        cdr_id,
        how.get("reason", Reason.WRONG_ENERGY),
        how.get("says"),
        evsp=how.get("evsp", EVSP),
        books=SqlBooks(database),
        clock=lambda: how.get("now", NOW),
    )


async def act(
    database: Database,
    dispute: Dispute,
    action: Action,
    caller: PartyId,
    *,
    now: datetime = NOW,
    says: str | None = "as told",
) -> Dispute:
    return await flows.act(
        dispute.dispute_id,
        action,
        says,
        caller=caller,
        hub=HUB,
        books=SqlBooks(database),
        clock=lambda: now,
    )


async def owed(database: Database) -> dict[str, int]:
    return {
        balance.account.value: balance.amount.minor
        for balance in await SqlLedger(database).balances(OPERATOR)
        if balance.amount.minor
    }


async def state_of(database: Database, cdr_id: str = "A-1") -> str:
    found = await Cdrs(database).find(OPERATOR, OPERATOR, cdr_id)
    assert found is not None
    return found.state.value


DUE = {"charge-receivable": 500, "vat-receivable": 100}
WAITING = {"disputed-charge-receivable": 500, "disputed-vat-receivable": 100}


async def test_what_is_declined_waits_apart_from_what_is_cleared(booked: Database) -> None:
    assert await owed(booked) == DUE
    dispute = await decline(booked)
    assert await owed(booked) == WAITING
    assert await state_of(booked) == "declined"
    assert dispute.due_at == NOW + timedelta(days=14)
    overview = await periods.show(Month(2025, 1), books=Periods(booked))
    [total] = overview.totals
    assert (total.charges_minor, total.cdrs, total.disputed_minor) == (0, 0, 600)


async def test_declining_again_is_the_same_dispute(booked: Database) -> None:
    one = await decline(booked)
    assert await decline(booked, reason=Reason.WRONG_PRICE) == one
    assert await owed(booked) == WAITING


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        ([(Action.WITHDRAW, EVSP)], State.WITHDRAWN),
        ([(Action.CONTEST, OPERATOR), (Action.ACCEPT, EVSP)], State.ACCEPTED),
        (
            [(Action.CONTEST, OPERATOR), (Action.ESCALATE, EVSP), (Action.DISMISS, HUB)],
            State.DISMISSED,
        ),
    ],
)
async def test_what_is_released_is_owed_as_it_was(
    booked: Database, steps: list[tuple[Action, PartyId]], state: State
) -> None:
    dispute = await decline(booked)
    for action, party in steps:
        dispute = await act(booked, dispute, action, party)
        assert await act(booked, dispute, action, party) == dispute
    assert dispute.state is state
    assert await owed(booked) == DUE
    assert await state_of(booked) == "approved"
    assert (await SqlLedger(booked).audit()).faults == []


@pytest.mark.parametrize(
    "steps",
    [
        [(Action.CONCEDE, OPERATOR)],
        [(Action.CONTEST, OPERATOR), (Action.CONCEDE, OPERATOR)],
        [(Action.CONTEST, OPERATOR), (Action.ESCALATE, EVSP), (Action.UPHOLD, HUB)],
    ],
)
async def test_what_is_credited_is_owed_no_more_and_its_evsp_gets_the_credit(
    booked: Database, steps: list[tuple[Action, PartyId]]
) -> None:
    dispute = await decline(booked)
    for action, party in steps:
        dispute = await act(booked, dispute, action, party)
    assert await owed(booked) == {}
    assert await state_of(booked) == "credited"
    page = await Cdrs(booked).page(EVSP, after=START, since=None, state=None, limit=10)
    credit = page[-1][1]
    assert credit.submission.credit_reference_id == "A-1"
    assert credit.rated is not None
    assert credit.rated.amounts()["incl_vat"] == "-6.00"
    assert (await SqlLedger(booked).audit()).faults == []
    # And what was wrong in part may come again, mended.
    assert await tell(booked, "A-2", energy_wh=4_000, replaces="A-1") is CdrState.ACCEPTED
    assert await owed(booked) == {"charge-receivable": 200, "vat-receivable": 40}
    assert await state_of(booked) == "revised"


async def test_a_dispute_about_a_closed_month_is_held_out_of_the_open_one(
    booked: Database,
) -> None:
    async def close(month: Month, now: datetime) -> None:
        await periods.close(month, hub=HUB, books=Periods(booked), clock=lambda: now)

    async def charges(month: Month) -> list[int]:
        overview = await periods.show(month, books=Periods(booked))
        return [total.charges_minor for total in overview.totals]

    await close(Month(2025, 1), NOW)
    dispute = await decline(booked)
    assert (await charges(Month(2025, 1)), await charges(Month(2025, 2))) == ([500], [-500])
    march = datetime(2025, 3, 2, tzinfo=UTC)
    await close(Month(2025, 2), march)
    await act(booked, dispute, Action.WITHDRAW, EVSP, now=march)
    assert (await charges(Month(2025, 2)), await charges(Month(2025, 3))) == ([-500], [500])
    assert await owed(booked) == DUE


async def test_silence_is_decided_by_the_clock_once(booked: Database) -> None:
    dispute = await decline(booked)
    assert dispute.due_at is not None
    books = SqlBooks(booked)
    early, due = dispute.due_at - timedelta(seconds=1), dispute.due_at
    assert await flows.lapse(books=books, clock=lambda: early) == 0
    lapsed = await asyncio.gather(*(flows.lapse(books=books, clock=lambda: due) for _ in range(3)))
    assert sum(lapsed) == 1
    assert await owed(booked) == {}
    with pytest.raises(DisputeCannot):
        await act(booked, dispute, Action.CONTEST, OPERATOR, now=due)


async def test_the_worker_lets_what_is_due_lapse(booked: Database) -> None:
    dispute = await decline(booked)
    assert dispute.due_at is not None
    due = dispute.due_at
    worker = deadlines(SqlBooks(booked), lambda: due)
    worker.start()
    try:
        async with asyncio.timeout(10):
            while await state_of(booked) == "declined":  # noqa: ASYNC110  another's work
                await asyncio.sleep(0.01)
    finally:
        await worker.close()
    assert await state_of(booked) == "credited"


async def test_both_sides_may_act_at_the_same_moment_and_one_of_them_has(
    booked: Database,
) -> None:
    dispute = await decline(booked)
    results = await asyncio.gather(
        act(booked, dispute, Action.WITHDRAW, EVSP),
        act(booked, dispute, Action.CONCEDE, OPERATOR),
        return_exceptions=True,
    )
    assert [type(one) for one in results].count(DisputeCannot) == 1
    assert await owed(booked) in ({}, DUE)
    assert (await SqlLedger(booked).audit()).faults == []


async def test_nobody_acts_for_another(booked: Database) -> None:
    dispute = await decline(booked)
    for action, party in (
        (Action.WITHDRAW, OPERATOR),
        (Action.CONCEDE, EVSP),
        (Action.CONTEST, EVSP),
        (Action.LAPSE, EVSP),
        (Action.WITHDRAW, HUB),
    ):
        with pytest.raises(NotYourTurn):
            await act(booked, dispute, action, party)
    for stranger in (OTHER_EVSP, OTHER_OPERATOR):
        with pytest.raises(UnknownDispute):
            await act(booked, dispute, Action.WITHDRAW, stranger)
    assert await owed(booked) == WAITING


async def test_only_what_one_owes_can_be_declined_and_in_time(booked: Database) -> None:
    with pytest.raises(UnknownCdr):
        await decline(booked, evsp=OTHER_EVSP)
    with pytest.raises(UnknownCdr):
        await decline(booked, "A-9")
    with pytest.raises(TooLate):
        await decline(booked, now=NOW + timedelta(days=46))
    await tell(booked, "A-1-C", credit=True, credit_reference_id="A-1")
    for cdr_id in ("A-1", "A-1-C"):
        with pytest.raises(CannotDecline):
            await decline(booked, cdr_id)


async def test_what_is_in_dispute_is_credited_by_answering_it(booked: Database) -> None:
    await decline(booked)
    assert await tell(booked, "A-1-C", credit=True, credit_reference_id="A-1") is CdrState.REJECTED
    assert await owed(booked) == WAITING


async def test_each_step_is_told_to_both_sides(booked: Database) -> None:
    dispute = await decline(booked)
    await act(booked, dispute, Action.CONTEST, OPERATOR)
    await act(booked, dispute, Action.ACCEPT, EVSP)
    async with booked.hot() as connection:
        rows = await connection.fetch(
            "SELECT party, type FROM kit.event WHERE stream LIKE 'disputes:%' ORDER BY position"
        )
    told = [(row["party"], row["type"]) for row in rows]
    steps = ["dispute-opened", "dispute-went-on", "dispute-resolved"]
    assert [kind for party, kind in told if party == EVSP] == steps
    assert [kind for party, kind in told if party == OPERATOR] == steps


async def test_a_step_that_fails_half_way_leaves_nothing(booked: Database) -> None:
    async with booked.hot() as connection:
        await connection.execute(
            "ALTER TABLE clearinghouse.dispute ADD CHECK (reason <> 'wrong-price')"
        )
    with pytest.raises(Exception, match="check constraint"):
        await decline(booked, reason=Reason.WRONG_PRICE)
    assert await owed(booked) == DUE
    assert await state_of(booked) == "accepted"
