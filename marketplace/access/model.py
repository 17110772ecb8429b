"""Who may have an access token: clients and their secrets or keys, and the rules of key rotation.

A client shows who it is by a secret (RFC 6749, section 2.3.1), by a JWT that it signed with a key
of its own (`private_key_jwt`, RFC 7523), or by the certificate of its connection (RFC 8705). Each
acts for one party, with that party's roles.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl, unquote

from marketplace.services.model import Environment
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed, NotYours, TooMuch, Unknown

SCOPES = ("events", "marketplace", "services")
# Whoever tries a service out needs nothing else: contracts and events are never a rehearsal.
SANDBOX_SCOPES = ("services",)
# Who has left the market still reads what it owes and is owed.
READ_SCOPE = "marketplace:read"
TOKEN_LIFETIME = timedelta(minutes=15)
# A replaced secret stays good for so long: time enough to bring the new one everywhere.
SECRET_OVERLAP = timedelta(days=7)
MOST_SECRETS = 4
MOST_RETIRING = 10
LONGEST_NAME = 100
MOST_KEY_CLIENTS = 50
# An assertion that outlives this would make us remember its jti for longer than it is worth.
LONGEST_ASSERTION = timedelta(hours=1)
# The duty (marketplace/people) of whoever looks after clients that count.
ADMIN = "admin"
CLOCK_SKEW = timedelta(seconds=60)
LONGEST_BODY = 32 * 1024


class Method(StrEnum):
    """How a client shows who it is; the names of RFC 7591, section 2,
    and of RFC 8705, section 2."""

    SECRET_BASIC = "client_secret_basic"
    SECRET_POST = "client_secret_post"
    KEY_JWT = "private_key_jwt"
    TLS = "tls_client_auth"
    SELF_SIGNED_TLS = "self_signed_tls_client_auth"


class UnknownClient(Unknown):
    """The caller's party has no such client."""


class NotYourClient(NotYours):
    """Only a party itself sees and changes its clients."""


class AdminNeeded(NotYours):
    """The person is known, and no admin of its party."""


class BadKeys(Malformed):
    """A key set that cannot be trusted to tell one client from another."""


class BadCertificates(Malformed):
    """Certificates that cannot be trusted to tell one client from another."""


class BadSignature(Malformed):
    """A signature that is none, or is not the client's over this body."""


class BadClient(Malformed):
    """What is told of a client breaks a rule."""


class LastSecret(Clash):
    """Without it the client could not show who it is any more."""


class TooManyClients(TooMuch):
    """A party needs some clients, not any number of them."""


