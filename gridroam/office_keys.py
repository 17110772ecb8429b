"""Keys and signatures of a partner, on its own machine: nothing here knows a hub."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from gridroam.office import content_of
from kit.encoding import encode_json
from marketplace.access import detached
from roaming.refusal import Malformed


async def new_key(file: Path) -> dict[str, Any]:
    """Make a key; what its public half is registered with."""
    made = ECKey.generate_key("P-256")
    kid = made.thumbprint()
    public = made.as_dict(private=False) | {"kid": kid}
    told = {"jwks": {"keys": [public]}}
    await asyncio.to_thread(_write, file, made.as_pem(private=True), 0o600)
    await asyncio.to_thread(_write, _public_of(file), encode_json(told), 0o644)
    return told


async def sign(file: Path, key_file: Path) -> str:
    """A detached JWS over a file's bytes."""
    pem = await content_of(key_file)
    try:
        made = ECKey.import_key(pem)
        assert made.is_private
    except (JoseError, ValueError, TypeError, AssertionError):
        raise Malformed(
            f"{key_file} holds no private key that signs",
            field="--key",
            value=key_file,
            rule="a PEM with a private EC key: make one with `gridroam key new`",
        ) from None
    return detached.sign({}, await content_of(file), made.thumbprint(), made)


def _public_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.jwks")


def _write(file: Path, content: bytes, mode: int) -> None:
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
            out.write(content)
    except FileExistsError:
        raise Malformed(
            f"{file} is there already", field="FILE", value=file, rule="a name that is free"
        ) from None
    except OSError as error:
        raise Malformed(
            f"cannot write {file}: {error.strerror}", field="FILE", value=file
        ) from None
