"""docs/services.md tells a provider how to bring a service in; each of its commands is sent here.

The map is docs/flows/service.md.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.flows.curl import BLOCK, COMMAND, Curl
from tests.hub import Hub, Partner

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests/bridge/data"
JSON = "Content-Type: application/json"


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
        answer = await curl.send(provider.http)
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
