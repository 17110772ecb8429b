"""Bad days of two who negotiate: a side that is down, and a hub that is killed before it knows
whether what it sent has come.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

from aiohttp import web

from gridroam import office, signing
from gridroam.office import open_core
from marketplace.access import detached
from marketplace.partners.model import roles_of
from roaming.party import PartyId
from tests.faults.test_topics import partners_at
from tests.flows.test_negotiation import NEGOTIATIONS, SERVICE, terms
from tests.gridroam.processes import serving, until
from tests.hub import Partner, Server, server

REQUESTER, PROVIDER = "FR*PD1", "NL*FCS"
WAITING = "/marketplace/messages?state=must-be-sent"


async def joined(home: Path, database_url: str) -> list[tuple[str, str, str]]:
    found = []
    async with open_core(home, database_url) as parts:
        for party, role in ((PROVIDER, "service-provider"), (REQUESTER, "evse-operator")):
            added = await office.register(parts, PartyId(party), roles_of([role]), party)
            found.append((party, added.client_id, added.client_secret))
    return found


def about(receiver: Server, negotiation_id: str) -> list[Any]:
    subject = f"negotiation:{negotiation_id}"
    return [came.json for came in receiver.came if came.json["subject"] == subject]


async def signed(side: Partner, negotiation_id: str, folder: Path) -> str:
    """The side's signature, by a key that it registers for it."""
    file = folder / f"{side.party}.jwk"
    await side.post(f"/marketplace/partners/{side.party}/clients", signing.new_key(file))
    token = {"Authorization": f"Bearer {side.token}"}
    path = f"{NEGOTIATIONS}/{negotiation_id}/document"
    document = folder / f"{side.party}.json"
    document.write_bytes((await side.http.get(path, headers=token)).content)
    return signing.sign(document, file)["jws"]


async def test_a_side_that_was_down_and_a_hub_that_was_killed_are_told_of_every_move_in_order(
    hub_database_url: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    options: list[str | Path] = ["--home", home, "--database-url", hub_database_url]
    known = await joined(home, hub_database_url)
    async with server() as hears:
        async with (
            serving(*options, tmp_path=tmp_path) as hub,
            partners_at(hub, known) as (provider, requester),
        ):
            described = {"name": SERVICE, "category": "value-added", "description": "x"}
            await provider.post(
                "/marketplace/services", described | {"endpoint": "https://forecasts.example"}
            )
            await provider.post(f"/marketplace/services/{SERVICE}/v1/publish")
            await requester.listens_at("contracts", hears.url)
            # What joining brought about has come, before anything bad happens.
            await until(quiet_of(requester))

            # It takes the next message and never answers: the hub dies while it waits.
            silent, hung = asyncio.Event(), asyncio.Event()

            async def hanging(_: web.BaseRequest) -> web.StreamResponse:
                hung.set()
                await silent.wait()
                return web.Response(status=204)

            hears.behaviour = hanging
            asked = {"service": SERVICE, "terms": terms(4)}
            begun = await requester.post(NEGOTIATIONS, asked)
            negotiation_id = begun["negotiation_id"]
            await hung.wait()
            await hub.end(signal.SIGKILL)
            silent.set()
        await hears.close()

        # The requester's server is away while the two go on, and the hub is killed again.
        path = f"{NEGOTIATIONS}/{negotiation_id}"
        async with (
            serving(*options, tmp_path=tmp_path) as hub,
            partners_at(hub, known) as (provider, requester),
        ):
            # Asked again after the crash, it is the one there is.
            assert (await requester.post(NEGOTIATIONS, asked))["negotiation_id"] == negotiation_id
            await provider.post(f"{path}/accept", {"proposal": 1})
            jws = await signed(provider, negotiation_id, tmp_path)
            for _ in range(2):
                await provider.post(f"{path}/signatures", {"jws": jws})

            async def has_failed() -> bool:
                return any(one["attempts"] for one in await requester.get(WAITING))

            await until(has_failed)
            await hub.end(signal.SIGKILL)

        async def fine(_: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=204)

        hears.behaviour = fine
        await hears.reopen()
        async with (
            serving(*options, tmp_path=tmp_path) as hub,
            partners_at(hub, known) as (provider, requester),
        ):
            jws = await signed(requester, negotiation_id, tmp_path)
            final = await requester.post(f"{path}/signatures", {"jws": jws})
            assert final["state"] == "finalised"
            await until(lambda: about(hears, negotiation_id)[-1]["data"]["state"] == "finalised")
            await until(quiet_of(requester))
            told = about(hears, negotiation_id)
            first_seen = list({one["id"]: one["data"]["number"] for one in told}.values())
            assert first_seen == [1, 2, 3, 4, 5]
            # Twice came what was under way as the hub died, and nothing else.
            assert [one["data"]["number"] for one in told] == [1, 1, 2, 3, 4, 5]
            [contract] = await requester.get(f"/marketplace/contracts?service={SERVICE}")
            assert contract["contract_id"] == final["contract_id"]
            document = await requester.http.get(
                f"/marketplace/contracts/{final['contract_id']}/document",
                headers={"Authorization": f"Bearer {requester.token}"},
            )
            for one in final["signatures"]:
                assert detached.verify(one["jws"], document.content, [one["public_key"]])


def quiet_of(partner: Partner) -> Any:
    async def quiet() -> bool:
        return bool(await partner.get(WAITING) == [])

    return quiet
