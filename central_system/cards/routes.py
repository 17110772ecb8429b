"""HTTP for an operator's own cards."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from central_system.cards.model import CARDS_AT_ONCE, Card, CardStatus
from central_system.cards.ports import Cards
from kit.http import Caller, caller_of


class CardAsked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id_tag: str
    status: CardStatus = CardStatus.ACCEPTED


class CardsKept(BaseModel):
    read: int
    created: int


def _operator(request: Request) -> Caller:
    caller = caller_of(request)
    caller.must_be("evse-operator")
    return caller


Operator = Annotated[Caller, Depends(_operator)]


def router(cards: Cards) -> APIRouter:
    """`PUT /central-system/cards`: at charge points of the caller these cards need no hub."""
    routes = APIRouter(prefix="/central-system", tags=["central-system"])

    @routes.put("/cards", operation_id="put-cards")
    async def put_cards(
        asked: Annotated[list[CardAsked], Field(max_length=CARDS_AT_ONCE)], caller: Operator
    ) -> CardsKept:
        """Know these cards of the operator's own from now on; all of them or, if one is bad, none.
        Charges on them are the operator's own affair and make no CDR."""
        kept = [Card.of(one.id_tag, one.status) for one in asked]
        return CardsKept(read=len(kept), created=await cards.put(caller.party, kept))

    return routes
