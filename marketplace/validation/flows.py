"""How questions about contracts are answered: out of memory, in order, each by itself.

Law: an answer at a moment is what the gateway, the clearing house and every other process of the
hub would have gone by at that moment, as far as this process knows; nothing waits and nothing loads
the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from kit.encoding import encode_json
from kit.http import decode
from marketplace.contracts.entries import NotInForce
from marketplace.services.model import Environment
from marketplace.validation import model
from marketplace.validation.model import Answer, Asked, Question
from marketplace.validation.ports import Book, Signer
from roaming.party import PartyId
from roaming.refusal import Refusal

TYPE = "contract-validation+jwt"
"""So that what is signed here is taken for nothing else (RFC 8725, section 3.11)."""


def validate(book: Book, caller: PartyId, hub: PartyId, asked: Asked) -> Answer:
    """Is a contract between these two in force at this moment?

    NotYourQuestion for whoever is neither of the two nor the hub; BadQuestion.
    """
    model.check_asker(caller, asked, hub)
    found = book.standing(
        asked.requester,
        asked.provider,
        asked.service,
        asked.major,
        asked.at,
        sandbox=asked.environment is Environment.SANDBOX,
    )
    if isinstance(found, NotInForce):
        return Answer(False, found.contract_id, found.reason.value, asked.at)
    if asked.operation is not None and not model.allows(book.terms_of(found), asked.operation):
        return Answer(False, found.contract_id, model.OPERATION_NOT_COVERED, asked.at)
    return Answer(
        True,
        found.contract_id,
        None,
        asked.at,
        found.terms_digest.hex(),
        found.valid_from,
        found.valid_until,
    )


def validate_each(
    book: Book, caller: PartyId, hub: PartyId, questions: Sequence[bytes], now: datetime
) -> list[tuple[Asked | None, Answer | Refusal]]:
    """Each question as it was understood, and its answer, in order. One that cannot be answered is
    answered by what is wrong with it, and spoils no other."""
    told: list[tuple[Asked | None, Answer | Refusal]] = []
    for question in questions:
        asked = None
        try:
            asked = model.understood(decode(question, Question), now)
            told.append((asked, validate(book, caller, hub, asked)))
        except Refusal as refusal:
            told.append((asked, refusal))
    return told


def signed(
    signer: Signer,
    *,
    issuer: str,
    audience: PartyId,
    said: dict[str, Any],
    now: datetime,
    book_age_s: float,
) -> str:
    """Proof of what was asked and answered: a compact JWS of type TYPE, by the hub's own key."""
    told = model.claims(issuer=issuer, audience=audience, said=said, now=now, book_age_s=book_age_s)
    return signer.sign_compact(TYPE, encode_json(told), now)
