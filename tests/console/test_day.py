"""The picture of the day follows from the log alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from console.day import LONGEST_CHARGE, SHOWN_REFUSALS, Day
from kit.event_log import Cursor, Event, NewEvent
from roaming.events import EventType
from tests.console import entries
from tests.console.entries import NOON

EVSE = "FRPD1E1"
SHOWN_EVSE = "FR*PD1*E1"
AN_HOUR = timedelta(hours=1)


def recorded(new: NewEvent, *, after: timedelta = AN_HOUR) -> Event:
    return Event(
        Cursor(1, 1), new.stream, 1, new.type, new.party, new.occurred_at,
        new.occurred_at + after, None, None, new.body,
    )  # fmt: skip


def day_of(*told: NewEvent) -> Day:
    day = Day()
    for one in told:
        day.apply(recorded(one))
    return day


def lights(told: Iterable[NewEvent]) -> set[str]:
    """What a page shows as lit that was open all the time."""
    day, lit = Day(), set[str]()
    for one in told:
        change: dict[str, Any] = day.apply(recorded(one)) or {}
        lit -= set(change.get("dark", ()))
        lit |= {change["lit"]} if "lit" in change else set()
        assert lit == set(day.state()["charging"])
    return lit


def test_debts_add_up_by_pair_and_currency() -> None:
    day = day_of(
        entries.cdr(EVSE, "NL*ALF", "1.25"),
        entries.cdr(EVSE, "NL*ALF", "0.75"),
        entries.cdr(EVSE, "DE*BET", "3.00"),
        entries.cdr(EVSE, "NL*ALF", "5.00", currency="CHF"),
    )
    found = day.state()["debts"]
    assert [(d["debtor"], d["currency"], d["amount_minor"], d["cdrs"]) for d in found] == [
        ("NL*ALF", "EUR", 200, 2),
        ("DE*BET", "EUR", 300, 1),
        ("NL*ALF", "CHF", 500, 1),
    ]
    assert (day.cdrs, day.energy_wh) == (4, 80_000)


def test_a_charge_is_lit_from_its_start_to_its_stop_on_the_map_that_has_the_other_form() -> None:
    day = day_of(entries.started(SHOWN_EVSE))
    assert day.state()["charging"] == day.state()["used"] == [EVSE]
    assert day.apply(recorded(entries.stopped(SHOWN_EVSE))) == {
        "clock": NOON.isoformat(),
        "kind": "stopped",
        "dark": [EVSE],
    }
    assert day.state()["charging"] == []


def test_a_charge_at_a_connector_that_is_no_evse_lights_nothing() -> None:
    assert lights([entries.started(None), entries.stopped(None)]) == set()


def test_without_word_from_charge_points_a_charge_is_lit_from_its_card_to_its_record() -> None:
    asked = [entries.authorised("FRPD1E1"), entries.authorised("FRPD1E2")]
    assert lights(asked) == {"FRPD1E1", "FRPD1E2"}
    assert lights([*asked, entries.cdr("FRPD1E1", "NL*ALF", "1.00")]) == {"FRPD1E2"}
    assert lights([*asked, entries.rejected("FRPD1E2")]) == {"FRPD1E1"}


def test_where_charge_points_tell_a_card_alone_lights_nothing() -> None:
    assert lights([entries.started(SHOWN_EVSE), entries.authorised("FRPD1E2")]) == {EVSE}


def test_once_charge_points_tell_what_only_cards_lit_goes_dark() -> None:
    told = [
        entries.authorised("FRPD1E2"),
        entries.authorised("FRABCE1", operator="FR*ABC"),
        entries.started(SHOWN_EVSE),
    ]
    assert lights(told) == {EVSE, "FRABCE1"}


def test_the_record_of_the_last_charge_leaves_the_next_one_lit() -> None:
    told = [
        entries.started(SHOWN_EVSE),
        entries.stopped(SHOWN_EVSE),
        entries.started(SHOWN_EVSE),
        entries.cdr(EVSE, "NL*ALF", "1.00"),
    ]
    assert lights(told) == {EVSE}


def test_a_card_that_is_never_heard_of_again_goes_dark_after_the_longest_charge() -> None:
    first = entries.authorised("FRPD1E1")
    second = entries.authorised("FRPD1E2", at=NOON + LONGEST_CHARGE)
    third = entries.authorised("FRPD1E3", at=NOON + LONGEST_CHARGE + AN_HOUR)
    assert lights([first, second]) == {"FRPD1E1", "FRPD1E2"}
    assert lights([first, second, third]) == {"FRPD1E2", "FRPD1E3"}


def test_refusals_are_counted_for_ever_and_shown_for_a_while() -> None:
    refusals = [entries.refused(EVSE, "unknown-contract") for _ in range(SHOWN_REFUSALS + 5)]
    day = day_of(*refusals, entries.authorised(EVSE))
    assert day.refused == {"unknown-contract": SHOWN_REFUSALS + 5}
    assert len(day.state()["refusals"]) == SHOWN_REFUSALS
    assert day.authorised == 1


def test_the_latest_refusal_is_the_first_and_has_its_own_time() -> None:
    late = NOON - AN_HOUR
    day = day_of(
        entries.refused(EVSE, "unknown-contract"),
        entries.refused(EVSE, "contract-blocked", evsp="NL*ALF", at=late),
    )
    assert day.state()["refusals"][0] == {
        "at": late.isoformat(),
        "evse": EVSE,
        "reason": "contract-blocked",
        "evsp": "NL*ALF",
    }


def test_the_clock_does_not_go_back_for_what_comes_late_nor_on_for_a_record() -> None:
    later = NOON + AN_HOUR
    day = day_of(
        entries.authorised(EVSE, at=later),
        entries.authorised(EVSE, at=NOON),
        entries.cdr(EVSE, "NL*ALF", "1.00", at=later + AN_HOUR),
    )
    assert day.state()["clock"] == later.isoformat()


def test_the_clock_goes_back_to_another_day() -> None:
    day = day_of(entries.authorised(EVSE), entries.authorised(EVSE, at=NOON - timedelta(days=30)))
    assert day.state()["clock"] == (NOON - timedelta(days=30)).isoformat()


def test_what_a_partner_says_of_the_future_is_not_the_time_of_day() -> None:
    day = Day()
    told = recorded(entries.authorised(EVSE, at=NOON + timedelta(days=9)))
    day.apply(replace(told, recorded_at=NOON))
    assert day.state()["clock"] == NOON.isoformat()


def test_only_a_multilateral_clearing_is_shown() -> None:
    day = day_of(entries.cleared("run-1", 3), entries.cleared("run-2", 3, strategy="bilateral"))
    assert day.state()["cleared"] == {"EUR": {"run_id": "run-1", "cdrs": 3}}


def test_what_was_delivered_and_rejected_is_counted() -> None:
    day = day_of(entries.delivered(7), entries.delivered(2), entries.rejected(EVSE))
    assert (day.delivered, day.rejected) == (9, 1)


def test_an_event_that_the_page_does_not_show_changes_nothing() -> None:
    day = Day()
    heartbeat = NewEvent("s", EventType.OCPP_MESSAGE, "FR*PD1", {"action": "Heartbeat"}, NOON)
    assert day.apply(recorded(heartbeat)) is None
    assert day.state() == Day().state()
