"""A clearing house that speaks OCHP 1.4, as a partner runs one: made with zeep from the WSDL, so
that nothing of the bridge reads what the bridge has written.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from lxml import etree
from zeep import Client
from zeep.helpers import serialize_object

from tests.bridge.wsdls import OCHP
from tests.hub import Server

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
Says = Callable[[dict[str, Any]], dict[str, Any]]


class Refuses(Exception):
    """The service answers with a fault: of the caller's, or its own."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass
class OchpServer:
    """`says`: what is answered to each operation, by its name. `came`: what was asked, in order."""

    says: dict[str, Says]
    server: Server = field(default_factory=Server)
    came: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server.behaviour = self.answer
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            client: Any = Client(str(OCHP / "ochp.wsdl"))  # type: ignore[no-untyped-call]
        client.transport.session.close()
        self._schema = client.wsdl.types
        self._operations = {
            operation.input.body.qname.text: operation
            for binding in client.wsdl.bindings.values()
            for operation in binding._operations.values()
        }

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """How a server of `tests.hub` behaves; it has read the request already."""
        try:
            content, status = self._said(etree.fromstring(self.server.came[-1].content)), 200
        except Refuses as refusal:
            content, status = _fault(refusal), 500
        return web.Response(body=content, status=status, content_type="text/xml", charset="utf-8")

    def _said(self, envelope: etree._Element) -> bytes:
        body = envelope.find(f"{{{SOAP}}}Body")
        assert body is not None
        operation = self._operations[str(body[0].tag)]
        # Not `deserialize`, which leaves a wrapper out that holds one member alone.
        asked = operation.input.body.parse(body[0], self._schema)
        members: dict[str, Any] = serialize_object(asked, dict)  # type: ignore[no-untyped-call]
        self.came.append((operation.name, members))
        answer = operation.output.serialize(**self.says[operation.name](members))
        return bytes(etree.tostring(answer.content))


def _fault(refusal: Refuses) -> bytes:
    return (
        f'<s:Envelope xmlns:s="{SOAP}"><s:Body><s:Fault><faultcode>s:{refusal.code}</faultcode>'
        f"<faultstring>{refusal}</faultstring></s:Fault></s:Body></s:Envelope>"
    ).encode()
