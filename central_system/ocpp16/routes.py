"""The WebSocket endpoint `/ocpp/{operator}/{charge_point}` (OCPP-J 1.6, section 3)."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections import Counter
from dataclasses import dataclass
from uuid import uuid4

import structlog
from starlette.types import Receive, Scope, Send

from central_system.ocpp16.conversation import Desk
from central_system.ocpp16.ports import Journal
from central_system.ocpp16.session import Limits, Session
from central_system.stations import flows
from central_system.stations.model import LEASE_RENEWED_S, News, StationRef, UnknownStation
from central_system.stations.ports import Stations
from kit.clock import Clock
from kit.problem import problem_response, refusal_response
from kit.worker import Worker
from roaming.identifier import BadIdentifier
from roaming.party import PartyId
from roaming.refusal import Refusal, TooMuch

log = structlog.get_logger(__name__)

ROOT = "/ocpp/"
SUBPROTOCOL = "ocpp1.6"
_PROTOCOL_ERROR, _POLICY = 1002, 1008
_PATIENCE_S = 2.0


class TooManyConnections(TooMuch):
    """The operator's charge points hold as many connections as they may."""


@dataclass(slots=True)
class _Open:
    """A connection as the endpoint holds it. `send` may be called by whoever wants it closed."""

    connection_id: str
    session: Session
    send: Send
    # Written down as the charge point's connection; whatever is written there later is newer.
    established: bool = False

    async def end(self, reason: str) -> None:
        try:
            # A peer that reads nothing any more must not hold up the one that takes its place.
            async with asyncio.timeout(_PATIENCE_S):
                await self.send({"type": "websocket.close", "code": _POLICY, "reason": reason})
        except (OSError, RuntimeError):
            log.debug("connection was gone already", charge_point=self.session.ref.charge_point)


