"""A bridge with everything it asks in reach of a test, and a small SOAP service behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from bridge.document import Document, Kind
from bridge.wsdl import SoapInterface
from gateway.bridging.flows import Bridge
from gateway.bridging.interfaces import Interfaces
from gateway.bridging.model import LoginRefused
from gateway.bridging.ports import Face
from gateway.bridging.sides import Desk, read_side
from gateway.calls.model import Grant, Quota, Service, Speaks
from gateway.calls.paths import OperationPaths
from gateway.calls.ports import Identity
from gateway.calls.upstream import Upstream
from tests.bridge.wsdls import wsdl
from tests.gateway.calls.fakes import NOON, OPERATOR, PROVIDER, House, Known
from tests.gateway.calls.servers import Partner

SCHEMA = """
<x:include schemaLocation="types/kinds.xsd"/>
<x:element name="Ask"><x:complexType><x:sequence>
  <x:element name="place" type="x:string"/>
  <x:element name="kind" type="t:Kind" minOccurs="0"/>
</x:sequence></x:complexType></x:element>
<x:element name="Told"><x:complexType><x:sequence>
  <x:element name="hours" type="x:int"/>
</x:sequence></x:complexType></x:element>
<x:element name="Sorry"><x:complexType><x:sequence>
  <x:element name="why" type="x:string"/>
</x:sequence></x:complexType></x:element>"""
KINDS = b"""<x:schema xmlns:x="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:t">
<x:simpleType name="Kind"><x:restriction base="x:string">
<x:enumeration value="sun"/><x:enumeration value="rain"/></x:restriction></x:simpleType>
</x:schema>"""
FAULTS = '<fault name="Sorry" message="t:Sorry"/>'


def document(**more: str) -> Document:
    files = {"weather.wsdl": wsdl(SCHEMA, faults=FAULTS, **more), "types/kinds.xsd": KINDS}
    return Document(Kind.WSDL, "weather.wsdl", files)


def interface(**more: str) -> SoapInterface:
    return SoapInterface.read(document(**more))


@dataclass
class Library:
    """Documents by name, which is their digest here."""

    documents: dict[bytes, Document] = field(default_factory=dict)

    async def load(self, digest: bytes) -> Document:
        return self.documents[digest]


@dataclass
class Clients:
    """Who has which secret. `asked`: from where."""

    known: dict[tuple[str, str], Known] = field(
        default_factory=lambda: {("client-1", "s3cret"): Known(OPERATOR)}
    )
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def identify(self, client_id: str, secret: str, address: str) -> Identity:
        self.asked.append((client_id, address))
        if (client_id, secret) not in self.known:
            raise LoginRefused("there is no such client", rule="another secret")
        return self.known[client_id, secret]


@dataclass(frozen=True)
class HubLogin:
    username: str
    password: str
    kind: str


@dataclass
class HubLogins:
    login: HubLogin | None = None

    def open(self, service: Service) -> HubLogin | None:
        return self.login


@dataclass
class BridgedHouse(House):
    """A house with a bridge, and one partner's service `weather` behind it."""

    library: Library = field(default_factory=Library)
    clients: Clients = field(default_factory=Clients)
    logins: HubLogins = field(default_factory=HubLogins)
    faces: dict[tuple[str, int], Face] = field(default_factory=dict)
    upstream: Upstream = field(default_factory=lambda: Upstream(allow_loopback=True))

    def __post_init__(self) -> None:
        desk = Desk(
            sides=Interfaces(self.library, read_side),
            faces=self.faces,
            credentials=self.clients,
            logins=self.logins,
            clock=lambda: NOON,
            url="https://hub.example",
        )
        self.bridge = Bridge(desk)

    def weather(self, endpoint: str, *, quota: Quota | None = None, **changes: object) -> None:
        """The service is in the catalogue, and the operator has a contract on it."""
        described: dict[str, object] = {
            "speaks": Speaks.SOAP,
            "interface": b"weather",
            "endpoint": endpoint,
            "operations": OperationPaths(),
            **changes,
        }
        self.library.documents.setdefault(b"weather", document())
        self.book.add(Service("weather", 1, PROVIDER, **described))  # type: ignore[arg-type]
        self.book.answers[OPERATOR, "weather"] = Grant("C-1", quota)


def saying(
    content: bytes, status: int = 200, content_type: str = "text/xml; charset=utf-8"
) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=content, status=status, headers={"Content-Type": content_type})

    return answer


__all__ = ["BridgedHouse", "Partner"]
