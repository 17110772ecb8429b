"""docs/services.md tells a provider how to bring a service in; each of its commands is sent here.

The map is docs/flows/service.md.
"""

from __future__ import annotations

import io
import re
import shlex
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from httpx import Response

from tests.hub import Hub, Partner

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests/bridge/data"
BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^curl .*?(?=^curl |\Z)", re.MULTILINE | re.DOTALL)
JSON = "Content-Type: application/json"


@dataclass(slots=True)
class Curl:
    """What a command line of curl asks for, as far as the page uses it."""

    method: str | None = None
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None

    @classmethod
    def parse(cls, line: str, files: Mapping[str, bytes]) -> Curl:
        asked = cls()
        words = iter(shlex.split(line)[1:])
        for word in words:
            match word:
                case "-s":
                    continue
                case "-X":
                    asked.method = next(words)
                case "-H":
                    name, _, value = next(words).partition(": ")
                    asked.headers[name] = value
                case "-d":
                    asked.content = next(words).encode()
                case "--data-binary":
                    asked.content = files[next(words).removeprefix("@")]
                case _:
                    assert not asked.url, f"what is {word}?"
                    asked.url = word
        return asked

    async def send(self, partner: Partner) -> Response:
        method = self.method or ("GET" if self.content is None else "POST")
        return await partner.http.request(
            method, self.url, headers=self.headers, content=self.content
        )


def commands(partner: Partner, files: Mapping[str, bytes]) -> Iterator[tuple[str, Curl]]:
    page = (ROOT / "docs/services.md").read_text()
    for block in BLOCK.findall(page):
        for command in COMMAND.findall(block):
            line = command.replace("$TOKEN", partner.token).replace("$J", JSON).replace("$U/", "/")
            yield command, Curl.parse(line, files)


def archive(folder: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as whole:
        for file in sorted([*folder.rglob("*.wsdl"), *folder.rglob("*.xsd")]):
            whole.write(file, file.relative_to(folder))
    return content.getvalue()


async def test_every_command_of_the_page_does_what_the_page_says(hub: Hub) -> None:
    provider = await hub.partner("NL*FCS", "service-provider")
    requester = await hub.partner("FR*PD1", "evse-operator")
    files = {
        "roaming-exchange.yaml": (DATA / "roaming-exchange.openapi.yaml").read_bytes(),
        "ochp.zip": archive(DATA / "ochp-1.4"),
    }
    sent = 0
    for command, curl in commands(provider, files):
        answer = await curl.send(provider)
        assert answer.status_code in (200, 201), (command, answer.text)
        sent += 1
    assert sent >= 13

    seen = {one["name"]: one for one in await requester.get("/marketplace/services")}
    assert seen.keys() >= {"roaming-exchange", "ochp", "price-changes"}
    assert {one["name"] for one in seen["ochp"]["operations"]} >= {"AddCDRs", "GetCDRs"}
    exchange = seen["roaming-exchange"]
    assert "AuthoriseStart_V1.3" in {one["name"] for one in exchange["operations"]}
    assert (exchange["sandbox"], exchange["endpoint"]) == (True, None)
    own = await provider.get("/marketplace/services/roaming-exchange/v1")
    assert own["handling"]["timeouts_s"] == {"AuthoriseStart_V1.3": 2.5}
    assert (await provider.get("/marketplace/services/ochp/v1"))["login"] is True
    document = await requester.get(f"{exchange['interface']}")
    assert document["kind"] == "openapi"
