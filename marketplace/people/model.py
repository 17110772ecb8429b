"""People's nouns and rules: duties, invitations, passwords, and how often one may guess.

A person belongs to one partner. Somebody who works for two is two people here, so that no partner
can tell by an invitation who works for another.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from roaming.party import PartyId
from roaming.refusal import (
    Clash,
    Malformed,
    NotYours,
    TooMuch,
    Unauthenticated,
    Unavailable,
    Unknown,
)

INVITED_FOR = timedelta(days=7)
# A log-in is renewed for a working day; then it is asked for again.
SESSION = timedelta(hours=12)
# An OIDC provider may ask its user for a password and a code meanwhile.
LOGIN_AT_PROVIDER = timedelta(minutes=10)
RECOVERY_CODES = 10
MOST_PEOPLE = 500
LONGEST_NAME = 200
LONGEST_EMAIL = 254
# NIST SP 800-63B-4, section 3.1.1.2: 8 at least where a second factor is asked for, 64 at least
# must be possible, no rules of composition, and none that is commonly used.
LEAST_PASSWORD, LONGEST_PASSWORD = 10, 128


class Duty(StrEnum):
    """What a person does for its partner. Each stands for itself: an admin looks after people and
    clients, and signs no contract unless that is among its duties too. All may look."""

    ADMIN = "admin"
    CONTRACTS = "contracts"
    FINANCE = "finance"
    OPERATIONS = "operations"
    READ_ONLY = "read-only"


class PersonStatus(StrEnum):
    INVITED = "invited"
    ACTIVE = "active"
    REMOVED = "removed"


class BadPerson(Malformed):
    """What is told of a person breaks a rule."""


class BadPassword(Malformed):
    """A password that others would guess, or that nobody could type."""


class NotYourPeople(NotYours):
    """A party sees and changes its own people; the hub's operator everybody's."""


class UnknownPerson(Unknown):
    """The party has no such person."""


class PersonKnown(Clash):
    """The party has a person with this e-mail address already."""


class LastAdmin(Clash):
    """Without it nobody could look after the party's people any more."""


class TooManyPeople(TooMuch):
    """A party needs some people, not any number of them."""


class InvitationRefused(Unauthenticated):
    """The invitation is none of ours, or has ended, or was used."""


class LoginRefused(Unauthenticated):
    """Not this person, or not by these words; which of them is wrong is not told."""


class LoginNeeded(NotYours):
    """This is for a person who has logged in, not for a program."""


class ProviderAway(Unavailable):
    """The OpenID provider does not answer, or not as one does."""


class TooManyAttempts(TooMuch):
    """Somebody guesses."""


@dataclass(frozen=True, slots=True)
class Person:
    """`subject` is who an OIDC provider says that it is, once it has come that way."""

    person_id: str
    party: PartyId
    email: str
    name: str
    duties: frozenset[Duty]
    status: PersonStatus
    invited_at: datetime
    joined_at: datetime | None = None
    last_login_at: datetime | None = None
    subject: str | None = None

    @property
    def is_admin(self) -> bool:
        return self.status is PersonStatus.ACTIVE and Duty.ADMIN in self.duties


@dataclass(frozen=True, slots=True)
class Invitation:
    """What is kept of it: the token is told once, and only its hash stays here."""

    token_hash: bytes
    until: datetime


@dataclass(frozen=True, slots=True)
class Credentials:
    """By what a person shows who it is.

    `last_step` is the time step of the newest code that was used: a code is good once. `failed`
    counts attempts in a row, from whatever address.
    """

    password_hash: str | None = field(default=None, repr=False)
    sealed_secret: bytes | None = field(default=None, repr=False)
    last_step: int = 0
    recovery_hashes: frozenset[bytes] = field(default=frozenset(), repr=False)
    failed: int = 0
    failed_at: datetime | None = None

    def pause_s(self, now: datetime) -> int:
        """Seconds until the next attempt is looked at: from the tenth failure in a row on they
        double, up to a quarter of an hour. So nobody guesses a code, or 100 passwords a day."""
        if self.failed_at is None or self.failed < FREE_ATTEMPTS:
            return 0
        pause_s = min(LONGEST_PAUSE_S, 2 ** min(self.failed - FREE_ATTEMPTS, 20))
        left = (self.failed_at + timedelta(seconds=pause_s) - now).total_seconds()
        return 0 if left <= 0 else int(left) + 1

    def after_failure(self, now: datetime) -> Credentials:
        return replace(self, failed=self.failed + 1, failed_at=now)

    def after_success(self, step: int | None, recovery: bytes | None) -> Credentials:
        """What was used is used up."""
        return replace(
            self,
            last_step=self.last_step if step is None else step,
            recovery_hashes=self.recovery_hashes - ({recovery} if recovery is not None else set()),
            failed=0,
            failed_at=None,
        )


FREE_ATTEMPTS = 10
LONGEST_PAUSE_S = 900

_EMAIL = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?"
)


def email_of(text: str) -> str:
    """An address as it is kept, in small letters; BadPerson for what is none."""
    email = text.strip().lower()
    if len(email) > LONGEST_EMAIL or not _EMAIL.fullmatch(email) or ".." in email:
        raise BadPerson(
            "this is no e-mail address", field="email", value=text[:100], rule="as ada@example.org"
        )
    return email


