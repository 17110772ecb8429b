"""Bad days of an EVSP that sends its list of customers: the hub is killed in the middle of it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from clearinghouse.customers.flows import BATCH
from gridroam import office
from marketplace.partners.model import roles_of
from roaming.party import PartyId
from tests.gridroam.processes import serving, until

ROOT = "/services/clearing-house/customer-contracts"
LINES = [
    json.dumps({"contract_id": f"FRXYZ{n:09}", "token_uids": [f"UID{n}"]}).encode() + b"\n"
    for n in range(2 * BATCH + 700)
]
SENT = BATCH + 300


@asynccontextmanager
async def evsp(url: str, client: tuple[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        asked = {"grant_type": "client_credentials"}
        told = await http.post("/oauth/token", data=asked, auth=client)
        http.headers["Authorization"] = f"Bearer {told.json()['access_token']}"
        yield http


async def test_a_hub_that_was_killed_tells_how_much_of_a_list_it_has_and_takes_the_rest(
    hub_database_url: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    async with office.open_core(home, hub_database_url) as parts:
        added = await office.register(parts, PartyId("FR*XYZ"), roles_of(["evsp"]), "Bet")
    client = (added.client_id, added.client_secret)
    options: list[str | Path] = ["--home", home, "--database-url", hub_database_url]
    killed = asyncio.Event()

    async def halting() -> AsyncIterator[bytes]:
        for line in LINES[:SENT]:
            yield line
        await killed.wait()
        yield LINES[SENT]

    async with serving(*options, tmp_path=tmp_path) as hub, evsp(hub.url, client) as http:
        path = f"{ROOT}/bulk?upload=may&mode=full"
        sending = asyncio.create_task(http.post(path, content=halting()))

        async def some_are_kept() -> bool:
            shown = await http.get(f"{ROOT}/uploads/may")
            return shown.status_code == 200 and shown.json()["lines"] > 0

        await until(some_are_kept)
        await hub.end(signal.SIGKILL)
        killed.set()
        with pytest.raises(httpx.TransportError):
            await sending

    async with serving(*options, tmp_path=tmp_path) as hub, evsp(hub.url, client) as http:
        kept = (await http.get(f"{ROOT}/uploads/may")).json()
        assert (kept["lines"], kept["created"], kept["state"]) == (BATCH, BATCH, "open")
        path = f"{ROOT}/bulk?upload=may&mode=full&from_line={BATCH + 1}&lines={len(LINES)}"
        whole = (await http.post(path, content=b"".join(LINES[BATCH:]))).json()
    assert (whole["read"], whole["created"], whole["state"]) == (
        len(LINES),
        len(LINES),
        "complete",
    )
