"""Reminders on paper."""

from __future__ import annotations

import re
from datetime import date, timedelta
from io import BytesIO

import pytest
from pypdf import PdfReader

from clearinghouse.payments.model import Level, Reminder, remind
from clearinghouse.payments.paper import print_reminder
from documents.printed import printer
from tests.clearinghouse.payments.samples import due


def text_of(reminder: Reminder) -> str:
    pages = PdfReader(BytesIO(print_reminder(reminder, printer()))).pages
    return re.sub(r"\s+", " ", " ".join(page.extract_text() for page in pages))


@pytest.mark.parametrize(
    ("days", "title", "closing"),
    [
        (7, "Reminder", "The next reminder is sent on 26 Mar 2025"),
        (21, "Second reminder", "The next reminder is sent on 9 Apr 2025"),
        (35, "Final reminder", "This is the last reminder"),
    ],
)
def test_a_reminder_says_what_is_open_where_it_goes_and_what_comes_next(
    days: int, title: str, closing: str
) -> None:
    late = due(paid_minor=2_500)
    (reminder,) = remind([late], {}, late.due_on + timedelta(days))
    text = text_of(reminder)
    for words in (title, closing, "75.00 EUR", "DE*XYZ", "FR14 2004 1010", f"Days late {days}"):
        assert words in text, words


def test_without_account_details_the_parties_are_named() -> None:
    bare = due(payer_account=None, payee_account=None)
    text = text_of(Reminder(Level.FIRST, bare, date(2025, 3, 12), None))
    assert "FR*PD1" in text
    assert "IBAN" not in text
