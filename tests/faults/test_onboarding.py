"""Bad days of joining and leaving: everybody at once, and in the middle of something."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from aiohttp import web

from kit.clock import utc_now
from marketplace.partners import flows
from tests.flows.test_onboarding import (
    POINT_DU_JOUR,
    agrees,
    applies,
    calls,
    comes_in,
    offers_forecasts,
)
from tests.flows.world import CARD, CONTRACT, EVSE, world
from tests.hub import Behaviour, Hub, answering, hub, server

__all__ = ["hub"]


async def test_everybody_who_claims_one_party_id_is_approved_at_once_and_one_has_it(
    hub: Hub,
) -> None:
    keeper = await hub.operator()
    receipts = [
        await applies(hub, POINT_DU_JOUR | {"legal_name": f"Claim {number}"}) for number in range(6)
    ]
    answers = await asyncio.gather(
        *(
            keeper.call("POST", f"/marketplace/applications/{one['application_id']}/approve")
            for one in receipts
        )
    )
    assert sorted(one.status for one in answers) == [200] + [409] * 5
    winner = next(n for n, one in enumerate(answers) if one.status == 200)
    partner = await comes_in(hub, receipts[winner])
    own = await partner.get(f"/marketplace/partners/{partner.party}")
    assert own["name"] == f"Claim {winner}"
    waiting = await keeper.get("/marketplace/applications?status=requested")
    assert [one["application_id"] for one in waiting] == [
        one["application_id"] for n, one in enumerate(receipts) if n != winner
    ]


async def test_a_call_under_way_ends_as_it_began_and_the_next_one_is_refused(hub: Hub) -> None:
    keeper = await hub.operator()
    provider = await hub.partner("NL*FCS", "service-provider")
    requester = await hub.partner("FR*PD1", "evse-operator")
    reached, go_on = asyncio.Event(), asyncio.Event()
    async with server(waiting_for(reached, go_on)) as forecasts:
        await offers_forecasts(provider, forecasts.url)
        await agrees(requester)
        under_way = asyncio.create_task(calls(requester))
        await reached.wait()
        await keeper.post(f"/marketplace/partners/{provider.party}/standing/suspend")
        refused = await calls(requester)
        assert (refused.status, refused.body["value"]) == (403, "partner-suspended")
        go_on.set()
        assert (await under_way).status == 200
        assert len(forecasts.came) == 1


async def test_suspended_and_restored_by_two_at_once_it_is_one_or_the_other(hub: Hub) -> None:
    """Whichever was last; and never half of it."""
    keeper = await hub.operator()
    provider = await hub.partner("NL*FCS", "service-provider")
    requester = await hub.partner("FR*PD1", "evse-operator")
    async with server(answering({"load": 7})) as forecasts:
        await offers_forecasts(provider, forecasts.url)
        await agrees(requester)
        standing = f"/marketplace/partners/{provider.party}/standing"
        await asyncio.gather(
            *(
                keeper.post(f"{standing}/{action}")
                for action in ("suspend", "restore", "suspend", "restore")
            )
        )
        status = (await keeper.get(standing))["status"]
        assert (await calls(requester)).status == (200 if status == "active" else 403)


async def test_who_leaves_with_a_notice_is_called_and_charged_until_the_day(hub: Hub) -> None:
    """Tomorrow is asked of the book, as the gateway and the clearing house would."""
    met = await world(hub)
    await offers_forecasts(met.operator, "http://127.0.0.1:9/")
    await met.evsp.post(
        "/marketplace/contracts",
        {
            "offering_id": (
                await met.operator.post(
                    "/marketplace/offerings",
                    {
                        "service": "load-forecast",
                        "terms": {"notice_days": 1},
                        "audience": {"kind": "parties", "parties": [met.evsp.party]},
                    },
                )
            )["offering_id"]
        },
    )
    told = await met.operator.post(f"/marketplace/partners/{met.operator.party}/standing/leave")
    assert told["status"] == "leaving"
    assert (await met.operator.asks(EVSE, CARD))["decision"] == "accepted"
    await hub.parts.book.load()
    agreement = hub.parts.book.roaming
    ends = utc_now() + timedelta(days=1)
    assert agreement(met.operator.party, met.evsp.party, ends - timedelta(hours=1)) is not None
    assert agreement(met.operator.party, met.evsp.party, ends) is None
    # A day later somebody looks, twice, and leave is taken once.
    for _ in range(2):
        await flows.take_leave(hub.parts.partners, now=ends)
    kinds = [one["type"] for one in await met.evsp.get("/marketplace/messages?limit=1000")]
    assert kinds.count("partner-left") == 1


async def test_a_suspension_between_a_charge_and_its_record_does_not_touch_the_record(
    hub: Hub,
) -> None:
    met = await world(hub)
    keeper = await hub.operator()
    assert (await met.operator.asks(EVSE, CARD))["decision"] == "accepted"
    await keeper.post(f"/marketplace/partners/{met.evsp.party}/standing/suspend")
    refused = await met.operator.asks(EVSE, CARD)
    assert (refused["decision"], refused["reason"]) == ("refused", "no-roaming-agreement")
    # A charge of before it, told now.
    started = utc_now() - timedelta(hours=2)
    record = await met.operator.post(
        "/services/clearing-house/cdrs",
        {
            "cdr_id": "before",
            "evse_id": EVSE,
            "contract_id": CONTRACT,
            "start": started.isoformat(),
            "end": (started + timedelta(hours=1)).isoformat(),
            "energy_wh": 10_000,
        },
    )
    assert record["state"] == "accepted", record


def waiting_for(reached: asyncio.Event, go_on: asyncio.Event) -> Behaviour:
    async def behave(_: web.BaseRequest) -> web.StreamResponse:
        reached.set()
        await go_on.wait()
        return web.json_response({"load": 7})

    return behave
