"""TLS ends in this process, where `serve` is given a certificate; and callers may show theirs.

uvicorn does not tell the application who the other end of a connection is, so the protocol here
does: once for each connection, into the scope of each of its requests.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

from gridroam.heads import BoundedProtocol
from gridroam.settings import Tls
from kit.client_certificate import CERTIFICATE, ClientCertificate, from_der
from roaming.refusal import Malformed


class BadTls(Malformed):
    """The files that TLS needs are not there, or do not belong together."""


def tls_of(certificate: Path | None, key: Path | None, client_ca: Path | None) -> Tls | None:
    """What the three options of the command line come to. Raises BadTls."""
    if certificate is None and key is None and client_ca is None:
        return None
    if certificate is None or key is None:
        raise BadTls(
            "TLS needs a certificate and its key",
            field="--tls-key" if key is None else "--tls-certificate",
            rule="--tls-certificate FILE --tls-key FILE, and --client-ca FILE besides",
        )
    return Tls(certificate, key, client_ca)


def context(tls: Tls) -> ssl.SSLContext:
    """How connections are taken. Raises BadTls.

    A caller need not show a certificate; one that does not hold breaks its connection off.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        made.load_cert_chain(tls.certificate, tls.key, password=_no_password)
    except (OSError, ValueError) as error:
        raise BadTls(
            f"no certificate with its key: {_told(error)}",
            field="--tls-certificate",
            value=tls.certificate,
            rule="a certificate with its chain, and its key without a password, in PEM",
        ) from None
    if tls.client_ca is not None:
        try:
            made.load_verify_locations(tls.client_ca)
        except (OSError, ValueError) as error:
            raise BadTls(
                f"no certificates of callers: {_told(error)}",
                field="--client-ca",
                value=tls.client_ca,
                rule="certificates in PEM: authorities, or those of callers that sign their own",
            ) from None
        made.verify_mode = ssl.CERT_OPTIONAL
    return made


class CertifiedProtocol(BoundedProtocol):
    """Each request's scope has the certificate that its connection was authenticated by."""

    _certificate: ClientCertificate | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        der = None if secured is None else secured.getpeercert(binary_form=True)
        self._certificate = None if der is None else from_der(der)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._certificate is not None:
            scope: Any = self.scope
            scope[CERTIFICATE] = self._certificate


def _no_password() -> str:
    raise ValueError("the key is locked with a password")


def _told(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "no PEM"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
