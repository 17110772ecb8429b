"""Keys, secrets and failed attempts: the rules without the web."""

from __future__ import annotations

import base64
from contextlib import suppress
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from marketplace.access import model
from marketplace.access.model import (
    MOST_SECRETS,
    SECRET_OVERLAP,
    BadGrantRequest,
    FailedAttempts,
    GrantRequest,
    KeyRules,
    Method,
    SecretKept,
    SigningKey,
)
from tests.marketplace.fakes import NOW

RULES = KeyRules()


def key(kid: str, signs_from: datetime) -> SigningKey:
    return SigningKey(kid, {}, b"", signs_from, signs_from)


def test_the_first_key_signs_at_once_and_the_next_after_everybody_could_know_it() -> None:
    assert model.needs_new_key([], NOW, RULES)
    assert model.begins([], NOW, RULES) == NOW
    first = key("1", NOW)
    assert not model.needs_new_key([first], NOW + timedelta(hours=23), RULES)
    due = NOW + RULES.every - RULES.lead
    assert model.needs_new_key([first], due, RULES)
    assert model.begins([first], due, RULES) == NOW + RULES.every


@given(
    some.lists(some.integers(0, 72 * 60), min_size=1, max_size=6, unique=True),
    some.integers(0, 120 * 60),
)
def test_a_key_is_published_while_a_token_that_it_signed_may_live(
    starts: list[int], minutes: int
) -> None:
    keys = [key(str(start), NOW + timedelta(minutes=start)) for start in starts]
    issued = NOW + timedelta(minutes=minutes)
    signer = model.signing_key(keys, issued)
    if signer is None:
        assert minutes < min(starts)
        return
    for age in range(int(RULES.token_lifetime.total_seconds() // 60)):
        assert signer in model.published(keys, issued + timedelta(minutes=age), RULES)


def test_a_key_long_replaced_is_no_longer_published() -> None:
    keys = [key("1", NOW), key("2", NOW + timedelta(hours=24))]
    later = NOW + timedelta(hours=24) + RULES.token_lifetime + timedelta(minutes=2)
    assert [one.kid for one in model.published(keys, later, RULES)] == ["2"]


def test_a_further_secret_lets_the_old_ones_live_for_the_overlap() -> None:
    kept = [SecretKept(n, NOW + timedelta(days=n), None) for n in range(6)]
    now = NOW + timedelta(days=6)
    shorten, drop = model.secrets_to_end(kept, now)
    assert shorten == [
        (5, now + SECRET_OVERLAP),
        (4, now + SECRET_OVERLAP),
        (3, now + SECRET_OVERLAP),
    ]
    assert drop == [0, 1, 2]
    assert len(shorten) + 1 == MOST_SECRETS


def test_a_secret_never_lives_longer_for_being_replaced_again() -> None:
    soon = NOW + timedelta(days=1)
    shorten, drop = model.secrets_to_end([SecretKept(1, NOW, soon)], NOW)
    assert (shorten, drop) == ([], [])
    assert model.secrets_to_end([SecretKept(1, NOW, soon)], soon) == ([], [1])


def test_failures_are_counted_for_a_client_at_an_address_and_forgotten_after_the_window() -> None:
    failures = FailedAttempts(per_client=2, per_address=3)
    for _ in range(2):
        assert failures.wait_s("a", "1.2.3.4", NOW) == 0
        failures.note("a", "1.2.3.4", NOW)
    assert failures.wait_s("a", "1.2.3.4", NOW + timedelta(seconds=20)) == 41
    assert failures.wait_s("a", "5.6.7.8", NOW) == 0
    assert failures.wait_s("b", "1.2.3.4", NOW) == 0
    failures.note("b", "1.2.3.4", NOW)
    assert failures.wait_s("c", "1.2.3.4", NOW) > 0
    assert failures.wait_s("a", "1.2.3.4", NOW + timedelta(minutes=1)) == 0


def test_what_is_remembered_of_failures_is_bounded() -> None:
    failures = FailedAttempts(most=10)
    for n in range(1_000):
        failures.note(f"client-{n}", f"address-{n}", NOW)
    assert len(failures._failures) == 10


@given(some.binary(max_size=200))
def test_any_bytes_are_a_form_or_a_bad_request(body: bytes) -> None:
    with suppress(BadGrantRequest):
        form = model.form_of(body)
        assert all(isinstance(value, str) for value in form.values())


@given(
    some.dictionaries(
        some.sampled_from(
            ["client_id", "client_secret", "client_assertion", "client_assertion_type"]
        ),
        some.text(max_size=40) | some.just(model._JWT_TYPE) | some.just("e30.eyJzdWIiOiJhIn0.x"),
    ),
    some.none() | some.text(max_size=40) | some.just("Basic YTpi"),
)
def test_any_request_claims_one_client_or_is_refused(
    form: dict[str, str], authorization: str | None
) -> None:
    with suppress(BadGrantRequest):
        claim = model.claim_of(GrantRequest(form, authorization, ""))
        assert model.is_client_id(claim.client_id)
        assert (claim.secret is None) is (claim.method is Method.KEY_JWT)


def test_the_deepest_assertion_is_refused_like_any_other() -> None:
    deep = base64.urlsafe_b64encode(b"[" * 20_000).decode()
    form = {"client_assertion_type": model._JWT_TYPE, "client_assertion": f"e30.{deep}.x"}
    with pytest.raises(BadGrantRequest):
        model.claim_of(GrantRequest(form, None, ""))
