"""One document for the whole hub, whatever its parts call their shapes."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, create_model
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR
from starlette.requests import Request
from starlette.responses import Response

from gridroam import openapi
from gridroam.service_apps import ServiceApp
from kit.http import HotRoute
from tests.hub import URL, Hub

# INTERFACES, core calls; and what stands beside them in its table of roots.
CORE_CALLS = [
    ("post", "/services/clearing-house/authorisations"),
    ("post", "/services/clearing-house/cdrs"),
    ("get", "/services/clearing-house/cdrs"),
    ("put", "/services/clearing-house/customer-contracts/{contract_id}"),
    ("post", "/services/clearing-house/customer-contracts/bulk"),
    ("post", "/services/clearing-house/clearing-runs"),
    ("get", "/services/search-evse/evses"),
    ("get", "/services/contract-validation/validate"),
    ("post", "/oauth/token"),
    ("get", "/.well-known/oauth-authorization-server"),
    ("get", "/.well-known/jwks.json"),
    ("get", "/marketplace/partners"),
    ("get", "/marketplace/services"),
    ("get", "/marketplace/offerings"),
    ("get", "/marketplace/contracts"),
    ("get", "/marketplace/usage"),
    ("post", "/services/{service}/soap"),
    ("get", "/services/{service}/soap"),
    ("get", "/services/{service}/openapi.json"),
    ("get", "/ocpp/{operator}/{charge_point}"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
    ("get", "/docs"),
]


def router(path: str, shape: type[BaseModel]) -> APIRouter:
    routes = APIRouter()

    async def show() -> Any:
        raise AssertionError("described, never called")

    routes.add_api_route(path, show, response_model=shape)
    return routes


def shape(**members: Any) -> type[BaseModel]:
    """A `Page` of `Shown`; what is shown has these members."""
    shown = create_model("Shown", **members)
    return create_model("Page", items=(list[shown], ...))  # type: ignore[valid-type]


def described(whole: dict[str, Any], path: str) -> Any:
    """The members of what is listed at a path, found as a reader finds them: by reference."""
    content = whole["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
    page = follow(whole, content["schema"]["$ref"])
    return follow(whole, page["properties"]["items"]["items"]["$ref"])["properties"]


def follow(whole: Any, reference: str) -> Any:
    for part in reference.removeprefix("#/").split("/"):
        whole = whole[part]
    return whole


def test_two_parts_may_call_two_shapes_by_one_name() -> None:
    main = FastAPI()
    main.include_router(router("/own", shape(mine=(int, ...))))
    services = {
        "search-evse": ServiceApp([], [router("/evses", shape(place=(str, ...)))]),
        "clearing-house": ServiceApp([], [router("/cdrs", shape(mine=(int, ...)))]),
    }
    whole = openapi.document(URL, main, services, {})
    assert list(described(whole, "/own")) == ["mine"]
    assert list(described(whole, "/services/search-evse/evses")) == ["place"]
    assert list(described(whole, "/services/clearing-house/cdrs")) == ["mine"]
    # What is the same is there once.
    assert set(whole["components"]["schemas"]) == {
        "Page",
        "Shown",
        "SearchEvsePage",
        "SearchEvseShown",
        "Problem",
    }


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Asked(msgspec.Struct):
    colour: Colour


def test_a_hot_route_and_a_framework_route_may_share_an_enumeration() -> None:
    async def answer(_: Request) -> Response:
        raise AssertionError("described, never called")

    paint = HotRoute("POST", "/paint", answer, "paint", "Paint", request_type=Asked)
    service = ServiceApp([paint], [router("/paints", shape(colour=(Colour, ...)))])
    whole = openapi.document(URL, FastAPI(), {"art": service}, {})
    body = whole["paths"]["/services/art/paint"]["post"]["requestBody"]["content"]
    asked = follow(whole, body["application/json"]["schema"]["$ref"])
    colour = follow(whole, asked["properties"]["colour"]["$ref"])
    assert colour == follow(whole, described(whole, "/services/art/paints")["colour"]["$ref"])
    assert sorted(colour["enum"]) == ["blue", "red"]


def test_every_reference_leads_somewhere() -> None:
    services = {"a": ServiceApp([], [router("/x", shape(one=(int, ...)))])}
    whole = openapi.document(URL, FastAPI(), services, {})
    references = [part.split('"')[0] for part in json.dumps(whole).split('"$ref": "')[1:]]
    assert references
    for reference in references:
        follow(whole, reference)


# The document of a whole hub


def operations(whole: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in whole["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


async def test_every_call_of_the_outside_interfaces_is_in_it(hub: Hub) -> None:
    whole = (await hub.http.get("/openapi.json")).json()
    assert [call for call in CORE_CALLS if call[0] not in whole["paths"].get(call[1], {})] == []


async def test_it_is_sound_openapi_3_1_and_names_each_operation_once(hub: Hub) -> None:
    whole = (await hub.http.get("/openapi.json")).json()
    assert [str(error) for error in OPENAPI_31_VALIDATOR.iter_errors(whole)] == []
    references = [part.split('"')[0] for part in json.dumps(whole).split('"$ref": "')[1:]]
    for reference in references:
        follow(whole, reference)
    names = Counter(operation["operationId"] for _, _, operation in operations(whole))
    assert [name for name, count in names.items() if count > 1] == []
    assert [name for name in names if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)] == []


async def test_what_it_promises_is_there_and_open_to_strangers_where_it_says_so(hub: Hub) -> None:
    whole = (await hub.http.get("/openapi.json")).json()
    for method, path, operation in operations(whole):
        # A WebSocket, and faults, whose status is their own: see architecture/test_wrong_party.
        if path.startswith("/ocpp/") or (method, path) == ("post", "/services/{service}/soap"):
            continue
        filled = re.sub(r"\{\w+\}", "x", path.replace("{major}", "1"))
        answer = await hub.http.request(method, filled)
        assert answer.status_code not in (404, 405), (method, path)
        assert (answer.status_code != 401) == (operation.get("security") == []), (method, path)
