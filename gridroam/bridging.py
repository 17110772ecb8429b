"""The bridge at the door put together: whom it asks, and what it reads ahead of the first call."""

from __future__ import annotations

import asyncio
import functools
import hmac
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from clearinghouse import soap as clearing_soap
from gateway.bridging.flows import Bridge
from gateway.bridging.interfaces import Interfaces
from gateway.bridging.model import LoginRefused, TooManyAttempts
from gateway.bridging.ports import Face
from gateway.bridging.sides import Desk, Side, read_side
from gateway.calls.ports import Catalogue
from gridroam.core import Core
from gridroam.gateway_answers import InterfacesForGateway, LoginsForGateway
from kit.access_token import Identity
from kit.clock import Clock
from kit.server_away import AWAY
from kit.worker import Worker, woken_by
from marketplace.access.model import FailedAttempts, Method, is_client_id
from marketplace.access.ports import Access, Checker
from marketplace.validation import soap as validation_soap
from roaming.refusal import Unavailable
from search_evse import soap as search_soap

log = structlog.get_logger(__name__)

# So soon after it was looked up who a client is, nothing can have changed that must be seen.
REMEMBERED = timedelta(seconds=0.8)
MOST_REMEMBERED = 10_000
# A database that hangs is one that is away.
LOOKED_UP_WITHIN_S = 5.0


class ClientsAtTheDoor:
    """Clients by their own name and secret, as the token endpoint knows them.

    What was found right is remembered for less than a second, so that whoever calls often costs a
    look-up a second, and a secret that was replaced or revoked is refused as soon. The slow check
    of a secret is remembered longer, by `checker`, since it is about a hash that stays the same.
    """

    def __init__(self, access: Access, checker: Checker, clock: Clock) -> None:
        self._access = access
        self._checker = checker
        self._clock = clock
        self._failures = FailedAttempts()
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, tuple[datetime, Identity]] = OrderedDict()

    async def identify(self, client_id: str, secret: str, address: str) -> Identity:
        if not is_client_id(client_id):
            raise _refused()
        now = self._clock()
        mark = hmac.digest(self._key, f"{client_id}\n{secret}".encode(), "sha256")
        until, identity = self._known.get(mark, (now, None))
        if identity is not None and now < until:
            return identity
        wait_s = self._failures.wait_s(client_id, address, now)
        if wait_s:
            raise TooManyAttempts(wait_s)
        try:
            async with asyncio.timeout(LOOKED_UP_WITHIN_S), self._access.open() as book:
                client = await book.client(client_id, now)
        except (*AWAY, SQLAlchemyError) as error:
            log.warning("client not looked up", error=repr(error))
            raise Unavailable(
                "it cannot be looked up now who calls", rule="call with a token, or try again"
            ) from None
        hashes = () if client is None else client.secret_hashes
        right = await self._checker.matches(secret, hashes)
        # One that has keys or a certificate shows those, whatever secret it may have had before.
        if not right or client is None or Method.SECRET_POST not in client.methods:
            self._failures.note(client_id, address, now)
            raise _refused()
        found = Identity(
            party=client.party,
            roles=client.roles,
            client_id=client.client_id,
            scopes=frozenset(client.scopes),
            token_id="",
            issued_at=now,
            expires_at=now + REMEMBERED,
            sandbox=client.sandbox,
        )
        self._known[mark] = (found.expires_at, found)
        self._known.move_to_end(mark)
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
        return found


def _refused() -> LoginRefused:
    return LoginRefused(
        "there is no such client, or its secret is another",
        rule="client id and secret as at /oauth/token",
    )


@functools.cache
def faces() -> Mapping[tuple[str, int], Face]:
    """How the hub's own services are called by SOAP. Slow, and the same for every hub."""
    return {
        ("clearing-house", 1): clearing_soap.face(),
        ("contract-validation", 1): validation_soap.face(),
        ("search-evse", 1): search_soap.face(),
    }


def bridge(
    parts: Core, *, url: str, faces: Mapping[tuple[str, int], Face]
) -> tuple[Bridge, Interfaces[Side]]:
    """The bridge, and the interfaces that are ready for it; close those in the end.

    `faces` are those of the hub's own services.
    """
    interfaces = Interfaces(InterfacesForGateway(parts.catalogue), read_side)
    desk = Desk(
        sides=interfaces,
        faces=faces,
        credentials=ClientsAtTheDoor(parts.access, parts.checker, parts.clock),
        logins=LoginsForGateway(parts.box),
        clock=parts.clock,
        url=url,
    )
    return Bridge(desk), interfaces


@asynccontextmanager
async def read_ahead(
    parts: Core, catalogue: Catalogue, interfaces: Interfaces[Side]
) -> AsyncIterator[None]:
    """Inside the block a document that is told of is read at once, in every process: whoever calls
    first need not wait for it. Those that were there before are read when they are called for.
    """
    known = {entry.interface_digest for entry in parts.book.described()}

    async def step() -> bool:
        nonlocal known
        await parts.book.refresh()
        described = parts.book.described()
        for entry in described:
            if entry.interface_digest not in known:
                service = catalogue.find_service(entry.name, entry.major)
                if service is not None:
                    interfaces.prepare(service)
        known = {entry.interface_digest for entry in described}
        return False

    async with parts.database.listen("services") as heard:
        worker = Worker("interfaces", step, idle_s=60.0)
        async with woken_by(worker, heard):
            yield
