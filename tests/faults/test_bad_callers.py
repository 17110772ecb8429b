"""Callers' bad days, by JSON and by SOAP: what is wrong is told in the caller's own words, never
reaches a provider who could not have read it, costs nothing, and no call of another notices.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.faults.neighbours import (
    WAYS,
    Street,
    Way,
    hanging,
    outcome,
    street,
)
from tests.hub import answering, server, until

MEGABYTE = 1024 * 1024
AT_ONCE = 20
JSON_QUESTIONS: Mapping[str, tuple[bytes, str]] = {
    "no JSON": (b'{"place":', "application/json"),
    "half a body": (b'{"place": "Par', "application/json"),
    "a number that is none": (b'{"place": NaN}', "application/json"),
    "too deep": (b"[" * 100_000 + b"]" * 100_000, "application/json"),
    "deep in a member": (b'{"place":' + b"[" * 5_000 + b"]" * 5_000 + b"}", "application/json"),
    "Latin-1": ('{"place": "Île"}'.encode("latin-1"), "application/json"),
    "UTF-16": ('{"place": "Paris"}'.encode("utf-16"), "application/json; charset=utf-16"),
    "half a character": (b'{"place": "\\ud800"}', "application/json"),
    "what XML cannot say": (b'{"place": "\\u0000"}', "application/json"),
    "another type": (b"place=Paris", "application/x-www-form-urlencoded"),
    "a form": (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x"),
    "too long": (b'{"place": "' + b"x" * 11 * MEGABYTE + b'"}', "application/json"),
}


def soap_questions(way: Way, spy: str) -> Mapping[str, bytes]:
    text = way.content.decode().partition("?>")[2].lstrip()
    bomb = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {new} "{f"&{old};" * 10}">'
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    begin = text.index("Body>") + len("Body>")

    def inside(more: str) -> str:
        return text[:begin] + more + text[begin:]

    return {
        "no XML": b"hello",
        "nothing": b"",
        "half an envelope": way.content[: len(way.content) // 2],
        "a bomb": (bomb + "]>" + inside("&i;")).encode(),
        "a bomb in UTF-16": (bomb + "]>" + inside("&i;")).encode("utf-16"),
        "an external entity": (
            f'<!DOCTYPE a [<!ENTITY x SYSTEM "{spy}/x">]>' + inside("&x;")
        ).encode(),
        "a file's entity": (
            '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + inside("&x;")
        ).encode(),
        "an external document type": (f'<!DOCTYPE a SYSTEM "{spy}/a.dtd">' + text).encode(),
        "too deep": inside("<a>" * 10_000 + "</a>" * 10_000).encode(),
        "another encoding": ('<?xml version="1.0" encoding="ISO-8859-1"?>' + text).encode(),
        "an encoding that hides": ('<?xml version="1.0" encoding="UTF-7"?>' + text).encode(),
        "no such encoding": ('<?xml version="1.0" encoding="klingon"?>' + text).encode(),
        "bytes that are no UTF-8": inside("\xff").encode("latin-1"),
        "too long": (text + " " * 11 * MEGABYTE).encode(),
    }


async def costs_nothing(here: Street, way: Way, questions: Mapping[str, Way]) -> dict[str, str]:
    """What comes of each, of which none reaches the provider."""
    assert await here.cost(way) == 0
    asked = here.moody.asked
    huge = replace(way, headers={**way.headers, "X-Huge": "x" * 40_000})
    async with here.undisturbed():
        came = {
            name: outcome(question, await here.call(question))
            for name, question in {**questions, "a huge header": huge}.items()
        }
    assert here.moody.asked == asked
    assert await here.cost(way) == 0
    return came


async def test_what_is_no_json_is_a_problem_of_its_caller_alone(
    database_url: str, tmp_path: Path
) -> None:
    way = WAYS["JSON to SOAP"]
    questions = {
        name: replace(way, content=content, headers={"Content-Type": type_of_content})
        for name, (content, type_of_content) in JSON_QUESTIONS.items()
    }
    async with street(database_url, tmp_path) as here:
        await here.opens(way.service, timeout_s=5)
        came = await costs_nothing(here, way, questions)
    assert came == {
        **dict.fromkeys(questions, "422 bad-payload"),
        **dict.fromkeys(("another type", "a form"), "422 not-json"),
        "too long": "413 body-too-large",
        "a huge header": "431 headers-too-large",
    }


@pytest.mark.parametrize("name", ["SOAP 1.1 to REST", "SOAP 1.2 to SOAP"])
async def test_what_is_no_envelope_is_a_fault_of_its_caller_alone(
    name: str, database_url: str, tmp_path: Path
) -> None:
    way = WAYS[name]
    async with street(database_url, tmp_path) as here, server(answering({})) as elsewhere:
        await here.opens(way.service, timeout_s=5)
        questions = {
            name: replace(way, content=content)
            for name, content in soap_questions(way, elsewhere.url).items()
        }
        came = await costs_nothing(here, way, questions)
        # Nothing that an envelope points at is fetched.
        assert elsewhere.came == []
    assert came == {
        **dict.fromkeys(questions, "Client bad-envelope"),
        "too long": "Client body-too-large",
        "a huge header": "Client headers-too-large",
    }


FOUR = ("JSON to SOAP", "SOAP 1.1 to REST", "SOAP 1.2 to SOAP", "REST to REST")


@asynccontextmanager
async def asking(
    here: Street, way: Way, *more: str
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which the head of a question has gone out; it is cut with the block."""
    url = httpx.URL(here.url)
    assert url.port is not None
    reader, writer = await asyncio.open_connection(url.host, url.port)
    headers = {**way.headers, "Host": "hub", "Authorization": f"Bearer {here.caller.token}"}
    lines = [f"POST {way.path} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items()), *more]
    writer.write("".join(f"{line}\r\n" for line in lines).encode() + b"\r\n")
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@asynccontextmanager
async def both_open(database_url: str, tmp_path: Path) -> AsyncIterator[Street]:
    async with street(database_url, tmp_path) as here:
        for service in ("points", "weather"):
            await here.opens(service, timeout_s=20)
        yield here


async def test_a_body_without_end_is_ended_at_its_bound(database_url: str, tmp_path: Path) -> None:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"

    async def pour(writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while True:
                writer.write(chunk)
                await writer.drain()

    async with both_open(database_url, tmp_path) as here:
        for name in FOUR:
            here.moody.behaviour = hanging
            async with (
                here.undisturbed(),
                asking(here, WAYS[name], "Transfer-Encoding: chunked") as (reader, writer),
            ):
                pouring = asyncio.create_task(pour(writer))
                said = await asyncio.wait_for(reader.readuntil(b"body-too-large"), 15)
                pouring.cancel()
                await asyncio.gather(pouring, return_exceptions=True)
            assert said.startswith(
                b"HTTP/1.1 500 " if WAYS[name].version == "1.1" else b"HTTP/1.1 4"
            )
            assert await here.cost(WAYS[name]) == 0, name


async def test_bodies_that_dribble_keep_nobody_waiting(database_url: str, tmp_path: Path) -> None:
    async with both_open(database_url, tmp_path) as here:
        for name in FOUR:
            way = WAYS[name]
            asked = here.moody.asked
            here.moody.behaviour = hanging
            async with here.undisturbed(), AsyncExitStack() as stack:
                dribbling = [
                    await stack.enter_async_context(
                        asking(here, way, f"Content-Length: {len(way.content)}")
                    )
                    for _ in range(AT_ONCE)
                ]
                for byte in way.content[:-1][:20]:
                    for _, writer in dribbling:
                        writer.write(bytes([byte]))
                    await asyncio.sleep(0.02)
            assert here.moody.asked == asked
            if name != "REST to REST":
                assert await here.cost(way) == 0


async def test_a_caller_that_goes_away_in_mid_call_lets_its_provider_go(
    database_url: str, tmp_path: Path
) -> None:
    async with both_open(database_url, tmp_path) as here:
        moody = here.moody
        lost: Counter[str] = Counter()
        for name in FOUR:
            way = WAYS[name]
            asked, let_go = moody.asked + AT_ONCE, moody.let_go + AT_ONCE
            moody.behaviour = hanging
            async with here.undisturbed():
                async with AsyncExitStack() as stack:
                    for _ in range(AT_ONCE):
                        _, writer = await stack.enter_async_context(
                            asking(here, way, f"Content-Length: {len(way.content)}")
                        )
                        writer.write(way.content)
                    await until(lambda asked=asked: moody.asked == asked)
                await until(lambda let_go=let_go: moody.let_go == let_go)
            # The provider may have done the work.
            lost[way.service] += AT_ONCE
            assert await here.cost(way, least=lost[way.service]) == lost[way.service]
