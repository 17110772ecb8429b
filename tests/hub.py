"""A whole hub in this process, and partners that call it as partners do: by its public API alone.

Only what a hub's operator does on its own machine (adding a partner) goes another way.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from httpx import ASGITransport, AsyncClient, BasicAuth

from gridroam import office, proxies
from gridroam.core import Core, core
from gridroam.home import Home
from gridroam.settings import Settings
from gridroam.wiring import hub as wired
from kit.clock import utc_now
from kit.database import Database
from marketplace.partners.model import roles_of
from roaming.party import PartyId

URL = "http://hub.test"
DEADLINE_S = 15.0
CLEARING_HOUSE = "/services/clearing-house"


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition; TimeoutError says that it did not come."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            met = condition()
            if met if isinstance(met, bool) else await met:
                return
            await asyncio.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the hub said. `body` is its JSON, or None where it said none."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def problem(self) -> str:
        """The last word of a problem's type."""
        return str(self.body["type"]).rpartition("/")[2]


@dataclass(slots=True)
class Partner:
    """A partner's programme, with its access token."""

    party: PartyId
    client_id: str
    client_secret: str
    http: AsyncClient
    token: str = ""

    async def log_in(self, scope: str | None = None) -> str:
        asked = {"grant_type": "client_credentials"} | ({} if scope is None else {"scope": scope})
        told = await self.http.post(
            "/oauth/token", data=asked, auth=BasicAuth(self.client_id, self.client_secret)
        )
        assert told.status_code == 200, told.text
        self.token = told.json()["access_token"]
        return self.token

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One call. `body` is JSON, or bytes as they are."""
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        content = body if isinstance(body, bytes) else None
        if body is not None and content is None:
            content = json.dumps(body).encode()
            sent = {"Content-Type": "application/json", **sent}
        told = await self.http.request(method, path, content=content, headers=sent)
        is_json = "json" in told.headers.get("content-type", "")
        return Answer(told.status_code, told.json() if is_json else None, told.headers)

    async def get(self, path: str) -> Any:
        return _good(await self.call("GET", path))

    async def post(self, path: str, body: Any = None) -> Any:
        return _good(await self.call("POST", path, body))

    async def put(self, path: str, body: Any) -> Any:
        return _good(await self.call("PUT", path, body))

    async def listens_at(self, purpose: str, url: str) -> None:
        """Tell the hub where it is to call this partner."""
        await self.put(f"/marketplace/partners/{self.party}/endpoints/{purpose}", {"url": url})

    async def provides(self, *evse_ids: str, time_zone: str = "Europe/Paris") -> None:
        """Tell of charge points, as an operator does."""
        report = await self.post(
            "/services/search-evse/locations", [self.site(evse_ids, time_zone)]
        )
        assert report["created"] == len(evse_ids), report

    async def keeps(self, contract_id: str, *token_uids: str, **more: Any) -> None:
        """Tell of a customer, as an EVSP does."""
        await self.put(
            f"{CLEARING_HOUSE}/customer-contracts/{contract_id}",
            {"token_uids": list(token_uids), **more},
        )

    async def offers(self, other: Partner, terms: Mapping[str, Any], **validity: datetime) -> str:
        """Offer roaming to another partner; the offering's id."""
        offering = await self.post(
            "/marketplace/offerings",
            {
                "service": "roaming",
                "terms": terms,
                "audience": {"kind": "parties", "parties": [other.party]},
                **{name: at.isoformat() for name, at in validity.items()},
            },
        )
        return str(offering["offering_id"])

    async def accepts(self, offering_id: str) -> str:
        """The id of the contract that comes of it."""
        contract = await self.post("/marketplace/contracts", {"offering_id": offering_id})
        return str(contract["contract_id"])

    async def asks(self, evse_id: str, value: str, **more: Any) -> Any:
        """May this customer charge here?"""
        return await self.post(
            f"{CLEARING_HOUSE}/authorisations",
            {
                "evse_id": evse_id,
                "identification": {"type": "rfid", "value": value},
                "services": ["charging"],
                **more,
            },
        )

    def site(self, evse_ids: tuple[str, ...], time_zone: str) -> dict[str, Any]:
        """An OCPI 2.2.1 Location with these EVSEs."""
        return {
            "country_code": self.party.country,
            "party_id": self.party.code,
            "id": evse_ids[0].replace("*", ""),
            "publish": True,
            "address": "1 Rue de la Paix",
            "city": "Paris",
            "country": "FRA",
            "coordinates": {"latitude": "48.86900", "longitude": "2.33100"},
            "time_zone": time_zone,
            "last_updated": "2026-01-01T00:00:00Z",
            "evses": [
                {
                    "uid": evse_id,
                    "evse_id": evse_id,
                    "status": "AVAILABLE",
                    "last_updated": "2026-01-01T00:00:00Z",
                    "connectors": [
                        {
                            "id": "1",
                            "standard": "IEC_62196_T2",
                            "format": "SOCKET",
                            "power_type": "AC_3_PHASE",
                            "max_voltage": 230,
                            "max_amperage": 32,
                            "last_updated": "2026-01-01T00:00:00Z",
                        }
                    ],
                }
                for evse_id in evse_ids
            ],
        }


