"""Every route there is, called by everyone who may not: deny by default holds everywhere.

The routes come out of /openapi.json, so a new one is tried without a word here; one whose
parameters or body are not known below fails with what is missing. Objects of every kind are made
for three victims; then strangers of each role, and one of all roles, call everything with the
victims' ids. No answer may tell what is the victims', and nothing of theirs may change.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import product
from typing import Any
from urllib.parse import quote

import pytest
from lxml import etree

from clearinghouse.payments import flows as payment_flows
from clearinghouse.payments.store import SqlBooks as SqlBank
from gateway.bridging.faults import PROBLEM
from gridroam import clearing
from gridroam.answers import BusinessesForInvoicing
from kit.clock import utc_now
from tests.flows.world import CARD, CONTRACT, EVSE, World, settled, world
from tests.hub import CLEARING_HOUSE, Answer, Hub, Partner, answering, server, until

METHODS = ("get", "put", "post", "patch", "delete")
# Where tokens come from, where machines ask whether we live, and what tells how to call us.
PUBLIC = {
    "POST /oauth/token",
    "POST /oauth/revoke",
    "GET /.well-known/oauth-authorization-server",
    "GET /.well-known/jwks.json",
    "POST /marketplace/applications",
    "GET /health/live",
    "GET /health/ready",
    "GET /metrics",
    "GET /openapi.json",
    "GET /docs",
    # How a person gets a token.
    "POST /marketplace/people/accept",
    "POST /marketplace/people/confirm",
    "POST /marketplace/people/login",
    "GET /services/clearing-house/wsdl/service-detail-record-forwarding.wsdl",
}
# A WebSocket, which asks for a charge point's own password; not by HTTP (central_system's tests).
CHARGE_POINT = "GET /ocpp/{operator}/{charge_point}"
# Refuses in faults, all with one status: see `told_in_soap`.
BY_SOAP = "POST /services/{service}/soap"
# What a stranger may well do, since it does it in its own name and to itself; all other writes
# must be refused with 403 or 404. The status that it gets then.
OWN_AFFAIR = {
    # A name that is taken stays taken; whose it is, is not told.
    "POST /marketplace/services": 409,
    "PUT /central-system/stations": 200,
    "PUT /central-system/cards": 200,
    "PUT /services/clearing-house/evsp-policy": 200,
    "PUT /services/clearing-house/contract-certificates": 200,
    # A serial number is one among those of each EVSP's own authorities.
    "PUT /services/clearing-house/contract-certificates/revoked/{serial_number}": 200,
    "PUT /services/clearing-house/delivery-preferences": 200,
    "POST /services/clearing-house/cdrs/acknowledgements": 200,
    "POST /services/clearing-house/deliveries/look-up": 200,
    "POST /services/clearing-house/dead-letters/replay": 202,
    "PUT /services/clearing-house/offline-consents/{operator}": 200,
    "POST /services/clearing-house/clearing-runs": 201,
    # Answered, and each record in them refused: see `is_refused`.
    "POST /services/search-evse/locations": 200,
    "POST /services/search-evse/statuses": 200,
    "POST /services/clearing-house/customer-contracts/bulk": 200,
    "POST /services/contract-validation/validations": 200,
    "POST /services/clearing-house/authorisations": 200,
    "POST /services/clearing-house/customer-services": 200,
    "POST /services/clearing-house/cdrs": 201,
    "POST /services/clearing-house/cdrs/approvals": 200,
    "POST /services/clearing-house/cdrs/stream": 200,
    # The file goes back, since its sender is another.
    "POST /services/clearing-house/cdr-files/{file_id}": 422,
}
# Changes by being looked at: what was called is metered, and the matrix tells of what moment it is.
RESTLESS = {
    "/events",
    "/marketplace/audit",
    "/marketplace/monitoring",
    "/marketplace/reports/calls",
    "/marketplace/reports/figures",
    "/marketplace/reports/levels",
    "/marketplace/roaming/matrix",
    "/marketplace/usage",
    "/metrics",
}
# Of a person who is logged in, and no program's to look at (flows/test_people.py).
FOR_PEOPLE = {"/marketplace/people/me"}
ROLES = ("evse-operator", "evsp", "dso", "service-provider")
SECRET = "canary-4f1d"
FILE = f"file-{SECRET}"
# Long enough that no random number holds it.
SERIAL_NUMBER = "ab12cd34ef56ab78"
DOCUMENT = f"plan-{SECRET}.json"


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the document, and how to fill it."""

    method: str
    template: str
    parameters: Sequence[Mapping[str, Any]]
    has_body: bool
    as_csv: bool = False

    @property
    def name(self) -> str:
        return f"{self.method} {self.template}"


