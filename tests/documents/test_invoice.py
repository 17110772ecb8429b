"""Invoices in numbers: VAT rounded once, nothing lost against the ledger."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from documents.invoice import (
    Category,
    Kind,
    Line,
    Vat,
    VatTotal,
    by_scope,
    missing,
    number_of,
    vat_totals,
)
from roaming.party import PartyId
from roaming.rounding import half_up
from tests.documents.samples import (
    BUYER,
    OUTSIDE_SCOPE,
    REVERSE_CHARGE,
    SELLER,
    STANDARD_5_5,
    STANDARD_19,
    STANDARD_20,
    invoice,
    line,
)

RULES = (REVERSE_CHARGE, STANDARD_19, STANDARD_20, STANDARD_5_5)


@st.composite
def priced_lines(draw: st.DrawFn, rules: tuple[Vat, ...] = RULES) -> Line:
    """A line as the ledger gives it: charges each with VAT of its own, rounded once."""
    vat = draw(st.sampled_from(rules))
    charges = draw(st.lists(st.integers(0, 50_000), min_size=1, max_size=30))
    return line(
        vat,
        sum(charges),
        vat_minor=sum(half_up(Fraction(vat.percent) * one / 100) for one in charges),
        charges=len(charges),
        energy_wh=draw(st.integers(0, 10**9)),
    )


@given(st.lists(priced_lines(), min_size=1, max_size=12))
def test_the_parts_of_an_invoice_sum_to_what_it_asks_for(lines: list[Line]) -> None:
    made = invoice(*lines)
    assert made.net_minor == sum(one.amount_minor for one in lines)
    assert made.net_minor == sum(total.taxable_minor for total in made.vat_totals)
    charged = sum(one.vat_minor for one in lines)
    assert made.gross_minor == made.net_minor + charged + made.vat_rounding_minor


@given(st.lists(priced_lines(), min_size=1, max_size=12))
def test_the_rounding_is_less_than_a_half_for_each_charge_and_one_for_each_rate(
    lines: list[Line],
) -> None:
    made = invoice(*lines)
    charges = sum(one.charges for one in lines)
    assert 2 * abs(made.vat_rounding_minor) <= charges + len(made.vat_totals)


@given(st.lists(priced_lines((*RULES, OUTSIDE_SCOPE)), min_size=1, max_size=12))
def test_lines_are_dealt_out_to_invoices_and_none_is_lost(lines: list[Line]) -> None:
    dealt = by_scope(lines)
    assert sum(len(some) for some in dealt) == len(lines)
    for some in dealt:
        invoice(*some)


def test_vat_is_reckoned_on_the_sum_not_summed_over_charges() -> None:
    # Three charges of 0.13 at 19 %: 0.0247 each, rounded to 0.02; on 0.39 it is 0.0741.
    made = invoice(line(STANDARD_19, 39, vat_minor=6, charges=3))
    assert (made.vat_minor, made.vat_rounding_minor, made.gross_minor) == (7, 1, 46)


@given(st.lists(st.tuples(st.sampled_from(RULES), st.integers(1, 5_000)), min_size=1, max_size=12))
def test_credited_in_parts_an_invoices_vat_is_credited_to_the_cent(
    parts: list[tuple[Vat, int]],
) -> None:
    whole = invoice(*(line(vat, minor) for vat, minor in parts))
    before: tuple[VatTotal, ...] = ()
    for vat, minor in parts:
        note = invoice(line(vat, minor), vat_before=before)
        assert abs(note.vat_minor - Fraction(vat.percent) * minor / 100) < 1
        before += note.vat_totals
    assert sum(total.tax_minor for total in before) == whole.vat_minor


def test_one_rate_has_one_line_of_the_breakdown_whichever_rule_says_it() -> None:
    other = Vat(Category.STANDARD, Decimal("19.00"), "agreed-rate")
    (total,) = vat_totals([line(STANDARD_19, 50), line(other, 50)])
    assert (total.taxable_minor, total.tax_minor) == (100, 19)


def test_two_rates_have_two() -> None:
    made = vat_totals([line(STANDARD_19, 10_000), line(STANDARD_5_5, 10_000)])
    assert [(one.vat.percent, one.tax_minor) for one in made] == [
        (Decimal("5.5"), 550),
        (Decimal("19"), 1_900),
    ]


def test_what_is_outside_the_scope_of_vat_stands_on_no_other_invoice() -> None:
    with pytest.raises(AssertionError, match="of its own"):
        invoice(line(OUTSIDE_SCOPE), line(STANDARD_19))


@pytest.mark.parametrize(
    ("seller", "buyer", "vat", "wanted"),
    [
        (SELLER, BUYER, REVERSE_CHARGE, []),
        (None, BUYER, REVERSE_CHARGE, ["seller: business details"]),
        (None, None, STANDARD_19, ["seller: business details", "buyer: business details"]),
    ],
)
def test_what_is_missing_for_an_invoice_is_told(
    seller: object, buyer: object, vat: Vat, wanted: list[str]
) -> None:
    assert missing(seller, buyer, [line(vat)]) == wanted  # type: ignore[arg-type]


def test_reverse_charge_needs_the_vat_ids_of_both_and_a_domestic_supply_that_of_the_seller() -> (
    None
):
    seller, buyer = replace(SELLER, vat_id=None), replace(BUYER, vat_id=None)
    assert missing(seller, buyer, [line(REVERSE_CHARGE)]) == ["seller: VAT id", "buyer: VAT id"]
    assert missing(seller, buyer, [line(STANDARD_19)]) == ["seller: VAT id or tax id"]
    assert missing(seller, buyer, [line(OUTSIDE_SCOPE)]) == []


def test_invoices_and_credit_notes_are_numbered_apart() -> None:
    party = PartyId("FR*PD1")
    assert number_of(party, 2025, 42, Kind.INVOICE) == "FRPD1-2025-000042"
    assert number_of(party, 2025, 7, Kind.CREDIT_NOTE) == "FRPD1-C2025-000007"
