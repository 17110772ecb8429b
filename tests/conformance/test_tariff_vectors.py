"""Charges that others have priced, and tariffs that operators really publish."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from roaming.charge import Charge, ChargingPeriod
from roaming.energy import wh_from_kwh
from roaming.pricing import Price, price_charge
from roaming.tariff import BadTariff, Tariff

VECTORS = Path(__file__).parent / "tariffs"
CDRS = sorted(VECTORS.glob("*/cdr*.json"))
TARIFFS = sorted(VECTORS.glob("*/tariff.json"))

# Where a vector says something else than the specification, and what the specification says.
CONTRADICTIONS = {
    # The vector leaves min_price out. mod_tariffs: "if less than 2 kWh is charged, € 0.50 (excl.
    # VAT) or € 0.55 (incl. VAT) will be billed".
    "025kwh_min_price/cdr2_less_than_2kWh.json": ("0.50", "0.55"),
    # The vector states TIME volumes of 0.0834 h, also for the period from 17:00 to 17:02. We go by
    # the timestamps: 5 minutes at 1.20, 2 at 2.40, then 5 minutes of parking billed as 15.
    "step_size/cdr1.json": ("0.43", "0.43"),
}


def read(path: Path) -> Any:
    return json.loads(path.read_text(), parse_float=Decimal)


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def price_of(cdr_path: Path) -> Price:
    tariff = Tariff.parse(read(cdr_path.parent / "tariff.json"))
    cdr = read(cdr_path)
    charge = Charge(
        moment(cdr["start_date_time"]),
        moment(cdr["end_date_time"]),
        tuple(period(raw) for raw in cdr["charging_periods"]),
    )
    return price_charge(tariff, charge, time_zone=UTC, vat_percent=None)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def period(raw: Any) -> ChargingPeriod:
    volumes = {each["type"]: each["volume"] for each in raw["dimensions"]}
    return ChargingPeriod(
        moment(raw["start_date_time"]),
        wh_from_kwh(volumes.get("ENERGY", 0)),
        parking="PARKING_TIME" in volumes,
    )


def test_all_nine_charges_are_here() -> None:
    assert (len(CDRS), len(TARIFFS)) == (9, 24)


@pytest.mark.parametrize("path", CDRS, ids=named)
def test_a_charge_costs_what_its_vector_says(path: Path) -> None:
    stated = read(path)["total_cost"]
    expected = CONTRADICTIONS.get(named(path), (stated["excl_vat"], stated["incl_vat"]))
    price = price_of(path)
    assert (price.excl_vat.decimal, price.incl_vat.decimal) == tuple(map(Decimal, expected))


@pytest.mark.parametrize("path", TARIFFS, ids=named)
def test_a_tariff_is_written_as_it_was_read(path: Path) -> None:
    raw = json.loads(path.read_text())
    tariff = Tariff.parse(raw)
    assert tariff.to_json() == raw
    assert Tariff.parse(json.loads(json.dumps(tariff.to_json()))) == tariff


def real_tariffs() -> list[Any]:
    text = gzip.decompress((VECTORS / "ndw_2026-06_shapes.jsonl.gz").read_bytes()).decode()
    return [json.loads(line) for line in text.splitlines()]


def test_every_shape_of_tariff_that_operators_publish_is_understood() -> None:
    raw = real_tariffs()
    assert max(len(each["elements"]) for each in raw) == 97
    for each in raw:
        tariff = Tariff.parse(each)
        assert Tariff.parse(json.loads(json.dumps(tariff.to_json()))) == tariff


@pytest.mark.parametrize("raw", real_tariffs(), ids=lambda raw: raw["id"][:12])
def test_every_shape_of_tariff_breaks_with_a_path_when_a_price_is_lost(raw: Any) -> None:
    del raw["elements"][-1]["price_components"][0]["price"]
    with pytest.raises(BadTariff) as refusal:
        Tariff.parse(raw)
    assert refusal.value.field == f"elements[{len(raw['elements']) - 1}].price_components[0].price"
