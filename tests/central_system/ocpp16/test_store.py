"""The journal: what comes twice at the same moment is one change, and one bad entry harms none."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from central_system.hub.model import Decision
from central_system.ocpp16.ports import Effect, Entry
from central_system.stations.model import StationRef
from central_system.transactions.model import Kept, Reading, Start, Stop
from kit.database import Database
from roaming.evse_id import EvseId
from tests.central_system.fakes import OPERATOR, Central, FakeHub, assemble

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
REF = StationRef(OPERATOR, "CP1")
START = Start(REF, 1, EvseId("FR*PD1*E1"), "CARD", NOON, 0, Decision(True))


@pytest.fixture
async def central(database: Database) -> Central:
    central = assemble(database, FakeHub())
    await central.enrol("CP1")
    return central


def entry(effect: Effect, unique_id: str = "a") -> Entry:
    def answer(kept: Kept | None) -> Mapping[str, Any]:
        return {"payload": {"id": None if kept is None else kept.charge.transaction_id}}

    heard = {"action": "X", "unique_id": unique_id, "payload": {"idTag": "CARD"}}
    return Entry(REF, NOON, unique_id, heard, effect, answer, frozenset({"idtag"}), alive=False)


async def test_a_start_and_a_stop_that_come_twice_at_once_are_one(central: Central) -> None:
    first, second = await asyncio.gather(
        central.journal.write(entry(START)), central.journal.write(entry(START))
    )
    assert first == second
    assert first is not None
    number = first["payload"]["id"]
    readings = (Reading(NOON + timedelta(minutes=5), 50),)
    stop = Stop(REF, number, NOON + timedelta(minutes=9), 100, "Local", readings)
    other = Stop(REF, number, NOON + timedelta(minutes=9), 900, "Local", readings)
    answers = await asyncio.gather(
        central.journal.write(entry(stop)), central.journal.write(entry(other))
    )
    assert list(answers) == [first, first]
    ((_, record),) = await central.transactions.next(OPERATOR, 10)
    assert [one["energy_wh"] for one in record["periods"]] == [50, 50]
    for kind in ("charge-started", "charge-stopped"):
        assert len(await central.happened(kind)) == 1
    assert len(await central.messages()) == 8


async def test_an_entry_that_cannot_be_written_costs_only_itself(central: Central) -> None:
    bad = Entry(REF, NOON, "b", {"payload": {"text": "\0"}}, START, None, frozenset(), alive=False)
    good = asyncio.create_task(central.journal.write(entry(None)))
    refused = asyncio.create_task(central.journal.write(bad))
    await asyncio.wait([good, refused])
    assert good.result() == {"payload": {"id": None}}
    assert refused.exception() is not None
    assert await central.happened("charge-started") == []


async def test_what_happened_is_told_without_the_card(central: Central) -> None:
    await central.journal.write(entry(START))
    (told,) = await central.happened("charge-started")
    assert told == {
        "charge_point": "CP1",
        "connector_id": 1,
        "evse_id": "FR*PD1*E1",
        "transaction_id": told["transaction_id"],
        "start": "2025-03-01T12:00:00Z",
        "meter_start_wh": 0,
        "accepted": True,
        "reason": None,
    }
