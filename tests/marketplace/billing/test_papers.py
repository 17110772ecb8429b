"""What stands on an invoice for a service."""

from __future__ import annotations

from datetime import timedelta

import pytest

from marketplace.billing.papers import supplied
from roaming.month import Month


@pytest.mark.parametrize("month", [Month(2026, 12), Month(2028, 2), Month(2027, 1)])
def test_an_invoice_is_about_the_days_until_its_cut_off(month: Month) -> None:
    assert supplied([month], month.ends_at) == (
        month.starts_at.date(),
        (month.next.starts_at - timedelta(days=1)).date(),
    )
    middle = month.starts_at + timedelta(days=9)
    assert supplied([month], middle)[1] == (middle - timedelta(days=1)).date()
