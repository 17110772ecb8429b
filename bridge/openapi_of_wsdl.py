"""The OpenAPI document of a SOAP service: what a REST caller reads to call it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.complex_node import Complex
from bridge.json_schema import JsonSchemas, Schema
from bridge.soap_messages import HEADERS, MessageCodec, SoapOperation

_HOW = (
    "A SOAP service, called with JSON. Elements are members by their names, in any order; those "
    'that may come several times are arrays. Attributes begin with "@"; the text of an element '
    'with attributes is its "value". null is xsi:nil. "$type" names a derived type (xsi:type). '
    'Groups that repeat are "$items", an object for each turn. XML that the service leaves open is '
    'a string: "$any" for elements, "$xml" for mixed content. SOAP headers are "$headers". '
    "Decimals are numbers, kept digit by digit; dates, times and base64 are strings as in XML."
)
_PROBLEM = "application/problem+json"


def openapi_of(
    operations: Mapping[str, SoapOperation],
    *,
    title: str,
    version: str,
    server_url: str,
    documentation: str = "",
) -> dict[str, Any]:
    """OpenAPI 3.1: each operation is `POST /{Operation}`."""
    schemas = JsonSchemas()
    paths = {f"/{name}": {"post": _operation(one, schemas)} for name, one in operations.items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version,
            "description": f"{documentation}\n\n{_HOW}".strip(),
        },
        "servers": [{"url": server_url}],
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.components.items()))},
    }


def _operation(operation: SoapOperation, schemas: JsonSchemas) -> Schema:
    described: Schema = {"operationId": operation.name, "summary": operation.name}
    if operation.documentation:
        described["description"] = operation.documentation
    request = _message(operation.request, schemas)
    described["requestBody"] = {
        "required": operation.request.body is not None,
        "content": {"application/json": {"schema": request}},
    }
    if operation.answer is None:
        responses: Schema = {"202": {"description": "Taken; the service answers nothing."}}
    else:
        answer = _message(operation.answer, schemas)
        responses = {
            "200": {
                "description": "The service's answer.",
                "content": {"application/json": {"schema": answer}},
            }
        }
    responses["default"] = {
        "description": "The call was refused, or the service answered with a SOAP fault.",
        "content": {_PROBLEM: {"schema": _problem(operation, schemas)}},
    }
    described["responses"] = responses
    return described


def _message(message: MessageCodec, schemas: JsonSchemas) -> Schema:
    body = message.body
    if body is None:
        schema: Schema = {"type": "object", "additionalProperties": False}
    else:
        schema = schemas.element(body)
    if not message.headers:
        return schema
    headers = {
        "type": "object",
        "properties": {one.key: schemas.element(one) for one in message.headers},
        "additionalProperties": False,
    }
    if body is not None and isinstance(body.codec, Complex):
        return schemas.object(body.codec, {HEADERS: headers})
    members = {HEADERS: headers} if body is None else {"value": schema, HEADERS: headers}
    with_headers = {
        "type": "object",
        "properties": members,
        "additionalProperties": False,
        "required": [] if body is None else ["value"],
    }
    return with_headers if body is None else {"anyOf": [schema, with_headers]}


def _problem(operation: SoapOperation, schemas: JsonSchemas) -> Schema:
    """RFC 9457, with the fault as the service told it."""
    details = {one.key: schemas.element(one) for one in operation.faults}
    fault = {
        "type": "object",
        "properties": {
            "code": {"type": "string", "description": "Client, Server, or another of SOAP's."},
            "subcode": {"type": "string"},
            "reason": {"type": "string"},
            "actor": {"type": "string"},
            "detail": {"type": "object", "properties": details},
        },
        "required": ["code", "reason"],
    }
    return {
        "type": "object",
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "fault": fault,
        },
    }
