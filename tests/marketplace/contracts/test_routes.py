"""Contracts over HTTP: accepted, seen by their two parties, suspended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from httpx import AsyncClient

from kit import event_log
from kit.event_log import START
from marketplace.contracts.entries import ContractInForce, NotInForce
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
    until,
)
from tests.marketplace.whole import Marketplace

CONTRACTS = "/marketplace/contracts"


@pytest.fixture
async def other(market: Marketplace) -> AsyncIterator[Member]:
    member = await join(market, OTHER, "evse-operator", "evsp")
    yield member
    await member.http.aclose()


async def test_an_accepted_offering_is_a_contract_with_a_copy_of_its_terms(
    operator: Member, evsp: Member
) -> None:
    offering = await offer_roaming(operator, EVSP)
    answer = await evsp.http.post(CONTRACTS, json={"offering_id": offering["offering_id"]})
    assert answer.status_code == 201
    told = answer.json()
    assert (told["provider"], told["requester"]) == (OPERATOR, EVSP)
    assert (told["service"], told["status"]) == ("roaming", "agreed")
    assert told["terms"] == offering["terms"]
    await operator.http.post(f"/marketplace/offerings/{offering['offering_id']}/withdraw")
    seen = (await operator.http.get(f"{CONTRACTS}/{told['contract_id']}")).json()
    assert seen == told


async def test_accepting_twice_is_one_contract(
    market: Marketplace, operator: Member, evsp: Member
) -> None:
    offering = await offer_roaming(operator, EVSP)
    body = {"offering_id": offering["offering_id"]}
    first, again = await asyncio.gather(
        evsp.http.post(CONTRACTS, json=body), evsp.http.post(CONTRACTS, json=body)
    )
    assert first.json()["contract_id"] == again.json()["contract_id"]
    found = await evsp.http.get(CONTRACTS, params={"service": "roaming"})
    assert len(found.json()) == 1


async def test_many_are_offered_and_accepted_at_once(operator: Member, evsp: Member) -> None:
    answer = await operator.http.post(
        "/marketplace/offerings",
        json=[
            {
                "service": "roaming",
                "terms": ROAMING_TERMS,
                "audience": {"kind": "parties", "parties": [EVSP]},
                "valid_from": f"20{n:02}-01-01T00:00:00Z",
                "valid_until": f"20{n + 1:02}-01-01T00:00:00Z",
            }
            for n in range(10, 90)
        ],
    )
    assert answer.status_code == 201, answer.text
    ids = [offering["offering_id"] for offering in answer.json()]
    assert len(set(ids)) == 80
    accepted = await evsp.http.post(CONTRACTS, json={"offering_ids": ids})
    assert accepted.status_code == 201, accepted.text
    contracts = accepted.json()["contracts"]
    assert [contract["offering_id"] for contract in contracts] == ids
    seen, url = [], f"{CONTRACTS}?service=roaming&limit=33"
    while url:
        page = await operator.http.get(url)
        seen += [contract["contract_id"] for contract in page.json()]
        url = page.links.get("next", {}).get("url", "")
    assert sorted(seen) == seen
    assert set(seen) == {contract["contract_id"] for contract in contracts}


async def test_of_many_all_are_accepted_or_none(operator: Member, evsp: Member) -> None:
    good = await offer_roaming(operator, EVSP)
    answer = await evsp.http.post(
        CONTRACTS, json={"offering_ids": [good["offering_id"], "no-such-offering"]}
    )
    assert answer.status_code == 404
    assert (answer.json()["field"], answer.json()["value"]) == ("offering_id", "no-such-offering")
    assert (await evsp.http.get(CONTRACTS, params={"service": "roaming"})).json() == []


async def test_what_is_not_offered_to_one_cannot_be_accepted(
    operator: Member, evsp: Member, other: Member
) -> None:
    offering = await offer_roaming(operator, EVSP)
    body = {"offering_id": offering["offering_id"]}
    assert (await other.http.post(CONTRACTS, json=body)).status_code == 404
    assert (await operator.http.post(CONTRACTS, json=body)).status_code == 409
    await operator.http.post(f"/marketplace/offerings/{offering['offering_id']}/withdraw")
    late = await evsp.http.post(CONTRACTS, json=body)
    assert (late.status_code, late.json()["type"].rsplit("/")[-1]) == (409, "offering-withdrawn")


async def test_two_agreements_are_never_in_force_at_once(operator: Member, evsp: Member) -> None:
    await agree_roaming(operator, evsp, valid_until="2027-01-01T00:00:00Z")
    dearer = ROAMING_TERMS | {"vat_percent": 21}
    clashing = await offer_roaming(operator, EVSP, terms=dearer)
    answer = await evsp.http.post(CONTRACTS, json={"offering_id": clashing["offering_id"]})
    assert answer.json()["type"].endswith("/contracts-overlap")
    following = await agree_roaming(operator, evsp, terms=dearer, valid_from="2027-01-01T00:00:00Z")
    assert following["terms"]["vat_percent"] == "21"


async def test_a_contract_is_seen_and_changed_by_its_parties_only(
    operator: Member, evsp: Member, other: Member, client: AsyncClient
) -> None:
    contract = await agree_roaming(operator, evsp)
    one = f"{CONTRACTS}/{contract['contract_id']}"
    for path in (one, f"{CONTRACTS}/x", f"{CONTRACTS}/%00"):
        assert (await other.http.get(path)).status_code == 404
    assert (await other.http.post(f"{one}/suspend")).status_code == 404
    assert contract["contract_id"] not in (await other.http.get(CONTRACTS)).text
    assert (await client.get(CONTRACTS)).status_code == 401
    assert (await client.post(f"{one}/suspend")).status_code == 401
    assert (await evsp.http.get(one)).json()["status"] == "agreed"


async def test_a_status_change_is_idempotent_and_told_once(
    market: Marketplace, operator: Member, evsp: Member, clock: HandClock
) -> None:
    contract = await agree_roaming(operator, evsp)
    one = f"{CONTRACTS}/{contract['contract_id']}"
    for action, status in (
        ("suspend", "suspended"),
        ("resume", "resumed"),
        ("suspend", "suspended"),
        ("terminate", "terminated"),
    ):
        clock.forward(minutes=1)
        for _ in range(2):
            answer = await operator.http.post(f"{one}/{action}", json={"reason": "unpaid"})
            assert (answer.status_code, answer.json()["status"]) == (200, status)
    refused = await operator.http.post(f"{one}/resume")
    assert (refused.status_code, refused.json()["type"].rsplit("/")[-1]) == (409, "contract-cannot")
    stream = f"contract:{contract['contract_id']}"
    async with market.database.begin() as connection:
        told = await event_log.read(connection, START, stream=stream)
    # Each fact stands there once for each of the two that it concerns, the one who acted first.
    facts = ["contract-agreed"] + ["contract-status-changed"] * 4
    assert [event.type for event in told] == [one for fact in facts for one in (fact, fact)]
    assert [event.party for event in told] == [EVSP, OPERATOR] + [OPERATOR, EVSP] * 4
    assert told[2].body["reason"] == told[3].body["reason"] == "unpaid"
    assert [entry["status"] for entry in answer.json()["history"]] == [
        *("agreed", "suspended", "resumed", "suspended", "terminated")
    ]


async def test_only_who_suspended_resumes(operator: Member, evsp: Member) -> None:
    contract = await agree_roaming(operator, evsp)
    one = f"{CONTRACTS}/{contract['contract_id']}"
    await operator.http.post(f"{one}/suspend")
    assert (await evsp.http.post(f"{one}/resume")).status_code == 403
    assert (await operator.http.post(f"{one}/resume")).json()["status"] == "resumed"


async def test_a_suspension_is_heard_in_every_process(
    market: Marketplace, second: Marketplace, operator: Member, evsp: Member, clock: HandClock
) -> None:
    contract = await agree_roaming(operator, evsp)

    def in_second() -> bool:
        return second.book.roaming(OPERATOR, EVSP, clock()) is not None

    assert market.book.roaming(OPERATOR, EVSP, clock()) is not None
    await until(in_second)
    clock.forward(minutes=1)
    await evsp.http.post(f"{CONTRACTS}/{contract['contract_id']}/suspend")
    assert market.book.roaming(OPERATOR, EVSP, clock()) is None
    await until(lambda: not in_second())


async def test_who_joins_may_call_the_hubs_services_at_once(
    market: Marketplace, operator: Member, clock: HandClock
) -> None:
    for service in ("search-evse", "clearing-house", "contract-validation"):
        assert isinstance(market.book.find(OPERATOR, None, service, 1, clock()), ContractInForce)
    assert isinstance(market.book.find(OTHER, None, "search-evse", 1, clock()), NotInForce)
    grid = await join(market, OTHER, "dso")
    assert isinstance(market.book.find(OTHER, None, "search-evse", 1, clock()), ContractInForce)
    assert isinstance(market.book.find(OTHER, None, "clearing-house", 1, clock()), NotInForce)
    await grid.http.aclose()


async def test_joining_again_makes_no_second_contract_and_undoes_no_suspension(
    market: Marketplace, operator: Member, clock: HandClock
) -> None:
    before = (await operator.http.get(CONTRACTS)).json()
    await operator.http.post(f"{CONTRACTS}/{before[0]['contract_id']}/suspend")
    again = await market.add_partner(OPERATOR, ["evse-operator"], "Another name")
    assert again.contract_ids == ()
    after = (await operator.http.get(CONTRACTS)).json()
    assert [one["contract_id"] for one in after] == [one["contract_id"] for one in before]
    assert after[0]["status"] == "suspended"


async def test_a_new_role_brings_the_contracts_that_it_needs(
    market: Marketplace, clock: HandClock
) -> None:
    await market.add_partner(OTHER, ["dso"], "Grid")
    joined = await market.add_partner(OTHER, ["dso", "evsp"], "Grid and cards")
    assert len(joined.contract_ids) == 1
    assert isinstance(market.book.find(OTHER, HUB, "clearing-house", 1, clock()), ContractInForce)


@pytest.mark.parametrize(
    "body",
    [{}, {"offering_id": "a", "offering_ids": ["b"]}, {"offering_ids": []}, {"offering": "a"}, []],
    ids=str,
)
async def test_a_body_that_says_nothing_is_refused(body: object, evsp: Member) -> None:
    assert (await evsp.http.post(CONTRACTS, json=body)).status_code == 422


async def test_bad_questions_are_refused_by_name(evsp: Member) -> None:
    for path, field in (
        (f"{CONTRACTS}?limit=0", "query.limit"),
        (f"{CONTRACTS}?cursor=%00", "query.cursor"),
        (f"{CONTRACTS}?service=A!", "query.service"),
        (f"{CONTRACTS}?party=x", "party"),
    ):
        answer = await evsp.http.get(path)
        assert (answer.status_code, answer.json()["field"]) == (422, field), path
    long = {"reason": "x" * 2_000}
    contract_id = (await evsp.http.get(CONTRACTS)).json()[0]["contract_id"]
    answer = await evsp.http.post(f"{CONTRACTS}/{contract_id}/suspend", json=long)
    assert (answer.status_code, answer.json()["field"]) == (422, "reason")


async def test_the_same_key_gives_the_same_answer(operator: Member, evsp: Member) -> None:
    offering = await offer_roaming(operator, EVSP)
    body = {"offering_id": offering["offering_id"]}
    headers = {"Idempotency-Key": "k1"}
    first = await evsp.http.post(CONTRACTS, json=body, headers=headers)
    again = await evsp.http.post(CONTRACTS, json=body, headers=headers)
    assert first.content == again.content
    assert again.headers["idempotency-replayed"] == "true"
    changed = await evsp.http.post(CONTRACTS, json={"offering_id": "x"}, headers=headers)
    assert changed.status_code == 422


async def test_what_is_not_published_yet_is_agreed_upon_for_the_sandbox_alone(
    operator: Member, evsp: Member
) -> None:
    """A contract would cost money by the day, on what nobody can call."""
    trial = {"url": "http://127.0.0.1:9/try", "environment": "sandbox"}
    service = {
        "name": "forecast",
        "category": "value-added",
        "description": "",
        "endpoint": "http://127.0.0.1:9/live",
        "more_endpoints": [trial],
    }
    assert (await operator.http.post("/marketplace/services", json=service)).status_code == 201

    async def accept(environment: str) -> tuple[int, str]:
        terms = {"currency": "EUR", "plan": {"recurring": {"price": "49", "every": "month"}}}
        body = {"service": "forecast", "terms": terms, "environment": environment}
        offered = (await operator.http.post("/marketplace/offerings", json=body)).json()
        answer = await evsp.http.post(CONTRACTS, json={"offering_id": offered["offering_id"]})
        return answer.status_code, answer.json().get("type", "").rpartition("/")[2]

    refused = (409, "service-not-published")
    assert [await accept("live"), await accept("sandbox")] == [refused, refused]
    one = "/marketplace/services/forecast/v1"
    await operator.http.post(f"{one}/test", json={"testers": [EVSP]})
    assert [await accept("live"), await accept("sandbox")] == [refused, (201, "")]
    await operator.http.post(f"{one}/publish")
    assert await accept("live") == (201, "")


async def test_a_contract_says_when_it_ends_and_why_it_is_not_in_force(
    operator: Member, evsp: Member, clock: HandClock
) -> None:
    end = clock() + timedelta(minutes=5)
    terms = ROAMING_TERMS | {"notice_days": 30}
    offering = await offer_roaming(operator, EVSP, terms=terms, valid_until=end.isoformat())
    body = {"offering_id": offering["offering_id"]}
    one = (await evsp.http.post(CONTRACTS, json=body)).json()
    path = f"{CONTRACTS}/{one['contract_id']}"

    async def told() -> tuple[str, datetime, str | None]:
        shown = (await operator.http.get(path)).json()
        return shown["status"], datetime.fromisoformat(shown["ends"]), shown["absence"]

    assert await told() == ("agreed", end, None)
    await operator.http.post(f"{path}/suspend")
    assert await told() == ("suspended", end, "suspended")
    await operator.http.post(f"{path}/resume")
    clock.forward(minutes=5)
    # Nobody did anything to it: it is agreed, and over.
    assert await told() == ("resumed", end, "expired")
    later = await offer_roaming(operator, EVSP, terms=terms)
    body = {"offering_id": later["offering_id"]}
    two = (await evsp.http.post(CONTRACTS, json=body)).json()
    assert (two["ends"], two["absence"]) == (None, None)
    noticed = (await evsp.http.post(f"{CONTRACTS}/{two['contract_id']}/terminate")).json()
    assert (noticed["status"], noticed["absence"]) == ("agreed", None)
    assert datetime.fromisoformat(noticed["ends"]) == clock() + timedelta(days=30)


async def test_of_two_who_act_at_once_the_second_to_be_written_is_not_lost(
    market: Marketplace, operator: Member, evsp: Member, clock: HandClock
) -> None:
    """Whoever looked at the clock first may have had to wait for the other."""
    contract = await agree_roaming(operator, evsp)
    path = f"{CONTRACTS}/{contract['contract_id']}"
    await evsp.http.post(f"{path}/suspend")
    clock.forward(seconds=2)
    assert (await evsp.http.post(f"{path}/resume")).json()["status"] == "resumed"
    clock.forward(seconds=-1)
    held = await operator.http.post(f"{path}/suspend", json={"reason": "unpaid"})
    assert held.json()["history"][-1]["reason"] == "unpaid"
    clock.forward(seconds=2)
    assert (await evsp.http.get(path)).json()["absence"] == "suspended"
    assert market.book.roaming(OPERATOR, EVSP, clock()) is None
    assert (await operator.http.post(f"{path}/resume")).json()["absence"] is None
    clock.forward(seconds=-1)
    await evsp.http.post(f"{path}/terminate")
    clock.forward(seconds=2)
    assert (await operator.http.get(path)).json()["absence"] == "terminated"
    assert market.book.roaming(OPERATOR, EVSP, clock()) is None
