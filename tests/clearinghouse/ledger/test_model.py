"""Postings balance, or they are not made."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as some

from clearinghouse.ledger.model import (
    Account,
    Entry,
    Head,
    Kind,
    Posting,
    chained,
    charge_entries,
    credit_entries,
    dispute_entries,
    release_entries,
)
from roaming.money import Money
from roaming.party import PartyId

EVSP, OPERATOR = PartyId("DE*BET"), PartyId("FR*PD1")
NOW = datetime(2025, 2, 1, tzinfo=UTC)


def test_a_charge_is_owed_by_one_and_owed_to_the_other_with_vat_apart() -> None:
    entries = charge_entries(EVSP, OPERATOR, Money(500, "EUR"), Money(100, "EUR"))
    assert entries == (
        Entry(Account.CHARGE_RECEIVABLE, OPERATOR, EVSP, "EUR", 500, 1),
        Entry(Account.CHARGE_PAYABLE, EVSP, OPERATOR, "EUR", -500),
        Entry(Account.VAT_RECEIVABLE, OPERATOR, EVSP, "EUR", 100),
        Entry(Account.VAT_PAYABLE, EVSP, OPERATOR, "EUR", -100),
    )


def test_a_charge_for_nothing_is_posted_so_that_it_counts() -> None:
    entries = charge_entries(EVSP, OPERATOR, Money(0, "EUR"), Money(0, "EUR"))
    assert [entry.amount_minor for entry in entries] == [0, 0]


def posting(number: int, *entries: Entry) -> Posting:
    return Posting(number, Kind.CHARGE, OPERATOR, OPERATOR, f"A-{number}", NOW, entries)


def test_a_posting_that_does_not_balance_cannot_be_made() -> None:
    lone = Entry(Account.CHARGE_PAYABLE, EVSP, OPERATOR, "EUR", -1)
    with pytest.raises(AssertionError):
        posting(1, lone)


def test_a_posting_is_in_one_currency() -> None:
    entries = (
        Entry(Account.CHARGE_PAYABLE, EVSP, OPERATOR, "EUR", -1),
        Entry(Account.CHARGE_RECEIVABLE, OPERATOR, EVSP, "CHF", 1),
    )
    with pytest.raises(AssertionError):
        posting(1, *entries)


@given(some.integers(-(10**12), 10**12), some.integers(-(10**12), 10**12))
def test_every_charge_balances(excl_vat: int, vat: int) -> None:
    entries = charge_entries(EVSP, OPERATOR, Money(excl_vat, "EUR"), Money(vat, "EUR"))
    posting(1, *entries)
    assert sum(e.amount_minor for e in entries if e.party == OPERATOR) == excl_vat + vat


def sums(*groups: tuple[Entry, ...]) -> dict[tuple[Account, PartyId], int]:
    found: dict[tuple[Account, PartyId], int] = {}
    for entry in (one for group in groups for one in group):
        key = entry.account, entry.party
        found[key] = found.get(key, 0) + entry.amount_minor
    return {key: minor for key, minor in found.items() if minor}


@given(some.integers(-(10**9), 10**9), some.integers(-(10**9), 10**9))
def test_a_credit_leaves_nothing_of_its_charge_and_a_release_nothing_of_its_dispute(
    excl_vat: int, vat: int
) -> None:
    what = (EVSP, OPERATOR, Money(excl_vat, "EUR"), Money(vat, "EUR"), "gross")
    charge, dispute = charge_entries(*what), dispute_entries(*what)
    assert sums(charge, credit_entries(*what)) == {}
    assert sums(dispute, release_entries(*what)) == {}
    assert sums(charge, dispute, credit_entries(*what, disputed=True)) == {}
    everything = (*charge, *dispute, *credit_entries(*what, disputed=True))
    assert sum(entry.cdrs for entry in everything) == 0


def test_each_posting_is_sealed_with_its_predecessor_and_its_content() -> None:
    entries = charge_entries(EVSP, OPERATOR, Money(500, "EUR"), Money(100, "EUR"))
    one, two, other = posting(1, *entries), posting(2, *entries), posting(3, *entries)

    def sealed(*made: Posting) -> list[bytes]:
        return [place.hash for place in chained(made, {OPERATOR: Head(0, b"")}, NOW)]

    assert sealed(one, two) == sealed(one, two)
    assert sealed(one, two)[0] == sealed(one)[0]
    assert sealed(one, two)[1] != sealed(other, two)[1]
    assert len({*sealed(one, two, other)}) == 3
