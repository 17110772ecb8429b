"""Modules that tests publish."""

from __future__ import annotations

from typing import Any

from marketplace.framework.model import Module


def told(**other: Any) -> dict[str, Any]:
    """A module as it is told."""
    return {
        "name": "parking",
        "title": "Parking",
        "purpose": "How long a car may stand.",
        "place": 95,
        "schema": {
            "type": "object",
            "additionalProperties": False,
            "required": ["hours"],
            "properties": {
                "hours": {"type": "integer", "minimum": 1, "maximum": 48},
                "note": {"type": "string", "maxLength": 200},
                "days": {"type": "array", "items": {"type": "string"}},
            },
        },
        "template": "Stand for {{ hours | count }} hours.{% if note %} {{ note }}{% endif %}",
        "kinds": {"call": "required", "topic": "optional"},
        "standard": {"hours": 2},
    } | other


def module(version: int = 1, **other: Any) -> Module:
    return Module.parse(told(**other)).numbered(version)
