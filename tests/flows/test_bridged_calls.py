"""What is true of every call is true of a bridged one: connections, traces, books, and each no."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from httpx import ASGITransport
from lxml import etree

from bridge.wsdl import SoapInterface
from gateway.bridging.faults import PROBLEM
from kit.event_log import START, read
from roaming.events import EventType
from tests.bridge.wsdls import ochp_document
from tests.flows.test_bridging import (
    ASK,
    DOOR,
    FAULT,
    OCHP_FILES,
    POINTS_FILES,
    TOKEN,
    WSSE,
    Behaves,
    Market,
    clearing_house,
    market,
    ochp,
    saying,
)
from tests.flows.test_mutual_tls import OTHER, OWN, registered, shows, token
from tests.gateway.calls.servers import served
from tests.hub import Hub, answering, running, server, until

__all__ = ["market", "ochp"]

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
CALLS = 20


def envelope(header: str = "", service: str = "partner") -> bytes:
    """Asks for a point, by the WSDL that the hub makes of `POINTS`."""
    asked = f'<showPoint xmlns="urn:gridroam:{service}:1"><id>7</id></showPoint>'
    body = f"<e:Body>{asked}</e:Body>"
    return f'<e:Envelope xmlns:e="{SOAP}">{header}{body}</e:Envelope>'.encode()


def username_token(name: str, secret: str) -> str:
    return (
        f'<e:Header><s:Security xmlns:s="{WSSE}"><s:UsernameToken><s:Username>{name}</s:Username>'
        f"<s:Password>{secret}</s:Password></s:UsernameToken></s:Security></e:Header>"
    )


def fault_of(told: httpx.Response) -> dict[str, str | None]:
    """The members of the problem that a fault of SOAP 1.1 tells of."""
    assert told.status_code == 500
    assert told.headers["content-type"].startswith("text/xml")
    [fault] = etree.fromstring(told.content).iter(f"{{{SOAP}}}Fault")
    [problem] = fault.iter(f"{{{PROBLEM}}}problem")
    return {etree.QName(one).localname: one.text for one in problem}


@asynccontextmanager
async def on_a_socket(market: Market) -> AsyncIterator[httpx.AsyncClient]:
    transport = market.hub.http._transport
    assert isinstance(transport, ASGITransport)
    async with served(transport.app) as url, httpx.AsyncClient(base_url=url) as http:
        yield http


async def by_soap(http: httpx.AsyncClient, market: Market, **headers: str) -> httpx.Response:
    sent = {"Content-Type": "text/xml", "Authorization": f"Bearer {market.requester.token}"}
    return await http.post(f"{DOOR}/soap", content=envelope(), headers=sent | headers)


async def by_json(http: httpx.AsyncClient, market: Market, **headers: str) -> httpx.Response:
    sent = {"Authorization": f"Bearer {market.requester.token}", **headers}
    return await http.post(f"{DOOR}/{ASK}", json=TOKEN, headers=sent)


@functools.cache
def ochp_envelope() -> bytes:
    return SoapInterface.read(ochp_document()).request(ASK, TOKEN).content


async def passed_on(http: httpx.AsyncClient, market: Market, **headers: str) -> httpx.Response:
    sent = {"Content-Type": "text/xml", "Authorization": f"Bearer {market.requester.token}"}
    return await http.post(f"{DOOR}/soap", content=ochp_envelope(), headers=sent | headers)


@dataclass(frozen=True, slots=True)
class Way:
    """A caller and a provider, one of whom speaks SOAP. `refuses`: what the provider says no by."""

    protocol: str
    document: dict[str, Any]
    operation: str
    ask: Callable[..., Awaitable[httpx.Response]]
    refuses: Behaves
    refused_with: int


GONE = {"type": "about:blank", "title": "Gone", "detail": "no such point"}
WAYS = {
    "json to soap": Way("soap", OCHP_FILES, ASK, by_json, saying(FAULT, 500), 422),
    # As old servers do it: the status says that all is well.
    "json to soap, fault by 200": Way("soap", OCHP_FILES, ASK, by_json, saying(FAULT, 200), 422),
    "soap to soap": Way("soap", OCHP_FILES, ASK, passed_on, saying(FAULT, 500), 500),
    "soap to rest": Way("rest", POINTS_FILES, "showPoint", by_soap, answering(GONE, 404), 500),
}


@dataclass(slots=True)
class Counted:
    """A provider that tells its connections apart, by where they come from."""

    behaves: Behaves
    connections: set[object] = field(default_factory=set)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        self.connections.add(request.transport.get_extra_info("peername"))
        return await self.behaves(request)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
async def test_a_bridged_call_shares_its_connection_continues_its_trace_and_is_in_the_books_once(
    market: Market, ochp: Any, way: Way
) -> None:
    async with server() as provider, on_a_socket(market) as http:
        answers = {
            "soap": clearing_house(ochp, provider, []),
            "rest": answering({"power_w": 22_000}),
        }
        counted = provider.behaviour = Counted(answers[way.protocol])
        await market.registers(provider, way.protocol, way.document)
        contract = await market.agrees(price_per_call_minor=5, currency="EUR")
        spans = set()
        for _ in range(CALLS):
            answer = await way.ask(http, market, traceparent=f"00-{TRACE}-{SPAN}-01")
            assert answer.status_code == 200, answer.text
            told = provider.came[-1].headers["traceparent"]
            assert answer.headers["traceparent"] == told
            version, trace, span, flags = told.split("-")
            assert (version, trace, flags) == ("00", TRACE, "01")
            spans.add(span)
        assert len(spans - {SPAN}) == CALLS
        counted.behaves = way.refuses
        refused = await way.ask(http, market)
        assert refused.status_code == way.refused_with
        assert len(provider.came) == CALLS + 1
        assert len(counted.connections) == 1

        async def metered() -> bool:
            told = (await market.provider.get("/marketplace/usage"))["usage"]
            calls = [day["calls"] for day in told if day["service"] == "partner"]
            return calls == [CALLS + 1]

        await until(metered)
        usage = (await market.provider.get("/marketplace/usage"))["usage"]
        [day] = [day for day in usage if day["service"] == "partner"]
        assert (day["contract_id"], day["requester"]) == (contract, "FR*PD1")
        # The fault is a call, and costs nothing.
        assert (day["calls"], day["billable_calls"]) == (CALLS + 1, CALLS)
        figures = await market.provider.get("/marketplace/monitoring?service=partner")
        [told] = figures["figures"]
        assert (told["operation"], told["calls"]) == (way.operation, CALLS + 1)
        assert told["caller_errors"] + told["provider_errors"] == 1


async def is_logged(hub: Hub, fault: dict[str, str | None]) -> dict[str, Any]:
    """The one event that tells of this fault's call."""
    found: list[dict[str, Any]] = []

    async def written() -> bool:
        async with hub.parts.database.hot() as connection:
            told = await read(connection, START, types=[EventType.CALL_REFUSED])
        bodies = [dict(one.body) for one in told]
        found[:] = [one for one in bodies if one["request_id"] == fault["request_id"]]
        return bool(found)

    await until(written)
    [event] = found
    assert (event["reason"], event["shadow"]) == (fault["reason"], False)
    return event


