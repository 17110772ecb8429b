"""Forwarding to real servers on loopback, on good days and bad: none lost, none taken as two."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from clearinghouse.cdrs import flows as cdr_flows
from clearinghouse.forwarding import flows
from clearinghouse.forwarding.client import HttpSender, senders_over
from clearinghouse.forwarding.model import (
    BackOff,
    Cadence,
    Channel,
    Delivery,
    Nothing,
    Place,
    Preference,
    Reply,
    Schedule,
    UnknownDeadLetter,
    Weekday,
    Whereabouts,
    schedule,
)
from clearinghouse.forwarding.preferences import SqlPreferences
from clearinghouse.forwarding.store import SqlOutbox
from clearinghouse.forwarding.tasks import Forwarder
from kit import event_log
from kit.clock import Clock
from kit.database import Database
from kit.event_log import START
from kit.secrets import SecretBox
from roaming.events import EventType
from tests.clearinghouse.cdrs.fakes import (
    EVSP,
    NOW,
    OPERATOR,
    OTHER_CONTRACT,
    OTHER_EVSP,
    OTHER_OPERATOR,
    intake_of,
    keep_customer,
    many,
)
from tests.clearinghouse.forwarding.fakes import (
    Address,
    AddressBook,
    EvspServer,
    answering,
    hanging,
    well,
)

QUICK = BackOff(first_s=0.01, most_s=0.05)


@pytest.fixture
async def evsp() -> AsyncIterator[EvspServer]:
    async with serving() as server:
        yield server


@pytest.fixture
async def slow() -> AsyncIterator[EvspServer]:
    async with serving() as server:
        yield server


@asynccontextmanager
async def serving() -> AsyncIterator[EvspServer]:
    server = EvspServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def forwarding(
    database: Database,
    addresses: AddressBook,
    *,
    timeout_s: float = 10.0,
    idle_s: float = 0.05,
    clock: Clock = lambda: NOW,
) -> AsyncIterator[Forwarder]:
    sender = HttpSender.open(timeout_s=timeout_s)
    forwarder = Forwarder(
        database=database,
        outbox=SqlOutbox(database),
        preferences=SqlPreferences(database, SecretBox(bytes(32)), clock),
        endpoints=addresses,
        senders=senders_over(sender, allow_loopback=True),
        clock=clock,
        back_off=QUICK,
        idle_s=idle_s,
    )
    forwarder.start()
    try:
        yield forwarder
    finally:
        await forwarder.close()
        await sender.close()


async def until(met: Callable[[], Awaitable[bool]] | Callable[[], bool]) -> None:
    """Wait for a condition, 20 seconds at most."""
    async with asyncio.timeout(20):
        while True:
            answer = met()
            if (answer if isinstance(answer, bool) else await answer) is True:
                return
            await asyncio.sleep(0.005)


def all_there(evsp: EvspServer, count: int) -> Callable[[], bool]:
    return lambda: len(evsp.cdr_ids) >= count


def nothing_left(database: Database) -> Callable[[], Awaitable[bool]]:
    async def met() -> bool:
        return not await SqlOutbox(database).undelivered()

    return met


async def book(database: Database, count: int, prefix: str = "M") -> list[str]:
    await keep_customer(database)
    number = sum(map(ord, prefix))
    first = NOW.replace(month=1, day=1 + number % 20)
    submissions = many(count, prefix=prefix, first=first)
    outcomes = await cdr_flows.receive(submissions, intake=intake_of(database))
    assert all(outcome.cdr.booked for outcome in outcomes)
    return [one.cdr_id for one in submissions]


async def test_records_arrive_in_order_and_whole(database: Database, evsp: EvspServer) -> None:
    bodies: list[dict[str, Any]] = []

    async def keep(body: dict[str, Any]) -> web.StreamResponse:
        bodies.append(body)
        return await well(body)

    evsp.behaviour = keep
    ids = await book(database, 250)
    async with forwarding(database, AddressBook({EVSP: evsp.url})):
        await until(nothing_left(database))
    assert evsp.cdr_ids == ids
    assert [len(cdrs) for _, cdrs in evsp.calls] == [100, 100, 50]
    first = bodies[0]["cdrs"][0]
    assert first["price"] == {
        "currency": "EUR",
        "excl_vat": "5.00",
        "vat": "1.00",
        "incl_vat": "6.00",
    }
    assert first["contract_id"] == "DE-BET-C00000001-" + first["contract_id"][-1]
    outbox = SqlOutbox(database)
    assert await outbox.delivered_count() == 250
    async with database.hot() as connection:
        told = await event_log.read(connection, START, types=[EventType.CDRS_DELIVERED])
    assert sum(event.body["cdrs"] for event in told) == 250
    assert {event.party for event in told} == {EVSP}


async def test_records_that_are_booked_later_go_at_once(
    database: Database, evsp: EvspServer
) -> None:
    async with forwarding(database, AddressBook({EVSP: evsp.url}), idle_s=3600):
        for prefix in ("A", "B", "C"):
            await book(database, 3, prefix)
            await until(nothing_left(database))
    assert len(evsp.cdr_ids) == 9


async def test_an_evsp_that_is_down_for_a_while_gets_everything_once_it_is_up(
    database: Database, evsp: EvspServer
) -> None:
    ids = await book(database, 120)
    evsp.behaviour = answering(503, "closed")
    async with forwarding(database, AddressBook({EVSP: evsp.url})):
        await until(lambda: len(evsp.calls) >= 3)
        ids += await book(database, 5, "B")
        evsp.behaviour = well
        await until(nothing_left(database))
    assert evsp.cdr_ids == ids
    first = [cdrs for _, cdrs in evsp.calls if cdrs == ids[:100]]
    assert len(first) >= 4, "the same records under the same id, however often"
    assert len({key for key, cdrs in evsp.calls if cdrs == ids[:100]}) == 1


async def test_no_server_at_all_is_only_a_longer_wait(
    database: Database, evsp: EvspServer, unused_tcp_port: int
) -> None:
    ids = await book(database, 3)
    addresses = AddressBook({EVSP: f"http://127.0.0.1:{unused_tcp_port}/cdrs"})
    outbox = SqlOutbox(database)

    async def tried() -> bool:
        async with database.hot() as connection:
            return bool(
                await connection.fetchval("SELECT max(attempts) >= 2 FROM clearinghouse.delivery")
            )

    async with forwarding(database, addresses):
        await until(tried)
        assert await outbox.undelivered() == {EVSP: 3}
        addresses.urls[EVSP] = evsp.url
        await until(nothing_left(database))
    assert evsp.cdr_ids == ids


@pytest.mark.parametrize("status", [301, 401, 403, 404, 408, 429, 500, 504])
async def test_an_answer_that_is_not_about_the_records_is_tried_again(
    database: Database, evsp: EvspServer, status: int
) -> None:
    ids = await book(database, 2)
    evsp.behaviour = answering(status)
    async with forwarding(database, AddressBook({EVSP: evsp.url})):
        await until(lambda: len(evsp.calls) >= 2)
        evsp.behaviour = well
        await until(nothing_left(database))
    assert evsp.cdr_ids == ids
    assert await SqlOutbox(database).dead_letters(EVSP, after=0, limit=9) == []


async def test_an_evsp_that_hangs_or_talks_nonsense_delays_nobody_else(
    database: Database, evsp: EvspServer, slow: EvspServer
) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"\x00\xff\x16\x03 not HTTP at all\r\n\r\n" * 20)
        writer.close()

    babbler = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    host, port = babbler.sockets[0].getsockname()[:2]
    slow.behaviour = hanging
    await keep_customer(database, OTHER_CONTRACT, token_uid=None)
    await cdr_flows.receive(
        many(3, prefix="S", contract_id=str(OTHER_CONTRACT)), intake=intake_of(database)
    )
    ids = await book(database, 150)
    addresses = AddressBook({EVSP: evsp.url, OTHER_EVSP: slow.url})
    async with forwarding(database, addresses, timeout_s=0.2):
        await until(all_there(evsp, 150))
        await until(lambda: len(slow.calls) >= 1)
        addresses.urls[OTHER_EVSP] = f"http://{host}:{port}/cdrs"

        async def babbled() -> bool:
            async with database.hot() as connection:
                error = await connection.fetchval(
                    "SELECT last_error FROM clearinghouse.delivery WHERE evsp = $1", OTHER_EVSP
                )
            return error is not None and "Bad status line" in error

        await until(babbled)
        slow.behaviour = well
        addresses.urls[OTHER_EVSP] = slow.url
        await until(nothing_left(database))
    babbler.close()
    assert evsp.cdr_ids == ids
    assert sorted(slow.cdr_ids) == ["S-0", "S-1", "S-2"]


async def test_one_record_that_is_refused_keeps_none_of_the_others(
    database: Database, evsp: EvspServer
) -> None:
    ids = await book(database, 12)
    poison = ids[4]

    async def picky(body: dict[str, Any]) -> web.StreamResponse:
        if any(cdr["cdr_id"] == poison for cdr in body["cdrs"]):
            return web.Response(status=400, text="I do not like\0 this one")
        return await well(body)

    evsp.behaviour = picky
    outbox = SqlOutbox(database)
    async with forwarding(database, AddressBook({EVSP: evsp.url})):
        await until(nothing_left(database))
        assert evsp.cdr_ids == [one for one in ids if one != poison]
        (letter,) = await outbox.dead_letters(EVSP, after=0, limit=9)
        assert (letter.cdr_id, letter.status) == (poison, 400)
        assert letter.says.startswith("I do not like")

        await flows.replay(EVSP, letter.dead_letter_id, outbox=outbox, clock=lambda: NOW)

        async def refused_again() -> bool:
            (again,) = await outbox.dead_letters(EVSP, after=0, limit=9)
            return again.replay_requested_at is None

        await until(refused_again)
        later = await book(database, 3, "B")
        await until(all_there(evsp, 14))

        evsp.behaviour = well
        await flows.replay(EVSP, letter.dead_letter_id, outbox=outbox, clock=lambda: NOW)
        await until(all_there(evsp, 15))
    assert sorted(evsp.cdr_ids) == sorted(ids + later)
    with pytest.raises(UnknownDeadLetter):
        await flows.replay(OTHER_EVSP, letter.dead_letter_id, outbox=outbox, clock=lambda: NOW)


async def test_killed_after_sending_it_sends_the_same_again_under_the_same_id(
    database: Database, evsp: EvspServer
) -> None:
    ids = await book(database, 5)
    dying = await Database.open(database.url, pool_size=1)
    begun = await SqlOutbox(dying).next(EVSP, holder=f"{dying.session}/1", most=100, now=NOW)
    assert isinstance(begun, Delivery)
    sender = HttpSender.open()
    assert (await sender.send(Address(evsp.url), begun)).status == 200
    await sender.close()
    # As long as it lives, nobody else sends. It dies here: what was sent is not on record, and
    # meanwhile more is booked.
    taken = await SqlOutbox(database).next(EVSP, holder="another/1", most=100, now=NOW)
    assert isinstance(taken, Nothing)
    await dying.close()
    ids += await book(database, 5, "B")
    async with forwarding(database, AddressBook({EVSP: evsp.url})):
        await until(nothing_left(database))
    assert evsp.calls[0] == evsp.calls[1], "the same id and the same records"
    assert evsp.cdr_ids == ids


async def test_of_two_processes_one_serves_an_evsp(database: Database, evsp: EvspServer) -> None:
    ids = await book(database, 350)
    addresses = AddressBook({EVSP: evsp.url})
    async with forwarding(database, addresses), forwarding(database, addresses):
        await until(nothing_left(database))
    assert [cdrs for _, cdrs in evsp.calls] == [ids[:100], ids[100:200], ids[200:300], ids[300:]]


async def test_a_delivery_that_two_finish_moves_the_cursor_once(database: Database) -> None:
    await book(database, 3)
    outbox = SqlOutbox(database)
    delivery = await outbox.next(EVSP, holder="one", most=2, now=NOW)
    assert isinstance(delivery, Delivery)
    await asyncio.gather(*(outbox.delivered(delivery, NOW) for _ in range(3)))
    assert await outbox.delivered_count() == 2
    assert await outbox.undelivered() == {EVSP: 1}


async def test_without_an_endpoint_records_stay_until_there_is_one(
    database: Database, evsp: EvspServer
) -> None:
    await book(database, 2)
    addresses = AddressBook()
    async with forwarding(database, addresses):
        assert await SqlOutbox(database).undelivered() == {EVSP: 2}
        addresses.urls[EVSP] = evsp.url
        await until(nothing_left(database))
    assert len(evsp.cdr_ids) == 2


async def test_nothing_is_skipped_while_an_older_transaction_runs(
    database: Database, evsp: EvspServer
) -> None:
    async with forwarding(database, AddressBook({EVSP: evsp.url})):
        async with database.hot() as slow:
            await slow.fetchval("SELECT pg_current_xact_id()")
            ids = await book(database, 4)
            outbox = SqlOutbox(database)
            assert await outbox.undelivered() == {EVSP: 4}
            assert evsp.calls == []
        await until(nothing_left(database))
    assert evsp.cdr_ids == ids


async def test_an_evsp_that_says_more_than_anyone_would_read_is_cut_short(
    evsp: EvspServer, database: Database
) -> None:
    await book(database, 1)
    evsp.behaviour = answering(500, "x" * 5_000_000)
    delivery = await SqlOutbox(database).next(EVSP, holder="one", most=2, now=NOW)
    assert isinstance(delivery, Delivery)
    sender = HttpSender.open()
    reply = await sender.send(Address(evsp.url, {"Authorization": "Basic c2VjcmV0"}), delivery)
    await sender.close()
    assert reply == Reply(500, "x" * len(reply.says))
    assert len(reply.says) <= 400
    assert evsp.authorization == "Basic c2VjcmV0", "the headers that it asked for go along"


@dataclass(slots=True)
class Hands:
    """A clock whose hands are moved by hand."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