class Endpoint:
    """The ASGI application, and what it holds: one connection for each charge point.

    `start` it inside the event loop, `close` it there when the server takes no more connections.
    """

    def __init__(
        self,
        *,
        stations: Stations,
        desk: Desk,
        journal: Journal,
        clock: Clock,
        limits: Limits | None = None,
    ) -> None:
        self._stations = stations
        self._desk = desk
        self._journal = journal
        self._clock = clock
        self._limits = limits or Limits()
        self._open: dict[StationRef, _Open] = {}
        self._of_operator: Counter[PartyId] = Counter()
        self._lease = Worker("ocpp-leases", self._renew_leases, idle_s=LEASE_RENEWED_S)
        self._news = Worker("ocpp-news", self._hear_news)

    @property
    def connections(self) -> int:
        return self._of_operator.total()

    def start(self) -> None:
        self._lease.start()
        self._news.start()

    async def close(self) -> None:
        await self._news.close()
        await self._lease.close()
        for connection in list(self._open.values()):
            await connection.end("the central system stops")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            response = problem_response(
                426,
                "UpgradeRequired",
                "charge points talk WebSocket here",
                headers={"Upgrade": "websocket", "Connection": "Upgrade"},
            )
            await response(scope, receive, send)
            return
        await receive()
        try:
            ref = _ref_of(scope)
            headers = dict(scope["headers"])
            credentials = _credentials(headers.get(b"authorization", b""))
            station = await flows.admit(self._stations, ref, credentials)
            self._have_room(ref)
        except Refusal as refusal:
            await _deny(refusal, scope, receive, send)
            return
        if SUBPROTOCOL not in scope["subprotocols"]:
            # Section 3.2: complete the handshake without a subprotocol, then close at once.
            await send({"type": "websocket.accept"})
            reason = f"subprotocol {SUBPROTOCOL} only"
            await send({"type": "websocket.close", "code": _PROTOCOL_ERROR, "reason": reason})
            return
        session = Session(
            station,
            stations=self._stations,
            desk=self._desk,
            journal=self._journal,
            limits=self._limits,
        )
        await self._serve(_Open(str(uuid4()), session, send), receive)

    async def _serve(self, connection: _Open, receive: Receive) -> None:
        ref = connection.session.ref
        before = self._open.get(ref)
        self._open[ref] = connection
        self._of_operator[ref.operator] += 1
        try:
            if before is not None:
                await before.end("another connection of this charge point")
            await self._stations.connected(ref, connection.connection_id, self._clock())
            connection.established = True
            await connection.send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
            await _converse(connection, receive)
        except OSError:
            # The server's word for a peer that is gone; what was under way has been written.
            log.debug("connection lost", charge_point=ref.charge_point)
        finally:
            self._of_operator[ref.operator] -= 1
            if self._open.get(ref) is connection:
                del self._open[ref]
            await self._note_end(connection)

    async def _note_end(self, connection: _Open) -> None:
        try:
            await self._stations.disconnected(
                connection.session.ref, connection.connection_id, self._clock()
            )
        except Exception as error:  # noqa: BLE001  the lease ends by itself
            log.warning("end of a connection not noted", error=repr(error))

    def _have_room(self, ref: StationRef) -> None:
        most = self._limits.connections_of_operator
        if ref not in self._open and self._of_operator[ref.operator] >= most:
            raise TooManyConnections(
                f"the charge points of {ref.operator} hold {most} connections",
                field="operator",
                value=ref.operator,
                rule=f"at most {most}",
            )

    async def _renew_leases(self) -> bool:
        held = [connection.connection_id for connection in self._open.values()]
        if held:
            await self._stations.renew(held, self._clock())
        return False

    async def _hear_news(self) -> bool:
        async for news in self._stations.news():
            for connection in self._concerned(news):
                connection.session.outdated = True
                # "Look at all again" stands for news that were told before we listened.
                if news.operator is None or news.charge_point is not None:
                    await self._yield_to_newer(connection)
        return True

    def _concerned(self, news: News) -> list[_Open]:
        if news.operator is None:
            return list(self._open.values())
        if news.charge_point is None:
            return [one for ref, one in self._open.items() if ref.operator == news.operator]
        found = self._open.get(StationRef(news.operator, news.charge_point))
        return [] if found is None else [found]

    async def _yield_to_newer(self, connection: _Open) -> None:
        """End a connection whose charge point speaks to another process by now."""
        if not connection.established:
            return
        current = await self._stations.connection_of(connection.session.ref)
        if current not in (None, connection.connection_id):
            await connection.end("another connection of this charge point")


async def _converse(connection: _Open, receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        answer = await connection.session.answer(message["bytes"] if text is None else text)
        if answer is not None:
            try:
                await connection.send({"type": "websocket.send", "text": answer})
            except RuntimeError:
                # Closed from our side meanwhile: the charge point has another connection.
                return


def _ref_of(scope: Scope) -> StationRef:
    path = str(scope["path"]).removeprefix(str(scope.get("root_path", "")))
    operator, _, charge_point = path.removeprefix(ROOT).partition("/")
    try:
        party = PartyId(operator)
    except BadIdentifier:
        party = None
    if party is None or not path.startswith(ROOT) or not charge_point or "\0" in charge_point:
        raise UnknownStation(
            "no address of a charge point", field="path", value=path[:100], rule=f"{ROOT}FR-PD1/CP1"
        )
    return StationRef(party, charge_point)


def _credentials(header: bytes) -> tuple[str, bytes] | None:
    """User and password of HTTP Basic (RFC 7617). A password may be any bytes: some are keys."""
    scheme, _, encoded = header.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else None
    except (binascii.Error, UnicodeDecodeError):
        return None


async def _deny(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """An HTTP answer in place of the handshake, where the server can give one."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": _POLICY})
        return
    response = refusal_response(refusal)
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="ocpp", charset="UTF-8"'

    await response(scope, receive, send)
