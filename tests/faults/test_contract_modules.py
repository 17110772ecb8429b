"""A module changes while offers are made of it, and while contracts run that were made of it."""

from __future__ import annotations

import asyncio
from typing import Any

from marketplace.framework import flows
from marketplace.framework.model import Module
from tests.hub import Hub, Partner, hub

__all__ = ["hub"]

OFFERINGS = "/marketplace/offerings"
OFFERS = 30


def parking(*, most_hours: int, word: str, **other: Any) -> Module:
    return Module.parse(
        {
            "name": "parking",
            "title": "Parking",
            "purpose": "How long a car may stand.",
            "schema": {
                "type": "object",
                "additionalProperties": False,
                "required": ["hours"],
                "properties": {"hours": {"type": "integer", "maximum": most_hours}},
            },
            "template": f"{word}: {{{{ hours }}}}",
            "kinds": {"call": "required"},
            "standard": {"hours": 1},
        }
        | other
    )


async def publish(hub: Hub, module: Module) -> None:
    parts = hub.parts
    await flows.publish(parts.framework, parts.hub, parts.hub, module, parts.clock())


async def published(hub: Hub, name: str) -> Partner:
    provider = await hub.partner("NL*FCS", "service-provider")
    service = {
        "name": name,
        "category": "value-added",
        "description": "A forecast",
        "endpoint": "https://forecasts.example/",
        "operations": [{"name": "forecast", "method": "GET", "path": "/"}],
    }
    await provider.post("/marketplace/services", service)
    await provider.post(f"/marketplace/services/{name}/v1/publish")
    return provider


async def test_each_offer_is_of_one_version_whole_or_refused_by_the_next_one(hub: Hub) -> None:
    provider = await published(hub, "forecast")
    await publish(hub, parking(most_hours=100, word="Old"))

    async def offer(n: int) -> Any:
        asked = {
            "service": "forecast",
            "terms": {"notice_days": n},
            "clauses": {"parking": {"hours": 50}},
        }
        return await provider.call("POST", OFFERINGS, asked)

    before = [await offer(n) for n in range(3)]
    answers = await asyncio.gather(
        *(offer(n) for n in range(10, 10 + OFFERS // 2)),
        publish(hub, parking(most_hours=10, word="New")),
        *(offer(n) for n in range(50, 50 + OFFERS // 2)),
    )
    after = [await offer(n) for n in range(100, 103)]
    assert {one.status for one in before} == {201}
    for answer in (*before, *filter(None, answers)):
        if answer.status == 422:
            assert answer.body["field"] == "clauses.parking.hours"
            assert "parking version 2" in answer.body["rule"]
            continue
        assert answer.status == 201
        text = await provider.get(f"{OFFERINGS}/{answer.body['offering_id']}/text")
        [clause] = [one for one in text["clauses"] if one["name"] == "parking"]
        assert (clause["version"], clause["text"]) == (1, "Old: 50")
    assert {one.status for one in after} == {422}


async def test_what_was_offered_and_agreed_before_goes_on_as_it_was(hub: Hub) -> None:
    """The new version takes no parameters of the old one, and one more module is required."""
    provider = await published(hub, "forecast")
    requester = await hub.partner("FR*PD1", "evse-operator")
    await publish(hub, parking(most_hours=100, word="Old"))
    asked = {"service": "forecast", "clauses": {"parking": {"hours": 50}}}
    offering = await provider.post(OFFERINGS, asked)
    text = await requester.get(f"{OFFERINGS}/{offering['offering_id']}/text")
    running = await requester.accepts(offering["offering_id"])
    other = await hub.partner("DE*PD2", "evse-operator")

    schema = {"type": "object", "additionalProperties": False}
    await publish(hub, parking(most_hours=1, word="", schema=schema, standard=None, template="No."))
    await publish(hub, parking(most_hours=1, word="More", name="more", standard=None))

    assert await requester.get(f"{OFFERINGS}/{offering['offering_id']}/text") == text
    later = await other.accepts(offering["offering_id"])
    for partner, contract in ((requester, running), (other, later)):
        document = await partner.get(f"/marketplace/contracts/{contract}/document")
        assert document["clauses"] == text["clauses"]
    refused = await provider.call("POST", OFFERINGS, {"service": "forecast"})
    assert refused.problem == "offering-incomplete"
    assert refused.body["value"] == "more, parking"
