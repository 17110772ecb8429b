"""How every identifier is refused: with field, value and rule, and never at length."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from kit.encoding import encode_json
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from roaming.identifier import BadIdentifier, refused, tidied
from roaming.party import PartyId
from roaming.refusal import Malformed
from roaming.token import TokenUid

ONE_OF_EACH = [
    PartyId("frpd1"),
    EvseId("fr*pd1*e1"),
    ContractId("NL-TNM-012204-5"),
    TokenUid("04a2bf11"),
]


def test_a_refusal_names_field_value_and_rule() -> None:
    refusal = refused("party", "F?", "two letters")
    assert isinstance(refusal, Malformed)
    assert (refusal.field, refusal.value, refusal.rule) == ("party", "F?", "two letters")
    assert refusal.detail == "party 'F?': two letters"


def test_a_very_long_value_is_told_in_part() -> None:
    assert len(refused("party", "x" * 100_000, "short").detail) < 200


def test_something_that_is_no_text_is_told_by_its_kind() -> None:
    assert refused("party", {"a": "secret"}, "text").value == "dict"


def test_surrounding_blanks_and_case_are_harmless() -> None:
    assert tidied("party", " fr*pd1\r\n", "") == "FR*PD1"


@pytest.mark.parametrize("value", ["fr*pd\N{LATIN SMALL LETTER LONG S}", "FR*PD\u0661", None, 12])
def test_only_ascii_text_is_tidied(value: object) -> None:
    with pytest.raises(BadIdentifier):
        tidied("party", value, "")


@pytest.mark.parametrize("identifier", ONE_OF_EACH, ids=lambda one: type(one).__name__)
def test_an_identifier_survives_copies_and_pickles_with_its_type(identifier: str) -> None:
    for twin in (copy.deepcopy(identifier), pickle.loads(pickle.dumps(identifier))):
        assert (type(twin), twin) == (type(identifier), identifier)


@pytest.mark.parametrize("identifier", ONE_OF_EACH, ids=lambda one: type(one).__name__)
def test_an_identifier_is_a_plain_text_in_json(identifier: str) -> None:
    assert json.loads(json.dumps({identifier: identifier})) == {str(identifier): str(identifier)}
    assert json.loads(encode_json({identifier: [identifier]})) == {identifier: [identifier]}


@pytest.mark.parametrize("identifier", ONE_OF_EACH, ids=lambda one: type(one).__name__)
def test_an_identifier_equals_its_text_and_hashes_like_it(identifier: str) -> None:
    assert {str(identifier): 1}[identifier] == 1
    assert type(str(identifier)) is str
