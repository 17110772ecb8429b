"""The catalogue's rules: names, descriptions, and how a service comes and goes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from marketplace.services import model
from marketplace.services.model import (
    TRANSITIONS,
    Action,
    BadService,
    Operation,
    Protocol,
    Service,
    ServiceCannot,
    Status,
)
from tests.marketplace.fakes import HUB, NOW, OPERATOR

SERVICE = Service(
    name="parking",
    major=1,
    provider=OPERATOR,
    status=Status.DRAFT,
    category="search",
    description="Where to park.",
    endpoint="https://operator.example/parking",
    protocol=Protocol.REST,
    documentation="",
    operations=(Operation("find", "GET", "/places/{place_id}"),),
    registered_at=NOW,
)


def test_a_good_description_passes() -> None:
    assert model.checked(SERVICE) is SERVICE


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": "a"}, "name"),
        ({"name": "Parking"}, "name"),
        ({"name": "9park"}, "name"),
        ({"name": "park-"}, "name"),
        ({"name": "p" * 64}, "name"),
        ({"name": "pa/rk"}, "name"),
        ({"major": 0}, "major"),
        ({"major": 10_000}, "major"),
        ({"category": ""}, "category"),
        ({"description": "x" * 10_001}, "description"),
        ({"documentation": "\x00"}, "documentation"),
        ({"operations": (Operation("", "GET", "/"),)}, "operations.0.name"),
        ({"operations": (Operation("a", "get", "/"),)}, "operations.0.method"),
        ({"operations": (Operation("a", "GET", "x"),)}, "operations.0.path"),
        ({"operations": (Operation("a", "GET", "/"),) * 2}, "operations"),
        ({"operations": (Operation("a", "GET", "/"),) * 501}, "operations"),
    ],
    ids=lambda one: str(one)[:60],
)
def test_a_bad_description_is_refused_by_name(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(BadService) as refused:
        model.checked(replace(SERVICE, **wrong))
    assert refused.value.field == field


@given(some.lists(some.sampled_from(Action), max_size=8))
def test_a_service_follows_the_table_and_repeating_changes_nothing(asked: list[Action]) -> None:
    service = SERVICE
    for action in asked:
        allowed = TRANSITIONS[service.status].get(action)
        try:
            changed = model.changed(service, action)
        except ServiceCannot:
            assert allowed is None
            continue
        assert changed.status in (allowed, service.status)
        assert model.changed(changed, action) is changed
        service = changed


@given(some.lists(some.tuples(some.sampled_from(Action), some.booleans()), max_size=8))
def test_what_the_hub_has_suspended_the_hub_alone_publishes_again(
    asked: list[tuple[Action, bool]],
) -> None:
    service = model.changed(SERVICE, Action.PUBLISH)
    held = False
    for action, by_hub in asked:
        try:
            service = model.changed(service, action, by_hub=by_hub)
        except ServiceCannot:
            assert service.status is Status.RETIRED or (held and action is Action.PUBLISH)
            continue
        if by_hub and action is not Action.RETIRE:
            held = action is Action.SUSPEND
        assert service.held is held
        assert service.status is not Status.PUBLISHED or not held


def test_a_retired_service_is_retired_for_good() -> None:
    retired = model.changed(SERVICE, Action.RETIRE)
    for action in (Action.PUBLISH, Action.SUSPEND):
        with pytest.raises(ServiceCannot):
            model.changed(retired, action)


def test_a_draft_is_its_providers_business() -> None:
    assert SERVICE.seen_by(OPERATOR)
    assert not SERVICE.seen_by(HUB)
    assert model.changed(SERVICE, Action.PUBLISH).seen_by(HUB)


def test_the_hubs_own_services_keep_its_own_rules() -> None:
    services = model.hub_services(HUB, NOW)
    assert [model.checked(service) for service in services] == services
    assert {service.name for service in services} >= {"search-evse", "clearing-house", "roaming"}
