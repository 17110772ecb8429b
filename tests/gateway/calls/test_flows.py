"""What is tried out in the sandbox: where it goes, what it needs, and what it leaves behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from gateway.calls.flows import Door, pass_through
from gateway.calls.model import Call, Denial, Grant, Quota, Reason, Service
from gateway.calls.ports import Answer, Body, Carry
from gateway.calls.upstream import Upstream
from tests.gateway.calls.fakes import NOON, OPERATOR, PROVIDER, CountedQuotas, House, Known
from tests.gateway.calls.servers import served
from tests.hub import Server, answering, server


async def evses(_: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"[]"})


@pytest.fixture
async def live() -> AsyncIterator[Server]:
    async with server(answering("live")) as found:
        yield found


@pytest.fixture
async def trial() -> AsyncIterator[Server]:
    async with server(answering("sandbox")) as found:
        yield found


@pytest.fixture
async def house(live: Server, trial: Server) -> AsyncIterator[House]:
    """A partner's service with a sandbox, and two of the hub's own."""
    upstream = Upstream(allow_loopback=True)
    table = [("GET", "/evses", "search"), ("POST", "/evses", "add")]
    house = House(
        upstream=upstream,
        local={"search-evse": evses, "clearing-house": evses},
        operations={"search-evse": table, "clearing-house": table},
        sandboxed=frozenset({"search-evse"}),
    )
    house.tokens.known["sandbox"] = Known(OPERATOR, client_id="sandbox-1", sandbox=True)
    house.tokens.known["provider"] = Known(PROVIDER, client_id="provider-1")
    house.tokens.known["provider-sandbox"] = Known(PROVIDER, client_id="sandbox-2", sandbox=True)
    house.book.add(weather(live, trial))
    for name in ("search-evse", "clearing-house"):
        house.book.add(Service(name, 1, PROVIDER))
    for name in ("weather", "search-evse", "clearing-house"):
        house.book.answers[OPERATOR, name] = Grant("C-1", Quota(per_day=1), priced=True)
    yield house
    await upstream.close()


def weather(live: Server, trial: Server | None, **more: Any) -> Service:
    sandboxes = () if trial is None else (f"{trial.url}/try",)
    return Service(
        "weather", 1, PROVIDER, endpoint=f"{live.url}/v1", sandbox_endpoints=sandboxes, **more
    )


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with served(house.open()) as address, httpx.AsyncClient(base_url=address) as client:
        yield client


async def ask(
    client: httpx.AsyncClient, token: str, path: str = "/services/weather/now", method: str = "GET"
) -> httpx.Response:
    return await client.request(method, path, headers={"Authorization": f"Bearer {token}"})


async def test_a_call_of_the_sandbox_goes_to_the_sandbox_and_a_live_one_does_not(
    client: httpx.AsyncClient, house: House, live: Server, trial: Server
) -> None:
    assert isinstance(house.quotas, CountedQuotas)
    house.quotas.left = 1
    assert (await ask(client, "sandbox")).json() == "sandbox"
    assert (await ask(client, "operator")).json() == "live"
    assert [came.path for came in trial.came] == ["/try/now"]
    assert [came.path for came in live.came] == ["/v1/now"]


async def test_what_is_tried_out_costs_nothing_and_counts_in_no_quota(
    client: httpx.AsyncClient, house: House
) -> None:
    assert isinstance(house.quotas, CountedQuotas)
    for _ in range(3):
        answer = await ask(client, "sandbox")
        assert answer.status_code == 200
        assert answer.headers["X-Contract-Id"] == "C-1"
        assert "RateLimit-Limit" not in answer.headers
    assert house.meter.committed == []
    assert [(one.sandbox, one.billable) for one in house.meter.noted] == [(True, False)] * 3
    house.quotas.left = 1
    assert (await ask(client, "operator")).status_code == 200
    assert [(one.sandbox, one.billable) for one in house.meter.committed] == [(False, True)]


async def test_the_sandbox_needs_a_contract_as_well(
    client: httpx.AsyncClient, house: House, trial: Server
) -> None:
    house.book.answers[OPERATOR, "weather"] = Denial(Reason.CONTRACT_EXPIRED, "C-1")
    answer = await ask(client, "sandbox")
    assert (answer.status_code, answer.json()["value"]) == (403, "contract-expired")
    (refused,) = house.refusals.noted
    assert (refused.reason, refused.sandbox) == (Reason.CONTRACT_EXPIRED, True)
    assert trial.came == []


async def test_a_provider_tries_its_own_draft_and_nobody_else_does(
    client: httpx.AsyncClient, house: House, live: Server, trial: Server
) -> None:
    house.book.add(weather(live, trial, published=False))
    assert (await ask(client, "provider-sandbox")).json() == "sandbox"
    # Not with a live token, and not another party, contract or none.
    assert (await ask(client, "provider")).status_code == 404
    assert (await ask(client, "sandbox")).status_code == 404
    assert (await ask(client, "operator")).status_code == 404
    assert (len(trial.came), live.came) == (1, [])
    (record,) = house.meter.noted
    assert (record.contract_id, record.requester, record.sandbox) == (None, PROVIDER, True)


async def test_a_provider_needs_a_contract_for_its_own_live_service(
    client: httpx.AsyncClient,
) -> None:
    assert (await ask(client, "provider")).json()["value"] == "no-contract"


@pytest.mark.parametrize("who", ["sandbox", "provider-sandbox"])
async def test_a_service_without_a_sandbox_says_so_and_is_left_alone(
    client: httpx.AsyncClient, house: House, live: Server, who: str
) -> None:
    house.book.add(weather(live, None))
    answer = await ask(client, who)
    assert answer.status_code == 403
    told = answer.json()
    assert told["type"].endswith("/sandbox-not-served")
    assert (told["field"], told["value"]) == ("environment", "sandbox")
    assert str(PROVIDER) in told["rule"]
    assert live.came == []
    (refused,) = house.refusals.noted
    assert (refused.reason, refused.sandbox) == (Reason.SANDBOX_NOT_SERVED, True)
    assert refused.at == NOON


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/services/search-evse/evses", "GET", 200),
        ("/services/search-evse/evses", "HEAD", 200),
        ("/services/search-evse/evses", "POST", 403),
        ("/services/clearing-house/evses", "GET", 403),
        ("/services/clearing-house/evses", "POST", 403),
    ],
)
async def test_of_the_hubs_own_services_the_sandbox_reads_some(
    client: httpx.AsyncClient, house: House, path: str, method: str, status: int
) -> None:
    assert (await ask(client, "sandbox", path, method)).status_code == status
    assert [one.reason for one in house.refusals.noted] == (
        [] if status == 200 else [Reason.SANDBOX_NOT_SERVED]
    )


class Envelopes:
    """A bridge with a door for envelopes, which must not be opened."""

    def __init__(self) -> None:
        self.entrances = {"/soap": self}

    def words(self, call: Call, door: Door) -> None:
        return None

    async def enter(self, call: Call, body: Body, answer: Answer, door: Door) -> None:
        await pass_through(call, body, answer, door, self._open)

    async def turn(self, call: Call, body: Body, door: Door) -> Carry:
        raise AssertionError("nothing is turned")

    async def _open(self, call: Call, body: Body, answer: Answer, door: Door) -> Carry:
        raise AssertionError("opened")


@pytest.mark.parametrize("path", ["/services/weather/now", "/services/weather/soap"])
async def test_a_signature_that_nobody_verifies_is_not_passed_on(
    house: House, live: Server, path: str
) -> None:
    house.bridge = Envelopes()
    async with served(house.open()) as address, httpx.AsyncClient(base_url=address) as client:
        answer = await client.post(
            path, headers={"Authorization": "Bearer operator", "X-JWS-Signature": "a..b"}
        )
    assert answer.status_code == 400
    assert answer.json()["type"].endswith("/signature-invalid")
    assert [one.reason for one in house.refusals.noted] == [Reason.SIGNATURE_INVALID]
    assert live.came == []


async def test_a_preference_is_passed_on_where_nothing_is_signed(
    client: httpx.AsyncClient, house: House, live: Server
) -> None:
    assert isinstance(house.quotas, CountedQuotas)
    house.quotas.left = 1
    headers = {"Authorization": "Bearer operator", "Prefer": "signed-answer"}
    answer = await client.get("/services/weather/now", headers=headers)
    assert answer.status_code == 200
    assert "X-JWS-Signature" not in answer.headers
    assert live.came[0].headers["Prefer"] == "signed-answer"
