"""The hub's operator helps a partner's people in, and ends their log-ins, at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gridroam import office_people
from marketplace.people.model import UnknownPerson
from roaming.party import PartyId
from tests.flows.people import LOGIN, Somebody, accepts, joined
from tests.gridroam.processes import gridroam
from tests.hub import Hub, Partner, until

PARTY = PartyId("FR*PD1")


@pytest.fixture
async def partner(hub: Hub) -> Partner:
    return await hub.partner(PARTY, "evse-operator")


async def put_out(somebody: Somebody) -> None:
    """Its token is refused by the hub that runs, as soon as that has heard."""

    async def refused() -> bool:
        return (await somebody.calls.call("GET", f"{LOGIN}/me")).status == 401

    await until(refused)


async def test_who_lost_the_authenticator_starts_anew_and_keeps_its_duties(
    partner: Partner, hub_database_url: str, tmp_path: Path
) -> None:
    ada = await joined(partner, "ada@pointdujour.example", "admin", "contracts")
    place = (tmp_path / "home", hub_database_url, PARTY)
    told = await office_people.start_anew(*place, ada.person_id)
    assert told["person"]["duties"] == ["admin", "contracts"]
    await put_out(ada)
    # Nothing that it had is good any more, whoever has it by now.
    for shown in ({"code": ada.code(1)}, {"recovery_code": ada.recovery_codes[0]}):
        assert (await ada.log_in(**shown)).status == 401
    again = await accepts(partner, told)
    assert again.person_id == ada.person_id
    assert (await again.calls.get(f"{LOGIN}/me"))["duties"] == ["admin", "contracts"]
    assert (await again.log_in()).status == 200


async def test_all_log_ins_of_a_partner_are_ended_or_ones_alone(
    hub: Hub, partner: Partner, hub_database_url: str, tmp_path: Path
) -> None:
    place = (tmp_path / "home", hub_database_url, PARTY)
    first = await office_people.invite(
        *place, email="ada@pointdujour.example", name="Ada", duties=["admin"]
    )
    ada = await accepts(partner, first)
    bob = await joined(partner, "bob@pointdujour.example", "finance")
    [ended] = await office_people.log_out(*place, bob.person_id)
    assert ended["person_id"] == bob.person_id
    await put_out(bob)
    assert (await ada.calls.call("GET", f"{LOGIN}/me")).status == 200
    assert (await bob.log_in()).status == 200
    await office_people.invite(*place, email="eve@x.example", name="Eve", duties=["finance"])
    ended_too = await office_people.log_out(*place, None)
    assert {one["person_id"] for one in ended_too} == {ada.person_id, bob.person_id}
    await put_out(ada)
    await put_out(bob)
    listed = await office_people.people_of(*place)
    assert [(one["name"], one["status"]) for one in listed] == [
        *(("Ada", "active"), ("Eve", "invited"), ("bob", "active"))
    ]
    other = await hub.partner("DE*BET", "evsp")
    for work in (office_people.start_anew, office_people.log_out):
        with pytest.raises(UnknownPerson):
            await work(place[0], hub_database_url, other.party, bob.person_id)


async def test_the_commands_print_what_they_did_and_refuse_in_one_line(
    partner: Partner, hub_database_url: str, tmp_path: Path
) -> None:
    ada = await joined(partner, "ada@pointdujour.example", "admin")
    place = ("--home", str(tmp_path / "home"), "--database-url", hub_database_url)
    done = await gridroam("people", "reset", PARTY, ada.person_id, *place, tmp_path=tmp_path)
    assert done.code == 0, done.err
    assert (await accepts(partner, json.loads(done.out))).person_id == ada.person_id
    wrong = await gridroam("people", "log-out", PARTY, "nobody", *place, tmp_path=tmp_path)
    assert (wrong.code, "no such person" in wrong.complaint) == (2, True)
