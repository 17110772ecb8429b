"""One connection without a socket: limits, and a journal that cannot write."""

from __future__ import annotations

import json
from typing import Any

import pytest

from central_system.ocpp16.conversation import Desk
from central_system.ocpp16.ports import Entry
from central_system.ocpp16.session import Limits, Session
from central_system.stations.model import StationRef
from kit.clock import utc_now
from kit.database import Database
from tests.central_system.fakes import OPERATOR, Central, FakeHub, assemble

HEARTBEAT = '[2, "a", "Heartbeat", {}]'


@pytest.fixture
async def central(database: Database) -> Central:
    central = assemble(database, FakeHub())
    await central.enrol("CP1")
    return central


async def session_of(central: Central, limits: Limits, journal: Any = None) -> Session:
    station = await central.stations.find(StationRef(OPERATOR, "CP1"))
    assert station is not None
    return Session(
        station,
        stations=central.stations,
        desk=Desk(utc_now, central.cards, central.hub),
        journal=journal or central.journal,
        limits=limits,
    )


async def answer(session: Session, message: str) -> Any:
    said = await session.answer(message)
    assert said is not None
    return json.loads(said)


async def test_a_flood_is_answered_with_errors_and_leaves_nothing_in_the_log(
    central: Central,
) -> None:
    session = await session_of(central, Limits(messages_per_s=0.001, messages_burst=3))
    answers = [await answer(session, HEARTBEAT) for _ in range(5)]
    assert [one[0] for one in answers] == [3, 3, 3, 4, 4]
    assert answers[3][:3] == [4, "a", "GenericError"]
    assert len(await central.messages()) == 6


async def test_the_allowance_comes_back_with_time(central: Central) -> None:
    session = await session_of(central, Limits(messages_per_s=1e9, messages_burst=1))
    assert [(await answer(session, HEARTBEAT))[0] for _ in range(5)] == [3] * 5


async def test_the_limit_of_a_message_is_in_bytes(central: Central) -> None:
    session = await session_of(central, Limits(message_bytes=60))
    frame = '[2, "a", "DataTransfer", {"vendorId": "%s"}]'
    assert (await answer(session, frame % ("x" * 15)))[0] == 3
    refused = await answer(session, frame % ("é" * 15))
    assert refused[:3] == [4, "a", "FormationViolation"]
    assert "60 bytes" in refused[3]


class FullDisk:
    async def write(self, entry: Entry) -> None:
        raise OSError("no space left")


async def test_what_is_not_on_disk_is_not_confirmed(central: Central) -> None:
    session = await session_of(central, Limits(), FullDisk())
    assert (await answer(session, HEARTBEAT))[:3] == [4, "a", "InternalError"]
    assert (await answer(session, "{"))[2] == "FormationViolation"
    assert await session.answer('[3, "a", {}]') is None
