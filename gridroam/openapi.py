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
NO = {
    "description": "A refusal.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def document(
    main: FastAPI, services: Mapping[str, ServiceApp], more: Mapping[str, Any]
) -> dict[str, Any]:
    """`more`: paths that no framework describes (health, metrics, OCPP), as OpenAPI path items."""
    whole: dict[str, Any] = main.openapi()
    paths: dict[str, Any] = whole.setdefault("paths", {})
    shapes: dict[str, Any] = whole.setdefault("components", {}).setdefault("schemas", {})
    for name, service in services.items():
        told = service.described.openapi()
        _add_shapes(shapes, told.get("components", {}).get("schemas", {}))
        for path, item in told["paths"].items():
            paths[f"/services/{name}{path}"] = item
        _add_hot(paths, shapes, f"/services/{name}", service.hot)
    paths.update(more)
    shapes["Problem"] = PROBLEM
    whole["components"]["securitySchemes"] = {
        "oauth2": {
            "type": "oauth2",
            "flows": {"clientCredentials": {"tokenUrl": "/oauth/token", "scopes": {}}},
        }
    }
    whole["security"] = [{"oauth2": []}]
    for item in paths.values():
        for method, operation in item.items():
            if method in {"get", "put", "post", "delete", "patch"}:
                operation.setdefault("responses", {})["default"] = NO
                # FastAPI promises a shape of its own for bad input; ours is the problem document.
                operation["responses"].pop("422", None)
    shapes.pop("HTTPValidationError", None)
    shapes.pop("ValidationError", None)
    return whole


def _add_shapes(shapes: dict[str, Any], told: Mapping[str, Any]) -> None:
    for name, shape in told.items():
        known = shapes.setdefault(name, shape)
        assert known == shape, f"two shapes are called {name}"


def _add_hot(
    paths: dict[str, Any], shapes: dict[str, Any], root: str, hot: Sequence[HotRoute]
) -> None:
    types = [t for route in hot for t in (route.request_type, route.response_type) if t is not None]
    schemas, found = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    _add_shapes(shapes, found)
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
        path = root + route.path.replace(":path}", "}")
        paths.setdefault(path, {})[route.method.lower()] = operation


def _parameters(path: str) -> list[str]:
    return [part.split("}")[0].removesuffix(":path") for part in path.split("{")[1:]]