class BadGrantRequest(Malformed):
    """A request at the token endpoint that cannot be read. `error` is the word of RFC 6749, 5.2."""

    def __init__(self, error: str, detail: str, *, basic: bool = False) -> None:
        super().__init__(detail)
        self.error = error
        self.basic = basic


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that a client may show; it is known by its thumbprint (`x5t#S256`)."""

    thumbprint: str
    self_signed: bool
    valid_until: datetime


@dataclass(frozen=True, slots=True)
class SecretKept:
    """A client secret as it is kept. `expires_at` None: it is the newest."""

    secret_id: int
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class RetiringKey:
    """A public key that has a successor, and until when it is good beside that."""

    key: Mapping[str, Any]
    until: datetime


@dataclass(frozen=True, slots=True)
class Client:
    """A program of a party. `secret_hashes` are those in force; `public_keys` are JWKs.

    What one of the sandbox calls is tried out, and counts nowhere. Tokens of a client that has
    `certificates` are bound to the one that it showed. `reads_only`: its party has left the market.
    `retiring` are keys that were replaced; they stand last among `public_keys`. From `expires_at`
    on there is no such client.
    """

    client_id: str
    party: PartyId
    roles: frozenset[str]
    secret_hashes: tuple[str, ...] = ()
    public_keys: tuple[Mapping[str, Any], ...] = ()
    created_at: datetime | None = None
    environment: Environment = Environment.LIVE
    certificates: tuple[Certificate, ...] = ()
    reads_only: bool = False
    name: str | None = None
    expires_at: datetime | None = None
    secrets: tuple[SecretKept, ...] = ()
    retiring: tuple[RetiringKey, ...] = ()

    @property
    def sandbox(self) -> bool:
        return self.environment is Environment.SANDBOX

    @property
    def scopes(self) -> tuple[str, ...]:
        """What its tokens may be good for."""
        if self.reads_only:
            return () if self.sandbox else (READ_SCOPE,)
        return SANDBOX_SCOPES if self.sandbox else SCOPES

    @property
    def methods(self) -> frozenset[Method]:
        if self.public_keys:
            return frozenset({Method.KEY_JWT})
        if self.certificates:
            return frozenset(
                Method.SELF_SIGNED_TLS if one.self_signed else Method.TLS
                for one in self.certificates
            )
        return frozenset({Method.SECRET_BASIC, Method.SECRET_POST})

    def shows(self, thumbprint: str | None) -> bool:
        """Whether this is the thumbprint of one of its certificates."""
        return thumbprint in {one.thumbprint for one in self.certificates}

    def __repr__(self) -> str:
        return f"Client({self.client_id!r}, {self.party!s})"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key of ours. It is published from `created_at` on, and signs from `signs_from` on."""

    kid: str
    public_jwk: Mapping[str, Any]
    sealed: bytes = field(repr=False)
    created_at: datetime
    signs_from: datetime


@dataclass(frozen=True, slots=True)
class Revocations:
    """What no longer counts: tokens by jti, and clients' tokens from before a moment."""

    tokens: tuple[tuple[str, datetime], ...]
    clients: tuple[tuple[str, datetime], ...]


@dataclass(frozen=True, slots=True)
class GrantRequest:
    """A form at the token or revocation endpoint. `address` is where it came from.

    `certificate` is the thumbprint of the one that its connection was authenticated by.
    """

    form: Mapping[str, str]
    authorization: str | None
    address: str
    certificate: str | None = None


