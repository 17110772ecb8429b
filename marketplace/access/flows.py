"""How a program of a partner gets a token, loses it, and how the hub's keys and memory keep up."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from kit import actor
from kit.access_token import Verifier
from kit.actor import acting_as
from marketplace.access import keys as client_key_rules
from marketplace.access import model
from marketplace.access.keys import KeyRing, new_signing_key
from marketplace.access.model import (
    MOST_KEY_CLIENTS,
    BadGrantRequest,
    Client,
    FailedAttempts,
    GrantRequest,
    NotYourClient,
    OAuthAnswer,
    TooManyClients,
    UnknownClient,
)
from marketplace.access.ports import Access, Box, Checker, Keeper
from marketplace.access.token_server import Outcome, TokenServer
from marketplace.services.model import Environment
from roaming.party import PartyId

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_Answer = Callable[[GrantRequest, Client | None, bool, datetime], Outcome]


async def issue_token(
    request: GrantRequest,
    *,
    access: Access,
    server: TokenServer,
    checker: Checker,
    failures: FailedAttempts,
    now: datetime,
) -> OAuthAnswer:
    """An access token for a client that shows who it is (RFC 6749, section 4.4)."""
    outcome = await _authenticated(
        request, server.grant, access=access, checker=checker, failures=failures, now=now
    )
    return outcome.answer


async def revoke_token(
    request: GrantRequest,
    *,
    access: Access,
    server: TokenServer,
    checker: Checker,
    failures: FailedAttempts,
    now: datetime,
) -> OAuthAnswer:
    """A client gives a token back (RFC 7009). It is refused everywhere as soon as each heard."""
    outcome = await _authenticated(
        request, server.revoke, access=access, checker=checker, failures=failures, now=now
    )
    ended = outcome.revoked
    if ended is not None:
        with acting_as(actor.client(ended.client_id)):
            async with access.open() as book:
                await book.revoke_token(
                    ended.token_id, ended.client_id, ended.party, ended.expires_at, now
                )
        server.verifier.revoke_jti(ended.token_id, ended.expires_at)
    return outcome.answer


async def _authenticated(
    request: GrantRequest,
    answer: _Answer,
    *,
    access: Access,
    checker: Checker,
    failures: FailedAttempts,
    now: datetime,
) -> Outcome:
    """Load what the answer needs, answer, and write what must be written before it is given.

    The check of a secret takes long and stands between two transactions, not inside one.
    """
    try:
        claim = model.claim_of(request)
    except BadGrantRequest as error:
        return Outcome(refusal_of(error))
    wait_s = failures.wait_s(claim.client_id, request.address, now)
    if wait_s > 0:
        busy = _error(429, "temporarily_unavailable", "Too many failed attempts.")
        return Outcome(_with_header(busy, "Retry-After", str(wait_s)))
    async with access.open() as book:
        client = await book.client(claim.client_id, now)
    secret_ok = False
    if claim.secret is not None:
        hashes = () if client is None else client.secret_hashes
        secret_ok = await checker.matches(claim.secret, hashes)
    outcome = answer(request, client, secret_ok, now)
    used = outcome.assertion
    if used is not None:
        async with access.open() as book:
            fresh = await book.use_assertion(claim.client_id, used.jti, used.until)
        if not fresh:
            outcome = Outcome(_error(401, "invalid_client", "The assertion was used before."))
    if outcome.answer.client_failed:
        failures.note(claim.client_id, request.address, now)
    return outcome


def refusal_of(error: BadGrantRequest) -> OAuthAnswer:
    """A request that cannot be read, in OAuth's words (RFC 6749, section 5.2)."""
    if error.error != "invalid_client":
        return _error(400, error.error, error.detail)
    answer = _error(401, error.error, error.detail)
    return _with_header(answer, "WWW-Authenticate", "Basic") if error.basic else answer


def _error(status: int, error: str, description: str) -> OAuthAnswer:
    return OAuthAnswer(status, {"error": error, "error_description": description}, _NO_STORE)


def _with_header(answer: OAuthAnswer, name: str, value: str) -> OAuthAnswer:
    return replace(answer, headers={**answer.headers, name: value})


async def add_key_client(
    access: Access,
    caller: PartyId,
    party: PartyId,
    jwks: Mapping[str, Any] | None,
    now: datetime,
    environment: Environment = Environment.LIVE,
    certificates: Sequence[str] = (),
) -> Client:
    """A client that signs with keys of its own, or shows a certificate (PEM), or does both.

    The same keys and certificates again are the same client.

    BadKeys, BadCertificates, NotYourClient, TooManyClients.
    """
    _own(caller, party)
    assert jwks is not None or certificates, "a client with neither has a secret"
    public_keys = None if jwks is None else client_key_rules.client_keys(jwks)
    shown = client_key_rules.client_certificates(certificates, now)
    content = b"" if public_keys is None else msgspec.json.encode(public_keys, order="sorted")
    content += "".join(
        f".{thumbprint}" for thumbprint in sorted(c.thumbprint for c in shown)
    ).encode()
    digest = hashlib.sha256(party.encode() + content).hexdigest()[:24]
    kind = "tls" if public_keys is None else "key"
    client_id = f"{_beginning(party, environment)}-{kind}-{digest}"
    async with access.open() as book:
        known = await book.clients_of(party, now)
        if client_id not in {client.client_id for client in known}:
            if len(known) >= MOST_KEY_CLIENTS:
                raise TooManyClients(
                    "the party has as many clients as it may have",
                    field="client",
                    value=len(known),
                    rule=f"at most {MOST_KEY_CLIENTS}; revoke one first",
                )
            await book.add_key_client(client_id, party, public_keys, shown, now, environment)
        client = await book.client(client_id, now)
    if client is None:
        raise UnknownClient(
            "these keys were revoked; a client has new ones",
            field="certificates" if jwks is None else "jwks",
            rule="a new key",
        )
    return client


