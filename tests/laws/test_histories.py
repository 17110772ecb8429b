"""Random histories of several operators and EVSPs: the books agree with paper after every step.

Held after each step: debits equal credits, each balance is the sum of its entries, each book is a
chain (the ledger's audit); every month's totals are those on paper; every booked charge stands in
exactly one place; what was refused changed nothing. Of closed months: invoices, with their numbers,
are those on paper, have no gap, and less credit notes come to what pairs owe; of settled ones:
that is what is paid and what was netted, nothing else is left, and what is paid is owed no longer.

In the end all is closed, settled and paid, and the same steps again from nothing make the same
books and documents, to the letter.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as some
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from clearinghouse.disputes.model import Action
from clearinghouse.ledger.store import SqlLedger
from kit.database import Database
from kit.embedded_postgres import EmbeddedPostgres
from tests.conftest import TEMPLATE
from tests.laws.history import (
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
from tests.laws.world import settle_in

_numbers = itertools.count()
records = some.integers(0, 14)
ends = some.integers(-24 * 50, 24 * 30)
energies = some.sampled_from([0, 1, 19, 10_000, 12_345, 99_999])
months = some.sampled_from(["2024-12", "2025-01", "2025-02", "2025-03"])
beginnings = some.lists(
    some.tuples(some.integers(-24 * 50, 0), some.sampled_from([19, 10_039, 10_059, 99_999])),
    min_size=10,
    max_size=12,
)
LAST_MONTHS = ("2024-12", "2025-01", "2025-02", "2025-03", "2025-04")
parts = some.sampled_from([-10, -3, 0, 3, 10, 11])
actions = some.sampled_from([action for action in Action if action is not Action.LAPSE])


async def opened(cluster: EmbeddedPostgres) -> House:
    name = f"history_{next(_numbers)}"
    await cluster.create_database(name, template=TEMPLATE)
    database = await Database.open(cluster.url(name), pool_size=2)
    await settle_in(database)
    return await House(database).open()


def by_book(told: list[str]) -> dict[str, list[str]]:
    books: dict[str, list[str]] = {}
    for line in told:
        books.setdefault(line.split(" ", 1)[0], []).append(line)
    return books


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
        self.kept = self.runner.run(self.house.kept())

    def take(self, *steps: Step) -> None:
        changes = False
        for step in steps:
            self.steps.append(step)
            changes |= self.paper.take(step)
            self.runner.run(self.house.take(step))
        told = self.runner.run(self.house.books())
        kept = self.runner.run(self.house.kept())
        if not changes:
            assert (told, kept) == (self.told, self.kept), "what is refused changes nothing"
        # Nothing is ever edited: every book goes on where it stood.
        now = by_book(told)
        for book, before in by_book(self.told).items():
            assert now[book][: len(before)] == before
        self.told, self.kept = told, kept

    @initialize(
        charges=beginnings,
        days=some.sampled_from([0, 12, 45]),
        closed=some.sampled_from([[], ["2024-12"], ["2024-12", "2025-01"]]),
    )
    def there_were_charges(
        self, charges: list[tuple[int, int]], days: int, closed: list[str]
    ) -> None:
        """From the beginning there is something to clear: two charges of each pair at least."""
        steps = [Tell(number, *charge) for number, charge in enumerate(charges)]
        self.take(*steps, Wait(days), *map(Close, closed))

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

    @rule(month=months)
    def a_month_is_settled(self, month: str) -> None:
        self.take(Settle(month))

    @rule(month=months, nth=some.integers(0, 5), part=parts, source=some.sampled_from("ab"))
    def money_comes_or_goes_back(self, month: str, nth: int, part: int, source: str) -> None:
        self.take(Pay(month, nth, part, source))

    @rule(month=months, paid=some.integers(0, 8))
    def a_month_goes_its_whole_way(self, month: str, paid: int) -> None:
        self.take(Close(month))
        self.take(Settle(month))
        for nth in range(paid):
            self.take(Pay(month, nth, 0, "all of it"))

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
    def fees_invoices_and_payments_are_as_on_paper(self) -> None:
        assert self.runner.run(self.house.faults_of_money(self.paper.money)) == []

    @invariant()
    def every_charge_stands_in_exactly_one_place(self) -> None:
        places = self.runner.run(self.house.places())
        gone = sum(one.where == "gone" for one in self.paper.charges.values())
        disputed = sum(one.where == "disputed" for one in self.paper.charges.values())
        assert len(places) == len(self.paper.charges)
        assert all(len(place) <= 1 for place in places.values()), places
        assert [place for place in places.values()].count(()) == gone
        assert [place for place in places.values()].count(("disputed",)) == disputed

    def wind_up(self) -> None:
        """However it went: all is closed, settled and paid in the end, and nothing is left."""
        self.take(Wait(100), Lapse())
        for month in LAST_MONTHS:
            self.take(Close(month), Settle(month))
            self.take(*(Pay(month, nth, 0, "in the end") for nth in range(8)))
        self.the_ledger_keeps_its_laws()
        self.every_month_is_as_on_paper()
        self.fees_invoices_and_payments_are_as_on_paper()
        self.every_charge_stands_in_exactly_one_place()
        assert self.paper.money.open_between() == {}

    def teardown(self) -> None:
        try:
            self.wind_up()
            self.runner.run(self._again_from_nothing())
        finally:
            self.runner.close()

    async def _again_from_nothing(self) -> None:
        again = await opened(self.cluster)
        try:
            for step in self.steps:
                await again.take(step)
            assert await again.books() == self.told
            assert await again.documents() == await self.house.documents()
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
            phases=[Phase.explicit, Phase.generate],
        ),
    )
