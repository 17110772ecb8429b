"""The picture of the day follows from the log alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from console.day import SHOWN_REFUSALS, Day
from kit.event_log import Cursor, Event
from roaming.events import EventType

NOON = datetime(2024, 12, 19, 12, tzinfo=UTC)


def told(kind: EventType, **body: Any) -> Event:
    return Event(Cursor(1, 1), "s", 1, kind, "FR*PD1", NOON, NOON, None, None, body)


def decided(reason: str | None) -> Event:
    return told(
        EventType.AUTHORISATION_DECIDED,
        evse_id="FRPD1E1",
        decision="refused" if reason else "accepted",
        reason=reason,
        evsp=None,
    )


def cdr(debtor: str, amount: str, energy_wh: int = 1000) -> Event:
    return told(
        EventType.CDR_ACCEPTED,
        evse_id="FRPD1E1",
        debtor=debtor,
        creditor="FR*PD1",
        energy_wh=energy_wh,
        price={"currency": "EUR", "excl_vat": amount},
    )


def test_debts_add_up_by_pair_and_currency() -> None:
    day = Day()
    for event in (cdr("NL*ALF", "1.25"), cdr("NL*ALF", "0.75"), cdr("DE*BET", "3.00")):
        day.apply(event)
    assert [(d["debtor"], d["amount_minor"], d["cdrs"]) for d in day.state()["debts"]] == [
        ("NL*ALF", 200, 2),
        ("DE*BET", 300, 1),
    ]
    assert (day.cdrs, day.energy_wh) == (3, 3000)


def test_a_charge_is_lit_from_its_start_to_its_stop() -> None:
    day = Day()
    assert day.apply(told(EventType.CHARGE_STARTED, evse_id="FRPD1E1")) == {
        "clock": "2024-12-19T12:00:00+00:00",
        "kind": "started",
        "evse": "FRPD1E1",
    }
    assert day.state()["charging"] == ["FRPD1E1"]
    day.apply(told(EventType.CHARGE_STOPPED, evse_id="FRPD1E1"))
    assert day.state()["charging"] == []


def test_refusals_are_counted_for_ever_and_shown_for_a_while() -> None:
    day = Day()
    for _ in range(SHOWN_REFUSALS + 5):
        day.apply(decided("unknown-contract"))
    day.apply(decided(None))
    assert day.refused == {"unknown-contract": SHOWN_REFUSALS + 5}
    assert len(day.state()["refusals"]) == SHOWN_REFUSALS
    assert day.authorised == 1


def test_an_event_that_the_page_does_not_show_changes_nothing() -> None:
    day = Day()
    assert day.apply(told(EventType.OCPP_MESSAGE, action="Heartbeat")) is None
    assert day.state() == Day().state()
