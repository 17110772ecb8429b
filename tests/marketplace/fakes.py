"""What tests of the marketplace share: a clock moved by hand, and a way to join and call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from kit import problem
from kit.http import CALLER, Caller
from kit.problem import refusal_response
from marketplace.partners import flows as partner_flows
from marketplace.partners.flows import Registration
from marketplace.validation import routes as validation_routes
from roaming.party import PartyId
from roaming.refusal import Refusal
from tests.marketplace.whole import Marketplace

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ISSUER = "http://hub.test"
HUB = PartyId("EU*GRD")
OPERATOR = PartyId("FR*PD1")
EVSP = PartyId("DE*EVL")
OTHER = PartyId("NL*XYZ")

ROAMING_TERMS: dict[str, Any] = {
    "currency": "EUR",
    "tariff": {
        "elements": [{"price_components": [{"type": "ENERGY", "price": 0.35, "step_size": 1}]}]
    },
    "vat_percent": 20,
    "time_zone": "Europe/Paris",
}


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **parts: float) -> datetime:
        self.now += timedelta(**parts)
        return self.now


class BearerDoor:
    """Lets a call in whose token the hub's verifier takes, as the real door does."""

    def __init__(self, app: ASGIApp, market: Marketplace) -> None:
        self._app = app
        self._market = market

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scheme, _, token = Request(scope).headers.get("authorization", "").partition(" ")
            if scheme == "Bearer" and not scope["path"].startswith("/oauth/"):
                try:
                    identity = self._market.verifier.verify(token)
                except Refusal as refusal:
                    await refusal_response(refusal)(scope, receive, send)
                    return
                scope[CALLER] = Caller(
                    identity.party, identity.roles, identity.client_id, None, "request-1"
                )
        await self._app(scope, receive, send)


def app_of(market: Marketplace) -> ASGIApp:
    app = FastAPI()
    problem.install(app)
    for router in market.routers:
        app.include_router(router)
    behind = "/contract-validation"
    app.include_router(validation_routes.router(market.validation), prefix=behind)
    for hot in validation_routes.hot_routes(market.validation):
        app.router.routes.append(Route(behind + hot.path, hot.handler, methods=[hot.method]))
    return BearerDoor(app, market)


def client_of(market: Marketplace) -> AsyncClient:
    return AsyncClient(transport=ASGITransport(app_of(market)), base_url=ISSUER)


@dataclass(frozen=True, slots=True)
class Member:
    """A party that joined, and a client that calls with its token."""

    party: PartyId
    client_id: str
    client_secret: str
    http: AsyncClient


async def join_hub(market: Marketplace) -> Member:
    """The hub's own operator, logged in as the command line lets it."""
    joined = await partner_flows.register_hub(
        market.core.partners, HUB, "The hub", hasher=market.core.checker, now=market.clock()
    )
    return await logged_in(market, joined)


async def join(market: Marketplace, party: PartyId, *roles: str) -> Member:
    """Register a party as the command line does, and get a token as its program would."""
    return await logged_in(market, await market.add_partner(party, roles, f"Partner {party}"))


async def logged_in(market: Marketplace, joined: Registration) -> Member:
    http = client_of(market)
    answer = await http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(joined.client_id, joined.client_secret),
    )
    assert answer.status_code == 200, answer.text
    http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return Member(joined.partner.party, joined.client_id, joined.client_secret, http)


async def offer_roaming(operator: Member, evsp: PartyId, **other: Any) -> dict[str, Any]:
    answer = await operator.http.post(
        "/marketplace/offerings",
        json={
            "service": "roaming",
            "terms": ROAMING_TERMS,
            "audience": {"kind": "parties", "parties": [evsp]},
        }
        | other,
    )
    assert answer.status_code == 201, answer.text
    offering: dict[str, Any] = answer.json()
    return offering


async def agree_roaming(operator: Member, evsp: Member, **other: Any) -> dict[str, Any]:
    offering = await offer_roaming(operator, evsp.party, **other)
    answer = await evsp.http.post(
        "/marketplace/contracts", json={"offering_id": offering["offering_id"]}
    )
    assert answer.status_code == 201, answer.text
    contract: dict[str, Any] = answer.json()
    return contract


async def until(happened: Callable[[], bool]) -> None:
    """Wait for what another process is to notice; TimeoutError after five seconds."""
    async with asyncio.timeout(5):
        while not happened():  # noqa: ASYNC110  another connection's doing, which sets no event
            await asyncio.sleep(0.01)
