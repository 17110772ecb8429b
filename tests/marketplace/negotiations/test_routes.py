"""Negotiations over HTTP: requested, countered, accepted, signed by both, and then in force."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from joserfc.jwk import ECKey

from kit import event_log
from kit.event_log import START
from marketplace.access import detached
from marketplace.contracts.entries import ContractInForce, NotInForce
from roaming.party import PartyId
from tests.marketplace.fakes import HUB, NOW, OTHER, HandClock, Member, join
from tests.marketplace.negotiations.fakes import (
    NEGOTIATIONS,
    SERVICE,
    Negotiator,
    agree,
    later,
    negotiator,
    provides,
    terms,
)
from tests.marketplace.whole import Marketplace

FCS = PartyId("NL*FCS")


@pytest.fixture
async def provider(market: Marketplace) -> AsyncIterator[Negotiator]:
    member = await join(market, FCS, "service-provider")
    await provides(member)
    yield await negotiator(member)
    await member.http.aclose()


@pytest.fixture
async def requester(operator: Member) -> Negotiator:
    return await negotiator(operator)


async def requested(requester: Negotiator, **more: Any) -> dict[str, Any]:
    return await requester.good("", {"service": SERVICE, "terms": terms(10)} | more)


def problem(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition("/")[2]


async def test_two_come_to_a_contract_that_both_have_signed(
    market: Marketplace, provider: Negotiator, requester: Negotiator, clock: HandClock
) -> None:
    begun = await requested(requester, says="We call a lot")
    path = f"/{begun['negotiation_id']}"
    assert (begun["state"], begun["provider"], begun["requester"]) == (
        *("requested", FCS),
        requester.party,
    )
    clock.forward(minutes=5)
    countered = await provider.good(
        f"{path}/proposals", {"answers": 1, "terms": terms(8, notice_days=14)}
    )
    assert (countered["state"], len(countered["proposals"])) == ("offered", 2)
    accepted = await requester.good(f"{path}/accept", {"proposal": 2})
    assert accepted["state"] == "accepted"
    document = await requester.document(begun["negotiation_id"])
    assert document == await provider.document(begun["negotiation_id"])
    told = json.loads(document)
    assert told["terms"]["price_per_call_minor"] == 8
    assert told["parties"]["provider"]["party"] == FCS

    assert (await provider.sign(begun["negotiation_id"])).json()["state"] == "agreed"
    clock.forward(minutes=5)
    answer = await requester.sign(begun["negotiation_id"])
    assert answer.status_code == 201, answer.text
    final = answer.json()
    assert final["state"] == "finalised"
    assert [move["state"] for move in final["moves"]] == [
        *("requested", "offered", "accepted", "agreed", "verified", "finalised")
    ]
    assert [one["side"] for one in final["signatures"]] == ["provider", "requester", "hub"]
    for one in final["signatures"]:
        assert detached.verify(one["jws"], document, [one["public_key"]]) == one["public_key"]
    contract = await contract_of(provider, final["contract_id"])
    assert contract == await contract_of(requester, final["contract_id"])
    assert contract["terms"] == final["proposals"][1]["terms"]
    assert (contract["negotiation_id"], contract["offering_id"]) == (begun["negotiation_id"], None)
    found = market.book.find(requester.party, FCS, SERVICE, 1, clock.now)
    assert isinstance(found, ContractInForce)
    assert found.contract_id == final["contract_id"]
    before = market.book.find(
        requester.party, FCS, SERVICE, 1, clock.now - timedelta(microseconds=1)
    )
    assert isinstance(before, NotInForce)


async def contract_of(one: Negotiator, contract_id: str) -> dict[str, Any]:
    answer = await one.http.get(f"/marketplace/contracts/{contract_id}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_both_sides_see_the_same_and_nobody_else_anything(
    market: Marketplace, provider: Negotiator, requester: Negotiator
) -> None:
    begun = await requested(requester)
    one = f"{NEGOTIATIONS}/{begun['negotiation_id']}"
    seen = [await side.http.get(one) for side in (requester, provider)]
    assert seen[0].content == seen[1].content
    stranger = await join(market, OTHER, "evsp", "service-provider")
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/document", None),
        ("POST", "/proposals", {"answers": 1, "terms": terms(1)}),
        ("POST", "/accept", {"proposal": 1}),
        ("POST", "/refuse", {}),
        ("POST", "/withdraw", {}),
        ("POST", "/signatures", {"jws": "a..b"}),
    ):
        answer = await stranger.http.request(method, one + path, json=body)
        assert problem(answer) == (404, "unknown-negotiation")
    assert (await stranger.http.get(NEGOTIATIONS)).json() == []
    assert [len((await side.http.get(NEGOTIATIONS)).json()) for side in (requester, provider)] == [
        *(1, 1)
    ]
    await stranger.http.aclose()


async def test_each_move_is_told_to_both_sides(
    market: Marketplace, provider: Negotiator, requester: Negotiator
) -> None:
    begun = await requested(requester)
    stream = f"negotiation:{begun['negotiation_id']}"
    await provider.good(f"/{begun['negotiation_id']}/refuse", {"reason": "too little"})
    async with market.database.begin() as connection:
        told = await event_log.read(connection, START, stream=stream)
    assert [(one.type, one.party) for one in told] == [
        ("negotiation-requested", requester.party),
        ("negotiation-requested", FCS),
        ("negotiation-terminated", FCS),
        ("negotiation-terminated", requester.party),
    ]
    assert told[2].body == told[3].body
    [first, last] = (
        await requester.http.get("/marketplace/messages", params={"subject": stream})
    ).json()
    assert last["data"]["says"] == "too little"
    for _ in range(2):
        done = await requester.http.post(f"/marketplace/messages/{last['message_id']}/acknowledge")
        assert done.json()["acknowledged_by"] == "call"
    moves = (await provider.see(begun["negotiation_id"]))["moves"]
    assert [move["told"] for move in moves] == [
        {FCS: "in-own-events", requester.party: "in-own-events"},
        {FCS: "in-own-events", requester.party: "acknowledged"},
    ]
    assert first["state"] == "must-be-sent"


async def test_the_same_again_is_the_same_with_a_key_and_without(
    provider: Negotiator, requester: Negotiator
) -> None:
    first = await requested(requester)
    assert await requested(requester) == first
    path = f"/{first['negotiation_id']}"
    counter = {"answers": 1, "terms": terms(9)}
    tried = [await provider.good(f"{path}/proposals", counter) for _ in range(2)]
    assert tried[0]["version"] == tried[1]["version"] == 2
    keyed = [
        await requester.post(f"{path}/accept", {"proposal": 2}, **{"Idempotency-Key": "k1"})
        for _ in range(2)
    ]
    assert keyed[0].content == keyed[1].content
    await requester.good(f"{path}/accept", {"proposal": 2})
    for side in (requester, requester, provider, provider):
        assert (await side.sign(first["negotiation_id"])).status_code == 201
    final = await provider.see(first["negotiation_id"])
    assert (final["state"], final["version"]) == ("finalised", 6)
    contracts = (await provider.http.get("/marketplace/contracts?service=" + SERVICE)).json()
    assert [one["contract_id"] for one in contracts] == [final["contract_id"]]
    # Another begins once this one is over, since it asks for something anew.
    assert (await requested(requester))["negotiation_id"] != first["negotiation_id"]


async def test_of_two_who_act_at_the_same_moment_one_is_told_that_it_was_too_late(
    market: Marketplace, second: Marketplace, provider: Negotiator, requester: Negotiator
) -> None:
    outcomes = set()
    for n in range(8):
        begun = await requested(requester, terms=terms(100 + n))
        path = f"/{begun['negotiation_id']}"
        accepted, withdrawn = await asyncio.gather(
            provider.post(f"{path}/accept", {"proposal": 1}),
            requester.post(f"{path}/withdraw", {"reason": "changed"}),
        )
        state = (await provider.see(begun["negotiation_id"]))["state"]
        assert withdrawn.status_code == 200
        assert state == "terminated"
        if accepted.status_code != 200:
            assert problem(accepted) == (409, "proposal-withdrawn")
        outcomes.add(accepted.status_code)
        begun = await requested(requester, terms=terms(200 + n))
        path = f"/{begun['negotiation_id']}"
        answers = await asyncio.gather(
            provider.post(f"{path}/proposals", {"answers": 1, "terms": terms(1)}),
            requester.post(f"{path}/proposals", {"answers": 1, "terms": terms(2)}),
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409]
        [late] = [answer for answer in answers if answer.status_code == 409]
        assert problem(late) == (409, "proposal-superseded")
        seen = await provider.see(begun["negotiation_id"])
        assert (seen["version"], len(seen["proposals"])) == (2, 2)
        await requester.post(f"{path}/withdraw")
        await provider.post(f"{path}/withdraw")
    assert outcomes <= {200, 409}


async def test_both_sign_at_the_same_moment_and_one_contract_comes_of_it(
    provider: Negotiator, requester: Negotiator
) -> None:
    begun = await requested(requester)
    await provider.good(f"/{begun['negotiation_id']}/accept", {"proposal": 1})
    answers = await asyncio.gather(
        *(side.sign(begun["negotiation_id"]) for side in (requester, provider) * 3)
    )
    assert {answer.status_code for answer in answers} == {201}
    final = await provider.see(begun["negotiation_id"])
    assert (final["state"], final["version"]) == ("finalised", 5)
    assert len((await provider.http.get("/marketplace/contracts?service=" + SERVICE)).json()) == 1


async def test_a_signature_counts_by_a_key_of_its_party_over_this_document_alone(
    provider: Negotiator, requester: Negotiator
) -> None:
    begun = await requested(requester)
    negotiation_id = begun["negotiation_id"]
    early = await provider.post(f"/{negotiation_id}/signatures", {"jws": "a..b"})
    assert problem(early) == (404, "not-yet-drawn-up")
    await provider.good(f"/{negotiation_id}/accept", {"proposal": 1})
    document = await provider.document(negotiation_id)
    unknown = ECKey.generate_key("P-256")
    for jws in (
        detached.sign({}, document, unknown.thumbprint(), unknown),
        detached.sign({}, document, requester.key.thumbprint(), requester.key),
        detached.sign({}, document + b" ", provider.key.thumbprint(), provider.key),
        "a..b",
        "",
    ):
        answer = await provider.post(f"/{negotiation_id}/signatures", {"jws": jws})
        assert problem(answer) == (422, "bad-signature")
    assert (await provider.see(negotiation_id))["signatures"] == []


async def test_a_provider_offers_to_one_and_an_offering_is_where_to_begin(
    market: Marketplace, provider: Negotiator, requester: Negotiator
) -> None:
    offered = await provider.good(
        "", {"service": SERVICE, "requester": requester.party, "terms": terms(7)}
    )
    assert (offered["state"], offered["proposals"][0]["side"]) == ("offered", "provider")
    answer = await provider.http.post(
        "/marketplace/offerings", json={"service": SERVICE, "terms": terms(30, notice_days=60)}
    )
    assert answer.status_code == 201, answer.text
    offering = answer.json()
    asked = await requester.good(
        "",
        {
            "offering_id": offering["offering_id"],
            "terms": terms(20, notice_days=60),
            "validity": {"until": (NOW + timedelta(days=100)).isoformat()},
        },
    )
    assert (asked["service"], asked["provider"]) == (SERVICE, FCS)
    final = await agree(requester, provider, asked)
    contract = await contract_of(requester, final["contract_id"])
    assert contract["offering_id"] == offering["offering_id"]
    assert contract["terms"]["price_per_call_minor"] == 20


async def test_who_could_have_no_contract_cannot_begin(
    market: Marketplace, provider: Negotiator, requester: Negotiator
) -> None:
    for body, expected in (
        ({}, (404, "unknown-service")),
        ({"service": "nothing"}, (404, "unknown-service")),
        ({"service": "roaming"}, (404, "unknown-service")),
        ({"service": SERVICE, "provider": OTHER}, (404, "unknown-partner")),
        ({"service": SERVICE, "provider": HUB}, (404, "unknown-partner")),
        ({"service": SERVICE, "requester": FCS}, (403, "not-your-service-to-offer")),
        ({"service": SERVICE, "terms": {"x": 1}}, (422, "bad-terms")),
        ({"offering_id": "nothing"}, (404, "unknown-offering")),
        ({"replaces": "nothing"}, (404, "unknown-contract")),
    ):
        assert problem(await requester.post("", body)) == expected, body
    own = await provider.post("", {"service": SERVICE})
    assert problem(own) == (409, "own-negotiation")


async def test_what_would_overlap_is_refused_at_acceptance_and_at_the_last_signature(
    provider: Negotiator, requester: Negotiator
) -> None:
    first, second = [await requested(requester, terms=terms(n)) for n in (1, 2)]
    await provider.good(f"/{second['negotiation_id']}/accept", {"proposal": 1})
    assert (await provider.sign(second["negotiation_id"])).status_code == 201
    done = await agree(requester, provider, first)
    refused = await requester.sign(second["negotiation_id"])
    assert problem(refused) == (409, "contracts-overlap")
    assert done["contract_id"] in refused.json()["rule"]
    assert (await requester.see(second["negotiation_id"]))["state"] == "agreed"
    third = await requested(requester, terms=terms(3))
    refused = await provider.post(f"/{third['negotiation_id']}/accept", {"proposal": 1})
    assert problem(refused) == (409, "contracts-overlap")
    named = refused.json()["field"], refused.json()["value"]
    assert named == ("negotiation_id", third["negotiation_id"])
    await requester.http.post(f"/marketplace/contracts/{done['contract_id']}/terminate")
    assert (await requester.sign(second["negotiation_id"])).json()["state"] == "finalised"


async def test_an_amendment_ends_the_old_contract_where_the_new_one_begins(
    market: Marketplace, provider: Negotiator, requester: Negotiator, clock: HandClock
) -> None:
    old = (await agree(requester, provider, await requested(requester)))["contract_id"]
    await later(clock, provider, requester, days=1)
    at = clock.now + timedelta(days=30)
    asked = await provider.good(
        "", {"replaces": old, "terms": terms(12), "validity": {"from": at.isoformat()}}
    )
    assert (asked["state"], asked["replaces"]) == ("offered", old)
    new = (await agree(provider, requester, asked))["contract_id"]

    def in_force(moment: Any) -> str | None:
        found = market.book.find(requester.party, FCS, SERVICE, 1, moment)
        return found.contract_id if isinstance(found, ContractInForce) else None

    assert in_force(clock.now) == old
    assert in_force(at - timedelta(microseconds=1)) == old
    assert in_force(at) == new
    before = await contract_of(provider, old)
    assert before["history"][-1]["status"] == "terminated"
    assert before["history"][-1]["reason"] == f"replaced by contract {new}"
    assert (await contract_of(provider, new))["replaces"] == old
    # From the last signature on, where nothing is said.
    await later(clock, provider, requester, days=40)
    again = await requester.good("", {"replaces": new, "terms": terms(11)})
    newest = (await agree(requester, provider, again))["contract_id"]
    assert in_force(clock.now) == newest
    assert in_force(clock.now - timedelta(microseconds=1)) == new


async def test_an_amendment_neither_lifts_a_suspension_nor_rewrites_what_has_been(
    provider: Negotiator, requester: Negotiator, clock: HandClock
) -> None:
    old = (await agree(requester, provider, await requested(requester)))["contract_id"]
    await later(clock, provider, requester, days=1)
    past = (clock.now - timedelta(hours=1)).isoformat()
    late = await requester.good("", {"replaces": old, "validity": {"from": past}})
    refused = await provider.post(f"/{late['negotiation_id']}/accept", {"proposal": 1})
    assert problem(refused) == (409, "cannot-replace")
    asked = await requester.good("", {"replaces": old, "terms": terms(1)})
    await provider.good(f"/{asked['negotiation_id']}/accept", {"proposal": 1})
    await provider.http.post(f"/marketplace/contracts/{old}/suspend")
    assert (await provider.sign(asked["negotiation_id"])).status_code == 201
    refused = await requester.sign(asked["negotiation_id"])
    assert problem(refused) == (409, "cannot-replace")
    await provider.http.post(f"/marketplace/contracts/{old}/resume")
    assert (await requester.sign(asked["negotiation_id"])).json()["state"] == "finalised"
    gone = await requester.good("", {"replaces": old, "terms": terms(2)})
    refused = await provider.post(f"/{gone['negotiation_id']}/accept", {"proposal": 1})
    assert problem(refused) == (409, "cannot-replace")


async def test_both_sides_read_one_history_byte_for_byte(
    market: Marketplace, provider: Negotiator, requester: Negotiator, clock: HandClock
) -> None:
    begun = await requested(requester)
    old = (await agree(requester, provider, begun))["contract_id"]
    await provider.http.post(f"/marketplace/contracts/{old}/suspend", json={"reason": "unpaid"})
    await provider.http.post(f"/marketplace/contracts/{old}/resume")
    asked = await requester.good("", {"replaces": old, "terms": terms(9)})
    await agree(requester, provider, asked)
    path = f"/marketplace/contracts/{old}/history"
    mine, theirs = [await side.http.get(path) for side in (requester, provider)]
    assert mine.status_code == 200
    assert mine.content == theirs.content
    entries = mine.json()["entries"]
    assert [one["type"].removeprefix("negotiation-") for one in entries] == [
        *("requested", "accepted", "agreed", "verified", "finalised", "contract-agreed"),
        *("contract-status-changed", "contract-status-changed"),
        *("requested", "accepted", "agreed", "verified", "finalised", "contract-status-changed"),
    ]
    assert entries[6]["data"]["reason"] == "unpaid"
    async with market.database.begin() as connection:
        for subject in {one["subject"] for one in entries}:
            assert await event_log.broken_links(connection, subject) == []
    stranger = await join(market, OTHER, "evsp")
    assert problem(await stranger.http.get(path)) == (404, "unknown-contract")
    await stranger.http.aclose()


async def test_an_amendment_never_begins_after_what_it_replaces_has_ended(
    provider: Negotiator, requester: Negotiator, clock: HandClock
) -> None:
    ends = clock.now + timedelta(days=20)
    validity = {"until": ends.isoformat()}
    renewing = terms(10) | {"renews_months": 1, "notice_days": 30}
    begun = await requested(requester, terms=renewing, validity=validity)
    old = (await agree(requester, provider, begun))["contract_id"]
    # Too late for its end: it is renewed, and ends ten days later.
    await requester.http.post(f"/marketplace/contracts/{old}/terminate")
    ended = clock.now + timedelta(days=30)
    for at, expected in ((ended + timedelta(days=1), 409), (ended, 200)):
        asked = await requester.good(
            "", {"replaces": old, "validity": {"from": at.isoformat(), "until": None}}
        )
        answer = await provider.post(f"/{asked['negotiation_id']}/accept", {"proposal": 1})
        assert answer.status_code == expected, answer.text
    assert answer.json()["state"] == "accepted"


async def test_a_contract_that_never_began_is_in_nobodys_way(
    provider: Negotiator, requester: Negotiator, clock: HandClock
) -> None:
    at = (clock.now + timedelta(days=10)).isoformat()
    validity = {"validity": {"from": at}}
    begun = await requested(requester, **validity)
    old = (await agree(requester, provider, begun))["contract_id"]
    asked = await requester.good("", {"replaces": old, "terms": terms(9), **validity})
    new = (await agree(requester, provider, asked))["contract_id"]
    await requester.http.post(f"/marketplace/contracts/{new}/terminate")
    again = await agree(requester, provider, await requested(requester, terms=terms(8)))
    assert again["contract_id"]


async def test_what_lapsed_is_asked_for_anew(
    provider: Negotiator, requester: Negotiator, clock: HandClock
) -> None:
    first = await requested(requester)
    await later(clock, provider, requester, days=31)
    second = await requested(requester)
    assert second["negotiation_id"] != first["negotiation_id"]
    await agree(requester, provider, second)


WAITING = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'"""


async def test_a_signature_waits_for_a_service_that_is_ending_without_holding_its_contracts(
    market: Marketplace, provider: Negotiator, requester: Negotiator
) -> None:
    old = (await agree(requester, provider, await requested(requester)))["contract_id"]
    asked = await requester.good("", {"replaces": old, "terms": terms(9)})
    await provider.good(f"/{asked['negotiation_id']}/accept", {"proposal": 1})
    await provider.sign(asked["negotiation_id"])
    async with market.database.hot() as ending:
        await ending.execute("SELECT FROM marketplace.service WHERE name = $1 FOR UPDATE", SERVICE)
        signing = asyncio.create_task(requester.sign(asked["negotiation_id"]))
        async with asyncio.timeout(20):
            while not await ending.fetchval(WAITING):  # noqa: ASYNC110  PostgreSQL's own waiting
                await asyncio.sleep(0.01)
        held = "SELECT FROM marketplace.contract WHERE contract_id = $1 FOR UPDATE NOWAIT"
        await ending.execute(held, old)
    assert (await signing).json()["state"] == "finalised"
