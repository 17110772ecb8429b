"""Every route there is, given what no honest caller sends: it says no, and nothing breaks.

PostgreSQL has no NUL in its texts and no number beyond 64 bits, UTF-8 has no half of a surrogate
pair, the calendar ends in the year 9999, and a cursor is a text like any other. What reached a
query unread would be our own fault, a 500. The routes come out of /openapi.json, as in
`test_wrong_party`, whose good bodies are spoilt here in one place at a time.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from lxml import etree

from bridge.document import Document, Kind
from bridge.wsdl import SoapInterface
from tests.architecture.test_wrong_party import (
    BY_SOAP,
    CHARGE_POINT,
    Route,
    Victims,
    body_of,
    paths_of,
    routes,
    victims,
)

__all__ = ["victims"]

IN_PATHS = ("a%00b", "%ff", "%ED%A0%80", "9" * 40, "x" * 3_000)
IN_QUERIES = (
    *("a\0b", "9" * 40, "-1", f"1-{2**70}", "2026-01-01~\0", "x" * 3_000, "\u0663"),
    *("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "0001-01-01"),
)
IN_BODIES: tuple[Any, ...] = (
    *("a\0b", "\ud800", "9" * 400, "1e999", "9999-12-31T23:59:59-14:00"),
    *(2**63, 10**400, None, [], {}),
)
# These would end what the callers call with; envelopes have a test of their own.
APART = {
    CHARGE_POINT,
    BY_SOAP,
    "POST /oauth/revoke",
    "POST /marketplace/partners/{party}/clients",
    "DELETE /marketplace/partners/{party}/clients/{client_id}",
}


def spoilt(body: Any) -> Iterator[bytes]:
    """The body with one of its values made hostile, one after the other."""
    if isinstance(body, bytes):
        yield from (b"\0", b"\xff", b"[" * 100_000, b'"\\ud800"')
        yield from (body.replace(b"a", hostile, 3) for hostile in (b"\\u0000", b"\\ud800"))
        return
    for *way, last in places(body):
        for value in IN_BODIES:
            made = copy.deepcopy(body)
            inner = made
            for step in way:
                inner = inner[step]
            inner[last] = value
            yield json.dumps(made).encode()


def places(body: Any, so_far: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if so_far:
        yield so_far
    if isinstance(body, Mapping):
        inside: Any = body.items()
    else:
        inside = enumerate(body) if isinstance(body, list) else ()
    for name, inner in inside:
        yield from places(inner, (*so_far, name))


def paths(route: Route, victims: Victims, parameters: list[Mapping[str, Any]]) -> Iterator[str]:
    """The route's path with one of its parameters made hostile, one after the other."""
    good = next(paths_of(route, victims.ids))
    for one in parameters:
        if one["in"] == "query":
            joint = "&" if "?" in good else "?"
            yield from (f"{good}{joint}{one['name']}={quote(value)}" for value in IN_QUERIES)
    steps = route.template.split("/")
    for number, step in enumerate(steps):
        if "{" in step:
            told = good.partition("?")[0].split("/")
            yield from ("/".join([*told[:number], v, *told[number + 1 :]]) for v in IN_PATHS)


async def test_whatever_a_caller_sends_is_answered_and_breaks_nothing(victims: Victims) -> None:
    document = (await victims.world.hub.http.get("/openapi.json")).json()
    broken: list[tuple[object, ...]] = []
    tried = 0
    for route in await routes(victims.world.hub):
        if route.name in APART:
            continue
        good, body = next(paths_of(route, victims.ids)), None
        if route.has_body:
            body = body_of(route, victims)
        parameters = document["paths"][route.template][route.method.lower()].get("parameters", [])
        calls = [(path, body) for path in paths(route, victims, parameters)]
        calls += [(good, content) for content in spoilt(body)] if route.has_body else []
        for path, content in calls:
            for caller in (victims.world.operator, victims.world.evsp):
                tried += 1
                answer = await caller.call(
                    route.method, path, content, headers={"Content-Type": "application/json"}
                )
                if answer.status >= 500:
                    broken.append((caller.party, route.name, path[:200], content, answer.status))
                if answer.status in (403, 404):
                    continue
                break
    assert tried > 2_000
    assert not broken, "\n".join(ascii(one)[:500] for one in broken)


