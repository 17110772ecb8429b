"""Contract ids: the published vectors, and what the check digits promise."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from roaming.contract_id import ContractId, check_digit, din_check_digit
from roaming.identifier import BadIdentifier
from roaming.party import PartyId

FOLDER = Path(__file__).parent / "vectors"
CHECK_DIGITS = list(
    csv.DictReader((FOLDER / "emaid_check_digits.csv").read_text().splitlines()),
)
EQUALITIES = json.loads((FOLDER / "emaid_equalities.json").read_text())
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
codes = st.from_regex(r"\A[A-Z]{2}[A-Z0-9]{12}\Z")
contracts = codes.map(ContractId)
din_codes = st.from_regex(r"\A[A-Z]{2}[A-Z0-9]{3}[0-9]{6}\Z")


@pytest.mark.parametrize(
    "vector",
    CHECK_DIGITS,
    ids=lambda one: f"{one['contract_id_without_check_digit']}-{one['check_digit']}",
)
def test_published_contract_ids_pass_or_fail_as_published(vector: dict[str, str]) -> None:
    code = vector["contract_id_without_check_digit"]
    if vector["valid"] == "1":
        assert ContractId(code + vector["check_digit"]) == ContractId(code)
    else:
        with pytest.raises(BadIdentifier):
            ContractId(code + vector["check_digit"])


def test_the_check_digits_of_both_standards_are_as_published() -> None:
    for code, digit in EQUALITIES["iso15118_emaid_14chars_to_check_digit"].items():
        assert check_digit(code) == digit
    for code, digit in EQUALITIES["din_spec_91286_11chars_to_check_digit"].items():
        assert din_check_digit(code) == digit


def test_the_two_standards_name_the_same_contract() -> None:
    for din, iso in EQUALITIES["din_equals_iso"]:
        assert ContractId(din) == ContractId(iso)
        assert ContractId(iso).din == din


def test_the_parts_can_be_read() -> None:
    contract = ContractId(" fr-xyz-123456789 ")
    assert str(contract) == "FRXYZ1234567892"
    assert contract.provider == PartyId("FR*XYZ")
    assert contract.display == "FR-XYZ-123456789-2"
    assert contract.check_digit == "2"
    assert contract.din is None
    assert repr(contract) == "ContractId('FRXYZ1234567892')"


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ("FR-XYZ-123456789-3", "the ISO 15118-1 check digit must be 2"),
        ("NL-TNM-012204-6", "the DIN SPEC 91286 check digit must be 5"),
    ],
)
def test_a_wrong_check_digit_is_refused_with_the_right_one(wrong: str, rule: str) -> None:
    with pytest.raises(BadIdentifier) as refusal:
        ContractId(wrong)
    assert (refusal.value.field, refusal.value.value) == ("contract_id", wrong)
    assert refusal.value.rule == rule


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "FR-XYZ-12345678-9",
        "FR-XYZ-1234567890-1",
        "FRXYZ12345678922",
        "F1XYZ1234567892",
        "FR-XYZ-1234 6789",
        "DE-8AC-C12E456L89-Y",
        "FRXYZ12345678\u0661",
    ],
)
def test_anything_else_is_refused(wrong: str) -> None:
    with pytest.raises(BadIdentifier):
        ContractId(wrong)


@pytest.mark.parametrize("wrong", [None, 7, ["FRXYZ123456789"]])
def test_what_is_no_text_is_refused(wrong: object) -> None:
    with pytest.raises(BadIdentifier):
        ContractId(wrong)  # type: ignore[arg-type]


@given(contracts)
def test_what_is_shown_leads_back_to_the_contract(contract: ContractId) -> None:
    assert ContractId(contract) is contract
    assert ContractId(contract.display) == ContractId(contract.lower()) == contract
    assert ContractId(contract[:14]) == contract


@given(contracts, st.integers(0, 14), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_always_noticed(
    contract: ContractId, place: int, other: str
) -> None:
    assume(contract[place] != other)
    with pytest.raises(BadIdentifier):
        ContractId(contract[:place] + other + contract[place + 1 :])


@given(contracts, st.integers(0, 13))
def test_two_swapped_neighbours_are_always_noticed(contract: ContractId, place: int) -> None:
    one, other = contract[place], contract[place + 1]
    assume(one != other)
    with pytest.raises(BadIdentifier):
        ContractId(contract[:place] + other + one + contract[place + 2 :])


@given(contracts, st.integers(0, 12))
def test_two_characters_swapped_around_a_third_are_always_noticed(
    contract: ContractId, place: int
) -> None:
    one, middle, other = tuple(contract[place : place + 3])
    assume(one != other)
    with pytest.raises(BadIdentifier):
        ContractId(contract[:place] + other + middle + one + contract[place + 3 :])


@given(codes, st.integers(5, 12), st.sampled_from(ALPHABET), st.sampled_from(ALPHABET))
def test_a_wrong_pair_of_twins_is_always_noticed(code: str, place: int, one: str, two: str) -> None:
    assume(one != two)
    meant = ContractId(code[:place] + one * 2 + code[place + 2 :])
    with pytest.raises(BadIdentifier):
        ContractId(meant[:place] + two * 2 + meant[place + 2 :])


@given(din_codes)
def test_a_din_contract_survives_its_iso_form(code: str) -> None:
    contract = ContractId(code)
    assert contract.din is not None
    assert ContractId(contract.din) == ContractId(contract.display) == contract
    assert contract.provider.compact == code[:5]


@given(din_codes, st.integers(5, 10), st.sampled_from("0123456789"))
def test_one_wrong_digit_of_a_din_instance_is_always_noticed(
    code: str, place: int, other: str
) -> None:
    assume(code[place] != other)
    wrong = code[:place] + other + code[place + 1 :] + din_check_digit(code)
    with pytest.raises(BadIdentifier):
        ContractId(wrong)


@given(din_codes, st.integers(5, 9))
def test_two_swapped_digits_of_a_din_instance_are_always_noticed(code: str, place: int) -> None:
    one, other = code[place], code[place + 1]
    assume(one != other)
    wrong = code[:place] + other + one + code[place + 2 :] + din_check_digit(code)
    with pytest.raises(BadIdentifier):
        ContractId(wrong)


def test_the_din_check_digit_takes_some_letters_for_each_other_and_the_iso_one_does_not() -> None:
    assert din_check_digit("NLTNM01220A") == din_check_digit("NLTNM01220P")
    assert ContractId("NLTNM01220A")[14] != ContractId("NLTNM01220P")[14]
