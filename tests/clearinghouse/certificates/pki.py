"""A small ISO 15118 key infrastructure: a root, an authority below it, contract certificates.

As ISO 15118-2, Annex F has them: secp256r1, ECDSA with SHA-256, no EKU, the eMAID as common name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from clearinghouse.certificates.model import HashAlgorithm, HashData, to_pem

BEGIN = datetime(2024, 6, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
_HASHES: dict[HashAlgorithm, hashes.HashAlgorithm] = {
    HashAlgorithm.SHA256: hashes.SHA256(),
    HashAlgorithm.SHA384: hashes.SHA384(),
    HashAlgorithm.SHA512: hashes.SHA512(),
}


def name_of(common_name: str, domain: str = "MO") -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "XYZ"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
            x509.NameAttribute(NameOID.DOMAIN_COMPONENT, domain),
        ]
    )


@dataclass(frozen=True)
class Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return to_pem([self.certificate])

    def authority(self, common_name: str) -> Authority:
        """One below this one."""
        return _authority(common_name, self)

    def contract(
        self, common_name: str, *, begin: datetime = BEGIN, valid: timedelta = 2 * YEAR
    ) -> x509.Certificate:
        """The contract certificate of a vehicle."""
        key = ec.generate_private_key(ec.SECP256R1())
        return (
            x509.CertificateBuilder()
            .subject_name(name_of(common_name))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + valid)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )

    def hash_data(
        self, certificate: x509.Certificate, algorithm: HashAlgorithm = HashAlgorithm.SHA256
    ) -> HashData:
        """What OCPP says of a certificate that this authority has issued."""
        request = (
            ocsp.OCSPRequestBuilder()
            .add_certificate(certificate, self.certificate, _HASHES[algorithm])
            .build()
        )
        return HashData(
            algorithm,
            request.issuer_name_hash.hex(),
            request.issuer_key_hash.hex(),
            f"{certificate.serial_number:x}",
            "http://ocsp.example/",
        )


def root(common_name: str = "XYZ root") -> Authority:
    return _authority(common_name, None)


def _authority(common_name: str, above: Authority | None) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = name_of(common_name)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if above is None else above.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN)
        .not_valid_after(BEGIN + 20 * YEAR)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key if above is None else above.key, hashes.SHA256())
    )
    return Authority(certificate, key)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=not signs_certificates,
        key_encipherment=not signs_certificates,
        data_encipherment=False,
        key_agreement=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
