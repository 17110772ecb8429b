"""Files on a real PostgreSQL: whole or not at all, and once, whatever happens in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from clearinghouse.cdr_files import flows
from clearinghouse.cdr_files.model import (
    FATAL,
    File,
    FileIdTaken,
    FileRefused,
    State,
    UnknownFile,
)
from clearinghouse.cdr_files.store import SqlFiles
from clearinghouse.cdrs.routes import Routes
from clearinghouse.cdrs.wire import CdrAnswer
from kit import event_log
from kit.database import Database
from kit.event_log import START
from roaming.party import PartyId
from tests.clearinghouse.cdr_files.files import file, numbered, records
from tests.clearinghouse.cdrs.fakes import (
    NOW,
    OPERATOR,
    OTHER_OPERATOR,
    intake_of,
    keep_customer,
    told,
)


@pytest.fixture
async def intake(database: Database) -> AsyncIterator[Routes]:
    await keep_customer(database)
    routes = Routes(intake_of(database), database)
    yield routes
    await routes.close()


async def receive(database: Database, body: bytes, caller: PartyId = OPERATOR) -> File:
    return await flows.receive(
        "2025-01", numbered(body), caller=caller, files=SqlFiles(database), clock=lambda: NOW
    )


async def book(database: Database, intake: Any) -> None:
    while await flows.book_some(files=SqlFiles(database), intake=intake, clock=lambda: NOW):
        pass


async def found(database: Database) -> File:
    return await flows.show("2025-01", caller=OPERATOR, files=SqlFiles(database))


async def count(database: Database, what: str) -> int:
    async with database.hot() as connection:
        number: int = await connection.fetchval(f"SELECT count(*) FROM {what}")
    return number


async def test_a_file_is_taken_and_booked_and_its_bad_record_returned(
    database: Database, intake: Routes
) -> None:
    some = records(1_200)
    some[7] |= {"evse_id": "FR*PD1*E9"}
    some[8] = {"cdr_id": "F-8", "energy_wh": 3}
    some[9] |= {"end": "2025-01-17T12:00:00Z"}
    taken = await receive(database, file(some))
    assert (taken.state, taken.records) == (State.BOOKING, 1_200)
    assert await count(database, "clearinghouse.cdr") == 0
    await book(database, intake)
    done = await found(database)
    assert (done.state, done.finished_at) == (State.BOOKED, NOW)
    assert (done.accepted, done.flagged, done.rejected) == (1_197, 1, 2)
    returned = await SqlFiles(database).lines(done.upload_id, after=0, state="rejected", limit=9)
    assert [(one.line, one.cdr_id, one.reasons[0][0]) for one in returned] == [
        (9, "F-7", "evse-unknown"),
        (10, "F-8", "malformed"),
    ]
    # What a card did is not kept a second time.
    assert await count(database, "clearinghouse.cdr_file_line WHERE content IS NOT NULL") == 0
    async with database.hot() as connection:
        [event] = await event_log.read(connection, START, types=["cdr-file-booked"])
    assert (event.party, event.body["records"], event.body["rejected"]) == (OPERATOR, 1_200, 2)


HEADER = b'{"header":{"file_id":"2025-01","sender":"FR*PD1"}}\n'
END = b'{"trailer":{"records":0,"energy_wh":0}}\n'


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"", "no-header"),
        (file(records(2)).partition(b"\n")[2], "no-header"),
        (b'{"header":{}}\n' + END, "no-header"),
        (b"\xff\n" + END, "no-header"),
        (file(records(2), "2025-02"), "file-id-differs"),
        (file(records(2), sender=OTHER_OPERATOR), "sender-is-not-the-caller"),
        (HEADER + b"nonsense\n" + END, "line-unreadable"),
        (HEADER + b"[]\n" + END, "line-unreadable"),
        (HEADER + b"[" * 5_000 + b"\n" + END, "line-unreadable"),
        (HEADER + b'{"cdr_id":"' + b"x" * 300_000 + b'"}\n' + END, "line-unreadable"),
        (HEADER, "no-trailer"),
        (file(records(2))[:-70], "line-unreadable"),
        (HEADER + END + b"{}\n", "no-trailer"),
        (HEADER + END + END, "no-trailer"),
        (HEADER + b'{"trailer":{"records":"0"}}\n', "no-trailer"),
        (file(records(2), records=3), "records-mismatch"),
        (file(records(2), energy_wh=3), "energy-mismatch"),
        (file(records(2), totals={"EUR": "1.00"}), "totals-mismatch"),
        (file(records(2_500), records=3), "records-mismatch"),
    ],
)
async def test_a_fatal_fault_returns_the_file_and_books_nothing(
    database: Database, intake: Routes, body: bytes, name: str
) -> None:
    with pytest.raises(FileRefused) as refused:
        await receive(database, body)
    refusal = await found(database)
    assert refusal.state is State.REFUSED
    assert refusal.faults[0].name == name
    assert refused.value.rule == FATAL[name]
    await book(database, intake)
    assert await count(database, "clearinghouse.cdr") == 0
    assert await count(database, "clearinghouse.cdr_file_line") == 0
    async with database.hot() as connection:
        [event] = await event_log.read(connection, START, types=["cdr-file-refused"])
    assert name in event.body["faults"]
    # Mended, it may come again under its name.
    assert (await receive(database, file(records(2)))).state is State.BOOKING


async def test_a_file_adds_up_by_currency(database: Database, intake: Routes) -> None:
    cost = {"currency": "EUR", "excl_vat": "0.50"}
    some = [told("F-1", energy_wh=1_000, total_cost=cost), told("F-2", energy_wh=10)]
    await receive(database, file(some, totals={"EUR": "0.5"}))
    await book(database, intake)
    done = await found(database)
    assert (done.accepted, done.totals, done.energy_wh) == (2, {"EUR": "0.50"}, 1_010)


async def test_the_same_file_again_is_the_same_and_another_is_refused_and_the_first_stands(
    database: Database, intake: Routes
) -> None:
    body = file(records(3))
    first = await receive(database, body)
    assert await receive(database, body) == first
    await book(database, intake)
    assert (await receive(database, body)).state is State.BOOKED
    with pytest.raises(FileIdTaken):
        await receive(database, file(records(4)))
    await book(database, intake)
    done = await found(database)
    assert (done.state, done.records, done.accepted) == (State.BOOKED, 3, 3)
    assert await count(database, "clearinghouse.cdr") == 3


async def test_the_same_file_many_times_at_once_is_taken_once(
    database: Database, intake: Routes
) -> None:
    body = file(records(40))
    taken = await asyncio.gather(*(receive(database, body) for _ in range(6)))
    assert len({one.upload_id for one in taken}) == 1
    await asyncio.gather(*(book(database, intake) for _ in range(4)))
    assert (await found(database)).accepted == 40
    assert await count(database, "clearinghouse.cdr") == 40
    assert await count(database, "clearinghouse.cdr_file") == 1
    assert await count(database, "kit.event WHERE type = 'cdr-file-booked'") == 1


class Dying:
    """An intake whose process dies when it has booked, and before anybody hears of it."""

    def __init__(self, intake: Routes, times: int) -> None:
        self._intake = intake
        self.times = times

    async def take(
        self, operator: PartyId, raws: Sequence[bytes]
    ) -> Sequence[tuple[CdrAnswer, bool]]:
        answers = await self._intake.take(operator, raws)
        if self.times:
            self.times -= 1
            raise RuntimeError("the power goes out")
        return answers


async def test_what_a_crash_left_half_booked_is_booked_to_its_end_and_nothing_twice(
    database: Database, intake: Routes
) -> None:
    await receive(database, file(records(1_100)))
    dying = Dying(intake, 2)
    while dying.times:
        with pytest.raises(RuntimeError):
            await book(database, dying)
    half = await found(database)
    assert (half.state, half.accepted) == (State.BOOKING, 0)
    assert await count(database, "clearinghouse.cdr") == 500
    await book(database, dying)
    done = await found(database)
    assert (done.state, done.accepted, done.rejected) == (State.BOOKED, 1_100, 0)
    assert await count(database, "clearinghouse.cdr") == 1_100
    assert await count(database, "clearinghouse.ledger_entry") == 4 * 1_100


async def test_a_file_that_breaks_off_leaves_nothing(database: Database) -> None:
    async def breaking() -> AsyncIterator[tuple[int, bytes]]:
        async for one in numbered(file(records(2_100))):
            if one[0] == 2_050:
                raise ConnectionResetError("the sender is gone")
            yield one

    with pytest.raises(ConnectionResetError):
        await flows.receive(
            "f", breaking(), caller=OPERATOR, files=SqlFiles(database), clock=lambda: NOW
        )
    assert await count(database, "clearinghouse.cdr_file_line") == 0
    with pytest.raises(UnknownFile):
        await flows.show("f", caller=OPERATOR, files=SqlFiles(database))


async def test_an_attempt_that_died_with_its_process_is_cleared_up_in_time(
    database: Database, intake: Routes
) -> None:
    files = SqlFiles(database)
    old = await files.begin(OPERATOR, "old", NOW - timedelta(minutes=61))
    await files.stage(old, [(2, b"{}")], NOW - timedelta(minutes=61))
    young = await files.begin(OPERATOR, "young", NOW - timedelta(minutes=61))
    await files.stage(young, [(2, b"{}")], NOW - timedelta(minutes=59))
    await book(database, intake)
    assert await files.find(OPERATOR, "old") is None
    assert await files.find(OPERATOR, "young") is not None
    assert await count(database, "clearinghouse.cdr_file_line") == 1


async def test_a_file_that_cannot_be_booked_now_holds_up_no_other(
    database: Database, intake: Routes
) -> None:
    files = SqlFiles(database)
    for number, operator in enumerate((OPERATOR, OTHER_OPERATOR)):
        body = file(records(1), sender=operator)
        await flows.receive(
            "2025-01",
            numbered(body),
            caller=operator,
            files=files,
            clock=partial(NOW.__add__, timedelta(seconds=number)),
        )
    later = NOW + timedelta(seconds=9)
    with pytest.raises(RuntimeError):
        await flows.book_some(files=files, intake=Dying(intake, 1), clock=lambda: later)
    await flows.book_some(files=files, intake=intake, clock=lambda: later)
    theirs = await files.find(OTHER_OPERATOR, "2025-01")
    assert theirs is not None
    assert theirs.rejected == 1, "its EVSE is another's"
