"""What an EVSP may owe has a cap, and a charge counts from the moment in which it is accepted.

All of it by the public API, the cap and the deposits as the hub's operator sets them beside the
running hub; the map is docs/flows/exposure.md.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient

from clearinghouse.exposure import flows
from clearinghouse.exposure.model import Deposit, limit_of, movement_of
from gridroam import office_exposure
from gridroam.home import Home
from gridroam.settings import Settings
from gridroam.wiring import hub as wired
from kit import event_log
from kit.clock import utc_now
from roaming.money import Money
from tests.flows.world import CARD, CONTRACT, EVSE, World, world
from tests.hub import CLEARING_HOUSE, URL, Hub, Partner

MONTH = "2026-01"


@pytest.fixture
async def day(hub: Hub) -> World:
    return await world(hub)


def eur(units: int) -> Money:
    return Money(units * 100, "EUR")


async def cap(day: World, units: int, hold: int = 1000) -> None:
    """As `gridroam exposure set` does."""
    parts = day.hub.parts
    now = parts.clock()
    limit = limit_of(day.evsp.party, eur(units), eur(hold), by="the story", now=now)
    await flows.set_limit(limit, books=office_exposure.books(parts), clock=parts.clock)


async def pays_in(day: World, units: int, reference: str, kind: Deposit) -> None:
    """As `gridroam deposit` does."""
    parts = day.hub.parts
    movement = movement_of(reference, day.evsp.party, kind, eur(units))
    await flows.deposit(movement, books=office_exposure.books(parts), clock=parts.clock)


async def exposure(day: World) -> tuple[str, str, str, int]:
    """What the EVSP sees: owed, held, left, percent."""
    told = await day.evsp.get(f"{CLEARING_HOUSE}/exposure")
    return told["owed"], told["held"], told["left"], told["percent"]


def cdr(cdr_id: str, energy_kwh: int, **more: Any) -> dict[str, Any]:
    """A charge at 0.50 EUR a kWh, with 20 % VAT on it."""
    number = int(cdr_id.rpartition("-")[2])
    return {
        "cdr_id": cdr_id,
        "evse_id": EVSE,
        "start": f"{MONTH}-{number + 1:02d}T10:00:00+01:00",
        "end": f"{MONTH}-{number + 1:02d}T11:00:00+01:00",
        "energy_wh": energy_kwh * 1000,
        **more,
    }


def is_over(answer: Any) -> None:
    assert (answer["decision"], answer["reason"]) == ("refused", "over-limit")


async def test_without_a_cap_nothing_is_counted(day: World) -> None:
    told = await day.evsp.get(f"{CLEARING_HOUSE}/exposure")
    assert told["limited"] is False
    assert told["cap"] is None
    for _ in range(3):
        assert (await day.operator.asks(EVSE, CARD))["decision"] == "accepted"


async def test_the_sixth_charge_is_refused_until_one_of_the_first_is_billed(day: World) -> None:
    await cap(day, 5000)
    answers = [await day.operator.asks(EVSE, CARD) for _ in range(6)]
    assert [one["decision"] for one in answers] == ["accepted"] * 5 + ["refused"]
    is_over(answers[5])
    assert await exposure(day) == ("0.00", "5000.00", "0.00", 100)

    # Billed, it is what it came to: 20 kWh are 10.00 and 2.00 of VAT.
    now = utc_now().isoformat()
    named = cdr("cdr-1", 20, authorisation_id=answers[0]["authorisation_id"], start=now, end=now)
    for _ in range(2):
        await day.operator.post(f"{CLEARING_HOUSE}/cdrs", named)
        assert await exposure(day) == ("12.00", "4000.00", "988.00", 80)
    is_over(await day.operator.asks(EVSE, CARD))

    # A record that names only the customer ends the oldest hold there.
    await day.operator.post(f"{CLEARING_HOUSE}/cdrs", cdr("cdr-2", 20, contract_id=CONTRACT))
    assert await exposure(day) == ("24.00", "4000.00", "976.00", 80)
    now = utc_now().isoformat()
    late = cdr("cdr-3", 20, contract_id=CONTRACT) | {"start": now, "end": now}
    await day.operator.post(f"{CLEARING_HOUSE}/cdrs", late)
    assert (await exposure(day))[1] == "3000.00"
    assert (await day.operator.asks(EVSE, CARD))["decision"] == "accepted"


async def test_six_at_once_at_two_hubs_on_one_database_are_no_more_than_five(
    day: World, database_url: str, tmp_path: Path
) -> None:
    await cap(day, 5000)
    place = Home(tmp_path / "home", database_url)
    settings = Settings(home=tmp_path / "home", public_url=URL)
    async with (
        wired(settings, place, database_url) as app,
        AsyncClient(transport=ASGITransport(app), base_url=URL) as http,
    ):
        ours = day.operator
        there = Partner(ours.party, ours.client_id, ours.client_secret, http, ours.token)
        answers = await asyncio.gather(
            *(hub.asks(EVSE, CARD) for hub in (ours, there, ours, there, ours, there))
        )
        assert sorted(one["decision"] for one in answers) == ["accepted"] * 5 + ["refused"]
        # And six times the same charge, wherever it is asked about, is one.
        await cap(day, 6000)
        answers = await asyncio.gather(
            *(hub.asks(EVSE, CARD, charge_id="c-1") for hub in (ours, there) * 3)
        )
        assert len({one["authorisation_id"] for one in answers}) == 1
        assert await exposure(day) == ("0.00", "6000.00", "0.00", 100)


async def test_the_evsp_alone_is_told_the_figures(day: World) -> None:
    await cap(day, 500)
    refused = await day.operator.asks(EVSE, CARD)
    is_over(refused)
    path = f"{CLEARING_HOUSE}/authorisations/{refused['authorisation_id']}"
    for partner, told in (
        (day.evsp, "cap 500.00, owed 0.00, held 0.00, left 500.00 EUR; asked 1000.00 EUR"),
        (day.operator, None),
    ):
        steps = {one["reason"]: one for one in (await partner.get(path))["steps"]}
        assert steps["over-limit"]["outcome"] == "failed"
        assert steps["over-limit"]["detail"] == told
    assert (await day.operator.call("GET", f"{CLEARING_HOUSE}/exposure")).status == 403


async def test_a_deposit_makes_room_at_once(day: World) -> None:
    await cap(day, 0)
    is_over(await day.operator.asks(EVSE, CARD))
    await pays_in(day, 1000, "bank-1", Deposit.PREPAYMENT)
    await pays_in(day, 1000, "bank-2", Deposit.COLLATERAL)
    answers = [await day.operator.asks(EVSE, CARD) for _ in range(3)]
    assert [one["decision"] for one in answers] == ["accepted", "accepted", "refused"]
    told = await day.evsp.get(f"{CLEARING_HOUSE}/exposure")
    assert (told["prepaid"], told["collateral"], told["left"]) == ("1000.00", "1000.00", "0.00")


async def test_evsp_and_hub_are_told_at_80_percent_and_at_the_end(day: World) -> None:
    await cap(day, 5000)
    for _ in range(6):
        await day.operator.asks(EVSE, CARD)
    async with day.hub.parts.database.hot() as connection:
        events = await event_log.read(connection, event_log.START, limit=5000)
    told = [
        (one.type, one.party, one.body["percent"])
        for one in events
        if one.type in ("exposure-warning", "exposure-exhausted")
    ]
    assert sorted(told) == [
        ("exposure-exhausted", "EU*GRD", 100),
        ("exposure-exhausted", "FR*XYZ", 100),
        ("exposure-warning", "EU*GRD", 80),
        ("exposure-warning", "FR*XYZ", 80),
    ]


async def test_a_customers_own_limits_hold_too_and_what_is_left_is_told(day: World) -> None:
    limits = {"currency": "EUR", "per_charge_minor": 20_00, "per_day_minor": 50_00}
    await day.evsp.keeps(CONTRACT, CARD, limits=limits)

    async def asks(date: str = f"{MONTH}-20") -> Any:
        return await day.operator.asks(EVSE, CARD, at=f"{date}T12:00:00Z")

    first = await asks()
    assert first["decision"] == "accepted"
    # The charge point may end the charge there.
    assert first["max_amount"] == {"currency": "EUR", "amount": "20.00"}
    assert (await asks())["decision"] == "accepted"
    is_over(await asks())
    assert (await asks(f"{MONTH}-21"))["decision"] == "accepted"

    # The first was billed with 12.00: then 18.00 are left of that day, and 20.00 do not fit.
    billed = cdr("cdr-19", 24, authorisation_id=first["authorisation_id"])
    await day.operator.post(f"{CLEARING_HOUSE}/cdrs", billed)
    is_over(await asks())
    # Taken back by a credit, nothing of it is spent.
    credit = {"cdr_id": "credit-19", "credit": True, "credit_reference_id": "cdr-19"}
    await day.operator.post(f"{CLEARING_HOUSE}/cdrs", billed | credit)
    assert (await asks())["decision"] == "accepted"


async def test_what_a_customer_has_left_is_told_without_a_decision(day: World) -> None:
    limits = {"currency": "EUR", "per_day_minor": 50_00, "per_month_minor": 70_00}
    await day.evsp.keeps(CONTRACT, CARD, limits=limits)
    answer = await day.operator.asks(EVSE, CARD)
    named = cdr("cdr-1", 24, authorisation_id=answer["authorisation_id"])
    now = utc_now().isoformat()
    path = f"{CLEARING_HOUSE}/authorisations/{answer['authorisation_id']}/services"

    async def left() -> tuple[int, int, int]:
        told = (await day.evsp.get(path))["left"]
        return told["this_charge_minor"], told["today_minor"], told["this_month_minor"]

    # A charge of which nobody knows the most holds all that is left of the day.
    assert await left() == (0, 0, 20_00)
    await day.operator.post(f"{CLEARING_HOUSE}/cdrs", named | {"start": now, "end": now})
    assert await left() == (38_00, 38_00, 58_00)
