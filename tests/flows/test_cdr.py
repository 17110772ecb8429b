"""A charge is over: its record becomes a price, a debt, a delivery and a line of both statements.

And on a bad day: records that come twice, wrong or for nobody, and EVSPs that are down, slow or
talk nonsense. No record is lost, none is delivered as two. The map is docs/flows/cdr.md.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from kit.clock import utc_now
from tests.clearinghouse.meter_values.meter import Meter, ocpi
from tests.flows.world import CARD, CONTRACT, EVSE, STRANGERS_EVSE, World, agreed, world
from tests.hub import (
    CLEARING_HOUSE,
    Hub,
    Partner,
    Server,
    answering,
    server,
    talking_nonsense,
    until,
)

CDRS = f"{CLEARING_HOUSE}/cdrs"
ENDED = utc_now().replace(microsecond=0) - timedelta(hours=1)
# 12.345 kWh at 0.50 are 6.1725, so 6.17; 20 % of that are 1.234, so 1.23.
PRICE = {"currency": "EUR", "excl_vat": "6.17", "vat": "1.23", "incl_vat": "7.40"}


@pytest.fixture
async def day(hub: Hub) -> World:
    return await world(hub)


def cdr(cdr_id: str = "cdr-1", **more: Any) -> dict[str, Any]:
    start = ENDED - timedelta(hours=1)
    return {
        "cdr_id": cdr_id,
        "evse_id": EVSE,
        "token_uid": CARD,
        "start": start.isoformat(),
        "end": ENDED.isoformat(),
        "energy_wh": 12_345,
        "periods": [{"start": start.isoformat(), "energy_wh": 12_345}],
        **more,
    }


def delivered(evsp: Server) -> list[str]:
    """What an EVSP has on its books: a delivery under a known id is the delivery it knows."""
    by_id = {came.headers["Idempotency-Key"]: came.json for came in evsp.came}
    return [one["cdr_id"] for told in by_id.values() for one in told["cdrs"]]


async def statement(of: Partner) -> Any:
    first, last = ENDED.date() - timedelta(days=1), ENDED.date() + timedelta(days=2)
    return await of.get(f"{CLEARING_HOUSE}/statements/{first}..{last}?currency=EUR")


async def stands(world: World, *, cdrs: int, amount: str, vat: str) -> None:
    """Both sides read the same from their statements."""
    theirs, ours = await statement(world.evsp), await statement(world.operator)
    same = {"amount": amount, "vat": vat, "cdrs": cdrs}
    nothing = {"amount": "0.00", "vat": "0.00", "cdrs": 0}
    assert (theirs["owing"], theirs["owed"]) == (same, nothing)
    assert (ours["owed"], ours["owing"]) == (same, nothing)


async def test_a_charge_goes_the_whole_way_from_its_authorisation_to_both_statements(
    day: World,
) -> None:
    async with server() as evsp:
        await day.evsp.listens_at("cdrs", f"{evsp.url}/cdrs")
        authorised = await day.operator.asks(EVSE, CARD)
        answer = await day.operator.call(
            "POST", CDRS, cdr(authorisation_id=authorised["authorisation_id"])
        )
        assert answer.status == 201
        assert (answer.body["state"], answer.body["reasons"]) == ("accepted", [])
        assert answer.body["price"] == PRICE
        await until(lambda: bool(evsp.came))
        [came] = evsp.came
    assert came.headers["Idempotency-Key"] == came.json["delivery_id"]
    [told] = came.json["cdrs"]
    assert (told["operator"], told["evsp"], told["cdr_id"]) == ("FR*PD1", "FR*XYZ", "cdr-1")
    assert told["contract_id"] == CONTRACT
    assert told["agreement_id"] == day.agreement
    assert told["price"] == PRICE
    assert told["energy_wh"] == 12_345
    await stands(day, cdrs=1, amount="6.17", vat="1.23")
    for side in (day.operator, day.evsp):
        assert (await side.get(f"{CDRS}/FR*PD1/cdr-1"))["price"] == PRICE
        [listed] = (await side.get(CDRS))["cdrs"]
        assert listed["cdr_id"] == "cdr-1"


async def test_a_charge_that_was_authorised_is_owed_though_its_contract_is_blocked_since(
    day: World,
) -> None:
    authorised = await day.operator.asks(EVSE, CARD)
    await day.evsp.keeps(CONTRACT, CARD, status="blocked")
    owed = await day.operator.post(CDRS, cdr(authorisation_id=authorised["authorisation_id"]))
    assert owed["state"] == "accepted"
    refused = await day.operator.post(CDRS, cdr("cdr-2"))
    assert (refused["state"], refused["reasons"]) == ("rejected", ["contract-blocked"])


async def test_the_same_record_again_is_known_and_owed_once(day: World) -> None:
    async with server() as evsp:
        await day.evsp.listens_at("cdrs", evsp.url)
        first = await day.operator.call("POST", CDRS, cdr())
        again = await day.operator.call("POST", CDRS, cdr())
        assert (first.status, again.status) == (201, 200)
        assert again.body == first.body
        await day.operator.post(CDRS, cdr("cdr-last", energy_wh=0, periods=[]))
        await until(lambda: "cdr-last" in delivered(evsp))
        assert delivered(evsp) == ["cdr-1", "cdr-last"]
    await stands(day, cdrs=2, amount="6.17", vat="1.23")


async def test_the_same_record_many_times_at_once_is_new_once(day: World) -> None:
    answers = await asyncio.gather(
        *(day.operator.call("POST", CDRS, cdr()) for _ in range(8)),
        day.operator.call("POST", CDRS, [cdr(), cdr()]),
    )
    assert Counter(answer.status for answer in answers[:8])[201] <= 1
    assert {answer.status for answer in answers} <= {200, 201}
    assert all(answer.body["price"] == PRICE for answer in answers[:8])
    assert [one["price"] for one in answers[8].body] == [PRICE, PRICE]
    await stands(day, cdrs=1, amount="6.17", vat="1.23")


async def test_the_same_cdr_id_with_another_amount_is_refused_and_the_first_one_stands(
    day: World,
) -> None:
    await day.operator.post(CDRS, cdr())
    other = cdr(energy_wh=99_000, periods=[])
    answer = await day.operator.call("POST", CDRS, other)
    assert (answer.status, answer.problem, answer.body["field"]) == (
        409,
        "cdr-id-reused",
        "cdr_id",
    )
    [listed] = await day.operator.post(CDRS, [other])
    assert (listed["state"], listed["reasons"]) == ("rejected", ["cdr-id-reused"])
    await stands(day, cdrs=1, amount="6.17", vat="1.23")


async def test_records_that_break_a_rule_are_rejected_with_its_name_and_owe_nothing(
    day: World,
) -> None:
    stranger = await day.hub.partner("NL*STR", "evse-operator")
    await stranger.provides(STRANGERS_EVSE)
    newcomer = await day.hub.partner("DE*NEW", "evsp")
    await newcomer.keeps("DE-NEW-123456789", "04FFFFFFFFFFFF")
    later = utc_now() + timedelta(days=1)
    no_periods: dict[str, Any] = {"periods": []}
    wrong = {
        "evse-unknown": cdr("a", evse_id="FR*PD1*E999"),
        "evse-of-another-operator": cdr("b", evse_id=STRANGERS_EVSE),
        "unknown-contract": cdr("c", token_uid="DEADBEEF"),
        "no-roaming-agreement": cdr("d", token_uid="04FFFFFFFFFFFF"),
        "end-before-start": cdr(
            "e", start=ENDED.isoformat(), end=(ENDED - timedelta(1)).isoformat(), **no_periods
        ),
        "in-the-future": cdr(
            "f", start=later.isoformat(), end=(later + timedelta(1)).isoformat(), **no_periods
        ),
        "negative-energy": cdr("g", energy_wh=-1, **no_periods),
        "energy-mismatch": cdr("h", energy_wh=20_000),
    }
    answers = await day.operator.post(CDRS, [*wrong.values(), cdr("good")])
    told = {answer["cdr_id"]: answer for answer in answers}
    for reason, one in wrong.items():
        answer = told[one["cdr_id"]]
        assert (reason, answer["state"]) == (reason, "rejected")
        assert reason in answer["reasons"]
        assert answer["details"]
    assert told["good"]["state"] == "accepted"
    await stands(day, cdrs=1, amount="6.17", vat="1.23")
    # Without an agreement the operator learns whom to agree with, not who the customer is.
    shown = await day.operator.get(f"{CDRS}/FR*PD1/d")
    assert (shown["evsp"], shown["contract_id"]) == ("DE*NEW", None)
    # Nobody is told of another's customer: those refused are for the operator alone to see.
    assert [one["cdr_id"] for one in (await day.evsp.get(CDRS))["cdrs"]].count("c") == 0
    assert (await newcomer.get(f"{CDRS}?state=accepted"))["cdrs"] == []


async def test_a_record_that_is_none_says_which_field(day: World) -> None:
    answer = await day.operator.call("POST", CDRS, cdr(start="yesterday"))
    assert (answer.status, answer.body["field"]) == (422, "start")
    [first, second] = await day.operator.post(CDRS, [cdr("bad", energy_wh="many"), cdr("good")])
    assert (first["state"], first["reasons"]) == ("rejected", ["malformed"])
    assert second["state"] == "accepted"


async def test_an_evsp_that_was_down_for_a_while_gets_every_record_once(day: World) -> None:
    async with server() as evsp:
        await day.evsp.listens_at("cdrs", evsp.url)
        await evsp.close()
        ids = [f"cdr-{number}" for number in range(5)]
        for cdr_id in ids:
            await hand_in(day, [cdr_id])
        await evsp.reopen()
        await until(lambda: len(delivered(evsp)) >= len(ids))
        assert delivered(evsp) == ids


async def test_an_evsp_whose_answers_get_lost_takes_nothing_for_two(day: World) -> None:
    """It has the records on its books, and the hub cannot know: it sends the same again."""
    lost = iter(range(2))

    async def behave(request: web.BaseRequest) -> web.StreamResponse:
        if next(lost, None) is not None:
            assert request.transport is not None
            request.transport.close()
        return web.Response(status=204)

    async with server(behave) as evsp:
        await day.evsp.listens_at("cdrs", evsp.url)
        await hand_in(day, ["cdr-1", "cdr-2"])
        await until(lambda: len(evsp.came) == 3)
        assert len({came.content for came in evsp.came}) == 1
        assert len({came.headers["Idempotency-Key"] for came in evsp.came}) == 1
        await hand_in(day, ["cdr-3"])
        await until(lambda: "cdr-3" in delivered(evsp))
        assert delivered(evsp) == ["cdr-1", "cdr-2", "cdr-3"]


async def test_an_evsp_that_breaks_down_over_them_gets_its_records_when_it_has_recovered(
    day: World,
) -> None:
    async with server(answering({"oh": "no"}, status=500)) as evsp:
        await day.evsp.listens_at("cdrs", evsp.url)
        await hand_in(day, ["cdr-1"])
        await until(lambda: len(evsp.came) >= 2)
        evsp.behaviour = talking_nonsense
        tried = len(evsp.came)
        await until(lambda: len(evsp.came) > tried)
        # A 2xx is a yes, whatever is said with it: nothing comes a second time.
        await hand_in(day, ["cdr-2"])
        await until(lambda: "cdr-2" in delivered(evsp))
        assert delivered(evsp) == ["cdr-1", "cdr-2"]
        assert len({came.json["delivery_id"] for came in evsp.came}) == 2


async def test_a_slow_evsp_holds_up_neither_the_operators_nor_other_evsps(day: World) -> None:
    other = await day.hub.partner("DE*NEW", "evsp")
    await other.keeps("DE-NEW-123456789", "04FFFFFFFFFFFF")
    await agreed(day.operator, other)
    awake = asyncio.Event()

    async def slow(_: web.BaseRequest) -> web.StreamResponse:
        await awake.wait()
        return web.Response(status=204)

    async with server(slow) as evsp, server() as quick:
        await day.evsp.listens_at("cdrs", evsp.url)
        await other.listens_at("cdrs", quick.url)
        await hand_in(day, ["slow-1"])
        await until(lambda: len(evsp.came) == 1)
        await hand_in(day, ["slow-2"])
        await day.operator.post(CDRS, cdr("quick-1", token_uid="04FFFFFFFFFFFF"))
        await until(lambda: delivered(quick) == ["quick-1"])
        # Its own second record waits for the answer to the first, so that they stay in order.
        assert delivered(evsp) == ["slow-1"]
        awake.set()
        await until(lambda: len(evsp.came) == 2)
        assert delivered(evsp) == ["slow-1", "slow-2"]


async def test_a_record_that_its_evsp_refuses_stops_no_other_and_is_had_again_when_asked_for(
    day: World,
) -> None:
    async def picky(request: web.BaseRequest) -> web.StreamResponse:
        content = await request.content.read() or evsp.came[-1].content
        return web.Response(status=422 if b'"poison"' in content else 204, text="what is this?")

    async with server(picky) as evsp:
        await day.evsp.listens_at("cdrs", evsp.url)
        await hand_in(day, ["cdr-1", "poison", "cdr-2"])
        letters = f"{CLEARING_HOUSE}/dead-letters"

        async def buried() -> bool:
            return bool((await day.evsp.get(letters))["dead_letters"])

        await until(buried)
        await until(lambda: evsp.came[-1].json["cdrs"][-1]["cdr_id"] == "cdr-2")
        [letter] = (await day.evsp.get(letters))["dead_letters"]
        assert (letter["cdr_id"], letter["status"], letter["says"]) == (
            "poison",
            422,
            "what is this?",
        )
        evsp.behaviour = answering()
        await day.evsp.post(f"{letters}/{letter['dead_letter_id']}/replay")
        await until(lambda: evsp.came[-1].json["cdrs"][0]["cdr_id"] == "poison")


async def test_an_evsp_without_an_endpoint_reads_its_records_with_a_cursor(day: World) -> None:
    await hand_in(day, ["cdr-1", "cdr-2"])
    page = await day.evsp.get(f"{CDRS}?limit=1")
    assert [one["cdr_id"] for one in page["cdrs"]] == ["cdr-1"]
    rest = await day.evsp.get(f"{CDRS}?since={page['next_cursor']}")
    assert [one["cdr_id"] for one in rest["cdrs"]] == ["cdr-2"]
    await hand_in(day, ["cdr-3"])
    fresh = await day.evsp.get(f"{CDRS}?since={rest['next_cursor']}")
    assert [one["cdr_id"] for one in fresh["cdrs"]] == ["cdr-3"]


async def hand_in(day: World, cdr_ids: Sequence[str]) -> None:
    """Charges that differ, as those of one card must."""
    records = []
    for cdr_id in cdr_ids:
        shift = timedelta(days=1 + sum(cdr_id.encode()) % 200)
        start, end = ENDED - shift - timedelta(hours=1), ENDED - shift
        records.append(
            cdr(cdr_id, start=start.isoformat(), end=end.isoformat(), periods=[], energy_wh=1_000)
        )
    answers = await day.operator.post(CDRS, records)
    assert [answer["state"] for answer in answers] == ["accepted"] * len(records), answers


async def test_what_a_registered_meter_signed_is_verified_and_other_figures_are_flagged(
    day: World,
) -> None:
    meter, stranger = Meter(), Meter()
    await day.operator.put(f"{CLEARING_HOUSE}/meter-keys/{EVSE}", {"public_keys": [meter.key]})
    signed = [one.charge("100.00", "112.34", clock="U") for one in (meter, stranger)]
    signed += [signed[0].replace("112.34", "112.35")]
    starts = [ENDED - timedelta(hours=number + 1) for number in range(5)]
    one, other, changed, more, none = (
        cdr(
            f"cdr-{number}",
            start=start.isoformat(),
            end=(start + timedelta(hours=1)).isoformat(),
            periods=[],
        )
        for number, start in enumerate(starts)
    )
    answers = await day.operator.post(
        CDRS,
        [
            one | {"signed_meter_values": ocpi(signed[:1])},
            other | {"signed_meter_values": ocpi(signed[1:2], public_key=stranger.key)},
            changed | {"signed_meter_values": ocpi(signed[2:], public_key=meter.key)},
            more | {"signed_meter_values": ocpi(signed[:1]), "energy_wh": 13_000},
            none,
        ],
    )
    assert [(answer["state"], answer["reasons"]) for answer in answers] == [
        ("accepted", []),
        ("accepted", []),
        ("flagged", ["meter-signature-invalid"]),
        ("flagged", ["meter-values-differ"]),
        ("accepted", []),
    ]
    shown = [await day.evsp.get(f"{CDRS}/FR*PD1/cdr-{number}") for number in range(5)]
    assert [told["meter_values"]["outcome"] for told in shown] == [
        "verified",
        "key-unregistered",
        "invalid",
        "verified",
        "absent",
    ]
    assert shown[0]["meter_values"]["signed_wh"] == 12_340
    assert shown[0]["signed_meter_values"] == ocpi(signed[:1]), "kept as it came"
    keys = await day.evsp.get(f"{CLEARING_HOUSE}/meter-keys/{EVSE}")
    assert keys["public_keys"] == [meter.key]
