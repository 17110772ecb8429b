"""A partner's SOAP client, as SOAP clients are made: by zeep, from the WSDL that the hub tells, and
over a real socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from httpx import ASGITransport
from requests import Session
from requests.auth import AuthBase
from zeep import Client
from zeep.helpers import serialize_object
from zeep.transports import Transport
from zeep.wsse.username import UsernameToken

from tests.gateway.calls.servers import served
from tests.hub import Hub, Partner


class Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


@dataclass(frozen=True, slots=True)
class Soap:
    """A SOAP client of a partner's, for one service of the hub."""

    client: Any
    version: str

    async def asks(self, service: str, operation: str, /, **payload: Any) -> Any:
        """The answer in Python's own values. Raises zeep's Fault."""
        bound = self.client.bind(service, service + self.version)
        answer = await asyncio.to_thread(getattr(bound, operation), **payload)
        return serialize_object(answer, dict)  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class SoapClients:
    """`url`: where the hub listens."""

    url: str
    sessions: list[Session] = field(default_factory=list)

    async def of(
        self, partner: Partner, service: str, version: str = "Soap", *, by_name: bool = False
    ) -> Soap:
        """`by_name`: no token, but the client's name and secret in each envelope."""
        session = Session()
        self.sessions.append(session)
        session.auth = Bearer(partner.token)
        wsdl = f"{self.url}/services/{service}/soap?wsdl"
        made: Callable[..., Any] = Client
        transport: Any = Transport(session=session)  # type: ignore[no-untyped-call]
        client = await asyncio.to_thread(made, wsdl, transport=transport)
        if by_name:
            session.auth = None
            client.wsse = UsernameToken(  # type: ignore[no-untyped-call]
                partner.client_id, partner.client_secret
            )
        # The hub tells the address that its partners know; here it listens at another.
        for one in client.wsdl.services.values():
            for port in one.ports.values():
                address = port.binding_options["address"]
                port.binding_options["address"] = self.url + address[address.index("/services/") :]
        return Soap(client, version)


@asynccontextmanager
async def soap_clients(hub: Hub) -> AsyncIterator[SoapClients]:
    """The hub on a socket, for as long as the block lasts."""
    transport = hub.http._transport
    assert isinstance(transport, ASGITransport)
    async with served(transport.app) as url:
        clients = SoapClients(url)
        try:
            yield clients
        finally:
            for session in clients.sessions:
                session.close()