def wanting(database: Database, clock: Clock, **wish: Any) -> tuple[SqlPreferences, Preference]:
    keeper = SqlPreferences(database, SecretBox(bytes(32)), clock)
    return keeper, Preference(schedule=schedule(Cadence.DAILY, at="06:00", **wish))


async def looked_at(database: Database, clock: Clock, evsp: EvspServer) -> None:
    """Forward all that is due, step by step as the worker does."""
    sender = HttpSender.open()
    try:
        for _ in range(50):
            step = await flows.forward(
                EVSP,
                holder="one",
                outbox=SqlOutbox(database),
                preferences=SqlPreferences(database, SecretBox(bytes(32)), clock),
                endpoints=AddressBook({EVSP: evsp.url}),
                senders=senders_over(sender),
                clock=clock,
            )
            if step.progress is flows.Progress.NOTHING_TO_DO:
                return
            await asyncio.sleep(0.005)
    finally:
        await sender.close()
    raise AssertionError("there is no end of it")


async def test_with_a_cadence_all_that_was_booked_goes_at_the_due_moment_and_the_rest_next_time(
    database: Database, evsp: EvspServer
) -> None:
    hands = Hands(NOW - timedelta(hours=1))
    keeper, wish = wanting(database, hands)
    await keeper.keep(EVSP, wish)
    first = await book(database, 230, "A")
    hands.now = NOW + timedelta(hours=5, minutes=59)
    await looked_at(database, hands, evsp)
    assert evsp.calls == []
    hands.now = NOW + timedelta(hours=6)
    late: list[str] = []

    async def booking_meanwhile(body: dict[str, Any]) -> web.StreamResponse:
        if not late:
            late.extend(await book(database, 3, "B"))
        return await well(body)

    evsp.behaviour = booking_meanwhile
    await looked_at(database, hands, evsp)
    assert [len(ids) for _, ids in evsp.calls] == [100, 100, 30], "of bounded size"
    assert evsp.cdr_ids == first, "and what came during the run waits for the next one"
    async with database.hot() as connection:
        await connection.execute(
            "UPDATE clearinghouse.cdr SET recorded_at = $1 WHERE cdr_id LIKE 'B-%'", hands.now
        )
    hands.now = NOW + timedelta(hours=29)
    await looked_at(database, hands, evsp)
    assert evsp.cdr_ids == first
    hands.now = NOW + timedelta(hours=30)
    await looked_at(database, hands, evsp)
    assert evsp.cdr_ids == first + late


