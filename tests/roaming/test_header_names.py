"""Headers that partners may exchange, and those that are the hub's own."""

from __future__ import annotations

import pytest

from gateway.calls.forwarded_headers import UNITS
from roaming.header_names import may_be_passed_on


@pytest.mark.parametrize(
    "name", ["X-Version", "OCPI-from-party-id", "x-total-count", "Content-MD5"]
)
def test_what_means_nothing_here_may_be_passed_on(name: str) -> None:
    assert may_be_passed_on(name)


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "COOKIE", "X-Caller-Party", "X-JWS-Signature", "Content-Length", "Host"),
        *("Proxy-Connection", "X-Forwarded-For", "Access-Control-Allow-Origin", "Sec-Fetch-Mode"),
        *("", "X Version", "X-Version:", "X-\r\nY", "X-Ver\u00e9", "x" * 65, UNITS.decode()),
    ],
)
def test_what_tells_who_calls_or_belongs_to_one_hop_may_not(name: str) -> None:
    assert not may_be_passed_on(name)
