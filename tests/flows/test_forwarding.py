"""A record's way to its EVSP, however and whenever that wants it (docs/flows/forwarding.md).

On a good day, and with an EVSP that refuses, keeps silent or says yes to nothing. No record is
lost, none is taken for two, and both sides can show what became of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zeep
from aiohttp import web
from lxml import etree

from bridge.soap_envelope import SOAP_11
from kit.clock import utc_now
from tests.flows.world import CARD, EVSE, World, world
from tests.hub import CLEARING_HOUSE, Hub, Partner, answering, server, until

WISHES = f"{CLEARING_HOUSE}/delivery-preferences"
LOOK_UP = f"{CLEARING_HOUSE}/deliveries/look-up"
DELIVERIES = f"{CLEARING_HOUSE}/deliveries"
STATE = f"{CLEARING_HOUSE}/delivery-state"
LETTERS = f"{CLEARING_HOUSE}/dead-letters"
WSDL = f"{CLEARING_HOUSE}/wsdl/service-detail-record-forwarding.wsdl"
SDR = "{urn:gridroam:service-detail-record-forwarding:1}"


@pytest.fixture
async def day(hub: Hub) -> World:
    return await world(hub)


async def hand_in(day: World, cdr_ids: Sequence[str]) -> None:
    now = utc_now().replace(microsecond=0)
    records = [
        {
            "cdr_id": cdr_id,
            "evse_id": EVSE,
            "token_uid": CARD,
            "start": (now - timedelta(hours=number + 2)).isoformat(),
            "end": (now - timedelta(hours=number + 1)).isoformat(),
            "energy_wh": 1_000 + sum(cdr_id.encode()),
        }
        for number, cdr_id in enumerate(cdr_ids)
    ]
    answers = await day.operator.post(f"{CLEARING_HOUSE}/cdrs", records)
    assert {answer["state"] for answer in answers} <= {"accepted", "flagged"}, answers


async def looked_up(by: Partner, *cdr_ids: str) -> dict[str, Any]:
    asked = {"cdrs": [{"operator": "FR*PD1", "cdr_id": one} for one in cdr_ids]}
    return {one["cdr_id"]: one for one in (await by.post(LOOK_UP, asked))["cdrs"]}


async def test_an_evsp_that_wants_its_records_in_the_morning_does_not_get_them_before(
    day: World,
) -> None:
    async with server() as evsp:
        await day.evsp.listens_at("cdrs", evsp.url)
        # Twelve hours from now in a zone of its own, so that no midnight is near.
        later = utc_now() + timedelta(hours=12)
        wish = {"cadence": "daily", "at": later.strftime("%H:%M"), "time_zone": "Etc/UTC"}
        told = await day.evsp.put(WISHES, wish)
        await hand_in(day, ["cdr-1", "cdr-2"])
        [first, second] = (await looked_up(day.operator, "cdr-1", "cdr-2")).values()
        assert (first["state"], second["state"]) == ("waiting", "waiting")
        assert first["next_due"] == told["next_due"]
        due = datetime.fromisoformat(first["next_due"])
        assert timedelta(hours=11, minutes=58) < due - utc_now() <= timedelta(hours=12)
        state = await day.evsp.get(STATE)
        assert (state["undelivered"], state["next_due"], state["under_way"]) == (
            *(2, told["next_due"]),
            None,
        )
        assert evsp.came == []
        # It thinks better of it.
        await day.evsp.put(WISHES, {})
        await until(lambda: bool(evsp.came))
        assert [one["cdr_id"] for one in evsp.came[0].json["cdrs"]] == ["cdr-1", "cdr-2"]


async def test_both_sides_can_show_what_arrived_and_when(day: World) -> None:
    async with server(answering({"received": 2, "jws": "a..b"})) as evsp:
        await day.evsp.listens_at("cdrs", f"{evsp.url}/secret-path?key=secret")
        await hand_in(day, ["cdr-1", "cdr-2"])

        async def arrived() -> bool:
            return bool((await day.evsp.get(DELIVERIES))["deliveries"])

        await until(arrived)
        digest = hashlib.sha256(evsp.came[0].content).hexdigest()
        [theirs] = (await day.evsp.get(DELIVERIES))["deliveries"]
        assert (theirs["body_sha256"], theirs["host"], theirs["answer_status"]) == (
            digest,
            "127.0.0.1",
            200,
        )
        assert theirs["receipt"] == {"received": 2, "jws": "a..b"}
        [ours] = (await day.operator.get(DELIVERIES))["deliveries"]
        assert ours["cdrs"] == theirs["cdrs"]
        assert (ours["body_sha256"], ours["delivery_id"]) == (digest, theirs["delivery_id"])
        # What the EVSP said and where it listens is not for operators.
        assert (ours["host"], ours["receipt"]) == (None, None)
        for side in (day.operator, day.evsp):
            found = (await looked_up(side, "cdr-2"))["cdr-2"]
            assert (found["state"], found["body_sha256"]) == ("delivered", digest)
        assert "secret" not in str(theirs)


async def test_an_evsp_that_fetches_its_records_says_that_it_has_them(day: World) -> None:
    await day.evsp.put(WISHES, {"channel": "pull"})
    await hand_in(day, ["cdr-1", "cdr-2"])
    page = await day.evsp.get(f"{CLEARING_HOUSE}/cdrs?limit=1")
    # It may ask for the same page again until it has said that it has it, and after.
    assert await day.evsp.get(f"{CLEARING_HOUSE}/cdrs?limit=1") == page
    told = await day.evsp.post(
        f"{CLEARING_HOUSE}/cdrs/acknowledgements", {"cursor": page["next_cursor"]}
    )
    assert (told["cursor"], told["cdrs"]) == (page["next_cursor"], 1)
    found = await looked_up(day.operator, "cdr-1", "cdr-2", "cdr-3")
    assert [one["state"] for one in found.values()] == ["acknowledged", "waiting", "unknown"]
    assert (await day.evsp.get(STATE))["undelivered"] == 1


async def test_an_evsp_with_a_soap_server_gets_its_records_by_its_own_tools(
    day: World, tmp_path: Path
) -> None:
    # Fetched as its tools do it, without a token.
    wsdl = await day.hub.http.get(WSDL)
    assert (wsdl.status_code, wsdl.headers["content-type"].partition(";")[0]) == (200, "text/xml")
    (tmp_path / "forwarding.wsdl").write_bytes(wsdl.content)
    model: Any = partial(zeep.Client, str(tmp_path / "forwarding.wsdl"))()
    came: list[list[str]] = []
    dislikes: set[str] = set()

    def answer(element: str, **told: Any) -> web.StreamResponse:
        whole = etree.Element(f"{{{SOAP_11}}}Envelope")
        made = model.get_element(SDR + element)
        made.render(etree.SubElement(whole, f"{{{SOAP_11}}}Body"), made(**told))
        return web.Response(body=etree.tostring(whole), content_type="text/xml")

    async def receive(request: web.BaseRequest) -> web.StreamResponse:
        content = evsp.came[-1].content
        body = etree.fromstring(content).find(f"{{{SOAP_11}}}Body")
        assert body is not None
        told = model.get_element(body[0].tag).parse(body[0], model.wsdl.types)
        ids = [one.cdrId for one in told.serviceDetailRecord]
        if dislikes & set(ids):
            fault = "<faultcode>s:Client</faultcode><faultstring>what is this?</faultstring>"
            return web.Response(
                status=500,
                text=f'<s:Envelope xmlns:s="{SOAP_11}"><s:Body><s:Fault>{fault}</s:Fault>'
                "</s:Body></s:Envelope>",
                content_type="text/xml",
            )
        came.append(ids)
        acknowledgement = {"accepted": True, "received": len(ids)}
        return answer("ForwardServiceDetailRecordsResponse", acknowledgement=acknowledgement)

    async with server(receive) as evsp:
        await day.evsp.put(WISHES, {"channel": "soap"})
        await day.evsp.listens_at("cdrs", evsp.url)
        dislikes.add("poison")
        await hand_in(day, ["cdr-1", "poison", "cdr-2"])
        await until(lambda: ["cdr-2"] in came)
        assert came == [["cdr-1"], ["cdr-2"]]
        found = await looked_up(day.operator, "cdr-1", "poison")
        assert [one["state"] for one in found.values()] == ["delivered", "dead-lettered"]
        [letter] = (await day.evsp.get(LETTERS))["dead_letters"]
        assert (letter["cdr_id"], letter["says"]) == ("poison", "what is this?")
        dislikes.clear()
        assert await day.evsp.post(f"{LETTERS}/replay", {"all": True}) == {"asked": 1}
        await until(lambda: ["poison"] in came)

        async def proved() -> bool:
            found = await looked_up(day.operator, "poison")
            return bool(found["poison"]["state"] == "delivered")

        await until(proved)


async def test_an_evsp_gets_its_records_as_files_once_its_host_lets_the_hub_in(
    day: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The programme is a stand-in; with OpenSSH's own and a real server: tests/outside."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    stand_in = [
        "#!/bin/sh",
        "cat >/dev/null",
        f'test -e "{tmp_path}/open" || {{ echo "Permission denied (publickey)." >&2; exit 255; }}',
        'while [ "$1" != "-i" ]; do shift; done',
        f'cp "$(dirname "$2")/content" "{inbox}/file"',
    ]
    (tmp_path / "sftp").write_text("\n".join(stand_in) + "\n")
    (tmp_path / "sftp").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    place = {
        "host": "127.0.0.1",
        "user": "grid",
        "directory": "in",
        "host_key": f"ssh-ed25519 {'A' * 68}",
    }
    told = await day.evsp.put(WISHES, {"channel": "sftp", "sftp": place})
    assert told["sftp_public_key"].startswith("ssh-ed25519 ")
    await hand_in(day, ["cdr-1", "cdr-2"])

    async def refused() -> bool:
        return "publickey" in ((await day.evsp.get(STATE))["last_error"] or "")

    await until(refused)
    found = (await looked_up(day.operator, "cdr-1"))["cdr-1"]
    assert (found["state"], found["last_error"]) == ("under-way", None)
    assert found["next_attempt_at"] is not None
    (tmp_path / "open").touch()

    async def arrived() -> bool:
        return bool((await day.evsp.get(DELIVERIES))["deliveries"])

    await until(arrived)
    content = (inbox / "file").read_bytes()
    assert [line.count(b'"cdr_id"') for line in content.splitlines()] == [1, 1]
    [delivery] = (await day.evsp.get(DELIVERIES))["deliveries"]
    assert delivery["body_sha256"] == hashlib.sha256(content).hexdigest()
    assert (delivery["channel"], delivery["host"]) == ("sftp", "127.0.0.1")
