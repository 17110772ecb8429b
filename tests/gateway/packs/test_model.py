"""Packs are bought by who calls, under a contract in force whose terms sell them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gateway.packs.model import (
    MOST_PACKS_AT_ONCE,
    BadPurchase,
    Balance,
    Bargain,
    NothingPrepaid,
    NotInForce,
    NotYoursToBuy,
    Pack,
    purchase,
)
from roaming.party import PartyId

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
BUYER, PROVIDER = PartyId("FR*PD1"), PartyId("NL*FCS")
BARGAIN = Bargain("C-1", BUYER, PROVIDER, Pack(500, 1999, "EUR"), in_force=True)


@given(some.integers(1, MOST_PACKS_AT_ONCE), some.integers(1, 10**9), some.integers(0, 10**12))
def test_so_many_packs_have_so_many_times_the_calls_at_so_many_times_the_price(
    packs: int, calls: int, price_minor: int
) -> None:
    bargain = replace(BARGAIN, pack=Pack(calls, price_minor, "EUR"))
    bought = purchase(bargain, BUYER, packs, "p-1", NOW)
    assert (bought.calls, bought.price_minor) == (packs * calls, packs * price_minor)
    assert (bought.packs, bought.currency, bought.bought_at) == (packs, "EUR", NOW)


@pytest.mark.parametrize("packs", [0, -1, MOST_PACKS_AT_ONCE + 1])
def test_a_number_of_packs_has_bounds(packs: int) -> None:
    with pytest.raises(BadPurchase, match="so many"):
        purchase(BARGAIN, BUYER, packs, "p-1", NOW)


def test_the_provider_does_not_buy_from_itself() -> None:
    with pytest.raises(NotYoursToBuy):
        purchase(BARGAIN, PROVIDER, 1, "p-1", NOW)


def test_what_is_not_sold_in_packs_is_not_bought_in_packs() -> None:
    with pytest.raises(NothingPrepaid):
        purchase(replace(BARGAIN, pack=None), BUYER, 1, "p-1", NOW)


def test_nobody_pays_for_calls_that_may_not_be_made() -> None:
    with pytest.raises(NotInForce):
        purchase(replace(BARGAIN, in_force=False), BUYER, 1, "p-1", NOW)


def test_what_is_left_is_what_was_bought_and_not_used() -> None:
    assert Balance().left == 0
    assert Balance(500, 20).left == 480
