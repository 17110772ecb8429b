"""The keys that sign access tokens, in memory; and the keys by which clients sign assertions."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey

from kit import client_certificate
from kit.access_token import ALGORITHM
from kit.client_certificate import BadCertificate
from marketplace.access import model
from marketplace.access.model import BadCertificates, BadKeys, Certificate, KeyRules, SigningKey
from marketplace.access.ports import Box

MOST_CLIENT_KEYS = 10
LEAST_RSA_BITS = 2048
ASSERTION_ALGORITHMS = ("ES256", "ES384", "PS256", "RS256", "Ed25519")
_KINDS: Mapping[str, type[ECKey | RSAKey | OKPKey]] = {"EC": ECKey, "RSA": RSAKey, "OKP": OKPKey}
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


def new_signing_key(kid: str, box: Box, now: datetime, signs_from: datetime) -> SigningKey:
    """A fresh P-256 key, its private half sealed."""
    key = ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": ALGORITHM})
    sealed = box.seal(key.as_pem(private=True), purpose=_seal_of(kid))
    return SigningKey(kid, key.as_dict(private=False), sealed, now, signs_from)


class KeyRing:
    """Our signing keys, opened. Others renew it; it never looks anything up."""

    def __init__(self, box: Box, rules: KeyRules) -> None:
        self.rules = rules
        self._box = box
        self._keys: tuple[SigningKey, ...] = ()
        self._opened: dict[str, ECKey] = {}

    def replace(self, keys: Sequence[SigningKey]) -> None:
        """Hold these keys. SealBroken: the hub's key is not the one that sealed them."""
        opened = {}
        for key in keys:
            known = self._opened.get(key.kid)
            if known is None:
                pem = self._box.unseal(key.sealed, purpose=_seal_of(key.kid))
                known = ECKey.import_key(pem)
            opened[key.kid] = known
        self._keys, self._opened = tuple(keys), opened

    def current(self, now: datetime) -> tuple[str, ECKey]:
        """The key that signs now."""
        key = model.signing_key(self._keys, now)
        assert key is not None, "keys are loaded before the first token"
        return key.kid, self._opened[key.kid]

    def public(self, now: datetime) -> list[dict[str, Any]]:
        """The JWK set that verifies what we sign, newest last."""
        return [dict(key.public_jwk) for key in model.published(self._keys, now, self.rules)]


def client_keys(jwks: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The public keys of a JWK set (RFC 7517), tidied; BadKeys names what is wrong with one."""
    members = jwks.get("keys")
    if not isinstance(members, list) or not 0 < len(members) <= MOST_CLIENT_KEYS:
        raise BadKeys(
            "a JWK set has keys", field="jwks.keys", rule=f"a list of 1 to {MOST_CLIENT_KEYS} JWKs"
        )
    return [_client_key(member, f"jwks.keys.{n}") for n, member in enumerate(members)]


def client_certificates(pems: Sequence[str], now: datetime) -> list[Certificate]:
    """The certificates that a client may show; BadCertificates names what is wrong with one."""
    if len(pems) > MOST_CLIENT_KEYS:
        raise BadCertificates(
            "too many certificates", field="certificates", rule=f"at most {MOST_CLIENT_KEYS}"
        )
    return [_client_certificate(pem, f"certificates.{n}", now) for n, pem in enumerate(pems)]


def _client_certificate(pem: str, field: str, now: datetime) -> Certificate:
    try:
        found = client_certificate.from_pem(pem)
    except BadCertificate as error:
        raise BadCertificates(error.detail, field=field, rule=error.rule) from None
    if found.valid_until <= now:
        raise BadCertificates(
            "the certificate has expired",
            field=field,
            value=found.valid_until.isoformat(),
            rule="one that holds now, or will",
        )
    return Certificate(found.thumbprint, found.self_signed, found.valid_until)


def key_set(public_keys: Sequence[Mapping[str, Any]]) -> KeySet:
    return KeySet([_import(jwk) for jwk in public_keys])


def _client_key(jwk: object, field: str) -> dict[str, Any]:
    # The kind may be anything at all, a list too: no key of a table.
    kind = jwk.get("kty") if isinstance(jwk, dict) else None
    if not isinstance(jwk, dict) or not isinstance(kind, str) or kind not in _KINDS:
        raise BadKeys("not a key that we take", field=field, rule="kty is EC, RSA or OKP")
    if _PRIVATE_MEMBERS & jwk.keys():
        raise BadKeys(
            "this key is private; throw it away and send the public half of a new one",
            field=field,
            rule="a public JWK",
        )
    try:
        # Before it is read: joserfc only warns of short keys.
        bits = _bits(jwk["n"]) if jwk["kty"] == "RSA" else LEAST_RSA_BITS
        shown = _import(jwk).as_dict(private=False) if bits >= LEAST_RSA_BITS else {}
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise BadKeys(
            f"not a key that can be read: {type(error).__name__}", field=field, rule="RFC 7517"
        ) from None
    if bits < LEAST_RSA_BITS:
        raise BadKeys("the key is too short", field=field, rule=f"{LEAST_RSA_BITS} bits or more")
    kid = jwk.get("kid")
    known = {"kid": kid} if isinstance(kid, str) and kid.isprintable() else {}
    return {
        name: shown[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in shown
    } | known


def _bits(modulus: str) -> int:
    return int.from_bytes(
        base64.urlsafe_b64decode(modulus + "=" * (-len(modulus) % 4))
    ).bit_length()


def _import(jwk: Mapping[str, Any]) -> Key:
    return _KINDS[jwk["kty"]].import_key(dict(jwk))


def _seal_of(kid: str) -> str:
    return f"signing-key:{kid}"
