"""The hub's services as an operator calls them: a token of its own, and plain JSON.

Tokens are got with `private_key_jwt` (RFC 7523): the key is made here, sealed on disk, and only
its public half is ever told. One token serves an operator until shortly before it expires.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import quote, urlencode

import msgspec
from joserfc import jwt
from joserfc.jwk import ECKey

from central_system.hub.model import CdrAnswer, Decision, HubAway, HubRefused
from central_system.hub.ports import Clients, Keys, Transport
from kit.clock import Clock
from kit.encoding import encode_json
from kit.http import NOT_JSON, Answer
from roaming.evse_id import EvseId
from roaming.party import PartyId
from roaming.refusal import Refusal

TOKEN_PATH = "/oauth/token"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFETIME = timedelta(minutes=2)
# A driver stands at the reader; a batch of records is in no hurry.
AUTHORISE_TIMEOUT_S = 20.0
CALL_TIMEOUT_S = 60.0
_RENEW_BEFORE = timedelta(seconds=30)
_ALGORITHM = "ES256"


class _Token(msgspec.Struct):
    access_token: str
    expires_in: int


class _Decided(msgspec.Struct):
    decision: str
    reason: str | None = None
    authorisation_id: str | None = None
    valid_until: datetime | None = None


class _CdrAnswered(msgspec.Struct):
    cdr_id: str | None
    state: Literal["accepted", "flagged", "rejected"]
    reasons: list[str] = []


class _Problem(msgspec.Struct):
    type: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Held:
    token: str
    until: datetime


class Hub:
    """Every call is made in an operator's name. HubAway: ask again; HubRefused: the hub says no."""

    def __init__(
        self,
        transport: Transport,
        clients: Clients,
        keys: Keys,
        clock: Clock,
        *,
        token_audience: str,
    ) -> None:
        """`token_audience`: whom an assertion is for, the hub's token endpoint as it names it."""
        self._transport = transport
        self._clients = clients
        self._keys = keys
        self._clock = clock
        self._audience = token_audience
        self._tokens: dict[PartyId, _Held] = {}
        self._locks: dict[PartyId, asyncio.Lock] = {}

    async def authorise(
        self,
        operator: PartyId,
        *,
        evse_id: EvseId,
        id_tag: str,
        charge_id: str | None,
        at: datetime | None,
    ) -> Decision:
        """May this card charge here? `charge_id` makes asking again harmless."""
        question: dict[str, Any] = {
            "evse_id": evse_id.display,
            "identification": {"type": "rfid", "value": id_tag},
            "services": ["charging"],
        }
        if charge_id is not None:
            question["charge_id"] = charge_id
        if at is not None:
            question["at"] = at
        answer = await self._post(
            operator,
            "/services/clearing-house/authorisations",
            question,
            timeout_s=AUTHORISE_TIMEOUT_S,
        )
        decided = _read(answer, _Decided)
        accepted = decided.decision == "accepted"
        return Decision(
            accepted,
            None if accepted else decided.reason or "refused",
            decided.authorisation_id,
            decided.valid_until,
        )

    async def send(self, operator: PartyId, cdrs: Sequence[Mapping[str, Any]]) -> list[CdrAnswer]:
        """What became of each record, in order."""
        answer = await self._post(operator, "/services/clearing-house/cdrs", cdrs)
        answered = _read(answer, list[_CdrAnswered])
        if len(answered) != len(cdrs):
            raise HubAway(f"{len(cdrs)} records, but {len(answered)} answers")
        return [CdrAnswer(one.cdr_id, one.state, tuple(one.reasons)) for one in answered]

    async def tell_status(self, operator: PartyId, evse_id: EvseId, status: str) -> None:
        """Let Search EVSE know; `status` in the words of OCPI 2.2.1 (mod_locations, Status)."""
        path = f"/services/search-evse/evses/{quote(evse_id, safe='')}/status"
        await self._call(operator, "PUT", path, {"status": status}, CALL_TIMEOUT_S)

    async def _post(
        self, operator: PartyId, path: str, content: Any, *, timeout_s: float = CALL_TIMEOUT_S
    ) -> Answer:
        return await self._call(operator, "POST", path, content, timeout_s)

    async def _call(
        self, operator: PartyId, method: str, path: str, content: Any, timeout_s: float
    ) -> Answer:
        body = encode_json(content)
        for renewed in (False, True):
            token = await self._token(operator)
            answer = await self._transport.call(
                method,
                path,
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                body=body,
                timeout_s=timeout_s,
            )
            if answer.status != 401 or renewed:
                break
            # Revoked, or signed with a key that the hub has dropped meanwhile.
            self._forget(operator, token)
        if answer.status < 300:
            return answer
        raise _refusal(path, answer)

    async def _token(self, operator: PartyId) -> str:
        held = self._tokens.get(operator)
        if held is not None and self._clock() < held.until:
            return held.token
        # Ten thousand stations may ask at once: one of them gets the token for all.
        async with self._locks.setdefault(operator, asyncio.Lock()):
            held = self._tokens.get(operator)
            if held is None or self._clock() >= held.until:
                held = self._tokens[operator] = await self._new_token(operator)
            return held.token

    def _forget(self, operator: PartyId, token: str) -> None:
        held = self._tokens.get(operator)
        if held is not None and held.token == token:
            del self._tokens[operator]

    async def _new_token(self, operator: PartyId) -> _Held:
        key, client_id = await self._client(operator)
        now = self._clock()
        assertion = jwt.encode(
            {"alg": _ALGORITHM, "typ": "JWT", "kid": key.thumbprint()},
            {
                "iss": client_id,
                "sub": client_id,
                "aud": self._audience,
                "jti": secrets.token_urlsafe(16),
                "iat": int(now.timestamp()),
                "exp": int((now + ASSERTION_LIFETIME).timestamp()),
            },
            key,
            algorithms=[_ALGORITHM],
        )
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
        }
        answer = await self._transport.call(
            "POST",
            TOKEN_PATH,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
            timeout_s=AUTHORISE_TIMEOUT_S,
        )
        if answer.status != 200:
            raise _refusal(TOKEN_PATH, answer)
        token = _read(answer, _Token)
        # A lifetime of less than twice the margin would be renewed at every call.
        margin = min(_RENEW_BEFORE, timedelta(seconds=token.expires_in) / 2)
        return _Held(token.access_token, now + timedelta(seconds=token.expires_in) - margin)

    async def _client(self, operator: PartyId) -> tuple[ECKey, str]:
        key, public, client_id = await own_key(self._keys, operator)
        if client_id is not None:
            return key, client_id
        try:
            client_id = await self._clients.ensure(operator, public)
        except Refusal as refusal:
            raise HubRefused(403, "no-client", refusal.detail) from refusal
        await self._keys.name(operator, client_id)
        return key, client_id


