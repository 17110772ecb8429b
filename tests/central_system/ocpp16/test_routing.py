"""The table of messages is what we say that we speak."""

from __future__ import annotations

from central_system.ocpp16.routing import KNOWN, ROUTES


def test_the_first_slice_of_the_central_system_is_routed() -> None:
    assert set(ROUTES) == {
        "Authorize",
        "BootNotification",
        "DataTransfer",
        "Heartbeat",
        "MeterValues",
        "StartTransaction",
        "StatusNotification",
        "StopTransaction",
    }
    assert set(ROUTES) < KNOWN
    assert "Reset" in KNOWN
