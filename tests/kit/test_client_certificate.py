"""A certificate is known by its thumbprint; and what is none is said to be none."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta

import pytest

from kit.client_certificate import (
    CERTIFICATE,
    BadCertificate,
    from_der,
    from_pem,
    of_scope,
)
from kit.clock import utc_now
from tests.certificates import authority, caller


def test_the_thumbprint_is_the_digest_of_the_whole_certificate() -> None:
    made = caller("A caller", authority())
    digest = base64.urlsafe_b64encode(hashlib.sha256(made.der).digest()).rstrip(b"=").decode()
    assert from_pem(made.pem).thumbprint == from_der(made.der).thumbprint == digest
    assert len(digest) == 43


def test_it_holds_from_its_beginning_to_its_end() -> None:
    found = from_pem(caller("A caller", None, days_ago=1, good_for_days=2).pem)
    now = utc_now()
    assert found.holds_at(now)
    assert not found.holds_at(now - timedelta(days=2))
    assert not found.holds_at(now + timedelta(days=2))


def test_one_that_signs_its_own_is_told_from_one_that_an_authority_signed() -> None:
    issuer = authority("The same name")
    assert from_pem(issuer.pem).self_signed
    assert from_pem(caller("A caller", None).pem).self_signed
    assert not from_pem(caller("A caller", issuer).pem).self_signed
    # Its name alone does not make it its own issuer.
    assert not from_pem(caller("The same name", issuer).pem).self_signed


def test_what_is_no_certificate_is_refused() -> None:
    made = caller("A caller", None)
    for text in ("", "x", made.pem[:200], made.pem * 2, made.pem + "x" * 20_000, "\ud800é"):
        with pytest.raises(BadCertificate):
            from_pem(text)
    for der in (b"", b"x", made.der[:-1], made.der + b"x"):
        with pytest.raises(BadCertificate):
            from_der(der)


def test_a_private_key_is_refused_as_such() -> None:
    made = caller("A caller", None)
    for text in (made.key_pem, made.pem + made.key_pem):
        with pytest.raises(BadCertificate, match="private") as refused:
            from_pem(text)
        assert "BEGIN" not in str(refused.value.detail) + str(refused.value.value)


def test_a_scope_tells_of_a_certificate_or_of_none() -> None:
    found = from_pem(caller("A caller", None).pem)
    assert of_scope({CERTIFICATE: found}) == found
    assert of_scope({CERTIFICATE: "thumbprint"}) is None
    assert of_scope({}) is None
