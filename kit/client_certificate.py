"""The certificate that a caller's connection was authenticated by (mutual TLS, RFC 8705).

Who terminates TLS puts it into the ASGI scope, this process or a proxy that it trusts; nobody else
can. It is known by its thumbprint: that of a token bound to it is the same, or the token is not its
bearer's.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from roaming.refusal import Malformed

CERTIFICATE = "gridroam.certificate"
"""Where the scope of a request has it."""

LONGEST_PEM = 16 * 1024


class BadCertificate(Malformed):
    """What should be a certificate is none."""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """`thumbprint` is the `x5t#S256` of RFC 8705, section 3.1."""

    thumbprint: str
    valid_from: datetime
    valid_until: datetime
    self_signed: bool

    def holds_at(self, now: datetime) -> bool:
        return self.valid_from <= now <= self.valid_until


def from_der(der: bytes) -> ClientCertificate:
    """Raises BadCertificate."""
    try:
        return _of(x509.load_der_x509_certificate(der))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadCertificate(f"no certificate: {error}"[:200], rule="X.509, DER") from None


def from_pem(text: str) -> ClientCertificate:
    """One certificate. Raises BadCertificate, the loudest for a private key."""
    if "PRIVATE KEY" in text:
        raise BadCertificate(
            "this is a private key; throw it away and send the certificate of a new one",
            rule="a certificate in PEM",
        )
    try:
        found = x509.load_pem_x509_certificates(text[: LONGEST_PEM + 1].encode())
        if len(text) > LONGEST_PEM or len(found) != 1:
            raise ValueError(f"{len(found)} certificates")
        return _of(found[0])
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadCertificate(
            f"not one certificate: {error}"[:200], rule="one X.509 certificate in PEM, alone"
        ) from None


def of_scope(scope: Mapping[str, Any]) -> ClientCertificate | None:
    """The certificate of this request's connection, where there is one."""
    found = scope.get(CERTIFICATE)
    return found if isinstance(found, ClientCertificate) else None


def _of(certificate: x509.Certificate) -> ClientCertificate:
    digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
    return ClientCertificate(
        thumbprint=base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        valid_from=certificate.not_valid_before_utc,
        valid_until=certificate.not_valid_after_utc,
        self_signed=_is_self_signed(certificate),
    )


def _is_self_signed(certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
