"""`/marketplace/contracts/{contract_id}/packs`: prepaid calls are bought, and counted for both."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.packs import flows
from gateway.packs.model import MOST_PACKS_AT_ONCE, Pack, Purchase
from gateway.packs.ports import Bargains, Books
from kit.clock import Clock
from kit.database import Database
from kit.http import Caller, caller_of, json_response, known_query, page_link
from kit.idempotency import once

Calling = Annotated[Caller, Depends(caller_of)]


class PacksAsked(BaseModel):
    """How many packs to buy, at the price of the contract's terms."""

    model_config = ConfigDict(extra="forbid")
    packs: Annotated[int, Field(ge=1, le=MOST_PACKS_AT_ONCE, strict=True)] = 1


class PackShown(BaseModel):
    """One pack, as the contract's terms say."""

    calls: int
    price_minor: int
    currency: str | None

    @classmethod
    def of(cls, pack: Pack) -> PackShown:
        return cls(calls=pack.calls, price_minor=pack.price_minor, currency=pack.currency)


class PurchaseShown(BaseModel):
    """What was bought at once: all packs together have these calls, at this price."""

    purchase_id: str
    contract_id: str
    packs: int
    calls: int
    price_minor: int
    currency: str | None
    bought_at: datetime

    @classmethod
    def of(cls, bought: Purchase) -> PurchaseShown:
        return cls(
            purchase_id=bought.purchase_id,
            contract_id=bought.contract_id,
            packs=bought.packs,
            calls=bought.calls,
            price_minor=bought.price_minor,
            currency=bought.currency,
            bought_at=bought.bought_at,
        )


class PacksShown(BaseModel):
    """Calls bought, used and left; `pack` null: this contract's calls are not prepaid."""

    contract_id: str
    pack: PackShown | None
    bought_calls: int
    used_calls: int
    left_calls: int
    purchases: list[PurchaseShown]


def router(bargains: Bargains, books: Books, database: Database, clock: Clock) -> APIRouter:
    """Bought by the requester, seen by both sides, unknown to everybody else."""
    routes = APIRouter(
        prefix="/marketplace/contracts/{contract_id}/packs",
        tags=["contracts"],
        dependencies=[Depends(known_query)],
    )

    @routes.post(
        "",
        summary="Buy packs of prepaid calls",
        status_code=201,
        response_model=PurchaseShown,
    )
    async def buy_packs(
        request: Request, contract_id: str, asked: PacksAsked, caller: Calling
    ) -> Response:
        async def run() -> Response:
            bought = await flows.buy(
                caller.party,
                contract_id,
                asked.packs,
                bargains=bargains,
                books=books,
                now=clock(),
                key=request.headers.get("idempotency-key"),
            )
            return json_response(PurchaseShown.of(bought).model_dump(mode="json"), 201)

        return await once(request, run, database=database, party=caller.party, clock=clock)

    @routes.get("", summary="Prepaid calls: bought, used and left, the latest purchase first")
    async def show_packs(
        request: Request,
        response: Response,
        contract_id: str,
        caller: Calling,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Annotated[str | None, Query(pattern="^[0-9a-f-]{1,36}$")] = None,
    ) -> PacksShown:
        bargain, (balance, purchases) = await flows.look(
            caller.party,
            contract_id,
            bargains=bargains,
            books=books,
            before=cursor,
            limit=limit + 1,
        )
        more = purchases[limit - 1].purchase_id if len(purchases) > limit else None
        response.headers.update(page_link(request, more))
        return PacksShown(
            contract_id=bargain.contract_id,
            pack=None if bargain.pack is None else PackShown.of(bargain.pack),
            bought_calls=balance.bought,
            used_calls=balance.used,
            left_calls=balance.left,
            purchases=[PurchaseShown.of(bought) for bought in purchases[:limit]],
        )

    return routes
