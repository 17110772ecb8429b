"""Party ids: one spelling for all of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roaming.identifier import BadIdentifier
from roaming.party import PartyId

parties = st.from_regex(r"\A[A-Z]{2}\*[A-Z0-9]{3}\Z").map(PartyId)


@pytest.mark.parametrize("given_", ["FR*PD1", "FRPD1", "FR-PD1", "frpd1", " Fr*Pd1 "])
def test_every_spelling_gives_the_canonical_one(given_: str) -> None:
    assert str(PartyId(given_)) == "FR*PD1"


def test_the_parts_can_be_read() -> None:
    party = PartyId("FRPD1")
    assert (party.country, party.code) == ("FR", "PD1")
    assert (party.compact, party.dashed) == ("FRPD1", "FR-PD1")
    assert repr(party) == "PartyId('FR*PD1')"


def test_the_hub_is_a_party_though_its_country_is_none() -> None:
    assert PartyId("EU*GRD").country == "EU"


@pytest.mark.parametrize(
    "wrong", ["", "FR", "FR*PD", "FR*PD12", "F1*PD1", "FR**PD1", "FR PD1", "FR*PD1\n*", "FR*P*1"]
)
def test_anything_else_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(BadIdentifier) as refusal:
        PartyId(wrong)
    assert refusal.value.field == "party"
    assert refusal.value.value == wrong


@pytest.mark.parametrize("wrong", [None, 7, ["FR*PD1"], b"FRPD1"])
def test_what_is_no_text_is_refused(wrong: object) -> None:
    with pytest.raises(BadIdentifier):
        PartyId(wrong)  # type: ignore[arg-type]


@given(parties)
def test_every_form_leads_back_to_the_party(party: PartyId) -> None:
    assert PartyId(party) is party
    assert PartyId(party.compact) == PartyId(party.dashed) == PartyId(party.lower()) == party


@given(st.text(max_size=8))
def test_any_text_is_a_party_or_a_refusal(text: str) -> None:
    try:
        party = PartyId(text)
    except BadIdentifier:
        return
    assert PartyId(party.compact) == party
