"""`GET /marketplace/usage`: who may see what, and in what shape."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest
from fastapi import FastAPI

from gateway.usage.model import DayOfUse, UsagePage
from gateway.usage.routes import router
from kit import problem
from kit.http import CALLER, Answer, Caller, call_asgi
from roaming.party import PartyId

OPERATOR, PROVIDER = PartyId("FR*PD1"), PartyId("NL*ABC")
CALL = Caller(OPERATOR, frozenset(), "client-1", None, "r-1")


class Pages:
    """Answers every question with one day, and remembers the question."""

    def __init__(self) -> None:
        self.asked: list[tuple[PartyId, dict[str, object]]] = []

    async def by_day(
        self,
        party: PartyId,
        *,
        first: date,
        last: date,
        contract_id: str | None,
        limit: int,
        cursor: str | None,
    ) -> UsagePage:
        self.asked.append((party, {"first": first, "last": last, "limit": limit, "cursor": cursor}))
        day = DayOfUse(first, "C-1", party, PROVIDER, "weather", 1, 9, 4, 1, 10, 100)
        return UsagePage([day], "next=")


async def ask(pages: Pages, query: str, caller: Caller | None = CALL) -> Answer:
    app = FastAPI()
    problem.install(app)
    app.include_router(router(pages, lambda: datetime(2026, 5, 4, tzinfo=UTC)))
    scope = {} if caller is None else {CALLER: caller}
    return await call_asgi(app, "GET", "/marketplace/usage", query=query, extra_scope=scope)


async def test_usage_is_asked_for_the_caller_alone() -> None:
    pages = Pages()
    answer = await ask(pages, "first=2026-04-01&last=2026-04-30&limit=7")
    assert answer.status == 200
    assert json.loads(answer.body)["usage"][0] == {
        "day": "2026-04-01",
        "contract_id": "C-1",
        "requester": "FR*PD1",
        "provider": "NL*ABC",
        "service": "weather",
        "major": 1,
        "calls": 9,
        "billable_calls": 4,
        "failed_calls": 1,
        "bytes_in": 10,
        "bytes_out": 100,
        "sandbox": False,
    }
    ((party, asked),) = pages.asked
    assert party == OPERATOR
    assert asked == {
        "first": date(2026, 4, 1),
        "last": date(2026, 4, 30),
        "limit": 7,
        "cursor": None,
    }
    assert 'rel="next"' in answer.headers["link"]


async def test_by_default_the_last_month_is_told() -> None:
    pages = Pages()
    await ask(pages, "")
    assert (pages.asked[0][1]["first"], pages.asked[0][1]["last"]) == (
        date(2026, 4, 3),
        date(2026, 5, 4),
    )


async def test_without_a_caller_there_is_no_usage() -> None:
    assert (await ask(Pages(), "", None)).status == 401


async def test_what_is_no_date_is_refused_by_name() -> None:
    answer = await ask(Pages(), "first=yesterday")
    assert answer.status == 422
    assert json.loads(answer.body)["field"] == "query.first"


@pytest.mark.parametrize("query", ["contrat_id=C-1", "party=DE*XYZ", "limit=7&last_day="])
async def test_a_filter_that_there_is_not_is_refused_rather_than_left_out(query: str) -> None:
    pages = Pages()
    answer = await ask(pages, query)
    told = json.loads(answer.body)
    name = query.rpartition("&")[2].partition("=")[0]
    assert (answer.status, told["field"]) == (422, f"query.{name}")
    assert told["rule"] == "one of: contract_id, cursor, first, last, limit"
    assert pages.asked == []
