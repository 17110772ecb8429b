"""Documents that are broken, circular, or want something fetched: each is refused with its file and
the rule, the service goes on by the document that it has, and no call of another notices.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.faults.neighbours import WAYS, WEATHER_FILES, Street, street
from tests.flows.test_bridging import POINTS, files_of
from tests.hub import Answer, answering, server

WEATHER: dict[str, str] = WEATHER_FILES["files"]
ROOT = WEATHER["weather.wsdl"]
KINDS = WEATHER["types/kinds.xsd"]
SCHEMA = '<x:schema xmlns:x="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:t">'
HERE = 'schemaLocation="types/kinds.xsd"'
BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
YAML = """openapi: 3.0.3
info: {title: Points, version: "1"}
paths:
"""


def wsdls(elsewhere: str) -> Mapping[str, tuple[dict[str, str], str]]:
    """The files of each, and the one that is to blame."""

    def with_root(root: str) -> dict[str, str]:
        return {**WEATHER, "weather.wsdl": root}

    def importing(location: str) -> dict[str, str]:
        return with_root(ROOT.replace(HERE, f'schemaLocation="{location}"'))

    def with_kinds(kinds: str) -> dict[str, str]:
        return {**WEATHER, "types/kinds.xsd": kinds}

    wsdl = f'<import namespace="urn:o" location="{elsewhere}/o.wsdl"/><types>'
    return {
        "half a WSDL": (with_root(ROOT[: len(ROOT) // 2]), "weather.wsdl"),
        "a bomb": (with_root(BOMB + ROOT), "weather.wsdl"),
        "half a schema": (with_kinds(KINDS[:100]), "types/kinds.xsd"),
        "a bomb of a schema": (with_kinds(BOMB + KINDS), "types/kinds.xsd"),
        "a type of itself": (
            with_kinds(KINDS.replace('base="x:string"', 'base="t:Kind" xmlns:t="urn:t"')),
            "types/kinds.xsd",
        ),
        "a schema from the network": (importing(f"{elsewhere}/kinds.xsd"), "weather.wsdl"),
        "a WSDL from the network": (with_root(ROOT.replace("<types>", wsdl)), "weather.wsdl"),
        "a schema from our disk": (importing("file:///etc/passwd"), "weather.wsdl"),
        "a schema that is not there": (importing("types/others.xsd"), "weather.wsdl"),
    }


def yamls(elsewhere: str) -> Mapping[str, tuple[dict[str, str], str]]:
    laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )

    def fetching(reference: str) -> str:
        return f'{YAML}  /points: {{$ref: "{reference}"}}\n'

    said = {
        "no end": YAML + '  /points: {get: {operationId: "listPoints',
        "a member twice": YAML + "  /points: {}\n  /points: {}\n",
        "an alias of nothing": YAML + "  /points: *nothing\n",
        "an alias of itself": YAML + "  /points: &a [*a]\n",
        "aliases that multiply": laughs + YAML + "  {}\n",
        "a tag of Python's": YAML + '  !!python/object/apply:os.system ["true"]\n',
        "too deep": YAML + "  /points: " + "[" * 5_000 + "]" * 5_000 + "\n",
        "no OpenAPI": "hello: there\n",
        "from the network": fetching(f"{elsewhere}/points.yaml"),
        "from our disk": fetching("file:///etc/passwd"),
        "from above": fetching("../points.yaml"),
        "what is not there": fetching("more.yaml#/points"),
        "a circle of references": fetching("#/paths/~1others")
        + '  /others: {$ref: "#/paths/~1points"}\n',
    }
    return {day: ({"points.yaml": content}, "points.yaml") for day, content in said.items()}


async def uploads(here: Street, service: str, document: dict[str, Any]) -> Answer:
    return await here.provider.call(
        "PUT",
        f"/marketplace/services/{service}/v1/interface",
        json.dumps(document).encode(),
        headers={"Content-Type": "application/vnd.gridroam.interface+json"},
    )


def is_refused(answer: Answer, to_blame: str) -> bool:
    """With the file, what in it, and the rule."""
    told = answer.body
    return (
        (answer.status, answer.problem) == (422, "bad-document")
        and told["field"].partition("#")[0] == to_blame
        and bool(told["rule"])
    )


SERVICES = {
    "weather": ("wsdl", "weather.wsdl", wsdls, WAYS["JSON to SOAP"]),
    "points": ("openapi", "points.yaml", yamls, WAYS["SOAP 1.1 to REST"]),
}


@pytest.mark.parametrize("service", SERVICES)
async def test_a_document_that_is_refused_leaves_the_one_before_in_force(
    service: str, database_url: str, tmp_path: Path
) -> None:
    kind, root, days, way = SERVICES[service]
    async with street(database_url, tmp_path) as here, server(answering({})) as elsewhere:
        await here.opens(service, timeout_s=5)
        interface = f"/marketplace/services/{service}/v1/interface"
        former = await here.provider.get(interface)
        wrong: dict[str, Any] = {}
        async with here.undisturbed():
            for day, (files, to_blame) in days(elsewhere.url).items():
                answer = await uploads(here, service, {"kind": kind, "root": root, "files": files})
                if not is_refused(answer, to_blame):
                    wrong[day] = (answer.status, answer.body)
                assert await here.cost(way) == 0
        assert wrong == {}
        assert await here.provider.get(interface) == former
        assert elsewhere.came == []


def circles() -> Mapping[str, dict[str, Any]]:
    """Files that import each other, and a point that is near other points."""
    kinds = KINDS.replace(SCHEMA, SCHEMA + '<x:include schemaLocation="more.xsd"/>')
    assert kinds != KINDS
    more = f'{SCHEMA}<x:include schemaLocation="kinds.xsd"/></x:schema>'
    itself = '<import namespace="urn:t" location="weather.wsdl"/><types>'
    root = ROOT.replace("<types>", itself)
    every = {"weather.wsdl": root, "types/kinds.xsd": kinds, "types/more.xsd": more}
    points = json.loads(json.dumps(POINTS))
    content = points["paths"]["/points/{id}"]["get"]["responses"]["200"]["content"]
    point = content["application/json"]["schema"]
    content["application/json"]["schema"] = {"$ref": "#/components/schemas/Point"}
    near = {"type": "array", "items": {"$ref": "#/components/schemas/Point"}}
    point["properties"]["near"] = near
    points["components"] = {"schemas": {"Point": point}}
    return {
        "weather": {"kind": "wsdl", "root": "weather.wsdl", "files": every},
        "points": files_of("openapi", "a.json", {"a.json": json.dumps(points).encode()}),
    }


async def test_a_document_that_goes_round_in_a_circle_is_read_once(
    database_url: str, tmp_path: Path
) -> None:
    async with street(database_url, tmp_path) as here:
        for service, document in circles().items():
            await here.opens(service, timeout_s=5)
            async with here.undisturbed():
                answer = await uploads(here, service, document)
                assert answer.status == 200, answer.body
                assert await here.cost(SERVICES[service][3]) == 0
            interface = f"/marketplace/services/{service}/v1/interface"
            told = {one["path"] for one in (await here.provider.get(interface))["files"]}
            assert told == set(document["files"])
