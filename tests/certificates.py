"""Certificates made for a test: authorities, servers on loopback, and callers."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from kit.clock import utc_now

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Made:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def key_pem(self) -> str:
        form = PrivateFormat.PKCS8
        return self.key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()

    def files(self, folder: Path) -> tuple[Path, Path]:
        """Where the certificate and the key lie."""
        name = self.certificate.subject.rfc4514_string().removeprefix("CN=").replace(" ", "-")
        pem, key = folder / f"{name}.pem", folder / f"{name}.key"
        pem.write_text(self.pem)
        key.write_text(self.key_pem)
        return pem, key


def authority(name: str = "An authority") -> Made:
    return _made(name, None, authority=True)


def server(issuer: Made) -> Made:
    """For 127.0.0.1."""
    return _made("127.0.0.1", issuer)


def caller(
    name: str, issuer: Made | None, *, days_ago: float = 1, good_for_days: float = 30
) -> Made:
    """Without an issuer it signs its own."""
    begins = utc_now() - days_ago * DAY
    return _made(name, issuer, begins=begins, ends=begins + good_for_days * DAY)


def trusting(
    authority: Made, shows: Made | None = None, folder: Path | None = None
) -> ssl.SSLContext:
    """How a client connects that trusts an authority, and perhaps shows a certificate."""
    context = ssl.create_default_context(cadata=authority.pem)
    if shows is not None:
        assert folder is not None
        context.load_cert_chain(*shows.files(folder))
    return context


def _made(
    name: str,
    issuer: Made | None,
    *,
    authority: bool = False,
    begins: datetime | None = None,
    ends: datetime | None = None,
) -> Made:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begins = begins or utc_now() - DAY
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends or begins + 30 * DAY)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if name == "127.0.0.1":
        place = x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))])
        builder = builder.add_extension(place, critical=False)
    return Made(builder.sign(key if issuer is None else issuer.key, hashes.SHA256()), key)
