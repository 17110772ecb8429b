"""Whoever dies in the midst of a step, and does it again, has done it once.

Each kind of step dies once at every place at which it can; and long seeded runs die wherever chance
has it, tell things twice and in another order. The books come out as on paper.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from clearinghouse.disputes.model import Action
from clearinghouse.ledger.store import SqlLedger
from kit.database import Database
from tests.laws.frail import Countdown, Died, frail
from tests.laws.history import (
    FIRST_DAY,
    Act,
    Approve,
    Close,
    Decline,
    House,
    Lapse,
    Paper,
    Pay,
    Settle,
    Step,
    Tell,
    TellCredit,
    Wait,
)
from tests.laws.world import PAIRS, settle_in


async def ready(database: Database) -> tuple[House, House, Countdown]:
    """The house for those who live, and the same for those who may die."""
    await settle_in(database)
    countdown = Countdown()
    mortal = House(frail(database, countdown))
    return await House(database).open(), await mortal.open(), countdown


async def dies_at(house: House, countdown: Countdown, place: int, step: Step) -> bool:
    """Whether it has died on its way."""
    countdown.set(place)
    try:
        await house.take(step)
    except Died:
        return True
    finally:
        countdown.set(None)
    return False


def charge(number: int) -> Tell:
    return Tell(number, ended_h=-number - 1, energy_wh=10_000 + number)


def in_month(n: int) -> int:
    """The hour in the middle of the n-th month of 2024 and after."""
    middle = datetime(2024 + (n - 1) // 12, 1 + (n - 1) % 12, 15, tzinfo=UTC)
    return int((middle - FIRST_DAY) / timedelta(hours=1))


def month(n: int) -> str:
    return f"{2024 + (n - 1) // 12}-{1 + (n - 1) % 12:02d}"


def a_month(n: int) -> list[Step]:
    """Two charges of each pair, whose VAT is a cent more on an invoice, or (each second) less."""
    energy_wh = 10_039 if n % 2 else 10_059
    return [Tell(10 * n + one, in_month(n) + one, energy_wh) for one in range(10)]


STEPS: dict[str, tuple[Callable[[int], Sequence[Step]], Callable[[int], Step]]] = {
    "tell": (lambda n: [], charge),
    "credit": (lambda n: [charge(n)], TellCredit),
    "replace": (
        lambda n: [charge(n), TellCredit(n)],
        lambda n: Tell(n + 3_000, -n - 1, 5_000, replaces=n),
    ),
    "decline": (lambda n: [charge(n)], Decline),
    "contest": (lambda n: [charge(n), Decline(n)], lambda n: Act(n, Action.CONTEST)),
    "withdraw": (lambda n: [charge(n), Decline(n)], lambda n: Act(n, Action.WITHDRAW)),
    "concede": (lambda n: [charge(n), Decline(n)], lambda n: Act(n, Action.CONCEDE)),
    "lapse": (lambda n: [charge(n), Decline(n), Wait(15)], lambda n: Lapse()),
    "close": (lambda n: [*a_month(n), Wait(35)], lambda n: Close(month(n))),
    "settle": (
        lambda n: [*a_month(n), Wait(35), Close(month(n))],
        lambda n: Settle(month(n)),
    ),
    "pay": (
        lambda n: [*a_month(n), Wait(35), Close(month(n)), Settle(month(n))],
        lambda n: Pay(month(n), n, 0, "all of it"),
    ),
}


@pytest.mark.parametrize("kind", STEPS)
async def test_a_step_that_dies_at_any_place_and_is_done_again_is_done_once(
    database: Database, kind: str
) -> None:
    house, mortal, countdown = await ready(database)
    paper = Paper()
    before, step_of = STEPS[kind]
    died, place = True, 0
    while died:
        # Another charge, or another month, for each place.
        number = place + 1
        for step in before(number):
            paper.take(step)
            await house.take(step)
        mortal.now = house.now
        step = step_of(number)
        died = await dies_at(mortal, countdown, place, step)
        await house.take(step)
        paper.take(step)
        assert await house.totals() == paper.totals()
        assert await house.faults_of_money(paper.money) == []
        assert (await SqlLedger(database).audit()).faults == []
        place += 1
    assert place > 5, "it has died before and behind several calls"
    places = (await house.places()).values()
    assert all(len(place) <= 1 for place in places)


@pytest.mark.parametrize("seed", range(4))
async def test_a_long_run_with_deaths_repeats_and_another_order_ends_as_on_paper(
    database: Database, seed: int
) -> None:
    chance = random.Random(seed)
    house, mortal, countdown = await ready(database)
    paper = Paper()
    deaths = 0
    reach = (lambda: chance.randrange(40), lambda: chance.randrange(200))
    told: list[Step] = []
    for round_ in range(40):
        batch = [a_step(chance, round_) for _ in range(4)]
        # What was told before is told again, and all of it in any order.
        batch += chance.sample(told, min(2, len(told)))
        chance.shuffle(batch)
        for step in batch:
            # To close a month takes a hundred places: sometimes one comes through.
            while await dies_at(mortal, countdown, chance.choice(reach)(), step):
                deaths += 1
            paper.take(step)
            if not isinstance(step, Wait):
                told.append(step)
        house.now = mortal.now = paper.now
        assert await house.totals() == paper.totals()
        assert await house.faults_of_money(paper.money) == []
    assert deaths > 20
    audit = await SqlLedger(database).audit()
    assert audit.faults == []
    assert audit.postings > 20
    places = await house.places()
    assert len(places) == len(paper.charges)
    assert all(len(place) <= 1 for place in places.values())


def a_step(chance: random.Random, round_: int) -> Step:
    number = chance.randrange(30)
    match chance.randrange(14):
        case 0 | 1 | 2 | 3:
            # From 6 December to 20 January.
            return Tell(number, ended_h=-1 - number * 53 % (45 * 24), energy_wh=10_000 + number)
        case 4:
            return TellCredit(number, chance.randrange(2))
        case 5:
            return Tell(number + 3 * len(PAIRS), -number - 1, 5_000 + round_, replaces=number)
        case 6 | 7:
            return Decline(number)
        case 8 | 9:
            return Act(number, chance.choice([a for a in Action if a is not Action.LAPSE]))
        case 10:
            return Approve(number)
        case 11 | 12:
            return Pay(
                chance.choice(MONTHS), chance.randrange(6), chance.choice([0, 3, -3, 11]), "a"
            )
        case _:
            others: list[Step] = [Wait(9), Lapse(), Wait(9)]
            others += [step(month) for step in (Close, Settle) for month in MONTHS]
            return chance.choice(others)


MONTHS = ("2024-12", "2025-01", "2025-02")
