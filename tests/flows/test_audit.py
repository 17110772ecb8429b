"""Who did what: a partner is told all that concerns it, and nothing of others' business."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from kit.clock import utc_now
from tests.flows.people import accepts, invited, joined
from tests.hub import Hub, Partner, answering, server, until

AUDIT = "/marketplace/audit"


def who(entry: Mapping[str, Any]) -> tuple[str, str | None, str | None]:
    return entry["type"], entry["actor"], entry["on_behalf_of"]


async def read(partner: Partner, query: str = "", *, at_least: int = 1) -> list[dict[str, Any]]:
    """Oldest first. What is behind a transaction that still runs comes a moment later."""
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        found[:] = await partner.get(f"{AUDIT}?limit=1000{query}")
        return len(found) >= at_least

    await until(there)
    return found[::-1]


@pytest.fixture
async def provider(hub: Hub) -> Partner:
    return await hub.partner("NL*FCS", "service-provider")


@pytest.fixture
async def requester(hub: Hub) -> Partner:
    return await hub.partner("FR*PD1", "evse-operator")


async def agreed(provider: Partner, requester: Partner, url: str) -> str:
    """A contract on a service of the provider's; a person of the requester's accepts it."""
    signer = await joined(requester, "ada@pointdujour.example", "contracts")
    await provider.post(
        "/marketplace/services",
        {
            "name": "forecast",
            "category": "value-added",
            "description": "What a day will bring",
            "endpoint": url,
        },
    )
    await provider.post("/marketplace/services/forecast/v1/publish")
    offering = await provider.post("/marketplace/offerings", {"service": "forecast"})
    return await signer.calls.accepts(offering["offering_id"])


async def test_both_sides_of_a_contract_see_who_did_what_and_a_third_sees_nothing(
    hub: Hub, provider: Partner, requester: Partner
) -> None:
    third = await hub.partner("DE*BET", "evsp")
    async with server(answering({})) as theirs:
        contract = await agreed(provider, requester, theirs.url)
    stream = f"&stream={quote(f'contract:{contract}')}"
    [own] = await read(requester, stream)
    assert who(own)[0] == "contract-agreed"
    assert own["actor"].startswith("person:")
    assert (own["actor_name"], own["on_behalf_of"]) == ("ada", "FR*PD1")
    [theirs_too] = await read(provider, stream)
    # The other side is told which party acted, and by what kind of actor, not who works there.
    assert who(theirs_too) == ("contract-agreed", "person", "FR*PD1")
    assert theirs_too["actor_name"] is None
    # Nor is an id that was guessed confirmed: it finds what one that nobody has finds.
    for actor in (own["actor"], f"client:{requester.client_id}", "person:nobody", "client:nobody"):
        assert await provider.get(f"{AUDIT}?actor={actor}") == []
    assert await read(requester, f"&actor={own['actor']}{stream}") == [own]
    operator = await hub.operator()
    for whose in ("", "&party=NL*FCS"):
        assert (await read(operator, f"&actor={own['actor']}{stream}{whose}"))[-1]["actor"] == (
            own["actor"]
        )
    told = await read(third)
    assert contract not in str(told)
    assert {one["party"] for one in told} <= {"DE*BET", "EU*GRD"}


async def test_a_requester_hears_what_becomes_of_a_service_it_has_a_contract_on(
    hub: Hub, provider: Partner, requester: Partner, tmp_path: Any
) -> None:
    third = await hub.partner("DE*BET", "evsp")
    async with server(answering({})) as theirs:
        await agreed(provider, requester, theirs.url)
    await provider.post("/marketplace/services/forecast/v1/suspend")
    service = "&stream=service:forecast:1"
    seen = await read(requester, service, at_least=2)
    # Where it is answered is its provider's affair.
    assert {one["type"] for one in seen} == {"service-status-changed"}
    assert theirs.url not in str(await read(requester))
    changed = seen[-1]
    assert who(changed) == ("service-status-changed", "client", "NL*FCS")
    own = (await read(provider, service, at_least=3))[-1]
    assert who(own) == ("service-status-changed", f"client:{provider.client_id}", "NL*FCS")
    assert await third.get(f"{AUDIT}?{service}") == []


async def test_filters_pages_and_a_spreadsheet_tell_the_same(
    hub: Hub, provider: Partner, requester: Partner
) -> None:
    before = utc_now()
    ada = await joined(requester, "ada@pointdujour.example", "admin")
    everything = await read(requester, at_least=5)
    mine = await read(requester, f"&actor=person:{ada.person_id}")
    assert [one["type"] for one in mine] == ["person-joined", "person-logged-in"]
    assert [one for one in everything if one in mine] == mine
    typed = await read(requester, "&type=person-invited&type=person-joined", at_least=2)
    assert [one["type"] for one in typed] == ["person-invited", "person-joined"]
    since = quote(before.isoformat())
    assert {one["type"] for one in await read(requester, f"&since={since}")} == {
        *("person-invited", "person-joined", "person-logged-in")
    }
    assert await requester.get(f"{AUDIT}?until={quote((before - timedelta(1)).isoformat())}") == []

    pages: list[dict[str, Any]] = []
    path = f"{AUDIT}?limit=2"
    while path:
        answer = await requester.call("GET", path)
        assert len(answer.body) <= 2
        pages += answer.body
        link = answer.headers.get("Link", "")
        path = link.partition("<")[2].partition(">")[0]
    assert pages[::-1] == everything

    sheet = await requester.http.get(
        f"{AUDIT}?limit=1000&format=csv", headers={"Authorization": f"Bearer {requester.token}"}
    )
    assert sheet.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(sheet.text)))
    assert [row["cursor"] for row in rows] == [one["cursor"] for one in pages]
    assert rows[0]["actor"] == pages[0]["actor"]


async def test_a_name_that_is_a_formula_stays_a_text(hub: Hub, requester: Partner) -> None:
    people = f"/marketplace/partners/{requester.party}/people"
    wicked = {"email": "eve@pointdujour.example", "name": '=HYPERLINK("x")', "duties": ["admin"]}
    await accepts(requester, await requester.post(people, wicked))
    await read(requester, "&type=person-joined")
    sheet = await requester.http.get(
        f"{AUDIT}?type=person-joined&format=csv",
        headers={"Authorization": f"Bearer {requester.token}"},
    )
    [row] = csv.DictReader(io.StringIO(sheet.text))
    assert row["actor_name"] == '\'=HYPERLINK("x")'


async def test_another_party_is_not_asked_about(hub: Hub, requester: Partner) -> None:
    no = await requester.call("GET", f"{AUDIT}?party=NL*FCS")
    assert (no.status, no.problem) == (403, "not-your-audit")
    for query, field in (("cursor=x", "cursor"), ("cursor=99999999999999999999-1", "cursor")):
        no = await requester.call("GET", f"{AUDIT}?{query}")
        assert (no.status, no.body["field"]) == (422, field)
    nothing = await requester.get(f"{AUDIT}?actor=%00&stream=%00")
    assert nothing == []


async def test_the_hubs_operator_invites_a_first_admin_and_sees_everybodys_affairs(
    hub: Hub, requester: Partner
) -> None:
    operator = await hub.operator()
    told = await invited(operator, "ada@pointdujour.example", "admin", party="FR*PD1")
    ada = await accepts(requester, told)
    own = await read(operator, "&party=FR*PD1&type=person-invited&type=person-joined", at_least=2)
    assert [who(one) for one in own] == [
        ("person-invited", f"client:{operator.client_id}", "EU*GRD"),
        ("person-joined", f"person:{ada.person_id}", "FR*PD1"),
    ]
    assert {"EU*GRD", "FR*PD1"} <= {one["party"] for one in await read(operator)}
    # The party itself hears who did it by kind.
    mine = await read(requester, "&type=person-invited")
    assert [who(one) for one in mine] == [("person-invited", "client", "EU*GRD")]
