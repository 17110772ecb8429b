"""Parameters drawn from a module's schema: whatever its words allow, and little else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)


def values(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a schema as modules write them; conditions between members are for `assume`."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        return st.one_of([values({**schema, "type": one}) for one in kind])
    return _KINDS[kind](schema)


def _string(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    if schema.get("format") == "date-time":
        return st.datetimes().map(lambda at: f"{at.isoformat()}Z")
    if "pattern" in schema:
        return st.from_regex(schema["pattern"]) | st.sampled_from(["EUR", "20", "07:30", "a b"])
    return TEXTS.map(lambda text: text.ljust(schema.get("minLength", 0), "x"))


def _number(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    return st.floats(schema.get("minimum", -1e9), schema.get("maximum", 1e9))


def _integer(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    return st.integers(schema.get("minimum", -(10**12)), schema.get("maximum", 10**12))


def _array(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    least, most = schema.get("minItems", 0), min(schema.get("maxItems", 4), 4)
    return st.lists(values(schema["items"]), min_size=least, max_size=most)


def _object(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    required = schema.get("required", [])
    members = {name: values(one) for name, one in schema.get("properties", {}).items()}
    return st.fixed_dictionaries(
        {name: one for name, one in members.items() if name in required},
        optional={name: one for name, one in members.items() if name not in required},
    )


_KINDS = {
    "string": _string,
    "number": _number,
    "integer": _integer,
    "boolean": lambda _: st.booleans(),
    "null": lambda _: st.none(),
    "array": _array,
    "object": _object,
}
