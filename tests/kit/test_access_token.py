"""Access tokens: what counts, what does not, and how soon a revocation does."""

from __future__ import annotations

import base64
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from kit.access_token import LONGEST_TOKEN, TokenRefused, Verifier
from roaming.party import PartyId

ISSUER = "https://hub.example"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Time:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def new_key(kid: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": "ES256"})


def claims(**other: Any) -> dict[str, Any]:
    return {
        "iss": ISSUER,
        "sub": "frpd1-a",
        "aud": [ISSUER],
        "exp": int((NOW + timedelta(minutes=15)).timestamp()),
        "iat": int(NOW.timestamp()),
        "jti": "j1",
        "client_id": "frpd1-a",
        "scope": "services marketplace",
        "party": "FR*PD1",
        "roles": ["evse-operator"],
    } | other


def signed(key: ECKey, content: dict[str, Any], **header: Any) -> str:
    return jwt.encode(
        {"alg": "ES256", "typ": "at+jwt", "kid": key.kid or ""} | header, content, key
    )


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def key() -> ECKey:
    return new_key("k1")


@pytest.fixture
def verifier(clock: Time, key: ECKey) -> Verifier:
    verifier = Verifier(ISSUER, ISSUER, clock)
    verifier.set_keys([key.as_dict(private=False)])
    return verifier


def test_a_token_of_ours_tells_who_calls(verifier: Verifier, key: ECKey) -> None:
    identity = verifier.verify(signed(key, claims()))
    assert identity.party == PartyId("FR*PD1")
    assert identity.roles == {"evse-operator"}
    assert identity.scopes == {"services", "marketplace"}
    assert (identity.client_id, identity.token_id) == ("frpd1-a", "j1")
    assert identity.expires_at == NOW + timedelta(minutes=15)


def test_a_token_expires_even_after_it_was_verified(
    verifier: Verifier, key: ECKey, clock: Time
) -> None:
    token = signed(key, claims())
    clock.now = NOW + timedelta(minutes=14, seconds=59)
    verifier.verify(token)
    clock.now = NOW + timedelta(minutes=15)
    for _ in range(2):
        with pytest.raises(TokenRefused):
            verifier.verify(token)


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "https://other.example"},
        {"aud": ["https://other.example"]},
        {"exp": int(NOW.timestamp())},
        {"exp": "tomorrow"},
        {"exp": None},
        {"nbf": int((NOW + timedelta(hours=1)).timestamp())},
        {"jti": 7},
        {"jti": None},
        {"party": "nobody"},
        {"party": None},
        {"roles": "evse-operator"},
        {"iat": "yesterday"},
    ],
    ids=str,
)
def test_a_claim_that_does_not_hold_is_refused(
    wrong: dict[str, Any], verifier: Verifier, key: ECKey
) -> None:
    with pytest.raises(TokenRefused):
        verifier.verify(signed(key, claims(**wrong)))


@pytest.mark.parametrize("missing", ["iss", "aud", "exp", "sub", "jti", "party", "roles", "iat"])
def test_a_missing_claim_is_refused(missing: str, verifier: Verifier, key: ECKey) -> None:
    content = claims()
    del content[missing]
    with pytest.raises(TokenRefused):
        verifier.verify(signed(key, content))


def test_a_tampered_token_is_refused(verifier: Verifier, key: ECKey) -> None:
    header, _, signature = signed(key, claims()).split(".")
    with pytest.raises(TokenRefused):
        verifier.verify(f"{header}.{part(claims(party='FR*EVL'))}.{signature}")


def test_a_token_signed_by_somebody_else_is_refused(verifier: Verifier) -> None:
    with pytest.raises(TokenRefused):
        verifier.verify(signed(new_key("k1"), claims()))


def test_a_token_without_a_signature_is_refused(verifier: Verifier) -> None:
    for algorithm in ("none", "None", "NONE"):
        header = {"alg": algorithm, "typ": "at+jwt", "kid": "k1"}
        with pytest.raises(TokenRefused):
            verifier.verify(f"{part(header)}.{part(claims())}.")


