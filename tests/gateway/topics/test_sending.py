"""How events reach a webhook, step by step, on the real log and outbox."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from gateway.calls.model import Reason
from gateway.topics import flows
from gateway.topics.model import (
    MOST_BLOCKED,
    START,
    BackOff,
    DeadLetter,
    Delivery,
    Filter,
    Kind,
    NotSubscribable,
    Paused,
    Reply,
    Subscription,
    Way,
    Wish,
)
from gateway.topics.outbox import SqlOutbox
from gateway.topics.sending import Post, Step, send_next
from gateway.topics.store import SqlLog, SqlSubscriptions
from gridroam.gateway_answers import REASONS
from kit.database import Database
from tests.gateway.topics.fakes import (
    NOW,
    SUBSCRIBER,
    TOPIC,
    Killed,
    Market,
    Meter,
    Receiver,
    Time,
    post,
    published,
    subscribed,
)

TAKEN, REFUSED, BROKEN, AWAY = (
    Reply(204, ""),
    Reply(422, "no"),
    Reply(500, "oops"),
    Reply(None, "refused"),
)


def taking(_: list[Any]) -> Reply:
    return TAKEN


def unless(number: int, reply: Reply) -> Any:
    """Takes everything but what holds a number."""
    return lambda events: reply if number in numbers(events) else TAKEN


def numbers(events: Sequence[Any]) -> list[int]:
    return [event["data"] for event in events]


async def steps(subscription: Subscription, working: Post, most: int = 50) -> Step:
    """As long as there is something to do at once; the last of them."""
    for _ in range(most):
        step = await send_next(subscription.subscription_id, post=working, chance=0.5)
        if not step.more:
            return step
    raise AssertionError("it goes on for ever")


async def stands(database: Database, name: str = "mine") -> Subscription:
    found = await SqlSubscriptions(database).find(SUBSCRIBER, TOPIC, name)
    assert found is not None
    return found


async def letters(database: Database, subscription: Subscription) -> Sequence[DeadLetter]:
    return await SqlOutbox(database).dead_letters(subscription, after=START, limit=100)


async def test_events_go_in_one_call_and_each_delivery_is_metered(database: Database) -> None:
    receiver, meter, time = Receiver(taking), Meter(), Time()
    subscription = await subscribed(database)
    ids = await published(database, ("a", 1), ("b", 2), ("a", 3))
    working = post(database, receiver, time=time, meter=meter)
    assert await steps(subscription, working) == Step(more=False, until=None)
    (came,) = receiver.came
    # Of one key in their order; which of two keys comes first is not told.
    assert {event["id"] for event in came} == set(ids)
    assert [event["data"] for event in came if event["subject"] == "a"] == [1, 3]
    (record,) = meter.records
    assert (record.operation, record.contract_id, record.requester) == (
        "deliver",
        "contract",
        SUBSCRIBER,
    )
    assert record.units == 3
    assert (await stands(database)).delivered_at == NOW


async def test_a_refused_event_becomes_a_dead_letter_and_its_stream_goes_on(
    database: Database,
) -> None:
    receiver, time = Receiver(unless(2, REFUSED)), Time()
    subscription = await subscribed(database)
    ids = await published(database, ("a", 1), ("a", 2), ("a", 3))
    await steps(subscription, post(database, receiver, time=time))
    assert [numbers(one) for one in receiver.came] == [[1, 2, 3], [1], [2], [3]]
    (letter,) = await letters(database, subscription)
    assert (str(letter.id), letter.status, letter.delivered_at) == (ids[1], 422, None)


async def test_what_breaks_an_endpoint_holds_its_own_stream_and_others_go_on(
    database: Database,
) -> None:
    receiver, time = Receiver(unless(2, BROKEN)), Time()
    subscription = await subscribed(database)
    for key, number in (("a", 1), ("a", 2), ("b", 3), ("a", 4)):
        await published(database, (key, number))
    working = post(database, receiver, time=time)
    step = await steps(subscription, working)
    assert [numbers(one) for one in receiver.came] == [[1, 2, 3, 4], [1], [2], [3]]
    await published(database, ("a", 5), ("b", 6))
    await steps(subscription, working)
    assert numbers(receiver.came[-1]) == [6]
    # Its turn comes again, and what waited behind it follows in order.
    assert step.until is not None
    time.pass_until(step.until)
    receiver.answers = taking
    receiver.came.clear()
    await steps(subscription, working)
    assert [numbers(one) for one in receiver.came] == [[2], [4], [5]]
    assert await letters(database, subscription) == []


async def test_what_waited_for_an_endpoint_is_there_for_who_pulls_from_now_on(
    database: Database,
) -> None:
    receiver, time, books = Receiver(unless(2, BROKEN)), Time(), SqlSubscriptions(database)
    subscription = await subscribed(database)
    await published(database, ("a", 1), ("a", 2), ("b", 3), ("a", 4))
    working = post(database, receiver, time=time)
    await steps(subscription, working)
    before = await stands(database)
    kept, _ = await books.keep(SUBSCRIBER, TOPIC, "mine", Wish(Way.PULL), START, NOW)
    left = await SqlLog(database).read(kept.source, kept.cursor, limit=10, most_bytes=10_000)
    assert kept.cursor < before.cursor
    # Those of other streams behind it come twice: their ids tell.
    assert sorted(event.data for event in left) == [2, 3, 4]
    # What was under way when that was said moves nothing.
    late = Delivery(before, Kind.NEXT, [], up_to=before.cursor)
    await working.outbox.delivered(late, holder=working.holder, now=NOW)
    found = await books.find(SUBSCRIBER, TOPIC, "mine")
    assert found is not None
    assert found.cursor == kept.cursor


@pytest.mark.parametrize("reason", [*REASONS.values(), Reason.OPERATION_NOT_COVERED], ids=str)
def test_each_reason_for_which_a_contract_allows_nothing_is_told(reason: Reason) -> None:
    with pytest.raises(NotSubscribable) as told:
        flows.permit(SUBSCRIBER, TOPIC, market=Market(denied=reason), at=NOW)
    assert (told.value.reason, told.value.value) == (reason, reason.value)
    assert told.value.rule


async def test_what_breaks_it_for_days_becomes_a_dead_letter(database: Database) -> None:
    receiver, time = Receiver(unless(1, BROKEN)), Time()
    subscription = await subscribed(database)
    await published(database, ("a", 1), ("a", 2))
    working = post(database, receiver, time=time)
    for _ in range(1_000):
        step = await steps(subscription, working)
        if step.until is None:
            break
        time.pass_until(step.until)
    assert timedelta(days=3) <= time.now - NOW <= timedelta(days=3, hours=1)
    assert [str(one.status) for one in await letters(database, subscription)] == ["500"]
    assert numbers(receiver.came[-1]) == [2]


async def test_an_endpoint_that_breaks_on_everything_holds_a_few_streams_and_then_waits(
    database: Database,
) -> None:
    receiver, time = Receiver(lambda _: BROKEN), Time()
    subscription = await subscribed(database)
    await published(database, *((f"k{n}", n) for n in range(3 * MOST_BLOCKED)))
    working = post(database, receiver, time=time)
    for _ in range(20):
        step = await steps(subscription, working)
        assert step.until is not None
        time.pass_until(step.until)
    assert len({number for one in receiver.came[1:] for number in numbers(one)}) == MOST_BLOCKED + 1
    receiver.answers = taking
    receiver.came.clear()
    while (step := await steps(subscription, working, most=100)).until is not None:
        time.pass_until(step.until)
    assert sorted(n for one in receiver.came for n in numbers(one)) == [*range(3 * MOST_BLOCKED)]


async def test_an_endpoint_that_is_away_for_a_day_gets_everything_when_it_is_back(
    database: Database,
) -> None:
    receiver, time = Receiver(lambda _: AWAY), Time()
    subscription = await subscribed(database)
    ids = await published(database, *(("a", n) for n in range(5)))
    working = post(database, receiver, time=time)
    while time.now - NOW < timedelta(days=1):
        step = await steps(subscription, working)
        assert step.until is not None
        time.pass_until(step.until)
    assert (await stands(database)).last_error == "refused"
    receiver.answers = taking
    receiver.came.clear()
    await steps(subscription, working)
    assert [event["id"] for one in receiver.came for event in one] == ids


async def test_an_endpoint_that_is_away_for_days_is_paused_and_loses_nothing(
    database: Database,
) -> None:
    receiver, time = Receiver(lambda _: AWAY), Time()
    subscription = await subscribed(database)
    ids = await published(database, ("a", 1))
    working = post(database, receiver, time=time, back_off=BackOff(most_s=3600.0))
    while (step := await steps(subscription, working)).until is not None:
        time.pass_until(step.until)
    assert (await stands(database)).paused is Paused.UNREACHABLE
    assert time.now - NOW >= timedelta(days=3)
    receiver.answers = taking
    receiver.came.clear()
    assert await steps(subscription, working) == Step(more=False)
    assert receiver.came == []
    again = await subscribed(database)
    assert again.subscription_id == subscription.subscription_id
    await steps(again, working)
    assert [event["id"] for one in receiver.came for event in one] == ids


async def test_who_says_that_it_is_gone_is_sent_nothing_more(database: Database) -> None:
    receiver, time = Receiver(lambda _: Reply(410, "")), Time()
    subscription = await subscribed(database)
    await published(database, ("a", 1))
    working = post(database, receiver, time=time)
    await steps(subscription, working)
    await steps(subscription, working)
    assert (await stands(database)).paused is Paused.GONE
    assert len(receiver.came) == 1


async def test_without_a_contract_nothing_is_sent_and_nothing_lost(database: Database) -> None:
    receiver, time, market = Receiver(taking), Time(), Market(denied=Reason.CONTRACT_SUSPENDED)
    subscription = await subscribed(database)
    ids = await published(database, ("a", 1))
    working = post(database, receiver, time=time, market=market)
    step = await steps(subscription, working)
    assert step.until is not None
    assert receiver.came == []
    market.denied = None
    await steps(subscription, working)
    assert [event["id"] for event in receiver.came[0]] == ids


async def test_a_dead_letter_that_is_asked_for_goes_alone_and_is_done_once_it_is_taken(
    database: Database,
) -> None:
    receiver, time = Receiver(unless(1, REFUSED)), Time()
    subscription = await subscribed(database)
    await published(database, ("a", 1), ("a", 2))
    working = post(database, receiver, time=time)
    await steps(subscription, working)
    outbox = SqlOutbox(database)
    assert await outbox.ask_replay(subscription, None, NOW) == 1
    assert await outbox.ask_replay(subscription, None, NOW) == 0
    receiver.came.clear()
    # Refused once more: it stays, and may be asked for again.
    await steps(subscription, working)
    (letter,) = await letters(database, subscription)
    assert (letter.replay_asked_at, letter.delivered_at, letter.replays) == (None, None, 1)
    receiver.answers = taking
    await outbox.ask_replay(subscription, [letter.id], NOW)
    await steps(subscription, working)
    assert [numbers(one) for one in receiver.came] == [[1], [1]]
    (letter,) = await letters(database, subscription)
    assert letter.delivered_at == NOW
    assert await outbox.ask_replay(subscription, None, NOW) == 0


async def test_a_filter_spares_its_subscriber_the_rest(database: Database) -> None:
    receiver, time = Receiver(taking), Time()
    subscription = await subscribed(database, wanted=Filter(keys=frozenset({"b"})))
    await published(database, ("a", 1), ("b", 2), ("a", 3))
    await published(database, *(("a", n) for n in range(200)))
    await steps(subscription, post(database, receiver, time=time))
    assert [numbers(one) for one in receiver.came] == [[2]]
    lag = await SqlSubscriptions(database).lag(await stands(database), 1_000)
    assert lag.events == 0


async def test_of_two_processes_one_sends(database: Database, database_url: str) -> None:
    receiver, time = Receiver(taking), Time()
    subscription = await subscribed(database)
    ids = await published(database, *(("a", n) for n in range(1_000)))
    other = await Database.open(database_url, pool_size=4)
    try:
        await asyncio.gather(
            *(
                steps(subscription, post(one, receiver, time=time, holder=f"{one.session}/{n}"))
                for n, one in enumerate((database, other))
            )
        )
    finally:
        await other.close()
    assert receiver.most_at_once == 1
    assert [event["id"] for one in receiver.came for event in one] == ids


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_all_arrives_in_order_and_ids_tell_what_came_twice(
    database: Database, seed: int
) -> None:
    """Publishing, failing, suspending and being killed in any order."""
    chance = random.Random(seed)
    receiver, time, market = Receiver(taking), Time(), Market()
    told: dict[str, list[int]] = defaultdict(list)
    taken: set[int] = set()
    buried: set[int] = set()
    ids: dict[int, str] = {}
    broken: list[str] = []

    def answer(events: list[Any]) -> Reply:
        for place, event in enumerate(events):
            number = event["data"]
            before = told[event["subject"]][: told[event["subject"]].index(number)]
            same_call = set(numbers(events[:place]))
            if not set(before) <= taken | buried | same_call:
                broken.append(f"{number} came before one of {before}")
            if event["id"] != ids[number]:
                broken.append(f"{number} has another id")
        fate = chance.choice(["taken"] * 4 + ["broken"] * 4 + ["refused", "away", "lost", "killed"])
        if fate in ("taken", "lost", "killed"):
            taken.update(numbers(events))
        if fate == "refused" and len(events) == 1:
            buried.update(numbers(events))
        if fate == "killed":
            raise Killed
        return {"taken": TAKEN, "refused": REFUSED, "broken": BROKEN}.get(fate, AWAY)

    receiver.answers = answer
    subscription = await subscribed(database)
    process = 0
    for _ in range(120):
        match chance.choice(["publish", "publish", "work", "work", "work", "suspend", "time"]):
            case "publish":
                some = [(chance.choice("abc"), len(ids) + n) for n in range(chance.randint(1, 5))]
                for key, number in some:
                    told[key].append(number)
                for (_, number), id_ in zip(some, await published(database, *some), strict=True):
                    ids[number] = id_
            case "suspend":
                market.denied = None if market.denied else Reason.CONTRACT_SUSPENDED
            case "time":
                time.now += timedelta(minutes=chance.randint(1, 600))
            case "work":
                working = post(
                    database, receiver, time=time, market=market, holder=f"gone/{process}"
                )
                try:
                    await send_next(
                        subscription.subscription_id, post=working, chance=chance.random()
                    )
                except Killed:
                    process += 1
    # In the end all is well again.
    market.denied = None

    def well(events: list[Any]) -> Reply:
        taken.update(numbers(events))
        return TAKEN

    receiver.answers = well
    working = post(database, receiver, time=time, market=market, holder="gone/last")
    await subscribed(database)
    while (step := await steps(subscription, working, most=500)).until is not None:
        time.pass_until(step.until)
    assert broken == []
    dead = {str(one.id) for one in await letters(database, subscription)}
    assert {ids[number] for number in ids if number not in taken} <= dead
    assert taken | buried == set(ids)
