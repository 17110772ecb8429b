"""One OpenAPI document for the whole hub: framework routes, hot routes and services together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from fastapi import FastAPI

from gridroam.service_apps import ServiceApp
from kit.http import HotRoute

PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "field": {"type": "string", "description": "what was wrong"},
        "value": {"type": "string", "description": "as it came, cut to 200 characters"},
        "rule": {"type": "string", "description": "what would be right"},
    },
}
SCOPES = {
    "events": "read /events and /topics",
    "marketplace": "call /marketplace",
    "marketplace:read": "read /marketplace: all that is left to a partner that has left",
    "services": "call /services, /commands and /central-system",
}
# Where tokens come from, nobody has one yet.
OPEN = ("/oauth/", "/.well-known/")
NO = {
    "description": "A refusal.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def document(
    url: str, main: FastAPI, services: Mapping[str, ServiceApp], more: Mapping[str, Any]
) -> dict[str, Any]:
    """The document of the hub at `url`, OpenAPI 3.1.

    `more`: paths that no framework describes (health, metrics, SOAP, OCPP), as OpenAPI path items.
    """
    whole: dict[str, Any] = main.openapi()
    whole["servers"] = [{"url": url}]
    paths: dict[str, Any] = whole.setdefault("paths", {})
    shapes: dict[str, Any] = whole.setdefault("components", {}).setdefault("schemas", {})
    for name, service in services.items():
        for told in (service.described.openapi(), _hot_document(service.hot)):
            apart = _told_apart(told, shapes, name)
            _add_shapes(shapes, apart.get("components", {}).get("schemas", {}))
            for path, item in apart["paths"].items():
                paths.setdefault(f"/services/{name}{path}", {}).update(item)
    paths.update(more)
    shapes["Problem"] = PROBLEM
    whole["components"]["securitySchemes"] = {
        "oauth2": {
            "type": "oauth2",
            "flows": {"clientCredentials": {"tokenUrl": f"{url}/oauth/token", "scopes": SCOPES}},
        },
        "basic": {"type": "http", "scheme": "basic", "description": "client id and secret"},
    }
    whole["security"] = [{"oauth2": []}]
    for path, item in paths.items():
        for method, operation in item.items():
            if path.startswith(OPEN):
                operation["security"] = []
            if method in {"get", "put", "post", "delete", "patch"}:
                operation.setdefault("responses", {}).setdefault("default", NO)
                # FastAPI promises a shape of its own for bad input; ours is the problem document.
                operation["responses"].pop("422", None)
                _name_what_is_answered(operation)
    shapes.pop("HTTPValidationError", None)
    shapes.pop("ValidationError", None)
    return whole


def _name_what_is_answered(operation: dict[str, Any]) -> None:
    """FastAPI calls an answer that is no model by its route's function and path."""
    for answer in operation["responses"].values():
        for content in answer.get("content", {}).values():
            if content.get("schema", {}).get("title", "").startswith("Response "):
                content["schema"]["title"] = f"Response {operation['operationId'].title()}"


def _told_apart(told: dict[str, Any], known: Mapping[str, Any], service: str) -> dict[str, Any]:
    """A service's document; a shape that goes by another's name gets the service's before its own.

    Wings do not know each other, so two of them may well call two things by one name.
    """
    prefix = "".join(part.capitalize() for part in service.split("-"))
    renamed: set[str] = set()
    while True:
        shapes = told.get("components", {}).get("schemas", {})
        clashing = [
            name for name in shapes if not _same(known.get(name, shapes[name]), shapes[name])
        ]
        if not clashing:
            return told
        assert renamed.isdisjoint(clashing), "a shape is renamed once"
        # Whatever refers to a renamed shape is another shape now, too: hence once more.
        for name in clashing:
            shapes[prefix + name] = shapes.pop(name)
            renamed.add(prefix + name)
            old, new = (f'"#/components/schemas/{one}"'.encode() for one in (name, prefix + name))
            told = msgspec.json.decode(msgspec.json.encode(told).replace(old, new))
            shapes = told["components"]["schemas"]


def _same(one: Any, other: Any) -> bool:
    """Whether two shapes say the same; two libraries tell of one enumeration in two dialects."""

    def bare(shape: Mapping[str, Any]) -> dict[str, Any]:
        told = {key: value for key, value in shape.items() if key not in ("title", "description")}
        return told | {"type": "string", "enum": sorted(told["enum"])} if "enum" in told else told

    return bool(bare(one) == bare(other))


def _add_shapes(shapes: dict[str, Any], told: Mapping[str, Any]) -> None:
    for name, shape in told.items():
        assert _same(shapes.setdefault(name, shape), shape), f"two shapes are called {name}"


def _hot_document(hot: Sequence[HotRoute]) -> dict[str, Any]:
    """What the framework would tell of these routes if they were its own."""
    types = [t for route in hot for t in (route.request_type, route.response_type) if t is not None]
    schemas, found = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, Any] = {}
    named = iter(schemas)
    for route in hot:
        operation: dict[str, Any] = {
            "operationId": route.operation,
            "summary": route.summary,
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in _parameters(route.path)
            ],
            "responses": {"200": {"description": "OK"}},
        }
        if route.request_type is not None:
            operation["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": next(named)}},
            }
        if route.response_type is not None:
            operation["responses"]["200"]["content"] = {"application/json": {"schema": next(named)}}
        path = route.path.replace(":path}", "}")
        paths.setdefault(path, {})[route.method.lower()] = operation
    return {"paths": paths, "components": {"schemas": found}}


def _parameters(path: str) -> list[str]:
    return [part.split("}")[0].removesuffix(":path") for part in path.split("{")[1:]]
