"""Reading and writing OCPI tariffs: what is understood, what is refused and how that is said."""

from __future__ import annotations

import copy
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roaming.refusal import Malformed
from roaming.tariff import (
    BadTariff,
    DayOfWeek,
    Dimension,
    DisplayText,
    EnergyMix,
    EnergySource,
    Impact,
    ImpactAmount,
    PriceComponent,
    PriceLimit,
    ReservationKind,
    Restrictions,
    SourceShare,
    Tariff,
    TariffElement,
    TariffType,
)
from tests.roaming.strategies import tariffs

FULL: dict[str, Any] = {
    "country_code": "FR",
    "party_id": "PD1",
    "id": "night-and-day",
    "currency": "EUR",
    "type": "REGULAR",
    "tariff_alt_text": [{"language": "fr", "text": "2,00 € l'heure"}],
    "tariff_alt_url": "https://example.org/tariffs/1",
    "min_price": {"excl_vat": 0.5, "incl_vat": 0.6},
    "max_price": {"excl_vat": 30},
    "elements": [
        {
            "price_components": [
                {"type": "ENERGY", "price": 0.2066, "step_size": 1, "vat": 20},
                {"type": "PARKING_TIME", "price": 3, "step_size": 900},
            ],
            "restrictions": {
                "start_time": "22:00",
                "end_time": "06:00",
                "start_date": "2026-01-01",
                "end_date": "2026-12-31",
                "min_kwh": 1,
                "max_kwh": 50.5,
                "min_current": 5,
                "max_current": 32,
                "min_power": 3.7,
                "max_power": 22,
                "min_duration": 60,
                "max_duration": 7200,
                "day_of_week": ["MONDAY", "SUNDAY"],
            },
        },
        {
            "price_components": [{"type": "FLAT", "price": 1.5, "step_size": 1}],
            "restrictions": {"reservation": "RESERVATION_EXPIRES"},
        },
    ],
    "start_date_time": "2026-01-01T00:00:00Z",
    "end_date_time": "2026-12-31T22:59:59Z",
    "energy_mix": {
        "is_green_energy": True,
        "energy_sources": [{"source": "WIND", "percentage": 70.5}],
        "environ_impact": [{"category": "CARBON_DIOXIDE", "amount": 11}],
        "supplier_name": "Vents du Nord",
    },
    "last_updated": "2026-03-14T03:01:46.250000Z",
}
READ = Tariff(
    currency="EUR",
    elements=(
        TariffElement(
            (
                PriceComponent(Dimension.ENERGY, Decimal("0.2066"), 1, Decimal(20)),
                PriceComponent(Dimension.PARKING_TIME, Decimal(3), 900),
            ),
            Restrictions(
                start_time=time(22),
                end_time=time(6),
                start_date=date(2026, 1, 1),
                end_date=date(2026, 12, 31),
                min_kwh=Decimal(1),
                max_kwh=Decimal("50.5"),
                min_current=Decimal(5),
                max_current=Decimal(32),
                min_power=Decimal("3.7"),
                max_power=Decimal(22),
                min_duration=60,
                max_duration=7200,
                day_of_week=frozenset({DayOfWeek.MONDAY, DayOfWeek.SUNDAY}),
            ),
        ),
        TariffElement(
            (PriceComponent(Dimension.FLAT, Decimal("1.5"), 1),),
            Restrictions(reservation=ReservationKind.RESERVATION_EXPIRES),
        ),
    ),
    id="night-and-day",
    country_code="FR",
    party_id="PD1",
    type=TariffType.REGULAR,
    tariff_alt_text=(DisplayText("fr", "2,00 € l'heure"),),
    tariff_alt_url="https://example.org/tariffs/1",
    min_price=PriceLimit(Decimal("0.5"), Decimal("0.6")),
    max_price=PriceLimit(Decimal(30)),
    start_date_time=datetime(2026, 1, 1, tzinfo=UTC),
    end_date_time=datetime(2026, 12, 31, 22, 59, 59, tzinfo=UTC),
    energy_mix=EnergyMix(
        is_green_energy=True,
        energy_sources=(SourceShare(EnergySource.WIND, Decimal("70.5")),),
        environ_impact=(ImpactAmount(Impact.CARBON_DIOXIDE, Decimal(11)),),
        supplier_name="Vents du Nord",
    ),
    last_updated=datetime(2026, 3, 14, 3, 1, 46, 250_000, tzinfo=UTC),
)


