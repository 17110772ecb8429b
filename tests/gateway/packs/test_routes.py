"""Packs over HTTP: bought by one side, seen by both, and by nobody else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.hub import Hub, Partner, hub

__all__ = ["hub"]

PACK = {"calls": 3, "price_minor": 250}


@dataclass(frozen=True, slots=True)
class Sides:
    hub: Hub
    provider: Partner
    requester: Partner
    contract: str

    @property
    def packs(self) -> str:
        return f"/marketplace/contracts/{self.contract}/packs"


@pytest.fixture
async def sides(hub: Hub) -> Sides:
    return await agreed(hub, {"pack": PACK, "currency": "EUR"})


async def agreed(hub: Hub, terms: dict[str, Any]) -> Sides:
    provider = await hub.partner("NL*FCS", "service-provider")
    requester = await hub.partner("FR*PD1", "evse-operator")
    await provider.post(
        "/marketplace/services",
        {
            "name": "load-forecast",
            "category": "value-added",
            "description": "What a charge point will draw tomorrow",
            "endpoint": "http://127.0.0.1:9/",
        },
    )
    await provider.post("/marketplace/services/load-forecast/v1/publish")
    offering = await provider.post(
        "/marketplace/offerings", {"service": "load-forecast", "terms": terms}
    )
    contract = await requester.accepts(offering["offering_id"])
    return Sides(hub, provider, requester, contract)


async def test_both_sides_see_what_was_bought_and_what_is_left(sides: Sides) -> None:
    bought = await sides.requester.call("POST", sides.packs, {"packs": 4})
    assert bought.status == 201
    purchase = bought.body
    assert {name: purchase[name] for name in ("packs", "calls", "price_minor", "currency")} == {
        "packs": 4,
        "calls": 12,
        "price_minor": 1000,
        "currency": "EUR",
    }
    for side in (sides.requester, sides.provider):
        assert await side.get(sides.packs) == {
            "contract_id": sides.contract,
            "pack": PACK | {"currency": "EUR"},
            "bought_calls": 12,
            "used_calls": 0,
            "left_calls": 12,
            "purchases": [purchase],
        }


async def test_who_asks_again_with_the_same_key_has_bought_once(sides: Sides) -> None:
    key = {"Idempotency-Key": "order-7"}
    first = await sides.requester.call("POST", sides.packs, {"packs": 1}, headers=key)
    again = await sides.requester.call("POST", sides.packs, {"packs": 1}, headers=key)
    assert first.body == again.body
    assert (await sides.requester.get(sides.packs))["bought_calls"] == 3


async def test_purchases_come_page_by_page_the_latest_first(sides: Sides) -> None:
    ids = [(await sides.requester.post(sides.packs, {}))["purchase_id"] for _ in range(3)]
    first = await sides.requester.call("GET", f"{sides.packs}?limit=2")
    told = [one["purchase_id"] for one in first.body["purchases"]]
    link = first.headers["link"].partition(">")[0].removeprefix("<")
    rest = await sides.requester.get(link)
    assert sorted(ids) == sorted([*told, *(one["purchase_id"] for one in rest["purchases"])])
    assert len(told) == 2
    assert rest["bought_calls"] == 9


@pytest.mark.parametrize("packs", [0, 1001, "one", 1.5, True])
async def test_a_number_of_packs_that_is_none_is_refused(sides: Sides, packs: Any) -> None:
    answer = await sides.requester.call("POST", sides.packs, {"packs": packs})
    assert (answer.status, answer.body["field"]) == (422, "body.packs")
    assert (await sides.requester.get(sides.packs))["bought_calls"] == 0


async def test_only_the_requester_buys_and_only_the_two_sides_see(sides: Sides) -> None:
    stranger = await sides.hub.partner("DE*XYZ", "evsp")
    for method, body in (("POST", {"packs": 1}), ("GET", None)):
        answer = await stranger.call(method, sides.packs, body)
        assert (answer.status, answer.problem) == (404, "unknown-contract")
    refused = await sides.provider.call("POST", sides.packs, {"packs": 1})
    assert (refused.status, refused.problem) == (403, "not-yours-to-buy")
    assert (await sides.requester.get(sides.packs))["bought_calls"] == 0


async def test_packs_are_not_sold_under_a_contract_that_is_not_in_force(sides: Sides) -> None:
    path = f"/marketplace/contracts/{sides.contract}"
    await sides.provider.post(f"{path}/suspend")
    refused = await sides.requester.call("POST", sides.packs, {"packs": 1})
    assert (refused.status, refused.problem) == (409, "not-in-force")
    await sides.provider.post(f"{path}/resume")
    assert (await sides.requester.call("POST", sides.packs, {"packs": 1})).status == 201
    await sides.requester.post(f"{path}/terminate")
    refused = await sides.requester.call("POST", sides.packs, {"packs": 1})
    assert (refused.status, refused.problem) == (409, "not-in-force")
    # What was bought is still told.
    assert (await sides.requester.get(sides.packs))["left_calls"] == 3


async def test_a_contract_without_packs_says_so(hub: Hub) -> None:
    sides = await agreed(hub, {})
    refused = await sides.requester.call("POST", sides.packs, {"packs": 1})
    assert (refused.status, refused.problem) == (404, "nothing-prepaid")
    assert (await sides.requester.get(sides.packs))["pack"] is None
