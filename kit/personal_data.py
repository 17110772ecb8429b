"""Personal data in the log, sealed under a key per person so that the person can be forgotten.

The log is append-only and every event is hashed into the next, so nothing can be taken out of it.
Instead a token uid is written there sealed with AES-256-GCM under a key of its own, and forgetting
the customer is deleting that key. Law: after that, nothing sealed for the uid opens, in no process;
what was sealed for others still does.

A sealed text carries the random name of its key, so that texts of one person can be told to belong
together. It does not carry anything reckoned from the uid: a card's uid often has four bytes, and
whoever holds the hub's secret could try them all, long after the person asked to be forgotten.
Copies of the table (backups, replicas) must be let go as well for the forgetting to be whole.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Column, DateTime, LargeBinary, Table, Text, Uuid, text
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.clock import Clock
from kit.database import Hot, metadata, raw_connection
from kit.event_log import Xid8
from kit.secrets import KEY_BYTES, SealBroken, SecretBox

_PREFIX = "sealed:v1:"
_NAME_BYTES = 16
_NONCE_BYTES = 12

subject_keys = Table(
    "subject_key",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("name", Uuid, nullable=False, unique=True),
    Column("sealed_key", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("created_xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    schema="kit",
)

# A key that the caller's own transaction made may yet be undone with it; only one whose maker has
# finished is worth remembering.
_SETTLED = "pg_visible_in_snapshot(created_xid, pg_current_snapshot())"
_READ = (
    f"SELECT subject, name, sealed_key, {_SETTLED} AS settled"
    " FROM kit.subject_key WHERE subject = ANY($1::text[])"
)
# The update that changes nothing makes a key come back that another transaction has just made. In
# the order of subjects, so that two writers do not wait for each other in a circle.
_MAKE = (
    "INSERT INTO kit.subject_key AS k (subject, name, sealed_key, created_at)"
    " SELECT s, n, key, $4 FROM unnest($1::text[], $2::uuid[], $3::bytea[]) AS u(s, n, key)"
    " ORDER BY s"
    " ON CONFLICT (subject) DO UPDATE SET subject = k.subject"
    f" RETURNING subject, name, sealed_key, {_SETTLED} AS settled"
)


@dataclass(frozen=True, slots=True)
class _Key:
    name: bytes
    cipher: AESGCM
    read_at: datetime


class Vault:
    """Seals token uids and opens them again, until they are forgotten."""

    def __init__(
        self,
        secret: bytes,
        clock: Clock,
        *,
        most_remembered: int = 10_000,
        longest_remembered_s: float = 60,
    ) -> None:
        """`secret` is the hub's, at least 32 bytes, and must stay the same as long as the data.

        Keys are remembered for `longest_remembered_s`: for as long, another process may go on
        sealing under a key that is deleted, and such texts open nowhere.
        """
        if len(secret) < KEY_BYTES:
            raise ValueError(f"the secret has {len(secret)} bytes; it needs {KEY_BYTES}")
        self._subject_key = hmac.digest(secret, b"gridroam personal data: subjects", hashlib.sha256)
        self._box = SecretBox(
            hmac.digest(secret, b"gridroam personal data: keys at rest", hashlib.sha256)
        )
        self._clock = clock
        self._most = most_remembered
        self._longest = timedelta(seconds=longest_remembered_s)
        self._remembered: OrderedDict[str, _Key] = OrderedDict()

    async def seal_many(self, connection: AsyncConnection | Hot, uids: Sequence[str]) -> list[str]:
        """Each uid sealed, in order; `open` gives it back. New keys come with the transaction.

        Call it once in a transaction, with all that it will seal: two transactions that make keys
        for the same people in turns would wait for each other.
        """
        subjects = [self._subject(uid) for uid in uids]
        keys = await self._keys(connection, set(subjects))
        return [_seal(keys[subject], uid) for subject, uid in zip(subjects, uids, strict=True)]

    async def open(self, connection: AsyncConnection | Hot, sealed: str) -> str | None:
        """The uid, or None once it is forgotten. SealBroken if the text is not as it was sealed.

        It always asks the database: what another process has forgotten is forgotten here.
        """
        name, nonce, body = _parts(sealed)
        raw = await raw_connection(connection)
        row = await raw.fetchrow(
            "SELECT subject, name, sealed_key FROM kit.subject_key WHERE name = $1", name
        )
        if row is None:
            return None
        try:
            plain = self._cipher(row).decrypt(nonce, body, _bound_to(name.bytes))
        except InvalidTag:
            raise SealBroken("the sealed text is not as it was sealed") from None
        return plain.decode()

    async def forget(self, connection: AsyncConnection | Hot, uid: str) -> bool:
        """Delete the key of `uid`, for good with the transaction; whether there was one."""
        subject = self._subject(uid)
        self._remembered.pop(subject, None)
        raw = await raw_connection(connection)
        row = await raw.fetchrow(
            "DELETE FROM kit.subject_key WHERE subject = $1 RETURNING subject", subject
        )
        return row is not None

    async def _keys(
        self, connection: AsyncConnection | Hot, subjects: set[str]
    ) -> Mapping[str, _Key]:
        now = self._clock()
        keys = {}
        for subject in subjects:
            key = self._remembered.get(subject)
            if key is not None and now - key.read_at < self._longest:
                self._remembered.move_to_end(subject)
                keys[subject] = key
        missing = sorted(subjects - keys.keys())
        if not missing:
            return keys
        raw = await raw_connection(connection)
        for row in await raw.fetch(_READ, missing):
            keys[row["subject"]] = self._learn(row, now)
        missing = sorted(subjects - keys.keys())
        if missing:
            names = [uuid4() for _ in missing]
            sealed_keys = [
                self._box.seal(secrets.token_bytes(KEY_BYTES), purpose=_purpose(subject, name))
                for subject, name in zip(missing, names, strict=True)
            ]
            for row in await raw.fetch(_MAKE, missing, names, sealed_keys, now):
                keys[row["subject"]] = self._learn(row, now)
        return keys

    def _learn(self, row: Any, now: datetime) -> _Key:
        key = _Key(row["name"].bytes, self._cipher(row), now)
        if row["settled"]:
            self._remembered[row["subject"]] = key
            self._remembered.move_to_end(row["subject"])
            while len(self._remembered) > self._most:
                self._remembered.popitem(last=False)
        return key

    def _cipher(self, row: Any) -> AESGCM:
        purpose = _purpose(row["subject"], row["name"])
        return AESGCM(self._box.unseal(row["sealed_key"], purpose=purpose))

    def _subject(self, uid: str) -> str:
        return hmac.digest(self._subject_key, uid.encode(), hashlib.sha256).hex()


def key_name(sealed: str) -> UUID:
    """The random name of the key, the same for all that was sealed for one person. SealBroken."""
    return _parts(sealed)[0]


def _seal(key: _Key, uid: str) -> str:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    body = key.cipher.encrypt(nonce, uid.encode(), _bound_to(key.name))
    return _PREFIX + base64.urlsafe_b64encode(key.name + nonce + body).decode()


def _parts(sealed: str) -> tuple[UUID, bytes, bytes]:
    try:
        raw = base64.b64decode(sealed.removeprefix(_PREFIX), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not sealed.startswith(_PREFIX) or len(raw) <= _NAME_BYTES + _NONCE_BYTES:
        raise SealBroken("this is no sealed text")
    nonce = raw[_NAME_BYTES : _NAME_BYTES + _NONCE_BYTES]
    return UUID(bytes=raw[:_NAME_BYTES]), nonce, raw[_NAME_BYTES + _NONCE_BYTES :]


def _bound_to(name: bytes) -> bytes:
    return _PREFIX.encode() + name


def _purpose(subject: str, name: UUID) -> str:
    return f"subject-key:{subject}:{name}"
