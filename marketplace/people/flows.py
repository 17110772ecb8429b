"""How people are invited, join, change and leave. How they log in is in `entry.py`."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from kit import actor
from kit.actor import acting_as
from kit.sortable_id import sortable_id
from marketplace.people import model, second_factor
from marketplace.people.model import (
    INVITED_FOR,
    MOST_PEOPLE,
    Credentials,
    Invitation,
    InvitationRefused,
    NotYourPeople,
    Person,
    PersonKnown,
    PersonStatus,
    TooManyAttempts,
    TooManyPeople,
    UnknownPerson,
)
from marketplace.people.ports import Book, Box, Checker, People, Standing
from roaming.party import PartyId


@dataclass(frozen=True, slots=True)
class Invited:
    """The token is told to whoever invites, this once; it goes to the person by other means."""

    person: Person
    token: str = field(repr=False)
    until: datetime


async def invite(
    people: People,
    caller: PartyId,
    party: PartyId,
    *,
    hub: PartyId,
    email: str,
    name: str,
    duties: Iterable[str],
    now: datetime,
) -> Invited:
    """A person of the party, who may join until the invitation ends.

    By the party itself, or by the hub's operator. BadPerson, PersonKnown, TooManyPeople.
    """
    _may(caller, party, hub)
    person = Person(
        person_id=sortable_id(now),
        party=party,
        email=model.email_of(email),
        name=model.name_of(name),
        duties=model.duties_of(duties),
        status=PersonStatus.INVITED,
        invited_at=now,
    )
    token, invitation = _invitation(now)
    async with people.open() as book:
        await book.hold(party)
        known = await book.of(party)
        if any(one.email == person.email for one in known):
            raise PersonKnown(
                "the party has a person with this address",
                field="email",
                value=person.email,
                rule="invite that one again, or remove it first",
            )
        if len(known) >= MOST_PEOPLE:
            raise TooManyPeople("too many people", rule=f"at most {MOST_PEOPLE} of a party")
        await book.invite(person, invitation)
    return Invited(person, token, invitation.until)


async def invite_again(
    people: People, caller: PartyId, party: PartyId, person_id: str, *, hub: PartyId, now: datetime
) -> Invited:
    """A new token: the last one has ended, or the person has lost what it logs in with. What it
    had is good until it accepts."""
    _may(caller, party, hub)
    token, invitation = _invitation(now)
    async with people.open() as book:
        await book.hold(party)
        person = await _find(book, party, person_id)
        await book.invite_again(person, invitation, now)
    return Invited(person, token, invitation.until)


async def start_anew(
    people: People, caller: PartyId, party: PartyId, person_id: str, *, hub: PartyId, now: datetime
) -> Invited:
    """The authenticator, or the password, is in other hands: nothing that the person logs in with
    is good any more, its tokens end, and it joins again by a new invitation. UnknownPerson."""
    _may(caller, party, hub)
    token, invitation = _invitation(now)
    async with people.open() as book:
        await book.hold(party)
        person = await _find(book, party, person_id)
        await book.start_anew(person, invitation, now)
    return Invited(replace(person, subject=None), token, invitation.until)


async def end_log_ins(
    people: People,
    caller: PartyId,
    party: PartyId,
    person_id: str | None,
    *,
    hub: PartyId,
    now: datetime,
) -> Sequence[Person]:
    """The tokens of a person, or of all who have joined, end; whoever may log in does so again.
    Whose. UnknownPerson."""
    _may(caller, party, hub)
    async with people.open() as book:
        await book.hold(party)
        if person_id is not None:
            ended = [await _find(book, party, person_id)]
        else:
            ended = [one for one in await book.of(party) if one.status is PersonStatus.ACTIVE]
        for one in ended:
            await book.log_ins_ended(one, now)
    return ended


async def people_of(
    people: People, caller: PartyId, party: PartyId, *, hub: PartyId
) -> Sequence[Person]:
    _may(caller, party, hub)
    async with people.open() as book:
        return await book.of(party)


async def find(
    people: People, caller: PartyId, party: PartyId, person_id: str, *, hub: PartyId
) -> Person:
    _may(caller, party, hub)
    async with people.open() as book:
        return await _find(book, party, person_id)


async def change(
    people: People,
    caller: PartyId,
    party: PartyId,
    person_id: str,
    *,
    hub: PartyId,
    name: str,
    duties: Iterable[str],
    now: datetime,
) -> tuple[Person, bool]:
    """Another name or other duties, in force at once: its tokens end. Whether any were others
    before. UnknownPerson, LastAdmin."""
    _may(caller, party, hub)
    wanted = model.duties_of(duties)
    async with people.open() as book:
        await book.hold(party)
        known = await _find(book, party, person_id)
        model.without(await book.of(party), known, wanted)
        changed = replace(known, name=model.name_of(name), duties=wanted)
        if changed != known:
            await book.change(changed, now)
    return changed, changed != known


async def remove(
    people: People, caller: PartyId, party: PartyId, person_id: str, *, hub: PartyId, now: datetime
) -> None:
    """It may do nothing for the party any more, and its tokens end. UnknownPerson, LastAdmin."""
    _may(caller, party, hub)
    async with people.open() as book:
        await book.hold(party)
        known = await _find(book, party, person_id)
        model.without(await book.of(party), known, None)
        await book.remove(known, now)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an authenticator has to know, told this once."""

    person: Person
    secret: str = field(repr=False)
    uri: str = field(repr=False)


