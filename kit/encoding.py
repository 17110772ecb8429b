"""JSON as this house writes it: identifiers are texts, decimals are texts, no float for money."""

from __future__ import annotations

from typing import Any

import msgspec


def _plain(value: object) -> str:
    """Identifiers are subclasses of str, which msgspec does not take for texts by itself."""
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


_encoder = msgspec.json.Encoder(enc_hook=_plain, decimal_format="string")


def encode_json(value: Any) -> bytes:
    return _encoder.encode(value)
