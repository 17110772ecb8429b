"""The files of the shipped day keep what their README says of them."""

from __future__ import annotations

import csv
import gzip
import json
import re
import runpy
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

DAY = Path(__file__).parents[2] / "examples" / "roaming_day"


CheckDigit = Callable[[str], str]


@pytest.fixture(scope="module")
def check_digit() -> CheckDigit:
    """The generator's own, taken out of the file beside the data."""
    found: CheckDigit = runpy.run_path(str(DAY / "make_day.py"))["check_digit"]
    return found


def rows(name: str) -> list[dict[str, Any]]:
    text = (DAY / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_all_of_it_is_at_most_three_megabytes() -> None:
    assert sum(file.stat().st_size for file in DAY.iterdir() if file.is_file()) <= 3_000_000


def test_every_charge_is_of_the_day_on_a_charge_point_that_is_there() -> None:
    text = gzip.decompress((DAY / "evses.csv.gz").read_bytes()).decode()
    points = [row["id_pdc_itinerance"] for row in csv.DictReader(text.splitlines(True))]
    charges = rows("charges.jsonl")
    assert len(points) == len(set(points)) == 1518
    assert {charge["evse_id"] for charge in charges} == set(points)
    assert {charge["start"][:10] for charge in charges} == {"2024-12-19"}
    assert all(re.fullmatch(r".*\+01:00", charge["end"]) for charge in charges)


@pytest.mark.parametrize(
    ("code", "digit"),
    [("FRXYZ123456789", "2"), ("DE83DUIEN83QGZ", "D"), ("NLTNM000122045", "U")],
)
def test_check_digits_agree_with_published_ones(
    check_digit: CheckDigit, code: str, digit: str
) -> None:
    assert check_digit(code) == digit


def test_every_customer_has_a_sound_contract_and_a_card_of_his_own(check_digit: CheckDigit) -> None:
    customers = rows("customers.jsonl")
    assert len(customers) == 1050
    for customer in customers:
        contract_id = customer["contract_id"]
        assert contract_id[:5] == customer["evsp"].replace("*", "")
        assert check_digit(contract_id[:14]) == contract_id[14:]
        assert re.fullmatch(r"[0-9A-F]{8}|04[0-9A-F]{12}", customer["token_uid"])
    assert len({customer["token_uid"] for customer in customers}) == len(customers)
    assert len({customer["contract_id"] for customer in customers}) == len(customers)


def test_nobody_charges_at_two_places_at_once() -> None:
    known = {customer["token_uid"] for customer in rows("customers.jsonl")}
    by_card: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for charge in rows("charges.jsonl"):
        if charge["token_uid"] in known:
            times = datetime.fromisoformat(charge["start"]), datetime.fromisoformat(charge["end"])
            by_card[charge["token_uid"]].append(times)
    for charged in by_card.values():
        for (_, end), (start, _) in pairwise(sorted(charged)):
            assert end <= start


def test_parties_are_those_of_the_other_files_and_say_what_is_invented() -> None:
    parties = {row["party"]: row for row in json.loads((DAY / "parties.json").read_text())}
    agreements = json.loads((DAY / "agreements.json").read_text(encoding="utf-8"))
    evsps = {party for party, row in parties.items() if "evsp" in row["roles"]}
    operators = {party for party, row in parties.items() if "evse-operator" in row["roles"]}
    assert {row["evsp"] for row in rows("customers.jsonl")} == evsps
    assert {row["evsp"] for row in agreements} == evsps
    assert {row["operator"] for row in agreements} == operators
    assert len(evsps & operators) == 3
    assert all("evsp" in parties[party]["invented"] for party in evsps)
    assert {party for party, row in parties.items() if "party" in row["invented"]} == (
        evsps - operators
    )
