"""Settling over HTTP: the hub does it, partners see their own payments and what these set off."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from clearinghouse.settling import routes
from gridroam.service_apps import ServiceApp
from kit.database import Database
from roaming.party import PartyId
from tests.clearinghouse.cdrs.fakes import (
    EVSP,
    OPERATOR,
    OTHER_EVSP,
    OTHER_OPERATOR,
    House,
)
from tests.clearinghouse.settling.test_flows import HUB, booked, close, house_of

JSON = {"content-type": "application/json"}


@pytest.fixture
async def house(database: Database) -> House:
    """EVSP owes OPERATOR 6.00 and OTHER_OPERATOR 3.60, OTHER_EVSP owes OPERATOR 2.40."""
    await booked(database)
    await close(database)
    return House(ServiceApp([], [routes.router(house_of(database), database=database)]).app)


async def post(house: House, path: str, body: Any, party: PartyId = HUB) -> tuple[int, Any]:
    answer = await house.call("POST", path, body, party=party, headers=JSON)
    return answer.status, json.loads(answer.body)


async def settle(house: House, **asked: Any) -> Any:
    status, told = await post(house, "/periods/2025-01/settle", asked)
    assert status == 200, told
    return told


async def payments(house: House, party: PartyId, query: str = "") -> list[dict[str, Any]]:
    status, page = await house.get("/settlement-payments", party=party, query=query)
    assert status == 200
    found: list[dict[str, Any]] = page["payments"]
    return found


async def test_a_dry_run_tells_what_the_settlement_will_be(house: House) -> None:
    planned = await settle(house, dry_run=True)
    assert (planned["state"], planned["settled_at"]) == ("closed", None)
    assert await payments(house, HUB) == []
    done = await settle(house)
    assert (done["state"], done["settlements"]) == ("settled", planned["settlements"])
    assert done["settlements"] == [
        {
            "clearing_group": "bilateral",
            "currency": "EUR",
            "strategy": "bilateral",
            "method": None,
            "pairs": 3,
            "payments": 3,
            "total": "12.00",
            "netted": "0.00",
            "paid": "12.00",
            "rates": {},
        }
    ]
    assert await settle(house) == done


async def test_only_the_hub_settles_and_declares_a_default(house: House) -> None:
    for path, body in (
        ("/periods/2025-01/settle", {}),
        ("/periods/2025-01/settle", {"dry_run": True}),
        ("/periods/2025-01/default", {"party": "DE*BET", "rule": "unwind"}),
    ):
        status, told = await post(house, path, body, EVSP)
        assert (status, told["field"]) == (403, "party")


async def test_each_sees_the_payments_that_it_makes_or_gets(house: House) -> None:
    await settle(house)
    seen = {
        party: sorted((one["payer"], one["payee"], one["amount"]) for one in found)
        for party in (EVSP, OPERATOR, OTHER_EVSP, OTHER_OPERATOR)
        if (found := await payments(house, party))
    }
    assert seen == {
        "DE*BET": [("DE*BET", "FR*PD1", "6.00"), ("DE*BET", "NL*ALF", "3.60")],
        "FR*PD1": [("DE*BET", "FR*PD1", "6.00"), ("FR*GAM", "FR*PD1", "2.40")],
        "FR*GAM": [("FR*GAM", "FR*PD1", "2.40")],
        "NL*ALF": [("DE*BET", "NL*ALF", "3.60")],
    }
    [payment] = await payments(house, OTHER_EVSP)
    path = f"/settlement-payments/{payment['payment_id']}"
    assert await house.get(path, party=OPERATOR) == (200, payment)
    assert (await house.get(path, party=EVSP))[0] == 404
    assert await payments(house, HUB, "period=2025-02") == []
    assert await payments(house, HUB, "state=paid") == []
    assert len(await payments(house, HUB, "state=due&period=2025-01")) == 3


async def test_payments_come_page_by_page(house: House) -> None:
    await settle(house)
    found: list[str] = []
    query = "limit=1"
    while True:
        _, page = await house.get("/settlement-payments", party=HUB, query=query)
        found += [one["payment_id"] for one in page["payments"]]
        if page["next_cursor"] is None:
            break
        query = f"limit=1&cursor={page['next_cursor']}"
    assert sorted(found) == sorted(one["payment_id"] for one in await payments(house, HUB))
    assert (await house.get("/settlement-payments", party=HUB, query="cursor=x"))[0] == 422


async def test_a_payee_says_that_money_came(house: House) -> None:
    await settle(house)
    [payment] = await payments(house, OTHER_EVSP)
    path = f"/settlement-payments/{payment['payment_id']}/receipts"
    told = {
        "amount": "2.00",
        "currency": "EUR",
        "paid_at": "2025-02-20T12:00:00Z",
        "source": "statement 7, line 1",
    }
    status, part = await post(house, path, told, OPERATOR)
    assert (status, part["state"], part["paid"], part["open"]) == (200, "part-paid", "2.00", "0.40")
    assert await post(house, path, told, OPERATOR) == (200, part)
    for wrong, party, expected in (
        (told, OTHER_EVSP, 403),
        (told, EVSP, 404),
        ({**told, "source": "2"}, HUB, 409),
        ({**told, "source": "2", "currency": "CHF"}, HUB, 422),
        ({**told, "source": "2", "amount": "0"}, HUB, 422),
        ({**told, "source": "2", "amount": "0.001"}, HUB, 422),
        ({**told, "source": "2", "paid_at": "2025-02-20T12:00:00"}, HUB, 422),
    ):
        assert (await post(house, path, wrong, party))[0] == expected, wrong
    rest = {**told, "amount": "0.40", "source": "2"}
    assert (await post(house, path, rest))[1]["state"] == "paid"


async def test_a_payee_writes_off_what_it_does_not_wait_for(house: House) -> None:
    await settle(house)
    [payment] = await payments(house, OTHER_EVSP)
    path = f"/settlement-payments/{payment['payment_id']}/write-off"
    assert (await post(house, path, None, OTHER_EVSP))[0] == 403
    assert (await post(house, path, None, EVSP))[0] == 404
    status, told = await post(house, path, None, OPERATOR)
    assert (status, told["state"], told["open"]) == (200, "written-off", "2.40")
    assert [one["state"] for one in await payments(house, OTHER_EVSP)] == ["written-off"]


async def test_a_set_off_statement_lists_what_each_payment_settles(house: House) -> None:
    status, told = await house.get("/set-off-statements/2025-01", party=OPERATOR)
    assert (status, told["field"]) == (409, "period_id")
    await settle(house)
    status, told = await house.get("/set-off-statements/2025-01", party=OPERATOR)
    assert status == 200
    [group] = told["groups"]
    assert (group["owing"], group["owed"], group["net"]) == ("0.00", "8.40", "8.40")
    assert [
        (one["debtor"], one["charges"], one["vat"], one["settled"]) for one in group["pairs"]
    ] == [
        ("DE*BET", "5.00", "1.00", "6.00"),
        ("FR*GAM", "2.00", "0.40", "2.40"),
    ]
    assert {one["payer"]: one["settles"] for one in group["payments"]} == {
        "DE*BET": [["DE*BET", "FR*PD1"]],
        "FR*GAM": [["FR*GAM", "FR*PD1"]],
    }
    status, nothing = await house.get("/set-off-statements/2025-01", party=PartyId("BE*STR"))
    assert (status, nothing["groups"]) == (200, [])


async def test_a_set_off_statement_is_a_spreadsheet_too(house: House) -> None:
    await settle(house)
    answer = await house.call(
        "GET", "/set-off-statements/2025-01", b"", party=EVSP, query="format=csv"
    )
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [(one["line"], one["from"], one["to"], one["amount"]) for one in rows] == [
        ("debt", "DE*BET", "FR*PD1", "-6.00"),
        ("debt", "DE*BET", "NL*ALF", "-3.60"),
        ("payment", "DE*BET", "FR*PD1", "-6.00"),
        ("payment", "DE*BET", "NL*ALF", "-3.60"),
    ]


async def test_the_hub_sees_who_loses_before_it_posts_a_default(house: House) -> None:
    await settle(house)
    asked = {"party": "DE*BET", "rule": "clearing-vector", "means": {"DE*BET": "4.80 EUR"}}
    status, told = await post(house, "/periods/2025-01/default", asked)
    assert (status, told["confirmed"]) == (200, False)
    [one] = told["corrections"]
    assert [(loss["party"], loss["gets"], loss["loses"]) for loss in one["losses"]] == [
        ("FR*PD1", "5.40", "3.00"),
        ("NL*ALF", "1.80", "1.80"),
    ]
    assert await payments(house, HUB, "state=failed") == []
    status, told = await post(
        house, "/periods/2025-01/default", {"party": "DE*BET", "rule": "unwind", "confirm": True}
    )
    assert (status, told["confirmed"]) == (200, True)
    assert len(await payments(house, HUB, "state=failed")) == 2
    assert len(await payments(house, HUB, "state=unwound")) == 3
    assert (await post(house, "/periods/2025-01/default", asked))[0] == 409
    assert (await post(house, "/periods/2025-02/default", asked))[0] == 409


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/periods/january/settle", {}),
        ("/periods/2025-01/settle", {"currency": "XYZ"}),
        ("/periods/2025-01/settle", {"strategy": "gross"}),
        ("/periods/2025-01/default", {"party": "DE*BET", "rule": "forget"}),
        ("/periods/2025-01/default", {"party": "X", "rule": "unwind"}),
        (
            "/periods/2025-01/default",
            {"party": "DE*BET", "rule": "unwind", "means": {"DE*BET": "1"}},
        ),
    ],
)
async def test_a_bad_question_is_told_so(house: House, path: str, body: Any) -> None:
    assert (await post(house, path, body))[0] == 422


async def test_a_month_that_is_open_is_not_settled(house: House) -> None:
    status, told = await post(house, "/periods/2025-02/settle", {})
    assert (status, told["field"]) == (409, "state")
