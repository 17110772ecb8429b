"""Partners over HTTP: a directory for all, endpoints for each its own."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from httpx import AsyncClient

from kit import event_log
from kit.event_log import START
from marketplace.contracts.entries import ContractInForce, NotInForce
from marketplace.contracts.model import Absence
from marketplace.partners import flows
from marketplace.partners.model import Purpose
from tests.hub import until
from tests.marketplace.fakes import (
    EVSP,
    HUB,
    NOW,
    OPERATOR,
    ROAMING_TERMS,
    HandClock,
    Member,
    agree_roaming,
    join,
    offer_roaming,
)
from tests.marketplace.services.test_routes import PARKING
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


def standing(party: str, action: str = "") -> str:
    return f"{PARTNERS}/{party}/standing" + (f"/{action}" if action else "")


async def test_a_suspended_partner_gets_no_token_and_makes_no_contract_until_it_is_restored(
    market: Marketplace, operator: Member, evsp: Member, keeper: Member, clock: HandClock
) -> None:
    offering = await offer_roaming(operator, EVSP)
    clock.forward(seconds=2)
    for _ in range(2):
        told = await keeper.http.post(standing(OPERATOR, "suspend"), json={"reason": "unpaid"})
        assert told.status_code == 200, told.text
    shown = told.json()
    assert (shown["status"], len(shown["history"])) == ("suspended", 1)
    await until(lambda: is_refused(operator))
    assert await tokens(operator) == 401
    accepted = await evsp.http.post(
        "/marketplace/contracts", json={"offering_id": offering["offering_id"]}
    )
    assert (accepted.status_code, accepted.json()["value"]) == (409, OPERATOR)
    listed = {one["party"]: one for one in (await evsp.http.get(PARTNERS)).json()}
    assert (listed[OPERATOR]["status"], listed[OPERATOR]["roles"]) == ("suspended", [])
    assert listed[EVSP]["status"] == "active"

    assert (await keeper.http.post(standing(OPERATOR, "restore"))).json()["status"] == "active"
    assert await tokens(operator) == 200
    again = await evsp.http.post(
        "/marketplace/contracts", json={"offering_id": offering["offering_id"]}
    )
    assert again.status_code == 201
    # Why it was suspended is nobody's business but its own.
    assert (await evsp.http.get(standing(OPERATOR))).status_code == 403
    assert (await keeper.http.get(standing(OPERATOR))).json()["history"][0]["reason"] == "unpaid"


async def test_tokens_of_a_partner_say_no_role_that_is_suspended(
    market: Marketplace, keeper: Member, clock: HandClock
) -> None:
    both = await join(market, EVSP, "evsp", "service-provider")
    clock.forward(seconds=2)
    told = await keeper.http.post(f"{PARTNERS}/{EVSP}/roles/evsp/suspend")
    assert told.json()["roles"] == [
        {"role": "evsp", "status": "suspended"},
        {"role": "service-provider", "status": "approved"},
    ]
    assert told.json()["status"] == "active"
    # The token that said otherwise has ended.
    await until(lambda: is_refused(both))
    async with market.access.open() as book:
        client = await book.client(both.client_id, clock())
    assert client is not None
    assert client.roles == {"service-provider"}
    assert (await keeper.http.post(f"{PARTNERS}/{EVSP}/roles/dso/suspend")).status_code == 404
    assert (await keeper.http.post(f"{PARTNERS}/{EVSP}/roles/evsp/leave")).status_code == 422
    await both.http.aclose()


async def test_who_leaves_is_bound_by_the_longest_notice_and_then_only_reads(
    market: Marketplace, operator: Member, evsp: Member, keeper: Member, clock: HandClock
) -> None:
    await operator.http.post("/marketplace/services", json=PARKING)
    await operator.http.post("/marketplace/services/parking/v1/publish")
    terms = {"notice_days": 30}
    parking = await operator.http.post(
        "/marketplace/offerings", json={"service": "parking", "terms": terms}
    )
    agreed = await evsp.http.post(
        "/marketplace/contracts", json={"offering_id": parking.json()["offering_id"]}
    )
    roaming = await agree_roaming(operator, evsp)
    told = await operator.http.post(standing(OPERATOR, "leave"), json={"reason": "sold"})
    assert told.status_code == 200, told.text
    leaves_at = NOW + timedelta(days=30)
    assert told.json()["status"] == "leaving"
    assert told.json()["leaves_at"] == leaves_at.isoformat().replace("+00:00", "Z")
    for one in (agreed.json(), roaming):
        contract = (await evsp.http.get(f"/marketplace/contracts/{one['contract_id']}")).json()
        assert contract["status"] == "agreed"
        assert contract["history"][-1]["status"] == "terminated"
        assert contract["history"][-1]["since"] == told.json()["leaves_at"]
    at = leaves_at - timedelta(seconds=1)
    assert market.book.roaming(OPERATOR, EVSP, at) is not None
    assert market.book.roaming(OPERATOR, EVSP, leaves_at) is None
    absent = market.book.find(EVSP, OPERATOR, "roaming", 1, leaves_at)
    assert absent == NotInForce(Absence.PARTNER_LEFT, roaming["contract_id"])

    clock.now = leaves_at
    assert not await flows.take_leave(market.core.partners, now=clock())
    assert await tokens(operator) == 200
    async with market.access.open() as book:
        client = await book.client(operator.client_id, clock())
    assert client is not None
    assert (client.scopes, client.roles) == (("marketplace:read",), frozenset())
    async with market.database.begin() as connection:
        offered = await connection.exec_driver_sql(
            "SELECT count(*) FROM marketplace.offering"
            " WHERE provider = 'FR*PD1' AND status = 'published'"
        )
        assert offered.scalar() == 0
        every = await event_log.read(connection, START, stream=f"partner:{OPERATOR}", limit=50)
    heard = [(one.type, one.party) for one in every if one.type.startswith("partner-")]
    for kind in ("partner-standing-changed", "partner-left"):
        assert {party for said, party in heard if said == kind} == {OPERATOR, EVSP, HUB}
        # Each is told once, however often somebody looks.
        assert len([1 for said, _ in heard if said == kind]) == 3
    assert not await flows.take_leave(market.core.partners, now=clock())
    # A token from before that day, at the last moment.
    late = {"service": "roaming", "terms": ROAMING_TERMS}
    refused = await operator.http.post("/marketplace/offerings", json=late)
    assert (refused.status_code, refused.json()["field"]) == (409, "provider")


async def test_nobody_but_the_hubs_operator_suspends_or_restores(
    operator: Member, evsp: Member, client: AsyncClient
) -> None:
    for path in (
        standing(OPERATOR, "suspend"),
        standing(OPERATOR, "restore"),
        standing(EVSP, "restore"),
        f"{PARTNERS}/{OPERATOR}/roles/evse-operator/suspend",
    ):
        assert (await client.post(path)).status_code == 401
        refused = await evsp.http.post(path)
        assert (refused.status_code, refused.json()["field"]) == (403, "action")
    assert (await evsp.http.post(standing(OPERATOR, "leave"))).status_code == 403
    assert (await operator.http.get(standing(OPERATOR))).json()["status"] == "active"


async def test_the_hub_is_no_partner_that_could_be_suspended(keeper: Member) -> None:
    for path in (standing(HUB, "suspend"), standing("NL*NON", "suspend")):
        assert (await keeper.http.post(path)).status_code == 404


async def test_who_came_back_agrees_anew(
    market: Marketplace, operator: Member, evsp: Member, keeper: Member, clock: HandClock
) -> None:
    """A contract that has ended stays ended; the hub's public offerings are accepted anew."""
    roaming = await agree_roaming(operator, evsp)
    clock.forward(seconds=2)
    gone = await operator.http.post(standing(OPERATOR, "leave"))
    assert gone.json()["status"] == "left"
    clock.forward(minutes=1)
    back = await keeper.http.post(standing(OPERATOR, "restore"))
    assert (back.json()["status"], back.json()["leaves_at"]) == ("active", None)
    assert isinstance(market.book.find(OPERATOR, None, "search-evse", 1, clock()), ContractInForce)
    assert market.book.find(EVSP, OPERATOR, "roaming", 1, clock()) == NotInForce(
        Absence.TERMINATED, roaming["contract_id"]
    )


