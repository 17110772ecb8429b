"""docs/going_live.md tells a provider and a requester how to go live; its steps are followed here.

Each command of the page is sent in its order, and each answer that the page shows is compared with
the one that came.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from string import Template
from typing import Any

import yaml
from aiohttp import web
from httpx import Response

from tests.flows.curl import COMMAND, Curl
from tests.hub import Answer, Hub, Partner, Server, server, until

PAGE = Path(__file__).parents[2] / "docs/going_live.md"
BLOCK = re.compile(r"^```(json)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROVIDER = "https://forecasts.example"
POINT = {"name": "point", "in": "path", "required": True, "schema": {"type": "string"}}
DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "Load forecast", "version": "1"},
    "paths": {
        "/points/{point}": {
            "get": {
                "operationId": "forecast",
                "parameters": [POINT],
                "responses": {"200": {"description": "what it will draw"}},
            }
        },
        "/points/{point}/corrections": {
            "post": {
                "operationId": "correct",
                "parameters": [POINT],
                "responses": {"204": {"description": "noted"}},
            }
        },
    },
}


async def forecasting(request: web.BaseRequest) -> web.StreamResponse:
    _, environment, _, point = request.path.split("/")
    return web.json_response({"point": point, "from": environment})


class Reader:
    """Somebody who follows the page, and keeps what its answers name."""

    def __init__(self, hub: Hub, provider: Partner, requester: Partner, at: Server) -> None:
        self.http = hub.http
        self.files = {"load-forecast.yaml": yaml.safe_dump(DOCUMENT).encode()}
        self.at = at
        self.kept = {
            "U": "",
            "J": "Content-Type: application/json",
            "CLIENT_ID": provider.client_id,
            "CLIENT_SECRET": provider.client_secret,
            "PROVIDER": provider.token,
            "REQUESTER": requester.token,
        }
        self.answers: list[Response] = []

    async def sends(self, command: str) -> None:
        line = Template(command).substitute(self.kept).replace(PROVIDER, self.at.url)
        answer = await Curl.parse(line, self.files).send(self.http)
        assert answer.is_success, (command, answer.text)
        self.answers.append(answer)
        if "json" not in answer.headers["content-type"] or not isinstance(answer.json(), dict):
            return
        told = answer.json()
        for name, member in (("OFFERING", "offering_id"), ("CONTRACT", "contract_id")):
            if member in told:
                self.kept[name] = told[member]
        if "client_secret" in told:
            await self.logs_in(told)

    async def logs_in(self, client: dict[str, Any]) -> None:
        """With a client of the sandbox, as in step 2."""
        self.kept |= {"CLIENT_ID": client["client_id"], "CLIENT_SECRET": client["client_secret"]}
        command = (
            'curl -s -u "$CLIENT_ID:$CLIENT_SECRET" $U/oauth/token -d grant_type=client_credentials'
        )
        answer = await Curl.parse(Template(command).substitute(self.kept), {}).send(self.http)
        whose = "PROVIDER" if client["party"] == "NL*FCS" else "REQUESTER"
        self.kept[f"{whose}_SANDBOX"] = answer.json()["access_token"]

    def sees(self, shown: str) -> None:
        """What the page shows of the last answer is in it."""
        told = self.answers[-1].json()
        for name, value in json.loads(shown).items():
            assert told[name] == value, (name, told)


async def test_whoever_follows_the_page_is_live_after_ten_steps(hub: Hub) -> None:
    provider = await hub.partner("NL*FCS", "service-provider")
    requester = await hub.partner("FR*PD1", "evse-operator")
    page = PAGE.read_text()
    assert re.findall(r"^## ([0-9]+)\.", page, re.MULTILINE) == [str(n) for n in range(1, 11)]
    async with server(forecasting) as at:
        reader = Reader(hub, provider, requester, at)
        for kind, text in BLOCK.findall(page):
            if kind == "json":
                reader.sees(text)
                continue
            for command in COMMAND.findall(text):
                await reader.sends(command)
        assert [one.path.split("/")[1] for one in at.came] == ["sandbox", "sandbox", "live"]

    health = reader.answers[-1].json()
    assert len(health["endpoints"]) >= 1
    contract = reader.kept["CONTRACT"]

    async def seen() -> bool:
        told = await provider.get(f"/marketplace/usage?contract_id={contract}")
        # What was tried is told apart, and only what counts costs.
        rows = {day["sandbox"]: (day["calls"], day["billable_calls"]) for day in told["usage"]}
        return rows == {True: (1, 0), False: (1, 1)}

    await until(seen)


async def test_the_noes_of_the_page_are_those_that_come(hub: Hub) -> None:
    """What the last table names, as far as it can be met in a minute."""
    page = PAGE.read_text()
    told = page[page.index("## When it does not go") :]
    provider = await hub.partner("NL*FCS", "service-provider")
    requester = await hub.partner("FR*PD1", "evse-operator")

    def named(answer: Answer) -> None:
        assert f"`{answer.problem}`" in told, answer.body
        if answer.problem == "not-covered":
            assert f"`{answer.body['value']}`" in told

    named(await requester.call("GET", "/services/load-forecast/x"))
    await provider.post(
        "/marketplace/services",
        {"name": "load-forecast", "category": "value-added", "description": "", "protocol": "rest"},
    )
    named(await provider.call("POST", "/marketplace/services/load-forecast/v1/publish"))
    await provider.call(
        *("PUT", "/marketplace/services/load-forecast/v1/endpoints"),
        {"endpoint": "http://127.0.0.1:9/"},
    )
    await provider.post("/marketplace/services/load-forecast/v1/publish")
    named(await requester.call("GET", "/services/load-forecast/x"))
    offering = await provider.post(
        "/marketplace/offerings",
        {"service": "load-forecast", "terms": {"operations": ["GET /x", "GET /y"]}},
    )
    contract = await requester.accepts(str(offering["offering_id"]))
    named(await requester.call("GET", "/services/load-forecast/z"))
    named(await requester.call("GET", "/services/load-forecast/x"))
    await provider.post(f"/marketplace/contracts/{contract}/suspend", {"reason": "unpaid"})
    named(await requester.call("GET", "/services/load-forecast/x"))
    requester.token = "old"
    named(await requester.call("GET", "/services/load-forecast/x"))
