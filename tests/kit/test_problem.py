"""What is not as its schema wants it is told in words that say what to do."""

from __future__ import annotations

import socket
from typing import Annotated, Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict
from sqlalchemy import text

from kit import problem
from kit.database import Database
from tests.dying_postgres import dying


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    pieces: int


def _shop() -> FastAPI:
    shop = FastAPI()
    problem.install(shop)

    @shop.post("/orders")
    async def order(asked: Order | list[Order]) -> None: ...

    @shop.put("/order")
    async def again(asked: Order, copies: Annotated[int, Query(ge=1)] = 1) -> None: ...

    return shop


ORDER = {"name": "a", "pieces": 1}


@pytest.mark.parametrize(
    ("method", "path", "sent", "field", "rule"),
    [
        ("PUT", "/order", {"json": {"name": "a"}}, "body.pieces", "pieces is required"),
        ("PUT", "/order", {"json": {**ORDER, "nmae": "b"}}, "body.nmae", "a member that the sch"),
        ("POST", "/orders", {"json": {**ORDER, "nmae": "b"}}, "body.nmae", "a member that the sch"),
        ("PUT", "/order", {"json": {**ORDER, "pieces": "x"}}, "body.pieces", "a valid integer"),
        ("PUT", "/order?copies=0", {"json": ORDER}, "query.copies", "greater than or equal to 1"),
        ("PUT", "/order", {"json": []}, "body", "a JSON object, announced by Content-Type"),
        ("PUT", "/order", {"content": b'{"name":'}, "body", "JSON in UTF-8"),
        (
            "PUT",
            "/order",
            {"content": b"{}", "headers": {"Content-Type": "text/plain"}},
            "body",
            "a JSON object, announced by Content-Type",
        ),
    ],
    ids=str,
)
async def test_a_request_unlike_its_schema_is_told_which_member_and_what_would_be_right(
    method: str, path: str, sent: dict[str, Any], field: str, rule: str
) -> None:
    if "content" in sent:
        sent = {"headers": {"Content-Type": "application/json"}, **sent}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(_shop()), base_url="http://shop"
    ) as client:
        answer = await client.request(method, path, **sent)
    told = answer.json()
    assert (answer.status_code, told["field"]) == (422, field)
    assert told["rule"].startswith(rule)
    assert "in all" not in told["detail"]


async def test_what_is_missing_is_told_without_the_rest_of_what_was_sent() -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(_shop()), base_url="http://shop"
    ) as client:
        answer = await client.put("/order", json={"password": "hush"})
    assert answer.json()["detail"] == "something is missing (3 in all)"
    assert "hush" not in answer.text


async def test_a_server_that_ends_and_is_slow_to_hang_up_is_one_that_is_away(
    database_url: str,
) -> None:
    async with dying(database_url) as (url, goodbye):
        database = await Database.open(url, pool_size=1)
        app = FastAPI()
        problem.install(app)

        @app.get("/ended")
        async def through_sqlalchemy() -> None:
            async with database.begin() as connection:
                await connection.execute(text("SELECT 1"))

        @app.get("/ended-hot")
        async def through_asyncpg() -> None:
            async with database.hot() as connection:
                await connection.execute("SELECT 1")

        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://hub") as http:
            for path in ("/ended", "/ended-hot"):
                assert (await http.get(path)).status_code == 200
            await goodbye()
            for path in ("/ended", "/ended-hot"):
                told = await http.get(path)
                assert told.status_code == 503, (path, told.text)
                assert told.json()["type"].endswith("/database-away")
        await database.close()


async def test_while_the_database_is_away_a_caller_is_told_to_come_again(
    database: Database,
) -> None:
    app = FastAPI()
    problem.install(app)
    ended = "SELECT pg_terminate_backend(pg_backend_pid())"

    @app.get("/ended")
    async def through_sqlalchemy() -> None:
        async with database.begin() as connection:
            await connection.execute(text(ended))

    @app.get("/ended-hot")
    async def through_asyncpg() -> None:
        async with database.hot() as connection:
            await connection.execute(ended)

    @app.get("/gone")
    async def nobody_listens() -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        await asyncpg.connect(host="127.0.0.1", port=port, user="nobody", database="none")

    @app.get("/bug")
    async def our_own_fault() -> None:
        async with database.hot() as connection:
            await connection.execute("SELECT FROM nowhere")

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as http:
        for path in ("/ended", "/ended-hot", "/gone"):
            told = await http.get(path)
            assert told.status_code == 503, (path, told.text)
            assert told.json()["type"].endswith("/database-away")
        assert (await http.get("/bug")).status_code == 500
