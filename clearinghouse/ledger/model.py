"""Double entry: every posting sums to zero, nothing is ever changed, only added.

A receivable is what a party is owed (positive), a payable what it owes (negative). The charge and
its VAT are posted apart, since they are cleared apart: VAT is owed on invoices, charges are netted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from roaming.money import Money
from roaming.party import PartyId


class Account(StrEnum):
    CHARGE_RECEIVABLE = "charge-receivable"
    CHARGE_PAYABLE = "charge-payable"
    VAT_RECEIVABLE = "vat-receivable"
    VAT_PAYABLE = "vat-payable"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger; `amount_minor` is signed, in minor units of `currency`."""

    account: Account
    party: PartyId
    counterparty: PartyId
    currency: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Posting:
    """What one fact means in money. `posting_id` is the position of that fact in the log."""

    posting_id: int
    operator: PartyId
    cdr_id: str
    occurred_at: datetime
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        assert sum(entry.amount_minor for entry in self.entries) == 0, "debits equal credits"
        assert len({entry.currency for entry in self.entries}) == 1, "one currency a posting"


@dataclass(frozen=True, slots=True)
class Balance:
    """The sum of one party's entries on one account against one counterparty."""

    account: Account
    counterparty: PartyId
    amount: Money


def charge_entries(
    debtor: PartyId, creditor: PartyId, excl_vat: Money, vat: Money
) -> tuple[Entry, ...]:
    """The entries of one priced charge. A charge for nothing is posted too, so that it counts."""
    currency, amount = excl_vat.currency, excl_vat.minor
    assert vat.currency == currency
    entries = (
        Entry(Account.CHARGE_RECEIVABLE, creditor, debtor, currency, amount),
        Entry(Account.CHARGE_PAYABLE, debtor, creditor, currency, -amount),
    )
    if not vat.minor:
        return entries
    return (
        *entries,
        Entry(Account.VAT_RECEIVABLE, creditor, debtor, currency, vat.minor),
        Entry(Account.VAT_PAYABLE, debtor, creditor, currency, -vat.minor),
    )
