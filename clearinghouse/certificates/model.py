"""Contract certificates of plug and charge (ISO 15118): whose is this vehicle's contract?

What a vehicle presents comes as hash data (OCPP 2.0.1 OCSPRequestDataType), as its chain, or both.
An EVSP registers its certificate authorities here and tells which certificates it has revoked; its
word counts, and no responder on the network is asked.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from roaming.contract_id import ContractId
from roaming.identifier import BadIdentifier
from roaming.refusal import Malformed

CHAIN_MOST = 5
CHAIN_LONGEST = 16_384
HASH_DATA_MOST = 4
AUTHORITIES_MOST = 20
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_HEX = re.compile(r"[0-9a-fA-F]{1,128}")
_SERIAL = re.compile(r"[0-9a-fA-F]{1,40}")


class BadCertificates(Malformed):
    """What is no certificate, or not the certificate of an authority."""


class HashAlgorithm(StrEnum):
    SHA256 = "SHA256"
    SHA384 = "SHA384"
    SHA512 = "SHA512"


_HASHES: Mapping[HashAlgorithm, type[hashes.HashAlgorithm]] = {
    HashAlgorithm.SHA256: hashes.SHA256,
    HashAlgorithm.SHA384: hashes.SHA384,
    HashAlgorithm.SHA512: hashes.SHA512,
}


@dataclass(frozen=True, slots=True)
class HashData:
    """One certificate by its serial number and its issuer's hashes; all in lower case hex."""

    hash_algorithm: HashAlgorithm
    issuer_name_hash: str
    issuer_key_hash: str
    serial_number: str
    responder_url: str


@dataclass(frozen=True, slots=True)
class Presented:
    """What a vehicle showed. `chain` is PEM, from its own certificate upwards."""

    hash_data: tuple[HashData, ...]
    chain: str | None
    certificates: tuple[x509.Certificate, ...]

    def digest(self) -> str:
        """The same for the same certificates, however they are spelt."""
        parts = [
            f"{one.hash_algorithm} {one.issuer_name_hash} {one.issuer_key_hash} {one.serial_number}"
            for one in self.hash_data
        ]
        parts += [one.fingerprint(hashes.SHA256()).hex() for one in self.certificates]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def serial_numbers(self) -> frozenset[str]:
        return frozenset(
            [*(one.serial_number for one in self.hash_data), *map(serial_of, self.certificates)]
        )


@dataclass(frozen=True, slots=True)
class Authorities:
    """What an EVSP has told: its authorities' certificates, and since when which are revoked."""

    certificates: tuple[x509.Certificate, ...] = ()
    revoked: Mapping[str, datetime] | None = None


class Outcome(StrEnum):
    """How a check came out. Not checked: the EVSP has registered no authority to check against."""

    NOT_CHECKED = "not-checked"
    VERIFIED = "verified"
    UNTRUSTED = "untrusted"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Checked:
    outcome: Outcome
    detail: str


def present(hash_data: Sequence[HashData], chain: str | None) -> Presented:
    """What was shown, in its one spelling, or BadCertificates."""
    if len(hash_data) > HASH_DATA_MOST:
        raise _bad("certificate_hash_data", len(hash_data), f"at most {HASH_DATA_MOST}")
    certificates: tuple[x509.Certificate, ...] = ()
    if chain is not None:
        certificates = _read("contract_certificate_chain", chain, CHAIN_MOST)
    return Presented(
        tuple(_tidy(index, one) for index, one in enumerate(hash_data)), chain, certificates
    )


def authorities_of(pem: str) -> tuple[x509.Certificate, ...]:
    """The certificates of authorities, or BadCertificates; none where there is only white space."""
    if not pem.strip():
        return ()
    found = _read("certificates", pem, AUTHORITIES_MOST)
    for one in found:
        if not _is_authority(one):
            raise _bad(
                "certificates",
                one.subject.rfc4514_string()[:60],
                "certificates of authorities: basicConstraints cA, keyUsage keyCertSign",
            )
    return tuple(dict.fromkeys(found))


