"""How a service comes and goes: the table, and what is promised about its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as some

from marketplace.services import lifecycle
from marketplace.services.lifecycle import (
    ENDING,
    TRANSITIONS,
    Action,
    BadSunset,
    ServiceIncomplete,
    sunset_of,
)
from marketplace.services.model import (
    Endpoint,
    Environment,
    Protocol,
    Service,
    ServiceCannot,
    Status,
)
from tests.marketplace.fakes import EVSP, HUB, NOW
from tests.marketplace.services.test_model import SERVICE

DAY = timedelta(days=1)
TRIED = replace(SERVICE, more_endpoints=(Endpoint("https://try.example/", Environment.SANDBOX),))
WITHOUT_CONTRACTS = some.sampled_from(sorted(set(Action) - ENDING))
moments = some.integers(-3, 40).map(lambda days: NOW + days * DAY)
sunsets = some.none() | moments
"""What is asked for; also what is past."""
last_ends = some.none() | some.integers(1, 30).map(lambda days: NOW + days * DAY)
"""When the contracts there are can have ended."""


def after(
    service: Service,
    action: Action,
    *,
    wanted: datetime | None = None,
    last_end: datetime | None = None,
    by_hub: bool = False,
) -> Service:
    if action in ENDING:
        return lifecycle.ended(service, action, NOW, wanted=wanted, last_end=last_end)
    return lifecycle.changed(service, action, by_hub=by_hub)


@given(some.lists(some.tuples(some.sampled_from(Action), sunsets, last_ends), max_size=10))
def test_a_service_follows_the_table_and_repeating_changes_nothing(
    asked: list[tuple[Action, datetime | None, datetime | None]],
) -> None:
    service = TRIED
    for action, wanted, last_end in asked:
        allowed = TRANSITIONS[service.status].get(action)
        try:
            changed = after(service, action, wanted=wanted, last_end=last_end)
        except ServiceCannot:
            told = service.sunset is not None and wanted not in (None, service.sunset)
            assert allowed is None or (action in ENDING and told)
            continue
        except BadSunset:
            assert action in ENDING
            continue
        assert allowed is not None
        if changed.sunset is None:
            assert changed.status is allowed
        assert after(changed, action, wanted=wanted, last_end=last_end) == changed
        service = changed
        # What has a sunset is deprecated where it would be published, and nothing else is.
        assert (service.status is Status.DEPRECATED) <= (service.sunset is not None)
        assert (service.status is Status.PUBLISHED) <= (service.sunset is None)
        assert (service.sunset is None) is (service.deprecated_at is None)


@given(some.sampled_from(Status), some.sampled_from(sorted(ENDING)), sunsets, last_ends)
def test_no_service_ends_before_the_contracts_on_it_can_have_ended(
    status: Status, action: Action, wanted: datetime | None, last_end: datetime | None
) -> None:
    sunset = NOW + 50 * DAY if status is Status.DEPRECATED else None
    service = replace(TRIED, status=status, sunset=sunset, deprecated_at=sunset and NOW)
    assume(status is not Status.RETIRED)
    try:
        ended = after(service, action, wanted=wanted, last_end=last_end)
    except (ServiceCannot, BadSunset):
        return
    if last_end is not None:
        assert ended.status is not Status.RETIRED
        assert ended.sunset is not None
        assert ended.sunset >= last_end
        assert lifecycle.at_sunset(ended, ended.sunset - timedelta(seconds=1)) is ended
    if ended.sunset is not None:
        assert lifecycle.at_sunset(ended, ended.sunset).status is Status.RETIRED


@given(some.lists(some.tuples(WITHOUT_CONTRACTS, some.booleans()), max_size=8))
def test_what_the_hub_has_suspended_the_hub_alone_publishes_again(
    asked: list[tuple[Action, bool]],
) -> None:
    service = lifecycle.changed(SERVICE, Action.PUBLISH)
    held = False
    for action, by_hub in asked:
        try:
            service = lifecycle.changed(service, action, by_hub=by_hub)
        except ServiceCannot:
            assert action is Action.TEST or (held and action is Action.PUBLISH)
            continue
        if by_hub and action is not Action.TEST:
            held = action is Action.SUSPEND
        assert service.held is held
        assert service.status is not Status.PUBLISHED or not held


def test_a_sunset_that_was_told_stays() -> None:
    published = lifecycle.changed(SERVICE, Action.PUBLISH)
    ending = after(published, Action.DEPRECATE, wanted=NOW + 40 * DAY, last_end=NOW + 30 * DAY)
    assert (ending.status, ending.deprecated_at) == (Status.DEPRECATED, NOW)
    for sooner_or_later in (NOW + 35 * DAY, NOW + 45 * DAY):
        with pytest.raises(ServiceCannot) as refused:
            after(ending, Action.DEPRECATE, wanted=sooner_or_later, last_end=NOW + 30 * DAY)
        assert refused.value.field == "sunset"
    suspended = lifecycle.changed(ending, Action.SUSPEND, by_hub=True)
    assert suspended.sunset == ending.sunset
    assert lifecycle.changed(suspended, Action.PUBLISH, by_hub=True) == ending
    # When nobody has a contract any more nobody relies on it, either.
    assert after(ending, Action.RETIRE, last_end=NOW + DAY) is ending
    assert after(ending, Action.RETIRE).status is Status.RETIRED


def test_an_earlier_sunset_is_refused_with_the_first_that_could_be() -> None:
    published = lifecycle.changed(SERVICE, Action.PUBLISH)
    for action in ENDING:
        for wanted in (NOW + 29 * DAY, NOW, NOW - DAY):
            with pytest.raises(BadSunset) as refused:
                after(published, action, wanted=wanted, last_end=NOW + 30 * DAY)
            assert (NOW + 30 * DAY).isoformat() in str(refused.value.rule)
    with pytest.raises(BadSunset, match="says when"):
        after(published, Action.DEPRECATE)


def test_what_is_tried_has_a_sandbox_and_is_called() -> None:
    with pytest.raises(ServiceIncomplete) as refused:
        lifecycle.changed(SERVICE, Action.TEST)
    assert refused.value.field == "sandbox"
    topic = replace(SERVICE, protocol=Protocol.TOPIC, endpoint=None, operations=())
    with pytest.raises(ServiceCannot):
        lifecycle.changed(topic, Action.TEST)
    # It needs nothing live for that.
    draft = replace(TRIED, endpoint=None)
    tried = lifecycle.changed(draft, Action.TEST, testers=[EVSP])
    assert (tried.status, tried.testers) == (Status.IN_TEST, frozenset({EVSP}))
    assert lifecycle.changed(tried, Action.TEST) is tried
    assert lifecycle.changed(tried, Action.TEST, testers=[HUB]).testers == {HUB}
    with pytest.raises(ServiceIncomplete):
        lifecycle.changed(tried, Action.PUBLISH)


def test_a_retired_service_is_retired_for_good() -> None:
    retired = after(SERVICE, Action.RETIRE)
    assert after(SERVICE, Action.RETIRE, last_end=NOW) == retired
    for action in set(Action) - {Action.RETIRE}:
        with pytest.raises(ServiceCannot):
            after(retired, action, wanted=NOW + DAY)
    assert after(retired, Action.RETIRE) is retired


@pytest.mark.parametrize(
    ("told", "time_zone", "moment"),
    [
        ("2028-02-29", "UTC", "2028-02-29T00:00:00"),
        ("2028-02-29", "Europe/Paris", "2028-02-28T23:00:00"),
        # The days on which clocks go forward and back in Europe begin before they do.
        ("2027-03-28", "Europe/Paris", "2027-03-27T23:00:00"),
        ("2027-10-31", "Europe/Paris", "2027-10-30T22:00:00"),
        ("2027-11-01", "Europe/Paris", "2027-10-31T23:00:00"),
        # In Beirut there is no midnight on that day: it begins at one o'clock.
        ("2027-03-28", "Asia/Beirut", "2027-03-27T22:00:00"),
        # In Havana it is midnight twice: the first is the beginning.
        ("2027-11-07", "America/Havana", "2027-11-07T04:00:00"),
        ("2027-03-28T02:30:00+02:00", "America/Havana", "2027-03-28T00:30:00"),
        ("2027-03-28T00:30:00Z", "UTC", "2027-03-28T00:30:00"),
    ],
)
def test_a_day_begins_where_it_is_said_to_begin(told: str, time_zone: str, moment: str) -> None:
    assert sunset_of(told, time_zone) == datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("told", "time_zone", "field"),
    [
        ("2027-02-29", "UTC", "sunset"),
        ("2027-03-28T02:30:00", "UTC", "sunset"),
        ("tomorrow", "UTC", "sunset"),
        ("0001-01-01", "Asia/Tokyo", "sunset"),
        ("2027-03-28", "Europe/Nowhere", "time_zone"),
        ("2027-03-28", "../../etc/passwd", "time_zone"),
    ],
)
def test_what_is_no_day_is_refused(told: str, time_zone: str, field: str) -> None:
    with pytest.raises(BadSunset) as refused:
        sunset_of(told, time_zone)
    assert refused.value.field == field