async def test_a_hub_that_was_down_at_the_due_moment_delivers_when_it_is_back(
    database: Database, evsp: EvspServer
) -> None:
    hands = Hands(NOW - timedelta(hours=1))
    keeper, wish = wanting(database, hands)
    await keeper.keep(EVSP, wish)
    ids = await book(database, 150)
    # It dies in mid-run, and comes back after the next due moment.
    hands.now = NOW + timedelta(hours=6)
    begun = await SqlOutbox(database).next(
        EVSP, holder="one", most=100, now=hands.now, preference=await keeper.of(EVSP)
    )
    assert isinstance(begun, Delivery)
    assert len(begun.cdrs) == 100
    hands.now = NOW + timedelta(hours=40)
    await looked_at(database, hands, evsp)
    assert evsp.cdr_ids == ids
    assert evsp.calls[0][0] == begun.delivery_id, "under the id that it had"


async def test_a_slow_writer_before_the_due_moment_is_part_of_the_run(
    database: Database, evsp: EvspServer
) -> None:
    hands = Hands(NOW - timedelta(hours=1))
    keeper, wish = wanting(database, hands)
    await keeper.keep(EVSP, wish)
    outbox = SqlOutbox(database)
    wish = await keeper.of(EVSP)
    hands.now = NOW + timedelta(hours=6)
    async with database.hot() as slow:
        await slow.execute("SELECT pg_current_xact_id()")
        ids = await book(database, 2)
        waits = await outbox.next(EVSP, holder="one", most=9, now=hands.now, preference=wish)
        assert waits == Nothing(unfinished=True)
    later = await book(database, 2, "B")
    await looked_at(database, hands, evsp)
    assert evsp.cdr_ids == ids
    assert await outbox.undelivered() == {EVSP: len(later)}