def with_price(price: object) -> dict[str, Any]:
    component = {"type": "ENERGY", "price": price, "step_size": 1}
    return {"currency": "EUR", "elements": [{"price_components": [component]}]}


def price_in(tariff: Tariff) -> Decimal:
    return tariff.elements[0].price_components[0].price


def test_a_tariff_with_every_field_is_read() -> None:
    assert Tariff.parse(FULL) == READ


def test_a_tariff_with_every_field_is_written_as_it_was_read() -> None:
    assert READ.to_json() == FULL


def test_the_elements_of_an_agreement_take_its_currency() -> None:
    elements = {"elements": FULL["elements"]}
    assert Tariff.parse(elements, currency="CHF").currency == "CHF"


@pytest.mark.parametrize("nothing", [{}, None])
def test_null_and_empty_restrictions_say_nothing(nothing: object) -> None:
    raw = with_price(1)
    raw["elements"][0]["restrictions"] = nothing
    raw["min_price"] = None
    raw["tariff_alt_text"] = []
    assert Tariff.parse(raw) == Tariff.parse(with_price(1))


def test_restrictions_that_are_all_null_say_nothing() -> None:
    raw = with_price(1)
    raw["elements"][0]["restrictions"] = {"day_of_week": None, "min_kwh": None, "some_day": None}
    assert Tariff.parse(raw) == Tariff.parse(with_price(1))


def test_unknown_fields_outside_restrictions_are_ignored() -> None:
    assert Tariff.parse({**FULL, "sponsor": "x"}) == READ


def test_a_limit_may_be_a_bare_number() -> None:
    assert Tariff.parse({**FULL, "max_price": 30}) == READ


def test_a_step_may_be_left_out() -> None:
    raw = with_price(1)
    del raw["elements"][0]["price_components"][0]["step_size"]
    assert Tariff.parse(raw).elements[0].price_components[0].step_size == 0


def test_a_time_without_offset_is_in_utc_and_others_become_so() -> None:
    told = {**FULL, "start_date_time": "2026-01-01T00:00:00", "end_date_time": None}
    told["last_updated"] = "2026-03-14T04:01:46.25+01:00"
    read = Tariff.parse(told)
    assert (read.start_date_time, read.last_updated) == (READ.start_date_time, READ.last_updated)


@pytest.mark.parametrize("price", [0.1, "0.1", Decimal("0.1"), Decimal("0.10"), "1e-1"])
def test_a_price_is_read_through_its_text(price: object) -> None:
    assert price_in(Tariff.parse(with_price(price))) == Decimal("0.1")


@pytest.mark.parametrize("price", ["0.123456789012345678", "123456789012.000001"])
def test_a_price_with_more_digits_than_a_json_number_keeps_is_written_as_text(price: str) -> None:
    tariff = Tariff.parse(with_price(price))
    written = json.loads(json.dumps(tariff.to_json()))
    assert written["elements"][0]["price_components"][0]["price"] == price
    assert Tariff.parse(written) == tariff


