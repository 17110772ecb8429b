"""How a person logs in, stays, and leaves: by password and code, or by an OpenID provider.

Whatever is wrong, the answer is the same words, and takes as long.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from authlib.oauth2.rfc7636 import create_s256_code_challenge

from kit import actor
from kit.access_token import Identity
from kit.actor import acting_as
from marketplace.access.model import FailedAttempts
from marketplace.people import model, second_factor
from marketplace.people.flows import must_wait, seal_of
from marketplace.people.model import (
    LOGIN_AT_PROVIDER,
    SESSION,
    Credentials,
    LoginNeeded,
    LoginRefused,
    Person,
    PersonStatus,
    TooManyAttempts,
)
from marketplace.people.ports import (
    Book,
    Box,
    Checker,
    PendingLogin,
    People,
    Provider,
    Standing,
    Tokens,
)
from roaming.party import PartyId
from roaming.refusal import Refusal

WRONG = "the e-mail address, the password or the code is wrong"
_RULE = (
    "the password and a code that was not used before; after ten failures in a row, wait a quarter"
    " of an hour; or ask an admin of yours for a new start"
)
# A no comes no sooner, so that its time does not tell whether anything was looked up or kept.
NO_SOONER_S = 0.25
# Who it is, is known when it comes back: until then whoever goes to the provider is one account.
AT_PROVIDER = "at the provider"
# From one address in a minute: people of one office share theirs, and begin in the morning.
MOST_AT_PROVIDER = 100


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody is logged in."""

    person: Person
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Shown:
    """What somebody says who it is, and shows for it: `code` or else `recovery_code`."""

    party: PartyId
    email: str
    password: str = field(repr=False)
    code: str | None = field(default=None, repr=False)
    recovery_code: str | None = field(default=None, repr=False)
    address: str = ""


async def log_in(
    people: People,
    shown: Shown,
    *,
    tokens: Tokens,
    checker: Checker,
    box: Box,
    failures: FailedAttempts,
    now: datetime,
) -> Session:
    """An access token for a person. LoginRefused, TooManyAttempts.

    The password is looked at between two transactions, since that takes long. Who has to wait is
    told no more than anybody: only somebody who is known has failures that are kept.
    """
    began_s = time.monotonic()
    account = f"{shown.party}/{shown.email.strip().lower()[:300]}"
    _not_too_often(failures, account, shown.address, now)
    async with people.open() as book:
        found = await book.by_email(shown.party, _email(shown.email))
    hashes = () if found is None else _hashes(found.credentials)
    password_ok = await checker.matches(model.normal(shown.password), hashes)
    refused: Refusal | None = LoginRefused(WRONG, rule=_RULE)
    if found is not None:
        with acting_as(actor.person(found.person.person_id)):
            async with people.open() as book:
                standing = await book.standing(found.person.person_id)
                # Of many who come at once, each waits for the one before.
                if standing is not None and standing.credentials.pause_s(now) == 0:
                    again = _hashes(standing.credentials) == hashes
                    if await _holds(book, standing, shown, again and password_ok, box, now):
                        refused = None
                        await book.logged_in(standing.person, now, "password")
            if refused is None and standing is not None:
                return session_of(standing, tokens, logged_in_at=now, now=now)
    failures.note(account, shown.address, now)
    await asyncio.sleep(began_s + NO_SOONER_S - time.monotonic())
    assert refused is not None
    raise refused


async def _holds(
    book: Book, standing: Standing, shown: Shown, password_ok: bool, box: Box, now: datetime
) -> bool:
    """Whether it may come in; what was used is used up, and a failure is counted."""
    person, known = standing.person, standing.credentials
    step, recovery = _second_factor(person, known, shown, box, now)
    second_ok = step is not None or recovery is not None
    may = person.status is PersonStatus.ACTIVE and standing.roles is not None
    if password_ok and second_ok and may:
        await book.keep(person.person_id, known.after_success(step, recovery))
        return True
    await book.keep(person.person_id, known.after_failure(now))
    why = "password" if not password_ok else "code" if not second_ok else "standing"
    await book.refused(person, now, why)
    return False


