"""The two sides of an interface, ready for use, and the desk at which they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.document import BadDocument, Document, Kind
from bridge.openapi import RestInterface
from bridge.soap_face import SoapFace
from bridge.username_token import Window
from bridge.wsdl import SoapInterface
from gateway.bridging.interfaces import Interfaces
from gateway.bridging.model import InterfaceUnreadable
from gateway.bridging.ports import Credentials, Face, Logins
from gateway.calls.model import Service
from kit.clock import Clock
from roaming.refusal import Refusal


@dataclass(frozen=True, slots=True)
class SoapSide:
    """A provider that speaks SOAP. `told`: of its files, those that were asked for already."""

    interface: SoapInterface
    document: Document
    told: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RestSide:
    """A provider that speaks REST, and its face for callers who do not; or why it has none."""

    face: Face | Refusal
    document: Document
    told: dict[str, bytes] = field(default_factory=dict)


Side = SoapSide | RestSide


def read_side(service: Service, document: Document) -> Side:
    """The side that a provider speaks on. Slow. Raises BadDocument."""
    if document.kind is Kind.WSDL:
        return SoapSide(SoapInterface.read(document), document)
    rest = RestInterface.read(document)
    namespace = f"urn:gridroam:{service.name}:{service.major}"
    try:
        return RestSide(SoapFace.of(rest, target_namespace=namespace), document)
    except BadDocument as bad:
        # It is called in REST all the same, and described to those who do.
        return RestSide(bad, document)


def face_of(side: RestSide) -> Face:
    """Raises InterfaceUnreadable: the service is for callers of REST alone."""
    if isinstance(side.face, Refusal):
        raise InterfaceUnreadable(
            f"the service cannot be called in SOAP: {side.face.detail}",
            field=side.face.field,
            value=side.face.value,
            rule=side.face.rule,
        )
    return side.face


@dataclass(frozen=True, slots=True)
class Desk:
    """What the bridge works with. `faces`: those of the hub's own services, by name and version;
    `url`: the hub's, as the world knows it. `window`: when a caller's login was made.
    """

    sides: Interfaces[Side]
    faces: Mapping[tuple[str, int], Face]
    credentials: Credentials
    logins: Logins
    clock: Clock
    url: str
    window: Window = field(default_factory=Window)
