"""Files over HTTP: what an operator is told of its own, and nobody of another's."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import pytest
from fastapi import FastAPI

from clearinghouse.cdr_files import flows
from clearinghouse.cdr_files.routes import router
from clearinghouse.cdr_files.store import SqlFiles
from clearinghouse.cdrs.routes import Routes
from kit import problem
from kit.database import Database
from tests.clearinghouse.cdr_files.files import file, records
from tests.clearinghouse.cdrs.fakes import (
    EVSP,
    NOW,
    OTHER_OPERATOR,
    House,
    intake_of,
    keep_customer,
)


class Woken:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
async def house(database: Database, woken: Woken) -> House:
    app = FastAPI()
    problem.install(app)
    app.include_router(router(SqlFiles(database), lambda: NOW, woken))
    return House(app)


@pytest.fixture
async def intake(database: Database) -> AsyncIterator[Routes]:
    await keep_customer(database)
    routes = Routes(intake_of(database), database)
    yield routes
    await routes.close()


async def send(
    house: House, body: bytes, file_id: str = "2025-01", **headers: str
) -> tuple[int, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await house.call("POST", f"/cdr-files/{file_id}", body, headers=named)
    return answer.status, json.loads(answer.body)


async def test_a_file_is_followed_from_its_taking_to_its_report(
    house: House, woken: Woken, intake: Routes, database: Database
) -> None:
    some = records(5)
    some[1] |= {"evse_id": "FR*PD1*E9"}
    some[3] = {"cdr_id": "F-3", "energy_wh": 1}
    status, told = await send(house, gzip.compress(file(some)), content_encoding="gzip")
    assert (status, told["state"], told["records"], woken.times) == (202, "booking", 5, 1)
    _, waiting = await house.get("/cdr-files/2025-01/records")
    assert [(one["line"], one["state"]) for one in waiting] == [(n, None) for n in range(2, 7)]
    while await flows.book_some(files=SqlFiles(database), intake=intake, clock=lambda: NOW):
        pass
    _, told = await house.get("/cdr-files/2025-01")
    assert (told["state"], told["accepted"], told["rejected"]) == ("booked", 3, 2)
    page = await house.call(
        "GET", "/cdr-files/2025-01/records", b"", query="state=rejected&limit=1"
    )
    assert [one["line"] for one in json.loads(page.body)] == [3]
    assert 'cursor=3>; rel="next"' in page.headers["link"]
    _, rest = await house.get("/cdr-files/2025-01/records", query="state=rejected&cursor=3")
    assert [(one["line"], one["reasons"][0]["reason"]) for one in rest] == [(5, "malformed")]


async def test_a_fatal_fault_is_refused_with_its_rule_and_the_report_names_all(
    house: House, woken: Woken
) -> None:
    status, told = await send(house, file(records(2), records=3, energy_wh=0))
    assert (status, told["field"]) == (422, "line 4")
    assert told["type"].endswith("/file-refused")
    _, report = await house.get("/cdr-files/2025-01")
    assert [one["rule"] for one in report["faults"]] == ["records-mismatch", "energy-mismatch"]
    assert (report["state"], woken.times) == ("refused", 0)


async def test_another_file_under_a_taken_id_is_a_clash(house: House) -> None:
    await send(house, file(records(2)))
    status, told = await send(house, file(records(3)))
    assert (status, told["type"].rpartition("/")[2]) == (409, "file-id-taken")
    assert (await house.get("/cdr-files/2025-01"))[1]["records"] == 2


async def test_what_is_not_gzip_leaves_nothing(house: House) -> None:
    assert (await send(house, file(records(2)), content_encoding="gzip"))[0] == 422
    assert (await send(house, file(records(2)), content_encoding="br"))[0] == 422
    assert (await house.get("/cdr-files/2025-01"))[0] == 404


@pytest.mark.parametrize("file_id", ["x" * 65, "a%00b", "a%0Ab"])
async def test_a_name_that_is_none_is_refused(house: House, file_id: str) -> None:
    assert (await send(house, file(records(1)), unquote(file_id)))[0] == 422
    assert (await house.get(f"/cdr-files/{unquote(file_id)}"))[0] == 404


async def test_nobody_sees_or_sends_anothers_files(house: House) -> None:
    await send(house, file(records(2)))
    for who in (
        {"party": OTHER_OPERATOR},
        {"party": EVSP, "roles": ("evsp",)},
        {"party": None},
    ):
        for method, path, body in (
            ("GET", "/cdr-files/2025-01", b""),
            ("GET", "/cdr-files/2025-01/records", b""),
            ("POST", "/cdr-files/2025-02", file(records(2), "2025-02")),
        ):
            answer = await house.call(method, path, body, **who)
            assert answer.status in (401, 403, 404, 422), (who, method)
    assert (await house.get("/cdr-files/2025-02"))[0] == 404
