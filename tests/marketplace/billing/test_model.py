"""Laws of billing, in random months: whatever is cut off, told late, credited or broken off."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as some

from marketplace.billing.model import (
    Bought,
    Contract,
    Item,
    Run,
    Used,
    difference,
    drawn,
    next_to_bill,
    rated,
)
from marketplace.offerings.model import ServiceTerms
from marketplace.offerings.price import PricePlan
from marketplace.offerings.rating import Quarter
from roaming.month import Month
from tests.marketplace.billing.market import HUB, MONTH, PROVIDER, REQUESTER
from tests.marketplace.offerings.plans import plans

moments = some.integers(0, 31 * 24 * 60 - 1).map(
    lambda minutes: MONTH.starts_at + timedelta(minutes=minutes)
)


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


def test_a_hub_that_was_away_for_a_month_bills_it_first_and_one_that_is_new_bills_the_last() -> (
    None
):
    july, august, september, october = (Month(2026, number) for number in (7, 8, 9, 10))
    whole = {month: month.ends_at for month in (july, august, september, october)}

    def found(*billed: Month) -> Month | None:
        return next_to_bill(october, {one: whole[one] for one in billed})

    assert found() == october
    assert found(september) == october
    assert found(july) == august
    assert found(july, august) == september
    assert found(july, october) is None
    # What there was of a month by its middle; the rest is with the month behind it.
    half = {september: september.starts_at + timedelta(days=15)}
    assert next_to_bill(october, half) == october