@dataclass(frozen=True, slots=True)
class Victims:
    """Three partners with objects of every kind; `ids` are what path parameters stand for."""

    world: World
    provider: Partner
    ids: Mapping[str, str]
    hub_operator: Partner

    @property
    def all(self) -> tuple[Partner, ...]:
        return self.world.operator, self.world.evsp, self.provider

    @property
    def canaries(self) -> set[str]:
        """What no stranger may be told."""
        told = {*self.ids.values(), CARD, CONTRACT, SECRET, DETAILS["iban"]}
        # Charge points, partners, topics and modules are there for everybody to find; "1" is no
        # secret.
        told -= {EVSE, MODULE, topic()["name"], *(partner.party for partner in self.all)}
        told = {one for one in told if not re.fullmatch(r"[0-9-]{1,10}", one)}
        return told | {partner.client_id for partner in self.all}


@pytest.fixture
async def victims(hub: Hub) -> AsyncIterator[Victims]:
    found = await world(hub)
    operator, evsp = found.operator, found.evsp
    provider = await hub.partner("NL*FCS", "service-provider")
    async with server(answering({"no": SECRET}, status=422)) as refusing:
        await evsp.listens_at("cdrs", f"{refusing.url}/{SECRET}")
        authorised = await operator.asks(EVSE, CARD)
        await operator.put(f"{CLEARING_HOUSE}/meter-keys/{EVSE}", {"public_keys": []})
        await operator.post(f"{CLEARING_HOUSE}/cdrs", cdr())
        await operator.post(f"{CLEARING_HOUSE}/cdr-files/{FILE}", cdr_file())

        async def file_booked() -> bool:
            told = await operator.get(f"{CLEARING_HOUSE}/cdr-files/{FILE}")
            return bool(told["state"] == "booked")

        await until(file_booked)
        letters: list[Any] = []

        async def refused() -> bool:
            letters[:] = (await evsp.get(f"{CLEARING_HOUSE}/dead-letters"))["dead_letters"]
            return bool(letters)

        await until(refused)
        await provider.listens_at("authorisation", f"{refusing.url}/{SECRET}")
        await provider.post("/marketplace/services", service())
        described = f"/marketplace/services/{service()['name']}/v1/interface?root={DOCUMENT}"
        await provider.put(described, interface())
        await evsp.put(f"/marketplace/partners/{evsp.party}/business-details", DETAILS)
        invited = await evsp.post(f"/marketplace/partners/{evsp.party}/people", person())
        lines = json.dumps({"contract_id": CONTRACT, "token_uids": [CARD]}).encode()
        await evsp.post(f"{CLEARING_HOUSE}/customer-contracts/bulk?upload=list-{SECRET}", lines)
        await evsp.put(f"{CLEARING_HOUSE}/offline-consents/{operator.party}", {"consent": True})
        run = await operator.post(f"{CLEARING_HOUSE}/clearing-runs", RUN)
        own = DETAILS | {"tax_id": f"tax {SECRET}"}
        await operator.put(f"/marketplace/partners/{operator.party}/business-details", own)
        # The month after it is known, too: what comes late falls there, a stranger's refused record
        # as well.
        later = {"start": "2026-02-05T10:00:00+01:00", "end": "2026-02-05T11:00:00+01:00"}
        await operator.post(f"{CLEARING_HOUSE}/cdrs", cdr() | later | {"cdr_id": f"2-{SECRET}"})
        await settled(hub, "2026-01")
        (issued,) = (await operator.get(f"{CLEARING_HOUSE}/invoices"))["invoices"]
        declined = {"operator": operator.party, "cdr_id": cdr()["cdr_id"], "reason": "wrong-time"}
        dispute = await evsp.post(f"{CLEARING_HOUSE}/disputes", declined)
        [payment] = (await evsp.get(f"{CLEARING_HOUSE}/settlement-payments"))["payments"]
        for days in (40, 60, 90):
            await reminded(hub, days)
        hub_operator = await hub.operator()
        run_id, number = await billed(hub_operator, provider, evsp)
        contract = await operator.get(f"/marketplace/contracts/{found.agreement}")
        await operator.put("/central-system/stations", STATIONS)
        event_id = await subscribed(provider, evsp)
        further = {"roles": ["dso"], "contacts": [{**CONTACT, "purpose": "operations"}]}
        wish = await evsp.post(f"/marketplace/partners/{evsp.party}/role-requests", further)
        [message, *_] = await evsp.get("/marketplace/messages")
        negotiation = await negotiated(provider, evsp)
        yield Victims(
            found,
            provider,
            {
                "/marketplace/contracts contract_id": found.agreement,
                "/services/clearing-house/customer-contracts contract_id": CONTRACT,
                "message_id": message["message_id"],
                "/marketplace/billing-runs run_id": run_id,
                "/marketplace/invoices number": number,
                "negotiation_id": negotiation["negotiation_id"],
                "/marketplace/services name": service()["name"],
                "/marketplace/services path": DOCUMENT,
                "/marketplace/framework name": MODULE,
                "version": "1",
                "/services service": service()["name"],
                "party": evsp.party,
                "client_id": evsp.client_id,
                "secret_id": "1",
                "person_id": invited["person"]["person_id"],
                "major": "1",
                "offering_id": contract["offering_id"],
                "evse_id": EVSE,
                "authorisation_id": authorised["authorisation_id"],
                "run_id": run["run_id"],
                "upload": f"list-{SECRET}",
                "number": issued["number"],
                "payment_id": payment["payment_id"],
                "reference": payment["reference"],
                "period": "2026-01",
                "period_id": "2026-01",
                "dispute_id": dispute["dispute_id"],
                "dead_letter_id": str(letters[0]["dead_letter_id"]),
                "topic": topic()["name"],
                "/topics name": SUBSCRIPTION,
                "event_id": event_id,
                "application_id": wish["application_id"],
                "operator": operator.party,
                "cdr_id": cdr()["cdr_id"],
                "serial_number": SERIAL_NUMBER,
                "file_id": FILE,
                "charge_point": STATIONS[0]["charge_point"],
            },
            hub_operator,
        )


