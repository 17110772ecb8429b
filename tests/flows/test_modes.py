"""A provider minds its contracts not at all, by noting what it would refuse, or to the letter.

Every reason for which a call can be refused is brought about by the API alone, and is in the log by
its own name: as a refusal where contracts are enforced, and as what would have been one in shadow.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.calls.model import Reason
from kit.clock import utc_now
from kit.event_log import START, read
from roaming.events import EventType
from tests.hub import Answer, Hub, Partner, Server, answering, running, server, until

SERVICE = "/marketplace/services/load-forecast/v1"
PATH = "/services/load-forecast/points/7"


@dataclass(frozen=True, slots=True)
class Market:
    """A provider of a service, published, and a partner who wants it."""

    hub: Hub
    provider: Partner
    requester: Partner
    server: Server

    async def mode(self, mode: str) -> None:
        await self.provider.put(f"{SERVICE}/handling", {"mode": mode})

    async def agreed(self, terms: dict[str, Any] | None = None, **offering: Any) -> str:
        asked = {"service": "load-forecast", "terms": terms or {}, **offering}
        offered = await self.provider.post("/marketplace/offerings", asked)
        return await self.requester.accepts(offered["offering_id"])

    async def call(self) -> Answer:
        return await self.requester.call("GET", PATH)

    async def told(self, reason: str, *, shadow: bool) -> Mapping[str, Any]:
        """The event that tells of a refused call of this service."""
        found: list[Mapping[str, Any]] = []

        async def written() -> bool:
            async with self.hub.parts.database.hot() as connection:
                events = await read(connection, START, limit=5000)
            found[:] = [
                event.body
                for event in events
                if event.type == EventType.CALL_REFUSED
                and (event.body["reason"], event.body["shadow"]) == (reason, shadow)
            ]
            return bool(found)

        await until(written)
        return found[0]

    async def metered(self) -> Sequence[dict[str, Any]]:
        found: list[dict[str, Any]] = []

        async def there() -> bool:
            told = await self.requester.get("/marketplace/usage")
            found[:] = [day for day in told["usage"] if day["service"] == "load-forecast"]
            return bool(found)

        await until(there)
        return found


@pytest.fixture
async def market(hub: Hub) -> AsyncIterator[Market]:
    async with server(answering({"kw": 7})) as provider:
        yield await opened(hub, provider)


async def opened(hub: Hub, at: Server) -> Market:
    seller = await hub.partner("NL*FCS", "service-provider")
    await seller.post(
        "/marketplace/services",
        {
            "name": "load-forecast",
            "category": "value-added",
            "description": "What a charge point will draw tomorrow",
            "endpoint": at.url,
        },
    )
    await seller.post(f"{SERVICE}/publish")
    return Market(hub, seller, await hub.partner("FR*PD1", "evse-operator"), at)


Way = Callable[[Market], Awaitable[str | None]]
"""Brings a reason about; the contract that it is about, where there is one."""


async def no_contract(market: Market) -> None:
    return None


async def suspended(market: Market) -> str:
    contract = await market.agreed()
    await market.provider.post(f"/marketplace/contracts/{contract}/suspend")
    return contract


async def terminated(market: Market) -> str:
    contract = await market.agreed()
    await market.requester.post(f"/marketplace/contracts/{contract}/terminate")
    return contract


async def expired(market: Market) -> str:
    contract = await market.agreed()
    await market.hub.expired(contract, market.requester)
    return contract


async def not_yet_valid(market: Market) -> str:
    return await market.agreed(valid_from=(utc_now() + timedelta(days=1)).isoformat())


async def another_operation(market: Market) -> str:
    return await market.agreed({"operations": ["GET /sites/*"]})


def used_up(quota: str) -> Way:
    async def way(market: Market) -> str:
        contract = await market.agreed({"quota": {quota: 1}})
        assert (await market.call()).status == 200
        return contract

    return way


async def nothing_bought(market: Market) -> str:
    return await market.agreed({"pack": {"calls": 1, "price_minor": 100}, "currency": "EUR"})


async def pack_used_up(market: Market) -> str:
    contract = await nothing_bought(market)
    await market.requester.post(f"/marketplace/contracts/{contract}/packs", {"packs": 1})
    assert (await market.call()).status == 200
    return contract


WAYS: dict[str, tuple[Way, Reason]] = {
    "no contract": (no_contract, Reason.NO_CONTRACT),
    "suspended": (suspended, Reason.CONTRACT_SUSPENDED),
    "terminated": (terminated, Reason.CONTRACT_TERMINATED),
    "expired": (expired, Reason.CONTRACT_EXPIRED),
    "not yet valid": (not_yet_valid, Reason.NOT_YET_VALID),
    "another operation": (another_operation, Reason.OPERATION_NOT_COVERED),
    "day used up": (used_up("calls_per_day"), Reason.QUOTA_EXCEEDED),
    "month used up": (used_up("calls_per_month"), Reason.QUOTA_EXCEEDED),
    "nothing bought": (nothing_bought, Reason.PACK_USED_UP),
    "pack used up": (pack_used_up, Reason.PACK_USED_UP),
}


@pytest.mark.parametrize(("way", "reason"), WAYS.values(), ids=WAYS.keys())
async def test_what_shadow_lets_through_and_notes_is_what_enforcing_refuses(
    market: Market, way: Way, reason: Reason
) -> None:
    contract = await way(market)
    came = len(market.server.came)
    refused = await market.call()
    assert refused.status == (429 if reason in OVER_LIMIT else 403)
    assert refused.body["reason"] == reason
    assert refused.body["rule"]
    assert len(market.server.came) == came

    await market.mode("shadow")
    assert (await market.call()).status == 200
    assert len(market.server.came) == came + 1
    for shadow in (False, True):
        told = await market.told(reason, shadow=shadow)
        assert told["contract_id"] == contract
        assert (told["caller"], told["service"]) == ("FR*PD1", "load-forecast")
        assert told["operation"] == "GET /points/7"

    await market.mode("off")
    passed = await market.call()
    assert passed.status == 200
    assert "x-contract-id" not in passed.headers
    assert not [name for name in passed.headers if name.startswith("ratelimit")]


OVER_LIMIT = {Reason.QUOTA_EXCEEDED, Reason.PACK_USED_UP}


async def test_with_contracts_off_anybody_with_a_token_passes_and_is_metered(
    market: Market,
) -> None:
    await market.mode("off")
    assert (await market.call()).status == 200
    [day] = await market.metered()
    assert (day["contract_id"], day["calls"], day["billable_calls"]) == (None, 1, 0)
    market.requester.token = "forged"
    refused = await market.call()
    assert (refused.status, refused.body["reason"]) == (401, "unauthenticated")


async def test_in_shadow_a_call_that_is_covered_goes_by_its_contract(market: Market) -> None:
    contract = await market.agreed({"quota": {"calls_per_day": 2}})
    await market.mode("shadow")
    passed = await market.call()
    assert passed.headers["x-contract-id"] == contract
    assert passed.headers["ratelimit"].startswith('"day";r=1;t=')


async def test_reasons_before_any_contract_are_told_by_their_own_names(market: Market) -> None:
    unknown = await market.requester.call("GET", "/services/weather/today")
    assert (unknown.status, unknown.body["reason"]) == (404, "service-unknown")
    await market.provider.post(f"{SERVICE}/suspend")
    closed = await market.call()
    assert (closed.status, closed.body["reason"]) == (503, "service-suspended")
    await market.requester.log_in("marketplace")
    unfit = await market.call()
    assert (unfit.status, unfit.body["reason"]) == (403, "scope-missing")
    market.requester.token = ""
    nobody = await market.call()
    assert (nobody.status, nobody.body["reason"]) == (401, "unauthenticated")
    for reason in ("service-unknown", "service-suspended", "scope-missing", "unauthenticated"):
        assert (await market.told(reason, shadow=False))["count"] >= 1


async def test_who_calls_too_fast_or_too_much_at_once_is_told_which(
    database_url: str, tmp_path: Path
) -> None:
    async with (
        server(answering({"kw": 7})) as provider,
        running(database_url, tmp_path / "home", client_rate=20.0) as hub,
    ):
        market = await opened(hub, provider)
        await market.agreed()
        answers = await asyncio.gather(*(market.call() for _ in range(60)))
        fast = [answer for answer in answers if answer.status == 429]
        assert fast
        assert {answer.body["reason"] for answer in fast} == {"rate-exceeded"}
        assert {answer.headers["retry-after"] for answer in fast} == {"1"}
        await market.told("rate-exceeded", shadow=False)


async def test_a_change_of_mode_is_seen_in_every_process_within_a_second(
    database_url: str, tmp_path: Path
) -> None:
    async with server(answering({"kw": 7})) as provider, AsyncExitStack() as stack:
        # One home: the processes of one hub.
        here, there = [
            await stack.enter_async_context(running(database_url, tmp_path / "home"))
            for _ in range(2)
        ]
        market = await opened(here, provider)
        elsewhere = Partner(
            market.requester.party, "", "", there.http, token=market.requester.token
        )
        for mode, status in (("off", 200), ("enforce", 403), ("shadow", 200), ("enforce", 403)):
            await market.mode(mode)
            async with asyncio.timeout(1):
                while (await elsewhere.call("GET", PATH)).status != status:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            # Where it was said, it is so at once.
            assert (await market.call()).status == status
