"""Bad days between the hub and its subscribers: both die, again and again, and nothing is lost."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from aiohttp import web

from gridroam import office
from gridroam.office import open_core
from marketplace.partners.model import roles_of
from roaming.party import PartyId
from tests.flows.test_topics import TOPIC, alert, topic_of
from tests.gridroam.processes import Serving, serving, until
from tests.hub import Partner, Server, server

PATH = f"/topics/{TOPIC}/subscriptions/mine"


@asynccontextmanager
async def partners_at(hub: Serving, known: Sequence[tuple[str, str, str]]) -> AsyncIterator[Any]:
    async with httpx.AsyncClient(base_url=hub.url, timeout=15) as http:
        found = [Partner(PartyId(party), id_, secret, http) for party, id_, secret in known]
        for one in found:
            await one.log_in()
        yield found


async def joined(home: Path, database_url: str) -> list[tuple[str, str, str]]:
    """A provider and a subscriber, and how they log in."""
    found = []
    async with open_core(home, database_url) as parts:
        for party, role in (("NL*FCS", "dso"), ("FR*XYZ", "evsp")):
            added = await office.register(parts, PartyId(party), roles_of([role]), party)
            found.append((party, added.client_id, added.client_secret))
    return found


def seen(receiver: Server) -> list[Any]:
    return [event for came in receiver.came for event in came.json]


async def test_a_subscriber_that_was_down_and_a_hub_that_was_killed_lose_nothing(
    hub_database_url: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    options: list[str | Path] = ["--home", home, "--database-url", hub_database_url]
    known = await joined(home, hub_database_url)
    ids: list[str] = []

    async def publish(provider: Partner, count: int) -> None:
        for _ in range(count):
            told = await provider.post(f"/topics/{TOPIC}/events", alert(len(ids)))
            ids.extend(told["ids"])

    async with server() as receiver:
        async with (
            serving(*options, tmp_path=tmp_path) as hub,
            partners_at(hub, known) as (provider, subscriber),
        ):
            await topic_of(provider, subscriber)
            await subscriber.put(PATH, {"delivery": "webhook", "url": receiver.url})
            await publish(provider, 5)
            await until(lambda: len(seen(receiver)) >= 5)

            # It takes the next call and never answers: the hub dies while it waits.
            silent, hung = asyncio.Event(), asyncio.Event()

            async def hanging(_: web.BaseRequest) -> web.StreamResponse:
                hung.set()
                await silent.wait()
                return web.Response(status=204)

            receiver.behaviour = hanging
            await publish(provider, 1)
            await hung.wait()
            await hub.end(signal.SIGKILL)
            silent.set()
        await receiver.close()

        # The subscriber is away while the hub is back, and tries, and is killed again.
        async with (
            serving(*options, tmp_path=tmp_path) as hub,
            partners_at(hub, known) as (provider, subscriber),
        ):
            await publish(provider, 20)

            async def has_failed() -> bool:
                told = await subscriber.get(PATH)
                return bool(told["attempts"] and told["last_error"])

            await until(has_failed)
            await hub.end(signal.SIGKILL)

        async def fine(_: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=204)

        receiver.behaviour = fine
        await receiver.reopen()
        async with serving(*options, tmp_path=tmp_path):
            await until(lambda: {event["id"] for event in seen(receiver)} == set(ids))
    told = [event["id"] for event in seen(receiver)]
    first_seen = list(dict.fromkeys(told))
    assert first_seen == ids
    # Twice came what was under way as the hub died, and nothing else.
    assert len(told) == len(ids) + 1
    numbers = {event["id"]: event["data"]["number"] for event in seen(receiver)}
    assert [numbers[one] for one in ids] == [*range(26)]


async def test_subscribers_that_hang_or_break_hold_nobody_else_up(
    hub_database_url: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    options: list[str | Path] = ["--home", home, "--database-url", hub_database_url]
    known = await joined(home, hub_database_url)
    chance = random.Random(7)

    async def bad(_: web.BaseRequest) -> web.StreamResponse:
        if chance.random() < 0.5:
            await asyncio.Event().wait()
        return web.Response(status=chance.choice([302, 400, 500, 503]), text="<html>" * 10_000)

    async with (
        server(bad) as hopeless,
        server() as well,
        serving(*options, tmp_path=tmp_path) as hub,
        partners_at(hub, known) as (provider, subscriber),
    ):
        await topic_of(provider, subscriber)
        for number in range(5):
            wish = {"delivery": "webhook", "url": f"{hopeless.url}/{number}"}
            await subscriber.put(f"{PATH}-bad-{number}", wish)
        await subscriber.put(f"{PATH}-well", {"delivery": "webhook", "url": well.url})
        for number in range(20):
            await provider.post(f"/topics/{TOPIC}/events", alert(number, f"k{number % 3}"))
        await until(lambda: len(seen(well)) == 20)
        assert len({event["id"] for event in seen(well)}) == 20
        # The hub ends in order with calls under way.
        ended = await hub.end(signal.SIGTERM)
        assert ended.code == 0
