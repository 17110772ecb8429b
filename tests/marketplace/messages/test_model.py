"""Whom a fact concerns, what an answer means, and how long to wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from marketplace.messages.model import BackOff, Fact, Reply, Verdict, verdict
from roaming.events import EventType
from roaming.party import PartyId

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OPERATOR, EVSP = PartyId("FR*PD1"), PartyId("DE*EVL")


def test_each_party_hears_once_and_the_one_that_acted_first() -> None:
    def hearers(by: PartyId, *parties: PartyId) -> list[PartyId]:
        return Fact("contract:1", EventType.CONTRACT_AGREED, by, parties, {}, NOW).hearers

    assert hearers(OPERATOR, EVSP, OPERATOR) == [OPERATOR, EVSP]
    assert hearers(EVSP, EVSP, OPERATOR) == [EVSP, OPERATOR]
    assert hearers(EVSP, EVSP, EVSP) == [EVSP]
    # The hub acts, and is none of the two.
    assert hearers(PartyId("EU*GRD"), OPERATOR, EVSP) == [EVSP, OPERATOR]


@pytest.mark.parametrize(
    ("status", "means"),
    [
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (302, Verdict.RETRY),
        (400, Verdict.REFUSED),
        (401, Verdict.RETRY),
        (404, Verdict.RETRY),
        (422, Verdict.REFUSED),
        (429, Verdict.RETRY),
        (500, Verdict.RETRY),
        (None, Verdict.RETRY),
    ],
)
def test_an_answer_is_about_the_message_or_about_the_moment(
    status: int | None, means: Verdict
) -> None:
    assert verdict(Reply(status, "")) is means


@given(some.integers(1, 10_000), some.floats(0, 1, exclude_max=True))
def test_pauses_grow_and_stay_bounded(failures: int, chance: float) -> None:
    back_off = BackOff()
    pause = back_off.pause_s(failures, chance)
    assert 0.5 <= pause <= back_off.most_s
    assert pause <= back_off.pause_s(failures + 1, 0.999) * 1.001


def test_a_peer_may_be_down_for_days_before_a_message_is_given_up() -> None:
    back_off = BackOff()
    assert not back_off.hopeless(None, NOW)
    assert not back_off.hopeless(NOW - timedelta(days=6), NOW)
    assert back_off.hopeless(NOW - timedelta(days=7), NOW)