def name_of(text: str) -> str:
    name = " ".join(text.split())
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise BadPerson(
            "a person has a name",
            field="name",
            value=text[:100],
            rule=f"1 to {LONGEST_NAME} printable characters",
        )
    return name


def duties_of(names: Iterable[str]) -> frozenset[Duty]:
    """At least one; BadPerson names the one that does not exist."""
    known = set(Duty)
    told = list(names)
    for name in told:
        if name not in known:
            raise BadPerson(
                f"there is no duty {name!r}"[:200],
                field="duties",
                value=name[:100],
                rule=", ".join(Duty),
            )
    if not told:
        raise BadPerson("a person has duties", field="duties", rule=f"some of {', '.join(Duty)}")
    return frozenset(Duty(name) for name in told)


def without(people: Collection[Person], gone: Person, duties: frozenset[Duty] | None) -> None:
    """One of a party's people leaves (`duties` None) or gets other duties. Raises LastAdmin."""
    stays_admin = duties is not None and Duty.ADMIN in duties
    if not gone.is_admin or stays_admin:
        return
    if not any(one.is_admin for one in people if one.person_id != gone.person_id):
        raise LastAdmin(
            "it is the only admin who has joined",
            field="person_id",
            value=gone.person_id,
            rule="make another the admin first, once that one has joined",
        )


def token_hash(token: str) -> bytes:
    """Of what has so many random bits that nobody guesses it: no slow hash is needed."""
    return hashlib.sha256(token.encode()).digest()


def recovery_hash(code: str) -> bytes:
    """However it is spelt."""
    return token_hash(re.sub(r"[^a-z0-9]", "", code.lower()))


def normal(password: str) -> str:
    """As it is hashed: one spelling for what looks the same (NIST asks for NFC or NFKC)."""
    return unicodedata.normalize("NFKC", password)


def checked_password(password: str, *, about: Sequence[str]) -> str:
    """The password, normal; BadPassword says what is wrong, and never what it was.

    `about`: words that others know of its owner.
    """
    chosen = normal(password)
    if any("\ud800" <= letter <= "\udfff" for letter in chosen):
        # JSON can spell it, and UTF-8, in which passwords are hashed, cannot.
        raise BadPassword(
            "half a surrogate pair is no character",
            field="password",
            rule=f"{LEAST_PASSWORD} to {LONGEST_PASSWORD} characters, any of them",
        )
    if not LEAST_PASSWORD <= len(chosen) <= LONGEST_PASSWORD:
        raise BadPassword(
            "the password is too short" if len(chosen) < LEAST_PASSWORD else "it is too long",
            field="password",
            rule=f"{LEAST_PASSWORD} to {LONGEST_PASSWORD} characters, any of them",
        )
    plain = re.sub(r"[\W\d_]+", "", chosen.casefold())
    known = {re.sub(r"[\W\d_]+", "", word.casefold()) for word in about} - {""}
    if chosen.casefold() in COMMONEST or plain in COMMON_WORDS | known or len(set(chosen)) < 4:
        raise BadPassword(
            "the password is one of those that are tried first",
            field="password",
            rule="several words that do not belong together are good; a name with a number is not",
        )
    return chosen


# Of those that leak most often: what is left of them without digits and signs, and those that
# have nothing else. Short ones are refused for their length.
COMMON_WORDS = frozenset(
    (
        "",
        *("password", "passwort", "motdepasse", "contrasena", "wachtwoord", "passw", "passwd"),
        *("qwerty", "qwertyuiop", "qwertz", "qwertzuiop", "azerty", "azertyuiop", "asdfghjkl"),
        *("zxcvbnm", "qazwsx", "qazwsxedc", "abcdefgh", "abcdefghij", "abc", "abcd", "abcdef"),
        *("iloveyou", "letmein", "welcome", "willkommen", "bienvenue", "admin", "administrator"),
        *("changeme", "default", "secret", "geheim", "hallo", "hello", "test", "testtest", "login"),
        *("football", "baseball", "superman", "batman", "dragon", "monkey", "princess", "sunshine"),
        *("master", "shadow", "michael", "trustno", "starwars", "whatever", "computer", "internet"),
        *("gridroam", "charging", "chargepoint", "roaming", "emobility", "electricvehicle"),
        *("summer", "winter", "spring", "autumn", "sommer", "qwertyqwerty", "passwordpassword"),
    )
)
COMMONEST = frozenset(
    {
        *(
            "1q2w3e4r5t",
            "1q2w3e4r5t6y",
            "q1w2e3r4t5",
            "q1w2e3r4t5y6",
            "1qaz2wsx3edc",
            "zaq12wsxcde3",
        ),
        *("a1b2c3d4e5", "abcd123456", "abc1234567", "123qweasdzxc", "qwe123asd456", "p@ssw0rd123"),
        *("p4ssw0rd123", "passw0rd123", "pa55word123", "l3tm31n123", "adm1n12345", "w3lc0me123"),
    }
)
