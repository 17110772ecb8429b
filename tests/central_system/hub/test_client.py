"""Calling the hub as an operator: a token each, renewed in time, and honest about failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from central_system.hub.client import Hub
from central_system.hub.model import HubAway, HubRefused
from central_system.hub.ports import Transport
from central_system.hub.store import SqlKeys
from central_system.hub.transports import InProcess, OverHttp
from kit.database import Database
from kit.secrets import SecretBox
from roaming.evse_id import EvseId
from tests.central_system.fakes import (
    ACCEPTED,
    AUDIENCE,
    OPERATOR,
    OTHER,
    FakeHub,
    eventually,
)

EVSE = EvseId("FR*PD1*E1")


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = datetime(2025, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def fake() -> FakeHub:
    return FakeHub(decisions={"CARD": ACCEPTED})


@pytest.fixture
def clock() -> Hands:
    return Hands()


def client(database: Database, fake: FakeHub, clock: Hands, transport: Transport) -> Hub:
    keys = SqlKeys(database, SecretBox(bytes(32)), clock)
    return Hub(transport, fake, keys, clock, token_audience=AUDIENCE)


async def ask(hub: Hub, operator: object = OPERATOR) -> bool:
    decision = await hub.authorise(
        operator,  # type: ignore[arg-type]
        evse_id=EVSE,
        id_tag="CARD",
        charge_id=None,
        at=None,
    )
    return decision.accepted


@asynccontextmanager
async def served(fake: FakeHub) -> AsyncIterator[str]:
    config = uvicorn.Config(fake.app, port=0, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())

    async def started() -> bool:
        return server.started

    await eventually(started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


@pytest.mark.parametrize("way", ["in-process", "http"])
async def test_both_ways_lead_to_the_hub(
    database: Database, fake: FakeHub, clock: Hands, way: str
) -> None:
    async with served(fake) as url:
        over_http = OverHttp(url)
        hub = client(database, fake, clock, InProcess(fake.app) if way != "http" else over_http)
        assert await ask(hub)
        assert "at" not in fake.asked[0]
        assert "charge_id" not in fake.asked[0]
        assert [one.state for one in await hub.send(OPERATOR, [{"cdr_id": "1"}])] == ["accepted"]
        await hub.tell_status(OPERATOR, EVSE, "AVAILABLE")
        assert fake.statuses == [("FRPD1E1", "AVAILABLE")]
        fake.away = True
        with pytest.raises(HubAway, match="503"):
            await ask(hub)
        await over_http.close()


async def test_nobody_listening_is_a_hub_that_is_away(
    database: Database, fake: FakeHub, clock: Hands
) -> None:
    async with served(fake) as url:
        pass
    transport = OverHttp(url)
    with pytest.raises(HubAway, match="ClientConnector"):
        await ask(client(database, fake, clock, transport))
    await transport.close()


async def test_a_hub_that_takes_too_long_is_away(fake: FakeHub) -> None:
    async def hangs(_: Scope, __: Receive, ___: Send) -> None:
        await asyncio.Event().wait()

    with pytest.raises(HubAway, match="no answer in"):
        await InProcess(hangs).call("GET", "/", headers={}, body=b"", timeout_s=0.01)


async def test_a_hub_that_breaks_is_away(fake: FakeHub) -> None:
    async def breaks(_: Scope, __: Receive, ___: Send) -> None:
        raise ZeroDivisionError

    with pytest.raises(HubAway, match="ZeroDivisionError"):
        await InProcess(breaks).call("GET", "/", headers={}, body=b"", timeout_s=1)


async def test_one_token_serves_an_operator_until_shortly_before_it_expires(
    database: Database, fake: FakeHub, clock: Hands
) -> None:
    hub = client(database, fake, clock, InProcess(fake.app))
    await asyncio.gather(*(ask(hub) for _ in range(20)))
    assert fake.tokens_given == 1
    await ask(hub, OTHER)
    assert fake.tokens_given == 2
    assert fake.askers[-1] == OTHER
    clock.now += timedelta(seconds=fake.token_lifetime_s - 31)
    await ask(hub)
    assert fake.tokens_given == 2
    clock.now += timedelta(seconds=2)
    await ask(hub)
    assert fake.tokens_given == 3


async def test_a_revoked_token_is_renewed_once(
    database: Database, fake: FakeHub, clock: Hands
) -> None:
    hub = client(database, fake, clock, InProcess(fake.app))
    await ask(hub)
    fake.revoke()
    assert await ask(hub)
    assert fake.tokens_given == 2


async def test_the_key_outlives_the_process_and_is_sealed(
    database: Database, fake: FakeHub, clock: Hands
) -> None:
    await ask(client(database, fake, clock, InProcess(fake.app)))
    before = dict(fake.clients)
    await ask(client(database, fake, clock, InProcess(fake.app)))
    assert fake.clients == before
    sealed = await database.pool.fetchval("SELECT sealed_jwk FROM central_system.key")
    assert b'"d"' not in sealed


async def test_a_no_of_the_hub_has_its_kind(
    database: Database, fake: FakeHub, clock: Hands
) -> None:
    hub = client(database, fake, clock, InProcess(fake.app))
    with pytest.raises(HubRefused) as refused:
        await hub._call(OPERATOR, "GET", "/nowhere", {}, 1)
    assert (refused.value.status, refused.value.kind) == (404, "status-404")
