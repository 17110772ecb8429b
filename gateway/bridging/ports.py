"""What the bridge needs from elsewhere: who somebody is, documents, logins, and faces in SOAP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from bridge.document import Document
from gateway.calls.model import Service
from gateway.calls.ports import Identity


class Credentials(Protocol):
    async def identify(self, client_id: str, secret: str, address: str) -> Identity:
        """Whom a client's own name and secret stand for; `address` is where they came from.

        Raises LoginRefused, and TooManyAttempts while too many were wrong.
        """
        ...


class Documents(Protocol):
    async def load(self, digest: bytes) -> Document:
        """An interface document, as it was uploaded."""
        ...


class Login(Protocol):
    """What a provider's own server asks the hub for. `kind`: text or digest."""

    @property
    def username(self) -> str: ...
    @property
    def password(self) -> str: ...
    @property
    def kind(self) -> str: ...


class Logins(Protocol):
    def open(self, service: Service) -> Login | None:
        """The login that a service's provider asks for, if any. Must not wait."""
        ...


class RestRequest(Protocol):
    """A question in REST. `path` is percent-encoded, as `query` is; `headers` are further ones."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> str: ...
    @property
    def content_type(self) -> str: ...
    @property
    def content(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


class SoapAnswer(Protocol):
    @property
    def fault(self) -> bool | None:
        """None: it is no fault; else whether the caller is to blame for it."""
        ...

    @property
    def content(self) -> bytes: ...


class Face(Protocol):
    """A service that is called in REST, as SOAP callers see it. Nothing of it waits."""

    def operation(self, tag: str | None, action: str | None) -> tuple[str, str | None]:
        """Which operation an envelope with this in its body asks for, by its name and, where it has
        one, as `METHOD /path`. Raises UnknownOperation.
        """
        ...

    def request(self, content: bytes, action: str | None) -> RestRequest:
        """What the service is asked. Raises BadEnvelope, BadPayload, UnknownOperation."""
        ...

    def answer(
        self, operation: str, version: str, status: int, content_type: str, content: bytes
    ) -> SoapAnswer:
        """What the service answered, in the caller's SOAP version. Raises BadAnswer."""
        ...

    def wsdl(self, address: str) -> bytes:
        """The interface, to be called at this address."""
        ...
