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
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        # Told back to who sent it: half a surrogate pair, which JSON can spell and UTF-8 cannot.
        return _encoder.encode(_in_utf_8(msgspec.to_builtins(value, enc_hook=_plain)))


def _in_utf_8(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_in_utf_8(key): _in_utf_8(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_in_utf_8(inner) for inner in value]
    return value
