"""The catalogue over HTTP."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

from httpx import AsyncClient, Response

from kit import event_log
from marketplace.services.login import Login, PasswordKind, unseal
from roaming.events import EventType
from tests.marketplace.fakes import HUB, OPERATOR, HandClock, Member
from tests.marketplace.whole import Marketplace

SERVICES = "/marketplace/services"
PARKING: dict[str, Any] = {
    "name": "parking",
    "category": "value-added",
    "description": "Where to park.",
    "endpoint": "https://operator.example/parking",
    "operations": [{"name": "find", "method": "GET", "path": "/places/{place_id}"}],
}


ONE = f"{SERVICES}/parking/v1"
OPENAPI: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Parking", "version": "1"},
    "paths": {
        "/places/{place_id}": {
            "get": {
                "operationId": "find",
                "parameters": [
                    {
                        "name": "place_id",
                        "in": "path",
                        "required": True,
                        "schema": {"type": "string"},
                    }
                ],
                "responses": {"200": {"description": "OK"}},
            }
        },
        "/places": {
            "post": {"operationId": "add", "responses": {"201": {"description": "Created"}}}
        },
    },
}
TYPES = """<xsd:schema xmlns:xsd="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:park"
  elementFormDefault="qualified">
  <xsd:element name="Find"><xsd:complexType><xsd:sequence>
    <xsd:element name="place" type="xsd:string"/>
  </xsd:sequence></xsd:complexType></xsd:element>
  <xsd:element name="Found"><xsd:complexType><xsd:sequence>
    <xsd:element name="free" type="xsd:int"/>
  </xsd:sequence></xsd:complexType></xsd:element>
</xsd:schema>"""
WSDL = """<wsdl:definitions xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/"
  xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:xsd="http://www.w3.org/2001/XMLSchema"
  xmlns:p="urn:park" targetNamespace="urn:park">
  <wsdl:types><xsd:schema>
    <xsd:import namespace="urn:park" schemaLocation="types/park.xsd"/>
  </xsd:schema></wsdl:types>
  <wsdl:message name="Ask"><wsdl:part name="body" element="p:Find"/></wsdl:message>
  <wsdl:message name="Answer"><wsdl:part name="body" element="p:Found"/></wsdl:message>
  <wsdl:portType name="Parking"><wsdl:operation name="Find">
    <wsdl:input message="p:Ask"/><wsdl:output message="p:Answer"/>
  </wsdl:operation></wsdl:portType>
  <wsdl:binding name="Soap" type="p:Parking">
    <soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
    <wsdl:operation name="Find"><soap:operation soapAction="find"/>
      <wsdl:input><soap:body use="literal"/></wsdl:input>
      <wsdl:output><soap:body use="literal"/></wsdl:output>
    </wsdl:operation>
  </wsdl:binding>
  <wsdl:service name="Parking"><wsdl:port name="Soap" binding="p:Soap">
    <soap:address location="http://localhost/"/>
  </wsdl:port></wsdl:service>
