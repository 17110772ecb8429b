"""EVSE ids: many spellings, one look-up form, and ids of other things kept out."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roaming.evse_id import EvseId
from roaming.identifier import BadIdentifier
from roaming.party import PartyId

VECTORS = list(
    csv.DictReader((Path(__file__).parent / "vectors/evse_ids.csv").read_text().splitlines())
)
evse_ids = st.from_regex(r"\A[A-Z]{2}[A-Z0-9]{3}E[A-Z0-9]{1,31}\Z").map(EvseId)


@pytest.mark.parametrize(
    "vector", [one for one in VECTORS if one["normalised"]], ids=lambda one: one["given"]
)
def test_published_ids_are_normalised(vector: dict[str, str]) -> None:
    assert str(EvseId(vector["given"])) == vector["normalised"]


@pytest.mark.parametrize(
    "vector", [one for one in VECTORS if not one["normalised"]], ids=lambda one: one["given"]
)
def test_published_ids_of_other_things_are_refused(vector: dict[str, str]) -> None:
    with pytest.raises(BadIdentifier) as refusal:
        EvseId(vector["given"])
    assert refusal.value.field == "evse_id"
    assert refusal.value.value == vector["given"]


def test_the_parts_can_be_read() -> None:
    evse = EvseId(" fr*pd1*e*corgl-1 ")
    assert str(evse) == "FRPD1ECORGL1"
    assert evse.party == PartyId("FR*PD1")
    assert evse.display == "FR*PD1*ECORGL1"
    assert repr(evse) == "EvseId('FRPD1ECORGL1')"


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "FRPD1",
        "FRPD1E",
        "FR*PD1*E*",
        "FRPD1E" + "1" * 32,
        "FRPD1E1 2",
        "FRPD1E1\u0660",
        "F1PD1E1",
        "49*810*000*438*",
        "+49810000438",
        "+999*810*000*438",
        "+49*810*" + "1" * 32,
    ],
)
def test_anything_else_is_refused(wrong: str) -> None:
    with pytest.raises(BadIdentifier):
        EvseId(wrong)


@pytest.mark.parametrize("wrong", [None, 7, ["FRPD1E1"]])
def test_what_is_no_text_is_refused(wrong: object) -> None:
    with pytest.raises(BadIdentifier):
        EvseId(wrong)  # type: ignore[arg-type]


def test_a_dialling_code_nobody_can_map_is_named() -> None:
    with pytest.raises(BadIdentifier, match="999"):
        EvseId("+999*810*000*438")


def test_the_longest_instance_has_31_characters() -> None:
    assert len(EvseId("FR*PD1*E" + "*1" * 31)) == 37


@given(evse_ids)
def test_what_is_shown_leads_back_to_the_id(evse: EvseId) -> None:
    assert EvseId(evse) is evse
    assert EvseId(evse.display) == EvseId(evse.lower()) == evse
    assert evse.display.startswith(evse.party)


@given(evse_ids, st.lists(st.integers(6, 36), max_size=5))
def test_separators_carry_no_meaning(evse: EvseId, places: list[int]) -> None:
    spelt = str(evse)
    for place in sorted(places, reverse=True):
        if place < len(evse):
            spelt = f"{spelt[:place]}*{spelt[place:]}"
    assert EvseId(spelt) == evse


@given(st.text(alphabet="FRPD1E*-+49 \u0131", max_size=14))
def test_any_text_is_an_id_or_a_refusal(text: str) -> None:
    try:
        evse = EvseId(text)
    except BadIdentifier:
        return
    assert EvseId(evse.display) == evse
