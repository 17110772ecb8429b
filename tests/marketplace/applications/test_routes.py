"""Applications over HTTP: who applies, who reads, who decides, and what comes of it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from httpx import AsyncClient, BasicAuth, Response

from kit import event_log
from kit.event_log import START
from marketplace.contracts.entries import ContractInForce
from tests.marketplace.fakes import EVSP, HUB, OPERATOR, OTHER, HandClock, Member, client_of
from tests.marketplace.whole import Marketplace

PATH = "/marketplace/applications"


def told(*parties: str, **changed: Any) -> dict[str, Any]:
    """All that any role needs."""
    contacts = [
        {"name": "Ada", "email": "ada@cards.example", "purpose": purpose}
        for purpose in ("contracts", "operations")
    ]
    return {
        "parties": [*(parties or (EVSP,))],
        "roles": ["evsp"],
        "legal_name": "Cards GmbH",
        "street": "Unter den Linden 1",
        "city": "Berlin",
        "postal_code": "10117",
        "country": "DE",
        "vat_id": "DE 136 695 976",
        "iban": "DE89 3704 0044 0532 0130 00",
        "bic": "COBADEFFXXX",
        "invoice_email": "invoices@cards.example",
        "contacts": contacts,
    } | changed


async def applied(client: AsyncClient, *parties: str, **changed: Any) -> dict[str, Any]:
    answer = await client.post(PATH, json=told(*parties, **changed))
    assert answer.status_code == 201, answer.text
    receipt: dict[str, Any] = answer.json()
    return receipt


async def shown(client: AsyncClient, receipt: dict[str, Any]) -> dict[str, Any]:
    """The application as its applicant reads it."""
    answer = await client.get(f"{PATH}/{receipt['application_id']}", auth=secret_of(receipt))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def secret_of(receipt: dict[str, Any]) -> BasicAuth:
    return BasicAuth(receipt["application_id"], receipt["secret"])


async def decided(
    keeper: Member, receipt: dict[str, Any], what: str, reason: str | None = None
) -> Response:
    """What the operator's decision is answered: `approve`, or `roles/evsp/refuse`."""
    return await keeper.http.post(
        f"{PATH}/{receipt['application_id']}/{what}", json={"reason": reason}
    )


async def fetched(client: AsyncClient, receipt: dict[str, Any], **body: str) -> Response:
    path = f"{PATH}/{receipt['application_id']}/credentials"
    return await client.post(path, auth=secret_of(receipt), json=body)


async def test_a_business_applies_is_approved_and_fetches_its_client(
    market: Marketplace, client: AsyncClient, keeper: Member, clock: HandClock
) -> None:
    receipt = await applied(client)
    assert (receipt["status"], receipt["vat_id"]) == ("requested", "DE136695976")
    assert receipt["iban"] == "DE89370400440532013000"
    waiting = await fetched(client, receipt)
    assert (waiting.status_code, waiting.json()["field"]) == (409, "application_id")
    assert (await shown(client, receipt))["roles"] == [
        {"role": "evsp", "status": "requested", "decided_at": None, "reason": None}
    ]
    assert "secret" not in await shown(client, receipt)

    for _ in range(2):
        approved = await decided(keeper, receipt, "approve")
        assert approved.status_code == 200, approved.text
    assert approved.json()["status"] == (await shown(client, receipt))["status"] == "approved"
    given = await fetched(client, receipt)
    assert given.status_code == 201
    assert given.headers["cache-control"] == "no-store"
    assert given.json()["party"] == EVSP
    again = await fetched(client, receipt)
    assert again.json()["client_id"] == given.json()["client_id"]
    assert again.json()["client_secret"] != given.json()["client_secret"]
    for one in (given.json(), again.json()):
        token = await client.post(
            "/oauth/token",
            data={"grant_type": "client_credentials"},
            auth=(one["client_id"], one["client_secret"]),
        )
        assert token.status_code == 200
    bearer = {"Authorization": f"Bearer {token.json()['access_token']}"}
    own = await client.get(f"/marketplace/partners/{EVSP}", headers=bearer)
    assert (own.json()["name"], own.json()["roles"]) == ("Cards GmbH", ["evsp"])
    paper = await client.get(f"/marketplace/partners/{EVSP}/business-details", headers=bearer)
    assert paper.json()["vat_id"] == "DE136695976"
    # It may call at once, under the hub's public offerings.
    assert isinstance(market.book.find(EVSP, None, "search-evse", 1, clock()), ContractInForce)
    clock.forward(days=31)
    late = await fetched(client, receipt)
    assert late.status_code == 409


