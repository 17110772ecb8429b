"""What the hub signs is verified by the keys that it publishes, also when they change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from joserfc import jwt
from joserfc.jwk import KeySet

from gridroam.signatures import KeysForGateway
from kit.secrets import SecretBox
from marketplace.access.detached import verify
from marketplace.access.keys import KeyRing, new_signing_key
from marketplace.access.model import KeyRules

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_what_the_hub_signs_is_verified_by_the_keys_that_it_publishes_across_a_rotation() -> None:
    now = NOW
    box, ring = SecretBox(b"x" * 32), KeyRing(SecretBox(b"x" * 32), KeyRules())
    old = new_signing_key("old", box, now, now)
    new = new_signing_key("new", box, now, now + timedelta(minutes=1))
    ring.replace([old, new])
    hub = KeysForGateway(ring)
    claims = {"sub": "FR*PD1"}
    signed = {
        minutes: hub.sign_jwt("gridroam-call+jwt", claims, now + timedelta(minutes=minutes))
        for minutes in (0, 2)
    }
    published = KeySet.import_key_set({"keys": ring.public(now + timedelta(minutes=2))})
    told = {
        minutes: jwt.decode(text, published, algorithms=["ES256"])
        for minutes, text in signed.items()
    }
    assert [told[minutes].header["kid"] for minutes in (0, 2)] == ["old", "new"]
    assert all(one.claims == claims for one in told.values())
    assert told[0].header["typ"] == "gridroam-call+jwt"


def test_a_body_that_the_hub_signs_verifies_by_what_it_publishes() -> None:
    box, ring = SecretBox(b"x" * 32), KeyRing(SecretBox(b"x" * 32), KeyRules())
    ring.replace([new_signing_key("k-1", box, NOW, NOW)])
    made = KeysForGateway(ring).sign_detached({"status": 200}, b"\xff.body", NOW)
    assert verify(made, b"\xff.body", ring.public(NOW))["kid"] == "k-1"
