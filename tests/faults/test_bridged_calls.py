"""Providers' bad days over the bridge: each caller is told in its own words, and no call to another
service notices.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from tests.faults.neighbours import (
    WAYS,
    Behaviour,
    Street,
    Way,
    answered,
    hanging,
    outcome,
    saying,
    street,
)
from tests.hub import answering, server

MEGABYTE = 1024 * 1024
TIMEOUT_S = 0.6
HTML = b"<html>Welcome to nginx!</html>"


def head(way: Way, *more: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", "Connection: close", f"Content-Type: {way.good[1]}", *more]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


def dribbling(way: Way) -> Behaviour:
    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head(way, "Content-Length: 60000"))
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.1)

    return behave


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def days(way: Way, elsewhere: str) -> Mapping[str, Behaviour | None]:
    good, type_of_content = way.good
    broken = good.replace(b"7", b"many").replace(b"22000", b'"many"')
    bomb = b'<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>' + good.split(b"?>")[-1]
    if type_of_content == "application/json":
        bomb = b"[" * 100_000
    moved = f"Location: {elsewhere}/"
    return {
        "refuses": None,
        "hangs": hanging,
        "dribbles": dribbling(way),
        "closes without a word": saying(),
        "closes in mid-body": saying(head(way, f"Content-Length: {len(good) + 9}") + good),
        "announces less than comes": saying(head(way, f"Content-Length: {len(good) - 5}") + good),
        "two lengths": saying(head(way, "Content-Length: 3", "Content-Length: 4") + good),
        "500": saying(answered(b"oops", "text/plain", "500 Oh")),
        "500 in its own type": saying(answered(good, type_of_content, "500 Oh")),
        "HTML": saying(answered(HTML, "text/html")),
        "HTML for what was asked": saying(answered(HTML, type_of_content)),
        "a redirect": saying(answered(b"", type_of_content, "302 Found", moved)),
        "half a document": saying(answered(good[: len(good) // 2], type_of_content)),
        "not by its document": saying(answered(broken, type_of_content)),
        "a bomb": saying(answered(bomb, type_of_content)),
    }


async def come_of(street: Street, way: Way, behaviour: Behaviour | None) -> str:
    """A call on such a day. None: nobody is there."""
    street.moody.behaviour = behaviour
    if behaviour is None:
        await street.moody.close()
    try:
        came = outcome(way, await street.call(way))
    except httpx.RemoteProtocolError:
        came = "cut"
    if behaviour is None:
        await street.moody.open()
    return came


SAID_BY_THE_HUB = {
    "refuses": "provider-unreachable",
    "hangs": "provider-silent",
    "dribbles": "provider-silent",
}
"""By day, of those that are no `provider-broken`."""
SAID_BY_THE_PROVIDER = {
    "JSON to SOAP": {},
    # What is no 2xx in REST is a fault in SOAP, with what the provider said of it.
    "SOAP 1.2 to REST": dict.fromkeys(
        ("500", "500 in its own type", "a redirect"), "Server in its own words"
    ),
    # Between two who speak SOAP the hub carries what it does not read.
    "SOAP 1.1 to SOAP": {
        "500 in its own type": "500 as it came",
        "HTML for what was asked": "200 as it came",
        "a redirect": "302 as it came",
        "half a document": "200 as it came",
        "not by its document": "200 as it came",
        "a bomb": "200 as it came",
    },
}
"""A provider that has answered was called: that counts, and all else costs nothing."""


def expected(name: str, day: str) -> tuple[str, int]:
    own = SAID_BY_THE_PROVIDER[name].get(day)
    if own is not None:
        return own, 1
    problem = SAID_BY_THE_HUB.get(day, "provider-broken")
    if WAYS[name].version:
        return f"Server {problem}", 0
    return f"{504 if problem == 'provider-silent' else 502} {problem}", 0


@pytest.mark.parametrize("name", SAID_BY_THE_PROVIDER)
async def test_a_providers_bad_day_is_its_own_in_whatever_words(
    name: str, database_url: str, tmp_path: Path
) -> None:
    way = WAYS[name]
    async with street(database_url, tmp_path) as here, server(answering({})) as elsewhere:
        await here.opens(way.service, timeout_s=TIMEOUT_S)
        bad = days(way, elsewhere.url)
        async with here.undisturbed():
            came: dict[str, tuple[str, int]] = {}
            before = await here.cost(way)
            for day, behaviour in bad.items():
                told = await come_of(here, way, behaviour)
                cost = await here.cost(way, least=before + expected(name, day)[1])
                came[day], before = (told, cost - before), cost
        assert came == {day: expected(name, day) for day in bad}
        # Nobody is sent to where a provider points.
        assert elsewhere.came == []


@pytest.mark.parametrize("name", SAID_BY_THE_PROVIDER)
async def test_fifty_megabytes_are_never_held(name: str, database_url: str, tmp_path: Path) -> None:
    """What is put into other words is taken whole, and so only up to a bound."""
    way, much = WAYS[name], 50
    async with street(database_url, tmp_path) as here:
        await here.opens(way.service, timeout_s=10)
        assert await here.cost(way) == 0
        before = most = resident_bytes()
        poured = 0

        async def pours(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal most, poured
            writer.write(head(way, f"Content-Length: {much * MEGABYTE}"))
            for _megabyte in range(much):
                writer.write(b" " * MEGABYTE)
                await writer.drain()
                poured += 1
                most = max(most, resident_bytes())

        here.moody.behaviour = pours
        headers = {**way.headers, "Authorization": f"Bearer {here.caller.token}"}
        async with (
            here.undisturbed(),
            here.http.stream("POST", way.path, content=way.content, headers=headers) as answer,
        ):
            pieces = [len(piece) async for piece in answer.aiter_raw()]
        if name == "SOAP 1.1 to SOAP":
            assert (answer.status_code, sum(pieces), poured) == (200, much * MEGABYTE, much)
            assert await here.cost(way, least=1) == 1
        else:
            assert answer.status_code == (500 if way.version else 502)
            assert sum(pieces) < 1000
            # It was let go long before its end, and costs nothing.
            assert poured < much / 2
            assert await here.cost(way) == 0
        assert most - before < 24 * MEGABYTE
