"""Whom the hub believes when it is told who calls."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from gridroam.proxies import BadNetwork, behind, networks_of
from kit.client_certificate import CERTIFICATE, from_pem, of_scope
from kit.http import Answer, call_asgi
from tests.certificates import Made, caller

ONE, PROXYS_OWN = caller("One", None), caller("A proxy", None)
TRUSTED = ["10.0.0.0/24", "fd00::/8"]


class Inside:
    def __init__(self) -> None:
        self.scope: Scope | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def header(made: Made) -> str:
    return f":{base64.b64encode(made.der).decode()}:"


async def ask(inside: Inside, client: Any, headers: dict[str, str], **scope: Any) -> Answer:
    app = behind(inside, TRUSTED)
    return await call_asgi(
        app, "GET", "/", headers=headers, extra_scope={"client": client, **scope}
    )


def thumbprint(inside: Inside) -> str | None:
    assert inside.scope is not None
    found = of_scope(inside.scope)
    return None if found is None else found.thumbprint


@pytest.mark.parametrize("host", ["10.0.0.7", "fd00::1"])
async def test_a_named_proxy_tells_the_certificate_and_the_address_of_its_caller(host: str) -> None:
    inside = Inside()
    told = {
        "Client-Cert": header(ONE),
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Proto": "https",
    }
    assert (await ask(inside, (host, 1), told)).status == 200
    assert thumbprint(inside) == from_pem(ONE.pem).thumbprint
    assert inside.scope is not None
    assert (inside.scope["client"][0], inside.scope["scheme"]) == ("192.0.2.1", "https")


@pytest.mark.parametrize("client", [("10.0.1.7", 1), ("192.0.2.1", 1), ("127.0.0.1", 1), None])
async def test_nobody_else_is_believed(client: Any) -> None:
    inside = Inside()
    told = {"Client-Cert": header(ONE), "X-Forwarded-For": "10.0.0.7"}
    assert (await ask(inside, client, told)).status == 200
    assert thumbprint(inside) is None
    assert inside.scope is not None
    assert inside.scope["client"] == client


async def test_the_proxys_own_certificate_is_not_its_callers() -> None:
    inside = Inside()
    own = {CERTIFICATE: from_pem(PROXYS_OWN.pem)}
    await ask(inside, ("10.0.0.7", 1), {}, **own)
    assert thumbprint(inside) is None
    await ask(inside, ("10.0.0.7", 1), {"Client-Cert": header(ONE)}, **own)
    assert thumbprint(inside) == from_pem(ONE.pem).thumbprint
    # Elsewhere the connection's own counts.
    await ask(inside, ("192.0.2.1", 1), {"Client-Cert": header(ONE)}, **own)
    assert thumbprint(inside) == from_pem(PROXYS_OWN.pem).thumbprint


@pytest.mark.parametrize(
    "value",
    ["", "::", ":AAAA:", "AAAA", header(ONE)[:-1], f"{header(ONE)};a=1", ":A:", ONE.pem[:27]],
)
async def test_a_header_that_holds_no_certificate_is_refused(value: str) -> None:
    inside = Inside()
    answer = await ask(inside, ("10.0.0.7", 1), {"Client-Cert": value})
    assert answer.status == 422
    assert b"Client-Cert" in answer.body
    assert inside.scope is None


async def test_two_certificates_are_refused() -> None:
    inside = Inside()
    both = [(b"client-cert", header(one).encode()) for one in (ONE, PROXYS_OWN)]
    scope = {"client": ("10.0.0.7", 1), "headers": both}
    answer = await call_asgi(behind(inside, TRUSTED), "GET", "/", extra_scope=scope)
    assert answer.status == 422
    assert inside.scope is None


def test_proxies_are_named_by_address_or_range() -> None:
    assert networks_of(["10.0.0.7", "10.1.0.0/16", "::1"]) == (
        "10.0.0.7/32",
        "10.1.0.0/16",
        "::1/128",
    )
    for wrong in ("proxy.example", "10.0.0.7/24", "*", ""):
        with pytest.raises(BadNetwork):
            networks_of([wrong])
