"""A report in parts, with money where nothing was called, and only for whom it concerns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import pytest

from gateway.reports import flows
from gateway.reports.model import (
    Agreement,
    Amount,
    BadQuestion,
    By,
    Counts,
    Every,
    Key,
    Level,
    Listed,
    Question,
    Row,
    Spending,
    UsedOn,
)
from gateway.usage.model import UsageRecord
from tests.gateway.reports.samples import MAY, OPERATOR, PROVIDER, STRANGER, agreed

CONTRACT = Key(date(2026, 5, 4), "weather", 1, "C-1", PROVIDER, OPERATOR)


@dataclass
class Told:
    """Counts and use as told, whatever is asked; and what was asked."""

    counts: Sequence[tuple[Key, Counts]] = ()
    spending: Mapping[str, Spending] = field(default_factory=dict)
    agreed: Sequence[Agreement] = ()
    asked: list[Question] = field(default_factory=list)

    async def counted(self, question: Question) -> Sequence[tuple[Key, Counts]]:
        self.asked.append(question)
        return self.counts

    async def spent(
        self, question: Question, *, by_quarter: Collection[str], packs: Collection[str]
    ) -> Mapping[str, Spending]:
        self.by_quarter = set(by_quarter)
        return self.spending

    async def concerning(self, question: Question) -> Sequence[Agreement]:
        return self.agreed

    async def calls(self, question: Question) -> AsyncIterator[Sequence[UsageRecord]]:
        yield []

    async def listed(self, question: Question) -> AsyncIterator[Sequence[Listed]]:
        yield []

    async def report(self, question: Question) -> list[Row]:
        rows = flows.report(question, records=self, agreements=self)
        return [row async for several in rows for row in several]


def spans(question: Question) -> list[tuple[str, str]]:
    return [(str(one.first), str(one.last)) for one in flows.parts(question)]


def test_a_party_is_answered_month_by_month_and_the_hub_day_by_day() -> None:
    asked = replace(MAY, first=date(2026, 4, 29), last=date(2026, 6, 1))
    assert spans(asked) == [
        ("2026-04-29", "2026-04-30"),
        ("2026-05-01", "2026-05-31"),
        ("2026-06-01", "2026-06-01"),
    ]
    assert len(spans(replace(asked, party=None))) == 34
    assert len(spans(replace(asked, party=None, every=Every.MONTH))) == 3
    assert spans(replace(asked, every=Every.WHOLE)) == [("2026-04-29", "2026-06-01")]


async def test_money_stands_beside_the_calls_that_it_is_for() -> None:
    told = Told(
        [(CONTRACT, Counts(calls=10, billable_calls=10))],
        {"C-1": Spending([UsedOn(date(2026, 5, 4), 10)])},
        [agreed()],
    )
    [row] = await told.report(MAY)
    assert row == Row(
        CONTRACT, Counts(calls=10, billable_calls=10), (Amount("EUR", cost_minor=10),)
    )


async def test_what_costs_without_a_call_has_rows_of_its_own() -> None:
    plan: dict[str, Any] = {"recurring": {"price": "31", "every": "month"}}
    told = Told(agreed=[agreed(plan=plan)])
    rows = await told.report(replace(MAY, last=date(2026, 5, 3)))
    assert [(row.key.begins_on.day, row.counts.calls, row.amounts) for row in rows] == [
        (day, 0, (Amount("EUR", cost_minor=100),)) for day in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        (By.CONTRACT, [("C-1", PROVIDER, OPERATOR), ("C-2", PROVIDER, STRANGER)]),
        (By.SERVICE, [(None, PROVIDER, None)]),
        (By.PARTNER, [(None, PROVIDER, STRANGER), (None, PROVIDER, OPERATOR)]),
        (By.TOTAL, [(None, None, None)]),
    ],
)
async def test_money_is_told_apart_as_calls_are(by: By, keys: list[tuple[Any, ...]]) -> None:
    plan: dict[str, Any] = {"recurring": {"price": "31", "every": "month"}}
    told = Told(agreed=[agreed(plan=plan), agreed("C-2", plan=plan, requester=STRANGER)])
    question = replace(MAY, party=PROVIDER, by=by, every=Every.MONTH)
    rows = await told.report(question)
    assert [(r.key.contract_id, r.key.provider, r.key.requester) for r in rows] == keys
    assert sum(amount.revenue_minor for row in rows for amount in row.amounts) == 6200


async def test_quarters_of_an_hour_are_asked_for_where_a_price_goes_by_them() -> None:
    by_time: dict[str, Any] = {
        "time_of_use": {
            "time_zone": "UTC",
            "rules": [{"until": "06:00", "price": "1"}],
            "otherwise": "2",
        }
    }
    told = Told(agreed=[agreed(), agreed("C-2", plan=by_time), agreed("C-3", currency=None)])
    await told.report(MAY)
    assert told.by_quarter == {"C-2"}


async def test_levels_are_told_for_each_month_and_contract_that_agrees_one() -> None:
    level = Level(error_share_percent=1)
    told = Told(
        [(CONTRACT, Counts(calls=100, provider_errors=2))],
        agreed=[agreed("C-9", level=level), agreed(level=level), agreed("C-5")],
    )
    asked = replace(MAY, first=date(2026, 4, 15), by=By.TOTAL)
    found = await flows.levels(asked, records=told, agreements=told)
    assert [(str(one.month), one.agreement.contract_id) for one in found] == [
        *(("2026-04-01", "C-1"), ("2026-04-01", "C-9")),
        *(("2026-05-01", "C-1"), ("2026-05-01", "C-9")),
    ]
    assert [[told.by for told in one.promises] for one in found[:2]] == [[-1], []]
    # A promise is about whole months, whatever part of one was asked for.
    assert {(one.first.day, one.by, one.every) for one in told.asked} == {
        (1, By.CONTRACT, Every.MONTH)
    }


async def test_a_question_that_makes_no_sense_is_refused_before_anything_is_read() -> None:
    told = Told()
    with pytest.raises(BadQuestion):
        await told.report(replace(MAY, last=date(2026, 4, 1)))
    assert told.asked == []
