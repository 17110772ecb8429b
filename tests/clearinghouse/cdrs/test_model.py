"""One charge is known again, under whatever name it comes."""

from __future__ import annotations

from clearinghouse.cdrs.model import fingerprint
from tests.clearinghouse.cdrs.fakes import (
    CONTRACT,
    OTHER_CONTRACT,
    period,
    submission,
)


def test_one_charge_has_one_fingerprint_whatever_it_is_called() -> None:
    one = submission("A-1")
    copy = submission("A-2", start="2025-01-15T13:00:00+01:00", periods=[period(0, 10_000)])
    assert fingerprint(one, CONTRACT) == fingerprint(copy, CONTRACT)
    for told in ({"energy_wh": 10_001}, {"end": "2025-01-15T13:00:01Z"}, {"evse_id": "FR*PD1*E2"}):
        assert fingerprint(one, CONTRACT) != fingerprint(submission(**told), CONTRACT)
    assert fingerprint(one, CONTRACT) != fingerprint(one, OTHER_CONTRACT)
