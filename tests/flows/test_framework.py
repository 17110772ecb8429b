"""Modules, an offer with clauses, its text, a contract, its paper: as docs/contracts.md tells it.

The map is docs/flows/offering.md.
"""

from __future__ import annotations

import json
import re
import tomllib
from io import BytesIO
from pathlib import Path
from string import Template
from typing import Any

import rfc8785
from httpx import Response
from pypdf import PdfReader

from tests.flows.curl import BLOCK, COMMAND, Curl
from tests.hub import Hub, Partner

PAGE = Path(__file__).parents[2] / "docs/contracts.md"
OFFERINGS = "/marketplace/offerings"
MODULES = "/marketplace/framework/modules"
JSON = {"U": "", "J": "Content-Type: application/json"}


def commands() -> list[str]:
    return [one for block in BLOCK.findall(PAGE.read_text()) for one in COMMAND.findall(block)]


async def sent(hub: Hub, command: str, **kept: str) -> Response:
    curl = Curl.parse(Template(command).substitute(JSON | kept), {})
    answer = await curl.send(hub.http)
    assert answer.status_code == 200, (command, answer.text)
    return answer


async def forecasting(provider: Partner, **other: Any) -> None:
    service = {
        "name": "load-forecast",
        "category": "value-added",
        "description": "What a charge point will draw tomorrow",
        "endpoint": "https://forecasts.example/live",
        "operations": [{"name": "forecast", "method": "GET", "path": "/points/{point}"}],
    }
    await provider.post("/marketplace/services", service | other)
    name = other.get("name", service["name"])
    await provider.post(f"/marketplace/services/{name}/v1/publish")


async def test_an_offer_goes_from_modules_to_a_contract_on_paper(hub: Hub) -> None:
    provider = await hub.partner("NL*FCS", "service-provider")
    requester = await hub.partner("FR*PD1", "evse-operator")
    await forecasting(provider)
    check, document, paper = commands()
    checked = (await sent(hub, check, PROVIDER=provider.token)).json()
    assert (checked["complete"], checked["missing"]) == (True, [])
    assert "service-level" not in checked["standard"]

    asked = json.loads(re.findall(r"-d '(.*)'", check, re.DOTALL)[0])
    offering = await provider.post(OFFERINGS, asked)
    text = await requester.get(f"{OFFERINGS}/{offering['offering_id']}/text")
    assert text["clauses"] == checked["clauses"]
    words = {one["name"]: one["text"] for one in text["clauses"]}
    assert "EUR 100,000.00" in words["liability"]
    assert "below 99.5 per cent: 5 per cent" in words["service-level"]

    contract = await requester.accepts(offering["offering_id"])
    asking = {"REQUESTER": requester.token, "CONTRACT": contract}
    drawn = await sent(hub, document, **asking)
    assert rfc8785.dumps(drawn.json()) == drawn.content
    assert [one["text"] for one in drawn.json()["clauses"]] == [
        one["text"] for one in text["clauses"]
    ]
    printed = await sent(hub, paper, **asking)
    [attached] = PdfReader(BytesIO(printed.content)).attachments["contract.json"]
    assert attached == drawn.content
    stranger = await hub.partner("DE*XYZ", "evse-operator", "service-provider")
    for path in ("document", "document.pdf"):
        refused = await stranger.call("GET", f"/marketplace/contracts/{contract}/{path}")
        assert (refused.status, refused.problem) == (404, "unknown-contract")


async def test_what_has_no_usual_form_is_asked_for_by_name(hub: Hub) -> None:
    grid = await hub.partner("FR*ENE", "dso", "service-provider")
    await forecasting(grid, name="grid-relief", tags=["load-management"])
    asked: dict[str, Any] = {"service": "grid-relief", "terms": {"notice_days": 90}}
    refused = await grid.call("POST", OFFERINGS, asked)
    assert (refused.status, refused.problem) == (409, "offering-incomplete")
    assert refused.body["value"] == "load-management-conditions"
    found = await grid.post(f"{OFFERINGS}/check", asked)
    assert found["missing"] == ["load-management-conditions"]
    module = await grid.get(f"{MODULES}/load-management-conditions")
    assert module["schema"]["required"]
    conditions = {
        "notice_minutes": 15,
        "least_power_w": 4_140,
        "longest_minutes": 60,
        "most_per_day": 2,
        "hours": {"from": "17:00", "to": "21:00"},
    }
    clauses = {"load-management-conditions": conditions}
    assert await grid.post(OFFERINGS, asked | {"clauses": clauses})
    broken = {"load-management-conditions": conditions | {"hours": {"from": "5pm", "to": "21:00"}}}
    refused = await grid.call("POST", OFFERINGS, asked | {"clauses": broken})
    assert refused.status == 422
    assert refused.body["field"] == "clauses.load-management-conditions.hours.from"
    assert refused.body["value"] == "5pm"


async def test_what_is_offered_for_the_sandbox_says_so(hub: Hub) -> None:
    provider = await hub.partner("NL*FCS", "service-provider")
    requester = await hub.partner("FR*PD1", "evse-operator")
    sandbox = {"url": "https://forecasts.example/sandbox", "environment": "sandbox"}
    await forecasting(provider, more_endpoints=[sandbox])
    asked = {"service": "load-forecast", "environment": "sandbox"}
    offering = await provider.post(OFFERINGS, asked)
    contract = await requester.accepts(offering["offering_id"])
    document = await requester.get(f"/marketplace/contracts/{contract}/document")
    assert document["service"]["environment"] == "sandbox"
    [scope] = [one for one in document["clauses"] if one["name"] == "scope"]
    assert "in the sandbox only" in scope["text"]


async def test_the_operator_publishes_the_module_of_the_page(hub: Hub) -> None:
    operator = await hub.partner("FR*PD1", "evse-operator")
    [told] = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    module = {"name": "parking"} | tomllib.loads(told)
    refused = await operator.call("POST", MODULES, module)
    assert (refused.status, refused.problem) == (403, "not-your-framework")
    house = await hub.operator()
    made = await house.post(MODULES, module)
    assert (made["version"], made["kinds"]) == (1, {"roaming": "optional"})
    assert await operator.get(f"{MODULES}/parking") == made
