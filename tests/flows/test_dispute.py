"""An EVSP does not want to pay: its amount waits, and both sides see the same at every step.

Told through a whole hub by its public API; the map is docs/flows/dispute.md.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from clearinghouse.disputes import flows
from clearinghouse.disputes.model import Action, Outcome
from clearinghouse.disputes.store import SqlBooks
from kit.clock import utc_now
from tests.flows.world import CARD, EVSE, World, world
from tests.hub import CLEARING_HOUSE, Hub, Partner

DISPUTES = f"{CLEARING_HOUSE}/disputes"
ENDED = utc_now().replace(microsecond=0) - timedelta(hours=1)


@pytest.fixture
async def day(hub: Hub) -> World:
    """One charge of 10 kWh is owed: 5.00 EUR and 1.00 VAT."""
    found = await world(hub)
    await hand_in(found, "cdr-1", 10_000)
    return found


async def hand_in(day: World, cdr_id: str, energy_wh: int, **more: Any) -> Any:
    return await day.operator.post(
        f"{CLEARING_HOUSE}/cdrs",
        {
            "cdr_id": cdr_id,
            "evse_id": EVSE,
            "token_uid": CARD,
            "start": (ENDED - timedelta(hours=1)).isoformat(),
            "end": ENDED.isoformat(),
            "energy_wh": energy_wh,
            **more,
        },
    )


async def decline(day: World, reason: str = "wrong-energy", **more: Any) -> Any:
    return await day.evsp.post(
        DISPUTES, {"operator": "FR*PD1", "cdr_id": "cdr-1", "reason": reason, **more}
    )


async def act(partner: Partner, dispute: Any, action: str, says: str | None = None) -> Any:
    return await partner.post(f"{DISPUTES}/{dispute['dispute_id']}/{action}", {"says": says})


async def owing(day: World) -> tuple[str, int]:
    first, last = ENDED.date() - timedelta(days=1), ENDED.date() + timedelta(days=40)
    told = await day.evsp.get(f"{CLEARING_HOUSE}/statements/{first}..{last}?currency=EUR")
    return told["owing"]["amount"], told["owing"]["cdrs"]


async def lines(day: World) -> list[tuple[str, str]]:
    first, last = ENDED.date() - timedelta(days=1), ENDED.date() + timedelta(days=40)
    told = await day.evsp.get(f"{CLEARING_HOUSE}/statements/{first}..{last}/items?currency=EUR")
    return [(one["kind"], one["amount"]) for one in told["items"]]


async def test_what_is_declined_is_out_of_the_statement_until_it_is_withdrawn(day: World) -> None:
    assert await owing(day) == ("5.00", 1)
    dispute = await decline(day)
    assert (dispute["state"], dispute["turn"]) == ("opened", ["evsp", "operator"])
    assert await owing(day) == ("0.00", 0)
    theirs = await day.operator.get(f"{DISPUTES}/{dispute['dispute_id']}")
    assert theirs == dispute
    released = await act(day.evsp, dispute, "withdraw")
    assert (released["outcome"], released["turn"]) == ("released", [])
    assert await owing(day) == ("5.00", 1)
    assert await lines(day) == [
        ("charge", "-5.00"),
        ("dispute-opened", "5.00"),
        ("dispute-released", "-5.00"),
    ]


async def test_what_was_wrong_in_part_is_conceded_and_told_anew(day: World) -> None:
    dispute = await decline(day)
    conceded = await act(day.operator, dispute, "concede", "the meter was misread")
    assert conceded["outcome"] == "credited"
    assert await owing(day) == ("0.00", 0)
    new = await hand_in(day, "cdr-2", 6_000, replaces="cdr-1")
    assert (new["state"], new["price"]["excl_vat"]) == ("accepted", "3.00")
    assert await owing(day) == ("3.00", 1)
    cdrs = (await day.evsp.get(f"{CLEARING_HOUSE}/cdrs"))["cdrs"]
    assert [(one["state"], one["credit"]) for one in cdrs] == [
        ("revised", False),
        ("accepted", True),
        ("accepted", False),
    ]


async def test_what_the_two_cannot_settle_the_hub_decides(day: World) -> None:
    dispute = await decline(day)
    await act(day.operator, dispute, "contest", "signed by the meter")
    refused = await day.evsp.call(
        "POST", f"{DISPUTES}/{dispute['dispute_id']}/escalate", {"says": ""}
    )
    assert (refused.status, refused.body["field"]) == (422, "says")
    await act(day.evsp, dispute, "escalate", "our customer was elsewhere")
    parts = day.hub.parts
    found = await flows.act(
        dispute["dispute_id"],
        Action.UPHOLD,
        "the card was blocked that day",
        caller=parts.hub,
        hub=parts.hub,
        books=SqlBooks(parts.database),
        clock=parts.clock,
    )
    assert found.outcome is Outcome.CREDITED
    for side in (day.evsp, day.operator):
        seen = await side.get(f"{DISPUTES}/{dispute['dispute_id']}")
        assert [one["action"] for one in seen["history"]] == [
            *("decline", "contest", "escalate", "uphold"),
        ]
    assert await owing(day) == ("0.00", 0)


async def test_each_error_says_what_would_be_right(day: World) -> None:
    answer = await day.evsp.call(
        "POST", DISPUTES, {"operator": "FR*PD1", "cdr_id": "cdr-9", "reason": "wrong-price"}
    )
    assert (answer.status, answer.problem) == (404, "unknown-cdr")
    answer = await day.evsp.call(
        "POST", DISPUTES, {"operator": "FR*PD1", "cdr_id": "cdr-1", "reason": "other"}
    )
    assert (answer.status, answer.body["field"]) == (422, "says")
    dispute = await decline(day)
    answer = await day.operator.call("POST", f"{DISPUTES}/{dispute['dispute_id']}/withdraw", {})
    assert (answer.status, answer.body["rule"]) == (403, "by the evsp of this dispute")
    await act(day.evsp, dispute, "withdraw")
    answer = await day.operator.call("POST", f"{DISPUTES}/{dispute['dispute_id']}/concede", {})
    assert (answer.status, answer.body["rule"]) == (409, "one of: nothing any more")
