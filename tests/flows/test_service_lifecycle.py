"""A version of a service from a draft that is tried to its last day, as its partners see it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from kit.clock import utc_now
from marketplace.services import flows
from tests.flows.test_sandbox import sandbox_of
from tests.hub import Answer, Hub, Partner, answering, hanging, server, until

ONE = "/marketplace/services/load-forecast/v1"
CALL = "/services/load-forecast/points/7"
PRICED = {"price_per_call_minor": 10, "currency": "EUR", "notice_days": 30}


async def registered(provider: Partner, live: str, trial: str, **more: Any) -> None:
    await provider.post(
        "/marketplace/services",
        {
            "name": "load-forecast",
            "category": "value-added",
            "tags": ["forecast"],
            "description": "What a charge point will draw tomorrow",
            "endpoint": live,
            "more_endpoints": [{"url": trial, "environment": "sandbox"}],
            **more,
        },
    )


async def agreed(provider: Partner, requester: Partner, **offered: Any) -> str:
    offering = await provider.post(
        "/marketplace/offerings", {"service": "load-forecast", **offered}
    )
    return await requester.accepts(offering["offering_id"])


async def valid(asking: Partner, provider: Partner) -> Any:
    return await asking.get(
        f"/services/contract-validation/validate?requester={asking.party}"
        f"&provider={provider.party}&service=load-forecast"
    )


def problem(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.problem


async def test_a_new_version_is_tried_under_a_contract_that_counts_nowhere(hub: Hub) -> None:
    provider = await hub.partner("NL*FCS", "service-provider")
    requester = await hub.partner("FR*PD1", "evse-operator")
    stranger = await hub.partner("DE*EVL", "evsp")
    trying, other = await sandbox_of(requester), await sandbox_of(stranger)
    async with server(answering("live")) as live, server(answering("trial")) as trial:
        await registered(provider, live.url, trial.url)
        told = await provider.post(f"{ONE}/test", {"testers": [requester.party]})
        assert (told["status"], told["testers"]) == ("in-test", [requester.party])
        assert (await requester.get(ONE))["status"] == "in-test"
        assert (await stranger.call("GET", ONE)).status == 404
        assert problem(await trying.call("GET", CALL)) == (403, "not-covered")
        contract_id = await agreed(provider, requester, terms=PRICED, environment="sandbox")
        answer = await trying.call("GET", CALL)
        assert (answer.status, answer.body) == (200, "trial")
        assert answer.headers["X-Contract-Id"] == contract_id
        for stranger_to_it in (requester, stranger):
            assert problem(await stranger_to_it.call("GET", CALL)) == (404, "service-unknown")
        assert problem(await other.call("GET", CALL)) == (403, "not-covered")
        assert (await valid(requester, provider))["valid"] is False
        # Published, it is called live by those who have a contract that counts.
        await provider.post(f"{ONE}/publish")
        assert problem(await requester.call("GET", CALL)) == (403, "not-covered")
        assert (await trying.call("GET", CALL)).body == "trial"
        counting = await agreed(provider, requester, terms=PRICED)
        answer = await requester.call("GET", CALL)
        assert (answer.body, answer.headers["X-Contract-Id"]) == ("live", counting)
        assert (await valid(requester, provider))["contract_id"] == counting
        assert (await trying.call("GET", CALL)).headers["X-Contract-Id"] == contract_id
        tried = await requester.get("/marketplace/contracts?environment=sandbox")
        assert [one["contract_id"] for one in tried] == [contract_id]

        async def metered() -> bool:
            use = (await requester.get("/marketplace/usage"))["usage"]
            of_it = [one for one in use if one["service"] == "load-forecast"]
            return sum(int(one["calls"]) for one in of_it) == 4

        await until(metered)
        use = (await requester.get("/marketplace/usage"))["usage"]
        billed = {one["sandbox"]: one["billable_calls"] for one in use if one["calls"]}
        assert billed[True] == 0
        assert billed[False] == 1


async def test_who_relies_on_a_version_is_told_when_it_ends_and_is_served_until_then(
    hub: Hub,
) -> None:
    provider = await hub.partner("NL*FCS", "service-provider")
    requester = await hub.partner("FR*PD1", "evse-operator")
    late = await hub.partner("DE*EVL", "evsp")
    async with server(answering("live")) as live:
        await registered(provider, live.url, f"{live.url}/try")
        await provider.post(f"{ONE}/publish")
        await registered(
            provider, live.url, f"{live.url}/try", major=2, replaces="load-forecast/v1"
        )
        await provider.post("/marketplace/services/load-forecast/v2/publish")
        contract_id = await agreed(provider, requester, terms=PRICED)
        offering = await provider.post(
            "/marketplace/offerings", {"service": "load-forecast", "terms": {"notice_days": 7}}
        )
        before = await requester.call("GET", CALL)
        assert not {"sunset", "deprecation"} & set(before.headers)
        too_soon = (utc_now() + timedelta(days=29)).isoformat()
        refused = await provider.call("POST", f"{ONE}/retire", {"sunset": too_soon})
        assert (*problem(refused), refused.body["field"]) == (422, "bad-sunset", "sunset")
        told = await provider.post(f"{ONE}/retire", {"reason": "The second version does it all."})
        sunset = datetime.fromisoformat(told["sunset"])
        assert (told["status"], sunset - datetime.fromisoformat(told["deprecated_at"])) == (
            "deprecated",
            timedelta(days=30),
        )
        # Repeated it says the same, and ends nothing sooner.
        assert (await provider.post(f"{ONE}/retire"))["sunset"] == told["sunset"]
        contract = await requester.get(f"/marketplace/contracts/{contract_id}")
        assert datetime.fromisoformat(contract["history"][-1]["since"]) == sunset
        assert contract["history"][-1]["reason"] == "The second version does it all."
        answer = await requester.call("GET", CALL)
        assert (answer.status, answer.body) == (200, "live")
        assert parsedate_to_datetime(answer.headers["Sunset"]) == sunset.replace(microsecond=0)
        assert answer.headers["Deprecation"].startswith("@")
        accepting = {"offering_id": offering["offering_id"]}
        refused = await late.call("POST", "/marketplace/contracts", accepting)
        assert refused.status in (404, 409)
        offer = {"service": "load-forecast", "terms": PRICED}
        refused = await provider.call("POST", "/marketplace/offerings", offer)
        assert problem(refused) == (409, "service-ending")
        shown = await late.get("/marketplace/services/load-forecast")
        first = shown["versions"][-1]
        assert [one["major"] for one in shown["versions"]] == [2, 1]
        assert (first["status"], first["successor"]) == ("deprecated", "load-forecast/v2")
        found = await late.get("/marketplace/services?status=deprecated&tag=forecast")
        assert [(one["name"], one["major"]) for one in found] == [("load-forecast", 1)]
        # Its day comes, and a second look finds nothing more to do.
        for more in (True, False):
            ended = await flows.retire_due(
                hub.parts.catalogue, hub.parts.hub, memory=hub.parts.book, now=sunset
            )
            assert ended is more

        async def gone() -> bool:
            return (await requester.call("GET", CALL)).status == 404

        await until(gone)


async def test_a_version_that_nobody_is_bound_to_is_retired_at_once_also_while_calls_run(
    hub: Hub,
) -> None:
    provider = await hub.partner("NL*FCS", "service-provider")
    requester = await hub.partner("FR*PD1", "evse-operator")
    async with server(hanging) as live:
        await registered(provider, live.url, f"{live.url}/try")
        # Two at one moment are one.
        twice = [provider.call("POST", f"{ONE}/publish") for _ in range(2)]
        assert [one.status for one in await asyncio.gather(*twice)] == [200, 200]
        await agreed(provider, requester, terms={"notice_days": 0})
        async with asyncio.timeout(30):
            running = asyncio.create_task(requester.call("GET", CALL))
            await until(lambda: len(live.came) == 1)
            told = await provider.post(f"{ONE}/retire")
            assert (told["status"], told["sunset"]) == ("retired", None)
            live.behaviour = answering("late")
            refused = await requester.call("GET", CALL)
            assert problem(refused) == (404, "service-unknown")
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        contracts = await requester.get("/marketplace/contracts?service=load-forecast")
        assert [one["status"] for one in contracts] == ["terminated"]


async def test_a_sunset_on_a_leap_day_is_the_first_moment_of_it_where_it_is_said(
    hub: Hub,
) -> None:
    provider = await hub.partner("NL*FCS", "service-provider")
    await registered(provider, "http://127.0.0.1:9/", "http://127.0.0.1:10/")
    await provider.post(f"{ONE}/publish")
    for day in ("2027-02-29", "yesterday"):
        refused = await provider.call("POST", f"{ONE}/deprecate", {"sunset": day})
        assert problem(refused) == (422, "bad-sunset")
    told = await provider.post(
        f"{ONE}/deprecate", {"sunset": "2028-02-29", "time_zone": "Europe/Paris"}
    )
    assert datetime.fromisoformat(told["sunset"]) == datetime(2028, 2, 28, 23, tzinfo=UTC)
    asked = {"name": "x", "category": "energy", "description": ""}
    refused = await provider.call("POST", "/marketplace/services", asked | {"name": "forecast-2"})
    assert (refused.status, refused.body["field"]) == (422, "category")
    assert "tags" in refused.body["rule"]