async def billed(hub_operator: Partner, provider: Partner, requester: Partner) -> tuple[str, str]:
    """The run and the number of an invoice for a service."""
    path = f"/marketplace/partners/{provider.party}/business-details"
    await provider.put(path, DETAILS | {"tax_id": f"tax {SECRET}", "vat_id": "DE129273398"})
    await provider.post("/marketplace/services", paid())
    await provider.post(f"/marketplace/services/{paid()['name']}/v1/publish")
    offering = await provider.post(
        "/marketplace/offerings",
        {
            "service": paid()["name"],
            "terms": {"currency": "EUR", "plan": {"one_time": "77.01"}},
            "audience": {"kind": "parties", "parties": [requester.party]},
        },
    )
    await requester.accepts(offering["offering_id"])
    now = utc_now()
    asked = {"month": f"{now:%Y-%m}", "up_to": now.isoformat()}
    run = await hub_operator.post("/marketplace/billing-runs", asked)
    found: list[Any] = []

    async def issued() -> bool:
        found[:] = (await provider.get("/marketplace/invoices"))["invoices"]
        return bool(found)

    await until(issued)
    return run["run_id"], found[0]["number"]


async def subscribed(provider: Partner, subscriber: Partner) -> str:
    """A topic, an event on it, and a subscription that has got it: what lags tells the time."""
    name = topic()["name"]
    await provider.post("/marketplace/services", topic())
    await provider.post(f"/marketplace/services/{name}/v1/publish")
    audience = {"kind": "parties", "parties": [subscriber.party]}
    offering = await provider.post(
        "/marketplace/offerings", {"service": name, "audience": audience}
    )
    await subscriber.accepts(offering["offering_id"])
    wish = {"delivery": "pull", "from": "start", "filter": {"keys": [SECRET]}}
    path = f"/topics/{name}/subscriptions/{SUBSCRIPTION}"
    await subscriber.put(path, wish)
    await provider.post(f"/topics/{name}/events", told())
    page = await subscriber.get(f"{path}/events?wait_s=15")
    assert page["events"]
    await subscriber.post(f"{path}/acknowledge", {"id": page["next"]})
    return str(page["next"])


async def negotiated(provider: Partner, requester: Partner) -> Any:
    """Accepted, so that it has a document, and not yet signed."""
    wish = {"service": topic()["name"], "terms": {"notice_days": 7}, "says": SECRET}
    later = {"validity": {"from": "2090-01-01T00:00:00Z", "until": "2091-01-01T00:00:00Z"}}
    [held] = await requester.get(f"/marketplace/contracts?service={topic()['name']}")
    asked = await requester.post(
        "/marketplace/negotiations", wish | later | {"replaces": held["contract_id"]}
    )
    path = f"/marketplace/negotiations/{asked['negotiation_id']}/accept"
    return await provider.post(path, {"proposal": 1})


