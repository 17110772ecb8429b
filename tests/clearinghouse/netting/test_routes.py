"""Clearing runs over HTTP: the hub sees all of them, a partner what concerns it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import FastAPI

from clearinghouse.cdrs import flows as cdr_flows
from clearinghouse.netting import routes
from clearinghouse.netting.store import SqlBooks
from kit import event_log, problem
from kit.database import Database
from kit.event_log import START
from roaming.events import EventType
from roaming.party import PartyId
from tests.clearinghouse.cdrs.fakes import (
    EVSP,
    NOW,
    OPERATOR,
    OTHER_CONTRACT,
    OTHER_EVSE,
    OTHER_EVSP,
    OTHER_OPERATOR,
    House,
    intake_of,
    keep_customer,
    submission,
)

HUB = PartyId("EU*GRD")


@pytest.fixture
async def house(database: Database) -> House:
    """Four charges: two of EVSP and one of OTHER_EVSP at OPERATOR, one of EVSP elsewhere."""
    await keep_customer(database)
    await keep_customer(database, OTHER_CONTRACT, token_uid=None)
    outcomes = await cdr_flows.receive(
        [
            submission("A-1"),
            submission("A-2", energy_wh=2_000, end="2025-02-01T00:00:00Z"),
            submission("A-3", energy_wh=4_000, contract_id=str(OTHER_CONTRACT)),
            submission("B-1", energy_wh=6_000, operator=OTHER_OPERATOR, evse_id=str(OTHER_EVSE)),
            submission("A-4", energy_wh=-1),
        ],
        intake=intake_of(database),
    )
    assert [one.cdr.booked for one in outcomes] == [True] * 4 + [False]
    app = FastAPI()
    problem.install(app)
    app.include_router(
        routes.router(SqlBooks(database), database=database, clock=lambda: NOW, hub=HUB)
    )
    return House(app)


async def run(
    house: House, strategy: str, party: PartyId = HUB, period: Any = "2025-01", **more: Any
) -> Any:
    asked = {"period": period, "currency": "EUR", "strategy": strategy, **more}
    answer = await house.call(
        "POST",
        "/clearing-runs",
        asked,
        party=party,
        roles=["evsp", "evse-operator"],
        headers={"content-type": "application/json"},
    )
    return answer.status, json.loads(answer.body)


async def test_gross_tells_what_is_owed_with_vat_and_counts(house: House) -> None:
    status, made = await run(house, "gross")
    assert status == 201
    assert made["period"] == {"from": "2025-01-01T00:00:00Z", "to": "2025-02-01T00:00:00Z"}
    # A-2 ended at the first instant of February, and belongs there.
    assert made["obligations"] == [
        owed("DE*BET", "FR*PD1", "5.00", "1.00"),
        owed("DE*BET", "NL*ALF", "3.00", "0.60"),
        owed("FR*GAM", "FR*PD1", "2.00", "0.40"),
    ]
    assert [payment["amount"] for payment in made["payments"]] == ["5.00", "3.00", "2.00"]


def owed(debtor: str, creditor: str, amount: str, vat: str, cdrs: int = 1) -> dict[str, Any]:
    return {
        "debtor": debtor,
        "creditor": creditor,
        "currency": "EUR",
        "amount": amount,
        "vat": vat,
        "cdrs": cdrs,
    }


async def test_multilateral_says_its_method_and_all_positions(house: House) -> None:
    _, made = await run(house, "multilateral")
    assert made["method"] == "exact"
    assert {one["party"]: (one["amount"], one["vat"]) for one in made["positions"]} == {
        "DE*BET": ("-8.00", "-1.60"),
        "FR*GAM": ("-2.00", "-0.40"),
        "FR*PD1": ("7.00", "1.40"),
        "NL*ALF": ("3.00", "0.60"),
    }
    assert len(made["payments"]) == 3
    assert all(payment["vat"] is None for payment in made["payments"])


async def test_where_nothing_goes_round_cycles_leave_the_debts_as_they_stand(house: House) -> None:
    _, made = await run(house, "cycles")
    assert (made["method"], made["cancelled"]) == (None, [])
    assert [
        (one["payer"], one["payee"], one["amount"], one["vat"]) for one in made["payments"]
    ] == [(one["debtor"], one["creditor"], one["amount"], None) for one in made["obligations"]]


async def test_a_partner_sees_only_its_own_part(house: House) -> None:
    _, made = await run(house, "bilateral", party=OTHER_EVSP)
    assert made["obligations"] == [owed("FR*GAM", "FR*PD1", "2.00", "0.40")]
    _, whole = await run(house, "multilateral", party=OTHER_EVSP)
    assert [one["party"] for one in whole["positions"]] == ["FR*GAM"]
    assert all("FR*GAM" in (one["payer"], one["payee"]) for one in whole["payments"])
    assert sum(float(one["amount"]) for one in whole["payments"]) == 2


async def test_a_run_is_kept_and_shown_to_those_it_concerns(
    house: House, database: Database
) -> None:
    _, by_hub = await run(house, "multilateral")
    _, by_evsp = await run(house, "gross", party=EVSP)

    async def get(path: str, party: PartyId) -> tuple[int, Any]:
        return await house.get(path, party=party, roles=["evsp"])

    assert await get(f"/clearing-runs/{by_hub['run_id']}", HUB) == (200, by_hub)
    status, part = await get(f"/clearing-runs/{by_hub['run_id']}", OTHER_EVSP)
    assert (status, [one["party"] for one in part["positions"]]) == (200, ["FR*GAM"])
    assert await get(f"/clearing-runs/{by_evsp['run_id']}", EVSP) == (200, by_evsp)
    assert (await get(f"/clearing-runs/{by_evsp['run_id']}", OTHER_EVSP))[0] == 404
    assert (await get("/clearing-runs/none", HUB))[0] == 404
    _, listed = await get("/clearing-runs", OTHER_EVSP)
    assert [one["run_id"] for one in listed["runs"]] == [by_hub["run_id"]]
    assert len((await get("/clearing-runs", EVSP))[1]["runs"]) == 2
    async with database.hot() as connection:
        told = await event_log.read(connection, START, types=[EventType.CLEARING_RUN_RECORDED])
    assert [event.body["run_id"] for event in told] == [by_hub["run_id"], by_evsp["run_id"]]


async def test_the_same_period_again_gives_the_same(house: House) -> None:
    for strategy in ("gross", "bilateral", "multilateral", "cycles"):
        _, one = await run(house, strategy)
        _, other = await run(house, strategy)
        one.pop("run_id"), other.pop("run_id")
        assert one == other


async def test_a_period_may_be_any_two_instants_or_days_of_any_place(house: House) -> None:
    _, by_day = await run(house, "gross", period={"from": "2025-01-15", "to": "2025-02-02"})
    assert by_day["obligations"][0]["cdrs"] == 2
    _, none = await run(house, "gross", period={"from": "2025-01-15T13:00:01Z", "to": "2025-01-31"})
    assert none["obligations"] == []
    # In Paris, A-2 ends an hour into February; in Reykjavik's west it is still January.
    _, west = await run(house, "gross", time_zone="America/New_York")
    assert west["obligations"][0]["cdrs"] == 2


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"period": "2025-13"}, "period"),
        ({"period": {"from": "2025-02-01", "to": "2025-01-01"}}, "period"),
        ({"period": {"from": "2025-02-01T00:00:00", "to": "2025-03-01"}}, "period.from"),
        ({"currency": "XYZ"}, "currency"),
        ({"time_zone": "Europe/Atlantis"}, "time_zone"),
        ({"strategy": "barter"}, None),
        ({"surprise": 1}, None),
    ],
)
async def test_a_bad_question_is_told_what_a_good_one_is(
    house: House, change: dict[str, Any], field: str | None
) -> None:
    asked = {"period": "2025-01", "strategy": "gross", **change}
    status, answer = await run(house, **asked)
    assert status == 422
    assert field is None or answer["field"] == field


async def test_only_those_who_clear_may_ask(house: House) -> None:
    for party, roles, status in [(OPERATOR, ["dso"], 403), (None, [], 401), (HUB, [], 201)]:
        answer = await house.call(
            "POST",
            "/clearing-runs",
            {"period": "2025-01", "currency": "EUR", "strategy": "gross"},
            party=party,
            roles=roles,
            headers={"content-type": "application/json"},
        )
        assert answer.status == status
