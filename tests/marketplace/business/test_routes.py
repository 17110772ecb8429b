"""Business details over HTTP: told by each for itself, read by those who get its invoices."""

from __future__ import annotations

import json
from typing import Any

from marketplace.business import flows
from marketplace.business.routes import read_told
from tests.marketplace.fakes import (
    EVSP,
    HUB,
    NOW,
    OPERATOR,
    OTHER,
    HandClock,
    Member,
    agree_roaming,
    join,
)
from tests.marketplace.whole import Marketplace

TOLD: dict[str, Any] = {
    "legal_name": "EVL Mobility GmbH",
    "street": "Unter den Linden 1",
    "city": "Berlin",
    "postal_code": "10117",
    "country": "DE",
    "vat_id": "DE136695976",
    "taxable_dealer": True,
    "iban": "DE89370400440532013000",
    "bic": "COBADEFF",
    "invoice_email": "invoices@evl.example",
}


def path(party: str) -> str:
    return f"/marketplace/partners/{party}/business-details"


async def test_a_party_tells_who_it_is_and_what_it_told_stays_known(
    evsp: Member, clock: HandClock
) -> None:
    assert (await evsp.http.get(path(EVSP))).status_code == 404
    first = await evsp.http.put(path("de-evl"), json=TOLD)
    assert first.status_code == 200, first.text
    assert first.json() == TOLD | {
        "party": EVSP,
        "tax_id": None,
        "valid_from": "2026-03-01T12:00:00Z",
    }
    clock.forward(minutes=10)
    # The same again is nothing new; a move is, from its day on.
    assert (await evsp.http.put(path(EVSP), json=TOLD)).json() == first.json()
    moved = TOLD | {"city": "Potsdam", "valid_from": "2026-04-01T00:00:00+02:00"}
    assert (await evsp.http.put(path(EVSP), json=moved)).status_code == 200
    for at, city in (
        (None, "Berlin"),
        ("2026-03-31T21:59:59Z", "Berlin"),
        ("2026-03-31T22:00:00Z", "Potsdam"),
    ):
        found = await evsp.http.get(path(EVSP), params={"at": at} if at else {})
        assert (at, found.json()["city"]) == (at, city)
    assert (
        await evsp.http.get(path(EVSP), params={"at": "2026-02-01T00:00:00Z"})
    ).status_code == 404
    history = await evsp.http.get(f"{path(EVSP)}/history")
    assert [one["city"] for one in history.json()] == ["Berlin", "Potsdam"]


async def test_contract_partners_read_them_and_nobody_else(
    market: Marketplace, operator: Member, evsp: Member
) -> None:
    await evsp.http.put(path(EVSP), json=TOLD)
    refused = await operator.http.get(path(EVSP))
    assert (refused.status_code, refused.json()["field"]) == (403, "party")
    contract = await agree_roaming(operator, evsp)
    assert (await operator.http.get(path(EVSP))).json()["vat_id"] == TOLD["vat_id"]
    # Invoices of the past are still looked at after the contract's end.
    await operator.http.post(f"/marketplace/contracts/{contract['contract_id']}/terminate")
    assert (await operator.http.get(path(EVSP))).status_code == 200
    other = await join(market, OTHER, "evsp", "evse-operator")
    assert (await other.http.get(path(EVSP))).status_code == 403
    for stranger in (other, operator):
        assert (await stranger.http.put(path(EVSP), json=TOLD)).status_code == 403
        assert (await stranger.http.get(f"{path(EVSP)}/history")).status_code == 403
    assert (await other.http.get(path("NL*NON"))).status_code == 404
    assert (await evsp.http.put(path(OPERATOR), json=TOLD)).status_code == 403
    await other.http.aclose()


async def test_every_partner_of_the_hub_may_read_who_the_hub_is(
    market: Marketplace, evsp: Member, clock: HandClock
) -> None:
    # Joining gave it contracts on the hub's own services; the hub's details come by command line.
    assert (await evsp.http.get(path(HUB))).status_code == 404
    assert (await evsp.http.put(path(HUB), json=TOLD)).status_code == 403
    await flows.tell(
        market.core.business_files,
        HUB,
        read_told(json.dumps(TOLD).encode()).of(HUB, NOW),
        hub=HUB,
        memory=market.core.businesses,
        now=clock(),
    )
    assert (await evsp.http.get(path(HUB))).json()["legal_name"] == TOLD["legal_name"]


async def test_the_log_tells_of_a_change_and_not_of_the_bank(
    market: Marketplace, evsp: Member
) -> None:
    await evsp.http.put(path(EVSP), json=TOLD)
    await evsp.http.put(path(EVSP), json=TOLD)
    async with market.database.begin() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT party, body FROM kit.event WHERE type = 'partner-details-changed'"
        )
        (told,) = rows.all()
    party, body = told.party, told.body
    assert (party, body["vat_id"], body["taxable_dealer"]) == (EVSP, TOLD["vat_id"], True)
    assert TOLD["iban"] not in str(body)
    assert TOLD["invoice_email"] not in str(body)


async def test_what_breaks_a_rule_is_refused_with_its_field(evsp: Member) -> None:
    for change, field in (
        ({"vat_id": "DE136695975"}, "vat_id"),
        ({"iban": "DE00"}, "iban"),
        ({"country": "Germany"}, "country"),
        ({"colour": "red"}, "body.colour"),
        ({"legal_name": None}, "body.legal_name"),
        ({"valid_from": "2026-01-01T00:00:00"}, "body.valid_from"),
    ):
        answer = await evsp.http.put(path(EVSP), json=TOLD | change)
        assert (change, answer.status_code, answer.json()["field"]) == (change, 422, field)
    assert (await evsp.http.get(path(EVSP))).status_code == 404


async def test_a_retry_with_its_key_tells_the_same_once(evsp: Member, clock: HandClock) -> None:
    key = {"Idempotency-Key": "one"}
    first = await evsp.http.put(path(EVSP), json=TOLD, headers=key)
    clock.forward(minutes=1)
    again = await evsp.http.put(path(EVSP), json=TOLD, headers=key)
    assert again.content == first.content
    other = await evsp.http.put(path(EVSP), json=TOLD | {"city": "Bonn"}, headers=key)
    assert other.status_code == 422
