"""A list of customers on its way to the charge points, through a whole hub; and what ends it."""

from __future__ import annotations

import json
from typing import Any

from tests.flows.world import CARD, CONTRACT, EVSE, agreed, world
from tests.hub import CLEARING_HOUSE, Hub, Partner

LIST = f"{CLEARING_HOUSE}/offline-list"
CONSENTS = f"{CLEARING_HOUSE}/offline-consents"
BULK = f"{CLEARING_HOUSE}/customer-contracts/bulk"


def lines(*numbers: int, **more: Any) -> bytes:
    told = [{"contract_id": f"FRXYZ{n:09}", "token_uids": [f"FLEET{n}"], **more} for n in numbers]
    return b"\n".join(json.dumps(one).encode() for one in told)


async def cards(operator: Partner, query: str = "") -> tuple[int, str, set[str], set[str]]:
    page = await operator.get(LIST + query)
    uids = {one["token_uid"] for one in page["entries"]}
    return page["version"], page["update_type"], uids, set(page["removed"])


async def test_a_fleet_reaches_the_charge_points_of_those_who_may_have_it(hub: Hub) -> None:
    found = await world(hub)
    operator, evsp = found.operator, found.evsp
    stranger = await hub.partner("NL*STR", "evse-operator")
    assert await cards(operator) == (1, "full", set(), set())

    await evsp.put(f"{CONSENTS}/{operator.party}", {"consent": True})
    assert await cards(operator, "?since_version=1") == (2, "differential", {CARD}, set())
    assert (await cards(stranger))[2] == set()

    # The EVSP's whole list, sent under a name.
    report = await evsp.post(f"{BULK}?upload=fleet&mode=full&lines=3&confirm=1", lines(1, 2, 3))
    assert (report["state"], report["created"], report["ended"]) == ("complete", 3, 1)
    fleet = {"FLEET1", "FLEET2", "FLEET3"}
    assert await cards(operator, "?since_version=2") == (3, "differential", fleet, {CARD})
    refused = await operator.asks(EVSE, CARD)
    assert (refused["decision"], refused["reason"]) == ("refused", "contract-blocked")

    # A driver leaves the company: no charge after the answer, and off the list.
    gone = b'{"contract_id":"FRXYZ000000002","removed":true}'
    assert (await evsp.post(BULK, gone))["changed"] == 1
    assert (await operator.asks(EVSE, "FLEET2"))["reason"] == "unknown-contract"
    assert await cards(operator, "?since_version=3") == (4, "differential", set(), {"FLEET2"})
    assert await cards(operator) == (4, "full", {"FLEET1", "FLEET3"}, set())

    await evsp.put(f"{CONSENTS}/all", {"consent": True})
    assert (await cards(stranger))[2] == set(), "no agreement, no list"
    await agreed(stranger, evsp)
    assert (await cards(stranger))[2] == {"FLEET1", "FLEET3"}

    # Withdrawn for one; the other keeps what it was given.
    await evsp.put(f"{CONSENTS}/{operator.party}", {"consent": False})
    assert await cards(operator, "?since_version=4") == (
        5,
        "differential",
        set(),
        {"FLEET1", "FLEET3"},
    )
    assert await cards(operator) == (5, "full", set(), set())
    assert (await cards(stranger))[2] == {"FLEET1", "FLEET3"}


async def test_the_end_of_an_agreement_ends_the_list(hub: Hub) -> None:
    found = await world(hub)
    await found.evsp.put(f"{CONSENTS}/all", {"consent": True})
    page = await found.operator.get(f"{LIST}?format=ocpp1.6")
    (entry,) = page["send_local_list"]["localAuthorizationList"]
    agreement = await found.operator.get(f"/marketplace/contracts/{found.agreement}")
    assert entry["idTag"] == CARD
    assert entry["idTagInfo"]["expiryDate"][:19] == agreement["valid_until"][:19]
    await found.evsp.post(f"/marketplace/contracts/{found.agreement}/suspend", {})
    assert await cards(found.operator, "?since_version=1") == (2, "differential", set(), {CARD})


async def test_who_is_blocked_is_refused_at_the_next_question(hub: Hub) -> None:
    found = await world(hub)
    for _ in range(5):
        assert (await found.operator.asks(EVSE, CARD))["decision"] == "accepted"
        blocked = await found.evsp.call("DELETE", f"{CLEARING_HOUSE}/customer-contracts/{CONTRACT}")
        assert blocked.status == 200
        assert (await found.operator.asks(EVSE, CARD))["reason"] == "contract-blocked"
        await found.evsp.keeps(CONTRACT, CARD)
