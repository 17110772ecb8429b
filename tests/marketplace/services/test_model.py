"""The catalogue's rules: names, descriptions, and how a service comes and goes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from marketplace.services import model
from marketplace.services.model import (
    BadService,
    Category,
    Operation,
    Protocol,
    Service,
    Status,
    Version,
    category_of,
)
from tests.marketplace.fakes import EVSP, HUB, NOW, OPERATOR

SERVICE = Service(
    name="parking",
    major=1,
    provider=OPERATOR,
    status=Status.DRAFT,
    category=Category.BASIC_END_USER,
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
        ({"tags": ("a", "a")}, "tags"),
        ({"tags": ("Park Ride",)}, "tags.0"),
        ({"tags": tuple(f"t{n}" for n in range(21))}, "tags"),
        ({"replaces": Version("parking", 1)}, "replaces"),
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


def test_a_category_is_one_of_four_and_the_refusal_says_where_other_words_go() -> None:
    assert [category_of(one) for one in Category] == list(Category)
    with pytest.raises(BadService) as refused:
        category_of("energy")
    assert refused.value.field == "category"
    assert refused.value.value == "energy"
    told = str(refused.value.rule)
    assert all(one in told for one in (*Category, "tags"))


@pytest.mark.parametrize(
    "text", ["", "parking", "parking/v", "parking/vx", "parking/v12345", "/v1"]
)
def test_a_version_is_named_by_its_service_and_its_number(text: str) -> None:
    assert Version.parse("parking/v12", "replaces") == Version("parking", 12)
    assert str(Version("parking", 12)) == "parking/v12"
    with pytest.raises(BadService):
        Version.parse(text, "replaces")


@pytest.mark.parametrize("status", Status)
def test_who_sees_a_service_goes_by_its_status(status: Status) -> None:
    service = replace(SERVICE, status=status, testers=frozenset({EVSP}))
    for_all = status in (Status.PUBLISHED, Status.SUSPENDED, Status.DEPRECATED)
    assert service.seen_by(OPERATOR)
    assert service.seen_by(HUB) is for_all
    assert service.seen_by(EVSP) is (for_all or status is Status.IN_TEST)


def test_the_hubs_own_services_keep_its_own_rules() -> None:
    services = model.hub_services(HUB, NOW)
    assert [model.checked(service) for service in services] == services
    assert {service.name for service in services} >= {"search-evse", "clearing-house", "roaming"}
