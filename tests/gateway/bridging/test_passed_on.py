"""SOAP to SOAP: envelopes go on as they are, without what is for the hub alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from aiohttp import web
from lxml import etree

from bridge import soap_envelope
from bridge.soap_envelope import ENVELOPES
from bridge.username_token import PASSWORD_DIGEST, PASSWORD_TEXT, WSSE, WSU
from gateway.bridging.faults import PROBLEM
from gateway.calls.model import Grant, Quota
from tests.gateway.bridging.fakes import BridgedHouse, HubLogin, interface, saying
from tests.gateway.calls.fakes import OPERATOR, STRANGER, CountedQuotas, Known
from tests.gateway.calls.servers import partner, raw_partner, served

PATH = "/services/weather/soap"
XML = "text/xml; charset=utf-8"
ASK = '<n:Ask xmlns:n="urn:t" ><n:place>Paris &#x26; \u00cele</n:place ></n:Ask>'
TYPES = {"1.1": XML, "1.2": 'application/soap+xml; charset=utf-8; action="urn:t/Ask"'}


@pytest.fixture
def house() -> BridgedHouse:
    return BridgedHouse()


@pytest.fixture
async def client(house: BridgedHouse) -> AsyncIterator[httpx.AsyncClient]:
    async with served(house.open()) as address, httpx.AsyncClient(base_url=address) as client:
        yield client
    await house.upstream.close()


def envelope(header: str = "", version: str = "1.1", body: str = ASK) -> bytes:
    space = ENVELOPES[version]
    return f"<e:Envelope xmlns:e='{space}'>{header}<e:Body>{body}</e:Body></e:Envelope>".encode()


def login(
    username: str = "client-1", password: str = "s3cret", kind: str = PASSWORD_TEXT, more: str = ""
) -> str:
    return (
        f'<e:Header><s:Security xmlns:s="{WSSE}" e:mustUnderstand="1"><s:UsernameToken>'
        f'<s:Username>{username}</s:Username><s:Password Type="{kind}">{password}</s:Password>'
        f"{more}</s:UsernameToken></s:Security></e:Header>"
    )


async def post(
    client: httpx.AsyncClient,
    content: bytes,
    version: str = "1.1",
    token: str | None = "operator",
    **headers: str,
) -> httpx.Response:
    sent = {"Content-Type": TYPES[version], "SOAPAction": '"urn:t/Ask"', **headers}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    return await client.post(PATH, content=content, headers=sent)


def told(version: str = "1.1") -> bytes:
    return interface().envelope("Ask", {"hours": 7}, version)


def fault_of(answer: httpx.Response, version: str = "1.1") -> tuple[str, dict[str, str | None]]:
    """(code, members of the problem) of an answer that is a fault in this version, and no other."""
    assert answer.headers["Content-Type"] == soap_envelope.content_type(version, "")
    root = etree.fromstring(answer.content)
    assert etree.QName(root).namespace == ENVELOPES[version]
    parts = soap_envelope.taken_apart(answer.content)
    found, details = soap_envelope.read_fault(parts.body[0], version)
    [problem] = details
    assert problem.tag == f"{{{PROBLEM}}}problem"
    members = {etree.QName(one).localname: one.text for one in problem}
    assert members["detail"] == found.reason or not found.reason.isascii()
    assert members["request_id"] == answer.headers["X-Request-Id"]
    assert answer.status_code == (400 if (version, found.code) == ("1.2", "Client") else 500)
    return found.code, members


def problem_of(answer: httpx.Response, version: str = "1.1") -> tuple[str, str]:
    """(code, last word of the problem's type)."""
    code, members = fault_of(answer, version)
    return code, (members["type"] or "").rpartition("/")[2]


@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_an_envelope_is_passed_on_in_every_byte_and_so_is_its_answer(
    house: BridgedHouse, client: httpx.AsyncClient, version: str
) -> None:
    async with partner(saying(told(version), 200, TYPES[version])) as provider:
        house.weather(f"{provider.address}/ws")
        answer = await post(client, envelope(version=version), version)
    assert (answer.status_code, answer.content) == (200, told(version))
    assert answer.headers["Content-Type"] == TYPES[version]
    assert answer.headers["X-Contract-Id"] == "C-1"
    [request] = provider.requests
    assert provider.bodies == [envelope(version=version)]
    assert (request.method, request.path_qs) == ("POST", "/ws")
    assert request.headers["Content-Type"] == TYPES[version]
    assert request.headers["SOAPAction"] == '"urn:t/Ask"'
    assert request.headers["X-Caller-Party"] == OPERATOR
    assert house.book.asked == [(OPERATOR, "weather", 1, "Ask")]
    [record] = house.meter.noted
    assert (record.operation, record.status, record.bytes_in) == (
        "Ask",
        200,
        len(envelope(version=version)),
    )


async def test_a_long_envelope_goes_on_whole(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    content = envelope(body=ASK.replace("Paris", "P" * 500_000))
    async with partner(saying(told())) as provider:
        house.weather(provider.address)
        assert (await post(client, content)).status_code == 200
    assert provider.bodies == [content]
    assert provider.requests[0].headers["Content-Length"] == str(len(content))


async def test_a_providers_fault_is_told_as_it_came(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    fault = interface().fault("1.1", "Client.Moved", "no such place", {"Sorry": {"why": "moved"}})
    async with partner(saying(fault, 500)) as provider:
        house.weather(provider.address)
        answer = await post(client, envelope())
    assert (answer.status_code, answer.content) == (500, fault)
    # It is told as it came, and recorded as what it is: the provider has not failed.
    assert [record.status for record in house.meter.noted] == [422]


@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize("fault", [True, False], ids=["fault", "answer"])
async def test_a_fault_costs_nothing_under_whatever_status_it_comes(
    house: BridgedHouse, client: httpx.AsyncClient, version: str, fault: bool
) -> None:
    no = soap_envelope.fault(version, soap_envelope.SoapFault("Client", "no"), "")
    content = no if fault else told(version)
    async with partner(saying(content, 200, TYPES[version])) as provider:
        house.weather(f"{provider.address}/ws")
        house.book.answers[OPERATOR, "weather"] = Grant("C-1", priced=True)
        answer = await post(client, envelope(version=version), version)
    assert (answer.status_code, answer.content) == (200, content)
    assert [one.billable for one in house.meter.committed] == ([] if fault else [True])
    noted = [(one.billable, one.status) for one in house.meter.noted]
    assert noted == ([(False, 422)] if fault else [])


async def test_a_caller_without_a_token_is_known_by_its_username_token_which_stays_here(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    async with partner(saying(told())) as provider:
        house.weather(provider.address)
        answer = await post(client, envelope(login()), token=None)
        assert answer.status_code == 200, answer.text
    assert provider.bodies == [envelope("<e:Header></e:Header>")]
    assert "s3cret" not in str(provider.requests[0].headers)
    assert house.clients.asked == [("client-1", "127.0.0.1")]
    assert [record.requester for record in house.meter.noted] == [OPERATOR]


async def test_a_provider_that_asks_for_a_login_gets_the_hubs_own_in_its_place(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    house.logins.login = HubLogin("hub", "the hub's own", "text")
    async with partner(saying(told())) as provider:
        house.weather(provider.address)
        for content in (envelope(login()), envelope()):
            assert (await post(client, content)).status_code == 200
    for body in provider.bodies:
        assert b"client-1" not in body
        assert b"s3cret" not in body
        root = etree.fromstring(body)
        assert [one.text for one in root.iter(f"{{{WSSE}}}Password")] == ["the hub's own"]
        assert interface().question(body).payload == {"place": "Paris & \u00cele"}


LOGINS = {
    "a wrong secret": login(password="guessed"),
    "nobody": login(username="nobody"),
    "a digest": login(kind=PASSWORD_DIGEST),
    "one made yesterday": login(
        more=f'<u:Created xmlns:u="{WSU}">2026-05-03T12:00:00Z</u:Created>'
    ),
    "no token": f'<e:Header><s:Security xmlns:s="{WSSE}"/></e:Header>',
    "none": "",
}


@pytest.mark.parametrize("header", LOGINS.values(), ids=LOGINS.keys())
@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_who_shows_no_good_login_is_told_so_by_a_fault(
    house: BridgedHouse, client: httpx.AsyncClient, header: str, version: str
) -> None:
    async with partner(saying(told())) as provider:
        house.weather(provider.address)
        answer = await post(client, envelope(header, version), version, token=None)
        assert problem_of(answer, version) == ("Client", "caller-unknown")
        assert provider.requests == []
    assert [refused.reason for refused in house.refusals.noted] == ["unauthenticated"]
    assert "guessed" not in answer.text


async def test_a_nonce_is_good_once(house: BridgedHouse, client: httpx.AsyncClient) -> None:
    nonce = (
        f'<s:Nonce>bm9uY2U=</s:Nonce><u:Created xmlns:u="{WSU}">2026-05-04T12:00:00Z</u:Created>'
    )
    async with partner(saying(told())) as provider:
        house.weather(provider.address)
        content = envelope(login(more=nonce))
        assert (await post(client, content, token=None)).status_code == 200
        assert problem_of(await post(client, content, token=None)) == ("Client", "caller-unknown")
        assert len(provider.requests) == 1


async def test_a_login_for_other_things_calls_no_service(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    house.weather("http://127.0.0.1:1/")
    house.clients.known["client-1", "s3cret"] = Known(OPERATOR, scopes=frozenset({"events"}))
    answer = await post(client, envelope(login()), token=None)
    assert problem_of(answer) == ("Client", "scope-missing")


async def test_a_forged_token_is_not_made_good_by_a_login(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    house.weather("http://127.0.0.1:1/")
    answer = await post(client, envelope(login()), token="forged")
    assert problem_of(answer) == ("Client", "caller-unknown")


@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_what_would_be_a_problem_is_a_fault_in_the_callers_version(
    house: BridgedHouse, client: httpx.AsyncClient, version: str
) -> None:
    async with partner(saying(told())) as provider:
        house.weather(provider.address, quota=Quota(per_day=1))
        answer = await post(client, envelope(version=version), version, token="stranger")
        code, members = fault_of(answer, version)
        assert (code, members["field"], members["value"]) == ("Client", "contract", "no-contract")
        assert members["rule"] == "agree a contract with NL*ABC: GET /marketplace/offerings"
        assert [refused.caller for refused in house.refusals.noted] == [STRANGER]
        # The quota of the contract that there is is used up.
        answer = await post(client, envelope(version=version), version)
        assert problem_of(answer, version) == ("Client", "quota-exceeded")
        assert answer.headers["Retry-After"] == "43200"
        unknown = envelope(version=version, body='<n:Tell xmlns:n="urn:t"/>')
        answer = await post(client, unknown, version)
        assert problem_of(answer, version) == ("Client", "unknown-operation")
        assert provider.requests == []


ADDRESSED = '<e:Header><a:Action xmlns:a="{}">urn:t/Delete</a:Action></e:Header>'
LIES: dict[str, tuple[bytes, dict[str, str]]] = {
    "in the header": (envelope(), {"SOAPAction": '"urn:t/Delete"'}),
    "in one of two headers": (envelope(), {"SOAPAction": '"urn:t/Ask", "urn:t/Delete"'}),
    "in the content type": (
        envelope(version="1.2"),
        {"Content-Type": 'application/soap+xml; action="urn:t/Delete"; action="urn:t/Ask"'},
    ),
    "in the envelope": (envelope(ADDRESSED.format("http://www.w3.org/2005/08/addressing")), {}),
    "in an older word": (
        envelope(ADDRESSED.format("http://schemas.xmlsoap.org/ws/2004/08/addressing")),
        {},
    ),
    "by a second body": (envelope(body=f"{ASK}<n:Delete xmlns:n='urn:t'/>"), {}),
}


@pytest.mark.parametrize(("content", "headers"), LIES.values(), ids=LIES.keys())
async def test_what_is_asked_is_not_said_to_be_something_else(
    house: BridgedHouse, client: httpx.AsyncClient, content: bytes, headers: dict[str, str]
) -> None:
    """Many servers go by the action alone: what the contract covers is what they must be told."""
    async with partner(saying(told())) as provider:
        house.weather(provider.address)
        answer = await post(client, content, **headers)
        assert answer.status_code >= 400, "it reached the provider"
        assert b"bad-envelope" in answer.content
        assert provider.requests == []


@pytest.mark.parametrize("told_action", ["", '""'])
async def test_who_says_no_action_has_it_said(
    house: BridgedHouse, client: httpx.AsyncClient, told_action: str
) -> None:
    async with partner(saying(told())) as provider:
        house.weather(provider.address)
        answer = await post(client, envelope(), SOAPAction=told_action)
        assert answer.status_code == 200
    assert provider.requests[0].headers["SOAPAction"] == '"urn:t/Ask"'


BOMB = "<!DOCTYPE a [<!ENTITY b '&c;&c;'><!ENTITY c 'ha'>]>"
ENTITY = "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
HOSTILE = {
    "no xml": (b"Hello", XML),
    "nothing": (b"", XML),
    "a bomb": (BOMB.encode() + envelope(body="<a>&b;</a>"), XML),
    "an external entity": (ENTITY.encode() + envelope(body="<a>&x;</a>"), XML),
    "another encoding": (envelope(), "text/xml; charset=iso-8859-1"),
    "json": (b"{}", "application/json"),
    "an attachment": (envelope(), "multipart/related; boundary=x"),
    "deeper than anybody needs": (envelope(body="<a>" * 5000 + "</a>" * 5000), XML),
}


@pytest.mark.parametrize(("content", "content_type"), HOSTILE.values(), ids=HOSTILE.keys())
async def test_what_is_no_honest_envelope_never_reaches_the_provider(
    house: BridgedHouse, client: httpx.AsyncClient, content: bytes, content_type: str
) -> None:
    async with partner(saying(told())) as provider:
        house.weather(provider.address)
        for token in ("operator", None):
            answer = await post(client, content, token=token, **{"Content-Type": content_type})
            assert problem_of(answer) == ("Client", "bad-envelope")
            assert "root:" not in answer.text
        assert provider.requests == []
        assert (await post(client, envelope())).status_code == 200


async def test_an_envelope_of_neither_version_is_told_so(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    house.weather("http://127.0.0.1:1/")
    content = envelope().replace(b"schemas.xmlsoap.org", b"example.org")
    assert problem_of(await post(client, content)) == ("Client", "version-mismatch")


async def test_an_envelope_beyond_all_bounds_is_refused_by_a_fault(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    async with partner(saying(told())) as provider:
        house.weather(provider.address)
        huge = envelope(body=ASK.replace("Paris", "P" * 11_000_000))
        assert problem_of(await post(client, huge)) == ("Client", "body-too-large")

        async def unannounced() -> AsyncIterator[bytes]:
            for at in range(0, len(huge), 1_000_000):
                yield huge[at : at + 1_000_000]

        sent = {"Content-Type": XML, "Authorization": "Bearer operator"}
        answer = await client.post(PATH, content=unannounced(), headers=sent)
        assert problem_of(answer) == ("Client", "body-too-large")
        # Of somebody unknown less is read.
        long = envelope(login(), body=ASK.replace("Paris", "P" * 1_100_000))
        assert problem_of(await post(client, long, token=None)) == ("Client", "body-too-large")
        assert provider.requests == []


FOREIGN = {
    "html": saying(b"<html>Welcome to nginx!</html>", 200, "text/html"),
    "html in error": saying(b"<html>Bad Gateway</html>", 502, "text/html"),
    "json": saying(b"{}", 200, "application/json"),
    "a redirect": saying(b"", 302, "text/html"),
}


@pytest.mark.parametrize("behaviour", FOREIGN.values(), ids=FOREIGN.keys())
async def test_what_is_no_soap_is_not_passed_off_as_such(
    house: BridgedHouse, client: httpx.AsyncClient, behaviour: Any
) -> None:
    async with partner(behaviour) as provider:
        house.weather(provider.address)
        answer = await post(client, envelope())
    assert problem_of(answer) == ("Server", "provider-broken")
    assert "nginx" not in answer.text


async def test_an_answer_that_breaks_off_is_a_fault(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    says = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 500\r\n\r\n<e:Enve"
    async with raw_partner(says) as provider:
        house.weather(provider.address)
        assert problem_of(await post(client, envelope())) == ("Server", "provider-broken")


async def test_a_provider_of_an_answerless_operation_says_nothing(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    async with partner(saying(b"", 202)) as provider:
        house.weather(provider.address)
        answer = await post(client, envelope())
    assert (answer.status_code, answer.content) == (202, b"")


async def test_where_nothing_tells_of_soap_the_path_is_the_providers_own(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    async def plain(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=request.path_qs)

    async with partner(plain) as provider:
        house.weather(provider.address, interface=None, operations=None)
        answer = await post(client, b"what it likes")
        assert (answer.status_code, answer.text) == (200, "/soap")
        answer = await post(client, b"what it likes", token="forged")
        assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_quota_that_a_failed_call_took_is_given_back(
    house: BridgedHouse, client: httpx.AsyncClient
) -> None:
    assert isinstance(house.quotas, CountedQuotas)
    house.quotas.left = 1
    async with partner(FOREIGN["html"]) as provider:
        house.weather(provider.address, quota=Quota(per_day=1))
        await post(client, envelope())
    assert house.quotas.left == 1
