"""What is signed holds as it is, and no other way."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gateway.calls.paths import covers
from gridroam.signatures import KeysForGateway
from kit.secrets import SecretBox
from marketplace.access.keys import KeyRing, new_signing_key
from marketplace.access.model import KeyRules
from marketplace.offerings.model import ServiceTerms
from marketplace.services.model import Environment
from marketplace.validation import flows, model
from marketplace.validation.model import Answer, Asked
from roaming.party import PartyId

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVSP, OPERATOR = PartyId("DE*EVL"), PartyId("FR*PD1")


def ring() -> KeyRing:
    box = SecretBox(bytes(32))
    found = KeyRing(box, KeyRules())
    found.replace([new_signing_key("k1", box, NOW, NOW)])
    return found


RING = ring()
KEYS = KeySet.import_key_set({"keys": RING.public(NOW)})


def proof() -> str:
    asked = Asked(EVSP, OPERATOR, "roaming", 1, NOW, None, Environment.LIVE)
    answer = Answer(True, "C-1", None, NOW, "ab" * 32, NOW - timedelta(days=1), None)
    return flows.signed(
        KeysForGateway(RING),
        issuer="https://hub.example",
        audience=EVSP,
        said={"question": asked, "answer": answer},
        now=NOW,
        book_age_s=0.25,
    )


SIGNED = proof()
PARTS = [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in SIGNED.split(".")]


def packed(parts: list[bytes]) -> str:
    return ".".join(base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in parts)


def test_what_is_signed_is_verified_by_the_key_ring() -> None:
    assert packed(PARTS) == SIGNED
    assert b'"contract_id":"C-1"' in (
        jws.deserialize_compact(SIGNED, KEYS, ["ES256"]).payload or b""
    )


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_change_breaks_it(data: st.DataObject) -> None:
    part = data.draw(st.integers(0, 2))
    place = data.draw(st.integers(0, len(PARTS[part]) - 1))
    change = data.draw(st.integers(1, 255))
    changed = [bytearray(one) for one in PARTS]
    changed[part][place] ^= change
    with pytest.raises((JoseError, ValueError)):
        jws.deserialize_compact(packed([bytes(one) for one in changed]), KEYS, ["ES256"])


@given(
    st.lists(st.sampled_from(["*", "find", "find*", "GET /spots/*", "book"]), min_size=1),
    st.sampled_from(["find", "find-spot", "GET /spots/7", "POST /spots/7", "book"]),
)
def test_what_is_validated_is_what_the_gateway_lets_through(
    patterns: list[str], operation: str
) -> None:
    terms = ServiceTerms(operations=tuple(patterns))
    assert model.allows(terms, operation) is covers(patterns, operation)


def test_a_book_that_is_asked_for_a_strangers_contract_is_not_opened() -> None:
    class Closed:
        def standing(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("not looked up")

        terms_of = age_s = standing

    asked = Asked(EVSP, OPERATOR, "roaming", 1, NOW, None, Environment.LIVE)
    with pytest.raises(model.NotYourQuestion):
        flows.validate(Closed(), PartyId("NL*XYZ"), PartyId("EU*GRD"), asked)