</wsdl:definitions>"""
FILES = {"park.wsdl": WSDL, "types/park.xsd": TYPES}
SOAP: dict[str, Any] = {
    name: value for name, value in PARKING.items() if name not in ("operations", "endpoint")
} | {"protocol": "soap"}


def zipped(files: Mapping[str, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


async def upload(
    member: Member, content: Any, media_type: str = "application/json", root: str | None = None
) -> Response:
    """Upload a document, or an object as JSON."""
    return await member.http.put(
        f"{ONE}/interface",
        content=content if isinstance(content, bytes) else json.dumps(content).encode(),
        headers={"Content-Type": media_type},
        params={} if root is None else {"root": root},
    )


async def told(market: Marketplace, kind: EventType) -> list[Any]:
    """The bodies of all events of a kind."""
    async with market.database.hot() as connection:
        return [
            event.body
            for event in await event_log.read(connection, event_log.START, limit=100, types=[kind])
        ]


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
    others: list[dict[str, Any]] = [
        {"description": "Elsewhere."},
        {"protocol": "soap"},
        {"operations": []},
    ]
    for other in others:
        answer = await operator.http.post(SERVICES, json=PARKING | other)
        assert (answer.status_code, answer.json()["field"]) == (409, "major")


async def test_what_was_changed_since_does_not_make_the_same_description_another(
    operator: Member,
) -> None:
    await operator.http.post(SERVICES, json=PARKING)
    await upload(operator, OPENAPI)
    moved = {"endpoint": "https://operator.example/elsewhere"}
    await operator.http.put(f"{ONE}/endpoints", json=moved)
    changed = await operator.http.put(f"{ONE}/handling", json={"timeout_s": 5})
    again = await operator.http.post(SERVICES, json=PARKING)
    assert (again.status_code, again.json()) == (201, changed.json())


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
    for nothing in ("100%", "1_", "park\x00ing elsewhere"):
        assert (await operator.http.get(SERVICES, params={"q": nothing})).json() == []
    for nowhere in ("_", "% ***"):
        refused = await operator.http.get(SERVICES, params={"q": nowhere})
        assert (refused.status_code, refused.json()["field"]) == (422, "q")
    # A word of one or two letters is the beginning of one.
    for short, count in (("p", 5), ("Pa wh", 5), ("ar", 0), ("3", 1), ("xx", 0)):
        found = await operator.http.get(SERVICES, params={"q": short, "provider": OPERATOR})
        assert len(found.json()) == count, short
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
        ({"more_endpoints": [{"url": "http://192.168.0.1/"}]}, "more_endpoints.0.url"),
        ({"more_endpoints": [{"url": PARKING["endpoint"]}]}, "more_endpoints"),
        ({"handling": {"timeout_s": 0}}, "handling.timeout_s"),
        ({"handling": {"timeouts_s": {"lose": 5}}}, "handling.timeouts_s.lose"),
        ({"handling": {"maps": {"find": {"request": "a["}}}}, "handling.maps.find.request"),
        ({"protocol": "topic"}, "endpoint"),
        ({"protocol": "agreement"}, "body.protocol"),
        ({"major": 10**30}, None),
        ({"operations": [{"name": "a", "method": "BREW", "path": "/"}]}, "operations.0.method"),
    ):
        answer = await operator.http.post(SERVICES, json=PARKING | wrong)
        assert answer.status_code == 422, wrong
        assert field is None or answer.json()["field"] == field, wrong


async def test_a_service_of_each_kind_is_published_when_it_is_complete(operator: Member) -> None:
    for protocol, lacking in (("rest", "endpoint"), ("soap", "endpoint"), ("topic", None)):
        one = f"{SERVICES}/{protocol}-kind/v1"
        asked = SOAP | {"name": f"{protocol}-kind", "protocol": protocol}
        assert (await operator.http.post(SERVICES, json=asked)).status_code == 201
        answer = await operator.http.post(f"{one}/publish")
        if lacking is None:
            assert answer.status_code == 200
            assert answer.json()["path"] is None
            continue
        refused = answer.json()
        assert (answer.status_code, refused["field"]) == (409, lacking)
        assert refused["type"].endswith("/service-incomplete")
        assert "PUT …/endpoints" in refused["rule"]
        assert ("PUT …/interface" in refused["rule"]) is (protocol == "soap")
        await operator.http.put(f"{one}/endpoints", json={"endpoint": "https://x.example/"})
        answer = await operator.http.post(f"{one}/publish")
        assert answer.status_code == (200 if protocol == "rest" else 409), answer.text
        if protocol == "soap":
            assert answer.json()["field"] == "interface"
            await operator.http.put(
                f"{one}/interface",
                content=zipped(FILES),
                headers={"Content-Type": "application/zip"},
            )
            assert (await operator.http.post(f"{one}/publish")).status_code == 200
        # It stays complete.
        emptied = await operator.http.put(f"{one}/endpoints", json={})
        assert (emptied.status_code, emptied.json()["field"]) == (409, "endpoint")


async def test_a_document_is_uploaded_and_its_operations_are_the_services(
    market: Marketplace, operator: Member, evsp: Member
) -> None:
    await operator.http.post(SERVICES, json=PARKING)
    answer = await upload(operator, OPENAPI)
    assert answer.status_code == 200, answer.text
    assert answer.json()["operations"] == [
        {"name": "find", "method": "GET", "path": "/places/{place_id}"},
        {"name": "add", "method": "POST", "path": "/places"},
    ]
    assert answer.json()["interface"] == f"{ONE}/interface"
    again = await upload(operator, OPENAPI)
    assert again.json() == answer.json()
    (event,) = await told(market, EventType.SERVICE_INTERFACE_CHANGED)
    assert (event["by"], event["name"], len(event["operations"])) == (OPERATOR, "parking", 2)
    shown = await operator.http.get(f"{ONE}/interface")
    digest = shown.json()["digest"]
    assert digest == event["sha256"]
    assert shown.json() | {"files": []} == {
        "kind": "openapi",
        "root": "openapi.json",
        "digest": digest,
        "files": [],
    }
    entry = market.book.service("parking", 1)
    assert entry is not None
    assert entry.interface_digest == bytes.fromhex(digest)
    # A draft's document is its provider's business, too.
    for path in ("interface", "interface/openapi.json"):
        assert (await evsp.http.get(f"{ONE}/{path}")).status_code == 404
    await operator.http.post(f"{ONE}/publish")
    file = await evsp.http.get(f"{ONE}/interface/openapi.json")
    assert file.json() == OPENAPI
    assert file.headers["content-security-policy"] == "sandbox"
    for path in ("interface", "interface/openapi.json"):
        known = await evsp.http.get(
            f"{ONE}/{path}", headers={"If-None-Match": f'"other", W/"{digest}"'}
        )
        assert (known.status_code, known.content) == (304, b"")
        assert known.headers["etag"] == f'"{digest}"'
    assert (await evsp.http.get(f"{ONE}/interface/other.json")).status_code == 404
    assert (await evsp.http.get(f"{SERVICES}/search-evse/v1/interface")).status_code == 404


async def test_a_wsdl_comes_with_what_it_imports_in_a_zip_or_as_json(operator: Member) -> None:
    await operator.http.post(SERVICES, json=SOAP)
    as_zip = await upload(operator, zipped(FILES), "application/zip")
    assert as_zip.status_code == 200, as_zip.text
    assert as_zip.json()["operations"] == [{"name": "Find", "method": "POST", "path": "/Find"}]
    before = (await operator.http.get(f"{ONE}/interface")).json()
    assert before["root"] == "park.wsdl"
    as_json = await upload(
        operator,
        {"kind": "wsdl", "root": "park.wsdl", "files": FILES},
        "application/vnd.gridroam.interface+json",
    )
    assert as_json.json() == as_zip.json()
    assert (await operator.http.get(f"{ONE}/interface")).json() == before
    types = await operator.http.get(f"{ONE}/interface/types/park.xsd")
    assert (types.text, types.headers["content-type"]) == (TYPES, "text/xml; charset=utf-8")


async def test_a_document_of_the_wrong_kind_or_of_no_kind_is_refused(operator: Member) -> None:
    await operator.http.post(SERVICES, json=PARKING)
    await operator.http.post(SERVICES, json=SOAP | {"name": "soap-kind"})
    await operator.http.post(SERVICES, json=SOAP | {"name": "a-topic", "protocol": "topic"})
    for content, media_type, field in (
        (WSDL.encode(), "text/xml", "kind"),
        (b"", "text/plain", "Content-Type"),
        (b"PK nothing", "application/zip", "body"),
        (b"[" * 100_000, "application/json", None),
        (b"\xff\xfe", "application/json", None),
        (b"{}", "application/json", None),
        (b"{}", "application/vnd.gridroam.interface+json", "body"),
    ):
        answer = await upload(operator, content, media_type)
        assert answer.status_code == 422, (content[:30], answer.text)
        assert field is None or answer.json()["field"] == field
    huge = await upload(operator, b" " * (9 * 1024 * 1024))
    assert huge.status_code == 413
    for name in ("soap-kind", "a-topic"):
        answer = await operator.http.put(f"{SERVICES}/{name}/v1/interface", json=OPENAPI)
        assert (answer.status_code, answer.json()["field"]) == (422, "kind"), answer.text
    assert (await operator.http.get(ONE)).json()["interface"] is None


async def test_once_published_no_operation_goes_away_without_a_new_version(
    operator: Member,
) -> None:
    await operator.http.post(SERVICES, json=PARKING)
    await upload(operator, OPENAPI)
    await operator.http.post(f"{ONE}/publish")
    paths = OPENAPI["paths"]
    fewer = OPENAPI | {"paths": {"/places": paths["/places"]}}
    answer = await upload(operator, fewer)
    assert (answer.status_code, answer.json()["value"]) == (409, "find")
    moved = OPENAPI | {"paths": paths | {"/lots": paths["/places"]}}
    del moved["paths"]["/places"]
    assert (await upload(operator, moved)).json()["value"] == "add"
    more = {"/more": {"get": {"operationId": "more", "responses": {"200": {"description": "OK"}}}}}
    answer = await upload(operator, OPENAPI | {"paths": paths | more})
    assert answer.status_code == 200, answer.text
    assert [one["name"] for one in answer.json()["operations"]] == ["find", "add", "more"]


async def test_handling_is_changed_as_a_whole_and_names_operations_that_there_are(
    market: Marketplace, operator: Member
) -> None:
    await operator.http.post(SERVICES, json=PARKING)
    handling = {
        "mode": "shadow",
        "timeout_s": 3.5,
        "timeouts_s": {"find": 1.0},
        "maps": {"find": {"request": "{id: place_id}", "answer": None}},
    }
    for _ in range(2):
        answer = await operator.http.put(f"{ONE}/handling", json=handling)
        assert (answer.status_code, answer.json()["handling"]) == (200, handling), answer.text
    (event,) = await told(market, EventType.SERVICE_HANDLING_CHANGED)
    assert event == {"name": "parking", "major": 1, "by": OPERATOR, "handling": handling}
    entry = market.book.service("parking", 1)
    assert entry is not None
    assert entry.handling.timeouts_s == {"find": 1.0}
    for wrong, field in (
        ({"mode": "on"}, "handling.mode"),
        ({"timeouts_s": {"lose": 1}}, "handling.timeouts_s.lose"),
        ({"maps": {"find": {"request": "]["}}}, "handling.maps.find.request"),
        ({"colour": "red"}, "handling.colour"),
    ):
        answer = await operator.http.put(f"{ONE}/handling", json=wrong)
        assert (answer.status_code, answer.json()["field"]) == (422, field)
    # What the handling speaks of does not go away under it.
    only_add = OPENAPI | {"paths": {"/places": OPENAPI["paths"]["/places"]}}
    answer = await upload(operator, only_add)
    assert (answer.status_code, answer.json()["field"]) == (422, "handling.timeouts_s.find")
    usual = await operator.http.put(f"{ONE}/handling", json={})
    assert usual.json()["handling"] == {"mode": "enforce", "timeout_s": 30.0}
    assert (await upload(operator, only_add)).status_code == 200


async def test_endpoints_are_changed_without_a_new_version(
    market: Marketplace, operator: Member, evsp: Member
) -> None:
    await operator.http.post(SERVICES, json=PARKING)
    await operator.http.post(f"{ONE}/publish")
    sandbox = {"url": "https://try.example/", "environment": "sandbox"}
    asked = {
        "endpoint": "https://a.example/",
        "more_endpoints": [{"url": "https://b.example/", "environment": "live"}, sandbox],
    }
    answer = await operator.http.put(f"{ONE}/endpoints", json=asked)
    assert answer.status_code == 200, answer.text
    assert {name: answer.json()[name] for name in asked} == asked
    assert answer.json()["sandbox"] is True
    seen = (await evsp.http.get(ONE)).json()
    assert seen["sandbox"] is True
    assert [seen[name] for name in ("endpoint", "more_endpoints", "handling", "login")] == [
        None
    ] * 4
    entry = market.book.service("parking", 1)
    assert entry is not None
    assert (entry.endpoint, len(entry.more_endpoints)) == ("https://a.example/", 2)
    (event,) = await told(market, EventType.SERVICE_ENDPOINTS_CHANGED)
    assert event["endpoint"] == "https://a.example/"
    for wrong, field in (
        ({"endpoint": "http://10.0.0.1/"}, "endpoint"),
        ({"endpoint": "https://a.example/", "more_endpoints": [{"url": "x"}]}, None),
        ({"more_endpoints": [{"url": f"https://x.example/{n}"} for n in range(21)]}, None),
    ):
        answer = await operator.http.put(f"{ONE}/endpoints", json=wrong)
        assert answer.status_code == 422
        assert field is None or answer.json()["field"] == field


async def test_a_login_is_sealed_and_never_told_again(
    market: Marketplace, operator: Member, evsp: Member
) -> None:
    await operator.http.post(SERVICES, json=SOAP)
    secret = "a secret of theirs"
    asked = {"username": "hub", "password": secret, "kind": "text"}
    answer = await operator.http.put(f"{ONE}/login", json=asked)
    assert (answer.status_code, answer.json()["login"]) == (200, True)
    assert secret not in answer.text
    entry = market.book.service("parking", 1)
    assert entry is not None
    assert entry.login is not None
    assert secret.encode() not in entry.login
    assert "login" not in repr(entry)
    assert unseal(market.core.box, entry.login, "parking", 1) == Login(
        "hub", secret, PasswordKind.TEXT
    )
    events = await told(market, EventType.SERVICE_LOGIN_CHANGED)
    assert events == [{"name": "parking", "major": 1, "by": OPERATOR, "login": True}]
    assert (await evsp.http.delete(f"{ONE}/login")).status_code == 404
    for _ in range(2):
        answer = await operator.http.delete(f"{ONE}/login")
        assert (answer.status_code, answer.json()["login"]) == (200, False)
    assert len(await told(market, EventType.SERVICE_LOGIN_CHANGED)) == 2
    for wrong in ({"username": ""}, {"password": "a\nb"}, {"kind": "plain"}):
        answer = await operator.http.put(f"{ONE}/login", json=asked | wrong)
        assert answer.status_code == 422
    await operator.http.post(SERVICES, json=PARKING | {"name": "rest-kind"})
    answer = await operator.http.put(f"{SERVICES}/rest-kind/v1/login", json=asked)
    assert (answer.status_code, answer.json()["field"]) == (422, "protocol")


async def test_only_its_provider_says_how_and_where_a_service_is_answered(
    operator: Member, evsp: Member
) -> None:
    await operator.http.post(SERVICES, json=PARKING)
    before = (await operator.http.get(ONE)).json()
    for status in (404, 403):
        for path, body in (
            ("endpoints", {"endpoint": "https://evil.example/"}),
            ("handling", {"mode": "off"}),
            ("interface", OPENAPI),
            ("login", {"username": "a", "password": "b"}),
        ):
            answer = await evsp.http.put(f"{ONE}/{path}", json=body)
            assert answer.status_code == status, (path, answer.text)
        assert (await evsp.http.delete(f"{ONE}/login")).status_code == status
        after = (await operator.http.get(ONE)).json()
        assert after | {"status": "draft"} == before
        await operator.http.post(f"{ONE}/publish")


async def test_the_same_key_again_changes_nothing_again(operator: Member) -> None:
    await operator.http.post(SERVICES, json=PARKING)
    key = {"Idempotency-Key": "1", "Content-Type": "application/json"}
    content = json.dumps(OPENAPI).encode()
    first = await operator.http.put(f"{ONE}/interface", content=content, headers=key)
    await operator.http.put(f"{ONE}/handling", json={"timeout_s": 5})
    again = await operator.http.put(f"{ONE}/interface", content=content, headers=key)
    assert again.json() == first.json()
    other = await operator.http.put(f"{ONE}/interface", content=b"{}", headers=key)
    assert other.status_code == 422
    assert other.json()["type"].endswith("/key-reused")
