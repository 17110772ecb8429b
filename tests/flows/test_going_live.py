"""docs/going_live.md tells two businesses how to go live on an empty hub, and how to part; it is
followed here, step by step.

Each command of the page is sent in its order, and each answer that the page shows is compared with
the one that came.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any

import yaml
from aiohttp import web
from httpx import Response

from gridroam import signing
from kit.clock import utc_now
from kit.encoding import encode_json
from tests.documents.norm import broken_rules
from tests.flows.curl import Curl
from tests.hub import Answer, Hub, Server, server, until

PAGE = Path(__file__).parents[2] / "docs/going_live.md"
COMMAND = re.compile(r"^(?:curl|gridroam) .*?(?=^curl |^gridroam |\Z)", re.MULTILINE | re.DOTALL)
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


WHO = {"NL*FCS": "PROVIDER", "FR*PD1": "REQUESTER"}
LOG_IN = 'curl -s -u "$CLIENT_ID:$CLIENT_SECRET" $U/oauth/token -d grant_type=client_credentials'


class Files(Mapping[str, bytes]):
    """The files of a folder, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def __iter__(self) -> Iterator[str]:
        return (one.name for one in self.folder.iterdir())

    def __len__(self) -> int:
        return sum(1 for _ in self)


async def forecasting(request: web.BaseRequest) -> web.StreamResponse:
    _, environment, _, point = request.path.split("/")
    return web.json_response({"point": point, "from": environment})


class Reader:
    """Somebody who follows the page, and keeps what its answers name."""

    def __init__(self, hub: Hub, operator: str, at: Server, folder: Path) -> None:
        self.http = hub.http
        self.at = at
        self.folder = folder
        self.kept = {"U": "", "J": "Content-Type: application/json", "OPERATOR": operator}
        self.answers: list[Response] = []
        self.command = ""

    async def sends(self, command: str) -> None:
        self.command = command
        now = utc_now()
        self.kept |= {"NOW": now.isoformat(), "MONTH": f"{now:%Y-%m}"}
        line = Template(command).substitute(self.kept).replace(PROVIDER, self.at.url)
        if line.startswith("gridroam "):
            await self.runs(*shlex.split(line)[1:])
            return
        asked = Curl.parse(line, Files(self.folder))
        answer = await asked.send(self.http)
        assert answer.is_success, (command, answer.text)
        self.answers.append(answer)
        if asked.kept_as is not None:
            (self.folder / asked.kept_as).write_bytes(answer.content)
        if "json" in answer.headers["content-type"] and isinstance(answer.json(), dict):
            await self.keeps(answer.json())

    async def keeps(self, told: dict[str, Any]) -> None:
        """What the page says that it calls by a name from now on."""
        for name, member in (
            ("OFFERING", "offering_id"),
            ("NEGOTIATION", "negotiation_id"),
            ("CONTRACT", "contract_id"),
            ("RUN", "run_id"),
        ):
            if told.get(member):
                self.kept[name] = told[member]
        if "application_id" in told:
            whose = WHO[told["parties"][0]]
            self.kept[f"{whose}_APPLICATION"] = told["application_id"]
            if "secret" in told:
                self.kept[f"A_{whose}"] = f"{told['application_id']}:{told['secret']}"
        if "client_secret" in told:
            self.kept |= {"CLIENT_ID": told["client_id"], "CLIENT_SECRET": told["client_secret"]}
            self.kept["WHO"] = WHO[told["party"]]
            if told.get("environment") == "sandbox":
                # As in step 3.
                await self.sends(LOG_IN)
                whose = self.kept["WHO"]
                self.kept[f"{whose}_SANDBOX"] = self.answers[-1].json()["access_token"]
        elif "access_token" in told and f"{self.kept['WHO']}" not in self.kept:
            self.kept[self.kept["WHO"]] = told["access_token"]
        if isinstance(told.get("invoices"), list):
            self.kept["INVOICE"] = told["invoices"][0]["number"]

    async def runs(self, what: str, *words: str) -> None:
        """What runs on the reader's own machine; what it prints goes to the file named last."""
        if what == "key":
            told = signing.new_key(self.folder / words[1])
        else:
            told = signing.sign(self.folder / words[0], self.folder / words[2])
        (self.folder / words[-1]).write_bytes(encode_json(told))

    async def calls_until_refused(self) -> None:
        """The rest of what the contract allows in a day, and one call more."""
        command = (
            'curl -s -H "Authorization: Bearer $REQUESTER" '
            "$U/services/load-forecast/points/FR*PD1*E1"
        )
        for _ in range(99):
            await self.sends(command)
        asked = Curl.parse(Template(command).substitute(self.kept), {})
        self.answers.append(await asked.send(self.http))

    def answered(self, *parts: str) -> Response:
        """The last answer from an address that has all of these in it."""
        return next(
            one
            for one in reversed(self.answers)
            if all(part in str(one.request.url) for part in parts)
        )

    async def sees(self, shown: str) -> None:
        """What the page shows of the last answer is in it; what takes its time is looked at again,
        as a reader does."""
        expected = json.loads(shown)

        async def done() -> bool:
            if self.answers[-1].request.method == "GET" and self.told(expected) != expected:
                await self.sends(self.command)
            return bool(self.told(expected) == expected)

        if self.answers[-1].request.method == "GET":
            await until(done)
        assert self.told(expected) == expected

    def told(self, expected: Mapping[str, Any]) -> dict[str, Any]:
        last = self.answers[-1].json()
        return {name: last[name] for name in expected}


async def test_two_businesses_that_follow_the_page_go_live_pay_and_part(
    hub: Hub, tmp_path: Path
) -> None:
    (tmp_path / "load-forecast.yaml").write_text(yaml.safe_dump(DOCUMENT))
    page = PAGE.read_text()
    assert re.findall(r"^## ([0-9]+)\.", page, re.MULTILINE) == [str(n) for n in range(1, 16)]
    async with server(forecasting) as at:
        reader = Reader(hub, (await hub.operator()).token, at, tmp_path)
        for kind, text in BLOCK.findall(page):
            if kind == "json":
                if "429" in text:
                    await reader.calls_until_refused()
                await reader.sees(text)
                continue
            for command in COMMAND.findall(text):
                await reader.sends(command)
        environments = [one.path.split("/")[1] for one in at.came]
    assert environments == ["sandbox", "sandbox", *["live"] * 100]

    assert broken_rules(reader.answered("/invoices/", ".xml").content) == []
    assert reader.answered("/invoices/", ".pdf").content.startswith(b"%PDF-")
    [invoice] = reader.answered("/invoices?").json()["invoices"]
    assert (invoice["net"], invoice["total"], invoice["currency"]) == ("1.00", "1.00", "EUR")
    [month] = reader.answered("/reports/figures").json()["rows"]
    assert (month["calls"], month["billable_calls"]) == (100, 100)
    assert month["amounts"] == [{"currency": "EUR", "revenue_minor": 100, "cost_minor": 0}]
    [level] = reader.answered("/reports/levels").json()["months"]
    assert level["kept"] is True
    rows = list(csv.DictReader((tmp_path / "calls.csv").read_text().splitlines()))
    assert [one["sandbox"] for one in rows].count("false") == 100
    requesters, providers = reader.answers[-2:]
    assert requesters.content == providers.content
    entries = requesters.json()["entries"]
    assert "negotiation" in entries[0]["subject"]
    assert entries[-1]["data"]["action"] == "terminate"


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
