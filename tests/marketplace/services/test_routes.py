"""The catalogue over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

from httpx import AsyncClient

from tests.marketplace.fakes import HUB, OPERATOR, HandClock, Member
from tests.marketplace.whole import Marketplace

SERVICES = "/marketplace/services"
PARKING: dict[str, Any] = {
    "name": "parking",
    "category": "search",
    "description": "Where to park.",
    "endpoint": "https://operator.example/parking",
    "operations": [{"name": "find", "method": "GET", "path": "/places/{place_id}"}],
}


async def test_a_service_is_registered_published_suspended_and_retired(
    market: Marketplace, operator: Member, evsp: Member
) -> None:
    answer = await operator.http.post(SERVICES, json=PARKING)
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert (told["provider"], told["status"], told["major"]) == (OPERATOR, "draft", 1)
    assert told["path"] == "/services/parking"
    one = f"{SERVICES}/parking/v1"
    assert (await evsp.http.get(one)).status_code == 404
    draft = market.book.service("parking", 1)
    assert draft is not None
    assert not draft.published
    for action, status, in_book in (
        ("publish", "published", True),
        ("suspend", "suspended", True),
        ("publish", "published", True),
        ("retire", "retired", False),
    ):
        for _ in range(2):
            answer = await operator.http.post(f"{one}/{action}")
            assert (answer.status_code, answer.json()["status"]) == (200, status)
        entry = market.book.service("parking", 1)
        assert (entry is not None) is in_book
        assert (await evsp.http.get(one)).status_code == (200 if in_book else 404)
    assert (await operator.http.post(f"{one}/publish")).status_code == 409


async def test_where_it_is_answered_is_between_provider_and_hub(
    market: Marketplace, operator: Member, evsp: Member
) -> None:
    await operator.http.post(SERVICES, json=PARKING)
    await operator.http.post(f"{SERVICES}/parking/v1/publish")
    assert (await operator.http.get(f"{SERVICES}/parking/v1")).json()["endpoint"] is not None
    assert (await evsp.http.get(f"{SERVICES}/parking/v1")).json()["endpoint"] is None
    entry = market.book.service("parking", 1)
    assert entry is not None
    assert entry.endpoint == PARKING["endpoint"]
    assert entry.operations[0].path == "/places/{place_id}"


async def test_a_name_belongs_to_who_had_it_first_in_all_its_versions(
    operator: Member, evsp: Member
) -> None:
    first, second = await asyncio.gather(
        operator.http.post(SERVICES, json=PARKING),
        evsp.http.post(SERVICES, json=PARKING | {"major": 2}),
    )
    assert sorted([first.status_code, second.status_code]) == [201, 409]
    owner, stranger = (operator, evsp) if first.status_code == 201 else (evsp, operator)
    taken = await stranger.http.post(SERVICES, json=PARKING | {"major": 3})
    assert (taken.status_code, taken.json()["field"]) == (409, "name")
    assert (await owner.http.post(SERVICES, json=PARKING | {"major": 3})).status_code == 201
    for hubs in ("search-evse", "roaming"):
        assert (await owner.http.post(SERVICES, json=PARKING | {"name": hubs})).status_code == 409


async def test_the_same_description_again_is_the_same_service(operator: Member) -> None:
    first = await operator.http.post(SERVICES, json=PARKING)
    again = await operator.http.post(SERVICES, json=PARKING)
    assert first.json() == again.json()
    other = await operator.http.post(SERVICES, json=PARKING | {"description": "Elsewhere."})
    assert (other.status_code, other.json()["field"]) == (409, "major")


async def test_only_its_provider_changes_a_service(
    operator: Member, evsp: Member, client: AsyncClient
) -> None:
    await operator.http.post(SERVICES, json=PARKING)
    one = f"{SERVICES}/parking/v1"
    assert (await evsp.http.post(f"{one}/publish")).status_code == 404
    await operator.http.post(f"{one}/publish")
    assert (await evsp.http.post(f"{one}/retire")).status_code == 403
    assert (await operator.http.post(f"{SERVICES}/search-evse/v1/retire")).status_code == 403
    assert (await client.post(f"{one}/retire")).status_code == 401
    assert (await client.get(SERVICES)).status_code == 401
    for nothing in ("%00/v1", "parking/v2", "parking/v99999999999999999999"):
        assert (await operator.http.get(f"{SERVICES}/{nothing}")).status_code == 404


async def test_the_catalogue_is_searched_by_words_and_in_pages(
    operator: Member, clock: HandClock
) -> None:
    for n in range(5):
        await operator.http.post(SERVICES, json=PARKING | {"name": f"parking-{n}"})
    found = await operator.http.get(SERVICES, params={"q": "PARK where"})
    assert [one["name"] for one in found.json()] == [f"parking-{n}" for n in range(5)]
    for nothing in ("100%", "_", "park\x00ing elsewhere"):
        assert (await operator.http.get(SERVICES, params={"q": nothing})).json() == []
    names, url = [], f"{SERVICES}?limit=2"
    while url:
        page = await operator.http.get(url)
        names += [one["name"] for one in page.json()]
        url = page.links.get("next", {}).get("url", "")
    assert names == sorted(names)
    assert {"clearing-house", "contract-validation", "roaming", "search-evse"} < set(names)
    hub = [one for one in (await operator.http.get(SERVICES)).json() if one["provider"] == HUB]
    assert {one["path"] for one in hub if one["name"] == "roaming"} == {None}
    for bad in ("x", "x:y", "x:99999", "é:1", "\x00:1"):
        answer = await operator.http.get(SERVICES, params={"cursor": bad})
        assert answer.status_code == 422


async def test_a_description_that_breaks_a_rule_is_refused_by_name(operator: Member) -> None:
    for wrong, field in (
        ({"name": "No"}, "name"),
        ({"endpoint": "ftp://x/"}, "endpoint"),
        ({"endpoint": "http://10.0.0.1/"}, "endpoint"),
        ({"protocol": "agreement"}, "body.protocol"),
        ({"major": 10**30}, None),
        ({"operations": [{"name": "a", "method": "BREW", "path": "/"}]}, "operations.0.method"),
    ):
        answer = await operator.http.post(SERVICES, json=PARKING | wrong)
        assert answer.status_code == 422, wrong
        assert field is None or answer.json()["field"] == field, wrong
