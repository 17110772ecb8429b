"""Laws of billing, in random months: whatever is cut off, told late, credited or broken off."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from marketplace.billing.fees import Fee, Share, credited, share_of
from marketplace.billing.model import Bought, Contract, Item, Run, Used, difference, drawn, rated
from marketplace.billing.papers import supplied
from marketplace.offerings.model import ServiceTerms
from marketplace.offerings.price import PricePlan
from marketplace.offerings.rating import Quarter
from roaming.month import Month
from tests.marketplace.billing.market import HUB, MONTH, PROVIDER, REQUESTER
from tests.marketplace.offerings.plans import plans

moments = some.integers(0, 31 * 24 * 60 - 1).map(
    lambda minutes: MONTH.starts_at + timedelta(minutes=minutes)
)
amounts = some.integers(1, 10**9)


@some.composite
def contracts(draw: some.DrawFn) -> Contract:
    plan: PricePlan = draw(plans())
    begins = draw(moments | some.just(datetime.min.replace(tzinfo=MONTH.starts_at.tzinfo)))
    return Contract(
        contract_id="c",
        service="s",
        major=1,
        category="energy",
        provider=PROVIDER,
        requester=REQUESTER,
        terms=ServiceTerms(currency="EUR", plan=plan),
        begins=begins,
        ends=draw(some.none() | moments),
    )


def used_until(calls: list[datetime], until: datetime) -> Used:
    counted = [at for at in calls if at < until]
    quarters: dict[datetime, int] = {}
    for at in counted:
        begins = at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0)
        quarters[begins] = quarters.get(begins, 0) + 1
    return Used(
        calls=len(counted),
        bytes=700 * len(counted),
        units=3 * len(counted),
        quarters=tuple(
            Quarter(begins, count, 700 * count, 3 * count) for begins, count in quarters.items()
        ),
    )


def billed(taken: dict[str, Item], items: list[Item]) -> None:
    """As the books add up what documents took."""
    for item in items:
        had = taken.get(item.key, Item(item.key, item.text, Decimal(0), item.unit, 0))
        taken[item.key] = Item(
            *(item.key, item.text, had.quantity + item.quantity, item.unit),
            had.amount_minor + item.amount_minor,
        )


@given(contracts(), some.lists(moments, max_size=40), some.lists(moments, max_size=5), some.data())
def test_the_lines_of_all_invoices_are_the_rated_month_whatever_cut_offs_and_late_use(
    contract: Contract, calls: list[datetime], cut_offs: list[datetime], data: some.DataObject
) -> None:
    late = data.draw(some.lists(some.sampled_from(calls), max_size=9)) if calls else []
    early = [at for at in calls if at not in late]
    bought = Bought(packs=2, amount_minor=500)
    taken: dict[str, Item] = {}
    for up_to in [*sorted(cut_offs), MONTH.ends_at]:
        run = Run("r", MONTH, up_to, (), HUB, up_to)
        draft = drawn(
            contract, run, {MONTH: used_until(early, up_to)}, {MONTH: bought}, {MONTH: taken}
        )
        if draft is not None:
            assert draft.net_minor > 0, "what a month comes to only grows"
            billed(taken, [item for _, item in draft.items])
    following = MONTH.next
    run = Run("r", following, following.ends_at, (MONTH,), HUB, following.ends_at)
    whole = used_until(calls, MONTH.ends_at)
    draft = drawn(contract, run, {MONTH: whole}, {MONTH: bought}, {MONTH: taken})
    if draft is not None:
        billed(taken, [item for month, item in draft.items if month == MONTH])
    month = rated(contract, MONTH, MONTH.ends_at, whole, bought)
    assert sum(item.amount_minor for item in taken.values()) == sum(
        item.amount_minor for item in month
    )


@given(contracts(), some.lists(moments, max_size=20))
def test_what_was_taken_is_not_due_again(contract: Contract, calls: list[datetime]) -> None:
    items = rated(contract, MONTH, MONTH.ends_at, used_until(calls, MONTH.ends_at), Bought())
    assert difference(items, {item.key: item for item in items}) == []
    assert len({item.key for item in items}) == len(items), "a key names one line"


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


@pytest.mark.parametrize("month", [Month(2026, 12), Month(2028, 2), Month(2027, 1)])
def test_an_invoice_is_about_the_days_until_its_cut_off(month: Month) -> None:
    assert supplied([month], month.ends_at) == (
        month.starts_at.date(),
        (month.next.starts_at - timedelta(days=1)).date(),
    )
    middle = month.starts_at + timedelta(days=9)
    assert supplied([month], middle)[1] == (middle - timedelta(days=1)).date()