def _second_factor(
    person: Person, known: Credentials, shown: Shown, box: Box, now: datetime
) -> tuple[int | None, bytes | None]:
    if known.sealed_secret is None:
        return None, None
    if shown.code is not None:
        secret = box.unseal(known.sealed_secret, purpose=seal_of(person.person_id)).decode()
        return second_factor.step_of(secret, shown.code, after=known.last_step, now=now), None
    hashed = model.recovery_hash(shown.recovery_code or "")
    return None, hashed if hashed in known.recovery_hashes else None


def session_of(
    standing: Standing, tokens: Tokens, *, logged_in_at: datetime, now: datetime
) -> Session:
    person = standing.person
    assert standing.roles is not None, "who takes no part was refused"
    token = tokens.mint_for_person(
        person.person_id,
        person.party,
        standing.roles,
        frozenset(person.duties),
        logged_in_at=logged_in_at,
        now=now,
    )
    return Session(person, token)


async def renew(people: People, identity: Identity, *, tokens: Tokens, now: datetime) -> Session:
    """A new token before the last one ends, until a working day is over. LoginNeeded."""
    person_id, logged_in_at = logged_in(identity)
    async with people.open() as book:
        standing = await book.standing(person_id)
    if now - logged_in_at >= SESSION or not _is_in(standing):
        raise LoginRefused("the log-in has ended", rule="log in again")
    assert standing is not None
    return session_of(standing, tokens, logged_in_at=logged_in_at, now=now)


async def log_out(people: People, identity: Identity, *, now: datetime) -> None:
    """The token ends, in every process as soon as each has heard. LoginNeeded."""
    person_id, _ = logged_in(identity)
    async with people.open() as book:
        standing = await book.standing(person_id)
        if standing is not None:
            await book.logged_out(standing.person, identity.token_id, identity.expires_at, now)


async def change_password(
    people: People,
    identity: Identity,
    *,
    password: str,
    code: str,
    new_password: str,
    tokens: Tokens,
    checker: Checker,
    box: Box,
    now: datetime,
) -> Session:
    """Another password; all tokens end but the one that is answered.

    LoginNeeded, LoginRefused, BadPassword, TooManyAttempts.
    """
    person_id, logged_in_at = logged_in(identity)
    async with people.open() as book:
        found = await book.standing(person_id)
    if found is None or found.credentials.password_hash is None:
        raise LoginNeeded("this log-in has no password", rule="log in as you did")
    must_wait(found.credentials, now)
    person = found.person
    about = (*person.email.split("@"), *person.name.split(), person.party.compact)
    chosen = model.checked_password(new_password, about=about)
    hashes = _hashes(found.credentials)
    password_ok = await checker.matches(model.normal(password), hashes)
    hashed = await checker.hash(chosen)
    shown = Shown(person.party, person.email, password, code=code)
    async with people.open() as book:
        standing = await book.standing(person_id)
        if standing is not None and standing.credentials.pause_s(now) == 0:
            again = _hashes(standing.credentials) == hashes
            if await _holds(book, standing, shown, again and password_ok, box, now):
                kept = (await book.standing(person_id) or standing).credentials
                await book.password_changed(person, replace(kept, password_hash=hashed), now)
                return session_of(standing, tokens, logged_in_at=logged_in_at, now=now)
    raise LoginRefused(WRONG, rule=_RULE)


@dataclass(frozen=True, slots=True)
class Begun:
    """Where to send the person, and what its browser has to bring back beside the state."""

    url: str
    binding: str = field(repr=False)


async def begin_at_provider(
    people: People,
    party: PartyId,
    address: str,
    *,
    provider: Provider,
    attempts: FailedAttempts,
    now: datetime,
) -> Begun:
    """A log-in at the OpenID provider: authorisation code with PKCE (RFC 7636). TooManyAttempts,
    ProviderAway.

    Each is kept, and asks somebody else: whoever begins is counted as one who fails is.
    """
    _not_too_often(attempts, AT_PROVIDER, address, now)
    attempts.note(AT_PROVIDER, address, now)
    state, nonce, verifier, binding = (secrets.token_urlsafe(32) for _ in range(4))
    url = await provider.authorization_url(
        state=state, nonce=nonce, challenge=create_s256_code_challenge(verifier)
    )
    pending = PendingLogin(
        party, nonce, verifier, model.token_hash(binding), now + LOGIN_AT_PROVIDER
    )
    async with people.open() as book:
        await book.forget_expired(now)
        await book.begin_login(model.token_hash(state), pending)
    return Begun(url, binding)


