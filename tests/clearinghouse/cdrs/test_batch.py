"""Records of one batch, beside each other and beside what is on record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from clearinghouse.cdrs.batch import with_overlaps
from clearinghouse.cdrs.life import State
from clearinghouse.cdrs.model import Cdr
from tests.clearinghouse.cdrs.fakes import (
    CONTRACT,
    EVSP,
    NOON,
    NOW,
    OPERATOR,
    submission,
)


def booked(
    cdr_id: str, minutes: int, lasting: int, evse_id: str = "FR*PD1*E1", tag: bytes = b""
) -> Cdr:
    start = NOON + timedelta(minutes=minutes)
    end = start + timedelta(minutes=lasting)
    told = submission(cdr_id, start=start.isoformat(), end=end.isoformat(), evse_id=evse_id)
    return Cdr(told, State.ACCEPTED, (), EVSP, CONTRACT, None, tag or cdr_id.encode(), NOW)


def test_charges_that_share_time_on_one_evse_are_told_of_each_other_in_order() -> None:
    batch = [
        booked("a", 0, 60),
        booked("b", 60, 60),
        booked("c", 59, 2),
        booked("d", 0, 60, "FR*PD1*E2"),
        booked("a", 0, 30),
        booked("copy", 0, 30, tag=b"a"),
        replace(booked("no", 0, 60), state=State.REJECTED, fingerprint=None),
        booked("known", 300, 1),
    ]
    noted = with_overlaps(batch, {(OPERATOR, "known"): "older"})
    told = {one.submission.cdr_id: one.notices[0].says for one in noted if one.notices}
    assert {cdr_id: "cdr a" in says for cdr_id, says in told.items()} == {
        "c": True,
        "known": False,
    }
    assert "cdr older" in told["known"]
    assert [one.key for one in noted] == [one.key for one in batch]
