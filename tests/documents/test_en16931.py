"""Invoices before the norm: the schematron of EN 16931 finds nothing, and finds what is planted."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from documents.en16931 import to_xml
from documents.invoice import Category, Invoice, Kind, Line, Preceding, Unit, Vat
from tests.documents.norm import broken_rules
from tests.documents.samples import (
    BUYER,
    OUTSIDE_SCOPE,
    SELLER,
    STANDARD_5_5,
    STANDARD_19,
    STANDARD_20,
    counted,
    invoice,
    line,
)
from tests.documents.test_invoice import priced_lines

NS = {"ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100"}


def told(xml: bytes, path: str) -> list[str]:
    return [str(one.text) for one in etree.fromstring(xml).iterfind(f".//ram:{path}", NS)]


GOOD: dict[str, Invoice] = {
    "reverse charge": invoice(),
    "standard rate": invoice(line(STANDARD_19, 99_99, vat_minor=19_00)),
    "several rates": invoice(
        line(STANDARD_20, 1_111), line(STANDARD_5_5, 333), line(STANDARD_20, 7), line()
    ),
    "outside scope": invoice(line(OUTSIDE_SCOPE)),
    "outside scope, no VAT ids": invoice(
        line(OUTSIDE_SCOPE), seller=replace(SELLER, vat_id=None), buyer=replace(BUYER, vat_id=None)
    ),
    "exempt": invoice(
        line(Vat(Category.EXEMPT, Decimal(0), "small-business", reason="Small business scheme"))
    ),
    "credit note": invoice(
        line(STANDARD_19, 1_000),
        kind=Kind.CREDIT_NOTE,
        preceding=(
            Preceding("FRPD1-2025-000041", date(2025, 1, 3)),
            Preceding("FRPD1-2024-000007", date(2024, 12, 3)),
        ),
    ),
    "yen": invoice(line(STANDARD_19, 12_345), currency="JPY"),
    "set off": invoice(set_off="Settled by set-off in statement 2025-01; nothing is to be paid."),
    "no account": invoice(
        seller=replace(SELLER, iban=None, bic=None), set_off="Settled through the hub."
    ),
    "settled with its month": invoice(due_on=None, set_off="Settled with the month."),
    "a seller with a tax id only": invoice(
        line(STANDARD_19), seller=replace(SELLER, vat_id=None, tax_id="12/345/67890")
    ),
    "dollars": invoice(currency="USD"),
    "items elsewhere": invoice(items_at="https://hub.example/services/clearing-house/items"),
    "parking only": invoice(line(STANDARD_19, 500, energy_wh=0, charges=3)),
    "for nothing": invoice(line(STANDARD_19, 0, energy_wh=1_000, charges=1)),
    "less than nothing on a line": invoice(line(STANDARD_19, 5_000), line(STANDARD_19, -100)),
    "calls of a service": invoice(
        counted(),
        counted("12.345", Unit.KILOBYTE, "kilobyte", amount_minor=1_234),
        counted("1", Unit.MONTH, "month", amount_minor=4_900),
    ),
    "a price that changed for what was billed": invoice(
        counted(), counted("0", amount_minor=-7), counted("-3", amount_minor=-2)
    ),
    "names that look like XML": invoice(
        seller=replace(SELLER, legal_name="<![CDATA[ & ]]> \"Fils\" 'et' Cie <b>日本</b>")
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_no_rule_of_the_norm_is_broken_by(case: str) -> None:
    assert broken_rules(to_xml(GOOD[case])) == []


@pytest.mark.parametrize(
    ("planted", "rule"),
    [
        (("ExemptionReason", "ExemptionReasonCode"), "BR-AE-10"),
        (("BuyerTradeParty/ram:SpecifiedTaxRegistration",), "BR-AE-02"),
    ],
)
def test_what_is_left_out_is_missed_by_exactly_its_rule(
    planted: tuple[str, ...], rule: str
) -> None:
    root = etree.fromstring(to_xml(invoice()))
    for name in planted:
        (found,) = root.findall(f".//ram:{name}", NS)
        parent = found.getparent()
        assert parent is not None
        parent.remove(found)
    assert broken_rules(etree.tostring(root)) == [rule]


def test_a_cent_too_much_of_vat_is_found() -> None:
    xml = to_xml(GOOD["standard rate"])
    wrong = xml.replace(b'currencyID="EUR">19.00<', b'currencyID="EUR">19.01<')
    assert wrong != xml
    assert "BR-CO-14" in broken_rules(wrong)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(priced_lines(), min_size=1, max_size=20),
    st.sampled_from(["EUR", "JPY", "GBP"]),
    st.sampled_from(Kind),
)
def test_whatever_lines_there_are_the_norm_holds(
    lines: list[Line], currency: str, kind: Kind
) -> None:
    before = (Preceding("FRPD1-2025-000001", date(2025, 1, 3)),)
    made = invoice(*lines, currency=currency, kind=kind, preceding=before)
    assert broken_rules(to_xml(made)) == []


def test_a_line_says_how_much_energy_and_how_many_charges_and_its_price_times_quantity_is_it() -> (
    None
):
    xml = to_xml(invoice(line(amount_minor=1_001, energy_wh=3_333, charges=3)))
    assert told(xml, "BilledQuantity") == ["3.333"]
    assert told(xml, "BasisQuantity") == ["3.333"]
    assert told(xml, "ChargeAmount") == told(xml, "LineTotalAmount")[:1] == ["10.01"]
    assert told(xml, "ApplicableProductCharacteristic/ram:Value")[0] == "3"


@pytest.mark.parametrize(
    ("changes", "code", "iban"),
    [
        ({}, "58", [SELLER.iban]),
        ({"currency": "CHF"}, "30", [SELLER.iban]),
        ({"kind": Kind.CREDIT_NOTE}, "58", [BUYER.iban]),
        ({"set_off": "Settled by set-off."}, "97", []),
    ],
)
def test_how_it_is_paid_is_told(changes: dict[str, Any], code: str, iban: list[str]) -> None:
    xml = to_xml(invoice(**changes))
    assert told(xml, "SpecifiedTradeSettlementPaymentMeans/ram:TypeCode") == [code]
    assert told(xml, "PayeePartyCreditorFinancialAccount/ram:IBANID") == iban


def test_a_credit_note_names_every_invoice_that_it_corrects() -> None:
    numbers = told(to_xml(GOOD["credit note"]), "InvoiceReferencedDocument/ram:IssuerAssignedID")
    assert numbers == ["FRPD1-2025-000041", "FRPD1-2024-000007"]


def test_the_same_invoice_is_the_same_bytes() -> None:
    assert to_xml(invoice()) == to_xml(invoice())
