"""A clause's parameters, held to the JSON Schema (2020-12) of its module."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NoReturn

import jsonschema_rs
import rfc8785

from marketplace.framework import wording
from marketplace.framework.model import (
    MOST_BYTES,
    BadClause,
    BadModule,
    Module,
    check_plain,
)

_RULES = {
    "required": "must be there",
    "additionalProperties": "no parameter of this module",
}


def check_schema(module: Module) -> None:
    """BadModule unless the schema is one, of an object with no members but those it names."""
    schema = module.schema
    if schema.get("type") != "object" or schema.get("additionalProperties") is not False:
        _refuse("schema", "type object, with additionalProperties false")
    if not isinstance(schema.get("properties", {}), Mapping):
        _refuse("schema.properties", "an object")
    for name in schema.get("properties", {}):
        if not name.isidentifier() or not name.isascii() or name in _RESERVED:
            _refuse(f"schema.properties.{name[:100]}", "a-z, 0-9 and _, and no reserved word")
    _check_local(schema, "schema")
    try:
        _validator(module.schema_json)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        _refuse("schema", str(error).partition("\n")[0][:200])


def check_standard(module: Module) -> None:
    """BadModule unless the standard form is one, and can be read."""
    if module.standard is None:
        return
    try:
        check(module, module.standard, "standard")
        wording.text_of(module, module.standard)
    except BadClause as clause:
        field = str(clause.field)
        _refuse(field if field.startswith("standard") else "standard", str(clause.rule))


def check(module: Module, parameters: Mapping[str, Any], path: str) -> None:
    """BadClause, with the path of what is wrong behind `path`, unless the schema takes them."""
    check_plain(parameters, path, BadClause)
    # Terms have rules of their own on how much they may be.
    if not module.from_terms and len(rfc8785.dumps(dict(parameters))) > MOST_BYTES:
        raise BadClause("too much", field=path, rule=f"at most {MOST_BYTES} bytes of JSON")
    error = next(_validator(module.schema_json).iter_errors(parameters), None)
    if error is None:
        return
    keyword = str(error.schema_path[-1])
    where = [path, *map(str, error.instance_path)]
    value = error.instance
    rule = _RULES.get(keyword, error.message)
    if keyword == "required":
        where.append(error.kind.property)
        value = None
    elif keyword == "additionalProperties":
        where += [str(one) for one in error.kind.unexpected[:1]]
        value = None
    field = ".".join(where)[:300]
    raise BadClause(
        f"{field}: {rule[:300]}",
        field=field,
        value=None if value is None else str(value)[:100],
        rule=f"{rule[:300]} ({module.name} version {module.version})",
    )


# What stands beside parameters where a version is asked for, and what a template understands.
_RESERVED = {
    "parameters",
    "version",
    "true",
    "false",
    "none",
    "True",
    "False",
    "None",
    "loop",
    "self",
}


@lru_cache(maxsize=512)
def _validator(schema: bytes) -> Any:
    return jsonschema_rs.Draft202012Validator(
        schema.decode(),
        validate_formats=True,
        # Patterns in time that grows with the text alone, and nothing fetched from anywhere.
        pattern_options=jsonschema_rs.RegexOptions(),
        offline=True,
    )


def _check_local(value: object, path: str) -> None:
    """What a schema refers to is in it: the network has no word in a contract."""
    if isinstance(value, Mapping):
        for key, member in value.items():
            refers = key in ("$ref", "$dynamicRef")
            if refers and not (isinstance(member, str) and member.startswith("#")):
                _refuse(f"{path}.{key}"[:200], "a reference within the schema, as #/$defs/…")
            if key in ("$id", "$schema", "$vocabulary", "$anchor", "$dynamicAnchor"):
                _refuse(f"{path}.{key}"[:200], "none of these: it is JSON Schema 2020-12")
            _check_local(member, f"{path}.{key}")
    elif isinstance(value, list):
        for n, member in enumerate(value):
            _check_local(member, f"{path}.{n}")


def _refuse(field: str, rule: str) -> NoReturn:
    raise BadModule(f"{field}: {rule}", field=field, rule=rule)