async def test_what_a_role_misses_and_what_breaks_a_rule_is_refused_by_name(
    client: AsyncClient,
) -> None:
    for changed, status, field in (
        ({"roles": ["evse-operator"], "iban": None, "bic": None}, 422, "roles"),
        ({"roles": ["boss"]}, 422, "role"),
        ({"vat_id": "DE136695977"}, 422, "vat_id"),
        ({"iban": "DE89370400440532013001"}, 422, "iban"),
        ({"bic": "BNPAFRPP"}, 422, "bic"),
        ({"parties": ["nobody"]}, 422, "party"),
        ({"parties": []}, 422, "body.parties"),
        ({"parties": [HUB]}, 409, "parties"),
        ({"contacts": [{"name": "A", "email": "x", "purpose": "finance"}]}, 422, "contacts.email"),
        ({"contacts": [{"name": "A"}]}, 422, "body.contacts.0.email"),
        ({"more": 1}, 422, "body.more"),
    ):
        answer = await client.post(PATH, json=told(**changed))
        assert (answer.status_code, answer.json().get("field")) == (status, field), answer.text
    broken = await client.post(PATH, content=b"{")
    assert broken.status_code == 422
    large = await client.post(PATH, json=told(legal_name="x" * 70_000))
    assert large.status_code == 413


async def test_the_same_application_again_is_the_one_there_is(client: AsyncClient) -> None:
    first = await applied(client)
    again = await client.post(PATH, json=told())
    assert (again.status_code, again.json()["application_id"]) == (200, first["application_id"])
    # Whoever knows as much about a business as its letterhead tells is not its applicant.
    assert "secret" not in again.json()


async def test_who_lost_the_answer_gets_it_once_more_by_its_idempotency_key(
    market: Marketplace, client: AsyncClient
) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    answers = await asyncio.gather(*(client.post(PATH, json=told(), headers=key) for _ in range(3)))
    assert sorted(one.status_code for one in answers) == [200, 200, 201]
    assert len({(one.json()["application_id"], one.json()["secret"]) for one in answers}) == 1
    receipt = answers[0].json()
    assert (await shown(client, receipt))["status"] == "requested"
    other = await client.post(PATH, json=told(city="Bonn"), headers=key)
    assert (other.status_code, other.json()["field"]) == (422, "Idempotency-Key")
    guessed = await client.post(PATH, json=told(), headers={"Idempotency-Key": "1"})
    assert (guessed.status_code, guessed.json()["field"]) == (422, "Idempotency-Key")
    # Another's key with the same words tells nothing.
    stranger = await client.post(PATH, json=told(), headers={"Idempotency-Key": str(uuid4())})
    assert (stranger.status_code, "secret" in stranger.json()) == (200, False)
    async with market.database.begin() as connection:
        dump = await connection.exec_driver_sql(
            "SELECT a::text FROM marketplace.application AS a UNION ALL SELECT body::text"
            " FROM kit.event UNION ALL SELECT encode(body, 'escape') FROM kit.idempotent_answer"
        )
        assert not any(receipt["secret"] in str(row) for row in dump)


async def test_two_that_hand_in_the_same_at_one_moment_have_handed_in_one(
    market: Marketplace, second: Marketplace
) -> None:
    async with client_of(market) as one, client_of(second) as other:
        answers = await asyncio.gather(
            *(client.post(PATH, json=told()) for client in (one, other, one, other))
        )
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert len({answer.json()["application_id"] for answer in answers}) == 1


async def test_an_application_is_read_by_its_secret_and_by_the_operator_alone(
    client: AsyncClient, operator: Member, keeper: Member
) -> None:
    receipt = await applied(client)
    path = f"{PATH}/{receipt['application_id']}"
    assert (await client.get(path)).status_code == 401
    assert (await client.get(path, auth=("x", receipt["secret"]))).status_code == 401
    wrong = BasicAuth(receipt["application_id"], "guessed")
    assert (await client.get(path, auth=wrong)).status_code == 401
    assert (await client.post(f"{path}/credentials", auth=wrong)).status_code == 401
    assert (await client.post(f"{path}/credentials")).status_code == 401
    assert (await client.get(f"{PATH}/no-such", auth=BasicAuth("no-such", "x"))).status_code == 401
    assert (await operator.http.get(path)).status_code == 403
    assert (await operator.http.get(f"{PATH}/{uuid4()}")).status_code == 404
    assert (await operator.http.get(PATH)).json() == []
    assert (await client.get(PATH)).status_code == 401
    assert (await keeper.http.get(path)).json()["legal_name"] == "Cards GmbH"
    listed = await keeper.http.get(PATH, params={"status": "requested"})
    assert [one["application_id"] for one in listed.json()] == [receipt["application_id"]]
    assert (await keeper.http.get(PATH, params={"status": "approved"})).json() == []


