"""Postings balance, or they are not made."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as some

from clearinghouse.ledger.model import Account, Entry, Posting, charge_entries
from roaming.money import Money
from roaming.party import PartyId

EVSP, OPERATOR = PartyId("DE*BET"), PartyId("FR*PD1")
NOW = datetime(2025, 2, 1, tzinfo=UTC)


def test_a_charge_is_owed_by_one_and_owed_to_the_other_with_vat_apart() -> None:
    entries = charge_entries(EVSP, OPERATOR, Money(500, "EUR"), Money(100, "EUR"))
    assert entries == (
        Entry(Account.CHARGE_RECEIVABLE, OPERATOR, EVSP, "EUR", 500),
        Entry(Account.CHARGE_PAYABLE, EVSP, OPERATOR, "EUR", -500),
        Entry(Account.VAT_RECEIVABLE, OPERATOR, EVSP, "EUR", 100),
        Entry(Account.VAT_PAYABLE, EVSP, OPERATOR, "EUR", -100),
    )


def test_a_charge_for_nothing_is_posted_so_that_it_counts() -> None:
    entries = charge_entries(EVSP, OPERATOR, Money(0, "EUR"), Money(0, "EUR"))
    assert [entry.amount_minor for entry in entries] == [0, 0]


def test_a_posting_that_does_not_balance_cannot_be_made() -> None:
    lone = Entry(Account.CHARGE_PAYABLE, EVSP, OPERATOR, "EUR", -1)
    with pytest.raises(AssertionError):
        Posting(1, OPERATOR, "A-1", NOW, (lone,))


def test_a_posting_is_in_one_currency() -> None:
    entries = (
        Entry(Account.CHARGE_PAYABLE, EVSP, OPERATOR, "EUR", -1),
        Entry(Account.CHARGE_RECEIVABLE, OPERATOR, EVSP, "CHF", 1),
    )
    with pytest.raises(AssertionError):
        Posting(1, OPERATOR, "A-1", NOW, entries)


@given(some.integers(-(10**12), 10**12), some.integers(-(10**12), 10**12))
def test_every_charge_balances(excl_vat: int, vat: int) -> None:
    entries = charge_entries(EVSP, OPERATOR, Money(excl_vat, "EUR"), Money(vat, "EUR"))
    Posting(1, OPERATOR, "A-1", NOW, entries)
    assert sum(e.amount_minor for e in entries if e.party == OPERATOR) == excl_vat + vat
