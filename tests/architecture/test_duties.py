"""Every write of the OpenAPI document is somebody's duty: one that nobody has thought of is closed
to people, and this test says which."""

from __future__ import annotations

import re
from itertools import chain, combinations

import pytest

from gateway.calls.duties import READS, RULES, require, rule_of
from gateway.calls.refusals import DutyMissing
from gridroam.wiring import PUBLIC
from marketplace.people.model import Duty
from tests.hub import Hub

WRITES = {"put", "post", "patch", "delete"}


async def writes(hub: Hub) -> set[tuple[str, str]]:
    document = (await hub.http.get("/openapi.json")).json()
    public = tuple(PUBLIC)
    return {
        (method.upper(), re.sub(r"\{[^}]*\}", "x", path))
        for path, operations in document["paths"].items()
        for method in operations.keys() & WRITES
        if not path.startswith(public)
    }


async def test_every_write_has_a_rule_and_every_rule_a_write(hub: Hub) -> None:
    found = await writes(hub)
    assert sorted(path for _, path in found if rule_of(path) is None) == []
    used = {rule_of(path) for _, path in found}
    assert [rule.path for rule in RULES if rule not in used and not rule.reserved] == []


async def test_who_only_reads_writes_nothing_but_its_own_log_in(hub: Hub) -> None:
    allowed = set()
    for method, path in await writes(hub):
        try:
            require(method, path, {Duty.READ_ONLY})
            allowed.add(path)
        except DutyMissing:
            pass
    assert {path.rpartition("/")[0] for path in allowed} == {"/marketplace/people"}


def test_rules_name_duties_that_there_are() -> None:
    assert {duty for rule in RULES for duty in rule.duties} <= set(Duty)


@pytest.mark.parametrize("method", sorted(READS))
def test_everybody_who_has_a_duty_looks_at_everything(method: str) -> None:
    for duty in Duty:
        require(method, "/marketplace/whatever-is-new", {duty})
    with pytest.raises(DutyMissing):
        require(method, "/marketplace/whatever-is-new", set())


def test_what_no_rule_names_is_nobodys_to_write() -> None:
    everything = set(Duty)
    some = chain.from_iterable(combinations(everything, n) for n in range(len(everything) + 1))
    for duties in some:
        for path in ("/marketplace/whatever-is-new", "/marketplace", "/", "/oauth/../marketplace"):
            with pytest.raises(DutyMissing):
                require("POST", path, duties)


def test_a_narrower_rule_comes_before_a_wider_one() -> None:
    places = {rule.path: n for n, rule in enumerate(RULES)}
    for path, place in places.items():
        for shorter in range(1, len(path)):
            assert places.get(path[:shorter], len(RULES)) > place
