"""Hub fees over HTTP: each reads its own prices and fees, and nobody else's."""

from __future__ import annotations

from fastapi import FastAPI

from clearinghouse.fees import flows, routes
from clearinghouse.fees.store import SqlBooks
from kit import problem
from kit.database import Database
from tests.clearinghouse.cdrs.fakes import EVSP, NOW, OPERATOR, OTHER_EVSP, House
from tests.clearinghouse.fees.test_flows import BEFORE, HUB, Papers, busy, close
from tests.clearinghouse.fees.test_model import schedule

__all__ = ["busy"]


async def test_each_reads_its_own_prices_and_fees(busy: Database) -> None:
    books = SqlBooks(busy)
    special = schedule(party=EVSP, per_cdr="0.01")
    await flows.set_schedule(special, hub=HUB, books=books, now=BEFORE)
    await close(busy, Papers())
    app = FastAPI()
    problem.install(app)
    app.include_router(routes.router(books, lambda: NOW))
    house = House(app)
    status, evsp = await house.get("/hub-fees", party=EVSP)
    assert status == 200
    assert [(one["payer"], one["special"], one["per_cdr"]) for one in evsp["schedules"]] == [
        ("operator", False, "0"),
        ("evsp", True, "0.01"),
    ]
    assert evsp["charged"] == [
        {
            "period_id": "2025-01",
            "currency": "EUR",
            "net": "0.02",
            "vat": "0.00",
            "vat_rule": "agreed-rate",
            "vat_category": None,
            "vat_percent": None,
            "parts": [
                {"payer": "evsp", "cdrs": 2, "energy_wh": 20_000, "per_cdr": "0.01", "per_kwh": "0"}
            ],
        }
    ]
    _, operator = await house.get("/hub-fees", party=OPERATOR)
    assert [one["net"] for one in operator["charged"]] == ["0.13"]
    _, other = await house.get("/hub-fees", party=OTHER_EVSP)
    assert [one["per_cdr"] for one in other["schedules"]] == ["0", "0.015"]
    assert other["charged"] == []
    _, before = await house.get("/hub-fees", party=EVSP, query="period=2024-12")
    assert before["schedules"] == []
    assert (await house.get("/hub-fees", party=EVSP, query="period=January"))[0] == 422
    assert (await house.get("/hub-fees", party=None))[0] == 401
