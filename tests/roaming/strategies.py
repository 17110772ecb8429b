"""Random tariffs and charges, with every boundary on a ten-second grid."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from roaming.charge import Charge, ChargingPeriod
from roaming.tariff import (
    DayOfWeek,
    Dimension,
    PriceComponent,
    PriceLimit,
    Restrictions,
    Tariff,
    TariffElement,
)

GRID_S = 10
# Wh in ten seconds: 0 to 18 kW. Periods last multiples of 100 s, so every kWh boundary below, a
# multiple of the largest flow, falls on the grid as well.
FLOWS_WH = [0, 5, 10, 25, 50]
ZONES = [
    UTC,
    ZoneInfo("Europe/Paris"),
    ZoneInfo("Australia/Lord_Howe"),
    ZoneInfo("America/St_Johns"),
]
# Weekday into weekend; both clock changes of Europe; both, of half an hour, of Lord Howe Island.
STARTS = [
    datetime(2025, 6, 6, 21, 30, tzinfo=UTC),
    datetime(2025, 3, 30, 0, 10, tzinfo=UTC),
    datetime(2025, 10, 26, 0, 10, tzinfo=UTC),
    datetime(2025, 4, 5, 14, 0, tzinfo=UTC),
    datetime(2025, 10, 4, 14, 40, tzinfo=UTC),
]

prices = st.decimals(min_value=0, max_value=5, places=4)
vats = st.sampled_from([None, Decimal(0), Decimal("5.5"), Decimal(20)])
wall_times = st.builds(time, st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 59]))
dates = st.sampled_from(
    [date(2025, 6, 7), date(2025, 6, 6), date(2025, 3, 30), date(2025, 10, 26), date(2025, 10, 5)]
)
durations = st.integers(0, 900).map(lambda grid: grid * GRID_S)
energies = st.integers(0, 300).map(lambda flow: Decimal(flow * max(FLOWS_WH)) / 1000)
powers = st.integers(0, 40).map(Decimal)


def components(*, steps: bool) -> st.SearchStrategy[PriceComponent]:
    step = st.sampled_from([0, 1, 60, 500, 900, 1800]) if steps else st.just(0)
    return st.builds(PriceComponent, st.sampled_from(Dimension), prices, step, vats)


def restrictions(*, wall: bool) -> st.SearchStrategy[Restrictions]:
    """None or a few of them at once, since all at once would hardly ever match."""
    fields: dict[str, st.SearchStrategy[object]] = {
        "min_kwh": energies,
        "max_kwh": energies,
        "min_duration": durations,
        "max_duration": durations,
        "min_power": powers,
        "max_power": powers,
        "min_current": powers,
        "max_current": powers,
    }
    if wall:
        fields |= {
            "start_time": wall_times,
            "end_time": wall_times,
            "start_date": dates,
            "end_date": dates,
            "day_of_week": st.frozensets(st.sampled_from(DayOfWeek), min_size=1),
        }
    picked = st.lists(st.sampled_from(sorted(fields)), max_size=3, unique=True)
    chosen = picked.flatmap(lambda names: st.fixed_dictionaries({n: fields[n] for n in names}))
    return chosen.map(lambda given: Restrictions(**given))  # type: ignore[arg-type]


def tariffs(
    *, steps: bool = True, wall: bool = True, limits: bool = False
) -> st.SearchStrategy[Tariff]:
    element = st.builds(
        TariffElement,
        st.lists(components(steps=steps), min_size=1, max_size=4).map(tuple),
        restrictions(wall=wall),
    )
    amount = st.decimals(min_value=0, max_value=20, places=2)
    limit = st.none() | st.builds(PriceLimit, amount, st.none() | amount) if limits else st.none()
    return st.builds(
        Tariff,
        st.just("EUR"),
        st.lists(element, min_size=1, max_size=5).map(tuple),
        min_price=limit,
        max_price=limit,
    )


@st.composite
def charges(draw: st.DrawFn) -> Charge:
    start = draw(st.sampled_from(STARTS)) + timedelta(minutes=draw(st.integers(-90, 90)))
    periods: list[ChargingPeriod] = []
    end = start
    for _ in range(draw(st.integers(1, 4))):
        ticks = 10 * draw(st.integers(1, 40))
        parking = draw(st.booleans())
        flow = 0 if parking else draw(st.sampled_from(FLOWS_WH))
        current = draw(st.none() | st.integers(0, 40).map(Decimal))
        periods.append(ChargingPeriod(end, flow * ticks, parking, current))
        end += timedelta(seconds=ticks * GRID_S)
    return Charge(start, end, tuple(periods))
