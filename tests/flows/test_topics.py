"""Topics from side to side: a partner publishes, others subscribe under contract, in three ways."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from http_message_signatures import InvalidSignature

from tests.flows.world import EVSE, OTHER_EVSE
from tests.hub import Hub, Partner, Server, answering, server, until

TOPIC = "grid-alerts"


async def topic_of(
    provider: Partner, *subscribers: Partner, name: str = TOPIC, **terms: Any
) -> list[str]:
    """A topic in the catalogue that these have contracts on; the contracts' ids, in order."""
    await provider.post(
        "/marketplace/services",
        {
            "name": name,
            "category": "value-added",
            "description": "Where the grid is short.",
            "protocol": "topic",
        },
    )
    await provider.post(f"/marketplace/services/{name}/v1/publish")
    offering = await provider.post(
        "/marketplace/offerings", {"service": name, "audience": {"kind": "public"}, "terms": terms}
    )
    return [await one.accepts(offering["offering_id"]) for one in subscribers]


def alert(number: int, key: str = "north") -> dict[str, Any]:
    return {"key": key, "type": "alert", "data": {"number": number}}


def numbers(events: Sequence[Any]) -> list[int]:
    return [event["data"]["number"] for event in events]


async def test_a_subscriber_pulls_what_a_partner_publishes_and_goes_on_where_it_stopped(
    hub: Hub,
) -> None:
    provider = await hub.partner("NL*FCS", "dso")
    subscriber = await hub.partner("FR*XYZ", "evsp")
    await topic_of(provider, subscriber)
    first = await provider.post(f"/topics/{TOPIC}/events", [alert(n) for n in range(3)])
    path = f"/topics/{TOPIC}/subscriptions/mine"
    made = await subscriber.call("PUT", path, {"delivery": "pull", "from": "start"})
    assert (made.status, made.body["state"], made.body["lag"]["events"]) == (201, "active", 3)
    await until_readable(subscriber, first["ids"][-1])

    page = await subscriber.get(f"{path}/events?limit=2")
    assert numbers(page["events"]) == [0, 1]
    assert [event["id"] for event in page["events"]] == first["ids"][:2]
    told = page["events"][0]
    assert told["source"].endswith(f"/topics/{TOPIC}")
    assert (told["specversion"], told["type"], told["subject"]) == ("1.0", "alert", "north")
    # Until they are acknowledged the same come again, under the same ids.
    assert await subscriber.get(f"{path}/events?limit=2") == page
    for _ in range(2):
        moved = await subscriber.post(f"{path}/acknowledge", {"id": page["next"]})
        assert moved == {"cursor": page["next"]}
    assert numbers((await subscriber.get(f"{path}/events"))["events"]) == [2]
    # Never back.
    back = await subscriber.post(f"{path}/acknowledge", {"id": first["ids"][0]})
    assert back == {"cursor": page["next"]}


async def until_readable(reader: Partner, id_: str, topic: str = TOPIC) -> None:
    """Until the log gives an event out: an older transaction may still run."""

    async def readable() -> bool:
        page = await reader.get(f"/topics/{topic}/events?limit=1000")
        return id_ in [event["id"] for event in page["events"]]

    await until(readable)