def to_pem(certificates: Iterable[x509.Certificate]) -> str:
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates)


def serial_of(certificate: x509.Certificate) -> str:
    return f"{certificate.serial_number:x}"


def serial_number_of(text: str) -> str:
    """A serial number in its one spelling: lower case hex without leading zeros."""
    if _SERIAL.fullmatch(text) is None:
        raise _bad("serial_number", text[:60], "1 to 40 hexadecimal digits")
    return text.lower().lstrip("0") or "0"


def instant_of(revoked_at: datetime) -> datetime:
    """In UTC; refused where the calendar has no such instant."""
    try:
        instant = revoked_at.astimezone(UTC)
    except OverflowError:
        instant = _EARLIEST - timedelta(days=1)
    if instant < _EARLIEST:
        raise _bad("revoked_at", revoked_at.isoformat(), "a time from 1970 to 9999 in UTC")
    return instant


def check(
    presented: Presented, contract_id: ContractId, authorities: Authorities, at: datetime
) -> Checked:
    """Whether what was shown at `at` is a contract certificate of this contract.

    Only what an EVSP has registered is trusted. Revocation counts from when the EVSP dates it.
    """
    if presented.certificates:
        fault = _unlike_contract(presented.certificates[0], contract_id)
        if fault is None:
            fault = _unlike_chain(presented, authorities)
        if fault is None and authorities.certificates:
            fault = _unverified(presented.certificates, authorities, at)
        if fault is not None:
            return Checked(Outcome.UNTRUSTED, fault)
    elif authorities.certificates and not _names_an_authority(presented, authorities):
        return Checked(Outcome.UNTRUSTED, "the hash data names no authority of the EVSP as issuer")
    revoked = authorities.revoked or {}
    for serial_number in sorted(presented.serial_numbers()):
        since = revoked.get(serial_number)
        if since is not None and since <= at:
            return Checked(
                Outcome.REVOKED, f"certificate {serial_number} revoked {since.isoformat()}"
            )
    if presented.certificates and not _in_validity(presented.certificates[0], at):
        until = presented.certificates[0].not_valid_after_utc.isoformat()
        return Checked(Outcome.EXPIRED, f"the contract certificate is valid until {until}")
    if not authorities.certificates:
        return Checked(Outcome.NOT_CHECKED, "the EVSP has registered no certificate authority")
    if not presented.certificates:
        return Checked(Outcome.VERIFIED, "issued by an authority of the EVSP, by its hash data")
    return Checked(Outcome.VERIFIED, "signed by an authority of the EVSP")


def _unlike_contract(leaf: x509.Certificate, contract_id: ContractId) -> str | None:
    names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    named = [str(one.value) for one in names]
    for name in named:
        try:
            if ContractId(name) == contract_id:
                return None
        except BadIdentifier:
            continue
    return "the certificate's common name is not this contract id"


def _unlike_chain(presented: Presented, authorities: Authorities) -> str | None:
    """Each of the hash data is about a certificate of the chain, and names its issuer."""
    known = (*presented.certificates, *authorities.certificates)
    for one in presented.hash_data:
        about = [cert for cert in presented.certificates if serial_of(cert) == one.serial_number]
        if not any(_names(one, cert, known) for cert in about):
            return f"the hash data of {one.serial_number} belongs to no certificate of the chain"
    return None


def _names(one: HashData, cert: x509.Certificate, known: Sequence[x509.Certificate]) -> bool:
    algorithm = _HASHES[one.hash_algorithm]()
    digest = hashes.Hash(algorithm)
    digest.update(cert.issuer.public_bytes())
    if digest.finalize().hex() != one.issuer_name_hash:
        return False
    issuers = [issuer for issuer in known if issuer.subject == cert.issuer]
    # Where nobody has told us the issuer's certificate, its key cannot be compared.
    return not issuers or any(
        _key_hash(cert, issuer, algorithm) == one.issuer_key_hash for issuer in issuers
    )


