"""The contract framework over HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import pytest
import rfc8785

from marketplace.framework import flows
from marketplace.framework.library import built_in
from roaming.refusal import NotYours
from tests.marketplace.fakes import (
    EVSP,
    HUB,
    OPERATOR,
    OTHER,
    ROAMING_TERMS,
    HandClock,
    Member,
    agree_roaming,
    join,
    offer_roaming,
)
from tests.marketplace.framework.modules import module, told
from tests.marketplace.whole import Marketplace

MODULES = "/marketplace/framework/modules"
OFFERINGS = "/marketplace/offerings"
CONTRACTS = "/marketplace/contracts"


async def publish(market: Marketplace, **other: Any) -> int:
    """The operator publishes a module; its version."""
    made = await flows.publish(market.core.framework, HUB, HUB, module(**other), market.clock())
    return made.version


async def test_the_modules_are_read_by_every_partner(operator: Member) -> None:
    listed = (await operator.http.get(MODULES)).json()
    assert {one["name"] for one in listed} == {one.name for one in built_in()}
    roaming = (await operator.http.get(MODULES, params={"kind": "roaming"})).json()
    assert "roaming-conditions" in {one["name"] for one in roaming}
    assert "quota" not in {one["name"] for one in roaming}
    one = (await operator.http.get(f"{MODULES}/service-level")).json()
    assert one["schema"]["properties"]["availability_percent"]["maximum"] == 100
    assert one == (await operator.http.get(f"{MODULES}/service-level/1")).json()
    for missing in ("no-such", "service-level/2"):
        answer = await operator.http.get(f"{MODULES}/{missing}")
        assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (
            404,
            "unknown-module",
        )


async def test_modules_come_in_pages(operator: Member) -> None:
    names, path = [], f"{MODULES}?limit=7"
    while path:
        answer = await operator.http.get(path)
        names += [one["name"] for one in answer.json()]
        path = answer.links.get("next", {}).get("url", "")
    assert len(names) == len(set(names)) == len(built_in())


async def test_only_the_hubs_operator_publishes(market: Marketplace, operator: Member) -> None:
    refused = await operator.http.post(MODULES, json=told())
    assert refused.status_code == 403
    with pytest.raises(NotYours):
        await flows.publish(market.core.framework, OPERATOR, HUB, module(), market.clock())
    hub = await join(market, HUB, "service-provider")
    first = await hub.http.post(MODULES, json=told())
    assert (first.status_code, first.json()["version"]) == (201, 1)
    again = await hub.http.post(MODULES, json=told())
    assert again.json() == first.json()
    second = await hub.http.post(MODULES, json=told(title="Standing"))
    assert (second.json()["version"], second.json()["versions"]) == (2, [1, 2])
    assert (await hub.http.get(f"{MODULES}/parking/1")).json()["title"] == "Parking"
    for broken, field in (
        ({"template": "{{ x }}"}, "template"),
        ({"schema": {"type": "object"}}, "schema"),
        ({"standard": {"hours": 0}}, "standard.hours"),
    ):
        answer = await hub.http.post(MODULES, json=told(**broken))
        assert (answer.status_code, answer.json()["field"]) == (422, field)
    await hub.http.aclose()


async def test_an_offering_says_in_words_what_it_takes(operator: Member, evsp: Member) -> None:
    offering = await offer_roaming(operator, EVSP, clauses={"liability": {"cap_months": 3}})
    shown = (await evsp.http.get(f"{OFFERINGS}/{offering['offering_id']}/text")).json()
    assert shown["clauses_sha256"] == offering["clauses_sha256"]
    clauses = {one["name"]: one for one in shown["clauses"]}
    assert "for the 3 months before" in clauses["liability"]["text"]
    assert "Europe/Paris" in clauses["roaming-conditions"]["text"]
    assert clauses["liability"]["parameters"] == {"cap_months": 3}


async def test_the_text_is_for_those_to_whom_the_offering_is_made(
    market: Marketplace, operator: Member, evsp: Member
) -> None:
    other = await join(market, OTHER, "evsp")
    offering = await offer_roaming(operator, EVSP)
    path = f"{OFFERINGS}/{offering['offering_id']}/text"
    assert (await other.http.get(path)).status_code == 404
    to_roles = await offer_roaming(operator, EVSP, audience={"kind": "roles", "roles": ["dso"]})
    assert (await evsp.http.get(f"{OFFERINGS}/{to_roles['offering_id']}/text")).status_code == 404
    await operator.http.post(f"{OFFERINGS}/{offering['offering_id']}/withdraw")
    assert (await evsp.http.get(path)).status_code == 404
    assert (await operator.http.get(path)).status_code == 200
    await other.http.aclose()


async def test_a_check_tells_what_would_be_said_and_makes_nothing(
    market: Marketplace, operator: Member, evsp: Member
) -> None:
    before = (await operator.http.get(OFFERINGS)).json()
    asked = {"service": "roaming", "terms": ROAMING_TERMS}
    found = (await operator.http.post(f"{OFFERINGS}/check", json=asked)).json()
    assert (found["complete"], found["missing"]) == (True, [])
    assert "liability" in found["standard"]
    bare = {"kinds": {"roaming": "required"}, "standard": None}
    await publish(market, name="aa", **bare)
    await publish(market, name="bb", **bare)
    found = (await operator.http.post(f"{OFFERINGS}/check", json=asked)).json()
    assert (found["complete"], found["missing"]) == (False, ["aa", "bb"])
    refused = await operator.http.post(OFFERINGS, json=asked)
    assert refused.status_code == 409
    assert refused.json()["type"].endswith("/offering-incomplete")
    assert refused.json()["value"] == "aa, bb"
    broken = asked | {"clauses": {"aa": {"hours": 99}}}
    for path in (OFFERINGS, f"{OFFERINGS}/check"):
        answer = await operator.http.post(path, json=broken)
        assert answer.status_code == 422
        assert answer.json()["field"] == "clauses.aa.hours"
        assert answer.json()["value"] == "99"
        assert answer.json()["rule"]
    assert (await evsp.http.post(f"{OFFERINGS}/check", json=asked)).status_code == 403
    assert (await operator.http.get(OFFERINGS)).json() == before


async def test_an_offering_made_again_takes_what_is_current_and_the_old_one_stays(
    market: Marketplace, operator: Member, evsp: Member
) -> None:
    first = await offer_roaming(operator, EVSP)
    assert (await offer_roaming(operator, EVSP))["offering_id"] == first["offering_id"]
    kinds = {"kinds": {"roaming": "required"}}
    await publish(market, **kinds)
    again = await offer_roaming(operator, EVSP)
    assert again["offering_id"] != first["offering_id"]
    path = f"{OFFERINGS}/{first['offering_id']}/text"
    names = {one["name"] for one in (await evsp.http.get(path)).json()["clauses"]}
    assert "parking" not in names
    contract = await evsp.http.post(CONTRACTS, json={"offering_id": first["offering_id"]})
    assert contract.json()["clauses_sha256"] == first["clauses_sha256"]


async def test_the_hubs_own_offerings_have_clauses_in_their_standard_form(operator: Member) -> None:
    hubs = (await operator.http.get(OFFERINGS, params={"provider": HUB})).json()
    for one in hubs:
        shown = (await operator.http.get(f"{OFFERINGS}/{one['offering_id']}/text")).json()
        texts = {clause["name"]: clause["text"] for clause in shown["clauses"]}
        assert "here the operator is itself the Provider" in texts["parties"]
        assert texts["price"] == "The service is free of charge."


DETAILS = {
    "legal_name": "Mobilité Générale SAS",
    "street": "1 Rue de la Paix",
    "city": "Paris",
    "postal_code": "75002",
    "country": "FR",
    "vat_id": "FR40303265045",
}


async def test_a_contracts_document_says_who_what_and_on_what_clauses(
    operator: Member, evsp: Member, clock: HandClock
) -> None:
    path = f"/marketplace/partners/{OPERATOR}/business-details"
    assert (await operator.http.put(path, json=DETAILS)).status_code == 200
    clock.forward(minutes=1)
    agreed = await agree_roaming(operator, evsp)
    clock.forward(minutes=1)
    await operator.http.put(path, json=DETAILS | {"legal_name": "Later SAS"})
    answer = await evsp.http.get(f"{CONTRACTS}/{agreed['contract_id']}/document")
    document = answer.json()
    assert rfc8785.dumps(document) == answer.content
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    assert document["parties"]["provider"]["legal_name"] == DETAILS["legal_name"]
    assert document["parties"]["requester"] == {"party": EVSP, "name": f"Partner {EVSP}"}
    assert document["terms"] == agreed["terms"]
    assert {one["name"] for one in document["clauses"]} >= {"parties", "roaming-conditions"}
    theirs = await operator.http.get(f"{CONTRACTS}/{agreed['contract_id']}/document")
    assert theirs.content == answer.content


async def test_a_document_is_for_the_two_parties_of_its_contract(
    market: Marketplace, operator: Member, evsp: Member
) -> None:
    agreed = await agree_roaming(operator, evsp)
    other = await join(market, OTHER, "evsp", "evse-operator")
    for path in ("document", "document.pdf"):
        answer = await other.http.get(f"{CONTRACTS}/{agreed['contract_id']}/{path}")
        assert (answer.status_code, answer.json()["value"]) == (404, agreed["contract_id"])
        assert (await evsp.http.get(f"{CONTRACTS}/no-such/{path}")).status_code == 404
    await other.http.aclose()


async def test_the_paper_is_the_same_by_name_and_by_accept(operator: Member, evsp: Member) -> None:
    agreed = await agree_roaming(operator, evsp)
    path = f"{CONTRACTS}/{agreed['contract_id']}/document"
    by_name = await evsp.http.get(f"{path}.pdf")
    by_accept = await operator.http.get(path, headers={"Accept": "application/pdf"})
    assert by_name.headers["content-type"] == "application/pdf"
    assert by_name.content == by_accept.content
    assert by_name.content.startswith(b"%PDF-")


async def test_nothing_that_comes_later_changes_the_document_of_a_contract(
    market: Marketplace, operator: Member, evsp: Member, clock: HandClock
) -> None:
    """Every module in another version, other details, a suspension, and more time."""
    agreed = await agree_roaming(operator, evsp)
    path = f"{CONTRACTS}/{agreed['contract_id']}"
    first = (await evsp.http.get(f"{path}/document")).content
    for one in built_in():
        later = one.to_json() | {"template": f"{one.template}\n\nAnd more."}
        assert await publish(market, **later) == 2
    await operator.http.put(f"/marketplace/partners/{OPERATOR}/business-details", json=DETAILS)
    await operator.http.post(f"{path}/suspend")
    clock.forward(minutes=10)
    assert (await evsp.http.get(f"{path}/document")).content == first
    assert (await operator.http.get(f"{path}/document")).content == first
    assert {one["version"] for one in json.loads(first)["clauses"]} == {1}
    again = await offer_roaming(operator, EVSP)
    shown = (await evsp.http.get(f"{OFFERINGS}/{again['offering_id']}/text")).json()
    assert {one["version"] for one in shown["clauses"]} == {2}


async def test_two_who_ask_at_once_get_one_document(operator: Member, evsp: Member) -> None:
    agreed = await agree_roaming(operator, evsp)
    path = f"{CONTRACTS}/{agreed['contract_id']}/document"
    answers = await asyncio.gather(*(one.http.get(path) for one in [operator, evsp] * 4))
    assert len({one.content for one in answers}) == 1
