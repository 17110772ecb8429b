"""The hub's API for people: the OpenAPI document as one plain page, without scripts or network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Json = Mapping[str, Any]

METHODS = ("get", "put", "post", "patch", "delete")
# How deep a shape is spelt out where it is used; deeper ones are named.
DEPTH = 4
# Nothing is fetched from anywhere, not even from here.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #888; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
h1, h2 { font-weight: 600 } h2 { margin: 2.5rem 0 .5rem; font-size: 1.1rem }
details { border-top: 1px solid var(--line) } details[open] { padding-bottom: 1rem }
summary { cursor: pointer; padding: .4rem 0 } summary span { color: var(--soft) }
summary b { display: inline-block; width: 4.5rem; font: 600 .8rem ui-monospace, monospace }
code, pre { font: .85rem/1.45 ui-monospace, monospace } pre { overflow-x: auto; margin: .3rem 0 }
h3 { font-size: .85rem; margin: .8rem 0 0; color: var(--soft); font-weight: 600 }
dl { margin: .2rem 0 } dt { float: left; clear: left; margin-right: .6rem } dd { margin: 0 0 .1rem }
"""


def page(document: Json) -> str:
    """HTML for an OpenAPI 3.1 document: every operation, with its parameters, body and answers."""
    told = document["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'>",
        f"<title>{escape(told['title'])}</title><style>{STYLE}</style>",
        f"<h1>{escape(told['title'])}</h1><p>{escape(told.get('description', ''))}</p>",
        "<p>For programs: <a href=/openapi.json>/openapi.json</a> (OpenAPI 3.1). Unless an"
        " operation says otherwise, send <code>Authorization: Bearer …</code> with a token from"
        " <code>POST /oauth/token</code>. A refusal is <code>application/problem+json</code>.</p>",
    ]
    for heading, operations in _by_tag(document).items():
        parts.append(f"<h2>{escape(heading)}</h2>")
        parts += [_operation(document, *one) for one in operations]
    return "\n".join(parts)


def _by_tag(document: Json) -> dict[str, list[tuple[str, str, Json]]]:
    groups: dict[str, list[tuple[str, str, Json]]] = {}
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                operation = item[method]
                heading = (operation.get("tags") or [_root(path)])[0]
                groups.setdefault(heading, []).append((method, path, operation))
    return dict(sorted(groups.items()))


def _root(path: str) -> str:
    words = path.strip("/").split("/")
    return words[1] if words[0] == "services" and len(words) > 1 else words[0]


def _operation(document: Json, method: str, path: str, operation: Json) -> str:
    summary = escape(operation.get("summary", ""))
    parts = [
        f"<details id='{escape(operation.get('operationId', method + path), quote=True)}'>"
        f"<summary><b>{method.upper()}</b><code>{escape(path)}</code> <span>{summary}</span>"
        "</summary>"
    ]
    if operation.get("description"):
        parts.append(f"<p>{escape(operation['description'])}</p>")
    if operation.get("security") == []:
        parts.append("<p>No access token is needed.</p>")
    if operation.get("parameters"):
        parts.append("<h3>Parameters</h3><dl>")
        parts += [_parameter(document, one) for one in operation["parameters"]]
        parts.append("</dl>")
    parts += _contents(document, "Body", operation.get("requestBody", {}))
    for status, answer in operation.get("responses", {}).items():
        if status != "default":
            shown = f"{status} {answer.get('description', '')}".strip()
            parts += _contents(document, shown, answer) or [f"<h3>{escape(shown)}</h3>"]
    return "".join(parts) + "</details>"


def _parameter(document: Json, told: Json) -> str:
    schema = told.get("schema", {})
    about = ", ".join(
        filter(
            None,
            [
                f"in {told['in']}",
                "required" if told.get("required") else "",
                _shape(document, schema)[0],
                f"default {schema['default']}" if schema.get("default") is not None else "",
            ],
        )
    )
    said = told.get("description") or schema.get("description") or ""
    return (
        f"<dt><code>{escape(told['name'])}</code></dt><dd>{escape(about)}"
        f"{'. ' + escape(said) if said else ''}</dd>"
    )


def _contents(document: Json, heading: str, told: Json) -> list[str]:
    shown = []
    for media_type, content in told.get("content", {}).items():
        lines = "\n".join(_shape(document, content.get("schema", {})))
        shown.append(
            f"<h3>{escape(heading)}, <code>{escape(media_type)}</code></h3>"
            f"<pre>{escape(lines)}</pre>"
        )
    return shown


def _resolved(document: Json, schema: Json) -> Json:
    if "$ref" not in schema:
        return schema
    found: Json = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def _shape(document: Json, schema: Json, depth: int = DEPTH) -> list[str]:
    """A schema in lines: the first says what it is, the rest what it holds."""
    whole = _resolved(document, schema)
    name = schema["$ref"].rpartition("/")[2] if "$ref" in schema else None
    if "properties" in whole:
        lines = [name or "object"]
        for inner_name, inner in whole["properties"].items() if depth else ():
            first, *rest = _shape(document, inner, depth - 1)
            mark = "" if inner_name in whole.get("required", ()) else "?"
            lines += [f"    {inner_name}{mark}: {first}", *(f"    {line}" for line in rest)]
        return lines
    if "enum" in whole:
        return [" or ".join(json.dumps(value) for value in whole["enum"])]
    if "const" in whole:
        return [json.dumps(whole["const"])]
    choices: Sequence[Json] = whole.get("anyOf") or whole.get("oneOf") or ()
    if choices:
        shapes = [_shape(document, one, depth) for one in choices]
        firsts = " or ".join(shape[0] for shape in shapes)
        # The same shape alone or in a list is spelt out once.
        longest = max(shapes, key=len)
        return [firsts, *longest[1:]]
    if whole.get("type") == "array":
        first, *rest = _shape(document, whole.get("items", {}), depth)
        return [f"list of {first}", *rest]
    kind, form = whole.get("type", "anything"), whole.get("format")
    return [f"{kind} ({form})" if form else str(kind)]
