"""Exchange rates over HTTP: the same for all partners."""

from __future__ import annotations

import io
from typing import Any

from fastapi import FastAPI

from clearinghouse.exchange import flows, routes
from clearinghouse.exchange.store import SqlBooks
from kit import problem
from kit.database import Database
from tests.clearinghouse.cdrs.fakes import EVSP, House
from tests.clearinghouse.exchange.test_flows import FILE, NOW

PAIR = "base={}&quote={}"


async def test_partners_read_by_which_rate_money_is_converted(database: Database) -> None:
    books = SqlBooks(database)
    await flows.import_ecb(io.BytesIO(FILE), books=books, now=NOW)
    app = FastAPI()
    problem.install(app)
    app.include_router(routes.router(books, lambda: NOW))
    house = House(app)
    status, found = await house.get("/exchange-rates", query=PAIR.format("USD", "GBP"), party=EVSP)
    leg: dict[str, Any] = {
        "base": "EUR",
        "at": "2025-01-31",
        "source": "ECB euro foreign exchange reference rates",
    }
    assert (status, found) == (
        200,
        {
            "base": "USD",
            "quote": "GBP",
            "rate": "0.8044645434",
            "exact": "41804/51965",
            "at": "2025-01-31",
            "legs": [
                leg | {"quote": "USD", "rate": "1.0393"},
                leg | {"quote": "GBP", "rate": "0.83608"},
            ],
        },
    )
    for query, status in (
        (PAIR.format("USD", "GBP") + "&at=2025-01-30", 200),
        (PAIR.format("EUR", "EUR"), 200),
        (PAIR.format("USD", "GBP") + "&at=2025-01-29", 404),
        (PAIR.format("USD", "GBP") + "&at=29.01.2025", 422),
        (PAIR.format("USD", "CHF"), 404),
        (PAIR.format("USD", "XXX"), 422),
        (PAIR.format("USD", "GBP") + "&oldest_days=2", 404),
        ("base=USD", 422),
    ):
        answered, _ = await house.get("/exchange-rates", query=query, party=EVSP)
        assert (query, answered) == (query, status)
    assert (await house.get("/exchange-rates", query="base=USD&quote=EUR", party=None))[0] == 401
