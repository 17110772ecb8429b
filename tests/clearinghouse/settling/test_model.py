"""What a month's debts become: cases by hand, and the laws of the issue."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as some

from clearinghouse.ledger.model import Account
from clearinghouse.netting.model import Strategy
from clearinghouse.settling.model import (
    AtRate,
    BadReceipt,
    PairTotal,
    Payment,
    PaymentCannot,
    PaymentState,
    PaysTooMuch,
    Receipt,
    creditor_reference,
    due_on,
    entries_of,
    obligations_of,
    received,
    settle,
    strategy_of,
)
from roaming.party import PartyId
from tests.clearinghouse.netting.test_model import A, B, C
from tests.clearinghouse.settling.fakes import DUE, HUB, JANUARY, NOW, left, owes, settled, totals


def test_charges_vat_and_fees_are_settled_together() -> None:
    [one] = settled(
        owes(A, B, 10_000, 1_900),
        owes(B, A, 4_000, 760),
        owes(B, HUB, 0, fee_minor=50, fee_vat_minor=10),
    )
    assert (one.total_minor, one.paid_minor, one.netted_minor) == (16_720, 7_140, 9_580)
    assert [(p.payer, p.payee, p.amount_minor) for p in one.payments] == [
        (A, HUB, 60),
        (A, B, 7_080),
    ]
    assert {p.due_on for p in one.payments} == {DUE}
    assert {p.state for p in one.payments} == {PaymentState.DUE}


def test_each_group_and_currency_is_settled_by_itself_and_by_its_strategy() -> None:
    totals = [
        replace(owes(a, b, amount), clearing_group=group, currency=currency)
        for group, currency in (
            *(("bilateral", "EUR"), ("cycles:north", "EUR"), ("cycles:south", "CHF"), ("", "EUR")),
        )
        for a, b, amount in ((A, B, 10), (B, A, 4), (B, C, 6), (C, A, 6))
    ]
    made = {(one.clearing_group, one.currency): one for one in settled(*totals)}
    assert {key: one.strategy for key, one in made.items()} == {
        ("", "EUR"): Strategy.GROSS,
        ("bilateral", "EUR"): Strategy.BILATERAL,
        ("cycles:north", "EUR"): Strategy.CYCLES,
        ("cycles:south", "CHF"): Strategy.CYCLES,
    }
    assert {key: (one.paid_minor, len(one.payments)) for key, one in made.items()} == {
        ("", "EUR"): (26, 4),
        ("bilateral", "EUR"): (18, 3),
        ("cycles:north", "EUR"): (0, 0),
        ("cycles:south", "CHF"): (0, 0),
    }


def test_several_currencies_are_settled_in_one_at_rates_that_are_told() -> None:
    totals = [
        replace(owes(A, B, 1_000), currency="CHF"),
        replace(owes(B, A, 500), currency="EUR"),
    ]
    rates = {"CHF": AtRate(Fraction("1.05"), "1 CHF = 1.05 EUR")}
    [one] = settle(JANUARY, totals, {("multilateral", "EUR"): DUE}, into="EUR", rates=rates)
    assert (one.currency, one.rates) == ("EUR", rates)
    assert [(p.payer, p.payee, p.amount_minor) for p in one.payments] == [(A, B, 550)]
    in_francs, in_euros = entries_of(one)
    assert {entry.currency for entry in in_francs} == {"CHF"}
    assert left(in_francs)[Account.CHARGE_RECEIVABLE, B, A] == -1_000
    assert left(in_euros)[Account.SETTLEMENT_RECEIVABLE, B, A] == 550


def test_a_month_of_nothing_is_settled_by_nothing() -> None:
    assert settled() == []
    [free] = settled(owes(A, B, 0))
    assert (free.payments, entries_of(free)) == ((), [])


def test_99_00_moves_from_charge_to_settlement_and_is_gone_when_paid() -> None:
    [one] = settled(owes(A, B, 9_900))
    [entries] = entries_of(one)
    assert left(entries) == {
        (Account.CHARGE_RECEIVABLE, B, A): -9_900,
        (Account.CHARGE_PAYABLE, A, B): 9_900,
        (Account.SETTLEMENT_RECEIVABLE, B, A): 9_900,
        (Account.SETTLEMENT_PAYABLE, A, B): -9_900,
    }


@given(totals)
def test_what_all_pairs_owed_is_what_is_paid_and_what_was_netted(owed: list[PairTotal]) -> None:
    made = settled(*owed)
    for one in made:
        between = sum(
            abs(o.amount_minor) for o in obligations_of(one.pairs) if o.debtor != o.creditor
        )
        own = sum(abs(o.amount_minor) for o in obligations_of(one.pairs) if o.debtor == o.creditor)
        assert one.total_minor == one.paid_minor + one.netted_minor == between + own
        assert one.netted_minor >= 0
    assert sorted(map(repr, owed)) == sorted(
        repr(replace(pair, settled_minor=0)) for one in made for pair in one.pairs
    )


@given(totals)
def test_each_party_pays_and_gets_in_all_what_its_pairs_come_to(owed: list[PairTotal]) -> None:
    """Reckoned from the pairs themselves, those of a month below zero among them."""
    for one in settled(*owed):
        net: Counter[PartyId] = Counter()
        for pair in one.pairs:
            net[pair.creditor] += pair.total_minor
            net[pair.debtor] -= pair.total_minor
        for payment in one.payments:
            assert payment.amount_minor > 0
            net[payment.payee] -= payment.amount_minor
            net[payment.payer] += payment.amount_minor
        assert not any(net.values())


@pytest.mark.parametrize("group", ["gross", "bilateral", "cycles", "multilateral"])
def test_a_pair_of_a_month_below_zero_is_paid_the_other_way_once(group: str) -> None:
    [one] = settled(replace(owes(A, B, -700), clearing_group=group))
    assert [(p.payer, p.payee, p.amount_minor) for p in one.payments] == [(B, A, 700)]
    assert one.total_minor == 700


@given(totals)
def test_nothing_of_the_pairs_stays_on_their_accounts(owed: list[PairTotal]) -> None:
    sums: Counter[tuple[Account, PartyId, PartyId, str]] = Counter()
    for one in settled(*owed):
        for entries in entries_of(one):
            assert sum(entry.amount_minor for entry in entries) == 0
            for entry in entries:
                assert entry.clearing_group == ""
                sums[entry.account, entry.party, entry.counterparty, entry.currency] += (
                    entry.amount_minor
                )
        for payment in one.payments:
            key = (payment.payee, payment.payer, payment.currency)
            sums[Account.SETTLEMENT_RECEIVABLE, *key] -= payment.amount_minor
            key = (payment.payer, payment.payee, payment.currency)
            sums[Account.SETTLEMENT_PAYABLE, *key] += payment.amount_minor
    for pair in owed:
        for name, minor in (
            *(("charge", pair.charge_minor), ("vat", pair.vat_minor)),
            *(("fee", pair.fee_minor), ("fee-vat", pair.fee_vat_minor)),
        ):
            sums[Account(f"{name}-receivable"), pair.creditor, pair.debtor, pair.currency] += minor
            sums[Account(f"{name}-payable"), pair.debtor, pair.creditor, pair.currency] -= minor
    assert not any(sums.values())


@given(totals, some.randoms())
def test_the_order_of_the_pairs_does_not_matter(owed: list[PairTotal], chance: object) -> None:
    shuffled = chance.sample(owed, len(owed))  # type: ignore[attr-defined]
    assert settled(*shuffled) == settled(*owed)


def test_a_group_begins_with_its_strategy() -> None:
    assert strategy_of("cycles:north") is Strategy.CYCLES
    assert strategy_of("bilateral") is Strategy.BILATERAL
    assert strategy_of("") is Strategy.GROSS


def test_a_reference_is_one_that_banks_check() -> None:
    reference = creditor_reference("2025-01", "a payment")
    assert reference == creditor_reference("2025-01", "a payment")
    assert reference != creditor_reference("2025-01", "another payment")
    assert (reference[:2], reference[4:8], len(reference)) == ("RF", "2501", 20)
    # ISO 11649: moved to the end, RF and its digits leave 1 in divisions by 97.
    turned = f"{reference[4:]}{reference[:4]}"
    assert int("".join(str(int(one, 36)) for one in turned)) % 97 == 1


def test_payments_are_due_by_the_longest_terms_of_their_group() -> None:
    late = datetime(2025, 2, 3, 23, 59, tzinfo=UTC)
    assert due_on(late, [14, 30, 21]) == date(2025, 3, 5)
    assert due_on(late, []) == date(2025, 3, 5)
    assert due_on(late, [0]) == date(2025, 2, 3)


def due(amount: int, state: PaymentState = PaymentState.DUE, paid: int = 0) -> Payment:
    [one] = settled(owes(A, B, amount))
    return replace(one.payments[0], state=state, paid_minor=paid)


def came(minor: int) -> Receipt:
    return Receipt("payment", "bank 1", minor, NOW)


def test_money_comes_in_parts_and_goes_back() -> None:
    part = received(due(500), came(200))
    assert (part.state, part.open_minor) == (PaymentState.PART_PAID, 300)
    whole = received(part, came(300))
    assert (whole.state, whole.open_minor) == (PaymentState.PAID, 0)
    returned = received(whole, came(-300))
    assert (returned.state, returned.open_minor) == (PaymentState.PART_PAID, 300)
    assert received(returned, came(-200)) == due(500)


def test_a_failed_payment_takes_what_comes_yet() -> None:
    failed = due(500, PaymentState.FAILED)
    assert received(failed, came(499)).state is PaymentState.FAILED
    assert received(failed, came(500)).state is PaymentState.PAID


@pytest.mark.parametrize(
    ("payment", "minor", "refusal"),
    [
        (due(500), 0, BadReceipt),
        (due(500), 501, PaysTooMuch),
        (due(500), -1, PaysTooMuch),
        (due(500, PaymentState.PAID, 500), 1, PaymentCannot),
        (due(500, PaymentState.UNWOUND), 500, PaymentCannot),
        (due(500, PaymentState.WRITTEN_OFF), 500, PaymentCannot),
    ],
)
def test_what_cannot_have_come_is_refused(
    payment: Payment, minor: int, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        received(payment, came(minor))


def test_the_day_of_settlement_counts_in_utc() -> None:
    assert due_on(NOW + timedelta(hours=1), [1]) == date(2025, 2, 2)