async def own_key(keys: Keys, operator: PartyId) -> tuple[ECKey, Mapping[str, Any], str | None]:
    """An operator's key, made at first need; its public half, and the hub's name for it."""
    kept = await keys.load(operator)
    if kept is None:
        made = ECKey.generate_key("P-256")
        kept = await keys.keep(operator, made.as_dict(private=True))
    key = ECKey.import_key(dict(kept.private_jwk))
    public = {**key.as_dict(private=False), "kid": key.thumbprint(), "use": "sig"}
    return key, {**public, "alg": _ALGORITHM}, kept.client_id


def _refusal(path: str, answer: Answer) -> HubAway | HubRefused:
    try:
        problem = msgspec.json.decode(answer.body, type=_Problem)
    except NOT_JSON:
        problem = _Problem()
    kind = problem.type.rpartition("/")[2] or f"status-{answer.status}"
    if answer.status >= 500 or answer.status in (408, 429):
        return HubAway(f"the hub answered {path} with {answer.status}: {kind}", rule="asked again")
    return HubRefused(
        answer.status, kind, f"the hub refused {path} with {answer.status}: {problem.detail}"
    )


def _read(answer: Answer, shape: Any) -> Any:
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except NOT_JSON as error:
        raise HubAway(f"the hub's answer is not as published: {error}") from None
