"""A partner offers a service of its own, another agrees and calls it through the one door.

Deny by default: without a contract in force nothing reaches the provider. The map is
docs/flows/call.md.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from kit.clock import utc_now
from tests.hub import Answer, Hub, Partner, Server, answering, hanging, server, until

FORECAST = "/services/load-forecast"


@dataclass(frozen=True, slots=True)
class Market:
    hub: Hub
    provider: Partner
    requester: Partner


@pytest.fixture
async def market(hub: Hub) -> Market:
    """A provider of a service, and a partner who wants it."""
    return Market(
        hub,
        await hub.partner("NL*FCS", "service-provider"),
        await hub.partner("FR*PD1", "evse-operator"),
    )


async def registered(market: Market, at: Server) -> None:
    await market.provider.post(
        "/marketplace/services",
        {
            "name": "load-forecast",
            "category": "value-added",
            "description": "What a charge point will draw tomorrow",
            "endpoint": f"{at.url}/api",
            "operations": [{"name": "forecast", "method": "GET", "path": "/points/{id}"}],
        },
    )
    await market.provider.post("/marketplace/services/load-forecast/v1/publish")


async def offered(market: Market, **terms: Any) -> str:
    offering = await market.provider.post(
        "/marketplace/offerings", {"service": "load-forecast", "terms": terms}
    )
    return str(offering["offering_id"])


async def agreed(market: Market, **terms: Any) -> str:
    return await market.requester.accepts(await offered(market, **terms))


def is_refused(answer: Answer, status: int, problem: str, reason: str | None = None) -> None:
    assert (answer.status, answer.problem) == (status, problem), answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body["request_id"] == answer.headers["x-request-id"]
    if reason is not None:
        assert (answer.body["field"], answer.body["value"]) == ("contract", reason)


async def use(of: Partner) -> list[Any]:
    told = await of.get("/marketplace/usage")
    return [day for day in told["usage"] if day["service"] == "load-forecast"]


async def test_a_call_reaches_the_provider_and_is_metered_for_both(market: Market) -> None:
    async with server(answering({"kw": 7})) as provider:
        await registered(market, provider)
        contract = await agreed(market)
        answer = await market.requester.call(
            "POST", f"{FORECAST}/points/7?day=tomorrow", {"of": "interest"}
        )
        assert (answer.status, answer.body) == (200, {"kw": 7})
        assert answer.headers["x-contract-id"] == contract
        assert answer.headers["x-request-id"]
        assert answer.headers["traceparent"].startswith("00-")
        [came] = provider.came
        assert (came.method, came.path) == ("POST", "/api/points/7?day=tomorrow")
        assert came.json == {"of": "interest"}
        # The access token is for the hub; whoever else had it could call as this partner. The
        # provider has an assertion instead: see test_security.
        assert came.headers["Authorization"].startswith("Bearer ")
        assert market.requester.token not in str(came.headers)
        for side in (market.requester, market.provider):

            async def metered(side: Partner = side) -> bool:
                return bool(await use(side))

            await until(metered)
            [day] = await use(side)
            assert (day["contract_id"], day["calls"]) == (contract, 1)
            assert (day["requester"], day["provider"]) == ("FR*PD1", "NL*FCS")


async def test_without_a_contract_nothing_reaches_the_provider(market: Market) -> None:
    async with server() as provider:
        await registered(market, provider)
        await offered(market)
        answer = await market.requester.call("GET", f"{FORECAST}/points/7")
        is_refused(answer, 403, "not-covered", "no-contract")
        assert provider.came == []
    assert await use(market.requester) == []


async def test_without_a_token_nothing_reaches_the_provider(market: Market) -> None:
    async with server() as provider:
        await registered(market, provider)
        await agreed(market)
        market.requester.token = "forged"
        answer = await market.requester.call("GET", f"{FORECAST}/points/7")
        is_refused(answer, 401, "caller-unknown")
        assert provider.came == []


async def test_a_suspended_contract_is_refused_until_it_is_resumed(market: Market) -> None:
    async with server() as provider:
        await registered(market, provider)
        contract = await agreed(market)
        path = f"/marketplace/contracts/{contract}"
        await market.provider.post(f"{path}/suspend", {"reason": "unpaid"})
        answer = await market.requester.call("GET", f"{FORECAST}/points/7")
        is_refused(answer, 403, "not-covered", "contract-suspended")
        assert (await market.requester.call("POST", f"{path}/resume")).status == 403
        assert provider.came == []
        await market.provider.post(f"{path}/resume")
        assert (await market.requester.call("GET", f"{FORECAST}/points/7")).status == 200


async def test_a_terminated_contract_is_over(market: Market) -> None:
    async with server() as provider:
        await registered(market, provider)
        contract = await agreed(market)
        await market.requester.post(f"/marketplace/contracts/{contract}/terminate")
        answer = await market.requester.call("GET", f"{FORECAST}/points/7")
        assert answer.status == 403
        assert provider.came == []


@pytest.mark.parametrize("reason", ["not-yet-valid", "contract-expired", None])
async def test_a_contract_holds_within_its_validity(market: Market, reason: str | None) -> None:
    begins = utc_now() + timedelta(days=1 if reason == "not-yet-valid" else -1)
    validity = {
        "valid_from": begins.isoformat(),
        "valid_until": (begins + timedelta(days=2)).isoformat(),
    }
    async with server() as provider:
        await registered(market, provider)
        asked = {"service": "load-forecast", **validity}
        offering = await market.provider.post("/marketplace/offerings", asked)
        contract = await market.requester.accepts(offering["offering_id"])
        if reason == "contract-expired":
            await market.hub.expired(contract, market.requester)
        answer = await market.requester.call("GET", f"{FORECAST}/points/7")
        if reason is None:
            assert answer.status == 200
        else:
            is_refused(answer, 403, "not-covered", reason)
        assert len(provider.came) == (1 if reason is None else 0)
        valid = await market.requester.get(
            "/services/contract-validation/validate?requester=FR*PD1&provider=NL*FCS"
            "&service=load-forecast"
        )
        assert valid["valid"] is (reason is None)


async def test_an_offering_whose_time_is_over_makes_no_contract(market: Market) -> None:
    ends = utc_now() - timedelta(days=1)
    over = {"service": "load-forecast", "valid_until": ends.isoformat()}
    over |= {"valid_from": (ends - timedelta(days=1)).isoformat()}
    async with server() as provider:
        await registered(market, provider)
        offering = await market.provider.post("/marketplace/offerings", over)
        wish = {"offering_id": offering["offering_id"]}
        refused = await market.requester.call("POST", "/marketplace/contracts", wish)
        assert (refused.status, refused.problem) == (409, "offering-over")
        assert refused.body["value"] == offering["offering_id"]
        assert "GET /marketplace/offerings" in refused.body["rule"]
        many = {"offering_ids": [offering["offering_id"]], "continue": True}
        told = await market.requester.post("/marketplace/contracts", many)
        assert (told["contracts"], len(told["failed"])) == ([], 1)
        assert await market.requester.get("/marketplace/contracts?service=load-forecast") == []


async def test_a_contract_covers_its_operations_and_no_others(market: Market) -> None:
    async with server() as provider:
        await registered(market, provider)
        await agreed(market, operations=["GET /points/*"])
        assert (await market.requester.call("GET", f"{FORECAST}/points/7")).status == 200
        answer = await market.requester.call("DELETE", f"{FORECAST}/points/7")
        is_refused(answer, 403, "not-covered", "operation-not-covered")
        assert [came.method for came in provider.came] == ["GET"]


async def test_a_contract_may_name_its_operations_as_the_provider_does(market: Market) -> None:
    async with server() as provider:
        await registered(market, provider)
        await agreed(market, operations=["forecast"])
        assert (await market.requester.call("GET", f"{FORECAST}/points/7")).status == 200
        answer = await market.requester.call("GET", f"{FORECAST}/points")
        is_refused(answer, 403, "not-covered", "operation-not-covered")
        assert [came.path for came in provider.came] == ["/api/points/7"]


async def test_a_quota_is_exact(market: Market) -> None:
    async with server() as provider:
        await registered(market, provider)
        await agreed(market, quota={"calls_per_day": 2})
        answers = [await market.requester.call("GET", f"{FORECAST}/points/7") for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert answers[1].headers["ratelimit-remaining"] == "0"
        assert len(provider.came) == 2


async def test_a_contract_is_for_its_own_requester_alone(market: Market) -> None:
    async with server() as provider:
        await registered(market, provider)
        await agreed(market)
        stranger = await market.hub.partner("DE*NEW", "evsp")
        answer = await stranger.call("GET", f"{FORECAST}/points/7")
        is_refused(answer, 403, "not-covered", "no-contract")
        assert provider.came == []


async def test_a_provider_that_is_down_is_told_as_such(market: Market) -> None:
    async with server() as provider:
        await registered(market, provider)
        await agreed(market)
        await provider.close()
        answer = await market.requester.call("GET", f"{FORECAST}/points/7")
    is_refused(answer, 502, "provider-unreachable")


async def test_a_provider_that_hangs_holds_up_no_other(market: Market) -> None:
    async with server(hanging) as provider:
        await registered(market, provider)
        await agreed(market)
        waiting = asyncio.create_task(market.requester.call("GET", f"{FORECAST}/points/7"))
        await until(lambda: len(provider.came) == 1)
        search = await market.requester.call("GET", "/services/search-evse/evses")
        assert search.status == 200
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_a_draft_is_its_providers_business(market: Market) -> None:
    async with server() as provider:
        await market.provider.post(
            "/marketplace/services",
            {
                "name": "secret-plan",
                "category": "value-added",
                "description": "Not yet",
                "endpoint": provider.url,
            },
        )
        path = "/marketplace/services/secret-plan/v1"
        assert (await market.provider.call("GET", path)).status == 200
        assert (await market.requester.call("GET", path)).status == 404
        answer = await market.requester.call("GET", "/services/secret-plan/x")
        is_refused(answer, 404, "service-unknown")


async def test_where_a_service_is_answered_is_between_its_provider_and_the_hub(
    market: Market,
) -> None:
    async with server() as provider:
        await registered(market, provider)
        path = "/marketplace/services/load-forecast/v1"
        assert (await market.requester.get(path))["endpoint"] is None
        assert (await market.provider.get(path))["endpoint"] == f"{provider.url}/api"
