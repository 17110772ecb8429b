"""An application: who wants to take part, under which party ids, in which roles.

Law: a role is approved only when nothing that it needs is missing; a party id is given to the first
application that is approved, and from then on to no other.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from marketplace.business.model import LONGEST_EMAIL, LONGEST_NAME, BusinessDetails
from marketplace.partners.model import Role
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed, NotYours, TooMuch, Unauthenticated, Unknown

LONGEST_REASON = 1_000
MOST_PARTIES = 20
MOST_CONTACTS = 20
# Time enough to fetch a client, and for a second try; afterwards a token does the same.
SECRET_HOLDS = timedelta(days=30)


class RoleStatus(StrEnum):
    """What became of a role that was asked for. An approved one may be suspended later: see
    marketplace.partners.standing."""

    REQUESTED = "requested"
    APPROVED = "approved"
    REFUSED = "refused"


class Decision(StrEnum):
    APPROVE = "approve"
    REFUSE = "refuse"


# What was refused may be approved after all; what was approved is suspended, not refused.
TRANSITIONS: Mapping[RoleStatus, Mapping[Decision, RoleStatus]] = {
    RoleStatus.REQUESTED: {
        Decision.APPROVE: RoleStatus.APPROVED,
        Decision.REFUSE: RoleStatus.REFUSED,
    },
    RoleStatus.REFUSED: {Decision.APPROVE: RoleStatus.APPROVED},
    RoleStatus.APPROVED: {},
}


class ContactPurpose(StrEnum):
    """What somebody is to be written to for."""

    CONTRACTS = "contracts"
    FINANCE = "finance"
    OPERATIONS = "operations"
    SECURITY = "security"


class Need(StrEnum):
    """What a role may need, besides name and seat, which all do."""

    IBAN = "iban"
    TAX = "vat_id or tax_id"
    INVOICE_EMAIL = "invoice_email"
    CONTRACTS_CONTACT = "a contact for contracts"
    OPERATIONS_CONTACT = "a contact for operations"


# An operator is paid and issues invoices; an EVSP gets them; who provides services does both or
# neither, but somebody must answer for its contracts; a grid operator has only to be reached.
REQUIREMENTS: Mapping[Role, tuple[Need, ...]] = {
    Role.EVSE_OPERATOR: (Need.IBAN, Need.TAX, Need.OPERATIONS_CONTACT),
    Role.EVSP: (Need.TAX, Need.INVOICE_EMAIL, Need.OPERATIONS_CONTACT),
    Role.DSO: (Need.OPERATIONS_CONTACT,),
    Role.SERVICE_PROVIDER: (Need.IBAN, Need.TAX, Need.CONTRACTS_CONTACT),
}


class BadApplication(Malformed):
    """An application that breaks a rule."""


class RoleIncomplete(Malformed):
    """Something that the role needs is missing."""


class UnknownApplication(Unknown):
    """There is no such application."""


class ApplicantUnknown(Unauthenticated):
    """Neither the application's secret nor an access token of the hub's operator came."""


class OperatorOnly(NotYours):
    """Applications are decided by the hub's operator."""


class NotYourApplication(NotYours):
    """An application is for who made it and for the hub's operator."""


class PartyTaken(Clash):
    """A party id belongs to another partner already."""


class DecisionStands(Clash):
    """The role was decided otherwise."""


class NotApproved(Clash):
    """No role of the application is approved, so there is nothing to fetch yet."""


class SecretExpired(Clash):
    """The application's secret has done what it was for."""


class TooManyApplications(TooMuch):
    """More applications than anybody needs."""


@dataclass(frozen=True, slots=True)
class Contact:
    name: str
    email: str
    purpose: ContactPurpose

    def __repr__(self) -> str:
        return f"Contact({self.purpose!s})"


@dataclass(frozen=True, slots=True)
class RoleAsked:
    """One role of an application, and the last word on it."""

    role: Role
    status: RoleStatus = RoleStatus.REQUESTED
    decided_at: datetime | None = None
    decided_by: PartyId | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Application:
    """`parties`: the first is the one by which the partner will be known. `applicant`: a partner
    that asks for further roles; None: somebody new. `approved_at`: when a role was approved last.
    """

    application_id: str
    applicant: PartyId | None
    parties: tuple[PartyId, ...]
    details: BusinessDetails
    contacts: tuple[Contact, ...]
    roles: tuple[RoleAsked, ...]
    submitted_at: datetime
    approved_at: datetime | None = None

    @property
    def main(self) -> PartyId:
        return self.parties[0]

    @property
    def status(self) -> RoleStatus:
        """Of the whole: requested while a role waits, then approved if any role is."""
        found = {one.status for one in self.roles}
        first = (RoleStatus.REQUESTED, RoleStatus.APPROVED, RoleStatus.REFUSED)
        return next(status for status in first if status in found)

    @property
    def waiting(self) -> tuple[Role, ...]:
        return tuple(one.role for one in self.roles if one.status is RoleStatus.REQUESTED)


