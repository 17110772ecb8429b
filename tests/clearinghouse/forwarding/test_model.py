"""What an EVSP's answer means for the records, and how long to wait after a bad one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from clearinghouse.forwarding.model import (
    BackOff,
    Place,
    Reply,
    Verdict,
    delivery_id,
    replay_id,
    verdict,
)
from roaming.party import PartyId

EVSP = PartyId("DE*BET")


@pytest.mark.parametrize(
    ("status", "means"),
    [
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (400, Verdict.REFUSED),
        (409, Verdict.REFUSED),
        (413, Verdict.REFUSED),
        (422, Verdict.REFUSED),
        (None, Verdict.RETRY),
        (302, Verdict.RETRY),
        (401, Verdict.RETRY),
        (404, Verdict.RETRY),
        (408, Verdict.RETRY),
        (429, Verdict.RETRY),
        (500, Verdict.RETRY),
        (599, Verdict.RETRY),
    ],
)
def test_an_answer_is_delivery_refusal_or_a_reason_to_try_again(
    status: int | None, means: Verdict
) -> None:
    assert verdict(Reply(status, "")) is means


def test_an_id_belongs_to_a_stretch_of_the_log() -> None:
    one = delivery_id(EVSP, Place(7, 1), Place(9, 4))
    assert one == "DEBET-7-1-9-4"
    assert one != delivery_id(EVSP, Place(7, 1), Place(9, 5))
    assert replay_id(EVSP, 4, 1) != replay_id(EVSP, 4, 2)


@given(some.integers(1, 10_000), some.floats(0, 1, exclude_max=True))
def test_a_pause_doubles_up_to_a_minute(failures: int, chance: float) -> None:
    pause_s = BackOff().pause_s(failures, chance)
    full = min(60.0, 0.2 * 2 ** min(failures - 1, 20))
    assert full / 2 <= pause_s <= full
