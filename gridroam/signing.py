"""Signing a contract's document by hand: a key, and a signature by it. Needs no hub and no net."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from kit.encoding import encode_json
from marketplace.access import detached
from marketplace.access.detached import LONGEST_CONTENT
from roaming.refusal import Malformed


class BadKeyFile(Malformed):
    """A file that holds no key to sign with."""


class BadDocument(Malformed):
    """A file that is no contract's document."""


def new_key(file: Path) -> dict[str, Any]:
    """Make a private key in `file`, and tell its public half as a client is registered by it."""
    key = ECKey.generate_key("P-256")
    private = key.as_dict(private=True) | {"kid": key.thumbprint()}
    try:
        # Nobody else's to read, and never over a key that is there.
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BadKeyFile(
            f"{file}: {error.strerror}", field="file", rule="a file that is not there yet"
        ) from None
    with os.fdopen(handle, "wb") as out:
        out.write(encode_json(private) + b"\n")
    public = key.as_dict(private=False) | {"kid": key.thumbprint()}
    return {"jwks": {"keys": [public]}}


def sign(document: Path, key_file: Path) -> dict[str, str]:
    """A detached JWS over the document's bytes as they are."""
    key = _key_of(_read(key_file, BadKeyFile))
    content = _read(document, BadDocument)
    try:
        told = json.loads(content)
    except ValueError:
        told = None
    if not isinstance(told, dict) or "format" not in told or len(content) > LONGEST_CONTENT:
        raise BadDocument(
            f"{document} is no contract's document",
            field="document",
            rule="the answer of GET /marketplace/negotiations/{id}/document, byte for byte",
        )
    return {"jws": detached.sign({}, content, key.thumbprint(), key)}


def _key_of(content: bytes) -> ECKey:
    try:
        jwk = content if b"-----BEGIN" in content else json.loads(content)
        key = ECKey.import_key(jwk)
    except (JoseError, ValueError, TypeError) as error:
        raise _no_key(type(error).__name__) from None
    if not key.is_private or key.curve_name != "P-256":
        raise _no_key("not a private key on P-256")
    return key


def _no_key(why: str) -> BadKeyFile:
    return BadKeyFile(
        f"this is no key to sign with: {why}", field="key", rule="as `gridroam key new` makes one"
    )


def _read(file: Path, refusal: type[Malformed]) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise refusal(f"{file}: {error.strerror}", field="file") from None
