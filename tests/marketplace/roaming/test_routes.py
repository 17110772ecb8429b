"""Roaming in bulk: offered to all or to each, seen side by side, accepted by the dozen; the matrix.

Prices here are reckoned by hand: 20 kWh in 40 minutes, whatever is offered.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx import AsyncClient

from marketplace.contracts.model import Absence
from roaming.party import PartyId
from tests.marketplace.fakes import (
    EVSP,
    HUB,
    OPERATOR,
    ROAMING_TERMS,
    HandClock,
    Member,
    agree_roaming,
    client_of,
    join,
    offer_roaming,
)
from tests.marketplace.whole import Marketplace

OFFERS = "/marketplace/roaming/offers"
MATRIX = "/marketplace/roaming/matrix"
SECOND_OPERATOR, SECOND_EVSP = PartyId("NL*ABC"), PartyId("NL*TNM")
TO_ALL = {"kind": "roles", "roles": ["evsp"]}


def terms(price: float, **more: Any) -> dict[str, Any]:
    energy = {"type": "ENERGY", "price": price, "step_size": 1}
    return ROAMING_TERMS | {"tariff": {"elements": [{"price_components": [energy]}]}} | more


@pytest.fixture
async def operator_2(market: Marketplace) -> AsyncIterator[Member]:
    member = await join(market, SECOND_OPERATOR, "evse-operator")
    yield member
    await member.http.aclose()


@pytest.fixture
async def evsp_2(market: Marketplace) -> AsyncIterator[Member]:
    member = await join(market, SECOND_EVSP, "evsp")
    yield member
    await member.http.aclose()


async def offered(operator: Member, *many: dict[str, Any]) -> list[str]:
    answer = await operator.http.post(
        "/marketplace/offerings", json=[{"service": "roaming"} | one for one in many]
    )
    assert answer.status_code == 201, answer.text
    return [one["offering_id"] for one in answer.json()]


async def cells(http: AsyncClient, query: str = "") -> dict[tuple[str, str], dict[str, Any]]:
    answer = await http.get(f"{MATRIX}?limit=50{query}")
    assert answer.status_code == 200, answer.text
    return {
        (row["operator"], cell["evsp"]): cell
        for row in answer.json()["rows"]
        for cell in row["cells"]
    }


async def test_what_is_offered_to_all_and_to_each_is_seen_side_by_side(
    operator: Member, operator_2: Member, evsp: Member, evsp_2: Member
) -> None:
    components = [{"type": "ENERGY", "price": 0.45}, {"type": "TIME", "price": 3}]
    dearer = {"elements": [{"price_components": components}]}
    motorway = {"name": "motorway", "evses": ["FR*PD1*E9*"], "tariff": dearer}
    all_of_them, own = await offered(
        operator,
        {"terms": terms(0.35, tariff_groups=[motorway]), "audience": TO_ALL},
        {
            "terms": terms(0.30, evses=["FR*PD1*E1*"]),
            "audience": {"kind": "parties", "parties": [EVSP]},
        },
    )
    (other,) = await offered(operator_2, {"terms": terms(0.33, vat_percent=21), "audience": TO_ALL})
    found = (await evsp.http.get(OFFERS)).json()
    assert found["session"] == {"energy_wh": 20_000, "minutes": 40}
    shown = {one["offering_id"]: (one["price"], one["covers"]) for one in found["offers"]}
    assert shown == {
        all_of_them: ({"excl_vat": "7.00", "vat": "1.40", "incl_vat": "8.40"}, "all"),
        own: ({"excl_vat": "6.00", "vat": "1.20", "incl_vat": "7.20"}, "some"),
        other: ({"excl_vat": "6.60", "vat": "1.39", "incl_vat": "7.99"}, "all"),
    }
    # 20 kWh at 0.45 are 9.00, and 40 minutes at 3.00 an hour are 2.00.
    (with_groups,) = (one for one in found["offers"] if one["offering_id"] == all_of_them)
    assert with_groups["groups"] == [
        {"name": "motorway", "price": {"excl_vat": "11.00", "vat": "2.20", "incl_vat": "13.20"}}
    ]
    cheapest = (await evsp.http.get(f"{OFFERS}?sort=price&currency=EUR")).json()["offers"]
    assert [one["offering_id"] for one in cheapest] == [own, other, all_of_them]
    # An hour at twice the energy, from here on.
    long = (await evsp.http.get(f"{OFFERS}?energy_wh=40000&minutes=60&operator=NL*ABC")).json()
    assert [one["price"]["excl_vat"] for one in long["offers"]] == ["13.20"]
    here = (await evsp.http.get(f"{OFFERS}?evse_id=FR*PD1*E7")).json()["offers"]
    assert {one["offering_id"] for one in here} == {all_of_them, other}
    theirs = (await evsp_2.http.get(OFFERS)).json()["offers"]
    assert {one["offering_id"] for one in theirs} == {all_of_them, other}
    assert (await evsp.http.get(f"{OFFERS}?currency=CHF")).json()["offers"] == []
    assert (await operator.http.get(f"{OFFERS}?operator=FR*PD1")).json()["offers"] == []


async def test_offers_come_by_the_page(operator: Member, evsp: Member) -> None:
    ids = await offered(
        operator, *({"terms": terms(n / 100), "audience": TO_ALL} for n in range(1, 8))
    )
    seen, url = [], f"{OFFERS}?limit=3"
    while url:
        page = await evsp.http.get(url)
        seen += [one["offering_id"] for one in page.json()["offers"]]
        url = page.links.get("next", {}).get("url", "")
    assert seen == sorted(ids)


async def test_what_has_run_out_is_not_offered_and_what_is_accepted_says_so(
    operator: Member, evsp: Member, clock: HandClock
) -> None:
    soon, later = await offered(
        operator,
        {"terms": terms(0.3), "audience": TO_ALL, "valid_until": "2026-03-01T12:05:00Z"},
        {"terms": terms(0.4), "audience": TO_ALL, "valid_from": "2026-03-01T12:05:00Z"},
    )
    accepted = await evsp.http.post(
        "/marketplace/contracts", json={"offering_ids": [later], "continue": True}
    )
    (contract,) = accepted.json()["contracts"]
    found = (await evsp.http.get(OFFERS)).json()["offers"]
    assert {one["offering_id"]: one["contract_id"] for one in found} == {
        soon: None,
        later: contract["contract_id"],
    }
    for accepted_too, expected in (("true", [later]), ("false", [soon])):
        page = (await evsp.http.get(f"{OFFERS}?accepted={accepted_too}")).json()
        assert [one["offering_id"] for one in page["offers"]] == expected, page
    clock.forward(minutes=5)
    found = (await evsp.http.get(OFFERS)).json()["offers"]
    assert [one["offering_id"] for one in found] == [later]
    # Terminated, with whatever words: it can be accepted anew.
    path = f"/marketplace/contracts/{contract['contract_id']}"
    await evsp.http.post(f"{path}/suspend", json={"reason": "terminated"})
    assert (await evsp.http.get(f"{OFFERS}?accepted=true")).json()["offers"] != []
    await evsp.http.post(f"{path}/terminate")
    assert (await evsp.http.get(f"{OFFERS}?accepted=true")).json()["offers"] == []


async def test_many_are_accepted_and_the_answer_names_which_were_not_and_why(
    operator: Member, evsp: Member, evsp_2: Member
) -> None:
    good, clashing, withdrawn, hidden = await offered(
        operator,
        {"terms": terms(0.3), "audience": TO_ALL},
        {"terms": terms(0.4), "audience": TO_ALL},
        {"terms": terms(0.5), "audience": TO_ALL, "valid_from": "2099-01-01T00:00:00Z"},
        {"terms": terms(0.6), "audience": {"kind": "parties", "parties": [SECOND_EVSP]}},
    )
    await operator.http.post(f"/marketplace/offerings/{withdrawn}/withdraw")
    asked = [good, clashing, withdrawn, hidden, "no-such", good]
    none = await evsp.http.post("/marketplace/contracts", json={"offering_ids": asked})
    assert none.status_code == 404
    assert (await evsp.http.get("/marketplace/contracts?service=roaming")).json() == []
    told = await evsp.http.post(
        "/marketplace/contracts", json={"offering_ids": asked, "continue": True}
    )
    assert told.status_code == 201
    first, again = told.json()["contracts"]
    assert first["contract_id"] == again["contract_id"]
    failed = {
        one["offering_id"]: one["problem"]["type"].rpartition("/")[2]
        for one in told.json()["failed"]
    }
    assert failed == {
        clashing: "contracts-overlap",
        withdrawn: "offering-withdrawn",
        hidden: "unknown-offering",
        "no-such": "unknown-offering",
    }
    nothing = await evsp.http.post(
        "/marketplace/contracts", json={"offering_ids": ["no-such"], "continue": True}
    )
    assert (nothing.status_code, nothing.json()["contracts"]) == (200, [])
    lonely = await evsp.http.post(
        "/marketplace/contracts", json={"offering_id": good, "continue": True}
    )
    assert lonely.status_code == 422


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"terms": terms(0.3, currency="EURO")}, "currency"),
        ({"terms": terms(0.3, vat_percent=101)}, "17.terms.vat_percent"),
        ({"terms": terms(0.3, evses=["nowhere"])}, "17.evse_id"),
        ({"audience": {"kind": "roles", "roles": ["driver"]}}, "17.audience.roles"),
        ({"valid_until": "2020-01-01T00:00:00Z"}, "17.valid_until"),
        ({"service": "no-such", "terms": {}}, "17.service"),
        ({"servise": "roaming"}, "body.17.servise"),
    ],
    ids=["currency", "vat", "evses", "audience", "validity", "service", "spelling"],
)
async def test_of_many_offerings_the_wrong_row_is_named_and_none_is_made(
    operator: Member, evsp: Member, row: dict[str, Any], field: str
) -> None:
    many = [
        {"service": "roaming", "terms": terms(n / 100), "audience": TO_ALL} for n in range(1, 40)
    ]
    many[17] |= row
    answer = await operator.http.post("/marketplace/offerings", json=many)
    assert answer.status_code in (404, 422)
    assert answer.json()["field"].endswith(field)
    if not field.startswith("body"):
        assert answer.json()["detail"].startswith("offering 18 of 39: ")
    assert (await evsp.http.get(OFFERS)).json()["offers"] == []


async def test_the_matrix_tells_each_party_its_own_row_and_column(
    market: Marketplace,
    operator: Member,
    operator_2: Member,
    evsp: Member,
    evsp_2: Member,
    clock: HandClock,
) -> None:
    first = await agree_roaming(operator, evsp, valid_until="2027-01-01T00:00:00Z")
    later = await agree_roaming(operator_2, evsp, valid_from="2026-06-01T00:00:00Z")
    to_all = await offer_roaming(operator, EVSP, audience=TO_ALL, terms=terms(0.4))
    mine = await cells(evsp.http)
    assert {pair: one["status"] for pair, one in mine.items()} == {
        (OPERATOR, EVSP): "in-force",
        (SECOND_OPERATOR, EVSP): "agreed",
    }
    here = mine[OPERATOR, EVSP]
    assert (here["contract_id"], here["since"], here["until"]) == (
        first["contract_id"],
        first["valid_from"],
        "2027-01-01T00:00:00Z",
    )
    assert here["offers"] == [to_all["offering_id"]]
    assert mine[SECOND_OPERATOR, EVSP]["reason"] == Absence.NOT_YET_VALID
    theirs = await cells(operator.http)
    assert {pair: one["status"] for pair, one in theirs.items()} == {
        (OPERATOR, EVSP): "in-force",
        (OPERATOR, SECOND_EVSP): "offered",
    }
    assert set(await cells(evsp_2.http)) == {(OPERATOR, SECOND_EVSP)}

    path = f"/marketplace/contracts/{first['contract_id']}"
    await evsp.http.post(f"{path}/suspend")
    assert (await cells(evsp.http))[OPERATOR, EVSP]["status"] == "suspended"
    await evsp.http.post(f"{path}/terminate")
    ended = (await cells(evsp.http))[OPERATOR, EVSP]
    assert (ended["status"], ended["reason"]) == ("offered", "terminated")
    assert ended["until"] == clock().isoformat()[:-6] + "Z"
    await operator.http.post(f"/marketplace/offerings/{to_all['offering_id']}/withdraw")
    assert (await cells(evsp.http))[OPERATOR, EVSP]["status"] == "offered"
    await operator.http.post(f"/marketplace/offerings/{first['offering_id']}/withdraw")
    assert (await cells(evsp.http))[OPERATOR, EVSP]["status"] == "ended"
    assert (
        later["contract_id"] == (await cells(operator_2.http))[SECOND_OPERATOR, EVSP]["contract_id"]
    )


async def test_who_asks_for_an_offer_is_seen_to_by_both(
    operator: Member, evsp: Member, evsp_2: Member
) -> None:
    asked = await evsp.http.post(
        "/marketplace/negotiations",
        json={"service": "roaming", "provider": OPERATOR, "terms": terms(0.25)},
    )
    assert asked.status_code == 201, asked.text
    for member in (operator, evsp):
        ((pair, cell),) = (await cells(member.http)).items()
        assert (pair, cell["status"]) == ((OPERATOR, EVSP), "asked")
        assert cell["asked"] == [asked.json()["negotiation_id"]]
        assert (cell["contract_id"], cell["offers"]) == (None, [])
    assert await cells(evsp_2.http) == {}


async def test_the_hub_sees_all_of_it_row_by_row_and_as_csv(
    market: Marketplace, operator: Member, operator_2: Member, evsp: Member, evsp_2: Member
) -> None:
    contract = await agree_roaming(operator, evsp)
    await offer_roaming(operator_2, EVSP, audience=TO_ALL)
    hub = await join(market, HUB, "service-provider")
    whole = await cells(hub.http)
    assert {pair: one["status"] for pair, one in whole.items()} == {
        (OPERATOR, EVSP): "in-force",
        (SECOND_OPERATOR, EVSP): "offered",
        (SECOND_OPERATOR, SECOND_EVSP): "offered",
    }
    rows, url = [], f"{MATRIX}?limit=1"
    while url:
        page = await hub.http.get(url)
        rows += [row["operator"] for row in page.json()["rows"]]
        url = page.links.get("next", {}).get("url", "")
    assert rows == [OPERATOR, SECOND_OPERATOR]
    told = await hub.http.get(f"{MATRIX}?format=csv")
    assert told.headers["content-type"].startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(told.text)))
    assert [(one["operator"], one["evsp"], one["status"]) for one in lines] == [
        (OPERATOR, EVSP, "in-force"),
        (SECOND_OPERATOR, EVSP, "offered"),
        (SECOND_OPERATOR, SECOND_EVSP, "offered"),
    ]
    assert lines[0]["contract_id"] == contract["contract_id"]
    await hub.http.aclose()


async def test_bad_questions_are_refused_by_name(evsp: Member, market: Marketplace) -> None:
    for path, field in (
        (f"{OFFERS}?sort=price", "currency"),
        (f"{OFFERS}?currency=euro", "query.currency"),
        (f"{OFFERS}?evse_id=x", "evse_id"),
        (f"{OFFERS}?operator=x", "party"),
        (f"{OFFERS}?minutes=0", "query.minutes"),
        (f"{MATRIX}?cursor=x", "party"),
        (f"{MATRIX}?limit=51", "query.limit"),
    ):
        answer = await evsp.http.get(path)
        assert (answer.status_code, answer.json()["field"]) == (422, field), path
    async with client_of(market) as nobody:
        assert (await nobody.get(MATRIX)).status_code == 401
