"""What the hub signs and verifies, for those who ask: answered out of the marketplace's keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws, jwt

from gateway.calls.refusals import SignatureInvalid
from kit.access_token import ALGORITHM
from kit.clock import Clock
from marketplace.access import detached
from marketplace.access.keys import KeyRing
from marketplace.access.model import BadSignature
from marketplace.access.ports import Access


class KeysForGateway:
    """The keys that sign access tokens, for what else the hub signs."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def sign_jwt(self, kind: str, claims: Mapping[str, Any], at: datetime) -> str:
        kid, key = self._ring.current(at)
        header = {"alg": ALGORITHM, "typ": kind, "kid": kid}
        return jwt.encode(header, dict(claims), key, algorithms=[ALGORITHM])

    def sign_compact(self, kind: str, payload: bytes, at: datetime) -> str:
        kid, key = self._ring.current(at)
        header = {"alg": ALGORITHM, "typ": kind, "kid": kid}
        return jws.serialize_compact(header, payload, key, algorithms=[ALGORITHM])

    def key_id(self, at: datetime) -> str:
        return self._ring.current(at)[0]

    def sign(self, content: bytes, at: datetime) -> bytes:
        _, key = self._ring.current(at)
        private = key.private_key
        assert private is not None, "our signing keys have both halves"
        r, s = decode_dss_signature(private.sign(content, ECDSA(SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)

    def sign_detached(self, header: Mapping[str, Any], content: bytes, at: datetime) -> str:
        return detached.sign(header, content, *self._ring.current(at))


class ClientsForSigning:
    """By what keys clients sign, out of the marketplace's books. A client's keys never change."""

    MOST = 10_000

    def __init__(self, access: Access, clock: Clock) -> None:
        self._access = access
        self._clock = clock
        self._keys: dict[str, Sequence[Mapping[str, Any]]] = {}

    async def verify(self, client_id: str, signature: str, content: bytes) -> Mapping[str, Any]:
        try:
            return detached.verify(signature, content, await self._keys_of(client_id))
        except BadSignature as refusal:
            raise SignatureInvalid(
                refusal.detail, field="X-JWS-Signature", rule=refusal.rule
            ) from None

    async def _keys_of(self, client_id: str) -> Sequence[Mapping[str, Any]]:
        known = self._keys.get(client_id)
        if known is None:
            async with self._access.open() as book:
                client = await book.client(client_id, self._clock())
            known = () if client is None else client.public_keys
            if not known:
                raise SignatureInvalid(
                    f"client {client_id} has no keys to sign with",
                    field="X-JWS-Signature",
                    rule="call as a client with jwks: POST /marketplace/partners/{party}/clients",
                )
            if len(self._keys) >= self.MOST:
                self._keys.clear()
            self._keys[client_id] = known
        return known