async def reminded(hub: Hub, days: int) -> None:
    """So many days later somebody is reminded of what is due."""
    house = replace(clearing.settling(hub.parts), clock=lambda: utc_now() + timedelta(days))
    await payment_flows.remind(
        books=SqlBank(hub.parts.database),
        house=house,
        businesses=BusinessesForInvoicing(hub.parts.businesses),
    )


def cdr() -> dict[str, Any]:
    return {
        "cdr_id": f"cdr-{SECRET}",
        "evse_id": EVSE,
        "token_uid": CARD,
        "start": "2026-01-05T10:00:00+01:00",
        "end": "2026-01-05T11:00:00+01:00",
        "energy_wh": 7_777,
    }


def cdr_file() -> bytes:
    lines: list[dict[str, Any]] = [
        {"header": {"file_id": FILE, "sender": "FR*PD1"}},
        cdr(),
        {"trailer": {"records": 1, "energy_wh": cdr()["energy_wh"]}},
    ]
    return b"\n".join(json.dumps(line).encode() for line in lines)


def service() -> dict[str, Any]:
    """A draft."""
    return {
        "name": f"plan-{SECRET}",
        "category": "value-added",
        "description": f"a plan, {SECRET}",
        "endpoint": f"http://127.0.0.1:9/{SECRET}",
        "more_endpoints": [{"url": f"http://127.0.0.1:10/{SECRET}", "environment": "sandbox"}],
        "handling": {"mode": "shadow", "timeout_s": 5},
    }


def paid() -> dict[str, Any]:
    """In the catalogue for everybody to see; what is paid for it is not."""
    return service() | {"name": "what-costs", "description": "The contract says the price."}


