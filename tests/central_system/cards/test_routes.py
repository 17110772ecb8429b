"""An operator's own cards over HTTP."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response
from starlette.types import Receive, Scope, Send

from central_system.cards import routes
from central_system.cards.model import Card, CardStatus
from central_system.cards.store import SqlCards
from kit import problem
from kit.database import Database
from kit.http import CALLER, Caller
from tests.central_system.fakes import OPERATOR, OTHER


@pytest.fixture
def cards(database: Database) -> SqlCards:
    return SqlCards(database)


async def put(cards: SqlCards, body: object, role: str = "evse-operator") -> Response:
    inner = FastAPI()
    problem.install(inner)
    inner.include_router(routes.router(cards))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope[CALLER] = Caller(OPERATOR, frozenset({role}), "client", None, "request")
        await inner(scope, receive, send)

    async with AsyncClient(transport=ASGITransport(app), base_url="http://house") as client:
        return await client.put("/central-system/cards", json=body)


async def test_cards_are_known_in_any_spelling_and_by_their_operator_alone(cards: SqlCards) -> None:
    answer = await put(cards, [{"id_tag": "staff1"}, {"id_tag": "S2", "status": "blocked"}])
    assert answer.json() == {"read": 2, "created": 2}
    assert await cards.find(OPERATOR, "STAFF1") == Card("STAFF1", CardStatus.ACCEPTED)
    assert await cards.find(OTHER, "STAFF1") is None
    again = await put(cards, [{"id_tag": "STAFF1", "status": "expired"}, {"id_tag": "s3"}])
    assert again.json() == {"read": 2, "created": 1}
    assert await cards.find(OPERATOR, "STAFF1") == Card("STAFF1", CardStatus.EXPIRED)


async def test_the_last_of_several_spellings_counts(cards: SqlCards) -> None:
    await put(cards, [{"id_tag": "a"}, {"id_tag": "A", "status": "blocked"}])
    assert await cards.find(OPERATOR, "A") == Card("A", CardStatus.BLOCKED)


@pytest.mark.parametrize("tag", ["", "  ", "x" * 21, "tab\tinside", "\u00e9"])
async def test_a_bad_tag_is_refused_without_being_repeated(cards: SqlCards, tag: str) -> None:
    answer = await put(cards, [{"id_tag": "GOOD"}, {"id_tag": tag}])
    assert (answer.status_code, answer.json()["field"]) == (422, "id_tag")
    assert await cards.find(OPERATOR, "GOOD") is None


async def test_only_operators_have_cards(cards: SqlCards) -> None:
    assert (await put(cards, [{"id_tag": "A"}], role="evsp")).status_code == 403