async def add_secret(
    access: Access,
    caller: PartyId,
    party: PartyId,
    *,
    checker: Checker,
    now: datetime,
    environment: Environment = Environment.LIVE,
) -> tuple[str, str]:
    """A further secret for the party's secret client: (client id, secret), told this once."""
    _own(caller, party)
    secret = secrets.token_urlsafe(32)
    secret_hash = await checker.hash(secret)
    async with access.open() as book:
        return await book.add_secret(party, secret_hash, now, environment), secret


async def clients_of(
    access: Access, caller: PartyId, party: PartyId, now: datetime
) -> Sequence[Client]:
    """The party's clients in force."""
    _own(caller, party)
    async with access.open() as book:
        return await book.clients_of(party, now)


async def describe_client(
    access: Access,
    caller: PartyId,
    party: PartyId,
    client_id: str,
    *,
    name: str | None,
    expires_at: datetime | None,
    now: datetime,
) -> Client:
    """Say what a client is called, and when it ends. UnknownClient, NotYourClient, BadClient."""
    _own(caller, party)
    async with access.open() as book:
        known = await _to_change(book, party, client_id, now)
        changed = model.described(known, name, expires_at, now)
        if changed != known:
            await book.change(changed, now)
    return changed


async def replace_keys(
    access: Access,
    caller: PartyId,
    party: PartyId,
    client_id: str,
    jwks: Mapping[str, Any],
    now: datetime,
) -> Client:
    """Other keys for a client that signs; those it had are good for a while beside them.

    UnknownClient, NotYourClient, BadKeys, TooManyClients.
    """
    _own(caller, party)
    keys = client_key_rules.client_keys(jwks)
    async with access.open() as book:
        known = await _to_change(book, party, client_id, now)
        changed = model.with_keys(known, keys, now)
        if changed != known:
            await book.change(changed, now)
    return changed


async def end_secret(
    access: Access,
    caller: PartyId,
    party: PartyId,
    client_id: str,
    secret_id: int,
    now: datetime,
) -> None:
    """One secret is good no more; tokens got by it end by themselves, or with the client.

    UnknownClient, NotYourClient, LastSecret.
    """
    _own(caller, party)
    async with access.open() as book:
        known = await _to_change(book, party, client_id, now)
        model.without_secret(known, secret_id)
        await book.end_secret(known, secret_id, now)


async def _to_change(book: Keeper, party: PartyId, client_id: str, now: datetime) -> Client:
    known = None
    if model.is_client_id(client_id):
        known = await book.client_to_change(party, client_id, now)
    if known is None:
        raise UnknownClient("the party has no such client", field="client_id", value=client_id)
    return known


async def revoke_client(
    access: Access,
    caller: PartyId,
    party: PartyId,
    client_id: str,
    *,
    verifier: Verifier,
    now: datetime,
) -> None:
    """End a client and every token it holds. UnknownClient, NotYourClient."""
    _own(caller, party)
    ended = False
    if model.is_client_id(client_id):
        async with access.open() as book:
            ended = await book.revoke_client(party, client_id, now)
    if not ended:
        raise UnknownClient("the party has no such client", field="client_id", value=client_id)
    verifier.revoke_client(client_id, now)


async def refresh(access: Access, *, ring: KeyRing, verifier: Verifier, now: datetime) -> None:
    """Bring this process's keys and revocations up to date."""
    async with access.open() as book:
        keys = await book.keys()
        revocations = await book.revocations(now)
    ring.replace(keys)
    verifier.set_keys(ring.public(now))
    for jti, until in revocations.tokens:
        verifier.revoke_jti(jti, until)
    for client_id, before in revocations.clients:
        verifier.revoke_client(client_id, before)
    verifier.forget_expired()


async def rotate_keys(
    access: Access,
    *,
    ring: KeyRing,
    verifier: Verifier,
    box: Box,
    now: datetime,
    on_demand: bool = False,
) -> bool:
    """Make the next signing key when it is time, or at once `on_demand`; drop the long dead.

    True: a key was made. Old keys verify until the last token that they signed has expired.
    """
    async with access.open() as book:
        await book.lock_keys()
        keys = list(await book.keys())
        made = on_demand or model.needs_new_key(keys, now, ring.rules)
        if made:
            begins = now if on_demand else model.begins(keys, now, ring.rules)
            key = new_signing_key(secrets.token_hex(8), box, now, begins)
            await book.add_key(key, now)
            keys.append(key)
        alive = {key.kid for key in model.published(keys, now, ring.rules)}
        await book.drop_keys([key.kid for key in keys if key.kid not in alive])
    await refresh(access, ring=ring, verifier=verifier, now=now)
    return made


async def forget_expired(access: Access, now: datetime) -> None:
    """Drop used assertions, revocations and secrets that no longer matter."""
    async with access.open() as book:
        await book.forget_expired(now)


def _beginning(party: PartyId, environment: Environment) -> str:
    """So that nobody takes the one for the other, a client's id says where it belongs."""
    compact = party.compact.lower()
    return compact if environment is Environment.LIVE else f"{compact}-{environment}"


def _own(caller: PartyId, party: PartyId) -> None:
    if caller != party:
        raise NotYourClient("a party sees and changes its own clients", field="party", value=party)
