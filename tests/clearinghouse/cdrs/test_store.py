"""Records on a real PostgreSQL: booked once, whoever asks, and whatever happens in between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from clearinghouse.cdrs import flows
from clearinghouse.cdrs.batch import Outcome
from clearinghouse.cdrs.life import State
from clearinghouse.cdrs.store import SqlBooks
from clearinghouse.ledger.model import Account
from clearinghouse.ledger.store import SqlLedger
from clearinghouse.periods import flows as periods
from clearinghouse.periods.model import Month
from clearinghouse.periods.store import SqlBooks as Periods
from kit import event_log
from kit.database import Database
from kit.event_log import START
from roaming.party import PartyId
from tests.clearinghouse.cdrs.fakes import (
    EVSP,
    NOW,
    OPERATOR,
    OTHER_EVSE,
    OTHER_EVSP,
    OTHER_OPERATOR,
    TOKEN,
    intake_of,
    keep_customer,
    many,
    submission,
)


async def count(database: Database, table: str) -> int:
    async with database.hot() as connection:
        found: int = await connection.fetchval(f"SELECT count(*) FROM {table}")
    return found


async def books_of(database: Database) -> tuple[int, int, int]:
    return (
        await count(database, "clearinghouse.cdr"),
        await count(database, "clearinghouse.ledger_entry"),
        await count(database, "kit.event"),
    )


async def test_a_record_its_entries_and_its_event_are_there_together(database: Database) -> None:
    await keep_customer(database)
    (outcome,) = await flows.receive([submission()], intake=intake_of(database))
    assert outcome.cdr.state is State.ACCEPTED
    assert not outcome.known
    assert outcome.cdr.rated is not None
    assert outcome.cdr.rated.amounts() == {
        "currency": "EUR",
        "excl_vat": "5.00",
        "vat": "1.00",
        "incl_vat": "6.00",
    }
    assert await books_of(database) == (1, 4, 1)
    async with database.hot() as connection:
        (event,) = await event_log.read(connection, START)
        row = await connection.fetchrow(
            "SELECT log_xid::text::bigint AS xid, log_position FROM clearinghouse.cdr"
        )
    assert row is not None
    assert event.cursor == (row["xid"], row["log_position"])
    assert event.body["debtor"] == EVSP
    assert event.body["creditor"] == OPERATOR
    assert str(TOKEN) not in str(event.body)


async def test_what_is_read_back_is_what_was_booked(database: Database) -> None:
    await keep_customer(database)
    (outcome,) = await flows.receive(
        [
            submission(
                contract_id=None,
                token_uid=TOKEN,
                time_zone="Europe/Amsterdam",
                periods=[
                    {"start": "2025-01-15T12:00:00Z", "energy_wh": 9_999},
                    {"start": "2025-01-15T12:30:00Z", "energy_wh": 0, "parking": True},
                ],
                signed_meter_values=[{"ocmf": "OCMF|{}|{}"}],
            )
        ],
        intake=intake_of(database),
    )
    assert outcome.cdr.state is State.FLAGGED
    found = await SqlBooks(database).find(EVSP, OPERATOR, "A-1")
    assert found == outcome.cdr


async def test_the_same_record_again_changes_nothing(database: Database) -> None:
    await keep_customer(database)
    (first,) = await flows.receive([submission()], intake=intake_of(database))
    before = await books_of(database)
    (again,) = await flows.receive([submission()], intake=intake_of(database))
    assert again.known
    assert not again.reused
    assert again.cdr == first.cdr
    assert await books_of(database) == before


async def test_the_same_id_with_another_amount_changes_nothing(database: Database) -> None:
    await keep_customer(database)
    await flows.receive([submission()], intake=intake_of(database))
    before = await books_of(database)
    (other,) = await flows.receive([submission(energy_wh=99_000)], intake=intake_of(database))
    assert other.reused
    assert await books_of(database) == before


async def test_the_same_charge_under_another_id_is_rejected_and_names_the_first(
    database: Database,
) -> None:
    await keep_customer(database)
    await flows.receive([submission("A-1")], intake=intake_of(database))
    (copy,) = await flows.receive(
        [submission("A-2", contract_id=None, token_uid=TOKEN)], intake=intake_of(database)
    )
    assert copy.cdr.state is State.REJECTED
    assert copy.cdr.reasons[0].name == "duplicate-content"
    assert "A-1" in copy.cdr.reasons[0].says
    assert await books_of(database) == (2, 4, 2)


async def test_two_copies_in_one_batch_are_one(database: Database) -> None:
    await keep_customer(database)
    outcomes = await flows.receive(
        [submission("A-1"), submission("A-1"), submission("A-1", energy_wh=1), submission("A-2")],
        intake=intake_of(database),
    )
    assert [(one.known, one.reused, one.cdr.state) for one in outcomes] == [
        (False, False, State.ACCEPTED),
        (True, False, State.ACCEPTED),
        (True, True, State.ACCEPTED),
        (False, False, State.REJECTED),
    ]
    assert await count(database, "clearinghouse.ledger_entry") == 4


async def test_a_rejected_record_may_come_again_mended(database: Database) -> None:
    await keep_customer(database)
    intake = intake_of(database)
    (bad,) = await flows.receive([submission(energy_wh=-1)], intake=intake)
    assert [reason.name for reason in bad.cdr.reasons] == ["negative-energy"]
    (unmended,) = await flows.receive([submission(energy_wh=-1)], intake=intake)
    assert unmended.known
    (mended,) = await flows.receive([submission()], intake=intake)
    assert mended.cdr.state is State.ACCEPTED
    assert not mended.known
    (late,) = await flows.receive([submission(energy_wh=-1)], intake=intake)
    assert late.reused
    assert await books_of(database) == (2, 4, 2)


async def test_of_one_record_that_comes_many_times_at_once_one_wins(
    database: Database, database_url: str
) -> None:
    await keep_customer(database)
    others = [await Database.open(database_url, pool_size=2) for _ in range(4)]

    async def hand_in(one: Database, energy_wh: int) -> Sequence[Outcome]:
        return await flows.receive([submission(energy_wh=energy_wh)], intake=intake_of(one))

    try:
        outcomes = await asyncio.gather(
            *(hand_in(one, 10_000 + number % 2) for number, one in enumerate(others * 5))
        )
    finally:
        for one in others:
            await one.close()
    flat = [outcome for (outcome,) in outcomes]
    assert sum(not one.known for one in flat) == 1
    winner = next(one.cdr for one in flat if not one.known)
    assert all(one.cdr == winner for one in flat)
    assert {one.reused for one in flat} == {False, True}
    assert await books_of(database) == (1, 4, 1)


async def test_writers_of_many_operators_in_any_order_do_not_block_each_other(
    database: Database,
) -> None:
    await keep_customer(database)
    intake = intake_of(database)
    mine = many(20)
    theirs = many(20, operator=OTHER_OPERATOR, prefix="N", evse_id=str(OTHER_EVSE))
    mixed = [*mine, *theirs]
    outcomes = await asyncio.gather(
        *(flows.receive(mixed[turn:] + mixed[:turn], intake=intake) for turn in range(0, 40, 5))
    )
    assert sum(not one.known for batch in outcomes for one in batch) == 40
    assert await count(database, "clearinghouse.ledger_entry") == 160


async def test_the_database_itself_refuses_a_second_booking(database: Database) -> None:
    await keep_customer(database)
    await flows.receive([submission()], intake=intake_of(database))
    for changed in ("cdr_id = 'A-2'", "fingerprint = '\\x01'"):
        with pytest.raises(Exception, match="duplicate key"):
            await copy_with(database, changed)


async def copy_with(database: Database, changed: str) -> None:
    async with database.hot() as connection:
        await connection.execute(
            "CREATE TEMP TABLE copy ON COMMIT DROP AS SELECT * FROM clearinghouse.cdr"
        )
        await connection.execute(f"UPDATE copy SET log_position = 999, {changed}")
        await connection.execute("INSERT INTO clearinghouse.cdr SELECT * FROM copy")


async def test_when_the_ledger_refuses_nothing_stays(database: Database) -> None:
    await keep_customer(database)
    async with database.begin() as connection:
        await connection.exec_driver_sql(
            "ALTER TABLE clearinghouse.ledger_entry ADD CHECK (amount_minor < 500)"
        )
    with pytest.raises(Exception, match="check constraint"):
        await flows.receive([submission()], intake=intake_of(database))
    assert await books_of(database) == (0, 0, 0)


async def test_each_party_reads_its_own_records_page_by_page(database: Database) -> None:
    await keep_customer(database)
    intake = intake_of(database)
    await flows.receive(many(5), intake=intake)
    await flows.receive([submission("bad", energy_wh=-1)], intake=intake)
    await flows.receive(
        many(2, operator=OTHER_OPERATOR, prefix="N"), intake=intake
    )  # of an EVSE that is not theirs: rejected
    books = SqlBooks(database)

    async def all_of(party: PartyId, limit: int) -> list[str]:
        found: list[str] = []
        after = START
        while page := await books.page(party, after=after, since=None, state=None, limit=limit):
            found += [cdr.submission.cdr_id for _, cdr in page]
            after = page[-1][0]
        return found

    assert await all_of(OPERATOR, 2) == ["M-0", "M-1", "M-2", "M-3", "M-4", "bad"]
    assert await all_of(EVSP, 3) == ["M-0", "M-1", "M-2", "M-3", "M-4"]
    assert await all_of(OTHER_OPERATOR, 10) == ["N-0", "N-1"]
    assert await all_of(OTHER_EVSP, 10) == []
    assert await books.find(OTHER_EVSP, OPERATOR, "M-0") is None
    assert await books.find(EVSP, OPERATOR, "bad") is None
    assert await books.find(OPERATOR, OPERATOR, "bad") is not None
    rejected = await books.page(OPERATOR, after=START, since=None, state=State.REJECTED, limit=10)
    assert [cdr.submission.cdr_id for _, cdr in rejected] == ["bad"]
    later = NOW.replace(year=2026)
    assert not await books.page(OPERATOR, after=START, since=later, state=None, limit=9)


async def test_a_reader_waits_for_the_record_of_a_slow_writer(database: Database) -> None:
    await keep_customer(database)
    intake = intake_of(database)
    async with database.hot() as slow:
        await slow.fetchval("SELECT pg_current_xact_id()")
        await flows.receive(many(1), intake=intake)
        books = SqlBooks(database)
        assert not await books.page(EVSP, after=START, since=None, state=None, limit=10)
    assert await books.page(EVSP, after=START, since=None, state=None, limit=10)


async def test_a_charge_that_shares_time_on_its_evse_with_one_on_record_is_noted(
    database: Database,
) -> None:
    await keep_customer(database)
    intake = intake_of(database)

    async def overlaps(cdr_id: str, start: str, end: str) -> list[str]:
        told = submission(cdr_id, start=start, end=end)
        (outcome,) = await flows.receive([told], intake=intake)
        assert outcome.cdr.booked
        assert await SqlBooks(database).find(EVSP, told.operator, cdr_id) == outcome.cdr
        return [one.says for one in outcome.cdr.notices if one.name == "overlap"]

    assert await overlaps("A-1", "2025-01-15T12:00:00Z", "2025-01-15T13:00:00Z") == []
    assert await overlaps("A-2", "2025-01-15T13:00:00Z", "2025-01-15T14:00:00Z") == []
    assert await overlaps("A-3", "2025-01-15T11:00:00Z", "2025-01-15T12:00:00Z") == []
    (said,) = await overlaps("A-4", "2025-01-15T13:59:59Z", "2025-01-15T15:00:00Z")
    assert "A-2" in said
    (said,) = await overlaps("A-5", "2025-01-15T11:59:59Z", "2025-01-15T12:00:01Z")
    assert "A-3" in said


async def test_what_the_operator_reckons_is_kept_and_held_against_the_price(
    database: Database,
) -> None:
    await keep_customer(database)
    told = submission(total_cost={"currency": "EUR", "excl_vat": "5.5"})
    (outcome,) = await flows.receive([told], intake=intake_of(database))
    assert [one.name for one in outcome.cdr.reasons] == ["total-cost-differs"]
    assert outcome.cdr.state is State.FLAGGED
    assert outcome.cdr.rated is not None
    assert outcome.cdr.rated.excl_vat.minor == 500, "the agreement's price holds"
    assert await SqlBooks(database).find(EVSP, OPERATOR, "A-1") == outcome.cdr
    other = submission(total_cost={"currency": "EUR", "excl_vat": "5.0"})
    (reused,) = await flows.receive([other], intake=intake_of(database))
    assert reused.reused, "another cost is another record"


async def test_every_booked_record_has_its_posting(database: Database) -> None:
    await keep_customer(database)
    await flows.receive(many(30), intake=intake_of(database))
    assert (await SqlLedger(database).ledger_sum("EUR")).minor == 0
    async with database.hot() as connection:
        missing = await connection.fetchval(
            "SELECT count(*) FROM clearinghouse.cdr AS c WHERE NOT EXISTS (SELECT FROM"
            " clearinghouse.ledger_entry AS e WHERE e.posting_id = c.log_position"
            " AND e.account = 'charge-receivable' AND e.amount_minor = c.excl_vat_minor)"
        )
    assert missing == 0


async def tell(database: Database, cdr_id: str, **changes: Any) -> Outcome:
    (outcome,) = await flows.receive([submission(cdr_id, **changes)], intake=intake_of(database))
    return outcome


def credit(of: str) -> dict[str, Any]:
    return {"credit": True, "credit_reference_id": of}


async def due(database: Database) -> int:
    """What the EVSP owes the operator for charges, VAT apart."""
    for balance in await SqlLedger(database).balances(OPERATOR):
        if balance.account is Account.CHARGE_RECEIVABLE:
            return balance.amount.minor
    return 0


async def test_a_charge_its_credit_and_a_new_one_leave_the_new_one_due(database: Database) -> None:
    await keep_customer(database)
    first = await tell(database, "A-1", energy_wh=20_000)
    assert await due(database) == 1_000
    taken_back = await tell(database, "A-1-C", energy_wh=20_000, **credit("A-1"))
    assert taken_back.cdr.rated is not None
    assert taken_back.cdr.rated.amounts()["incl_vat"] == "-12.00"
    assert await due(database) == 0
    new = await tell(database, "A-2", energy_wh=10_000, replaces="A-1")
    assert await due(database) == 500
    books = SqlBooks(database)
    states = {
        cdr_id: found.state.value
        for cdr_id in ("A-1", "A-1-C", "A-2")
        if (found := await books.find(EVSP, OPERATOR, cdr_id)) is not None
    }
    assert states == {"A-1": "revised", "A-1-C": "accepted", "A-2": "accepted"}
    assert (first.known, taken_back.known, new.known) == (False, False, False)
    assert (await SqlLedger(database).audit()).faults == []


async def test_the_same_correction_again_changes_nothing(database: Database) -> None:
    await keep_customer(database)
    await tell(database, "A-1")
    await tell(database, "A-1-C", **credit("A-1"))
    await tell(database, "A-2", energy_wh=5_000, replaces="A-1")
    before = await books_of(database)
    assert (await tell(database, "A-1")).cdr.state is State.REVISED
    assert (await tell(database, "A-1-C", **credit("A-1"))).known
    assert (await tell(database, "A-2", energy_wh=5_000, replaces="A-1")).known
    assert await books_of(database) == before


async def test_a_record_may_be_told_again_as_it_was_once_it_is_credited(
    database: Database,
) -> None:
    await keep_customer(database)
    await tell(database, "A-1")
    assert [one.name for one in (await tell(database, "B-1")).cdr.reasons] == ["duplicate-content"]
    await tell(database, "A-1-C", **credit("A-1"))
    again = await tell(database, "A-2", replaces="A-1")
    assert (again.cdr.state, await due(database)) == (State.ACCEPTED, 500)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (credit("A-9"), "credit-of-unknown"),
        (credit("A-0-C"), "credit-of-credit"),
        (credit("A-0"), "credited-already"),
        ({**credit("A-1"), "energy_wh": 9_999}, "credit-mismatch"),
        ({"replaces": "A-9", "energy_wh": 1}, "replaces-unknown"),
        ({"replaces": "A-1", "energy_wh": 1}, "replaces-uncredited"),
    ],
)
async def test_a_correction_of_what_cannot_be_corrected_is_rejected_and_changes_nothing(
    database: Database, changes: dict[str, Any], reason: str
) -> None:
    await keep_customer(database)
    evening = {"start": "2025-01-15T20:00:00Z", "end": "2025-01-15T21:00:00Z"}
    await tell(database, "A-0", **evening)
    await tell(database, "A-0-C", **evening, **credit("A-0"))
    await tell(database, "A-1")
    outcome = await tell(database, "B-1", **changes)
    assert (outcome.cdr.state, outcome.cdr.reasons[0].name) == (State.REJECTED, reason)
    assert outcome.cdr.rated is None
    assert await due(database) == 500
    kept = await SqlBooks(database).find(OPERATOR, OPERATOR, "A-1")
    assert kept is not None
    assert kept.state is State.ACCEPTED


async def test_a_whole_correction_may_come_in_one_batch(database: Database) -> None:
    await keep_customer(database)
    batch = [
        submission("A-1", energy_wh=20_000),
        submission("A-1-C", energy_wh=20_000, **credit("A-1")),
        submission("A-2", energy_wh=10_000, replaces="A-1"),
    ]
    outcomes = await flows.receive(batch, intake=intake_of(database))
    assert [one.cdr.booked for one in outcomes] == [True, True, True]
    assert await due(database) == 500
    found = await SqlBooks(database).find(OPERATOR, OPERATOR, "A-1")
    assert found is not None
    assert (found.state, found.fingerprint) == (State.REVISED, None)


async def test_two_credits_of_one_record_at_the_same_moment_are_one(database: Database) -> None:
    await keep_customer(database)
    await tell(database, "A-1")
    outcomes = await asyncio.gather(
        *(tell(database, f"A-1-C{n}", **credit("A-1")) for n in range(5))
    )
    assert sorted(one.cdr.state.value for one in outcomes) == ["accepted", *["rejected"] * 4]
    assert await due(database) == 0


async def test_a_credit_of_a_closed_month_is_due_in_the_open_one(database: Database) -> None:
    await keep_customer(database)
    await tell(database, "A-1")
    await periods.close(
        Month(2025, 1),
        hub=PartyId("EU*GRD"),
        books=Periods(database),
        clock=lambda: NOW,
    )
    taken_back = await tell(database, "A-1-C", **credit("A-1"))
    assert taken_back.cdr.value_at == Month(2025, 2).starts_at
    overview = await periods.show(Month(2025, 1), books=Periods(database))
    assert [total.charges_minor for total in overview.totals] == [500]
    overview = await periods.show(Month(2025, 2), books=Periods(database))
    assert [(total.charges_minor, total.cdrs) for total in overview.totals] == [(-500, -1)]