async def test_who_has_no_contract_gets_nothing_and_a_suspension_only_delays(hub: Hub) -> None:
    provider = await hub.partner("NL*FCS", "dso")
    subscriber = await hub.partner("FR*XYZ", "evsp")
    stranger = await hub.partner("FR*PD1", "evse-operator")
    (contract,) = await topic_of(provider, subscriber)
    path = f"/topics/{TOPIC}/subscriptions/mine"
    wish = {"delivery": "pull", "from": "start"}
    await subscriber.put(path, wish)
    for refused in (
        await stranger.call("PUT", path, wish),
        await stranger.call("GET", f"/topics/{TOPIC}/events"),
        await stranger.call("GET", f"/topics/{TOPIC}/events?wait_s=1"),
    ):
        assert (refused.status, refused.problem) == (403, "no-contract")
    assert (await stranger.call("POST", f"/topics/{TOPIC}/events", alert(1))).status == 403

    await provider.post(f"/marketplace/contracts/{contract}/suspend", {"reason": "unpaid"})
    published = await provider.post(f"/topics/{TOPIC}/events", alert(1))
    refused = await subscriber.call("GET", f"{path}/events")
    assert (refused.status, refused.problem) == (403, "contract-suspended")
    assert (await subscriber.get(path))["state"] == "waiting"
    await provider.post(f"/marketplace/contracts/{contract}/resume")
    await until_readable(subscriber, published["ids"][0])
    assert numbers((await subscriber.get(f"{path}/events"))["events"]) == [1]

    await provider.post(f"/marketplace/contracts/{contract}/terminate", {"reason": "no more"})
    refused = await subscriber.call("GET", f"{path}/events")
    assert (refused.status, refused.problem) == (403, "contract-terminated")
    told = await subscriber.get(path)
    assert (told["state"], told["reason"]) == ("waiting", "contract-terminated")


async def test_a_call_that_waits_is_answered_as_soon_as_something_is_published(hub: Hub) -> None:
    provider = await hub.partner("NL*FCS", "dso")
    subscriber = await hub.partner("FR*XYZ", "evsp")
    await topic_of(provider, subscriber)
    path = f"/topics/{TOPIC}/subscriptions/mine"
    await subscriber.put(path, {"delivery": "pull", "filter": {"keys": ["south"]}})
    waiting = asyncio.create_task(subscriber.get(f"{path}/events?wait_s=30"))
    await provider.post(f"/topics/{TOPIC}/events", alert(1, "north"))
    await provider.post(f"/topics/{TOPIC}/events", alert(2, "south"))
    async with asyncio.timeout(15):
        assert numbers((await waiting)["events"]) == [2]


async def test_the_hubs_topics_tell_of_every_operators_charge_points_and_of_ones_own_affairs(
    hub: Hub,
) -> None:
    operator = await hub.partner("FR*PD1", "evse-operator")
    reader = await hub.partner("FR*XYZ", "evsp")
    for topic in ("evse-status", "evse-data", "own-events"):
        await reader.put(f"/topics/{topic}/subscriptions/all", {"delivery": "pull", "from": "now"})
    await operator.provides(EVSE)
    await operator.put(f"/services/search-evse/evses/{EVSE}/status", {"status": "CHARGING"})
    changed = await reader.get("/topics/evse-status/subscriptions/all/events?wait_s=15")
    assert [(one["subject"], one["data"]["to"]) for one in changed["events"]] == [
        ("FR*PD1", "CHARGING")
    ]
    told = await reader.get("/topics/evse-data/subscriptions/all/events?wait_s=15")
    assert told["events"][0]["data"] == {"created": ["FRPD1E1"]}
    own = await reader.get("/topics/own-events/subscriptions/all/events?wait_s=15")
    assert {one["type"] for one in own["events"]} == {"topic-subscription-changed"}
    history = await reader.get("/events?types=contract-agreed")
    assert {one["data"]["service"] for one in history["events"]} >= {"own-events", "evse-data"}
    assert (await operator.get("/events?types=evse-changed"))["events"][0]["subject"] == (
        "evses:FR*PD1"
    )
    assert (await reader.get("/events?types=evse-changed"))["events"] == []


async def test_a_charge_point_that_is_shown_to_nobody_is_told_of_to_its_operator_alone(
    hub: Hub,
) -> None:
    operator = await hub.partner("FR*PD1", "evse-operator")
    reader = await hub.partner("FR*XYZ", "evsp")
    home = operator.site((OTHER_EVSE,), "Europe/Paris") | {"publish": False}
    await operator.post("/services/search-evse/locations", [home])
    await operator.provides(EVSE)
    for evse_id in (OTHER_EVSE, EVSE):
        path = f"/services/search-evse/evses/{evse_id}/status"
        await operator.put(path, {"status": "CHARGING"})
    async with server() as receiver:
        wish = {"delivery": "webhook", "url": receiver.url, "from": "start"}
        await reader.put("/topics/evse-status/subscriptions/all", wish)
        await until(lambda: bool(receiver.came))
        assert [one["data"]["evse_id"] for one in receiver.came[0].json] == ["FRPD1E1"]
    told = await reader.get("/topics/evse-data/events")
    assert [one["data"] for one in told["events"]] == [{"created": ["FRPD1E1"]}]
    own = await operator.get("/events?types=evse-status-changed")
    assert [one["data"]["evse_id"] for one in own["events"]] == ["FRPD1E2", "FRPD1E1"]


