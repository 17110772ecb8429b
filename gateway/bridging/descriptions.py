"""How a service is called, in the words of its caller: its WSDL, or its OpenAPI document.

A partner needs no contract to read them, but a token, or its name and secret by HTTP Basic, since
tools that fetch a WSDL know nothing else: what a provider offers is told to partners and not to the
world. The hub's own interfaces are no secret. The addresses in all of them are those of the door,
and of what a document imports only what was uploaded with it is named.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import posixpath
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

from lxml import etree

from bridge.document import Document
from bridge.parsing import parse
from bridge.payload import write_json
from bridge.wsdl_files import XmlFiles
from gateway.bridging.exchange import write
from gateway.bridging.model import JSON, LoginRefused, NoSuchDocument
from gateway.bridging.sides import Desk, Side, SoapSide, face_of
from gateway.calls.flows import (
    Door,
    admit,
    identify,
    leave,
    pass_through,
    stand_for,
    tell,
)
from gateway.calls.model import Call, Service
from gateway.calls.ports import Answer, Body, Words
from gateway.calls.refusals import CallerUnknown, ServiceUnknown
from roaming.refusal import Refusal

XML = "text/xml; charset=utf-8"


class OpenApiEntrance:
    """`/services/{service}/openapi.json`, where the service has an interface document."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def words(self, call: Call, door: Door) -> Words | None:
        return None

    async def enter(self, call: Call, body: Body, answer: Answer, door: Door) -> None:
        service = door.catalogue.find_service(call.service_name, call.major)
        if call.method != "GET" or service is None or service.interface is None:
            await pass_through(call, body, answer, door)
            return
        await _told(call, answer, door, self._desk, self._content)

    async def _content(self, call: Call, service: Service) -> tuple[str, bytes]:
        side = await self._desk.sides.of(service)
        name = _asked_for(call, "file")
        url = self._desk.url + call.root
        return JSON, await _once(side, f"openapi:{name}", lambda: openapi(side, service, url, name))


async def tell_wsdl(call: Call, answer: Answer, door: Door, desk: Desk) -> None:
    """`GET /services/{service}/soap?wsdl`, and what it imports at `?wsdl={file}`."""

    async def content(call: Call, service: Service) -> tuple[str, bytes]:
        name = _asked_for(call, "wsdl")
        if name is None:
            raise NoSuchDocument(
                "an envelope is posted here",
                field="method",
                value=call.method,
                rule=f"POST with an envelope; GET {call.root}/soap?wsdl tells which",
            )
        address = f"{desk.url}{call.root}/soap"
        face = desk.faces.get((service.name, service.major))
        if face is not None:
            return XML, face.wsdl(address)
        side = await desk.sides.of(service)
        return XML, await _once(side, f"wsdl:{name}", lambda: wsdl(side, address, name))

    await _told(call, answer, door, desk, content)


_Content = Callable[[Call, Service], Any]


async def _told(call: Call, answer: Answer, door: Door, desk: Desk, content: _Content) -> None:
    try:
        try:
            if (call.service_name, call.major) not in desk.faces:
                await _let_in(call, door, desk)
            service = door.catalogue.find_service(call.service_name, call.major)
            if service is None or not _is_for(call, service):
                raise ServiceUnknown(
                    f"there is no service {call.service_name} version {call.major}",
                    field="service",
                    value=call.service_name,
                    rule="a published service of the catalogue: GET /marketplace/services",
                )
            call.service = service
            content_type, told = await content(call, service)
        except Refusal as refusal:
            tell(call, refusal, door)
            await answer.refuse(refusal)
            return
        await write(answer, 200, content_type, told)
    finally:
        leave(call)


def _is_for(call: Call, service: Service) -> bool:
    """Who sees a service reads how it is called; one in test is seen by those whom it names."""
    tester = service.in_test and call.party in service.testers
    return service.published or service.provider == call.party or tester