TERMS: dict[str, dict[str, Any] | None] = {
    "no-contract": None,
    "operation-not-covered": {"operations": ["GET /sites/*"]},
    "quota-exceeded": {"quota": {"calls_per_day": 1}},
}


@pytest.mark.parametrize("reason", TERMS)
async def test_what_a_contract_refuses_a_soap_caller_is_in_the_log_by_its_reason(
    market: Market, reason: str
) -> None:
    async with server(answering({"power_w": 22_000})) as provider, on_a_socket(market) as http:
        await market.registers(provider, "rest", POINTS_FILES)
        terms = TERMS[reason]
        contract = None if terms is None else await market.agrees(**terms)
        passes = 1 if reason == "quota-exceeded" else 0
        for _ in range(passes):
            assert (await by_soap(http, market)).status_code == 200
        fault = fault_of(await by_soap(http, market))
        assert fault["reason"] == reason
        assert fault["rule"]
        assert len(provider.came) == passes
    event = await is_logged(market.hub, fault)
    assert (event["caller"], event["client_id"]) == ("FR*PD1", market.requester.client_id)
    assert (event["service"], event["operation"]) == ("partner", "showPoint")
    assert event["contract_id"] == contract


async def test_a_wrong_username_token_is_in_the_log_and_its_secret_is_not(market: Market) -> None:
    async with server(answering({"power_w": 22_000})) as provider, on_a_socket(market) as http:
        await market.registers(provider, "rest", POINTS_FILES)
        await market.agrees()
        content = envelope(username_token(market.requester.client_id, "guessed-7f3a"))
        headers = {"Content-Type": "text/xml"}
        told = await http.post(f"{DOOR}/soap", content=content, headers=headers)
        fault = fault_of(told)
        assert (fault["status"], fault["reason"]) == ("401", "unauthenticated")
        assert "guessed" not in told.text
        assert provider.came == []
    event = await is_logged(market.hub, fault)
    # Whoever it was, it was not shown to be the partner of that name.
    assert (event["caller"], event["client_id"]) == (None, None)
    assert "guessed" not in str(event)


async def test_a_signature_over_an_envelope_is_refused_rather_than_passed_on_unread(
    market: Market,
) -> None:
    async with server(answering({"power_w": 22_000})) as provider, on_a_socket(market) as http:
        await market.registers(provider, "rest", POINTS_FILES)
        await market.agrees()
        fault = fault_of(await by_soap(http, market, **{"X-JWS-Signature": "e30..c2ln"}))
        assert (fault["status"], fault["reason"]) == ("400", "signature-invalid")
        assert (fault["field"], fault["rule"]) == ("X-JWS-Signature", "send it without")
        assert provider.came == []
        assert (await by_soap(http, market)).status_code == 200
    await is_logged(market.hub, fault)


async def test_a_token_that_is_bound_to_a_certificate_opens_soap_with_it_alone(
    database_url: str, tmp_path: Path
) -> None:
    proxies = ("127.0.0.1/32",)
    async with (
        running(database_url, tmp_path / "home", trusted_proxies=proxies) as hub,
        server(answering({"power_w": 22_000})) as provider,
    ):
        market = Market(
            hub,
            await hub.partner("NL*CHS", "service-provider"),
            await hub.partner("FR*PD1", "evse-operator"),
        )
        await market.registers(provider, "rest", POINTS_FILES)
        await market.agrees()
        client = await registered(market.requester, OWN)
        told = await token(hub, OWN, client_id=client["client_id"])
        market.requester.token = told.json()["access_token"]
        faults = []
        async with on_a_socket(market) as http:
            for made in (None, OTHER):
                faults.append(fault_of(await by_soap(http, market, **shows(made))))
                assert faults[-1]["status"] == "401"
                told = await http.get(
                    f"{DOOR}/soap?wsdl",
                    headers={"Authorization": f"Bearer {market.requester.token}", **shows(made)},
                )
                assert told.status_code == 401
                assert "showPoint" not in told.text
            assert provider.came == []
            assert (await by_soap(http, market, **shows(OWN))).status_code == 200
        assert [fault["reason"] for fault in faults] == ["certificate-mismatch"] * 2
        event = await is_logged(hub, faults[0])
        assert (event["caller"], event["client_id"]) == ("FR*PD1", client["client_id"])