async def test_both_sides_see_what_was_delivered_in_their_usage(hub: Hub) -> None:
    provider = await hub.partner("NL*FCS", "dso")
    subscriber = await hub.partner("FR*XYZ", "evsp")
    (contract,) = await topic_of(provider, subscriber)
    published = await provider.post(f"/topics/{TOPIC}/events", [alert(1), alert(2)])
    await until_readable(subscriber, published["ids"][-1])

    async def metered() -> bool:
        usage = f"/marketplace/usage?contract_id={contract}"
        told = [(await party.get(usage))["usage"] for party in (provider, subscriber)]
        return all(days and days[0]["service"] == TOPIC for days in told)

    await until(metered)


async def test_a_delivery_that_costs_money_costs_it_once_however_often_it_is_pulled(
    hub: Hub,
) -> None:
    provider = await hub.partner("NL*FCS", "dso")
    subscriber = await hub.partner("FR*XYZ", "evsp")
    (contract,) = await topic_of(provider, subscriber, price_per_call_minor=5, currency="EUR")
    path = f"/topics/{TOPIC}/subscriptions/mine"
    await subscriber.put(path, {"delivery": "pull", "from": "start"})

    async def pulled() -> list[int]:
        return numbers((await subscriber.get(f"{path}/events"))["events"])

    async def billed() -> int:
        days = (await subscriber.get(f"/marketplace/usage?contract_id={contract}"))["usage"]
        return sum(day["billable_calls"] for day in days)

    for n, costs in ((1, 1), (2, 2)):
        await provider.post(f"/topics/{TOPIC}/events", alert(n))

        async def come(n: int = n) -> bool:
            return (await pulled())[-1:] == [n]

        await until(come)
        assert await pulled() == await pulled() == [*range(1, n + 1)]
        assert await billed() == costs


async def test_what_cannot_be_published_or_wished_for_is_refused_with_its_rule(hub: Hub) -> None:
    provider = await hub.partner("NL*FCS", "dso")
    await topic_of(provider)
    events, mine = f"/topics/{TOPIC}/events", f"/topics/{TOPIC}/subscriptions/mine"
    for method, path, body, field in (
        ("POST", events, [], "body"),
        ("POST", events, alert(1) | {"key": ""}, "key"),
        ("POST", events, [alert(1), alert(2) | {"type": "no type"}], "1.type"),
        ("POST", events, alert(1) | {"data": "x" * 70_000}, "data"),
        ("POST", events, alert(1) | {"time": "2026-01-01T00:00:00"}, "time"),
        ("POST", events, [alert(1)] * 1_001, "body"),
        ("PUT", mine, {"delivery": "webhook"}, "url"),
        ("PUT", mine, {"delivery": "webhook", "url": "http://10.0.0.1/"}, "url"),
        ("PUT", mine, {"delivery": "pull", "url": "http://127.0.0.1/"}, "url"),
        ("PUT", mine, {"delivery": "pull", "from": "yesterday"}, "from"),
        ("PUT", mine, {"delivery": "pull", "from": f"{10**17}-1"}, "from"),
        ("PUT", f"/topics/{TOPIC}/subscriptions/No!", {"delivery": "pull"}, "name"),
        ("GET", f"{events}?after=nothing", None, "after"),
    ):
        answer = await provider.call(method, path, body)
        assert (answer.status, answer.body["field"]) == (422, field), (path, answer.body)
    # All or none.
    assert (await provider.get(events))["events"] == []
    assert (await provider.call("POST", "/topics/evse-status/events", alert(1))).status == 403
    assert (await provider.call("GET", "/topics/nothing/events")).problem == "unknown-topic"
    assert (await provider.call("GET", mine)).problem == "unknown-subscription"


