"""Statements on paper: every figure of the statement, in the words of who reads it."""

from __future__ import annotations

import re
from datetime import date
from io import BytesIO
from zoneinfo import ZoneInfo

import pytest
from pypdf import PdfReader

from clearinghouse.netting.model import Obligation, Period
from clearinghouse.settlement.model import Statement, draw_up
from clearinghouse.settlement.paper import print_statement
from documents.printed import amount, printer
from roaming.party import PartyId

JANUARY = Period.month("2025-01", ZoneInfo("UTC"))
US = PartyId("FR*PD1")
THEM = [PartyId(f"DE*{number:03}") for number in range(100, 160)]
DAY = date(2025, 2, 1)


def statement(currency: str = "EUR", partners: int = 3) -> Statement:
    debts = [Obligation(them, US, 10_000 + n, 1_900 + n, n + 1) for n, them in enumerate(THEM)]
    debts = debts[:partners] + ([Obligation(US, THEM[0], 700_000, 0, 7)] if partners else [])
    return draw_up(US, JANUARY, currency, debts)


def text_of(made: Statement) -> str:
    pdf = print_statement(made, printer(), day=DAY, name_of=lambda party: f"Name of {party.code}")
    text = " ".join(page.extract_text() for page in PdfReader(BytesIO(pdf)).pages)
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("currency", ["EUR", "JPY"])
def test_every_counterparty_and_every_sum_is_on_it(currency: str) -> None:
    made = statement(currency)
    text = text_of(made)
    for account in made.accounts:
        assert f"Name of {account.counterparty.code}" in text
        assert amount(account.owed.amount_minor, currency) in text
        assert amount(account.net_minor + account.net_vat_minor, currency) in text
    for side in (made.owed, made.owing):
        assert amount(side.amount_minor, currency) in text
        assert amount(side.amount_minor + side.vat_minor, currency) in text
    for clearing in made.clearings.values():
        assert clearing.strategy.value in text


def test_a_month_of_nothing_says_so() -> None:
    assert "Nothing was charged in this period." in text_of(statement(partners=0))


def test_a_long_one_has_its_head_on_every_page() -> None:
    made = statement(partners=60)
    pdf = print_statement(made, printer(), day=DAY, name_of=str)
    pages = [page.extract_text() for page in PdfReader(BytesIO(pdf)).pages]
    assert len(pages) > 1
    assert all("Counterparty" in page for page in pages[:2])
