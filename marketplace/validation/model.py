"""What Contract Validation (SRV 1967) is asked and answers: may this party use that service of this
provider, at a moment of the past, of now, or of the future as far as it is agreed?

Questions and answers are read and written a thousand at a time, so that they are msgspec's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from marketplace.offerings.model import ServiceTerms, Terms
from marketplace.services.model import Environment
from roaming.party import PartyId
from roaming.refusal import Malformed, NotYours

MOST_QUESTIONS = 1_000
OPERATION_NOT_COVERED = "operation-not-covered"
"""The one reason beside `contracts.model.Absence`: there is a contract, about other operations."""


class NotYourQuestion(NotYours):
    """Whether two parties have a contract is for them, and the hub, to ask."""


class BadQuestion(Malformed):
    """A question that cannot be answered."""


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Is a contract in force? `at` left out: now. `operation`: a name of the service's, or
    `METHOD /path`; left out: any."""

    requester: str
    provider: str
    service: Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]{1,63}$")]
    major: Annotated[int, msgspec.Meta(ge=1, le=9999)] = 1
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    operation: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    environment: Environment = Environment.LIVE


class Asked(msgspec.Struct, frozen=True):
    """A question as it was understood: identifiers in their one form, the moment in UTC."""

    requester: PartyId
    provider: PartyId
    service: str
    major: int
    at: datetime
    operation: str | None
    environment: Environment


class Answer(msgspec.Struct, frozen=True):
    """`contract_id` is that in force at the moment asked about; where there is none, the one that
    came closest, and `reason`.

    `terms_sha256` and what follows are of the contract that is in force then: which terms were
    agreed, and between which moments, the second excluded.
    """

    valid: bool
    contract_id: str | None
    reason: str | None
    at: datetime
    terms_sha256: str | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None


def understood(question: Question, now: datetime) -> Asked:
    """The question with its identifiers in their one form. BadIdentifier, BadQuestion."""
    at = question.at or now
    try:
        at = at.astimezone(UTC)
    except OverflowError:
        raise BadQuestion(
            "no such moment in UTC", field="at", value=question.at, rule="the years 1 to 9999"
        ) from None
    return Asked(
        PartyId(question.requester),
        PartyId(question.provider),
        question.service,
        question.major,
        at,
        question.operation,
        question.environment,
    )


def check_asker(caller: PartyId, asked: Asked, hub: PartyId) -> None:
    """NotYourQuestion for whoever is neither of the two nor the hub."""
    if caller not in (asked.requester, asked.provider, hub):
        raise NotYourQuestion(
            "only the two parties and the hub may ask",
            field="requester",
            value=asked.requester,
            rule="requester or provider is the caller",
        )


def allows(terms: Terms, operation: str) -> bool:
    """Whether a contract on these terms is about an operation. BadQuestion: nothing is called."""
    if not isinstance(terms, ServiceTerms):
        raise BadQuestion(
            "a roaming agreement has no operations",
            field="operation",
            value=operation,
            rule="left out where the service is roaming",
        )
    return terms.allow(operation)


def claims(
    *,
    issuer: str,
    audience: PartyId,
    said: dict[str, Any],
    now: datetime,
    book_age_s: float,
) -> dict[str, Any]:
    """What is signed: who answers whom, when, out of a book of what age, and `said`: the question
    and its answer, or all of them."""
    return {
        "iss": issuer,
        "aud": str(audience),
        "iat": int(now.timestamp()),
        "answered_at": now,
        "book_age_s": round(book_age_s, 3),
        **said,
    }
