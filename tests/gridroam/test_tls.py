"""Connections over TLS: who may connect, and what of its certificate the application is told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from gridroam import tls
from gridroam.settings import Tls
from gridroam.tls import BadTls, CertifiedProtocol, context, tls_of
from kit.client_certificate import from_pem, of_scope
from tests import certificates
from tests.certificates import Made, authority, caller, trusting


async def shown(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the thumbprint of the caller's certificate."""
    found = of_scope(scope)
    told = b"none" if found is None else found.thumbprint.encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": told})


@asynccontextmanager
async def listening(hubs: Tls | None) -> AsyncIterator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            shown,
            http=CertifiedProtocol,
            ssl_context_factory=None if hubs is None else lambda *_: context(hubs),
            log_config=None,
            lifespan="off",
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.01)
        try:
            yield bound.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


ROOT, PARTNERS = authority("Root"), authority("Partners")


def files(folder: Path, *, partners: str = PARTNERS.pem) -> Tls:
    client_ca = folder / "partners.pem"
    client_ca.write_text(partners)
    return Tls(*certificates.server(ROOT).files(folder), client_ca)


async def ask(port: int, folder: Path, shows: Made | None, times: int = 1) -> list[str]:
    async with httpx.AsyncClient(verify=trusting(ROOT, shows, folder)) as client:
        url = f"https://127.0.0.1:{port}/"
        return [(await client.get(url)).text for _ in range(times)]


async def test_the_application_is_told_the_certificate_of_each_connection(tmp_path: Path) -> None:
    one, other = caller("One", PARTNERS), caller("Other", PARTNERS)
    async with listening(files(tmp_path)) as port:
        for made in (one, other):
            assert await ask(port, tmp_path, made, 2) == [from_pem(made.pem).thumbprint] * 2
        # A certificate is the caller's own business.
        assert await ask(port, tmp_path, None) == ["none"]


async def test_a_certificate_that_does_not_hold_breaks_the_connection_off(tmp_path: Path) -> None:
    expired = caller("Expired", PARTNERS, days_ago=40, good_for_days=30)
    too_soon = caller("Too soon", PARTNERS, days_ago=-2)
    stranger = caller("Stranger", authority("Partners"))
    own = caller("Own", None)
    async with listening(files(tmp_path)) as port:
        for made in (expired, too_soon, stranger, own):
            with pytest.raises(httpx.TransportError):
                await ask(port, tmp_path, made)
        assert await ask(port, tmp_path, None) == ["none"]


async def test_one_that_signs_its_own_is_taken_where_it_is_named(tmp_path: Path) -> None:
    own, other = caller("Own", None), caller("Own", None)
    async with listening(files(tmp_path, partners=PARTNERS.pem + own.pem)) as port:
        assert await ask(port, tmp_path, own) == [from_pem(own.pem).thumbprint]
        with pytest.raises(httpx.TransportError):
            await ask(port, tmp_path, other)


async def test_without_authorities_no_certificate_is_asked_for(tmp_path: Path) -> None:
    made = files(tmp_path)
    async with listening(Tls(made.certificate, made.key)) as port:
        assert await ask(port, tmp_path, caller("One", PARTNERS)) == ["none"]


async def test_a_header_is_no_certificate(tmp_path: Path) -> None:
    async with listening(None) as port, httpx.AsyncClient() as client:
        told = await client.get(
            f"http://127.0.0.1:{port}/",
            headers={"Client-Cert": ":AAAA:", "gridroam.certificate": "x"},
        )
        assert told.text == "none"


def test_files_that_do_not_serve_are_named(tmp_path: Path) -> None:
    good = files(tmp_path)
    nothing, empty = tmp_path / "nothing.pem", tmp_path / "empty.pem"
    empty.write_text("")
    other_key = caller("Other", None).files(tmp_path)[1]
    for wrong, field in (
        (Tls(nothing, good.key), "--tls-certificate"),
        (Tls(empty, good.key), "--tls-certificate"),
        (Tls(good.certificate, other_key), "--tls-certificate"),
        (Tls(good.certificate, good.key, nothing), "--client-ca"),
        (Tls(good.certificate, good.key, empty), "--client-ca"),
        (Tls(tmp_path, good.key), "--tls-certificate"),
    ):
        with pytest.raises(BadTls) as refused:
            context(wrong)
        assert refused.value.field == field
        assert refused.value.rule


def test_certificate_and_key_are_given_together(tmp_path: Path) -> None:
    assert tls_of(None, None, None) is None
    assert tls_of(tmp_path, tmp_path, None) == Tls(tmp_path, tmp_path)
    for given in ((tmp_path, None, None), (None, tmp_path, None), (None, None, tmp_path)):
        with pytest.raises(tls.BadTls):
            tls_of(*given)
