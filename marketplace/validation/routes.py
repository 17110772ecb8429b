"""The hub's service `contract-validation` (SRV 1967) over HTTP, behind the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from kit.clock import Clock
from kit.http import Caller, HotRoute, Instant, caller_of, decode, json_response, read_body
from kit.problem import told_of
from marketplace.services.model import Environment
from marketplace.validation import flows, model
from marketplace.validation.model import MOST_QUESTIONS, Answer, BadQuestion, Question
from marketplace.validation.ports import Book, Signer
from roaming.party import PartyId
from roaming.refusal import Refusal

Calling = Annotated[Caller, Depends(caller_of)]
MOST_BYTES = 1024 * 1024


class ValidityShown(BaseModel):
    """Whether a contract is in force; `reason` where it is not.

    With `details` (or `signed`): the moment asked about, the digest of the terms that were in
    force, and between which moments they are. `signed`: all of it, the question and the time of
    answering as a compact JWS.
    """

    valid: bool
    contract_id: str | None
    reason: str | None
    at: datetime | None = None
    terms_sha256: str | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    signed: str | None = None


class ValidationsAsked(msgspec.Struct, forbid_unknown_fields=True):
    """Up to 1,000 questions. `signed`: the answer comes with proof."""

    questions: list[Question]
    signed: bool = False


class ProblemShown(msgspec.Struct, omit_defaults=True):
    """What is wrong with one question; the members of RFC 9457, and ours."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    value: str | None = None
    rule: str | None = None


class ValidationShown(msgspec.Struct):
    """The answer to one question. `valid` is null, and `problem` says why, where there is none."""

    valid: bool | None
    contract_id: str | None
    reason: str | None
    at: datetime | None = None
    terms_sha256: str | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    problem: ProblemShown | msgspec.UnsetType = msgspec.UNSET


class ValidationsShown(msgspec.Struct):
    """As many answers as questions, in their order; out of a book that was right so long ago."""

    answers: list[ValidationShown]
    answered_at: datetime
    book_age_s: float
    signed: str | msgspec.UnsetType = msgspec.UNSET


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    """The questions unread: a malformed one is answered for itself."""

    questions: list[msgspec.Raw]
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Desk:
    """What answers: the book, and the hub that signs as `issuer`."""

    book: Book
    hub: PartyId
    signer: Signer
    issuer: str
    clock: Clock

    def sign(self, caller: PartyId, said: dict[str, Any], now: datetime) -> str:
        return flows.signed(
            self.signer,
            issuer=self.issuer,
            audience=caller,
            said=said,
            now=now,
            book_age_s=self.book.age_s(now),
        )


def hot_routes(desk: Desk) -> list[HotRoute]:
    async def validate_many(request: Request) -> Response:
        caller = caller_of(request).party
        batch = decode(await read_body(request, MOST_BYTES), _Batch)
        if not 0 < len(batch.questions) <= MOST_QUESTIONS:
            raise BadQuestion(
                "no question, or too many",
                field="questions",
                value=len(batch.questions),
                rule=f"1 to {MOST_QUESTIONS:,} questions in one call",
            )
        now = desk.clock()
        raw = [bytes(one) for one in batch.questions]
        told = flows.validate_each(desk.book, caller, desk.hub, raw, now)
        answers = [_shown(answer) for _, answer in told]
        shown = ValidationsShown(answers, now, round(desk.book.age_s(now), 3))
        if batch.signed:
            questions = [asked for asked, _ in told]
            shown.signed = desk.sign(caller, {"questions": questions, "answers": answers}, now)
        return json_response(shown)

    return [
        HotRoute(
            method="POST",
            path="/validations",
            handler=validate_many,
            operation="validate-many",
            summary="Are contracts in force? Up to 1,000 questions, each answered in order",
            request_type=ValidationsAsked,
            response_type=ValidationsShown,
        )
    ]


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(tags=["contract-validation"])

    @routes.get(
        "/validate",
        summary="Is a contract in force? (SRV 1967)",
        response_model=ValidityShown,
        response_model_exclude_unset=True,
    )
    async def validate(
        caller: Calling,
        requester: str,
        provider: str,
        service: Annotated[str, Query(pattern="^[a-z0-9-]{1,63}$")],
        major: Annotated[int, Query(ge=1, le=9999)] = 1,
        at: Instant | None = None,
        operation: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
        environment: Environment = Environment.LIVE,
        details: bool = False,
        signed: bool = False,
    ) -> Response:
        now = desk.clock()
        question = Question(requester, provider, service, major, at, operation, environment)
        asked = model.understood(question, now)
        answer = flows.validate(desk.book, caller.party, desk.hub, asked)
        told = {name: getattr(answer, name) for name in _names(details or signed)}
        if signed:
            told["signed"] = desk.sign(caller.party, {"question": asked, "answer": answer}, now)
        return json_response(told)

    return routes


def _names(details: bool) -> Sequence[str]:
    """The members of a single answer: few, as everybody knows them, unless more are asked for."""
    return Answer.__struct_fields__ if details else ("valid", "contract_id", "reason")


def _shown(answer: Answer | Refusal) -> ValidationShown:
    if isinstance(answer, Refusal):
        return ValidationShown(None, None, None, problem=ProblemShown(**told_of(answer)))
    return ValidationShown(
        answer.valid,
        answer.contract_id,
        answer.reason,
        answer.at,
        answer.terms_sha256,
        answer.valid_from,
        answer.valid_until,
    )
