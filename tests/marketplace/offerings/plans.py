"""Price plans and use, drawn."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as some

from marketplace.offerings.price import Every, Per, PricePlan, Weekday
from marketplace.offerings.rating import Quarter, Use

prices = some.decimals(0, 999, places=6).map(lambda price: format(price, "f"))


@some.composite
def steps(draw: some.DrawFn) -> str | list[dict[str, Any]]:
    tops = sorted(draw(some.sets(some.integers(1, 300), max_size=4)))
    if not tops:
        return draw(prices)
    return [*({"up_to": top, "price": draw(prices)} for top in tops), {"price": draw(prices)}]


@some.composite
def rules(draw: some.DrawFn) -> dict[str, Any]:
    begins, ends = draw(some.lists(some.integers(0, 95), min_size=2, max_size=2, unique=True))
    clock = [f"{quarter // 4:02}:{quarter % 4 * 15:02}" for quarter in (begins, ends)]
    days = draw(some.sets(some.sampled_from([day.value for day in Weekday]), min_size=1))
    return {
        "days": sorted(days),
        "from": clock[0],
        "until": clock[1],
        "price": draw(prices),
    }


zones = some.sampled_from(["UTC", "Europe/Paris", "Asia/Kathmandu", "America/St_Johns"])


@some.composite
def plans(draw: some.DrawFn) -> PricePlan:
    """Any plan: calls by steps or by time, and so units."""
    raw: dict[str, Any] = {}
    if draw(some.booleans()):
        raw["one_time"] = draw(prices)
    if draw(some.booleans()):
        every = draw(some.sampled_from([one.value for one in Every]))
        raw["recurring"] = {"price": draw(prices), "every": every}
    by_time = draw(some.sampled_from([None, *(per.value for per in Per)]))
    if by_time is not None:
        raw["time_of_use"] = {
            "per": by_time,
            "time_zone": draw(zones),
            "rules": draw(some.lists(rules(), min_size=1, max_size=3)),
            "otherwise": draw(prices),
        }
    if by_time != Per.CALL.value and draw(some.booleans()):
        raw["per_call"] = draw(steps())
    if by_time in (None, Per.CALL.value) and draw(some.booleans()):
        raw["per_unit"] = {
            "unit": draw(some.sampled_from(["kilobyte", "told"])),
            "price": draw(steps()),
        }
    raw = raw or {"per_call": draw(steps())}
    plan = PricePlan.parse(raw)
    if plan.priced and draw(some.booleans()):
        plan = PricePlan.parse(raw | {"minimum": draw(prices)})
    return plan


@some.composite
def used(draw: some.DrawFn, *, year: int = 2026) -> Use:
    """Any month's use, told as a whole and by quarters of an hour alike."""
    month = draw(some.integers(1, 12))
    days = monthrange(year, month)[1]
    begin = datetime(year, month, 1, tzinfo=UTC)
    places = draw(some.sets(some.integers(0, days * 96 - 1), max_size=8))
    quarters = tuple(
        Quarter(
            begin + place * timedelta(minutes=15),
            calls=draw(some.integers(1, 200)),
            bytes=draw(some.integers(0, 10**7)),
            units=draw(some.integers(0, 500)),
        )
        for place in sorted(places)
    )
    return whole(year, month, draw(some.integers(0, days)), quarters, draw(some.booleans()))


def whole(
    year: int, month: int, days: int, quarters: tuple[Quarter, ...], first: bool = False
) -> Use:
    """The use of which these are the quarters."""
    return Use(
        year,
        month,
        days,
        first,
        sum(one.calls for one in quarters),
        sum(one.bytes for one in quarters),
        sum(one.units for one in quarters),
        quarters,
    )