IN_ENVELOPES = (
    *("", "-1", "9" * 400, "1e999", "NaN", "\u0663", "x" * 3_000, str(2**63), "FR*PD1*E1*\ufffd"),
    *("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "0001-01-01", "24:00:00"),
)
_AT = "2026-05-04T12:00:00Z"
# One good question to every operation of the hub's own services that takes one of these.
ASKED: Mapping[str, Mapping[str, Any]] = {
    "clearing-house": {
        "Authorise": {
            "evseId": "FR*PD1*E1",
            "identification": {"type": "rfid", "value": "04A1B2C3D4E5F6"},
            "at": _AT,
        },
        "ForwardServiceDetailRecords": {
            "serviceDetailRecord": [
                {
                    "cdrId": "C1",
                    "evseId": "FR*PD1*E1",
                    "tokenUid": "04A1B2C3D4E5F6",
                    "start": _AT,
                    "end": "2026-05-04T12:30:00Z",
                    "energyWh": 10_000,
                }
            ]
        },
    },
    "contract-validation": {
        "ValidateContract": {
            "requester": "FR*XYZ",
            "provider": "FR*PD1",
            "service": "roaming",
            "at": _AT,
        }
    },
    "search-evse": {
        "SearchEVSE": {
            "near": {"latitude": 48.8, "longitude": 2.3},
            "radiusM": 5_000,
            "operator": ["FR*PD1"],
            "words": "paix",
            "limit": 10,
        },
        "GetEVSE": {"evseId": "FR*PD1*E1"},
        "ProvideEVSEStatusData": {"evseStatus": [{"evseId": "FR*PD1*E1", "status": "AVAILABLE"}]},
    },
}
DOCTYPE = b'<!DOCTYPE e [<!ENTITY x SYSTEM "file:///etc/passwd"><!ENTITY y "&x;&x;">]>'


def spoilt_envelopes(content: bytes) -> Iterator[bytes]:
    """The envelope with a value made hostile, or an element gone or twice there, one by one."""
    root = etree.fromstring(content)
    body = root[-1]
    for number, _ in enumerate(list(body.iter())[1:], 1):
        for text in IN_ENVELOPES:
            made = copy.deepcopy(root)
            one = list(made[-1].iter())[number]
            if not len(one):
                one.text = text
                yield etree.tostring(made, encoding="utf-8")
        for times in (0, 2, 300):
            made = copy.deepcopy(root)
            one = list(made[-1].iter())[number]
            parent = one.getparent()
            assert parent is not None
            for _ in range(times):
                parent.append(copy.deepcopy(one))
            parent.remove(one)
            yield etree.tostring(made, encoding="utf-8")
    whole = etree.tostring(root, encoding="utf-8")
    yield DOCTYPE + whole
    yield DOCTYPE + whole.replace(b"FR*PD1", b"&y;")
    yield whole.decode().encode("utf-16")
    yield b"<?xml version='1.0' encoding='utf-7'?>" + whole
    yield whole[: len(whole) // 2]
    yield whole.replace(b"FR*PD1", b"\xff")
    yield whole.replace(b"<s:Body>", b"<s:Body>" + b"<a>" * 2_000)
    yield b""


async def test_whatever_comes_in_an_envelope_is_answered_and_breaks_nothing(
    victims: Victims,
) -> None:
    operator = victims.world.operator
    broken: list[object] = []
    tried = 0
    for service, questions in ASKED.items():
        path = f"/services/{service}/soap"
        told = await operator.http.get(f"{path}?wsdl")
        wsdl = SoapInterface.read(Document(Kind.WSDL, "a", {"a": told.content}))
        for operation, payload in questions.items():
            good = wsdl.request(operation, payload)
            headers = {"Content-Type": "text/xml", "Authorization": f"Bearer {operator.token}"}
            answer = await operator.http.post(path, content=good.content, headers=headers)
            assert answer.status_code == 200, answer.text
            for content in spoilt_envelopes(good.content):
                tried += 1
                answer = await operator.http.post(path, content=content, headers=headers)
                fault = etree.fromstring(answer.content).findtext(".//faultcode") or ""
                if "Server" in fault or answer.status_code not in (200, 500):
                    broken.append((operation, content[:300], answer.text[-500:]))
    assert tried > 400
    assert not broken, "\n".join(ascii(one)[:1_000] for one in broken[:5])