BROKEN: list[tuple[str, object, str]] = [
    ("currency", None, "currency"),
    ("currency", "eur", "currency"),
    ("currency", "XXZ", "currency"),
    ("elements", None, "elements"),
    ("elements", [], "elements"),
    ("elements", "ENERGY", "elements"),
    ("elements", [7], "elements[0]"),
    ("id", "x" * 37, "id"),
    ("party_id", "", "party_id"),
    ("type", "CHEAP", "type"),
    ("min_price", {}, "min_price.excl_vat"),
    ("max_price", -1, "max_price"),
    ("last_updated", "yesterday", "last_updated"),
    ("last_updated", "2026-02-30T00:00:00Z", "last_updated"),
    ("tariff_alt_text", [{"language": "fr"}], "tariff_alt_text[0].text"),
    ("energy_mix", {"is_green_energy": "yes"}, "energy_mix.is_green_energy"),
    ("elements.0.price_components", [], "elements[0].price_components"),
    ("elements.0.price_components.1.type", "BANANA", "elements[0].price_components[1].type"),
    ("elements.0.price_components.1.type", None, "elements[0].price_components[1].type"),
    ("elements.0.price_components.1.price", None, "elements[0].price_components[1].price"),
    ("elements.0.price_components.1.price", True, "elements[0].price_components[1].price"),
    ("elements.0.price_components.1.price", "1,5", "elements[0].price_components[1].price"),
    ("elements.0.price_components.1.price", "NaN", "elements[0].price_components[1].price"),
    ("elements.0.price_components.1.price", float("inf"), "elements[0].price_components[1].price"),
    ("elements.0.price_components.1.price", "1e999999", "elements[0].price_components[1].price"),
    ("elements.0.price_components.1.price", "1e-999999", "elements[0].price_components[1].price"),
    (
        "elements.0.price_components.1.price",
        "1e99999999999999999999",
        "elements[0].price_components[1].price",
    ),
    ("elements.0.price_components.0.vat", -20, "elements[0].price_components[0].vat"),
    ("elements.0.price_components.0.step_size", 1.5, "elements[0].price_components[0].step_size"),
    ("elements.0.price_components.0.step_size", -1, "elements[0].price_components[0].step_size"),
    ("elements.0.restrictions", [], "elements[0].restrictions"),
    ("elements.0.restrictions.start_time", "24:00", "elements[0].restrictions.start_time"),
    ("elements.0.restrictions.end_time", "7:00", "elements[0].restrictions.end_time"),
    ("elements.0.restrictions.end_time", "07:00:00", "elements[0].restrictions.end_time"),
    ("elements.0.restrictions.start_date", "2026-02-30", "elements[0].restrictions.start_date"),
    ("elements.0.restrictions.end_date", 20260101, "elements[0].restrictions.end_date"),
    ("elements.0.restrictions.day_of_week", ["MON"], "elements[0].restrictions.day_of_week[0]"),
    ("elements.0.restrictions.min_kwh", -1, "elements[0].restrictions.min_kwh"),
    ("elements.0.restrictions.max_duration", "1h", "elements[0].restrictions.max_duration"),
    ("elements.0.restrictions.max_moon", 3, "elements[0].restrictions.max_moon"),
    ("elements.1.restrictions.reservation", "MAYBE", "elements[1].restrictions.reservation"),
]


@pytest.mark.parametrize(("where", "value", "field"), BROKEN)
def test_a_refusal_names_the_path_the_value_and_the_rule(
    where: str, value: object, field: str
) -> None:
    raw = copy.deepcopy(FULL)
    *way, last = where.split(".")
    place: Any = raw
    for step in way:
        place = place[int(step)] if step.isdigit() else place[step]
    place[last] = value
    with pytest.raises(BadTariff) as refusal:
        Tariff.parse(raw)
    assert refusal.value.field == field
    assert refusal.value.rule
    assert refusal.value.detail.startswith(f"{field}: ")
    assert len(refusal.value.detail) < 300


def test_a_giant_number_is_refused_before_it_is_spelt_out() -> None:
    with pytest.raises(BadTariff, match=r"price: a giant number: a number up to 1000000000000"):
        Tariff.parse(with_price(10**5000))


@pytest.mark.parametrize("raw", [None, [], "tariff", 7])
def test_what_is_no_object_is_refused(raw: object) -> None:
    with pytest.raises(Malformed, match="an object"):
        Tariff.parse(raw)


def test_a_currency_other_than_the_agreed_one_is_refused() -> None:
    with pytest.raises(BadTariff, match="the currency of the agreement, CHF"):
        Tariff.parse(FULL, currency="CHF")


def test_equal_tariffs_are_one_key() -> None:
    other = Tariff.parse({**FULL, "min_price": None})
    assert {READ: 1, Tariff.parse(FULL): 2, other: 3} == {READ: 2, other: 3}


@settings(deadline=None)
@given(tariffs(limits=True))
def test_what_is_written_is_read_as_the_same(tariff: Tariff) -> None:
    assert Tariff.parse(json.loads(json.dumps(tariff.to_json()))) == tariff


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(list(FULL)), inner),
)


@settings(deadline=None)
@given(json_values, st.sampled_from([*FULL, "elements"]))
def test_whatever_comes_is_read_or_refused(value: object, key: str) -> None:
    raw = {**FULL, key: value}
    try:
        tariff = Tariff.parse(raw)
    except BadTariff:
        with pytest.raises(BadTariff, match=r"\S: .+: .+"):
            Tariff.parse(raw)
    else:
        assert Tariff.parse(tariff.to_json()) == tariff
