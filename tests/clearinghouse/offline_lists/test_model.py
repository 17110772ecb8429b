"""Offline lists: what is read of whom, and when an entry ends."""

from __future__ import annotations

from datetime import UTC, datetime

from clearinghouse.offline_lists.model import (
    Part,
    Place,
    Stage,
    ends,
    fits_ocpp16,
    parts,
    places,
)
from roaming.party import PartyId
from roaming.token import TokenUid

ABC, XYZ = PartyId("DE*ABC"), PartyId("FR*XYZ")
SOON, LATER = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)


def test_a_full_list_reads_everything_of_those_who_share_now() -> None:
    assert parts({XYZ: None, ABC: SOON}, None) == [
        Part(ABC, True, (Stage.ALL,)),
        Part(XYZ, True, (Stage.ALL,)),
    ]


def test_a_difference_reads_only_changes_unless_an_evsp_has_come_or_gone() -> None:
    (stays,) = parts({XYZ: SOON}, {XYZ: SOON})
    assert stays.stages == (Stage.CHANGED, Stage.BEGUN, Stage.GIVEN_UP)
    (prolonged,) = parts({XYZ: LATER}, {XYZ: SOON})
    assert prolonged.stages == (Stage.ALL, Stage.CHANGED, Stage.GIVEN_UP)
    came, went = parts({ABC: None}, {XYZ: None})
    assert (came.listed, came.stages) == (True, (Stage.ALL,))
    assert (went.listed, went.stages) == (False, (Stage.GONE, Stage.GIVEN_UP))


def test_a_reader_goes_on_where_it_is_and_misses_no_stage_behind() -> None:
    whole = parts({ABC: None, XYZ: None}, {ABC: None, XYZ: None})
    every = [place for _, place in places(whole, None)]
    assert len(every) == 6
    for number, place in enumerate(every):
        here = Place(place.evsp, place.stage, ("1", "x"))
        assert [one for _, one in places(whole, here)] == [here, *every[number + 1 :]]


def test_an_entry_ends_with_its_contract_or_with_the_agreement() -> None:
    assert ends(None, None) is None
    assert ends(SOON, None) == ends(None, SOON) == ends(LATER, SOON) == SOON


def test_ocpp_16_takes_cards_of_twenty_characters() -> None:
    assert fits_ocpp16(TokenUid("A" * 20))
    assert not fits_ocpp16(TokenUid("A" * 21))
