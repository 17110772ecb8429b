"""What is kept of a call that its caller signed: both signatures, and of the bodies their digests.

A signature is a detached JWS (RFC 7515, appendix F) over a body as it is (`b64` false, RFC 7797).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from roaming.party import PartyId

# A body is read whole to be signed; one that is larger goes another way.
MOST_BYTES = 1024 * 1024
PREFERENCE = "signed-answer"
KIND = "gridroam-answer+jws"


@dataclass(frozen=True, slots=True)
class Signature:
    """The caller's over its body, and the public key (JWK) that verified it."""

    text: str
    digest: str
    key: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SignedCall:
    """The evidence. `answer_digest` None: there was no answer that could be read whole."""

    at: datetime
    request_id: str
    caller: PartyId
    client_id: str
    provider: PartyId
    service: str
    major: int
    operation: str
    contract_id: str | None
    sandbox: bool
    status: int
    request: Signature
    answer_digest: str | None = None
    answer_signature: str | None = None


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def prefers_signed(header: str) -> bool:
    """Whether a `Prefer` header (RFC 7240) asks for a signed answer."""
    asked = (one.partition(";")[0].strip().lower() for one in header.split(","))
    return PREFERENCE in asked
