"""Everybody sees how far a month is done with; only the hub closes it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from clearinghouse.cdrs import flows as cdr_flows
from clearinghouse.periods import routes
from clearinghouse.periods.store import SqlBooks
from gridroam.service_apps import ServiceApp
from kit.database import Database
from roaming.party import PartyId
from tests.clearinghouse.cdrs.fakes import EVSP, House, intake_of, keep_customer, submission

HUB = PartyId("EU*GRD")
NOW = datetime(2025, 2, 1, tzinfo=UTC)


@pytest.fixture
async def house(database: Database) -> House:
    await keep_customer(database)
    await cdr_flows.receive([submission("A-1")], intake=intake_of(database))
    router = routes.router(SqlBooks(database), database=database, clock=lambda: NOW, hub=HUB)
    return House(ServiceApp([], [router]).app)


async def close(house: House, period_id: str, party: PartyId) -> tuple[int, Any]:
    answer = await house.call(
        "POST",
        f"/periods/{period_id}/close",
        {},
        party=party,
        headers={"content-type": "application/json"},
    )
    return answer.status, json.loads(answer.body)


async def test_the_hub_closes_a_month_and_sees_what_it_came_to(house: House) -> None:
    status, told = await close(house, "2025-01", HUB)
    assert status == 200
    assert (told["state"], told["closed_at"]) == ("closed", "2025-02-01T00:00:00Z")
    [total] = told["totals"]
    assert (total["charges"], total["vat"], total["cdrs"]) == ("5.00", "1.00", 1)
    assert (await house.get("/periods/2025-01", party=HUB)) == (200, told)


async def test_a_partner_sees_the_state_and_no_totals(house: House) -> None:
    status, told = await house.get("/periods/2025-01", party=EVSP)
    assert (status, told["state"], told["totals"]) == (200, "open", None)
    status, told = await house.get("/periods", party=EVSP)
    assert [one["period_id"] for one in told["periods"]] == ["2025-01"]


async def test_a_partner_closes_nothing(house: House) -> None:
    status, told = await close(house, "2025-01", EVSP)
    assert (status, told["field"]) == (403, "party")
    assert (await house.get("/periods/2025-01", party=EVSP))[1]["state"] == "open"


async def test_a_month_that_runs_or_is_none_is_told(house: House) -> None:
    status, told = await close(house, "2025-02", HUB)
    assert (status, told["field"]) == (409, "period_id")
    status, told = await close(house, "last", HUB)
    assert (status, told["value"]) == (422, "last")
