"""Meters' keys over HTTP: operators register those of their own EVSEs; all may check by them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import FastAPI

from clearinghouse.meter_values.routes import router
from clearinghouse.meter_values.store import SqlKeys
from kit import event_log, problem
from kit.database import Database
from kit.event_log import START
from tests.clearinghouse.cdrs.fakes import (
    EVSE,
    EVSP,
    NOW,
    OPERATOR,
    OTHER_EVSE,
    OTHER_OPERATOR,
    House,
    World,
)
from tests.clearinghouse.meter_values.meter import Meter


@pytest.fixture
async def house(database: Database) -> House:
    app = FastAPI()
    problem.install(app)
    app.include_router(router(SqlKeys(database), World(), database, lambda: NOW))
    return House(app)


async def register(house: House, evse_id: str, keys: Any, **who: Any) -> tuple[int, Any]:
    headers = {"content-type": "application/json"}
    answer = await house.call(
        "PUT", f"/meter-keys/{evse_id}", {"public_keys": keys}, headers=headers, **who
    )
    return answer.status, json.loads(answer.body)


async def test_an_operator_registers_keys_and_whoever_pays_may_read_them(
    house: House, database: Database
) -> None:
    first, second = Meter(), Meter()
    status, told = await register(house, EVSE, [first.key.upper(), first.key])
    assert (status, told) == (200, {"evse_id": EVSE.display, "public_keys": [first.key]})
    assert (await house.get(f"/meter-keys/{EVSE}", party=EVSP, roles=("evsp",)))[1] == told
    await register(house, EVSE, [second.key])
    meters = [(OPERATOR, EVSE), (OTHER_OPERATOR, EVSE), (OPERATOR, OTHER_EVSE)]
    assert await SqlKeys(database).of(meters) == {(OPERATOR, EVSE): [second.key]}
    async with database.hot() as connection:
        events = await event_log.read(connection, START, types=["meter-keys-registered"])
    assert [one.body["public_keys"] for one in events] == [[first.key], [second.key]]


async def test_an_empty_list_trusts_none_any_more(house: House) -> None:
    await register(house, EVSE, [Meter().key])
    assert (await register(house, EVSE, []))[0] == 200
    assert (await house.get(f"/meter-keys/{EVSE}"))[1]["public_keys"] == []


async def test_nobody_registers_keys_of_anothers_evse(house: House) -> None:
    for evse_id, who in (
        (OTHER_EVSE, {}),
        ("FR*PD1*E9", {}),
        (EVSE, {"party": OTHER_OPERATOR}),
        (EVSE, {"party": EVSP, "roles": ("evsp",)}),
    ):
        status, told = await register(house, evse_id, [Meter().key], **who)
        assert (status, told["status"]) == (403, 403)
    assert (await house.get(f"/meter-keys/{EVSE}"))[0] == 404


@pytest.mark.parametrize("keys", [["nonsense"], [17], "key", [""], ["00"] * 11])
async def test_what_is_no_key_is_refused_and_nothing_changes(house: House, keys: Any) -> None:
    known = Meter().key
    await register(house, EVSE, [known])
    status, told = await register(house, EVSE, keys)
    assert status == 422
    assert "public_keys" in told["field"]
    assert (await house.get(f"/meter-keys/{EVSE}"))[1]["public_keys"] == [known]
