"""A hub that is small, honest and can be sent away; and a central system that listens on a port."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from central_system.cards.store import SqlCards
from central_system.hub.client import Hub
from central_system.hub.store import SqlKeys
from central_system.hub.transports import InProcess
from central_system.ocpp16.conversation import Desk
from central_system.ocpp16.routes import Endpoint
from central_system.ocpp16.session import Limits
from central_system.ocpp16.store import SqlJournal
from central_system.stations import flows as station_flows
from central_system.stations.model import enrolment
from central_system.stations.store import SqlStations, SqlStatuses
from central_system.stations.tasks import StatusTeller
from central_system.transactions.store import SqlTransactions
from central_system.transactions.tasks import CdrSender
from kit.clock import utc_now
from kit.database import Database
from kit.personal_data import Vault
from kit.secrets import SecretBox
from roaming.party import PartyId

OPERATOR = PartyId("FR*PD1")
OTHER = PartyId("DE*ABC")
AUDIENCE = "https://hub.example/oauth/token"
PASSWORD = "correct horse battery"
EVSE = "FR*PD1*E1"


async def eventually(condition: Callable[[], Awaitable[bool]], *, within_s: float = 10.0) -> None:
    """Wait until it holds; AssertionError when it does not in time."""
    deadline = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.01)


@dataclass
class FakeHub:
    """Knows clients by their public keys, checks their assertions, decides by `decisions`, keeps
    CDRs by id. `away` makes every call end in a 503; `revoke` ends all tokens."""

    decisions: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    away: bool = False
    clients: dict[str, tuple[PartyId, ECKey]] = field(default_factory=dict)
    tokens: dict[str, PartyId] = field(default_factory=dict)
    tokens_given: int = 0
    token_lifetime_s: int = 3600
    jtis: set[str] = field(default_factory=set)
    asked: list[dict[str, Any]] = field(default_factory=list)
    askers: list[PartyId] = field(default_factory=list)
    cdrs: dict[tuple[PartyId, str], dict[str, Any]] = field(default_factory=dict)
    cdr_calls: int = 0
    statuses: list[tuple[str, str]] = field(default_factory=list)
    cdr_state: Callable[[Mapping[str, Any]], str] = lambda _: "accepted"

    async def ensure(self, operator: PartyId, public_jwk: Mapping[str, Any]) -> str:
        assert "d" not in public_jwk, "the private half of a key must stay at home"
        client_id = f"{operator.compact.lower()}-key"
        self.clients[client_id] = (operator, ECKey.import_key(dict(public_jwk)))
        return client_id

    def revoke(self) -> None:
        self.tokens.clear()

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/oauth/token", self._token, methods=["POST"]),
                Route("/services/clearing-house/authorisations", self._authorise, methods=["POST"]),
                Route("/services/clearing-house/cdrs", self._cdrs, methods=["POST"]),
                Route(
                    "/services/search-evse/evses/{evse_id}/status", self._status, methods=["PUT"]
                ),
            ]
        )

    async def _token(self, request: Request) -> Response:
        if self.away:
            return Response(status_code=503)
        form = {name: said[0] for name, said in parse_qs((await request.body()).decode()).items()}
        operator, key = self.clients[form["client_id"]]
        claims = jwt.decode(form["client_assertion"], key, algorithms=["ES256"]).claims
        assert claims["iss"] == claims["sub"] == form["client_id"]
        assert claims["aud"] == AUDIENCE
        assert claims["jti"] not in self.jtis, "an assertion serves once"
        self.jtis.add(claims["jti"])
        self.tokens_given += 1
        token = f"token-{self.tokens_given}"
        self.tokens[token] = operator
        return JSONResponse(
            {"access_token": token, "token_type": "Bearer", "expires_in": self.token_lifetime_s}
        )

    def _caller(self, request: Request) -> PartyId | None:
        return self.tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))

    def _no(self, request: Request) -> Response | None:
        if self.away:
            return Response(status_code=503)
        return Response(status_code=401) if self._caller(request) is None else None

    async def _authorise(self, request: Request) -> Response:
        if (no := self._no(request)) is not None:
            return no
        asked = await request.json()
        caller = self._caller(request)
        assert caller is not None
        self.askers.append(caller)
        self.asked.append(asked)
        refused = {"decision": "refused", "reason": "unknown-contract"}
        told = self.decisions.get(asked["identification"]["value"], refused)
        return JSONResponse({"authorisation_id": f"auth-{len(self.asked)}", "reason": None, **told})

    async def _cdrs(self, request: Request) -> Response:
        if (no := self._no(request)) is not None:
            return no
        self.cdr_calls += 1
        caller = self._caller(request)
        assert caller is not None
        answers = []
        for cdr in await request.json():
            before = self.cdrs.setdefault((caller, cdr["cdr_id"]), cdr)
            assert before == cdr, "a record must be the same whenever it is sent"
            state = self.cdr_state(cdr)
            reasons = ["negative-energy"] if state == "rejected" else []
            answers.append({"cdr_id": cdr["cdr_id"], "state": state, "reasons": reasons})
        return JSONResponse(answers)

    async def _status(self, request: Request) -> Response:
        if (no := self._no(request)) is not None:
            return no
        self.statuses.append((request.path_params["evse_id"], (await request.json())["status"]))
        return JSONResponse({})


ACCEPTED: Mapping[str, Any] = {"decision": "accepted", "valid_until": "2030-01-01T00:00:00Z"}


@dataclass
class Central:
    """A central system as a roof would put it together."""

    database: Database
    fake: FakeHub
    hub: Hub
    stations: SqlStations
    statuses: SqlStatuses
    cards: SqlCards
    transactions: SqlTransactions
    vault: Vault
    sender: CdrSender
    teller: StatusTeller
    journal: SqlJournal
    endpoint: Endpoint
    url: str = ""

    async def enrol(
        self, *charge_points: str, operator: PartyId = OPERATOR, evses: Sequence[str] | None = None
    ) -> None:
        """With one connector each, at EVSE …E1, …E2 and so on."""
        await station_flows.enrol(
            self.stations,
            operator,
            [
                enrolment(name, {"1": evses[n] if evses else f"{operator}*E{n + 1}"}, PASSWORD)
                for n, name in enumerate(charge_points)
            ],
            utc_now(),
        )

    def url_of(self, charge_point: str, *, operator: PartyId = OPERATOR) -> str:
        return f"{self.url}/ocpp/{operator.dashed}/{charge_point}"

    async def messages(self, charge_point: str = "CP1") -> list[dict[str, Any]]:
        """What the log holds of a station, in order."""
        rows = await self.database.pool.fetch(
            "SELECT body FROM kit.event WHERE stream = $1 AND type = 'ocpp-message'"
            " ORDER BY version",
            f"station:{OPERATOR}:{charge_point}",
        )
        return [row["body"] for row in rows]

    async def happened(self, kind: str) -> list[dict[str, Any]]:
        rows = await self.database.pool.fetch(
            "SELECT body FROM kit.event WHERE type = $1 ORDER BY position", kind
        )
        return [row["body"] for row in rows]

    async def all_text_of_log(self) -> str:
        rows = await self.database.pool.fetch("SELECT body FROM kit.event")
        return json.dumps([row["body"] for row in rows])

    async def all_sent(self) -> bool:
        return await self.transactions.unsent_cdrs() == 0


def assemble(
    database: Database,
    fake: FakeHub,
    *,
    trust_station_time: bool = False,
    limits: Limits | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> Central:
    secret = bytes(range(32))
    hub = Hub(
        InProcess(fake.app),
        fake,
        SqlKeys(database, SecretBox(secret), clock),
        clock,
        token_audience=AUDIENCE,
    )
    stations, cards = SqlStations(database), SqlCards(database)
    transactions, statuses = SqlTransactions(database), SqlStatuses(database)
    vault = Vault(secret, clock)
    sender = CdrSender(transactions, hub, idle_s=0.05)
    journal = SqlJournal(database, vault, on_waiting=sender.wake)
    desk = Desk(clock, cards, hub, trust_station_time=trust_station_time)
    return Central(
        database=database,
        fake=fake,
        hub=hub,
        stations=stations,
        statuses=statuses,
        cards=cards,
        transactions=transactions,
        vault=vault,
        sender=sender,
        teller=StatusTeller(statuses, hub, idle_s=0.05),
        journal=journal,
        endpoint=Endpoint(
            stations=stations, desk=desk, journal=journal, clock=clock, limits=limits
        ),
    )


@asynccontextmanager
async def listening(central: Central) -> AsyncIterator[Central]:
    """The endpoint behind a real server on a free port, as `gridroam serve` runs it."""
    config = uvicorn.Config(
        central.endpoint,
        host="127.0.0.1",
        port=0,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=1024 * 1024,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    central.endpoint.start()
    serving = asyncio.create_task(server._serve())
    try:
        await eventually(lambda: _is(server.started))
        port = server.servers[0].sockets[0].getsockname()[1]
        central.url = f"ws://127.0.0.1:{port}"
        yield central
    finally:
        server.should_exit = True
        await serving
        await central.endpoint.close()
        await central.sender.close()
        await central.teller.close()
        await central.journal.close()


async def _is(value: bool) -> bool:
    return value


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)