async def test_a_webhook_gets_signed_events_in_order_and_what_it_refuses_is_a_dead_letter(
    hub: Hub,
) -> None:
    provider = await hub.partner("NL*FCS", "dso")
    subscriber = await hub.partner("FR*XYZ", "evsp")
    await topic_of(provider, subscriber)
    path = f"/topics/{TOPIC}/subscriptions/pushed"

    receiver: Server

    async def picky(_: web.BaseRequest) -> web.StreamResponse:
        refused = 3 in numbers(receiver.came[-1].json)
        return web.Response(status=422, text="no threes") if refused else web.Response(status=204)

    async with server(picky) as receiver:
        wish = {"delivery": "webhook", "url": f"{receiver.url}/hook?of=mine", "from": "start"}
        await subscriber.put(path, wish)
        published = await provider.post(f"/topics/{TOPIC}/events", [alert(n) for n in range(6)])
        letters: list[Any] = []

        async def all_done() -> bool:
            letters[:] = (await subscriber.get(f"{path}/dead-letters"))["dead_letters"]
            return bool(letters) and (await subscriber.get(path))["lag"]["events"] == 0

        await until(all_done)
        assert [(one["id"], one["status"], one["says"]) for one in letters] == [
            (published["ids"][3], 422, "no threes")
        ]
        verify = documented_verifier()
        keys = (await hub.http.get("/.well-known/jwks.json")).json()
        for came in receiver.came:
            assert came.headers["Content-Type"] == "application/cloudevents-batch+json"
            verify(f"{receiver.url}{came.path}", came.headers, came.content, keys)
            with pytest.raises(InvalidSignature):
                verify(f"{receiver.url}/elsewhere", came.headers, came.content, keys)
            with pytest.raises(InvalidSignature):
                verify(f"{receiver.url}{came.path}", came.headers, came.content + b" ", keys)

        # Mended, the subscriber asks for it once more.
        receiver.came.clear()
        receiver.behaviour = answering(status=204)
        asked = await subscriber.post(f"{path}/dead-letters/{letters[0]['id']}/replay")
        assert asked == {"asked": 1}
        await until(lambda: bool(receiver.came))
        assert numbers(receiver.came[0].json) == [3]

    # Gone for good: nothing is sent until the subscriber says so.
    async with server(answering(status=410)) as gone:
        await subscriber.put(path, wish | {"url": gone.url})
        await provider.post(f"/topics/{TOPIC}/events", alert(7))

        async def paused() -> bool:
            told = await subscriber.get(path)
            return (told["state"], told["reason"]) == ("paused", "gone")

        await until(paused)
        gone.came.clear()
        gone.behaviour = answering()
        await subscriber.put(path, wish | {"url": gone.url})
        await until(lambda: bool(gone.came))
        assert numbers(gone.came[0].json) == [7]
    # What is pulled is not sent, and so not sent again.
    await subscriber.put(path, {"delivery": "pull"})
    for letter in ("", f"/{letters[0]['id']}"):
        refused = await subscriber.call("POST", f"{path}/dead-letters{letter}/replay")
        assert (refused.status, refused.problem) == (409, "not-sent")
    assert (await subscriber.call("DELETE", path)).status == 204
    assert (await subscriber.call("GET", path)).status == 404


def documented_verifier() -> Callable[[str, Mapping[str, str], bytes, Any], None]:
    """What docs/topics.md tells a subscriber to do, as it stands there."""
    page = (Path(__file__).parents[2] / "docs/topics.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    told: dict[str, Any] = {}
    exec(code, told)
    verify: Callable[[str, Mapping[str, str], bytes, Any], None] = told["verify"]
    return verify
