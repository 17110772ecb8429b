"""Partners over HTTP: a directory for all, endpoints for each its own."""

from __future__ import annotations

from httpx import AsyncClient

from marketplace.partners import flows
from marketplace.partners.model import Purpose
from tests.marketplace.fakes import EVSP, OPERATOR, Member
from tests.marketplace.whole import Marketplace

PARTNERS = "/marketplace/partners"
ENDPOINT = {
    "url": "http://127.0.0.1:9000/cdrs",
    "headers": {"Authorization": "Token very-secret"},
}


async def test_all_who_take_part_see_the_directory(
    market: Marketplace, operator: Member, evsp: Member
) -> None:
    await market.add_partner(OPERATOR.__class__("AT*GRD"), ["dso"], "Grid")
    first = await operator.http.get(PARTNERS, params={"limit": 2})
    assert [one["party"] for one in first.json()] == ["AT*GRD", EVSP]
    rest = await operator.http.get(first.links["next"]["url"])
    assert [one["party"] for one in rest.json()] == [OPERATOR]
    assert "next" not in rest.links
    one = (await evsp.http.get(f"{PARTNERS}/fr-pd1")).json()
    assert one["roles"] == ["evse-operator"]
    assert (await evsp.http.get(f"{PARTNERS}/NL*NON")).status_code == 404
    assert (await evsp.http.get(f"{PARTNERS}/nobody")).status_code == 422


async def test_without_a_token_there_is_no_directory(client: AsyncClient) -> None:
    for path in ("", f"/{EVSP}", f"/{EVSP}/endpoints"):
        assert (await client.get(f"{PARTNERS}{path}")).status_code == 401
    put = await client.put(f"{PARTNERS}/{EVSP}/endpoints/cdrs", json=ENDPOINT)
    assert put.status_code == 401


async def test_a_party_says_where_it_is_called(market: Marketplace, evsp: Member) -> None:
    path = f"{PARTNERS}/{EVSP}/endpoints"
    for _ in range(2):
        answer = await evsp.http.put(f"{path}/cdrs", json=ENDPOINT)
        assert answer.status_code == 200, answer.text
        assert answer.json()["header_names"] == ["Authorization"]
        assert "very-secret" not in answer.text
    listed = await evsp.http.get(path)
    assert [one["url"] for one in listed.json()] == [ENDPOINT["url"]]
    assert "very-secret" not in listed.text
    kept = await flows.endpoint_to_call(market.core.partners, EVSP, Purpose.CDRS)
    assert kept is not None
    assert dict(kept.headers) == ENDPOINT["headers"]
    assert await flows.endpoint_to_call(market.core.partners, EVSP, Purpose.AUTHORISATION) is None
    async with market.database.begin() as connection:
        dump = await connection.exec_driver_sql(
            "SELECT e::text FROM marketplace.endpoint AS e UNION ALL SELECT body::text"
            " FROM kit.event UNION ALL SELECT encode(body, 'escape') FROM kit.idempotent_answer"
        )
        assert not any("very-secret" in str(row) for row in dump)


async def test_nobody_says_where_another_is_called(operator: Member, evsp: Member) -> None:
    theirs = f"{PARTNERS}/{EVSP}/endpoints"
    assert (await operator.http.put(f"{theirs}/cdrs", json=ENDPOINT)).status_code == 403
    assert (await operator.http.get(theirs)).status_code == 403


async def test_an_endpoint_that_the_hub_will_not_call_is_refused_by_name(evsp: Member) -> None:
    path = f"{PARTNERS}/{EVSP}/endpoints"
    for purpose, body, field in (
        ("cdrs", {"url": "http://169.254.169.254/"}, "url"),
        ("cdrs", {"url": "gopher://x/"}, "url"),
        ("cdrs", ENDPOINT | {"headers": {"Host": "x"}}, "headers.Host"),
        ("cdrs", {}, "body.url"),
        ("coffee", ENDPOINT, "path.purpose"),
    ):
        answer = await evsp.http.put(f"{path}/{purpose}", json=body)
        assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert (await evsp.http.get(path)).json() == []