def test_our_public_key_is_no_hmac_secret(verifier: Verifier, key: ECKey) -> None:
    # Signed with what everybody knows, in the hope that the token's own `alg` is believed.
    content = f"{part({'alg': 'HS256', 'typ': 'at+jwt', 'kid': 'k1'})}.{part(claims())}"
    for secret in (key.as_pem(private=False), json.dumps(key.as_dict(private=False)).encode()):
        signature = hmac.digest(secret, content.encode(), "sha256")
        with pytest.raises(TokenRefused):
            verifier.verify(f"{content}.{part(signature)}")


def test_another_kind_of_jwt_is_no_access_token(verifier: Verifier, key: ECKey) -> None:
    with pytest.raises(TokenRefused):
        verifier.verify(signed(key, claims(), typ="JWT"))


@pytest.mark.parametrize("garbage", ["", "x", "a.b.c", "....", "é.é.é", "a" * (LONGEST_TOKEN + 1)])
def test_garbage_is_refused(garbage: str, verifier: Verifier) -> None:
    with pytest.raises(TokenRefused):
        verifier.verify(garbage)


def test_a_rotated_key_still_verifies_until_it_is_withdrawn(verifier: Verifier, key: ECKey) -> None:
    old, young = signed(key, claims()), new_key("k2")
    verifier.verify(old)
    verifier.set_keys([key.as_dict(private=False), young.as_dict(private=False)])
    verifier.verify(old)
    verifier.verify(signed(young, claims(jti="j2")))
    verifier.set_keys([young.as_dict(private=False)])
    with pytest.raises(TokenRefused):
        verifier.verify(old)


def test_a_revoked_token_is_refused_though_it_was_verified_before(
    verifier: Verifier, key: ECKey
) -> None:
    token, other = signed(key, claims()), signed(key, claims(jti="j2"))
    verifier.verify(token)
    verifier.revoke_jti("j1", NOW + timedelta(minutes=15))
    with pytest.raises(TokenRefused):
        verifier.verify(token)
    verifier.verify(other)


def test_a_revoked_client_loses_the_tokens_that_it_has(
    verifier: Verifier, key: ECKey, clock: Time
) -> None:
    token = signed(key, claims())
    verifier.verify(token)
    verifier.revoke_client("frpd1-a", NOW + timedelta(minutes=1))
    verifier.revoke_client("frpd1-a", NOW)
    with pytest.raises(TokenRefused):
        verifier.verify(token)
    later = int((NOW + timedelta(minutes=1)).timestamp())
    verifier.verify(signed(key, claims(jti="j2", iat=later)))
    verifier.verify(signed(key, claims(jti="j3", client_id="frpd1-b")))


def test_forgetting_drops_only_what_no_longer_matters(
    verifier: Verifier, key: ECKey, clock: Time
) -> None:
    token = signed(key, claims())
    verifier.revoke_jti("j1", NOW + timedelta(minutes=15))
    clock.now = NOW + timedelta(minutes=1)
    verifier.forget_expired()
    with pytest.raises(TokenRefused):
        verifier.verify(token)


def test_what_is_remembered_is_bounded(key: ECKey, clock: Time) -> None:
    verifier = Verifier(ISSUER, ISSUER, clock, most_remembered=2)
    verifier.set_keys([key.as_dict(private=False)])
    tokens = [signed(key, claims(jti=str(n))) for n in range(5)]
    for token in tokens + tokens:
        verifier.verify(token)
    assert len(verifier._verified) == 2


def test_a_verified_token_costs_microseconds(verifier: Verifier, key: ECKey) -> None:
    token = signed(key, claims())
    verifier.verify(token)
    began = time.perf_counter()
    for _ in range(10_000):
        verifier.verify(token)
    assert (time.perf_counter() - began) / 10_000 < 50e-6


def test_a_token_says_whether_it_tries_things_out(verifier: Verifier, key: ECKey) -> None:
    assert not verifier.verify(signed(key, claims())).sandbox
    assert not verifier.verify(signed(key, claims(jti="j2", env="live"))).sandbox
    assert verifier.verify(signed(key, claims(jti="j3", env="sandbox"))).sandbox


@pytest.mark.parametrize("env", ["", "Sandbox", None, ["sandbox"], {}, True])
def test_a_token_of_no_environment_that_we_know_is_refused(
    verifier: Verifier, key: ECKey, env: object
) -> None:
    with pytest.raises(TokenRefused):
        verifier.verify(signed(key, claims(env=env)))
