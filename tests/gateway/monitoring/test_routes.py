"""`GET /marketplace/monitoring`: who may see what, and in what shape."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from fastapi import FastAPI

from gateway.monitoring.model import By, Every, Figures, Page, Question
from gateway.monitoring.routes import router
from kit import problem
from kit.http import CALLER, Answer, Caller, call_asgi
from roaming.party import PartyId

OPERATOR = PartyId("FR*PD1")
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


class Asked:
    """Answers every question with one figure, and remembers the question."""

    def __init__(self) -> None:
        self.came: list[tuple[PartyId | None, Question]] = []

    async def figures(
        self, party: PartyId | None, question: Question, *, limit: int, cursor: str | None
    ) -> Page:
        self.came.append((party, question))
        one = Figures(None, "weather", 1, "C-1", "GET /", 8, 1, 2, 1_500, 2_500, 3_500, 4.0)
        return Page([one], "next=")


async def ask(asked: Asked, query: str = "", *, known: bool = True) -> Answer:
    app = FastAPI()
    problem.install(app)
    app.include_router(router(asked, lambda: NOW))
    caller = Caller(OPERATOR, frozenset(), "client-1", None, "r-1")
    scope = {CALLER: caller} if known else {}
    return await call_asgi(app, "GET", "/marketplace/monitoring", query=query, extra_scope=scope)


async def test_figures_are_asked_for_the_caller_alone_and_the_last_hour() -> None:
    asked = Asked()
    assert (await ask(asked, "party=DE*XYZ")).status == 422
    answer = await ask(asked, "")
    assert answer.status == 200
    [(party, question)] = asked.came
    assert (party, question) == (OPERATOR, Question(NOW - timedelta(hours=1), NOW))
    told = json.loads(answer.body)
    assert told["until"] == "2026-05-04T12:00:00Z"
    [one] = told["figures"]
    assert (one["calls"], one["per_second"], one["error_share"], one["p95_ms"]) == (
        *(8, 2.0, 0.25, 2.5),
    )
    assert answer.headers["link"].endswith('rel="next"')


async def test_a_time_and_its_steps_are_asked_for() -> None:
    asked = Asked()
    await ask(asked, "since=2026-05-03T00:00:00Z&until=2026-05-04T00:00:00Z&by=contract&every=hour")
    [(_, question)] = asked.came
    assert (question.by, question.every) == (By.CONTRACT, Every.HOUR)
    assert question.until - question.since == timedelta(days=1)


async def test_what_cannot_be_told_of_is_refused_by_its_field() -> None:
    for query, field in (
        ("since=2026-05-05T00:00:00Z", "until"),
        ("since=2026-01-05T00:00:00Z", "since"),
        ("by=caller", "query.by"),
        ("since=yesterday", "query.since"),
    ):
        answer = await ask(Asked(), query)
        assert (answer.status // 100, json.loads(answer.body)["field"]) == (4, field), answer.body


async def test_nobody_asks_without_being_known() -> None:
    assert (await ask(Asked(), known=False)).status == 401