async def test_a_role_is_restored_to_who_has_left_and_agrees_to_nothing_until_it_is_back(
    market: Marketplace, operator: Member, keeper: Member, clock: HandClock
) -> None:
    role = f"/marketplace/partners/{OPERATOR}/roles/evse-operator"
    assert (await keeper.http.post(f"{role}/suspend")).status_code == 200
    clock.forward(seconds=2)
    assert (await keeper.http.post(standing(OPERATOR, "leave"))).json()["status"] == "left"
    clock.forward(minutes=1)
    restored = await keeper.http.post(f"{role}/restore")
    assert restored.status_code == 200, restored.text
    assert restored.json()["status"] == "left"
    found = market.book.find(OPERATOR, None, "search-evse", 1, clock())
    assert not isinstance(found, ContractInForce)
    back = await keeper.http.post(standing(OPERATOR, "restore"))
    assert back.json()["roles"] == [{"role": "evse-operator", "status": "approved"}]
    assert isinstance(market.book.find(OPERATOR, None, "search-evse", 1, clock()), ContractInForce)


async def test_a_suspension_and_an_acceptance_at_one_moment_never_leave_a_contract_in_force(
    market: Marketplace, operator: Member, evsp: Member, keeper: Member, clock: HandClock
) -> None:
    offering = await offer_roaming(operator, EVSP)
    accepted, suspended = await asyncio.gather(
        evsp.http.post("/marketplace/contracts", json={"offering_id": offering["offering_id"]}),
        keeper.http.post(standing(OPERATOR, "suspend")),
    )
    assert suspended.status_code == 200
    assert accepted.status_code in (201, 409)
    assert market.book.roaming(OPERATOR, EVSP, clock()) is None


async def test_a_leaving_and_an_acceptance_at_one_moment_leave_no_contract_behind(
    market: Marketplace, operator: Member, evsp: Member, clock: HandClock
) -> None:
    offering = await offer_roaming(operator, EVSP)
    accepted, left = await asyncio.gather(
        evsp.http.post("/marketplace/contracts", json={"offering_id": offering["offering_id"]}),
        operator.http.post(standing(OPERATOR, "leave")),
    )
    assert left.json()["status"] == "left"
    contracts = (await evsp.http.get("/marketplace/contracts?service=roaming")).json()
    if accepted.status_code == 201:
        assert [one["status"] for one in contracts] == ["terminated"]
    else:
        assert (accepted.status_code, contracts) == (409, [])


async def is_refused(member: Member) -> bool:
    """Whether this process has heard that the member's token has ended."""
    return (await member.http.get(PARTNERS)).status_code == 401


async def tokens(member: Member) -> int:
    """What the token endpoint says to a client of this member; a good token is used from now on."""
    answer = await member.http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(member.client_id, member.client_secret),
    )
    if answer.status_code == 200:
        member.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return answer.status_code
