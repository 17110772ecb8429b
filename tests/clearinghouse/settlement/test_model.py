"""A statement holds one party's part of a period, and adds up."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given

from clearinghouse.netting.model import Obligation, Period, Strategy
from clearinghouse.settlement.model import Account, Side, draw_up, draw_up_all
from tests.clearinghouse.netting.test_model import A, B, C, D, debts, party

JANUARY = Period(datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 2, 1, tzinfo=UTC))


def test_each_counterparty_has_both_sides_and_the_net() -> None:
    statement = draw_up(
        A,
        JANUARY,
        "EUR",
        [
            Obligation(A, B, 1_000, 200, 3),
            Obligation(B, A, 400, 84, 2),
            Obligation(C, A, 50, 0, 1),
            Obligation(C, D, 999, 99, 9),
        ],
    )
    assert statement.accounts == (
        Account(B, Side(1_000, 200, 3), Side(400, 84, 2)),
        Account(C, Side(), Side(50, 0, 1)),
    )
    assert [(one.net_minor, one.net_vat_minor) for one in statement.accounts] == [
        (-600, -116),
        (50, 0),
    ]
    assert (statement.owing, statement.owed) == (Side(1_000, 200, 3), Side(450, 84, 3))


@given(debts)
def test_every_strategy_leaves_a_party_with_the_same(owed: list[Obligation]) -> None:
    one_each = {(one.debtor, one.creditor): one for one in owed}.values()
    statement = draw_up(party(3), JANUARY, "EUR", one_each)
    net = sum(account.net_minor for account in statement.accounts)
    for strategy in Strategy:
        moved = sum(
            one.amount_minor if one.payee == party(3) else -one.amount_minor
            for one in statement.clearings[strategy].payments
        )
        assert moved == net


@given(debts)
def test_all_drawn_up_together_are_those_drawn_up_one_by_one(owed: list[Obligation]) -> None:
    one_each = {(one.debtor, one.creditor): one for one in owed}.values()
    together = draw_up_all(JANUARY, "EUR", one_each)
    assert together == {one: draw_up(one, JANUARY, "EUR", one_each) for one in together}
    assert together.keys() == {one for debt in owed for one in (debt.debtor, debt.creditor)}
