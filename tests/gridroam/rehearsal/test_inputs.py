"""The files of a replay: a bad line costs only itself, a bad agreement ends the replay."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from gridroam.rehearsal import inputs
from roaming.refusal import Malformed

CUSTOMER = {
    "contract_id": "NLTNM000122045U",
    "token_uid": "04a2b3c4",
    "evsp": "NL*TNM",
    "status": "active",
}
AGREEMENT = {
    "operator": "FR*PD1",
    "evsp": "NL*TNM",
    "currency": "EUR",
    "tariff": {"elements": [{"price_components": [{"type": "ENERGY", "price": 0.30}]}]},
    "vat_percent": 20,
    "valid_from": "2024-01-01T00:00:00+01:00",
    "valid_until": None,
    "time_zone": "Europe/Paris",
}
CHARGE = {
    "evse_id": "FR*PD1*E1",
    "token_uid": "04A2B3C4",
    "start": "2024-12-19T08:00:00+01:00",
    "end": "2024-12-19T09:00:00+01:00",
    "energy_kwh": 10.0005,
}


def files(folder: Path, **texts: str) -> dict[str, Path]:
    given = {
        "evses": "",
        "customers": json.dumps(CUSTOMER),
        "agreements": json.dumps([AGREEMENT]),
        "charges": json.dumps(CHARGE),
        **texts,
    }
    paths = {}
    for name, text in given.items():
        paths[name] = folder / name
        paths[name].write_text(text)
    return paths


def test_energy_is_read_exactly_and_rounded_half_up_to_a_watt_hour(tmp_path: Path) -> None:
    read = inputs.read(**files(tmp_path))
    assert read.charges[0].energy_wh == 10001
    assert (
        read.agreements[0].terms["tariff"]["elements"][0]["price_components"][0]["price"].as_tuple()
    )


def test_a_bad_line_is_told_with_its_number_and_costs_only_itself(tmp_path: Path) -> None:
    lines = [
        json.dumps(CHARGE),
        "{",
        "",
        json.dumps({**CHARGE, "start": "2024-12-19T08:00:00"}),
        json.dumps({"evse_id": "FR*PD1*E1"}),
        json.dumps({**CHARGE, "end": "2024-12-19T10:00:00+01:00"}),
    ]
    read = inputs.read(**files(tmp_path, charges="\n".join(lines)))
    assert [charge.line for charge in read.charges] == [1, 6]
    assert [bad.line for bad in read.bad_lines] == [2, 4, 5]
    assert "offset" in read.bad_lines[1].reason


def test_a_customer_of_unknown_status_is_told(tmp_path: Path) -> None:
    read = inputs.read(**files(tmp_path, customers=json.dumps({**CUSTOMER, "status": "gone"})))
    assert read.customers == []
    assert "neither active nor blocked" in read.bad_lines[0].reason


def test_an_agreement_that_cannot_be_read_ends_the_replay(tmp_path: Path) -> None:
    broken = [{**AGREEMENT, "operator": "nobody at all"}]
    with pytest.raises(Malformed, match="nobody at all"):
        inputs.read(**files(tmp_path, agreements=json.dumps(broken)))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    paths = files(tmp_path)
    paths["charges"] = tmp_path / "nowhere.jsonl"
    with pytest.raises(Malformed, match=r"nowhere\.jsonl"):
        inputs.read(**paths)


def test_packed_files_are_read_as_they_are(tmp_path: Path) -> None:
    paths = files(tmp_path)
    packed = tmp_path / "charges.jsonl.gz"
    packed.write_bytes(gzip.compress(json.dumps(CHARGE).encode()))
    assert len(inputs.read(**{**paths, "charges": packed}).charges) == 1