def _good(answer: Answer) -> Any:
    assert 200 <= answer.status < 300, (answer.status, answer.body)
    return answer.body


@dataclass(slots=True)
class Hub:
    """The hub's face, and its operator's office beside it."""

    http: AsyncClient
    parts: Core

    async def partner(self, party: str, *roles: str) -> Partner:
        """A newcomer, logged in, whose contracts on the hub's services are in force."""
        added = await office.register(self.parts, PartyId(party), roles_of(roles), f"{party} Ltd")
        partner = Partner(PartyId(party), added.client_id, added.client_secret, self.http)
        await partner.log_in()
        own = (
            f"/services/contract-validation/validate?requester={partner.party}"
            f"&provider={self.parts.hub}&service=contract-validation"
        )

        async def known() -> bool:
            # The hub hears of contracts that were made beside it by a notice.
            return (await partner.call("GET", own)).status == 200

        await until(known)
        return partner

    async def expired(self, contract_id: str, requester: Partner) -> None:
        """As if its days had gone by: the contract ended yesterday, and the hub has heard of it."""
        async with self.parts.database.hot() as connection:
            await connection.execute(
                "UPDATE marketplace.contract SET valid_until = now() - interval '1 day',"
                " valid_from = now() - interval '2 days', version = version + 1,"
                " changed_xid = pg_current_xact_id()::text::bigint WHERE contract_id = $1",
                contract_id,
            )
            await connection.execute("SELECT pg_notify('contracts', $1)", contract_id)
        contract = await requester.get(f"/marketplace/contracts/{contract_id}")
        asked = "&".join(
            f"{name}={contract[name]}" for name in ("requester", "provider", "service")
        )
        path = f"/services/contract-validation/validate?{asked}"

        async def heard() -> bool:
            return bool((await requester.get(path))["reason"] == "expired")

        await until(heard)

    async def operator(self) -> Partner:
        """Who runs the hub, logged in: its party is the hub's own."""
        roles = roles_of(["service-provider"])
        added = await office.register(self.parts, self.parts.hub, roles, "The hub itself")
        partner = Partner(self.parts.hub, added.client_id, added.client_secret, self.http)
        await partner.log_in()
        return partner


@asynccontextmanager
async def running(database_url: str, home: Path, **more: Any) -> AsyncIterator[Hub]:
    """The whole hub as `gridroam serve` puts it together. `more` are settings.

    With `trusted_proxies` its partners are behind one: they call from 127.0.0.1.
    """
    place = Home(home, database_url)
    settings = Settings(home=home, public_url=URL, **more)
    async with wired(settings, place, database_url) as inside:
        trusted = settings.trusted_proxies
        app = proxies.behind(inside, trusted) if trusted else inside
        beside = await Database.open(database_url, pool_size=2)
        try:
            async with AsyncClient(transport=ASGITransport(app), base_url=URL) as http:
                parts = core(beside, place.secret, hub=settings.hub_party, clock=utc_now)
                yield Hub(http, parts)
        finally:
            await beside.close()


@pytest.fixture
async def hub(database_url: str, tmp_path: Path) -> AsyncIterator[Hub]:
    async with running(database_url, tmp_path / "home") as hub:
        yield hub


Behaviour = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def answering(body: Any = None, status: int = 200) -> Behaviour:
    async def behave(_: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(body, status=status)

    return behave


async def talking_nonsense(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="<html>Welcome to nginx!</html>", content_type="text/html")


async def hanging(_: web.BaseRequest) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


@dataclass(frozen=True, slots=True)
class Came:
    """A request that reached a partner's server."""

    method: str
    path: str
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass(slots=True)
class Server:
    """A partner's own server on loopback: keeps what comes, and behaves as it is told."""

    behaviour: Behaviour = field(default_factory=answering)
    came: list[Came] = field(default_factory=list)
    url: str = ""
    _runner: web.ServerRunner | None = None

    async def open(self, port: int = 0) -> None:
        self._runner = web.ServerRunner(web.Server(self._take), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def reopen(self) -> None:
        """Come back at the same address."""
        await self.open(int(self.url.rpartition(":")[2]))

    async def _take(self, request: web.BaseRequest) -> web.StreamResponse:
        content = await request.content.read()
        self.came.append(Came(request.method, request.path_qs, dict(request.headers), content))
        return await self.behaviour(request)


@asynccontextmanager
async def server(behaviour: Behaviour | None = None) -> AsyncIterator[Server]:
    found = Server() if behaviour is None else Server(behaviour)
    await found.open()
    try:
        yield found
    finally:
        await found.close()
