"""HTTP for balances: what a partner is owed and owes, for all time, as the ledger keeps it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from clearinghouse.ledger.model import Account
from clearinghouse.ledger.ports import Ledger
from kit.http import Caller, caller_of


class BalanceShown(BaseModel):
    """Positive on a receivable: what the counterparty owes. Negative on a payable: what is owed."""

    account: Account
    counterparty: str
    currency: str
    amount: str


class BalanceList(BaseModel):
    party: str
    balances: list[BalanceShown]


def router(ledger: Ledger) -> APIRouter:
    """Balances; each party reads its own."""
    routes = APIRouter(tags=["clearing-house: ledger"])

    @routes.get("/balances", operation_id="list-balances")
    async def list_balances(caller: Annotated[Caller, Depends(caller_of)]) -> BalanceList:
        """The caller's own balances by account, counterparty and currency, over all periods."""
        found = await ledger.balances(caller.party)
        return BalanceList(
            party=caller.party,
            balances=[
                BalanceShown(
                    account=one.account,
                    counterparty=one.counterparty,
                    currency=one.amount.currency,
                    amount=one.amount.figure,
                )
                for one in found
            ],
        )

    return routes
