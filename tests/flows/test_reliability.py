"""One of a service's two servers dies and comes back: its callers notice nothing, its provider all.

The page is docs/reliability.md.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.hub import Hub, answering, server, until

FORECAST = "/services/load-forecast"
HEALTH = "/marketplace/services/load-forecast/v1/health"


async def test_a_server_that_dies_takes_no_call_with_it_and_its_provider_hears_of_it(
    hub: Hub,
) -> None:
    provider = await hub.partner("NL*FCS", "service-provider")
    requester = await hub.partner("FR*PD1", "evse-operator")
    async with server(answering({"kw": 7})) as first, server(answering({"kw": 7})) as second:
        await provider.post(
            "/marketplace/services",
            {
                "name": "load-forecast",
                "category": "value-added",
                "description": "What a charge point will draw tomorrow",
                "endpoint": first.url,
                "more_endpoints": [{"url": second.url, "environment": "live"}],
            },
        )
        await provider.post("/marketplace/services/load-forecast/v1/publish")
        offering = await provider.post(
            "/marketplace/offerings", {"service": "load-forecast", "terms": {}}
        )
        await requester.accepts(str(offering["offering_id"]))

        async def answered(times: int) -> None:
            for _ in range(times):
                assert await requester.get(f"{FORECAST}/points/7") == {"kw": 7}
                assert await requester.post(f"{FORECAST}/points/7", {}) == {"kw": 7}

        async def health() -> list[Any]:
            told = await provider.get(HEALTH)
            assert (told["service"], told["major"]) == ("load-forecast", 1)
            return list(told["endpoints"])

        async def happened() -> list[str]:
            async with hub.parts.database.hot() as connection:
                rows = await connection.fetch(
                    "SELECT type FROM kit.event WHERE stream = $1 AND party = $2 ORDER BY version",
                    "endpoints:load-forecast:1",
                    provider.party,
                )
            return [row["type"] for row in rows]

        await answered(3)
        await first.close()
        await answered(10)

        async def is_told_down() -> bool:
            await answered(1)
            return await happened() == ["endpoint-went-down"]

        await until(is_told_down)
        one, other = await health()
        assert (one["url"], one["environment"]) == (first.url, "live")
        assert one["state"] in ("open", "half-open")
        assert one["last_failure"]["kind"] == "unreachable"
        assert one["failures"] >= 5
        assert (other["state"], other["failures"], other["last_failure"]) == ("closed", 0, None)
        assert 0 < other["p50_ms"] <= other["p99_ms"]
        figures = await hub.http.get("/metrics")
        assert 'gridroam_endpoint_state{endpoint="live-2",service="load-forecast"} 0' in (
            figures.text
        )
        await first.reopen()

        async def is_told_back() -> bool:
            await answered(1)
            return await happened() == ["endpoint-went-down", "endpoint-came-back"]

        await until(is_told_back)
        assert [one["state"] for one in await health()] == ["closed", "closed"]
        # It is between the provider and the hub.
        refused = await requester.call("GET", HEALTH)
        assert (refused.status, refused.problem) == (403, "not-its-provider")
        unknown = await provider.call("GET", "/marketplace/services/nothing/v1/health")
        assert (unknown.status, unknown.problem) == (404, "service-not-found")


async def test_an_endpoint_that_tells_how_it_is_is_known_dead_and_found_back_without_a_call(
    hub: Hub,
) -> None:
    provider = await hub.partner("NL*FCS", "service-provider")
    requester = await hub.partner("FR*PD1", "evse-operator")
    healthy = True

    async def behave(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"kw": 7}, status=200 if healthy else 503)

    async with server(behave) as theirs:
        await provider.post(
            "/marketplace/services",
            {
                "name": "load-forecast",
                "category": "value-added",
                "description": "What a charge point will draw tomorrow",
                "endpoint": f"{theirs.url}/v1",
                "handling": {"health_path": "/health"},
            },
        )
        # A draft is nobody's affair yet.
        assert theirs.came == []
        await provider.post("/marketplace/services/load-forecast/v1/publish")
        offering = await provider.post(
            "/marketplace/offerings", {"service": "load-forecast", "terms": {}}
        )
        await requester.accepts(str(offering["offering_id"]))

        async def endpoint() -> Any:
            (only,) = (await provider.get(HEALTH))["endpoints"]
            return only

        async def is_asked() -> bool:
            return bool((await endpoint())["processes"] == 1 and theirs.came)

        await until(is_asked)
        assert {(one.method, one.path) for one in theirs.came} == {("GET", "/v1/health")}
        for one in theirs.came:
            assert "Authorization" not in one.headers
        healthy = False
        for _ in range(5):
            assert (await requester.call("POST", f"{FORECAST}/points/7", {})).status == 503

        async def is_down() -> bool:
            return bool((await endpoint())["state"] != "closed")

        await until(is_down)
        calls = [one for one in theirs.came if one.path != "/v1/health"]
        healthy = True

        async def is_up() -> bool:
            return bool((await endpoint())["state"] == "closed")

        await until(is_up)
        assert [one for one in theirs.came if one.path != "/v1/health"] == calls
        assert await requester.get(f"{FORECAST}/points/7") == {"kw": 7}

        async def is_told() -> bool:
            known = await endpoint()
            # What was asked beside the calls is in no figure of theirs.
            assert known["calls"] <= 6
            return bool((known["calls"], known["failures"]) == (6, 5))

        await until(is_told)
        async with hub.parts.database.hot() as connection:
            metered = "SELECT count(*) FROM gateway.usage WHERE service = 'load-forecast'"

            async def is_metered() -> bool:
                return bool(await connection.fetchval(metered) == 6)

            await until(is_metered)