def application(
    application_id: str,
    parties: Sequence[PartyId],
    roles: Collection[Role],
    details: BusinessDetails,
    contacts: Sequence[Contact],
    now: datetime,
    *,
    applicant: PartyId | None = None,
) -> Application:
    """An application with all that its roles need; BadApplication, RoleIncomplete."""
    if not 0 < len(parties) <= MOST_PARTIES or len(set(parties)) < len(parties):
        raise BadApplication(
            "an application names party ids",
            field="parties",
            value=", ".join(parties)[:200],
            rule=f"1 to {MOST_PARTIES}, each once; the first is the main one",
        )
    if len(contacts) > MOST_CONTACTS:
        raise BadApplication("too many contacts", field="contacts", rule=f"at most {MOST_CONTACTS}")
    for role in sorted(roles):
        check_complete(role, details, contacts)
    return Application(
        application_id,
        applicant,
        tuple(parties),
        details,
        tuple(contacts),
        tuple(RoleAsked(role) for role in sorted(roles)),
        now,
    )


def content_of(asked: Application) -> bytes:
    """The digest of all that an application says, whenever it came."""
    said = asdict(asked.details) | {
        "valid_from": None,
        "applicant": asked.applicant,
        "parties": asked.parties,
        "roles": [one.role for one in asked.roles],
        "contacts": [asdict(one) for one in asked.contacts],
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()


_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")


def contact(name: str, email: str, purpose: ContactPurpose) -> Contact:
    """Somebody to write to; BadApplication."""
    name, email = name.strip(), email.strip()
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise BadApplication(
            "a contact has a name",
            field="contacts.name",
            value=name[:100],
            rule=f"1 to {LONGEST_NAME} printable characters",
        )
    if len(email) > LONGEST_EMAIL or not email.isprintable() or not _EMAIL.fullmatch(email):
        raise BadApplication(
            "a contact has an e-mail address",
            field="contacts.email",
            value=email[:100],
            rule=f"an address, at most {LONGEST_EMAIL} characters",
        )
    return Contact(name, email, purpose)


def missing(role: Role, details: BusinessDetails, contacts: Iterable[Contact]) -> list[Need]:
    """What the role needs and is not there."""
    purposes = {one.purpose for one in contacts}
    there = {
        Need.IBAN: details.iban is not None,
        Need.TAX: details.vat_id is not None or details.tax_id is not None,
        Need.INVOICE_EMAIL: details.invoice_email is not None,
        Need.CONTRACTS_CONTACT: ContactPurpose.CONTRACTS in purposes,
        Need.OPERATIONS_CONTACT: ContactPurpose.OPERATIONS in purposes,
    }
    return [need for need in REQUIREMENTS[role] if not there[need]]


def check_complete(role: Role, details: BusinessDetails, contacts: Iterable[Contact]) -> None:
    """RoleIncomplete names what is missing."""
    lacks = missing(role, details, contacts)
    if lacks:
        raise RoleIncomplete(
            f"the role {role} needs more than was told",
            field="roles",
            value=role,
            rule=f"with {', '.join(lacks)}",
        )


def decided(
    asked: Application,
    role: Role,
    decision: Decision,
    by: PartyId,
    now: datetime,
    reason: str | None = None,
) -> Application:
    """The application after a decision on one of its roles; the same one where it says so already.

    BadApplication, RoleIncomplete, DecisionStands.
    """
    one = next((one for one in asked.roles if one.role == role), None)
    if one is None:
        raise BadApplication(
            f"the application does not ask for the role {role}",
            field="role",
            value=role,
            rule=", ".join(one.role for one in asked.roles),
        )
    if decision is Decision.REFUSE and not (reason or "").strip():
        raise BadApplication(
            "who is refused is told why", field="reason", rule="a reason, in words"
        )
    if reason is not None and (len(reason) > LONGEST_REASON or "\x00" in reason):
        raise BadApplication(
            "the reason cannot be kept",
            field="reason",
            rule=f"at most {LONGEST_REASON} characters and no NUL",
        )
    said = RoleStatus.APPROVED if decision is Decision.APPROVE else RoleStatus.REFUSED
    if one.status is said:
        return asked
    target = TRANSITIONS[one.status].get(decision)
    if target is None:
        raise DecisionStands(
            f"the role {role} is {one.status}",
            field="role",
            value=role,
            rule="an approved role is suspended: POST …/partners/{party}/roles/{role}/suspend",
        )
    if target is RoleStatus.APPROVED:
        check_complete(role, asked.details, asked.contacts)
    after = RoleAsked(role, target, now, by, reason)
    return replace(
        asked,
        roles=tuple(after if other.role == role else other for other in asked.roles),
        approved_at=now if target is RoleStatus.APPROVED else asked.approved_at,
    )


def check_fetchable(asked: Application, now: datetime) -> None:
    """Whether the application's secret may fetch a client now; NotApproved, SecretExpired."""
    if asked.approved_at is None:
        raise NotApproved(
            f"the application is {asked.status}",
            field="application_id",
            value=asked.application_id,
            rule="an approved role; the application itself tells how far it is",
        )
    if now >= asked.approved_at + SECRET_HOLDS:
        raise SecretExpired(
            "the application's secret is good for so long after an approval",
            field="application_id",
            value=asked.application_id,
            rule=f"{SECRET_HOLDS.days} days; later: POST /marketplace/partners/{{party}}/clients",
        )