@dataclass(frozen=True, slots=True)
class OAuthAnswer:
    """An answer in OAuth's own words (RFC 6749, sections 5.1 and 5.2)."""

    status: int
    body: Mapping[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def client_failed(self) -> bool:
        return self.body.get("error") == "invalid_client"


@dataclass(frozen=True, slots=True)
class Claim:
    """Who a request says it comes from, before anything has been checked."""

    method: Method
    client_id: str
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class KeyRules:
    """How long a key signs, and how long before that it is published.

    The lead lets every process, and every partner who caches our JWKS, learn of a key before the
    first token that it signs.
    """

    every: timedelta = timedelta(hours=24)
    lead: timedelta = timedelta(minutes=1)
    token_lifetime: timedelta = TOKEN_LIFETIME


def signing_key(keys: Sequence[SigningKey], now: datetime) -> SigningKey | None:
    """The key that signs now: the one that began last."""
    begun = [key for key in keys if key.signs_from <= now]
    return max(begun, key=lambda key: (key.signs_from, key.kid), default=None)


def needs_new_key(keys: Sequence[SigningKey], now: datetime, rules: KeyRules) -> bool:
    """Whether it is time to make the next key."""
    newest = max((key.signs_from for key in keys), default=None)
    return newest is None or now >= newest + rules.every - rules.lead


def begins(keys: Sequence[SigningKey], now: datetime, rules: KeyRules) -> datetime:
    """When a key made now begins to sign: at once where there is no other."""
    return now + rules.lead if signing_key(keys, now) is not None else now


def published(keys: Sequence[SigningKey], now: datetime, rules: KeyRules) -> tuple[SigningKey, ...]:
    """The keys that verify: all whose successor began less than a token's life ago."""
    ordered = sorted(keys, key=lambda key: (key.signs_from, key.kid))
    kept = []
    for key, successor in zip(ordered, [*ordered[1:], None], strict=True):
        last_token = None if successor is None else successor.signs_from + rules.token_lifetime
        if last_token is None or now < last_token + CLOCK_SKEW:
            kept.append(key)
    return tuple(kept)


def secrets_to_end(
    kept: Sequence[SecretKept], now: datetime
) -> tuple[list[tuple[int, datetime]], list[int]]:
    """What a further secret does to those there are: (id, end) to shorten, and ids to drop."""
    end = now + SECRET_OVERLAP
    alive = [one for one in kept if one.expires_at is None or one.expires_at > now]
    alive.sort(key=lambda one: (one.created_at, one.secret_id), reverse=True)
    staying = alive[: MOST_SECRETS - 1]
    shorten = [(s.secret_id, end) for s in staying if s.expires_at is None or s.expires_at > end]
    staying_ids = {one.secret_id for one in staying}
    return shorten, [one.secret_id for one in kept if one.secret_id not in staying_ids]


def person_holder(person_id: str) -> str:
    """Whose tokens a person's are, where clients stand by their ids: no client's id begins so."""
    return f"person-{person_id}"


def described(
    client: Client, name: str | None, expires_at: datetime | None, now: datetime
) -> Client:
    """The client with another name and another end; BadClient."""
    if name is not None and not (0 < len(name) <= LONGEST_NAME and name.isprintable()):
        raise BadClient(
            "this cannot name a client",
            field="name",
            value=name[:100],
            rule=f"1 to {LONGEST_NAME} printable characters",
        )
    if expires_at is not None and expires_at <= now:
        raise BadClient(
            "this end is past",
            field="expires_at",
            value=expires_at.isoformat(),
            rule="a moment to come; or end the client now, by DELETE",
        )
    return replace(client, name=name, expires_at=expires_at)


def with_keys(client: Client, keys: Sequence[Mapping[str, Any]], now: datetime) -> Client:
    """The client signs with these keys from now on; what it signed with before is good for as long
    as a replaced secret is. BadKeys for a client that signs with none, TooManyClients."""
    if not client.public_keys:
        raise BadKeys(
            "this client signs with no keys", field="client_id", rule="a client made with `jwks`"
        )
    until = {_content(one.key): one.until for one in client.retiring}
    new = {_content(key) for key in keys}
    retiring = tuple(
        RetiringKey(key, until.get(_content(key), now + SECRET_OVERLAP))
        for key in client.public_keys
        if _content(key) not in new
    )
    if len(retiring) > MOST_RETIRING:
        raise TooManyClients(
            "too many keys were replaced lately",
            field="jwks",
            value=len(retiring),
            rule=f"at most {MOST_RETIRING} that have a successor; each is gone after 7 days",
        )
    return replace(client, public_keys=(*keys, *(one.key for one in retiring)), retiring=retiring)


def _content(key: Mapping[str, Any]) -> str:
    """What makes a key that key, whatever it is called."""
    return json.dumps({name: key[name] for name in sorted(key) if name != "kid"})


def without_secret(client: Client, secret_id: int) -> None:
    """UnknownClient where the client has no such secret, LastSecret where it has no other."""
    ids = {one.secret_id for one in client.secrets}
    if secret_id not in ids:
        raise UnknownClient("the client has no such secret", field="secret_id", value=secret_id)
    if len(ids) == 1:
        raise LastSecret(
            "it is the only secret of the client",
            field="secret_id",
            value=secret_id,
            rule="add a further one first, or end the client",
        )


_CLIENT_ID = re.compile(r"[A-Za-z0-9._~-]{1,100}")
_JWT_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def is_client_id(text: str) -> bool:
    """Whether a text could be a client id at all; what could not is not looked for."""
    return _CLIENT_ID.fullmatch(text) is not None


def form_of(body: bytes) -> dict[str, str]:
    """A form as RFC 6749 wants it: UTF-8, and no parameter twice (section 3.2)."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            encoding="utf-8",
            errors="strict",
            max_num_fields=50,
        )
    except ValueError:
        raise BadGrantRequest("invalid_request", "The body is not a form.") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise BadGrantRequest("invalid_request", "A parameter came twice.")
    return form


def claim_of(request: GrantRequest) -> Claim:
    """Who the request says it comes from; BadGrantRequest where it says nothing, or two things.

    A request uses one way of authentication and no second (RFC 6749, section 2.3).
    """
    form = request.form
    claims = []
    if request.authorization is not None:
        claims.append(_basic(request.authorization))
    if "client_secret" in form:
        claims.append(Claim(Method.SECRET_POST, form.get("client_id", ""), form["client_secret"]))
    if "client_assertion" in form or "client_assertion_type" in form:
        claims.append(Claim(Method.KEY_JWT, _asserted(form)))
    if not claims and request.certificate is not None and "client_id" in form:
        claims.append(Claim(Method.TLS, form["client_id"]))
    if not claims:
        raise BadGrantRequest("invalid_client", "No client authentication came.", basic=True)
    if len(claims) > 1:
        raise BadGrantRequest("invalid_request", "More than one way of client authentication.")
    [claim] = claims
    basic = claim.method is Method.SECRET_BASIC
    if not is_client_id(claim.client_id) or claim.secret == "":
        raise BadGrantRequest("invalid_client", "There is no such client.", basic=basic)
    if form.get("client_id", claim.client_id) != claim.client_id:
        raise BadGrantRequest("invalid_request", "Two client ids came.")
    return claim


def _basic(authorization: str) -> Claim:
    scheme, _, encoded = authorization.partition(" ")
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    client_id, colon, secret = text.partition(":")
    if scheme.lower() != "basic" or not colon:
        raise BadGrantRequest("invalid_client", "Authorization is not Basic.", basic=True)
    return Claim(Method.SECRET_BASIC, unquote(client_id), unquote(secret))


def _asserted(form: Mapping[str, str]) -> str:
    """The `sub` of an assertion, unchecked: only to know whose keys to check it with."""
    if form.get("client_assertion_type") != _JWT_TYPE:
        raise BadGrantRequest("invalid_client", f"client_assertion_type must be {_JWT_TYPE}.")
    parts = form.get("client_assertion", "").split(".")
    try:
        payload = parts[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        subject = claims["sub"]
    except (IndexError, KeyError, TypeError, ValueError, RecursionError):
        raise BadGrantRequest("invalid_client", "The assertion is no JWT with a sub.") from None
    return subject if isinstance(subject, str) else ""


@dataclass(slots=True)
class _Failures:
    count: int
    since: datetime


class FailedAttempts:
    """How often each client and each address failed lately; bounded, and for this process alone.

    A client is counted together with the address, so that nobody can lock another's client out.
    """

    def __init__(
        self,
        *,
        per_client: int = 10,
        per_address: int = 100,
        window: timedelta = timedelta(minutes=1),
        most: int = 10_000,
    ) -> None:
        self._limits = (per_client, per_address)
        self._window = window
        self._most = most
        self._failures: OrderedDict[tuple[str, ...], _Failures] = OrderedDict()

    def wait_s(self, client_id: str, address: str, now: datetime) -> int:
        """Seconds until another attempt is looked at; 0: it may come now."""
        waits = [0.0]
        for key, limit in zip(self._keys(client_id, address), self._limits, strict=True):
            failed = self._failures.get(key)
            if failed is not None and failed.count >= limit:
                waits.append((failed.since + self._window - now).total_seconds())
        longest = max(waits)
        return 0 if longest <= 0 else int(longest) + 1

    def note(self, client_id: str, address: str, now: datetime) -> None:
        for key in self._keys(client_id, address):
            failed = self._failures.get(key)
            if failed is None or failed.since + self._window <= now:
                self._failures[key] = _Failures(1, now)
                self._failures.move_to_end(key)
            else:
                failed.count += 1
        while len(self._failures) > self._most:
            self._failures.popitem(last=False)

    @staticmethod
    def _keys(client_id: str, address: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return (client_id, address), (address,)
