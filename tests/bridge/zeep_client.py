"""zeep as a second opinion: what it writes by a WSDL, and what it reads of an answer."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from lxml import etree
from requests import Response
from zeep import Client, Settings
from zeep.helpers import serialize_object
from zeep.transports import Transport


class _Given(Transport):
    """Loads what it was given, and nothing else."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._files = files

    def load(self, url: str) -> bytes:
        return self._files[url.rpartition("/")[2]]


class ZeepClient:
    """A client made from a WSDL, which asks nobody. `files`: what the WSDL imports."""

    def __init__(self, wsdl: bytes, files: Mapping[str, bytes] | None = None) -> None:
        named = {name.rpartition("/")[2]: content for name, content in (files or {}).items()}
        given, strict = _Given(named), Settings(strict=True)
        # It says of itself that it is typed, and is not.
        self._client: Any = Client(  # type: ignore[no-untyped-call]
            io.BytesIO(wsdl), transport=given, settings=strict
        )

    def close(self) -> None:
        self._client.transport.session.close()

    def asks(self, service: str, port: str, operation: str, /, **payload: Any) -> bytes:
        # Not the client's own create_message: an element named `service` is none of its arguments.
        binding = self._client.bind(service, port)._binding
        message, _ = binding._create(operation, (), payload, client=self._client)
        return bytes(etree.tostring(message))

    def reads(self, service: str, port: str, operation: str, content: bytes) -> Any:
        """The answer in Python's own values. Raises zeep's Fault."""
        answer = Response()
        answer.status_code = 200
        answer._content = content
        answer.headers["Content-Type"] = (
            "application/soap+xml" if port.endswith("12") else "text/xml"
        )
        binding = self._client.bind(service, port)._binding
        read = binding.process_reply(self._client, binding.get(operation), answer)
        return serialize_object(read, dict)  # type: ignore[no-untyped-call]
