"""To whom what is told of an event."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.audit.model import (
    BadQuestion,
    Entry,
    NotYourAudit,
    Place,
    asked_by,
    place_of,
    told_to,
)
from roaming.party import PartyId

HUB, ONE, OTHER = PartyId("EU*GRD"), PartyId("FR*PD1"), PartyId("DE*BET")
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def entry(on_behalf_of: str | None) -> Entry:
    return Entry(
        place=Place(7, 9),
        type="contract-agreed",
        party=ONE,
        stream="contract:1",
        occurred_at=NOON,
        recorded_at=NOON,
        correlation_id=None,
        actor="person:0190",
        actor_name="Ada",
        on_behalf_of=on_behalf_of,
        body={},
    )


numbers = st.integers(0, 2**63 - 1)


@given(numbers, numbers)
def test_a_cursor_comes_back_as_it_was(xid: int, position: int) -> None:
    assert place_of(str(Place(xid, position))) == (xid, position)


@pytest.mark.parametrize("text", ["", "-", "1", "1-", "-1", "1-2-3", "1--2", f"{2**63}-1", "٣-1"])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadQuestion):
        place_of(text)


def test_the_hub_asks_about_everybody_and_others_about_themselves() -> None:
    assert asked_by(HUB, None, hub=HUB) is None
    assert asked_by(HUB, ONE, hub=HUB) == ONE
    assert asked_by(ONE, None, hub=HUB) == asked_by(ONE, ONE, hub=HUB) == ONE
    with pytest.raises(NotYourAudit):
        asked_by(ONE, OTHER, hub=HUB)


def test_who_acts_for_another_is_told_by_kind() -> None:
    assert told_to(entry(ONE), ONE) == told_to(entry(ONE), None) == entry(ONE)
    hidden = told_to(entry(OTHER), ONE)
    assert (hidden.actor, hidden.actor_name, hidden.on_behalf_of) == ("person", None, OTHER)
