"""What a proxy in front of the hub says of the callers whose TLS it terminates.

Believed of the addresses that the hub's operator names, and of nobody else: the certificate that a
caller showed (`Client-Cert`, RFC 9440), and where it called from (`X-Forwarded-For`, `-Proto`).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from kit.client_certificate import CERTIFICATE, BadCertificate, ClientCertificate, from_der
from kit.problem import refusal_response
from roaming.refusal import Malformed

Network = IPv4Network | IPv6Network
# A byte sequence of RFC 8941; RFC 9440 gives it no parameters.
_BYTES = re.compile(rb":([A-Za-z0-9+/]+={0,2}):")
_HEADER = b"client-cert"


class BadNetwork(Malformed):
    """No address, and no range of them."""


def networks_of(named: Sequence[str]) -> tuple[str, ...]:
    """The ranges that `--trusted-proxy` names, tidied. Raises BadNetwork."""
    try:
        return tuple(str(ip_network(one)) for one in named)
    except ValueError as error:
        raise BadNetwork(
            str(error), field="--trusted-proxy", rule="an address or a range, as 10.0.0.0/24"
        ) from None


def behind(app: ASGIApp, trusted: Sequence[str]) -> ASGIApp:
    """`app`, told by these proxies who calls."""
    networks = [ip_network(one) for one in trusted]
    forwarded = cast(ASGIApp, ProxyHeadersMiddleware(cast(Any, app), list(trusted)))

    @lru_cache(maxsize=10_000)
    def is_trusted(host: str) -> bool:
        return _within(host, networks)

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if client is not None and is_trusted(client[0]):
            # That of the proxy's own connection is not its caller's.
            scope.pop(CERTIFICATE, None)
            try:
                shown = _shown(scope)
            except BadCertificate as refusal:
                await _refuse(refusal, scope, receive, send)
                return
            if shown is not None:
                scope[CERTIFICATE] = shown
        await forwarded(scope, receive, send)

    return told


def _within(host: str, networks: Sequence[Network]) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in networks)


def _shown(scope: Scope) -> ClientCertificate | None:
    values = [value for name, value in scope["headers"] if name == _HEADER]
    if not values:
        return None
    if len(values) > 1:
        raise BadCertificate("the header came twice", field="Client-Cert", rule="RFC 9440")
    return _read(values[0])


@lru_cache(maxsize=1_000)
def _read(value: bytes) -> ClientCertificate:
    found = _BYTES.fullmatch(value.strip())
    try:
        return from_der(base64.b64decode(found[1], validate=True) if found else b"")
    except (binascii.Error, BadCertificate):
        raise BadCertificate(
            "the header holds no certificate",
            field="Client-Cert",
            rule="a certificate in DER as a byte sequence, RFC 9440, section 2.2",
        ) from None


async def _refuse(refusal: BadCertificate, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await refusal_response(refusal)(scope, receive, send)
