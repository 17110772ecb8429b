"""HTTP Message Signatures (RFC 9421) over what the hub sends, with digest (RFC 9530)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

ALGORITHM = "ecdsa-p256-sha256"
LABEL = "gridroam"
COVERED = ("@method", "@target-uri", "content-digest", "content-type")


class Signer(Protocol):
    """The hub's key that signs now; its public half is in /.well-known/jwks.json."""

    def key_id(self, at: datetime) -> str: ...

    def sign(self, content: bytes, at: datetime) -> bytes:
        """ECDSA with P-256 and SHA-256, r and s as they are (RFC 9421, section 3.3.4)."""
        ...


def target(url: str) -> str:
    """A URL as it is called and signed: RFC 9421 has both sides spell it in one way."""
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}[parts.scheme]
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, default) else f":{parts.port}"
    return urlunsplit((parts.scheme, host + port, parts.path or "/", parts.query, ""))


def headers(
    url: str, content: bytes, content_type: str, *, signer: Signer, at: datetime
) -> Mapping[str, str]:
    """The headers of a signed POST. `url` is spelled as it is called (`target`)."""
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