def interface() -> dict[str, Any]:
    """An OpenAPI document."""
    plan = {"operationId": "plan", "responses": {"200": {"description": "OK"}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Plan {SECRET}", "version": "1"},
        "paths": {"/plan": {"get": plan}},
    }


def envelope() -> bytes:
    """Asks for what `interface` has."""
    space = "http://schemas.xmlsoap.org/soap/envelope/"
    body = '<e:Body><plan xmlns="urn:gridroam:rest"/></e:Body>'
    return f'<e:Envelope xmlns:e="{space}">{body}</e:Envelope>'.encode()


def person() -> dict[str, Any]:
    return {"email": f"{SECRET}@evsp.example", "name": f"Person {SECRET}", "duties": ["admin"]}


def topic() -> dict[str, Any]:
    """In the catalogue for everybody to see; what is on it is not."""
    return {
        "name": "what-happens",
        "category": "value-added",
        "description": "Who may have it, the contract says.",
        "protocol": "topic",
    }


def told() -> dict[str, Any]:
    return {"key": SECRET, "type": "told", "data": {"secret": SECRET}}


def module() -> dict[str, Any]:
    return {
        "name": MODULE,
        "title": "Liability",
        "purpose": f"for nobody, {SECRET}",
        "schema": {"type": "object", "additionalProperties": False},
        "template": "Nobody is liable.",
        "kinds": {"call": "required"},
    }


MODULE = "liability"
SUBSCRIPTION = f"mine-{SECRET}"
RUN = {"period": "2026-01", "currency": "EUR", "strategy": "bilateral"}
STATIONS: list[dict[str, Any]] = [{"charge_point": f"CP-{SECRET}", "connectors": {"1": EVSE}}]
JWK = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
WRITTEN = (CARD, cdr()["cdr_id"], STATIONS, FILE, SERIAL_NUMBER)
DETAILS = {
    "legal_name": f"Mobility {SECRET}",
    "street": "Unter den Linden 1",
    "city": "Berlin",
    "postal_code": "10117",
    "country": "DE",
    "iban": "DE89370400440532013000",
}
CONTACT = {"name": f"Control {SECRET}", "email": f"{SECRET}@example.org"}
QUERY = {
    "requester": "FR*XYZ",
    "provider": "FR*PD1",
    "service": "roaming",
    "wsdl": "",
    # Of which there is a rate without one published.
    "base": "EUR",
    "quote": "EUR",
}


def body_of(route: Route, victims: Victims) -> Any:
    """A body that would do harm if it were taken."""
    site = Partner(victims.world.operator.party, "", "", victims.world.hub.http)
    bodies: dict[str, Any] = {
        "POST /marketplace/partners/{party}/clients": {},
        "PUT /marketplace/partners/{party}/endpoints/{purpose}": {"url": "http://127.0.0.1:9/"},
        "PUT /marketplace/partners/{party}/business-details": DETAILS,
        "POST /marketplace/applications": {"parties": [victims.world.evsp.party]},
        "POST /marketplace/applications/{application_id}/credentials": {},
        "POST /marketplace/applications/{application_id}/{decision}": {"reason": "none"},
        "POST /marketplace/applications/{application_id}/roles/{role}/{decision}": {
            "reason": "none"
        },
        "POST /marketplace/partners/{party}/role-requests": {"roles": ["dso"]},
        "POST /marketplace/partners/{party}/standing/{action}": {"reason": "none"},
        "POST /marketplace/partners/{party}/roles/{role}/{action}": {"reason": "none"},
        "PUT /marketplace/partners/{party}/clients/{client_id}": {"name": "X", "expires_at": None},
        "PUT /marketplace/partners/{party}/clients/{client_id}/keys": {"jwks": {"keys": [JWK]}},
        "POST /marketplace/partners/{party}/people": person(),
        "PUT /marketplace/partners/{party}/people/{person_id}": {"name": "X", "duties": ["admin"]},
        "POST /marketplace/people/accept": {"token": "x", "password": "grasshopper tuba lantern"},
        "POST /marketplace/people/confirm": {"token": "x", "code": "000000"},
        "POST /marketplace/people/login": {
            "party": victims.world.evsp.party,
            "email": person()["email"],
            "password": "grasshopper tuba lantern",
            "code": "000000",
        },
        "POST /marketplace/people/password": {
            "password": "grasshopper tuba lantern",
            "code": "000000",
            "new_password": "umbrella violin thursday",
        },
        "POST /marketplace/services": service(),
        "POST /marketplace/services/{name}/v{major}/{action}": {},
        "PUT /marketplace/services/{name}/v{major}/endpoints": {"endpoint": "http://127.0.0.1:9/"},
        "PUT /marketplace/services/{name}/v{major}/handling": {
            "mode": "off",
            "timeouts_s": {"plan": 1},
            "maps": {"plan": {"request": "@", "answer": "@"}},
            "health_path": "/health",
        },
        "PUT /marketplace/services/{name}/v{major}/interface": interface(),
        "PUT /marketplace/services/{name}/v{major}/login": {"username": "a", "password": "b"},
        "POST /marketplace/offerings": {"service": service()["name"]},
        "POST /marketplace/offerings/check": {"service": service()["name"]},
        "POST /marketplace/framework/modules": module(),
        "POST /marketplace/contracts": {"offering_id": victims.ids["offering_id"]},
        "POST /marketplace/contracts/{contract_id}/{action}": {"reason": "none"},
        "POST /marketplace/contracts/{contract_id}/packs": {"packs": 1},
        "POST /marketplace/invoices/{number}/credit-notes": {"reason": "none"},
        "POST /marketplace/invoices/{number}/payments": {
            "reference": "1",
            "amount": "1.00",
            "currency": "EUR",
            "on": "2026-02-01",
        },
        "POST /marketplace/invoices/{number}/write-off": {"reason": "none"},
        "POST /marketplace/billing-runs": {"month": "2026-01"},
        "POST /marketplace/fees": {"valid_from": "2199-01", "percent": "99"},
        "POST /marketplace/negotiations": {
            "replaces": victims.world.agreement,
            "says": "cheaper",
        },
        "POST /marketplace/negotiations/{negotiation_id}/proposals": {"answers": 1, "terms": {}},
        "POST /marketplace/negotiations/{negotiation_id}/accept": {"proposal": 1},
        "POST /marketplace/negotiations/{negotiation_id}/refuse": {"reason": "none"},
        "POST /marketplace/negotiations/{negotiation_id}/withdraw": {"reason": "none"},
        "POST /marketplace/negotiations/{negotiation_id}/signatures": {"jws": "a..b"},
        "PUT /central-system/stations": STATIONS,
        "PUT /central-system/cards": [{"id_tag": CARD}],
        "POST /services/search-evse/locations": [site.site((EVSE,), "Asia/Tokyo")],
        "PUT /services/search-evse/evses/{evse_id}/status": {"status": "OUTOFORDER"},
        "POST /services/search-evse/statuses": {
            "statuses": [{"evse_id": EVSE, "status": "OUTOFORDER"}]
        },
        "PUT /services/clearing-house/evsp-policy": {"on_silence": "accept"},
        "PUT /services/clearing-house/contract-certificates": {"certificates": ""},
        "PUT /services/clearing-house/contract-certificates/revoked/{serial_number}": {},
        "PUT /services/clearing-house/customer-contracts/{contract_id}": {"token_uids": [CARD]},
        "POST /services/clearing-house/customer-contracts/bulk": json.dumps(
            {"contract_id": CONTRACT, "token_uids": [CARD], "status": "blocked"}
        ).encode(),
        "PUT /services/clearing-house/delivery-preferences": {"channel": "pull"},
        "POST /services/clearing-house/cdrs/acknowledgements": {"cursor": f"{2**62}-1"},
        "POST /services/clearing-house/deliveries/look-up": {
            "cdrs": [{"operator": victims.world.operator.party, "cdr_id": cdr()["cdr_id"]}]
        },
        "POST /services/clearing-house/dead-letters/replay": {"all": True},
        "PUT /services/clearing-house/offline-consents/{operator}": {"consent": True},
        "POST /services/clearing-house/customer-contracts/uploads/{upload}/complete": {"lines": 1},
        "POST /services/clearing-house/clearing-runs": RUN,
        "POST /services/clearing-house/periods/{period_id}/close": {"early": True},
        "POST /services/clearing-house/disputes": {
            "operator": victims.world.operator.party,
            "cdr_id": cdr()["cdr_id"],
            "reason": "wrong-price",
        },
        "POST /services/clearing-house/disputes/{dispute_id}/{action}": {"says": "so"},
        "POST /services/clearing-house/periods/{period_id}/settle": {},
        "POST /services/clearing-house/periods/{period_id}/default": {
            "party": victims.world.evsp.party,
            "rule": "unwind",
            "confirm": True,
        },
        "POST /services/clearing-house/settlement-payments/{payment_id}/receipts": {
            "amount": "1.00",
            "currency": "EUR",
            "paid_at": "2026-02-01T12:00:00Z",
            "source": "mine",
        },
        "POST /services/contract-validation/validations": {
            "questions": [{name: QUERY[name] for name in ("requester", "provider", "service")}]
        },
        "POST /services/clearing-house/authorisations": {
            "evse_id": EVSE,
            "identification": {"type": "rfid", "value": CARD},
        },
        "POST /services/clearing-house/customer-services": {
            "evse_id": EVSE,
            "identification": {"type": "rfid", "value": CARD},
        },
        "POST /services/clearing-house/cdrs": cdr(),
        "PUT /services/clearing-house/meter-keys/{evse_id}": {"public_keys": []},
        "POST /services/clearing-house/cdrs/stream": cdr(),
        "POST /services/clearing-house/cdr-files/{file_id}": cdr_file(),
        "POST /services/clearing-house/cdrs/approvals": {
            "cdrs": [{"operator": victims.world.operator.party, "cdr_id": cdr()["cdr_id"]}]
        },
        BY_SOAP: envelope(),
        "POST /topics/{topic}/events": told(),
        "PUT /topics/{topic}/subscriptions/{name}": {"delivery": "pull", "from": "now"},
        "POST /topics/{topic}/subscriptions/{name}/acknowledge": {"id": "0-0"},
        "POST /oauth/token": b"grant_type=client_credentials",
        "POST /oauth/revoke": b"token=x",
    }
    if route.name not in bodies:
        pytest.fail(f"{route.name} is new: say in `body_of` which body of it would do harm")
    return bodies[route.name]


def is_refused(route: Route, answer: Answer) -> bool:
    """Of the calls that are answered record by record: nothing of another party's was taken."""
    told = answer.body
    if route.name == "POST /services/search-evse/locations":
        return bool(told["rejected"] == told["read"] == 1)
    if route.name == "POST /services/search-evse/statuses":
        return [one["status"] for one in told["statuses"]] == [None]
    if route.name == "POST /services/clearing-house/customer-contracts/bulk":
        return bool(told["rejected"] == told["read"] == 1)
    if route.name == "POST /services/contract-validation/validations":
        return [one["problem"]["status"] for one in told["answers"]] == [403]
    if route.name == "POST /services/clearing-house/authorisations":
        return bool(told["reason"] == "evse-unknown")
    if route.name == "POST /services/clearing-house/customer-services":
        return bool(told["reason"] == "evse-unknown") and told["services"] == []
    if route.name == "POST /services/clearing-house/cdrs":
        return told["state"] == "rejected" and told["price"] is None
    if route.name == "POST /services/clearing-house/cdrs/stream":
        return bool(told["rejected"] == told["read"] == 1)
    if route.name == "POST /services/clearing-house/cdrs/approvals":
        return [one["problem"] for one in told["cdrs"]] == ["unknown-cdr"]
    if route.name == "POST /services/clearing-house/cdrs/acknowledgements":
        return bool(told["cursor"] is None and told["cdrs"] == 0)
    if route.name == "POST /services/clearing-house/deliveries/look-up":
        return [one["state"] for one in told["cdrs"]] == ["unknown"]
    if route.name == "POST /services/clearing-house/dead-letters/replay":
        return bool(told["asked"] == 0)
    if route.name == "POST /services/clearing-house/clearing-runs":
        return bool(told["obligations"] == told["payments"] == [])
    return True


async def routes(hub: Hub) -> list[Route]:
    document = (await hub.http.get("/openapi.json")).json()
    found = []
    for template, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                operation = item[method]
                parameters = [
                    {**one, "schema": resolved(document, one["schema"])}
                    for one in operation.get("parameters", [])
                    if one.get("required")
                ]
                has_body = "requestBody" in operation
                forms = operation.get("responses", {}).get("200", {}).get("content", {})
                found.append(
                    Route(method.upper(), template, parameters, has_body, "text/csv" in forms)
                )
    assert len(found) > 40
    return found


def resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return document["components"]["schemas"][name] if name else schema


def paths_of(route: Route, ids: Mapping[str, str]) -> Iterator[str]:
    """The route's paths with everything filled in; a parameter of few words gets each of them."""
    choices = []
    for one in route.parameters:
        if "enum" in one["schema"]:
            values: Iterable[str] = one["schema"]["enum"]
        elif one["in"] == "query" and one["name"] in QUERY:
            values = [QUERY[one["name"]]]
        else:
            near = [key for key in ids if route.template.startswith(key.partition(" ")[0] + "/")]
            special = [ids[key] for key in near if key.endswith(f" {one['name']}")]
            values = special or [ids[one["name"]]] if special or one["name"] in ids else []
        if not values:
            pytest.fail(
                f"{route.name} is new: say in `victims` which {one['name']} of theirs it is about"
            )
        choices.append([(one["in"], one["name"], value) for value in values])
    for chosen in product(*choices):
        path, query = route.template, ""
        for place, name, value in chosen:
            if place == "path":
                path = path.replace(f"{{{name}}}", quote(value, safe="*"))
            else:
                query += f"{'&' if query else '?'}{name}={quote(value)}"
        assert "{" not in path
        yield path + query
        if route.as_csv:
            yield f"{path}{query}{'&' if query else '?'}format=csv"


async def call(partner: Partner, route: Route, path: str, victims: Victims) -> Answer:
    body = body_of(route, victims) if route.has_body else None
    if route.template.endswith("/soap"):
        return await told_in_soap(partner, route.method, path, body)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    return await partner.call(
        route.method, path, body, headers=form if path.startswith("/oauth/") else None
    )


async def told_in_soap(partner: Partner, method: str, path: str, body: Any) -> Answer:
    """The answer as a REST caller would have it: a fault is the problem that it tells of."""
    headers = {"Authorization": f"Bearer {partner.token}", "Content-Type": "text/xml"}
    told = await partner.http.request(method, path, content=body, headers=headers)
    if not told.headers["content-type"].startswith("text/xml"):
        return Answer(told.status_code, told.json(), told.headers)
    problem = etree.fromstring(told.content).find(f".//{{{PROBLEM}}}problem")
    if problem is None:
        return Answer(told.status_code, told.text, told.headers)
    members = {etree.QName(one).localname: one.text for one in problem}
    return Answer(int(members["status"] or 0), members, told.headers)


def leaked(answer: Answer, path: str, body: Any, victims: Victims) -> set[str]:
    """What the answer tells that the question did not."""
    asked = bare(path + json.dumps(body, default=str))
    told = bare(f"{json.dumps(answer.body)} {dict(answer.headers)}")
    return {one for one in map(bare, victims.canaries) if one in told and one not in asked}


def bare(text: str) -> str:
    """Identifiers are told in several spellings."""
    return re.sub(r"[-*]", "", text)


async def test_without_a_token_only_what_is_public_answers(victims: Victims) -> None:
    hub = victims.world.hub
    nobody = Partner(victims.world.evsp.party, "", "", hub.http)
    wrong = []
    every = await routes(hub)
    assert {route.name for route in every} >= PUBLIC
    for route in every:
        for path in paths_of(route, victims.ids):
            for nobody.token in ("", "forged", victims.world.evsp.token + "x"):
                answer = await call(nobody, route, path, victims)
                expected = answer.status < 500 if route.name in PUBLIC else answer.status == 401
                if route.name == CHARGE_POINT:
                    expected = answer.status == 426
                if not expected or leaked(answer, path, None, victims):
                    wrong.append((route.method, path, answer.status, answer.body))
    assert not wrong, "\n".join(map(str, wrong))


async def test_a_stranger_is_told_nothing_and_changes_nothing(victims: Victims) -> None:
    hub = victims.world.hub
    strangers = {
        role: await hub.partner(f"DE*X{number}S", role) for number, role in enumerate(ROLES)
    }
    strangers["all roles"] = await hub.partner("DE*ALL", *ROLES)
    every = [route for route in await routes(hub) if route.name != CHARGE_POINT]
    before = await seen(victims, every)
    wrong: list[tuple[object, ...]] = []
    reads = [route for route in every if route.method == "GET"]
    writes = [route for route in every if route.method != "GET" and route.name not in PUBLIC]
    # What they have written must not come back to them with more in it than they knew.
    for round_, some in (("before", reads), ("writing", writes), ("after", reads)):
        for role, stranger in strangers.items():
            for route in some:
                for path in paths_of(route, victims.ids):
                    answer = await call(stranger, route, path, victims)
                    body = body_of(route, victims) if route.has_body else None
                    # A stranger who holds a card in his hand knows its number, and his own records:
                    # what he wrote is in his history, by the names that he used.
                    known = (body, *WRITTEN) if round_ == "after" else body
                    secrets = leaked(answer, path, known, victims)
                    if secrets or not allowed(route, answer):
                        wrong.append((role, round_, route.method, path, answer.status, secrets))
    assert not wrong, "\n".join(map(str, wrong))
    assert await seen(victims, every) == before


def allowed(route: Route, answer: Answer) -> bool:
    if answer.status in (403, 404):
        return True
    if route.method == "GET":
        return answer.status == 200
    return answer.status == OWN_AFFAIR.get(route.name) and is_refused(route, answer)


async def seen(victims: Victims, every: Sequence[Route]) -> dict[str, Any]:
    """All that the victims see. Each of the ids must stand for something that one of them sees."""
    found: dict[str, Any] = {}
    for route in every:
        if route.method != "GET" or route.template in RESTLESS | FOR_PEOPLE:
            continue
        for path in paths_of(route, victims.ids):
            seeing = (*victims.all, victims.hub_operator)
            answers = [await partner.call("GET", path) for partner in seeing]
            assert any(answer.status == 200 for answer in answers), (path, answers[0].body)
            found[path] = [
                answer.body if answer.status == 200 else answer.status for answer in answers
            ]
    return found


async def test_a_token_of_the_sandbox_opens_nothing_that_is_live(victims: Victims) -> None:
    """Not even what is its own party's: what is tried out must not come to count."""
    operator = victims.world.operator
    path = f"/marketplace/partners/{operator.party}/clients"
    made = await operator.post(path, {"environment": "sandbox"})
    sandbox = replace(operator, client_id=made["client_id"], client_secret=made["client_secret"])
    await sandbox.log_in()
    for route in await routes(victims.world.hub):
        if route.name in PUBLIC | {CHARGE_POINT}:
            continue
        readable = route.template.startswith(("/services/search-evse/", "/services/contract-val"))
        if not (readable and route.method == "GET"):
            path = next(paths_of(route, victims.ids))
            answer = await call(sandbox, route, path, victims)
            refused = (403, "sandbox-not-served")
            if route.template.startswith("/services/{service}/"):
                # A partner's own has a sandbox of its own; a draft is there for nobody else.
                refused = (404, "service-unknown")
            assert (route.name, answer.status, answer.problem) == (route.name, *refused)


async def test_a_token_without_the_scope_opens_no_root(victims: Victims) -> None:
    """An operator's charge point system needs no token that could accept contracts."""
    operator = victims.world.operator
    guarded = await routes(victims.world.hub)
    every = [route for route in guarded if route.name not in PUBLIC | {CHARGE_POINT}]
    for scope, opens in (
        ("services", ("/services/", "/central-system/")),
        ("marketplace", ("/marketplace/",)),
        ("events", ("/events", "/topics/")),
    ):
        await operator.log_in(scope)
        for route in every:
            if not route.template.startswith(opens):
                path = next(paths_of(route, victims.ids))
                answer = await call(operator, route, path, victims)
                assert (scope, path, answer.status) == (scope, path, 403)
                assert answer.problem == "scope-missing"


def test_a_route_that_is_not_known_here_says_so() -> None:
    unknown = Route("GET", "/x/{y}", [{"in": "path", "name": "y", "schema": {}}], has_body=False)
    with pytest.raises(pytest.fail.Exception, match=re.escape("GET /x/{y} is new")):
        list(paths_of(unknown, {}))
