"""Secrets at rest: what is sealed opens only with its key and for its purpose."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as some

from kit.secrets import (
    SealBroken,
    SecretBox,
    SecretChecker,
    hash_secret,
    new_secret,
    secret_matches,
)

BOX = SecretBox(b"k" * 32)


@given(some.binary(max_size=200), some.text(max_size=30))
def test_what_is_sealed_comes_back(plain: bytes, purpose: str) -> None:
    assert BOX.unseal(BOX.seal(plain, purpose=purpose), purpose=purpose) == plain


@given(some.integers(0, 200), some.integers(1, 255))
def test_a_seal_with_any_bit_changed_does_not_open(place: int, change: int) -> None:
    sealed = bytearray(BOX.seal(b"private", purpose="key"))
    sealed[place % len(sealed)] ^= change
    with pytest.raises(SealBroken):
        BOX.unseal(bytes(sealed), purpose="key")


def test_a_seal_does_not_open_for_another_purpose_or_key() -> None:
    sealed = BOX.seal(b"private", purpose="signing-key:1")
    with pytest.raises(SealBroken):
        BOX.unseal(sealed, purpose="signing-key:2")
    with pytest.raises(SealBroken):
        SecretBox(b"x" * 32).unseal(sealed, purpose="signing-key:1")
    with pytest.raises(SealBroken):
        BOX.unseal(b"", purpose="signing-key:1")


def test_the_same_secret_is_never_sealed_alike_twice() -> None:
    assert BOX.seal(b"private", purpose="key") != BOX.seal(b"private", purpose="key")


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        SecretBox(b"short")


def test_a_hash_knows_its_secret_and_no_other() -> None:
    secret = new_secret()
    hashed = hash_secret(secret)
    assert secret not in hashed
    assert hashed.startswith("$argon2id$")
    assert secret_matches(hashed, secret)
    assert not secret_matches(hashed, secret + "x")
    assert not secret_matches("not a hash", secret)


async def test_any_of_several_secrets_in_force_is_taken() -> None:
    checker = SecretChecker()
    hashes = [hash_secret("old"), hash_secret("new")]
    assert await checker.matches("old", hashes)
    assert await checker.matches("new", hashes)
    assert not await checker.matches("other", hashes)
    assert not await checker.matches("old", [])


async def test_what_is_no_text_is_no_secret_either() -> None:
    checker = SecretChecker()
    for hashes in ([], [hash_secret("old")]):
        assert not await checker.matches("\ud800", hashes)


async def test_a_remembered_success_costs_no_second_hash() -> None:
    checker = SecretChecker()
    hashes = [await checker.hash("secret")]
    assert await checker.matches("secret", hashes)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(1_000):
        assert await checker.matches("secret", hashes)
    # A thousand argon2 checks would take a thousand times ten milliseconds.
    assert loop.time() - began < 1.0


async def test_a_remembered_success_does_not_outlive_its_hash() -> None:
    checker = SecretChecker()
    assert await checker.matches("secret", [hash_secret("secret")])
    assert not await checker.matches("secret", [hash_secret("another")])


async def test_remembering_is_bounded_and_forgetting_is_harmless() -> None:
    checker = SecretChecker(most_remembered=1)
    first, second = [hash_secret("first")], [hash_secret("second")]
    assert await checker.matches("first", first)
    assert await checker.matches("second", second)
    assert await checker.matches("first", first)
