"""Debts of a month, by hand and by chance, and what they are settled to."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime

from hypothesis import strategies as some

from clearinghouse.ledger.model import Account, Entry
from clearinghouse.periods.model import Month
from clearinghouse.settling.model import (
    PairTotal,
    Settlement,
    settle,
)
from roaming.party import PartyId
from tests.clearinghouse.netting.test_model import party

JANUARY = Month(2025, 1)
HUB = PartyId("EU*GRD")
DUE = date(2025, 3, 3)
NOW = datetime(2025, 2, 1, tzinfo=UTC)


def owes(debtor: PartyId, creditor: PartyId, charge: int, vat: int = 0, **more: int) -> PairTotal:
    return PairTotal("multilateral", "EUR", debtor, creditor, charge, vat, cdrs=1, **more)


def settled(*totals: PairTotal) -> list[Settlement]:
    due = {(one.clearing_group, one.currency): DUE for one in totals}
    return settle(JANUARY, totals, due)


def left(entries: tuple[Entry, ...]) -> Counter[tuple[Account, PartyId, PartyId]]:
    sums: Counter[tuple[Account, PartyId, PartyId]] = Counter()
    for one in entries:
        sums[one.account, one.party, one.counterparty] += one.amount_minor
    return sums


amounts = some.integers(-500, 10**6) | some.integers(0, 5)
parties = some.integers(0, 6).map(party)
groups = some.sampled_from(["gross", "bilateral", "multilateral", "cycles", "cycles:x", ""])
totals = some.dictionaries(
    some.tuples(groups, some.sampled_from(["EUR", "CHF"]), parties, parties),
    some.tuples(amounts, some.integers(0, 100), some.integers(0, 100), some.integers(0, 100)),
    max_size=30,
).map(lambda found: [PairTotal(*key, *value, cdrs=1) for key, value in found.items()])
