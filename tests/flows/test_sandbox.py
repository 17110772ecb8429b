"""A service is tried out before anybody pays for it: with credentials, endpoints and usage apart.

docs/security.md tells it to partners.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.flows.test_security import example, keys_of
from tests.hub import CLEARING_HOUSE, URL, Hub, Partner, Server, answering, server, until

PATH = "/services/load-forecast/points/7"


@dataclass(frozen=True, slots=True)
class Market:
    """A provider with a live server and one for trying; each party's two clients."""

    hub: Hub
    provider: Partner
    providers_sandbox: Partner
    requester: Partner
    sandbox: Partner
    live: Server
    trial: Server


async def sandbox_of(partner: Partner) -> Partner:
    """The same party, calling as its client of the sandbox."""
    path = f"/marketplace/partners/{partner.party}/clients"
    made = await partner.post(path, {"environment": "sandbox"})
    found = replace(partner, client_id=made["client_id"], client_secret=made["client_secret"])
    await found.log_in()
    return found


@pytest.fixture
async def market(hub: Hub) -> AsyncIterator[Market]:
    provider = await hub.partner("NL*FCS", "service-provider")
    requester = await hub.partner("FR*PD1", "evse-operator")
    async with server(answering("live")) as live, server(answering("sandbox")) as trial:
        yield Market(
            hub,
            provider,
            await sandbox_of(provider),
            requester,
            await sandbox_of(requester),
            live,
            trial,
        )


async def registered(market: Market, **more: Any) -> None:
    sandbox = {"url": f"{market.trial.url}/try", "environment": "sandbox"}
    await market.provider.post(
        "/marketplace/services",
        {
            "name": "load-forecast",
            "category": "value-added",
            "description": "What a charge point will draw tomorrow",
            "more_endpoints": [sandbox],
            **more,
        },
    )


async def agreed(market: Market, **terms: Any) -> str:
    await market.provider.post("/marketplace/services/load-forecast/v1/publish")
    offering = await market.provider.post(
        "/marketplace/offerings", {"service": "load-forecast", "terms": terms}
    )
    return await market.requester.accepts(offering["offering_id"])


async def test_what_is_tried_out_reaches_the_sandbox_and_costs_nothing(market: Market) -> None:
    await registered(market, endpoint=f"{market.live.url}/api")
    priced = {"price_per_call_minor": 10, "currency": "EUR", "quota": {"calls_per_day": 1}}
    contract = await agreed(market, **priced)
    for _ in range(3):
        answer = await market.sandbox.call("GET", PATH)
        assert (answer.status, answer.body) == (200, "sandbox")
    answer = await market.requester.call("GET", PATH)
    assert (answer.status, answer.body) == (200, "live")
    assert [came.path for came in market.trial.came] == ["/try/points/7"] * 3
    assert [came.path for came in market.live.came] == ["/api/points/7"]
    keys = await keys_of(market.hub)
    shown = market.trial.came[0].headers["Authorization"]
    told = example("caller_of")(shown, keys, URL, "NL*FCS")
    assert (told["sandbox"], told["sub"], told["contract_id"]) == (True, "FR*PD1", contract)

    async def metered() -> bool:
        return len(await use(market.provider)) == 2

    await until(metered)
    live, trial = await use(market.provider)
    assert (live["sandbox"], live["calls"], live["billable_calls"]) == (False, 1, 1)
    assert (trial["sandbox"], trial["calls"], trial["billable_calls"]) == (True, 3, 0)


async def use(of: Partner) -> list[Any]:
    found = (await of.get("/marketplace/usage"))["usage"]
    return [day for day in found if day["service"] == "load-forecast"]


async def test_without_a_contract_the_sandbox_is_closed_too(market: Market) -> None:
    await registered(market, endpoint=market.live.url)
    await market.provider.post("/marketplace/services/load-forecast/v1/publish")
    answer = await market.sandbox.call("GET", PATH)
    assert (answer.status, answer.problem) == (403, "not-covered")
    assert market.trial.came == []


async def test_a_provider_tries_its_draft_before_there_is_anything_live(market: Market) -> None:
    await registered(market)
    answer = await market.providers_sandbox.call("GET", PATH)
    assert (answer.status, answer.body) == (200, "sandbox")
    for other in (market.provider, market.requester, market.sandbox):
        assert (await other.call("GET", PATH)).status == 404
    assert len(market.trial.came) == 1


async def test_a_service_without_a_sandbox_says_so(market: Market) -> None:
    await registered(market, endpoint=market.live.url, more_endpoints=[])
    await agreed(market)
    for caller in (market.sandbox, market.providers_sandbox):
        answer = await caller.call("GET", PATH)
        assert (answer.status, answer.problem) == (403, "sandbox-not-served")
    assert market.live.came == []


async def test_what_is_live_at_the_hub_stays_so(market: Market) -> None:
    sandbox = market.sandbox
    assert (await sandbox.call("GET", "/services/search-evse/evses")).status == 200
    for method, path, body in (
        ("POST", "/services/search-evse/locations", []),
        ("POST", f"{CLEARING_HOUSE}/authorisations", {}),
        ("GET", f"{CLEARING_HOUSE}/cdrs", None),
        ("GET", "/marketplace/contracts", None),
        ("POST", f"/marketplace/partners/{sandbox.party}/clients", {}),
        ("PUT", "/central-system/stations", []),
    ):
        answer = await sandbox.call(method, path, body)
        assert (path, answer.status, answer.problem) == (path, 403, "sandbox-not-served")
