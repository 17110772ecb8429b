"""What is written is what is found; what is remembered is forgotten when it changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from kit.database import Database
from roaming.evse_id import EvseId
from search_evse.sites.model import Found, Intake, Place, Status, Told
from search_evse.sites.store import EvseRegister, SqlBooks
from tests.search_evse.cuts import FAST, NOW, OTHER, told

PLEIN = EvseId("NL*FAS*E1")


async def keep(database: Database, *rows: Told) -> None:
    async with SqlBooks(database).open() as book:
        held = await book.held({row.evse.id for row in rows})
        await book.write(Intake(now=NOW).take(rows, held).changes)


@asynccontextmanager
async def kept_fresh(register: EvseRegister) -> AsyncIterator[None]:
    task = asyncio.create_task(register.keep_fresh())

    # The first notice of a listener stands for "look again": then it is listening.
    async def listening() -> bool:
        return register._forgotten > 0

    await until(listening)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(ask: Callable[[], Awaitable[bool]]) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    while not await ask():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.005)


async def test_what_was_written_is_held(database: Database) -> None:
    row = told("NL*FAS*E1", status=Status.RESERVED)
    await keep(database, row)
    async with SqlBooks(database).open() as book:
        held = (await book.held([PLEIN, EvseId("NL*FAS*E2")]))[PLEIN]
    assert (held.operator, held.status, held.last_updated) == (FAST, Status.RESERVED, NOW)


async def test_a_batch_that_fails_leaves_nothing(database: Database) -> None:
    with suppress(RuntimeError):
        async with SqlBooks(database).open() as book:
            await book.write(Intake(now=NOW).take([told("NL*FAS*E1")], {}).changes)
            raise RuntimeError("the power goes out")
    assert await EvseRegister(database).find(PLEIN) is None


async def test_an_older_import_that_comes_last_does_not_win(database: Database) -> None:
    newer = Intake(now=NOW).take([told("NL*FAS*E1", city="Goes")], {}).changes
    earlier = told("NL*FAS*E1", city="Delft", last_updated=NOW - timedelta(hours=1))
    older = Intake(now=NOW).take([earlier], {}).changes
    for changes in (newer, older):
        async with SqlBooks(database).open() as book:
            await book.write(changes)
    assert [place.city for place in await EvseRegister(database).places([PLEIN])] == ["Goes"]


async def test_the_register_tells_whose_an_evse_is_and_which_clock_hangs_there(
    database: Database,
) -> None:
    await keep(database, told("NL*FAS*E1", 52.1, 5.2), told("DE*ABC*E1"))
    register = EvseRegister(database)
    found = Found(PLEIN, FAST, "NL", "Europe/Amsterdam", 52.1, 5.2)
    assert await register.find(PLEIN) == found
    assert await register.find(EvseId("NL*FAS*E2")) is None
    known = await register.find_all([PLEIN, EvseId("DE*ABC*E1"), EvseId("NL*FAS*E2")])
    assert known == {PLEIN: found, EvseId("DE*ABC*E1"): known[EvseId("DE*ABC*E1")]}
    assert known[EvseId("DE*ABC*E1")].operator == OTHER


async def test_removed_evses_are_found_for_their_last_cdrs(database: Database) -> None:
    await keep(database, told("NL*FAS*E1", status=Status.REMOVED))
    register = EvseRegister(database)
    assert await register.find(PLEIN) is not None
    assert await register.all_places(10) == []


async def test_places_are_dots_on_a_map(database: Database) -> None:
    await keep(database, told("NL*FAS*E1", 52.1, 5.2, city="Goes"))
    place = Place(PLEIN, FAST, 52.1, 5.2, "Plein", "Goes", "Europe/Amsterdam")
    assert await EvseRegister(database).places([PLEIN, EvseId("NL*FAS*E2")]) == [place]


async def test_what_is_remembered_needs_no_database(database: Database, database_url: str) -> None:
    await keep(database, told("NL*FAS*E1"))
    own = await Database.open(database_url, pool_size=2)
    register = EvseRegister(own)
    async with kept_fresh(register):
        found = await register.find(PLEIN)
        await own.close()
        assert await register.find(PLEIN) == found
        assert await register.find_all([PLEIN]) == {PLEIN: found}


async def test_a_change_anywhere_is_noticed(database: Database) -> None:
    await keep(database, told("NL*FAS*E1", 52.0, 5.0))
    register = EvseRegister(database)
    async with kept_fresh(register):
        before = await register.find(PLEIN)
        moved = told("NL*FAS*E1", 53.0, 5.0, last_updated=NOW + timedelta(hours=1))
        await keep(database, moved)

        async def moved_on() -> bool:
            return await register.find(PLEIN) != before

        await until(moved_on)
        after = await register.find(PLEIN)
    assert after is not None
    assert after.latitude == 53.0


async def test_without_a_listener_nothing_is_remembered(database: Database) -> None:
    await keep(database, told("NL*FAS*E1", 52.0, 5.0))
    register = EvseRegister(database)
    await register.find(PLEIN)
    await keep(database, told("NL*FAS*E1", 53.0, 5.0, last_updated=NOW + timedelta(hours=1)))
    after = await register.find(PLEIN)
    assert after is not None
    assert after.latitude == 53.0


async def test_the_memory_is_bounded_and_keeps_what_was_asked_last(database: Database) -> None:
    ids = [EvseId(f"NL*FAS*E{n}") for n in range(4)]
    await keep(database, *(told(one) for one in ids))
    register = EvseRegister(database, remember_most=2)
    async with kept_fresh(register):
        for one in ids:
            await register.find(one)
        assert list(register._remembered) == ids[2:]
