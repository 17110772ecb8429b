"""What is not as its schema wants it is told in words that say what to do."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict

from kit import problem


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