async def test_the_forwarder_wakes_at_the_due_moment_by_itself(
    database: Database, evsp: EvspServer
) -> None:
    began = time.monotonic()

    def clock() -> datetime:
        return NOW + timedelta(hours=6, seconds=time.monotonic() - began - 0.5)

    keeper, wish = wanting(database, clock)
    await keeper.keep(EVSP, wish)
    ids = await book(database, 3)
    async with forwarding(database, AddressBook({EVSP: evsp.url}), idle_s=3600, clock=clock):
        await until(nothing_left(database))
    assert evsp.cdr_ids == ids
    assert time.monotonic() - began >= 0.5


async def test_a_new_wish_is_heard_by_a_forwarder_that_sleeps(
    database: Database, evsp: EvspServer
) -> None:
    keeper, wish = wanting(database, lambda: NOW)
    await keeper.keep(EVSP, replace(wish, channel=Channel.PULL))
    ids = await book(database, 3)
    async with forwarding(database, AddressBook({EVSP: evsp.url}), idle_s=3600):
        await asyncio.sleep(0.1)
        assert evsp.calls == []
        await keeper.keep(EVSP, Preference())
        await until(nothing_left(database))
    assert evsp.cdr_ids == ids


async def test_what_arrived_has_its_proof_and_its_place_in_the_chain(
    database: Database, evsp: EvspServer
) -> None:
    bodies: list[bytes] = []

    async def receipt(body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"received": len(body["cdrs"]), "digest": "abc", "more": [1]})

    evsp.behaviour = receipt
    evsp.raw = bodies
    ids = await book(database, 2)
    outbox = SqlOutbox(database)
    async with forwarding(database, AddressBook({EVSP: evsp.url})):
        await until(nothing_left(database))
    [carried], reached = await outbox.carried(evsp=EVSP, operator=None, after=Place(0, 0), limit=9)
    assert carried.proof is not None
    assert carried.proof.body_sha256 == hashlib.sha256(bodies[0]).digest()
    assert carried.proof.host == "127.0.0.1"
    assert carried.proof.receipt == {"received": 2, "digest": "abc"}
    assert (carried.status, [cdr_id for _, cdr_id in carried.keys]) == (200, ids)
    async with database.hot() as connection:
        [told] = await event_log.read(connection, START, types=[EventType.CDRS_DELIVERED])
    assert (told.cursor.xid, told.cursor.position) == carried.cursor == reached
    assert told.body["body_sha256"] == carried.proof.body_sha256.hex()
    [mine], _ = await outbox.carried(evsp=None, operator=OPERATOR, after=Place(0, 0), limit=9)
    assert mine.keys == carried.keys
    others, _ = await outbox.carried(evsp=None, operator=OTHER_OPERATOR, after=Place(0, 0), limit=9)
    assert others == []