def _key_hash(
    cert: x509.Certificate, issuer: x509.Certificate, algorithm: hashes.HashAlgorithm
) -> str:
    request = ocsp.OCSPRequestBuilder().add_certificate(cert, issuer, algorithm).build()
    return request.issuer_key_hash.hex()


def _names_an_authority(presented: Presented, authorities: Authorities) -> bool:
    for one in presented.hash_data:
        algorithm = _HASHES[one.hash_algorithm]()
        for authority in authorities.certificates:
            # Of an OCSP request for the authority itself, with itself as the issuer, the hashes are
            # those of its own subject and key.
            builder = ocsp.OCSPRequestBuilder().add_certificate(authority, authority, algorithm)
            if builder.build().issuer_key_hash.hex() != one.issuer_key_hash:
                continue
            digest = hashes.Hash(algorithm)
            digest.update(authority.subject.public_bytes())
            if digest.finalize().hex() == one.issuer_name_hash:
                return True
    return False


def _unverified(
    chain: Sequence[x509.Certificate], authorities: Authorities, at: datetime
) -> str | None:
    """Why the chain does not lead to an authority of the EVSP, or None: it does.

    Looked at when it was valid, or nearest to that: that it has expired is told by itself.
    """
    leaf = chain[0]
    moment = min(max(at, leaf.not_valid_before_utc), leaf.not_valid_after_utc)
    verifier = (
        PolicyBuilder()
        .store(Store(list(authorities.certificates)))
        .time(moment)
        .max_chain_depth(CHAIN_MOST)
        .extension_policies(ca_policy=_AUTHORITY, ee_policy=ExtensionPolicy.permit_all())
        .build_client_verifier()
    )
    try:
        verifier.verify(leaf, list(chain[1:]))
    except VerificationError:
        return "the chain does not verify against an authority of the EVSP"
    return None


def _in_validity(certificate: x509.Certificate, at: datetime) -> bool:
    return certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        extensions = certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return constraints.ca and usage.key_cert_sign


def _must_be_ca(_: Policy, __: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError("not an authority")


def _must_sign(_: Policy, __: x509.Certificate, usage: x509.KeyUsage) -> None:
    if not usage.key_cert_sign:
        raise ValueError("not for signing certificates")


# ISO 15118-2, Annex F: of an authority these two, critical; all else is as it likes.
_AUTHORITY = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.CRITICAL, _must_be_ca)
    .require_present(x509.KeyUsage, Criticality.CRITICAL, _must_sign)
)


def _read(field: str, pem: str, most: int) -> tuple[x509.Certificate, ...]:
    rule = f"1 to {most} X.509 certificates in PEM, at most {CHAIN_LONGEST * 4} characters"
    if len(pem) > CHAIN_LONGEST * 4:
        raise _bad(field, len(pem), rule)
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
        for one in found:
            # What is read only when it is looked at, is looked at now.
            _ = one.extensions, one.subject, one.issuer, one.public_key()
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, TypeError):
        raise _bad(field, pem[:60], rule) from None
    if not 0 < len(found) <= most:
        raise _bad(field, len(found), rule)
    return tuple(found)


def _tidy(index: int, one: HashData) -> HashData:
    field = f"certificate_hash_data[{index}]"
    for name in ("issuer_name_hash", "issuer_key_hash"):
        value: str = getattr(one, name)
        if _HEX.fullmatch(value) is None:
            raise _bad(f"{field}.{name}", value[:60], "1 to 128 hexadecimal digits")
    if _SERIAL.fullmatch(one.serial_number) is None:
        raise _bad(f"{field}.serial_number", one.serial_number[:60], "1 to 40 hexadecimal digits")
    url = one.responder_url
    if len(url) > 512 or not url.isprintable():
        raise _bad(f"{field}.responder_url", url[:60], "at most 512 printable characters")
    return HashData(
        one.hash_algorithm,
        one.issuer_name_hash.lower(),
        one.issuer_key_hash.lower(),
        serial_number_of(one.serial_number),
        url,
    )


def _bad(field: str, value: object, rule: str) -> BadCertificates:
    return BadCertificates(f"{field} {value!r}: {rule}", field=field, value=value, rule=rule)
