"""A whole marketplace on a fresh database, with an operator and an EVSP in it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from httpx import AsyncClient

from kit.database import Database
from tests.marketplace.fakes import (
    EVSP,
    HUB,
    ISSUER,
    OPERATOR,
    HandClock,
    Member,
    client_of,
    join,
    join_hub,
)
from tests.marketplace.whole import Marketplace, build

HUB_KEY = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def market(database: Database, clock: HandClock) -> AsyncIterator[Marketplace]:
    market = build(database, clock=clock, hub=HUB, issuer=ISSUER, secret=HUB_KEY)
    async with market.running():
        yield market


@pytest.fixture
async def second(database: Database, clock: HandClock) -> AsyncIterator[Marketplace]:
    """The same hub in another process, as far as a test can have one."""
    market = build(database, clock=clock, hub=HUB, issuer=ISSUER, secret=HUB_KEY)
    async with market.running():
        yield market


@pytest.fixture
async def client(market: Marketplace) -> AsyncIterator[AsyncClient]:
    """Somebody without a token."""
    async with client_of(market) as client:
        yield client


@pytest.fixture
async def operator(market: Marketplace) -> AsyncIterator[Member]:
    member = await join(market, OPERATOR, "evse-operator")
    yield member
    await member.http.aclose()


@pytest.fixture
async def keeper(market: Marketplace) -> AsyncIterator[Member]:
    """The hub's own operator."""
    member = await join_hub(market)
    yield member
    await member.http.aclose()


@pytest.fixture
async def evsp(market: Marketplace) -> AsyncIterator[Member]:
    member = await join(market, EVSP, "evsp")
    yield member
    await member.http.aclose()
