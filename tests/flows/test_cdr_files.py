"""A month of charges comes as one file: it goes back, or it is booked, delivered and owed, once."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from typing import Any

import pytest

from tests.flows.test_cdr import CDRS, ENDED, cdr, delivered
from tests.flows.world import World, world
from tests.hub import CLEARING_HOUSE, Hub, server, until

FILES = f"{CLEARING_HOUSE}/cdr-files"


@pytest.fixture
async def day(hub: Hub) -> World:
    return await world(hub)


def charges(count: int) -> list[dict[str, Any]]:
    """Of 1 kWh each, so 0.50 EUR; one after another, back from an hour ago."""
    found = []
    for number in range(count):
        end = ENDED - timedelta(minutes=10 * number)
        start = (end - timedelta(minutes=10)).isoformat()
        times = {"start": start, "end": end.isoformat()}
        found.append(cdr(f"F-{number}", **times, energy_wh=1_000, periods=[]))
    return found


def file(some: list[dict[str, Any]], **trailer: Any) -> bytes:
    lines = [
        {"header": {"file_id": "january", "sender": "FR*PD1"}},
        *some,
        {"trailer": {"records": len(some), "energy_wh": 1_000 * len(some), **trailer}},
    ]
    return b"\n".join(json.dumps(line).encode() for line in lines)


async def test_a_file_that_does_not_add_up_goes_back_and_mended_it_is_booked_and_delivered(
    day: World,
) -> None:
    some = charges(120)
    some[5]["token_uid"] = "DEADBEEF"
    async with server() as evsp:
        await day.evsp.listens_at("cdrs", evsp.url)
        refused = await day.operator.call("POST", f"{FILES}/january", file(some, records=119))
        assert (refused.status, refused.problem) == (422, "file-refused")
        assert (await day.operator.get(CDRS))["cdrs"] == []
        report = await day.operator.get(f"{FILES}/january")
        assert (report["state"], report["faults"][0]["rule"]) == ("refused", "records-mismatch")

        taken = await day.operator.call("POST", f"{FILES}/january", file(some))
        assert (taken.status, taken.body["records"]) == (202, 120)

        async def booked() -> bool:
            told = await day.operator.get(f"{FILES}/january")
            return bool(told["state"] == "booked")

        await until(booked)
        again = await day.operator.call("POST", f"{FILES}/january", file(some))
        assert (again.status, again.body["state"]) == (202, "booked")
        other = await day.operator.call("POST", f"{FILES}/january", file(charges(3)))
        assert (other.status, other.problem) == (409, "file-id-taken")
        report = await day.operator.get(f"{FILES}/january")
        assert (report["accepted"], report["flagged"], report["rejected"]) == (119, 0, 1)
        [returned] = await day.operator.get(f"{FILES}/january/records?state=rejected")
        assert returned["line"] == 7
        assert [one["reason"] for one in returned["reasons"]] == ["unknown-contract"]
        await until(lambda: len(delivered(evsp)) == 119)
    approved = await day.evsp.post(
        f"{CDRS}/approvals",
        {"cdrs": [{"operator": "FR*PD1", "cdr_id": one["cdr_id"]} for one in some]},
    )
    states = [one["state"] for one in approved["cdrs"]]
    assert (states.count("approved"), states.count(None)) == (119, 1)
    [first] = (await day.operator.get(f"{CDRS}?state=approved&limit=1"))["cdrs"]
    assert first["price"]["excl_vat"] == "0.50"


async def test_a_stream_is_booked_like_its_records_one_by_one(day: World) -> None:
    some = charges(30)
    body = b"\n".join(json.dumps(one).encode() for one in some)
    report = await day.operator.post(f"{CDRS}/stream", body)
    assert (report["read"], report["accepted"], report["rejections"]) == (30, 30, [])
    for one in some[:2]:
        assert (await day.operator.call("POST", CDRS, one)).status == 200
    again = await day.operator.post(f"{CDRS}/stream", body)
    assert (again["read"], again["known"]) == (30, 30)
    lines = await day.operator.http.post(
        f"{CDRS}/stream",
        content=gzip.compress(body),
        headers={
            "Authorization": f"Bearer {day.operator.token}",
            "Content-Encoding": "gzip",
            "Accept": "application/x-ndjson",
        },
    )
    answers = [json.loads(line) for line in lines.text.splitlines()]
    assert [one["cdr_id"] for one in answers] == [one["cdr_id"] for one in some]
    assert {one["price"]["excl_vat"] for one in answers} == {"0.50"}
