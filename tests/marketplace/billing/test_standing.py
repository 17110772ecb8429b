"""How an invoice stands is added up, and what does not add up is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from documents.invoice import Kind
from marketplace.billing.model import Item
from marketplace.billing.standing import (
    BadCredit,
    BadPayment,
    Billed,
    Entry,
    NothingOpen,
    NothingToCredit,
    Standing,
    State,
    Way,
    credit,
    entered,
)
from tests.documents.samples import counted
from tests.marketplace.billing.market import MONTH

DUE = date(2026, 12, 3)
INVOICE = Standing(Kind.INVOICE, 1_000, DUE)


def paid(minor: int, way: Way = Way.PAYMENT) -> Entry:
    return Entry("1", way, minor, DUE)


def billed(*amounts: int) -> list[Billed]:
    return [
        Billed(number, MONTH, Item(f"k{number}", "Calls", Decimal(7), "call", minor), counted())
        for number, minor in enumerate(amounts, 1)
    ]


@pytest.mark.parametrize(
    ("standing", "state"),
    [
        (INVOICE, State.OPEN),
        (replace(INVOICE, paid_minor=1), State.PART_PAID),
        (replace(INVOICE, paid_minor=1_000), State.PAID),
        (replace(INVOICE, credited_minor=300, paid_minor=700), State.PAID),
        (replace(INVOICE, credited_minor=1_000), State.CREDITED),
        (replace(INVOICE, paid_minor=300, written_off_minor=700), State.WRITTEN_OFF),
        (replace(INVOICE, kind=Kind.CREDIT_NOTE, due_on=None), State.CREDITED),
    ],
)
def test_the_state_is_what_the_sums_say(standing: Standing, state: State) -> None:
    assert standing.state(DUE) is state
    late = State.OVERDUE if standing.open_minor > 0 else state
    assert standing.state(DUE + timedelta(days=1)) is late


def test_a_level_of_reminding_is_reached_on_its_day_and_not_by_who_has_paid() -> None:
    days = [(1, 0), (6, 0), (7, 1), (20, 1), (21, 2), (35, 3), (400, 3)]
    assert [(after, INVOICE.level(DUE + timedelta(days=after))) for after, _ in days] == days
    assert replace(INVOICE, paid_minor=1_000).level(DUE + timedelta(days=400)) == 0


@given(some.lists(some.integers(-1_500, 1_500).filter(bool), max_size=12))
def test_never_more_is_paid_than_asked_and_what_is_open_is_the_rest(amounts: list[int]) -> None:
    standing = INVOICE
    for minor in amounts:
        try:
            standing = entered(standing, paid(minor), "")
        except BadPayment:
            continue
        assert 0 <= standing.paid_minor <= 1_000
        assert standing.open_minor == 1_000 - standing.paid_minor


def test_of_a_credit_note_nothing_is_paid() -> None:
    with pytest.raises(NothingOpen):
        entered(replace(INVOICE, kind=Kind.CREDIT_NOTE), paid(1), "")


@given(some.lists(some.integers(0, 10**6), min_size=1, max_size=5), some.data())
def test_no_line_is_credited_for_more_than_it_asked_and_the_whole_is_what_is_left(
    amounts: list[int], data: some.DataObject
) -> None:
    lines = billed(*amounts)
    asked = {
        line.number: data.draw(some.integers(1, line.left_minor))
        for line in lines
        if line.left_minor
    }
    if not asked:
        with pytest.raises(NothingToCredit):
            credit(lines, None)
        return
    part = {line.number: -item.amount_minor for line, item in credit(lines, asked)}
    assert part == asked
    after = [replace(one, credited_minor=part.get(one.number, 0)) for one in lines]
    if any(one.left_minor for one in after):
        rest = {line.number: -item.amount_minor for line, item in credit(after, None)}
        assert all(part.get(n, 0) + rest.get(n, 0) == minor for n, minor in enumerate(amounts, 1))


@pytest.mark.parametrize("asked", [{3: 1}, {1: 0}, {1: 101}, {2: -1}])
def test_what_cannot_be_credited_is_refused_by_its_line(asked: dict[int, int]) -> None:
    with pytest.raises(BadCredit) as refused:
        credit(billed(100, 50), asked)
    assert refused.value.value == next(iter(asked))


def test_what_a_line_took_back_cannot_be_credited_of_another() -> None:
    lines = billed(100, -30)
    with pytest.raises(BadCredit) as refused:
        credit(lines, {1: 71})
    assert (refused.value.field, refused.value.value) == ("lines", 71)
    less = [replace(lines[0], credited_minor=1), lines[1]]
    with pytest.raises(BadCredit):
        credit(less, {1: 70})
    with pytest.raises(NothingToCredit):
        credit([replace(lines[0], credited_minor=70), lines[1]], None)
    [(_, part)] = credit(lines, {1: 70})
    assert part.amount_minor == -70


def test_with_a_whole_line_its_calls_are_taken_back_and_with_a_part_of_it_the_price() -> None:
    (_, whole), (_, part) = credit(billed(100, 50), {1: 100, 2: 49})
    assert (whole.quantity, part.quantity) == (Decimal(-7), Decimal(0))