async def _let_in(call: Call, door: Door, desk: Desk) -> None:
    """A token, or name and secret. Raises CallerUnknown, CallerTooBusy, TooManyAttempts."""
    scheme, _, encoded = call.headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"basic":
        identify(call, door)
    else:
        try:
            client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
            identity = await desk.credentials.identify(
                unquote(client_id), unquote(secret), call.address
            )
        except (binascii.Error, ValueError, LoginRefused):
            raise CallerUnknown(
                "the name and secret are none of ours",
                field="Authorization",
                rule="Bearer <token>, or Basic with client id and secret",
            ) from None
        stand_for(call, identity)
    admit(call, door)


def _asked_for(call: Call, name: str) -> str | None:
    """The value of a query parameter, "" where it has none; None: it is not there."""
    for one in call.query.split("&"):
        key, _, value = one.partition("=")
        if key.lower() == name:
            return unquote(value)
    return None


async def _once(side: Side, key: str, make: Callable[[], bytes]) -> bytes:
    found = side.told.get(key)
    if found is None:
        found = side.told[key] = await asyncio.to_thread(make)
    return found


def wsdl(side: Side, address: str, name: str) -> bytes:
    """A file of the interface in SOAP; the one to begin with where none is named.

    Raises NoSuchDocument.
    """
    if not isinstance(side, SoapSide):
        if name:
            raise _no_file(name)
        return face_of(side).wsdl(address)
    document = side.document
    name = name or document.root
    if name not in document.files:
        raise _no_file(name)
    files = XmlFiles(document)
    root = files.root(name)
    for one in root.iter(etree.Element):
        if etree.QName(one).localname == "address" and one.get("location") is not None:
            # Of SOAP, or of whatever else the provider is called by.
            one.set("location", address)
        elif one.tag in _ADDRESSES:
            one.text = address
        elif etree.QName(one).localname in _IMPORTING:
            for attribute in ("location", "schemaLocation"):
                imported = one.get(attribute)
                if imported is not None:
                    found = files.named(name, imported)
                    one.set(attribute, f"{address}?wsdl={quote(found, safe='/')}")
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))


# What WS-Addressing tells of a port beside its address.
_ADDRESSES = frozenset(
    f"{{{space}}}Address"
    for space in (
        "http://www.w3.org/2005/08/addressing",
        "http://schemas.xmlsoap.org/ws/2004/08/addressing",
    )
)
_IMPORTING = frozenset(("import", "include", "redefine"))


def openapi(side: Side, service: Service, url: str, name: str | None) -> bytes:
    """A file of the interface in REST; the one to begin with where none is named.

    Raises NoSuchDocument.
    """
    if isinstance(side, SoapSide):
        if name:
            raise _no_file(name)
        return write_json(
            side.interface.openapi(title=service.name, version=str(service.major), server_url=url)
        )
    document = side.document
    name = name or document.root
    if name not in document.files:
        raise _no_file(name)
    told = _pointing_here(parse(name, document.files[name]), name, document, f"{url}/openapi.json")
    if name == document.root and isinstance(told, dict):
        told["servers"] = [{"url": url}]
    return write_json(told)


def _pointing_here(told: Any, name: str, document: Document, address: str) -> Any:
    """References to other files lead to where the door tells those; servers are nobody's affair."""
    if isinstance(told, list):
        return [_pointing_here(one, name, document, address) for one in told]
    if not isinstance(told, dict):
        return told
    made = {
        key: _pointing_here(one, name, document, address)
        for key, one in told.items()
        if not _names_servers(key, one)
    }
    reference = made.get("$ref")
    if isinstance(reference, str) and not reference.startswith("#"):
        path, mark, pointer = reference.partition("#")
        found = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(path)))
        if found in document.files:
            made["$ref"] = f"{address}?file={quote(found, safe='/')}{mark}{pointer}"
    return made


def _names_servers(key: object, told: object) -> bool:
    """Whether it says where something is answered: of the document, a path, an operation, a link.

    A schema may describe a member of that name: that is an object of other members.
    """
    servers = told if isinstance(told, list) else [told]
    return key in ("server", "servers") and all(
        isinstance(one, dict) and isinstance(one.get("url"), str) for one in servers
    )


def _no_file(name: str) -> NoSuchDocument:
    return NoSuchDocument(
        "the interface has no such file",
        field="file",
        value=name[:200],
        rule="a file that the interface document imports",
    )
