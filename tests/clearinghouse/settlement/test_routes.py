"""Statements over HTTP: a partner's own, as JSON and as CSV, down to each charge."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from fastapi import FastAPI
from pypdf import PdfReader

from clearinghouse.cdrs import flows as cdr_flows
from clearinghouse.settlement import routes
from clearinghouse.settlement.store import SqlBooks
from kit import problem
from kit.database import Database
from roaming.party import PartyId
from tests.clearinghouse.cdrs.fakes import (
    EVSP,
    OPERATOR,
    OTHER_CONTRACT,
    OTHER_EVSP,
    OTHER_OPERATOR,
    House,
    intake_of,
    keep_customer,
    submission,
)


class Names:
    """What partners are called."""

    async def names(self) -> dict[str, str]:
        return {EVSP: '#panic("XYZ") Mobilität'}


@pytest.fixture
async def house(database: Database) -> House:
    await keep_customer(database)
    await keep_customer(database, OTHER_CONTRACT, token_uid=None)
    await cdr_flows.receive(
        [
            submission("=A-1"),
            submission("A-2", energy_wh=2_000),
            submission("A-3", energy_wh=4_000, contract_id=str(OTHER_CONTRACT)),
            submission("A-4", energy_wh=-1),
        ],
        intake=intake_of(database),
    )
    app = FastAPI()
    problem.install(app)
    app.include_router(routes.router(SqlBooks(database), Names()))
    return House(app)


async def get(house: House, path: str, party: PartyId = EVSP, query: str = "") -> tuple[int, Any]:
    return await house.get(path, party=party, roles=[], query=query)


async def test_a_statement_tells_gross_and_net(house: House) -> None:
    status, shown = await get(house, "/statements/2025-01")
    assert status == 200
    assert shown["counterparties"] == [
        {
            "counterparty": "FR*PD1",
            "owing": {"amount": "6.00", "vat": "1.20", "cdrs": 2},
            "owed": {"amount": "0.00", "vat": "0.00", "cdrs": 0},
            "net": "-6.00",
            "net_vat": "-1.20",
        }
    ]
    assert shown["owing"] == {"amount": "6.00", "vat": "1.20", "cdrs": 2}
    assert {name: one["net"] for name, one in shown["strategies"].items()} == {
        "gross": "-6.00",
        "bilateral": "-6.00",
        "multilateral": "-6.00",
        "cycles": "-6.00",
    }
    assert shown["strategies"]["multilateral"]["method"] == "exact"
    _, of_operator = await get(house, "/statements/2025-01", OPERATOR)
    assert of_operator["owed"] == {"amount": "8.00", "vat": "1.60", "cdrs": 3}


async def test_a_stranger_has_an_empty_statement(house: House) -> None:
    _, shown = await get(house, "/statements/2025-01", OTHER_OPERATOR)
    assert shown["counterparties"] == []
    assert all(one["payments"] == [] for one in shown["strategies"].values())
    assert (await get(house, "/statements/2025-01/items", OTHER_OPERATOR))[1]["items"] == []


async def test_the_items_add_up_to_the_statement_page_by_page(house: House) -> None:
    items: list[dict[str, Any]] = []
    query = "limit=1"
    while True:
        _, page = await get(house, "/statements/2025-01/items", OPERATOR, query)
        items += page["items"]
        if page["next_cursor"] is None:
            break
        query = f"limit=1&cursor={page['next_cursor']}"
    assert [one["cdr_id"] for one in items] == ["=A-1", "A-2", "A-3"]
    assert [one["amount"] for one in items] == ["5.00", "1.00", "2.00"]
    assert [one["counterparty"] for one in items] == [EVSP, EVSP, OTHER_EVSP]
    _, owing = await get(house, "/statements/2025-01/items")
    assert [(one["amount"], one["vat"]) for one in owing["items"]] == [
        ("-5.00", "-1.00"),
        ("-1.00", "-0.20"),
    ]


async def test_spreadsheets_get_csv_that_they_cannot_run(house: House) -> None:
    async def rows(path: str) -> list[dict[str, str]]:
        answer = await house.call("GET", path, b"", party=EVSP, query="format=csv")
        assert answer.headers["content-type"].startswith("text/csv")
        return list(csv.DictReader(io.StringIO(answer.body.decode())))

    (account,) = await rows("/statements/2025-01")
    assert (account["counterparty"], account["owing_amount"], account["net"]) == (
        "FR*PD1",
        "6.00",
        "-6.00",
    )
    items = await rows("/statements/2025-01/items")
    assert [(one["cdr_id"], one["amount"]) for one in items] == [
        ("'=A-1", "-5.00"),
        ("A-2", "-1.00"),
    ]


async def test_a_period_is_a_month_or_two_days(house: House) -> None:
    assert (await get(house, "/statements/2025-01-15..2025-01-16"))[1]["owing"]["cdrs"] == 2
    assert (await get(house, "/statements/2025-02"))[1]["owing"]["cdrs"] == 0
    assert (await get(house, "/statements/2025-01", query="currency=CHF"))[1]["owing"]["cdrs"] == 0


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/statements/january", ""),
        ("/statements/2025-02-01..2025-01-01", ""),
        ("/statements/2025-01", "currency=XYZ"),
        ("/statements/2025-01", "time_zone=Mars"),
        ("/statements/2025-01", "format=xls"),
        ("/statements/2025-01/items", "cursor=first"),
        ("/statements/2025-01/items", "cursor=2025-01-01T00:00:00Z~x"),
        ("/statements/2025-01/items", "cursor=2025-01-01T00:00:00Z~99999999999999999999"),
        ("/statements/2025-01/items", "cursor=2025-01-01~1"),
        ("/statements/2025-01/items", "limit=0"),
    ],
)
async def test_a_bad_question_is_told_so(house: House, path: str, query: str) -> None:
    status, answer = await get(house, path, query=query)
    assert status == 422
    assert json.dumps(answer)


async def test_nobody_reads_without_a_name(house: House) -> None:
    for path in ("/statements/2025-01", "/statements/2025-01/items"):
        assert (await house.get(path, party=None))[0] == 401


async def test_people_get_a_pdf_that_says_the_same_whenever_it_is_asked_for(house: House) -> None:
    answers = [
        await house.call("GET", "/statements/2025-01", b"", party=EVSP, query="format=pdf")
        for _ in range(2)
    ]
    assert answers[0].headers["content-type"] == "application/pdf"
    assert answers[0].body == answers[1].body
    text = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(answers[0].body)).pages)
    for words in ("January 2025", '#panic("XYZ") Mobilität', "FR*PD1", "6.00", "1.20", "-7.20"):
        assert words in text, words


async def test_items_have_no_pdf(house: House) -> None:
    status, told = await get(house, "/statements/2025-01/items", query="format=pdf")
    assert (status, told["field"]) == (422, "query.format")
