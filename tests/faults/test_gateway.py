"""The door when its database is gone: it goes by what it knows for as long as that may be trusted,
gives nothing away that it cannot count, loses no record, and comes back by itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx import ASGITransport

from gridroam import tables
from kit.database import Database, create_schemas, metadata
from kit.embedded_postgres import EmbeddedPostgres, Settings
from tests.flows.test_bridged_calls import envelope, fault_of, username_token
from tests.flows.test_bridging import POINTS
from tests.flows.test_topics import TOPIC, alert, numbers, topic_of
from tests.gateway.calls.servers import served
from tests.gridroam.processes import alive, postmaster_of
from tests.hub import Answer, Partner, Server, answering, running, server, until

# Long enough that what happens before it is over is over by then, on a busy machine too.
OLDEST_S = 6.0
# No answer about a database that is away may take longer.
FAULT_WITHIN_S = 10.0
TERMS: dict[str, dict[str, Any]] = {
    "free": {},
    "limited": {"quota": {"calls_per_day": 1000}},
    "priced": {"price_per_call_minor": 5, "currency": "EUR"},
    "prepaid": {"pack": {"calls": 100}},
}


@dataclass(slots=True)
class Frail:
    """A PostgreSQL of a hub's own, which can be killed and brought back."""

    postgres: EmbeddedPostgres
    home: Path
    url: str

    async def kill(self) -> None:
        """As when the machine that it runs on loses its power."""
        pid = self._pid()
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not alive(pid))

    async def come_back(self) -> None:
        await self.postgres.start()

    @asynccontextmanager
    async def killed(self) -> AsyncIterator[None]:
        """Inside the block it is gone."""
        await self.kill()
        try:
            yield
        finally:
            await self.come_back()

    @asynccontextmanager
    async def hanging(self) -> AsyncIterator[None]:
        """Inside the block it takes what it is sent, and says nothing."""
        every = [self._pid(), *_children(self._pid())]
        for pid in every:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in every:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _pid(self) -> int:
        pid = postmaster_of(self.home)
        assert pid is not None
        return pid


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
async def frail(tmp_path: Path) -> AsyncIterator[Frail]:
    home = tmp_path / "frail"
    postgres = EmbeddedPostgres(home, Settings(max_connections=60))
    await postgres.start()
    await postgres.create_database("hub")
    database = await Database.open(postgres.url("hub"), pool_size=1)
    tables.register()
    async with database.begin() as connection:
        await connection.run_sync(create_schemas)
        await connection.run_sync(metadata.create_all)
    await database.close()
    yield Frail(postgres, home, postgres.url("hub"))
    postgres.stop()


@dataclass(slots=True)
class World:
    """One provider, and a caller for each kind of terms, with its contract."""

    provider: Server
    seller: Partner
    callers: dict[str, Partner]
    contracts: dict[str, str]

    async def call(self, kind: str) -> Answer:
        return await self.callers[kind].call("GET", f"/services/svc-{kind}/points/7")

    async def ask(self, kind: str, *, by_name: bool = False) -> httpx.Response:
        """The same in SOAP. `by_name`: by the client's name and secret, without its token."""
        caller = self.callers[kind]
        headers = {"Content-Type": "text/xml", "Authorization": f"Bearer {caller.token}"}
        login = ""
        if by_name:
            del headers["Authorization"]
            login = username_token(caller.client_id, caller.client_secret)
        content = envelope(login, f"svc-{kind}")
        return await caller.http.post(
            f"/services/svc-{kind}/soap", content=content, headers=headers
        )

    async def use(self, kind: str) -> tuple[int, int]:
        """Calls, and those of them that cost something."""
        told = await self.callers[kind].get("/marketplace/usage")
        own = [day for day in told["usage"] if day["contract_id"] == self.contracts[kind]]
        return sum(day["calls"] for day in own), sum(day["billable_calls"] for day in own)