async def test_guessing_a_secret_is_soon_over(client: AsyncClient, clock: HandClock) -> None:
    receipt = await applied(client)
    path = f"{PATH}/{receipt['application_id']}"
    wrong = BasicAuth(receipt["application_id"], "guessed")
    answers = [(await client.get(path, auth=wrong)).status_code for _ in range(11)]
    assert answers == [401] * 10 + [429]
    # The right one, too, until a minute has gone: else the answer would tell.
    assert (await client.get(path, auth=secret_of(receipt))).status_code == 429
    clock.forward(minutes=1)
    assert (await client.get(path, auth=secret_of(receipt))).status_code == 200


async def test_nobody_applies_for_ever(client: AsyncClient, clock: HandClock) -> None:
    for number in range(20):
        await applied(client, city=f"Berlin {number}")
    refused = await client.post(PATH, json=told(city="Bonn"))
    assert refused.status_code == 429
    clock.forward(hours=1)
    assert (await client.post(PATH, json=told(city="Bonn"))).status_code == 201


async def test_a_refused_applicant_reads_why_and_applies_anew(
    market: Marketplace, client: AsyncClient, keeper: Member
) -> None:
    receipt = await applied(client, roles=["evsp", "service-provider"])
    assert (await decided(keeper, receipt, "refuse")).status_code == 422
    refused = await decided(keeper, receipt, "refuse", "The register knows no such company.")
    assert refused.json()["status"] == "refused"
    reasons = {one["reason"] for one in (await shown(client, receipt))["roles"]}
    assert reasons == {"The register knows no such company."}
    assert (await fetched(client, receipt)).status_code == 409
    anew = await applied(client, roles=["evsp", "service-provider"])
    assert anew["application_id"] != receipt["application_id"]
    # Nothing was bound by the one that was refused; and it may be reconsidered.
    assert (await decided(keeper, receipt, "roles/evsp/approve")).status_code == 200
    late = await decided(keeper, anew, "approve")
    assert (late.status_code, late.json()["value"]) == (409, EVSP)


async def test_each_role_is_decided_by_itself_and_further_ones_are_asked_for_later(
    market: Marketplace, client: AsyncClient, keeper: Member, clock: HandClock
) -> None:
    receipt = await applied(client, EVSP, OTHER, roles=["evsp", "dso"])
    first = await decided(keeper, receipt, "roles/evsp/approve")
    assert first.json()["status"] == "requested"
    assert (await decided(keeper, receipt, "roles/dso/refuse", "no grid")).status_code == 200
    assert (await decided(keeper, receipt, "roles/dso/approve")).status_code == 200
    assert (await decided(keeper, receipt, "roles/dso/refuse", "no grid")).status_code == 409
    assert (await decided(keeper, receipt, "roles/evse-operator/approve")).status_code == 422
    # Both party ids are the partner's, and each has a client of its own.
    for party in (EVSP, OTHER):
        standing = (await keeper.http.get(f"/marketplace/partners/{party}/standing")).json()
        assert standing["main_party"] == EVSP
        assert [one["role"] for one in standing["roles"]] == ["dso", "evsp"]
        assert (await fetched(client, receipt, party=party)).json()["party"] == party
    assert (await fetched(client, receipt, party=OPERATOR)).status_code == 403
    # What is done to the one is done to the other.
    await keeper.http.post(f"/marketplace/partners/{OTHER}/standing/suspend")
    for party in (EVSP, OTHER):
        standing = (await keeper.http.get(f"/marketplace/partners/{party}/standing")).json()
        assert standing["status"] == "suspended"


async def test_a_partner_asks_for_further_roles(
    market: Marketplace, operator: Member, keeper: Member, clock: HandClock
) -> None:
    path = f"/marketplace/partners/{OPERATOR}/role-requests"
    wish = {"roles": ["evsp"], "contacts": told()["contacts"]}
    bare = await operator.http.post(path, json=wish)
    assert (bare.status_code, bare.json()["field"]) == (422, "roles")
    paper = {key: value for key, value in told().items() if key not in wish and key != "parties"}
    details = f"/marketplace/partners/{OPERATOR}/business-details"
    await operator.http.put(details, json=paper)
    lacking = await operator.http.post(path, json={"roles": ["evsp"]})
    assert lacking.json()["rule"] == "with a contact for operations"
    asked = await operator.http.post(path, json=wish)
    assert asked.status_code == 201, asked.text
    again = await operator.http.post(path, json=wish)
    assert again.json()["application_id"] == asked.json()["application_id"]
    held = await operator.http.post(path, json={"roles": ["evse-operator"]})
    assert (held.status_code, held.json()["rule"]) == (422, "a role that it does not hold")
    assert len((await operator.http.get(PATH)).json()) == 1
    assert (
        await operator.http.post(f"/marketplace/partners/{EVSP}/role-requests", json=wish)
    ).status_code == 403
    assert (await decided(keeper, asked.json(), "approve")).status_code == 200
    own = (await operator.http.get(f"/marketplace/partners/{OPERATOR}")).json()
    assert own["roles"] == ["evse-operator", "evsp"]
    none = await operator.http.post(path, json={"roles": ["evse-operator"]})
    assert none.status_code == 422


