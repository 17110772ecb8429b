"""Dead letters over HTTP: the EVSP whose they are sees them, and nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI

from clearinghouse.cdrs import flows as cdr_flows
from clearinghouse.forwarding import routes
from clearinghouse.forwarding.model import Delivery, Reply
from clearinghouse.forwarding.store import SqlOutbox
from kit import problem
from kit.database import Database
from roaming.party import PartyId
from tests.clearinghouse.cdrs.fakes import (
    EVSP,
    NOW,
    OTHER_EVSP,
    House,
    intake_of,
    keep_customer,
    many,
)


@pytest.fixture
async def outbox(database: Database) -> SqlOutbox:
    """Two records of EVSP, both refused."""
    await keep_customer(database)
    await cdr_flows.receive(many(2), intake=intake_of(database))
    outbox = SqlOutbox(database)
    for _ in range(2):
        delivery = await outbox.next(EVSP, holder="one", most=1, now=NOW)
        assert isinstance(delivery, Delivery)
        await outbox.bury(delivery, Reply(422, "no such customer"), NOW)
    return outbox


@pytest.fixture
def house(outbox: SqlOutbox) -> House:
    app = FastAPI()
    problem.install(app)
    app.include_router(routes.router(outbox, clock=lambda: NOW))
    return House(app)


async def letters(house: House, party: PartyId = EVSP, query: str = "") -> Any:
    return await house.get("/dead-letters", party=party, roles=["evsp"], query=query)


async def test_an_evsp_sees_its_own(house: House) -> None:
    status, page = await letters(house)
    assert status == 200
    assert [(one["cdr_id"], one["status"], one["says"]) for one in page["dead_letters"]] == [
        ("M-0", 422, "no such customer"),
        ("M-1", 422, "no such customer"),
    ]
    assert (await letters(house, OTHER_EVSP))[1] == {"dead_letters": []}


async def test_pages_go_on_by_cursor(house: House) -> None:
    _, first = await letters(house, query="limit=1")
    (letter,) = first["dead_letters"]
    _, second = await letters(house, query=f"limit=1&cursor={letter['dead_letter_id']}")
    assert [one["cdr_id"] for one in second["dead_letters"]] == ["M-1"]


async def test_it_may_have_them_again(house: House, outbox: SqlOutbox) -> None:
    _, page = await letters(house)
    path = f"/dead-letters/{page['dead_letters'][0]['dead_letter_id']}/replay"
    for _ in range(2):
        answer = await house.call("POST", path, b"", party=EVSP, roles=["evsp"])
        assert answer.status == 202
    delivery = await outbox.next(EVSP, holder="one", most=9, now=NOW)
    assert isinstance(delivery, Delivery)
    assert [cdr.submission.cdr_id for cdr in delivery.cdrs] == ["M-0"]
    await outbox.delivered(delivery, NOW)
    assert await outbox.delivered_count() == 1
    _, after = await letters(house)
    assert [one["delivered_at"] is None for one in after["dead_letters"]] == [False, True]


async def test_nobody_touches_anothers(house: House) -> None:
    _, page = await letters(house)
    path = f"/dead-letters/{page['dead_letters'][0]['dead_letter_id']}/replay"
    for party, roles, status in [
        (OTHER_EVSP, ["evsp"], 404),
        (EVSP, ["evse-operator"], 403),
        (None, [], 401),
    ]:
        assert (await house.call("POST", path, b"", party=party, roles=roles)).status == status
    assert (await house.get("/dead-letters", party=EVSP, roles=[]))[0] == 403
    assert (await house.get("/dead-letters", party=None))[0] == 401
    answer = await house.call(
        "POST", "/dead-letters/99999999999999999999/replay", b"", party=EVSP, roles=["evsp"]
    )
    assert answer.status == 422
