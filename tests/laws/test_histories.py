"""Random histories of several operators and EVSPs: the books agree with paper after every step.

Held after each step: debits equal credits, each balance is the sum of its entries, each book is a
chain (the ledger's audit); every month's totals are those on paper; every booked charge stands in
exactly one place; what was refused changed nothing. At the end, the same steps again from nothing
make the same books, to the letter.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from clearinghouse.disputes.model import Action
from clearinghouse.ledger.store import SqlLedger
from kit.database import Database
from kit.embedded_postgres import EmbeddedPostgres
from tests.clearinghouse.cdrs.fakes import OTHER_CONTRACT, keep_customer
from tests.conftest import TEMPLATE
from tests.laws.history import (
    Act,
    Approve,
    Close,
    Decline,
    House,
    Lapse,
    Paper,
    Step,
    Tell,
    TellCredit,
    Wait,
)

_numbers = itertools.count()
records = some.integers(0, 8)
ends = some.integers(-24 * 50, 24 * 30)
energies = some.sampled_from([0, 1, 19, 10_000, 12_345, 99_999])
months = some.sampled_from(["2024-12", "2025-01", "2025-02", "2025-03"])
actions = some.sampled_from([action for action in Action if action is not Action.LAPSE])


async def opened(cluster: EmbeddedPostgres) -> House:
    name = f"history_{next(_numbers)}"
    await cluster.create_database(name, template=TEMPLATE)
    database = await Database.open(cluster.url(name), pool_size=2)
    await keep_customer(database)
    await keep_customer(database, OTHER_CONTRACT, token_uid=None)
    return House(database)


class Histories(RuleBasedStateMachine):
    """One clearing house and its books on paper."""

    cluster: EmbeddedPostgres

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.house = self.runner.run(opened(self.cluster))
        self.paper = Paper()
        self.steps: list[Step] = []
        self.told: list[str] = []

    def take(self, step: Step) -> None:
        self.steps.append(step)
        changes = self.paper.take(step)
        self.runner.run(self.house.take(step))
        told = self.runner.run(self.house.books())
        if not changes or isinstance(step, Close):
            assert told == self.told, "what is refused changes nothing"
        # Nothing is ever edited: every book goes on where it stood.
        assert [line for line in told if line in set(self.told)] == self.told
        self.told = told

    @rule(number=records, ended_h=ends, energy_wh=energies)
    def a_charge_is_told(self, number: int, ended_h: int, energy_wh: int) -> None:
        self.take(Tell(number, ended_h, energy_wh))

    @rule(number=records, of=records, ended_h=ends, energy_wh=energies)
    def a_charge_is_told_in_place_of_another(
        self, number: int, of: int, ended_h: int, energy_wh: int
    ) -> None:
        self.take(Tell(number, ended_h, energy_wh, replaces=of))

    @rule(number=records, again=some.integers(0, 1))
    def a_charge_is_taken_back(self, number: int, again: int) -> None:
        self.take(TellCredit(number, again))

    @rule(number=records)
    def a_charge_is_declined(self, number: int) -> None:
        self.take(Decline(number))

    @rule(number=records, action=actions)
    def somebody_acts_in_a_dispute(self, number: int, action: Action) -> None:
        self.take(Act(number, action))

    @rule(number=records)
    def a_charge_is_approved(self, number: int) -> None:
        self.take(Approve(number))

    @rule(month=months)
    def a_month_is_closed(self, month: str) -> None:
        self.take(Close(month))

    @rule(days=some.integers(1, 20))
    def time_goes_by(self, days: int) -> None:
        self.take(Wait(days))
        self.take(Lapse())

    @rule(back=some.integers(1, 5))
    def something_is_told_again(self, back: int) -> None:
        if len(self.steps) >= back:
            again = self.steps[-back]
            if not isinstance(again, Wait):
                self.take(again)

    @invariant()
    def the_ledger_keeps_its_laws(self) -> None:
        audit = self.runner.run(SqlLedger(self.house.database).audit())
        assert audit.faults == []

    @invariant()
    def every_month_is_as_on_paper(self) -> None:
        assert self.runner.run(self.house.totals()) == self.paper.totals()

    @invariant()
    def every_charge_stands_in_exactly_one_place(self) -> None:
        places = self.runner.run(self.house.places())
        gone = sum(one.where == "gone" for one in self.paper.charges.values())
        disputed = sum(one.where == "disputed" for one in self.paper.charges.values())
        assert len(places) == len(self.paper.charges)
        assert all(len(place) <= 1 for place in places.values()), places
        assert [place for place in places.values()].count(()) == gone
        assert [place for place in places.values()].count(("disputed",)) == disputed

    def teardown(self) -> None:
        try:
            self.runner.run(self._again_from_nothing())
        finally:
            self.runner.close()

    async def _again_from_nothing(self) -> None:
        again = await opened(self.cluster)
        try:
            for step in self.steps:
                await again.take(step)
            assert await again.books() == self.told
        finally:
            await again.database.close()
            await self.house.database.close()


@pytest.fixture
def machine(cluster: EmbeddedPostgres) -> Any:
    return type("HistoriesHere", (Histories,), {"cluster": cluster})


def test_the_books_agree_with_paper_after_every_step_of_any_history(machine: Any) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # To make a failure small takes a database for each try; the steps are told anyway.
            phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        ),
    )