async def come_from_provider(
    people: People,
    *,
    state: str,
    code: str,
    binding: str,
    address: str,
    provider: Provider,
    attempts: FailedAttempts,
    tokens: Tokens,
    now: datetime,
) -> Session:
    """The person is back from the provider. Who was invited joins by this, if the provider vouches
    for the address; from then on it is known by its subject.

    LoginRefused, TooManyAttempts, ProviderAway.
    """
    _not_too_often(attempts, AT_PROVIDER, address, now)
    try:
        return await _back(people, state, code, binding, provider=provider, tokens=tokens, now=now)
    except LoginRefused:
        attempts.note(AT_PROVIDER, address, now)
        raise


async def _back(
    people: People,
    state: str,
    code: str,
    binding: str,
    *,
    provider: Provider,
    tokens: Tokens,
    now: datetime,
) -> Session:
    async with people.open() as book:
        pending = await book.take_login(model.token_hash(state))
    if (
        pending is None
        or pending.until <= now
        or not secrets.compare_digest(pending.binding_hash, model.token_hash(binding))
    ):
        raise LoginRefused(
            "this log-in was not begun here, or has taken too long",
            field="state",
            rule="begin again, in the same browser",
        )
    claims = await provider.claims(code, verifier=pending.verifier, nonce=pending.nonce, now=now)
    async with people.open() as book:
        standing = await _vouched_for(book, pending.party, provider.issuer, claims, now)
        if standing is None:
            raise LoginRefused(
                "nobody of this party is known, or invited, by this log-in",
                field="sub",
                rule="an admin of the party invites the address that the provider has verified",
            )
        person = standing.person
        with acting_as(actor.person(person.person_id)):
            if person.status is PersonStatus.INVITED:
                # A password that was chosen and never confirmed may be another's.
                await book.join(person, Credentials(), now, "oidc")
                joined = replace(person, status=PersonStatus.ACTIVE, joined_at=now)
                standing = replace(standing, person=joined)
            await book.logged_in(person, now, "oidc")
    return session_of(standing, tokens, logged_in_at=now, now=now)


async def _vouched_for(
    book: Book, party: PartyId, issuer: str, claims: Mapping[str, Any], now: datetime
) -> Standing | None:
    """The person whom the claims are about: by its subject, or for the first time by an address
    that the provider has verified, as long as its invitation holds or it has joined."""
    subject = str(claims["sub"])
    known = await book.by_subject(party, issuer, subject)
    if known is not None:
        return known if _is_in(known) else None
    if claims.get("email_verified") is not True:
        return None
    found = await book.by_email(party, _email(str(claims.get("email", ""))))
    if found is None or found.roles is None or found.person.subject is not None:
        return None
    if found.person.status is PersonStatus.INVITED and (
        found.invitation is None or found.invitation.until <= now
    ):
        return None
    await book.bind(found.person, issuer, subject, now)
    return found


def logged_in(identity: Identity) -> tuple[str, datetime]:
    """Whose token it is, and since when that one is logged in; LoginNeeded for a program's."""
    if identity.person is None or identity.logged_in_at is None:
        raise LoginNeeded(
            "this is for people", rule="an access token from /marketplace/people/login"
        )
    return identity.person, identity.logged_in_at


def _not_too_often(attempts: FailedAttempts, account: str, address: str, now: datetime) -> None:
    wait_s = attempts.wait_s(account, address, now)
    if wait_s:
        raise TooManyAttempts("too many attempts", rule=f"again in {wait_s} s")


def _is_in(standing: Standing | None) -> bool:
    return (
        standing is not None
        and standing.person.status is PersonStatus.ACTIVE
        and standing.roles is not None
    )


def _hashes(known: Credentials) -> tuple[str, ...]:
    return () if known.password_hash is None else (known.password_hash,)


def _email(text: str) -> str:
    """What is none is nobody's."""
    try:
        return model.email_of(text)
    except model.BadPerson:
        return ""
