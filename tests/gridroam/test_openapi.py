"""One document for the whole hub, whatever its parts call their shapes."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, create_model
from starlette.requests import Request
from starlette.responses import Response

from gridroam import openapi
from gridroam.service_apps import ServiceApp
from kit.http import HotRoute


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
    whole = openapi.document("http://hub", main, services, {})
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
    whole = openapi.document("http://hub", FastAPI(), {"art": service}, {})
    body = whole["paths"]["/services/art/paint"]["post"]["requestBody"]["content"]
    asked = follow(whole, body["application/json"]["schema"]["$ref"])
    colour = follow(whole, asked["properties"]["colour"]["$ref"])
    assert colour == follow(whole, described(whole, "/services/art/paints")["colour"]["$ref"])
    assert sorted(colour["enum"]) == ["blue", "red"]


def test_every_reference_leads_somewhere() -> None:
    services = {"a": ServiceApp([], [router("/x", shape(one=(int, ...)))])}
    whole = openapi.document("http://hub", FastAPI(), services, {})
    references = [part.split('"')[0] for part in json.dumps(whole).split('"$ref": "')[1:]]
    assert references
    for reference in references:
        follow(whole, reference)