@asynccontextmanager
async def world(frail: Frail, tmp_path: Path) -> AsyncIterator[World]:
    async with (
        server(answering({"kw": 7, "power_w": 7000})) as provider,
        running(frail.url, tmp_path / "home", oldest_contracts_s=OLDEST_S) as hub,
    ):
        seller = await hub.partner("NL*FCS", "service-provider")
        found = World(provider, seller, {}, {})
        for number, (kind, terms) in enumerate(TERMS.items()):
            caller = await hub.partner(f"FR*P{number}D", "evse-operator")
            await seller.post(
                "/marketplace/services",
                {
                    "name": f"svc-{kind}",
                    "category": "value-added",
                    "description": "What a charge point will draw tomorrow",
                    "endpoint": provider.url,
                },
            )
            described = await seller.call(
                "PUT",
                f"/marketplace/services/svc-{kind}/v1/interface?root=points.json",
                json.dumps(POINTS).encode(),
                headers={"Content-Type": "application/json"},
            )
            assert described.status == 200, described.body
            await seller.post(f"/marketplace/services/svc-{kind}/v1/publish")
            offering = await seller.post(
                "/marketplace/offerings", {"service": f"svc-{kind}", "terms": terms}
            )
            found.callers[kind] = caller
            found.contracts[kind] = await caller.accepts(offering["offering_id"])
        packs = f"/marketplace/contracts/{found.contracts['prepaid']}/packs"
        await found.callers["prepaid"].post(packs, {"packs": 1})
        for kind in TERMS:
            assert (await found.call(kind)).status == 200, kind
        yield found


def is_refused(answer: Answer, problem: str) -> None:
    assert (answer.status, answer.problem) == (503, problem), answer.body
    assert answer.body["rule"]
    # What the provider said is not given away.
    assert "kw" not in answer.body


async def until_refused_as_too_old(found: World) -> int:
    """Free calls pass for a while; how many did."""
    passed = 0

    async def too_old() -> bool:
        nonlocal passed
        answer = await found.call("free")
        if answer.status == 200:
            passed += 1
            return False
        is_refused(answer, "contracts-too-old")
        return True

    await until(too_old)
    return passed


async def test_a_door_whose_database_is_killed_fails_closed_and_loses_nothing(
    frail: Frail, tmp_path: Path
) -> None:
    async with world(frail, tmp_path) as found:
        await frail.kill()
        # Needs nobody but who is in memory; its record waits.
        free = 1 + [(await found.call("free")).status for _ in range(20)].count(200)
        assert free == 21
        came = len(found.provider.came)
        is_refused(await found.call("limited"), "quota-unreadable")
        is_refused(await found.call("prepaid"), "quota-unreadable")
        assert len(found.provider.came) == came
        is_refused(await found.call("priced"), "not-recorded")
        free += await until_refused_as_too_old(found)
        came = len(found.provider.came)
        for kind in TERMS:
            is_refused(await found.call(kind), "contracts-too-old")
        assert len(found.provider.came) == came

        await frail.come_back()

        async def passes() -> bool:
            return (await found.call("free")).status == 200

        await until(passes)
        free += 1
        for kind in ("limited", "priced", "prepaid"):
            assert (await found.call(kind)).status == 200, kind

        async def all_recorded() -> bool:
            return (await found.use("free"))[0] == free and (await found.use("priced"))[0] == 3

        await until(all_recorded)
        assert await found.use("free") == (free, 0)
        # The one whose answer was kept back was made, and costs nothing.
        assert await found.use("priced") == (3, 2)
        assert await found.use("limited") == (2, 0)
        packs = f"/marketplace/contracts/{found.contracts['prepaid']}/packs"
        assert (await found.callers["prepaid"].get(packs))["left_calls"] == 98


