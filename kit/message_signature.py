"""HTTP Message Signatures (RFC 9421) over what the hub sends, with digest (RFC 9530)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

ALGORITHM = "ecdsa-p256-sha256"
LABEL = "gridroam"
COVERED = ("@method", "@target-uri", "content-digest", "content-type")


class Signer(Protocol):
    """The hub's key that signs now; its public half is in /.well-known/jwks.json."""

    def key_id(self, at: datetime) -> str: ...

    def sign(self, content: bytes, at: datetime) -> bytes:
        """ECDSA with P-256 and SHA-256, r and s as they are (RFC 9421, section 3.3.4)."""
        ...


def headers(
    url: str, content: bytes, content_type: str, *, signer: Signer, at: datetime
) -> Mapping[str, str]:
    """The headers of a signed POST. `url` is spelled as it is called."""
    digest = f"sha-256=:{_text(hashlib.sha256(content).digest())}:"
    values = ("POST", url, digest, content_type)
    named = " ".join(f'"{name}"' for name in COVERED)
    parameters = (
        f'({named});created={int(at.timestamp())};keyid="{signer.key_id(at)}";alg="{ALGORITHM}"'
    )
    lines = [f'"{name}": {value}' for name, value in zip(COVERED, values, strict=True)]
    base = "\n".join([*lines, f'"@signature-params": {parameters}'])
    return {
        "Content-Type": content_type,
        "Content-Digest": digest,
        "Signature-Input": f"{LABEL}={parameters}",
        "Signature": f"{LABEL}=:{_text(signer.sign(base.encode('ascii'), at))}:",
    }


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