async def test_of_two_that_claim_one_party_id_the_first_approved_has_it(
    market: Marketplace, client: AsyncClient, keeper: Member
) -> None:
    one = await applied(client, EVSP)
    other = await applied(client, OTHER, EVSP, legal_name="Claims BV")
    assert (await decided(keeper, one, "approve")).status_code == 200
    refused = await decided(keeper, other, "approve")
    assert (refused.status_code, refused.json()["value"]) == (409, EVSP)
    assert refused.json()["type"].endswith("/party-taken")
    # And the applicant reads which, by name; nothing of what else it claimed is taken from anybody.
    assert (await shown(client, other))["taken"] == [EVSP]
    assert (await shown(client, one))["taken"] == []
    # So does the operator, who decides by the list.
    listed = (await keeper.http.get(PATH)).json()
    assert {found["application_id"]: found["taken"] for found in listed} == {
        one["application_id"]: [],
        other["application_id"]: [EVSP],
    }
    assert (await keeper.http.get(f"/marketplace/partners/{OTHER}")).status_code == 404
    # From now on nobody even applies with it.
    late = await client.post(PATH, json=told(EVSP, legal_name="Late BV"))
    assert (late.status_code, late.json()["value"]) == (409, EVSP)


async def test_two_approvals_of_one_party_id_at_the_same_moment_bind_it_once(
    market: Marketplace, second: Marketplace, client: AsyncClient, keeper: Member
) -> None:
    claims = [
        await applied(client, EVSP, OTHER),
        await applied(client, OTHER, EVSP, legal_name="Claims BV"),
    ]
    elsewhere = client_of(second)
    elsewhere.headers["Authorization"] = keeper.http.headers["Authorization"]
    there = Member(HUB, keeper.client_id, keeper.client_secret, elsewhere)
    answers = await asyncio.gather(
        decided(keeper, claims[0], "approve"), decided(there, claims[1], "approve")
    )
    await elsewhere.aclose()
    assert sorted(one.status_code for one in answers) == [200, 409]
    winner = 0 if answers[0].status_code == 200 else 1
    for party in (EVSP, OTHER):
        standing = (await keeper.http.get(f"/marketplace/partners/{party}/standing")).json()
        assert standing["main_party"] == claims[winner]["parties"][0]
        assert standing["name"] == claims[winner]["legal_name"]
    taken = (await shown(client, claims[1 - winner]))["taken"]
    assert sorted(taken) == sorted([EVSP, OTHER])


async def test_one_application_approved_twice_at_one_moment_is_approved_once(
    market: Marketplace, client: AsyncClient, keeper: Member
) -> None:
    receipt = await applied(client)
    answers = await asyncio.gather(*(decided(keeper, receipt, "approve") for _ in range(4)))
    assert [one.status_code for one in answers] == [200] * 4
    async with market.database.begin() as connection:
        stream = f"application:{receipt['application_id']}"
        every = await event_log.read(connection, START, stream=stream)
        joined = await event_log.read(connection, START, stream=f"partner:{EVSP}")
    assert [one.type for one in every if one.party == HUB] == [
        "partner-applied",
        "partner-application-decided",
    ]
    assert [one.type for one in joined].count("partner-registered") == 1


async def test_only_the_operator_decides(
    client: AsyncClient, operator: Member, keeper: Member
) -> None:
    receipt = await applied(client)
    for what in ("approve", "refuse", "roles/evsp/approve"):
        assert (await decided(operator, receipt, what, "mine")).status_code == 403
        path = f"{PATH}/{receipt['application_id']}/{what}"
        assert (await client.post(path, auth=secret_of(receipt))).status_code == 401
    missing = await keeper.http.post(f"{PATH}/{uuid4()}/approve")
    assert missing.status_code == 404
    assert (await shown(client, receipt))["status"] == "requested"
