"""The record of a charge: its periods add up, and slips of the meter cut nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central_system.hub.model import Decision
from central_system.stations.model import StationRef
from central_system.transactions.model import (
    METER_MOST_WH,
    PERIODS_MOST,
    CdrState,
    Charge,
    Reading,
    Start,
    cdr_of,
    cdr_state_at_stop,
    periods_of,
    register_wh,
)
from roaming.evse_id import EvseId
from tests.central_system.fakes import OPERATOR

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
EVSE = EvseId("FR*PD1*E1")
ALLOWED, REFUSED = Decision(True, authorisation_id="a"), Decision(False, "unknown-contract")


def charge(
    meter_start_wh: int, meter_stop_wh: int, minutes: int = 60, decision: Decision = ALLOWED
) -> Charge:
    start = Start(StationRef(OPERATOR, "CP1"), 1, EVSE, "CARD", NOON, meter_start_wh, decision)
    return Charge(7, start, NOON + timedelta(minutes=minutes), meter_stop_wh, "Local")


READINGS = st.lists(
    st.builds(
        Reading,
        st.integers(-10, 70).map(lambda n: NOON + timedelta(minutes=n)),
        st.integers(-1_000, 20_000),
    ),
    max_size=40,
)


@given(READINGS, st.integers(0, 10_000), st.integers(-100, 10_000))
def test_periods_are_in_order_inside_the_charge_and_add_up(
    readings: list[Reading], meter_start_wh: int, energy_wh: int
) -> None:
    over = charge(meter_start_wh, meter_start_wh + energy_wh)
    periods = periods_of(over, readings)
    starts = [at for at, _ in periods]
    assert sum(wh for _, wh in periods) == energy_wh
    assert starts[0] == NOON
    assert starts == sorted(set(starts))
    assert over.stopped_at is not None
    assert all(at < over.stopped_at for at in starts)
    if energy_wh >= 0:
        assert all(wh >= 0 for _, wh in periods)
    else:
        assert len(periods) == 1


@given(READINGS)
def test_the_order_in_which_readings_came_changes_nothing(readings: list[Reading]) -> None:
    over = charge(0, 10_000)
    assert periods_of(over, readings) == periods_of(over, readings[::-1])


def test_a_reading_that_falls_back_or_runs_ahead_cuts_nothing() -> None:
    at = [NOON + timedelta(minutes=n) for n in (10, 20, 30, 40)]
    readings = [Reading(at[0], 400), Reading(at[1], 100), Reading(at[2], 99_999)]
    assert periods_of(charge(0, 1_000), [*readings, Reading(at[3], 900)]) == [
        (NOON, 400),
        (at[0], 500),
        (at[3], 100),
    ]


def test_a_very_long_charge_has_its_periods_put_together() -> None:
    readings = [Reading(NOON + timedelta(minutes=n), n) for n in range(1, 10_000)]
    periods = periods_of(charge(0, 10_000, minutes=10_000), readings)
    assert PERIODS_MOST // 2 <= len(periods) <= PERIODS_MOST
    assert sum(wh for _, wh in periods) == 10_000


def test_a_charge_whose_meter_fell_is_told_as_it_was() -> None:
    record = cdr_of(charge(500, 400), EVSE, [Reading(NOON + timedelta(minutes=5), 450)])
    assert record["energy_wh"] == -100
    assert record["periods"] == [{"start": NOON.isoformat(), "energy_wh": -100}]


def test_a_charge_without_authorisation_names_none() -> None:
    assert "authorisation_id" not in cdr_of(charge(0, 5, decision=REFUSED), EVSE, [])


@pytest.mark.parametrize(
    ("decision", "energy_wh", "state"),
    [
        (ALLOWED, 5, CdrState.WAITING),
        (ALLOWED, 0, CdrState.WAITING),
        (REFUSED, 5, CdrState.WAITING),
        (REFUSED, -5, CdrState.WAITING),
        (REFUSED, 0, CdrState.NONE),
        (Decision(True, by_hub=False), 5, CdrState.NONE),
        (Decision(False, "card-blocked", by_hub=False), 5, CdrState.WAITING),
    ],
)
def test_which_charges_make_a_record(decision: Decision, energy_wh: int, state: CdrState) -> None:
    assert cdr_state_at_stop(charge(0, 0, decision=decision).start, energy_wh) is state


@pytest.mark.parametrize(
    ("sample", "energy_wh"),
    [
        ({"value": "1500"}, 1_500),
        ({"value": " 1500.5 "}, 1_501),
        ({"value": "1.2345", "unit": "kWh"}, 1_235),
        ({"value": "1", "measurand": "Energy.Active.Import.Register", "location": "Outlet"}, 1),
        ({"value": "1", "measurand": "Energy.Active.Export.Register"}, None),
        ({"value": "1", "measurand": "Voltage", "unit": "V"}, None),
        ({"value": "1", "phase": "L1"}, None),
        ({"value": "1", "location": "Inlet"}, None),
        ({"value": "1", "format": "SignedData"}, None),
        ({"value": "1", "unit": "varh"}, None),
        ({"value": "many"}, None),
        ({"value": "NaN"}, None),
        ({"value": "Infinity"}, None),
        ({"value": str(METER_MOST_WH + 1)}, None),
        ({"value": "1e999999999999999999"}, None),
    ],
)
def test_which_samples_are_readings_of_the_register(
    sample: dict[str, str], energy_wh: int | None
) -> None:
    assert register_wh(sample) == energy_wh


@given(st.text(max_size=30))
def test_any_value_of_a_sample_is_a_reading_or_none(value: str) -> None:
    found = register_wh({"value": value})
    assert found is None or abs(found) <= METER_MOST_WH