async def test_a_yes_whose_rest_never_comes_is_a_yes(database: Database, evsp: EvspServer) -> None:
    heard = asyncio.Event()

    async def dribbling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nwell,")
        await writer.drain()
        await heard.wait()
        writer.close()

    dribbler = await asyncio.start_server(dribbling, "127.0.0.1", 0)
    host, port = dribbler.sockets[0].getsockname()[:2]
    await book(database, 1)
    delivery = await SqlOutbox(database).next(EVSP, holder="one", most=2, now=NOW)
    assert isinstance(delivery, Delivery)
    sender = HttpSender.open()
    reply = await sender.send(Address(f"http://{host}:{port}/"), delivery)
    await sender.close()
    heard.set()
    dribbler.close()
    await asyncio.sleep(0)
    assert reply == Reply(200, "well,")


async def test_an_attempt_that_failed_says_when_the_next_one_is_and_a_restart_keeps_count(
    database: Database, evsp: EvspServer
) -> None:
    await book(database, 1)
    evsp.behaviour = answering(503, "closed")
    sender = HttpSender.open()
    outbox = SqlOutbox(database)
    for attempts in (1, 2, 3):
        step = await flows.forward(
            EVSP,
            holder="one",
            outbox=outbox,
            preferences=SqlPreferences(database, SecretBox(bytes(32)), lambda: NOW),
            endpoints=AddressBook({EVSP: evsp.url}),
            senders=senders_over(sender),
            clock=lambda: NOW,
            back_off=BackOff(first_s=1.0, most_s=60.0),
        )
        state = await outbox.state(EVSP)
        assert step.until == state.next_attempt_at == NOW + timedelta(seconds=2 ** (attempts - 2))
        assert (state.undelivered, state.attempts, state.last_error) == (1, attempts, "closed")
    await sender.close()


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_each_record_goes_once_in_order_and_not_before_its_moment(
    database: Database, evsp: EvspServer, seed: int
) -> None:
    """Bookings, time, failures, hubs that die between sending and keeping it, changes of mind."""
    chance = random.Random(seed)
    hands = Hands(NOW)
    await keep_customer(database)
    keeper = SqlPreferences(database, SecretBox(bytes(32)), hands)
    outbox = SqlOutbox(database)
    booked: dict[str, datetime] = {}
    changed: list[datetime] = [hands.now]
    schedules = [
        Schedule(),
        schedule(Cadence.HOURLY, at="00:20", time_zone="Asia/Kolkata"),
        schedule(Cadence.DAILY, at="02:30", time_zone="Europe/Paris"),
        schedule(Cadence.WEEKLY, at="18:00", weekday=Weekday.FRIDAY),
    ]

    async def keep_time(body: dict[str, Any]) -> web.StreamResponse:
        wish = await keeper.of(EVSP)
        # The first of a run says when it is due; those booked since go with it.
        first = booked[body["cdrs"][0]["cdr_id"]]
        early.extend([first] if hands.now < wish.due(first) and first >= changed[-1] else [])
        return web.Response(status=503) if chance.random() < 0.2 else await well(body)

    early: list[datetime] = []
    evsp.behaviour = keep_time
    for step in range(40):
        match chance.choice(["book", "book", "wait", "look", "look", "die", "wish"]):
            case "book":
                first = NOW - timedelta(days=29) + timedelta(hours=step * 3)
                records = many(chance.randint(1, 4), prefix=f"S{step}", first=first)
                intake = replace(intake_of(database), clock=hands)
                outcomes = await cdr_flows.receive(records, intake=intake)
                assert all(outcome.cdr.booked for outcome in outcomes)
                booked |= {one.cdr_id: hands.now for one in records}
            case "wait":
                hands.now += timedelta(minutes=chance.choice([7, 61, 60 * 9, 60 * 24 * 8]))
            case "look":
                await looked_at(database, hands, evsp)
            case "die":
                # Begun, and then nobody was there to send it.
                wish = await keeper.of(EVSP)
                await outbox.next(EVSP, holder="one", most=2, now=hands.now, preference=wish)
            case "wish":
                await keeper.keep(EVSP, Preference(schedule=chance.choice(schedules)))
                changed.append(hands.now)
    hands.now += timedelta(days=40)
    await looked_at(database, hands, evsp)
    assert evsp.cdr_ids == list(booked)
    assert early == []
    assert await outbox.undelivered() == {}
    traces = await outbox.traces([(OPERATOR, cdr_id) for cdr_id in booked])
    assert {one.whereabouts for one in traces} <= {Whereabouts.DELIVERED}
