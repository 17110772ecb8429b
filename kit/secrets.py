"""Secrets at rest: client secrets as argon2 hashes, private keys sealed with the hub's own key."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Sequence

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE_BYTES = 12
# The first byte of what is sealed, so that another algorithm can come later without guessing.
_AES_256_GCM = b"\x01"

# RFC 9106 leaves the parameters to the use; these are OWASP's least for passwords. Clients' secrets
# have 256 random bits, and people's passwords a second factor beside them; 19 MiB a check leaves
# the hub's memory alone.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


class SealBroken(Exception):
    """What was sealed has been changed, or another key or purpose sealed it."""


class SecretBox:
    """Seals small secrets with AES-256-GCM under the hub's key."""

    def __init__(self, key: bytes) -> None:
        """`key` has 32 bytes; ValueError otherwise."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"the hub's key has {len(key)} bytes; it needs {KEY_BYTES}")
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes, *, purpose: str) -> bytes:
        """`purpose` names what is sealed (`signing-key:abc`): a seal cannot be moved elsewhere."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _AES_256_GCM + nonce + self._cipher.encrypt(nonce, plain, purpose.encode())

    def unseal(self, sealed: bytes, *, purpose: str) -> bytes:
        """What was sealed for `purpose`; SealBroken for anything else."""
        if sealed[:1] != _AES_256_GCM or len(sealed) <= 1 + _NONCE_BYTES:
            raise SealBroken(f"no seal we know, for {purpose}")
        nonce, body = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, body, purpose.encode())
        except InvalidTag:
            raise SealBroken(f"the seal of {purpose} does not open with this key") from None


def new_secret() -> str:
    """256 random bits as 43 characters that need no escaping anywhere."""
    return secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """Argon2id with its parameters and salt; takes some ten milliseconds of CPU on purpose."""
    return _hasher.hash(secret)


def secret_matches(secret_hash: str, secret: str) -> bool:
    """Whether `secret` is the one that was hashed; as slow as the hash."""
    try:
        return _hasher.verify(secret_hash, secret)
    except (VerificationError, InvalidHashError):
        return False


class SecretChecker:
    """Checks secrets off the event loop, a few at once, and remembers the recent successes.

    What it remembers is an HMAC of hash and secret under a key that lives as long as the process:
    neither can be read back from it, and another hash (a replaced secret) is another entry. A
    failure is never remembered.
    """

    def __init__(self, *, most_remembered: int = 2_000, at_once: int = 2) -> None:
        self._key = secrets.token_bytes(KEY_BYTES)
        self._most = most_remembered
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._slots = asyncio.Semaphore(at_once)
        self._decoy: str | None = None

    async def hash(self, secret: str) -> str:
        async with self._slots:
            return await asyncio.to_thread(hash_secret, secret)

    async def matches(self, secret: str, hashes: Sequence[str]) -> bool:
        """Whether `secret` is behind one of `hashes`; with none, it takes as long to say no."""
        try:
            secret.encode()
        except UnicodeEncodeError:
            # Half a surrogate pair, which JSON can spell: no text that was ever hashed.
            return False
        marks = [self._mark(one, secret) for one in hashes]
        if self._remembers(marks):
            return True
        async with self._slots:
            # Whoever waited here may have waited for the very answer that it needs.
            if self._remembers(marks):
                return True
            for one, mark in zip(hashes, marks, strict=True):
                if await asyncio.to_thread(secret_matches, one, secret):
                    self._remember(mark)
                    return True
            if not hashes:
                await asyncio.to_thread(self._take_as_long, secret)
        return False

    def _take_as_long(self, secret: str) -> None:
        if self._decoy is None:
            self._decoy = hash_secret(new_secret())
        secret_matches(self._decoy, secret)

    def _mark(self, secret_hash: str, secret: str) -> bytes:
        return hmac.digest(self._key, f"{secret_hash}\n{secret}".encode(), hashlib.sha256)

    def _remembers(self, marks: Sequence[bytes]) -> bool:
        for mark in marks:
            if mark in self._seen:
                self._seen.move_to_end(mark)
                return True
        return False

    def _remember(self, mark: bytes) -> None:
        self._seen[mark] = None
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
