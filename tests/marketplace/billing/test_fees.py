"""The marketplace's share: the most special fee holds, and nothing is lost in parting a sale."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from marketplace.billing.fees import (
    BadFee,
    Fee,
    Share,
    applying,
    checked,
    credited,
    fee_lines,
    share_of,
)
from roaming.month import Month
from roaming.party import PartyId
from tests.marketplace.billing.market import MONTH, PROVIDER

OTHER = PartyId("NL*FCS")
amounts = some.integers(1, 10**9)
fees = some.builds(
    Fee,
    valid_from=some.just(MONTH),
    percent=some.decimals(0, 100, places=4),
    per_invoice_minor=some.integers(0, 10_000),
    currency=some.just("EUR"),
)


@given(fees, amounts, some.data())
def test_what_a_requester_pays_is_what_the_provider_gets_and_the_fee_also_after_credits(
    fee: Fee, net_minor: int, data: some.DataObject
) -> None:
    sale = share_of(fee, "1", PROVIDER, "EUR", net_minor)
    assert 0 <= sale.fee_minor <= net_minor
    parts: list[Share] = []
    left = net_minor
    while left:
        part = data.draw(some.integers(1, left)) if len(parts) < 4 else left
        parts.append(credited(sale, "2", net_minor - left, part))
        left -= part
    for share in (sale, *parts):
        assert share.net_minor == share.provider_minor + share.fee_minor
    assert sale.fee_minor + sum(part.fee_minor for part in parts) == 0
    assert sale.provider_minor + sum(part.provider_minor for part in parts) == 0


@given(some.lists(some.tuples(fees, amounts), max_size=9))
def test_the_lines_of_the_fee_are_the_fees_of_the_sales(sold: list[tuple[Fee, int]]) -> None:
    shares = [share_of(fee, "1", PROVIDER, "EUR", net_minor) for fee, net_minor in sold]
    lines = fee_lines(shares)
    assert sum(line.fee_minor for line in lines) == sum(share.fee_minor for share in shares)
    assert sum(line.documents for line in lines) == len(shares)


def test_a_fee_on_services_of_a_category_that_there_is_none_of_is_refused() -> None:
    known = Fee(MONTH, Decimal(2), category="value-added")
    assert checked(known, MONTH) is known
    with pytest.raises(BadFee) as refused:
        checked(Fee(MONTH, Decimal(2), category="value added"), MONTH)
    assert (refused.value.field, refused.value.value) == ("category", "value added")
    assert "value-added" in str(refused.value.rule)


def test_the_most_special_fee_holds_and_of_two_alike_the_later() -> None:
    every = [
        Fee(MONTH, Decimal(1)),
        Fee(MONTH, Decimal(2), category="core"),
        Fee(MONTH, Decimal(3), provider=PROVIDER),
        Fee(MONTH, Decimal(4), provider=PROVIDER, category="core"),
        Fee(MONTH, Decimal(5)),
        Fee(MONTH.next, Decimal(6)),
        Fee(MONTH, Decimal(7), 30, "CHF"),
    ]

    def percent(provider: PartyId, category: str, currency: str, month: Month) -> int:
        found = applying(every, provider, category, currency, month)
        assert found is not None
        return int(found.percent)

    assert percent(OTHER, "value-added", "EUR", MONTH) == 5
    assert percent(OTHER, "core", "EUR", MONTH) == 2
    assert percent(PROVIDER, "value-added", "EUR", MONTH) == 3
    assert percent(PROVIDER, "core", "EUR", MONTH) == 4
    assert percent(OTHER, "value-added", "EUR", MONTH.next) == 6
    assert percent(OTHER, "value-added", "CHF", MONTH) == 7
    assert applying(every, OTHER, "core", "EUR", Month(2026, 9)) is None


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"percent": Decimal(101)}, "percent"),
        ({"percent": Decimal("0.00001")}, "percent"),
        ({"per_invoice_minor": -1, "currency": "EUR"}, "per_invoice"),
        ({"per_invoice_minor": 30}, "currency"),
    ],
)
def test_what_is_no_fee_is_refused_by_its_field(wrong: dict[str, Any], field: str) -> None:
    told: dict[str, Any] = {"valid_from": MONTH, "percent": Decimal(1)}
    with pytest.raises(BadFee) as refused:
        Fee(**(told | wrong))
    assert refused.value.field == field
