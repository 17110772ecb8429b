"""What stands on an invoice for a service."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from documents.invoice import Kind, Preceding
from marketplace.billing.model import Item
from marketplace.billing.papers import About, KeptLine, Left, Ready, parted, signed, supplied
from roaming.month import Month
from tests.documents.samples import BUYER, SELLER, counted

SEPTEMBER, OCTOBER = Month(2026, 9), Month(2026, 10)


def note(*items: tuple[Month, int]) -> Ready:
    lines = tuple(
        (
            counted(amount_minor=minor),
            KeptLine(month, Item(f"k{place}", "Calls", Decimal(minor), "call", minor)),
        )
        for place, (month, minor) in enumerate(items)
    )
    return signed(Ready(Kind.INVOICE, SELLER, BUYER, "EUR", About.SERVICE, lines, "C-1"))


def left(month: Month, *minors: int) -> list[Left]:
    """The latest first."""
    places = range(len(minors), 0, -1)
    return [
        Left(Preceding(f"{month}-{place}", date(2026, 11, place)), minor)
        for place, minor in zip(places, minors, strict=True)
    ]


def told(notes: list[Ready]) -> list[tuple[list[str], int]]:
    return [([one.number for one in each.corrects], each.net_minor) for each in notes]


def test_what_a_run_takes_back_is_taken_of_the_latest_invoice_first() -> None:
    notes = parted(note((OCTOBER, -120)), {OCTOBER: left(OCTOBER, 50, 0, 100)})
    assert told(notes) == [(["2026-10-1"], -70), (["2026-10-3"], -50)]
    quantities = [kept.item.quantity for each in notes for _, kept in each.lines]
    assert sum(quantities) == -120, "what was called is taken back once"
    assert all(line.amount_minor > 0 for each in notes for line, _ in each.lines)


def test_what_more_there_is_meanwhile_stands_on_one_that_stays_a_credit_note() -> None:
    notes = parted(note((SEPTEMBER, 60), (OCTOBER, -120)), {OCTOBER: left(OCTOBER, 50, 100)})
    assert told(notes) == [(["2026-10-1"], -10), (["2026-10-2"], -50)]
    notes = parted(note((SEPTEMBER, 80), (OCTOBER, -120)), {OCTOBER: left(OCTOBER, 50, 100)})
    assert told(notes) == [(["2026-10-1", "2026-10-2"], -40)]


def test_what_no_invoice_has_left_was_given_away_and_is_not_given_twice() -> None:
    notes = parted(note((OCTOBER, -9)), {OCTOBER: left(OCTOBER, 2, 3)})
    assert told(notes) == [(["2026-10-1"], -3), (["2026-10-2"], -2)]
    assert parted(note((OCTOBER, -9)), {OCTOBER: left(OCTOBER, 0)}) == []
    [invoice] = parted(note((SEPTEMBER, 5), (OCTOBER, -9)), {OCTOBER: left(OCTOBER, 2)})
    assert (invoice.kind, invoice.corrects, invoice.net_minor) == (Kind.INVOICE, (), 3)
    assert [line.amount_minor for line, _ in invoice.lines] == [5, -2]


_amounts = some.tuples(some.sampled_from([SEPTEMBER, OCTOBER]), some.integers(-500, 500))


@given(
    some.lists(_amounts, min_size=1, max_size=8).filter(lambda every: sum(n for _, n in every) < 0),
    some.lists(some.integers(0, 600), min_size=1, max_size=4),
)
def test_nothing_is_lost_in_the_parts_nor_an_invoice_credited_for_more_than_it_has_left(
    items: list[tuple[Month, int]], minors: list[int]
) -> None:
    months = (SEPTEMBER, OCTOBER)
    invoices = {month: left(month, *minors) for month in months}
    made = parted(note(*items), invoices)
    sums: Counter[tuple[Month, str]] = Counter()
    for each in made:
        credit = each.kind is Kind.CREDIT_NOTE
        assert (each.net_minor < 0) is credit is bool(each.corrects)
        sign = -1 if credit else 1
        assert each.net_minor == sign * sum(line.amount_minor for line, _ in each.lines)
        for _, kept in each.lines:
            sums[kept.month, kept.item.key] += kept.item.amount_minor
    assert all(one.minor >= 0 for some_left in invoices.values() for one in some_left)
    asked = {(month, f"k{n}"): minor for n, (month, minor) in enumerate(items)}
    taken = sum(sum(minors) - sum(one.minor for one in invoices[month]) for month in months)
    less = {
        month: sum(-minor for (of, _), minor in asked.items() if of == month and minor < 0)
        for month in months
    }
    assert taken == sum(min(less[month], sum(minors)) for month in months)
    if all(less[month] <= sum(minors) for month in months):
        assert sums == asked


@pytest.mark.parametrize("month", [Month(2026, 12), Month(2028, 2), Month(2027, 1)])
def test_an_invoice_is_about_the_days_until_its_cut_off(month: Month) -> None:
    assert supplied([month], month.ends_at) == (
        month.starts_at.date(),
        (month.next.starts_at - timedelta(days=1)).date(),
    )
    middle = month.starts_at + timedelta(days=9)
    assert supplied([month], middle)[1] == (middle - timedelta(days=1)).date()