async def accept(
    people: People, token: str, password: str, *, checker: Checker, box: Box, now: datetime
) -> Enrolment:
    """Choose a password, and get the secret of the codes; `confirm` makes both good.

    InvitationRefused, BadPassword.
    """
    invited = await _invited(people, token, now)
    person = invited.person
    about = (*person.email.split("@"), *person.name.split(), person.party.compact)
    chosen = model.checked_password(password, about=about)
    hashed = await checker.hash(chosen)
    secret = second_factor.new_secret()
    sealed = box.seal(secret.encode(), purpose=seal_of(person.person_id))
    async with people.open() as book:
        standing = _open(await book.by_invitation(model.token_hash(token)), now)
        chosen_now = Credentials(
            hashed,
            sealed,
            failed=standing.credentials.failed,
            failed_at=standing.credentials.failed_at,
        )
        await book.keep(person.person_id, chosen_now)
    uri = second_factor.provisioning_uri(secret, f"{person.email} ({person.party})")
    return Enrolment(person, secret, uri)


@dataclass(frozen=True, slots=True)
class Joined:
    """`recovery_codes` are told this once."""

    standing: Standing
    recovery_codes: Sequence[str] = field(repr=False)


async def confirm(people: People, token: str, code: str, *, box: Box, now: datetime) -> Joined:
    """A first code shows that the authenticator has the secret: the person has joined, and is
    logged in. InvitationRefused, TooManyAttempts."""
    token_hash = model.token_hash(token)
    async with people.open() as book:
        standing = _open(await book.by_invitation(token_hash), now)
        person, shown = standing.person, standing.credentials
        must_wait(shown, now)
        if shown.sealed_secret is None or shown.password_hash is None:
            raise InvitationRefused("no password has been chosen", rule="accept first")
        secret = box.unseal(shown.sealed_secret, purpose=seal_of(person.person_id)).decode()
        step = second_factor.step_of(secret, code, after=shown.last_step, now=now)
        if step is None:
            await book.keep(person.person_id, shown.after_failure(now))
        else:
            codes = second_factor.recovery_codes()
            hashes = frozenset(model.recovery_hash(one) for one in codes)
            fresh = replace(shown.after_success(step, None), recovery_hashes=hashes)
            with acting_as(actor.person(person.person_id)):
                await book.join(person, fresh, now, "password")
                await book.logged_in(person, now, "password")
            joined = replace(person, status=PersonStatus.ACTIVE, joined_at=now)
            return Joined(replace(standing, person=joined), codes)
    raise InvitationRefused(
        "this is not the code of now", field="code", rule="the six digits that the app shows"
    )


def must_wait(shown: Credentials, now: datetime) -> None:
    """Raises TooManyAttempts."""
    pause_s = shown.pause_s(now)
    if pause_s:
        raise TooManyAttempts("too many attempts in a row failed", rule=f"again in {pause_s} s")


def seal_of(person_id: str) -> str:
    return f"person:{person_id}"


async def _invited(people: People, token: str, now: datetime) -> Standing:
    async with people.open() as book:
        return _open(await book.by_invitation(model.token_hash(token)), now)


def _open(standing: Standing | None, now: datetime) -> Standing:
    """An invitation that holds; which of many reasons it has not to, only its sender may know."""
    open_ = (
        standing is not None
        and standing.invitation is not None
        and standing.invitation.until > now
        and standing.roles is not None
    )
    if standing is None or not open_:
        raise InvitationRefused(
            "there is no such invitation, or it has ended",
            field="token",
            rule="ask whoever invited you for a new one",
        )
    return standing


def _invitation(now: datetime) -> tuple[str, Invitation]:
    token = secrets.token_urlsafe(32)
    return token, Invitation(model.token_hash(token), now + INVITED_FOR)


async def _find(book: Book, party: PartyId, person_id: str) -> Person:
    person = await book.find(party, person_id)
    if person is None:
        raise UnknownPerson(
            "the party has no such person", field="person_id", value=person_id[:100]
        )
    return person


def _may(caller: PartyId, party: PartyId, hub: PartyId) -> None:
    if caller not in (party, hub):
        raise NotYourPeople("a party sees and changes its own people", field="party", value=party)
