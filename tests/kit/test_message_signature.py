"""The signature, reckoned by hand from the RFC: no library of either side."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from gridroam.signatures import KeysForGateway
from kit import message_signature
from kit.secrets import SecretBox
from marketplace.access.keys import KeyRing, new_signing_key
from marketplace.access.model import KeyRules

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
URL = "https://control.example/hook?of=mine"
CONTENT = b'[{"specversion":"1.0"}]'
TYPE = "application/cloudevents-batch+json"


def test_what_is_signed_is_the_base_that_rfc_9421_describes() -> None:
    box = SecretBox(bytes(32))
    ring = KeyRing(box, KeyRules())
    ring.replace([new_signing_key("first", box, NOW, NOW)])
    told = message_signature.headers(URL, CONTENT, TYPE, signer=KeysForGateway(ring), at=NOW)

    digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    assert told["Content-Digest"] == f"sha-256=:{digest}:"
    parameters = told["Signature-Input"].removeprefix("gridroam=")
    assert parameters == (
        '("@method" "@target-uri" "content-digest" "content-type")'
        f';created={int(NOW.timestamp())};keyid="first";alg="ecdsa-p256-sha256"'
    )
    base = (
        '"@method": POST\n'
        f'"@target-uri": {URL}\n'
        f'"content-digest": sha-256=:{digest}:\n'
        f'"content-type": {TYPE}\n'
        f'"@signature-params": {parameters}'
    )
    raw = base64.b64decode(told["Signature"].removeprefix("gridroam=:").removesuffix(":"))
    assert len(raw) == 64
    signature = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    (jwk,) = ring.public(NOW)
    x, y = (int.from_bytes(base64.urlsafe_b64decode(jwk[name] + "=")) for name in "xy")
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    public.verify(signature, base.encode(), ec.ECDSA(SHA256()))


def test_both_sides_spell_a_url_in_one_way() -> None:
    for url, spelt in (
        ("http://Hook.Example", "http://hook.example/"),
        ("https://hook.example:443/a?b=%20", "https://hook.example/a?b=%20"),
        ("http://hook.example:8080", "http://hook.example:8080/"),
        ("http://[::1]:80/x", "http://[::1]/x"),
    ):
        assert message_signature.target(url) == spelt