async def test_a_database_that_hangs_is_one_that_is_away(frail: Frail, tmp_path: Path) -> None:
    async with world(frail, tmp_path) as found:
        async with frail.hanging():
            assert (await found.call("free")).status == 200
            prepaid, priced = await asyncio.gather(found.call("prepaid"), found.call("priced"))
            is_refused(prepaid, "quota-unreadable")
            is_refused(priced, "not-recorded")
            await until_refused_as_too_old(found)

        async def passes() -> bool:
            return (await found.call("prepaid")).status == 200

        await until(passes)
        for kind in TERMS:
            assert (await found.call(kind)).status == 200, kind

        async def all_recorded() -> bool:
            return await found.use("priced") == (3, 2)

        await until(all_recorded)


@pytest.mark.parametrize("away", [Frail.killed, Frail.hanging], ids=["killed", "hanging"])
async def test_a_soap_caller_is_told_by_a_fault_that_the_database_is_away(
    frail: Frail, tmp_path: Path, away: Callable[[Frail], AbstractAsyncContextManager[None]]
) -> None:
    async with world(frail, tmp_path) as found:
        for kind in TERMS:
            assert (await found.ask(kind)).status_code == 200, kind
        assert (await found.ask("free", by_name=True)).status_code == 200

        async def told(kind: str, *, by_name: bool = False) -> str | None:
            """The last word of the fault's problem; None: the call passed."""
            async with asyncio.timeout(FAULT_WITHIN_S):
                answer = await found.ask(kind, by_name=by_name)
            if answer.status_code == 200:
                return None
            fault = fault_of(answer)
            assert fault["status"] == "503", answer.text
            assert fault["rule"]
            assert "power_w" not in answer.text
            return str(fault["type"]).rpartition("/")[2]

        async with away(frail):
            assert await told("free") is None
            came = len(found.provider.came)
            assert await told("prepaid") == "quota-unreadable"
            assert len(found.provider.came) == came
            assert await told("priced") == "not-recorded"

            async def too_old() -> bool:
                return await told("free") == "contracts-too-old"

            await until(too_old)
            came = len(found.provider.came)
            for kind in TERMS:
                assert await told(kind) == "contracts-too-old", kind
            # Who shows a name and a secret cannot even be looked up.
            assert await told("free", by_name=True) == "unavailable"
            assert len(found.provider.came) == came

        async def passes() -> bool:
            return (await found.ask("free", by_name=True)).status_code == 200

        await until(passes)
        for kind in TERMS:
            assert (await found.ask(kind)).status_code == 200, kind


async def test_topics_give_and_take_nothing_by_contracts_that_are_too_old(
    frail: Frail, tmp_path: Path
) -> None:
    async with world(frail, tmp_path) as found:
        seller, reader = found.seller, found.callers["free"]
        transport = seller.http._transport
        assert isinstance(transport, ASGITransport)
        async with (
            served(transport.app) as url,
            httpx.AsyncClient(base_url=url, timeout=FAULT_WITHIN_S) as http,
        ):
            seller.http = reader.http = http
            await topic_of(seller, reader)
            events = f"/topics/{TOPIC}/events"
            await seller.post(events, alert(0))

            async def comes(*expected: int) -> None:
                async def all_there() -> bool:
                    told = await reader.call("GET", f"{events}?wait_s=1")
                    return told.status == 200 and numbers(told.body["events"]) == list(expected)

                await until(all_there)

            await comes(0)
            async with frail.killed():
                await until_refused_as_too_old(found)
                is_refused(await reader.call("GET", events), "contracts-too-old")
                is_refused(await seller.call("POST", events, alert(1)), "contracts-too-old")
                stream = {"Accept": "text/event-stream"}
                is_refused(await reader.call("GET", events, headers=stream), "contracts-too-old")

            async def publishes() -> bool:
                return (await seller.call("POST", events, alert(2))).status == 201

            await until(publishes)
            # What was refused was not kept, and what was kept is there.
            await comes(0, 2)
