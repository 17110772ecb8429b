"""People of a partner: from the first invitation by a program to the day when one is removed."""

from __future__ import annotations

import asyncio
import json
import re
import time

import pyotp
import pytest

from kit import event_log
from kit.clock import utc_now
from marketplace.access.model import person_holder
from marketplace.partners.flows import change_standing
from marketplace.partners.standing import Action
from marketplace.people.entry import NO_SOONER_S
from marketplace.people.store import SqlPeople
from roaming.party import PartyId
from tests.flows.people import LOGIN, PASSWORD, Somebody, accepts, invited, joined
from tests.hub import Hub, Partner

HUB = PartyId("EU*GRD")

SERVICE = {"name": "forecast", "category": "value-added", "description": "What a day will bring"}


@pytest.fixture
async def partner(hub: Hub) -> Partner:
    return await hub.partner("FR*PD1", "evse-operator", "service-provider")


async def test_a_partner_gets_people_each_with_duties_of_its_own(
    hub: Hub, partner: Partner
) -> None:
    admin = await joined(partner, "Ada@pointdujour.example", "admin")
    seller = await joined(admin.calls, "bo@pointdujour.example", "contracts")
    technician = await joined(admin.calls, "cy@pointdujour.example", "operations")
    reader = await joined(admin.calls, "di@pointdujour.example", "read-only")

    people = await reader.calls.get("/marketplace/partners/FR*PD1/people")
    assert [(one["email"].partition("@")[0], one["duties"]) for one in people] == [
        ("ada", ["admin"]),
        ("bo", ["contracts"]),
        ("cy", ["operations"]),
        ("di", ["read-only"]),
    ]
    assert {one["status"] for one in people} == {"active"}
    assert (await seller.calls.get(f"{LOGIN}/me"))["person_id"] == seller.person_id

    for person in (admin, seller, reader):
        no = await person.calls.call("POST", "/marketplace/services", SERVICE)
        assert (no.status, no.problem, no.body["field"]) == (403, "duty-missing", "duties")
        assert no.body["rule"] == "needed: operations"
    await technician.calls.post("/marketplace/services", SERVICE)
    for person in (technician, reader):
        no = await person.calls.call("POST", "/marketplace/offerings", {"service": "forecast"})
        assert (no.status, no.problem) == (403, "duty-missing")
    assert await reader.calls.get("/marketplace/services?mine=true")

    # Only what is tried out is a technician's to open.
    clients = "/marketplace/partners/FR*PD1/clients"
    assert (await technician.calls.call("POST", clients, {"environment": "sandbox"})).status == 201
    no = await technician.calls.call("POST", clients, {})
    assert (no.status, no.body["field"]) == (403, "duties")
    assert (await admin.calls.call("POST", clients, {})).status == 201


async def test_calls_of_services_are_for_those_who_run_them(hub: Hub, partner: Partner) -> None:
    reader = await joined(partner, "di@pointdujour.example", "read-only")
    technician = await joined(partner, "cy@pointdujour.example", "operations")
    site = partner.site(("FR*PD1*E1",), "Europe/Paris")
    no = await reader.calls.call("POST", "/services/search-evse/locations", [site])
    assert (no.status, no.problem, no.body["reason"]) == (403, "duty-missing", "duty-missing")
    report = await technician.calls.post("/services/search-evse/locations", [site])
    assert report["created"] == 1
    found = await reader.calls.get("/services/search-evse/evses")
    assert [one["evse_id"] for one in found["evses"]] == ["FR*PD1*E1"]


async def test_the_log_says_which_person_did_what_and_not_who_that_is(
    hub: Hub, partner: Partner
) -> None:
    admin = await joined(partner, "ada@pointdujour.example", "admin")
    other = await joined(admin.calls, "bo@pointdujour.example", "contracts")
    async with hub.parts.database.hot() as connection:
        told = await event_log.read(connection, event_log.START, stream="people:FR*PD1")
    assert [(one.type, one.actor) for one in told] == [
        ("person-invited", f"client:{partner.client_id}"),
        ("person-joined", f"person:{admin.person_id}"),
        ("person-logged-in", f"person:{admin.person_id}"),
        ("person-invited", f"person:{admin.person_id}"),
        ("person-joined", f"person:{other.person_id}"),
        ("person-logged-in", f"person:{other.person_id}"),
    ]
    assert not re.search("ada|pointdujour", str([one.body for one in told]))


async def test_logging_in_again_out_and_staying_in(hub: Hub, partner: Partner) -> None:
    ada = await joined(partner, "ada@pointdujour.example", "admin")
    first = ada.calls.token
    assert (await ada.log_in(code=ada.code(1))).status == 200
    second = ada.calls.token
    renewed = (await ada.calls.post(f"{LOGIN}/renew"))["access_token"]
    assert len({first, second, renewed}) == 3
    await ada.calls.post(f"{LOGIN}/logout")
    no = await ada.calls.call("GET", f"{LOGIN}/me")
    assert (no.status, no.problem) == (401, "token-refused")
    ada.calls.token = first
    assert (await ada.calls.call("GET", f"{LOGIN}/me")).status == 200


async def test_a_new_password_ends_all_that_was_got_by_the_old_one(
    hub: Hub, partner: Partner
) -> None:
    ada = await joined(partner, "ada@pointdujour.example", "admin")
    old = ada.calls.token
    changed = await ada.calls.post(
        f"{LOGIN}/password",
        {"password": PASSWORD, "code": ada.code(1), "new_password": "umbrella violin thursday"},
    )
    ada.calls.token = changed["access_token"]
    assert (await ada.calls.call("GET", f"{LOGIN}/me")).status == 200
    ada.calls.token = old
    assert (await ada.calls.call("GET", f"{LOGIN}/me")).status == 401
    assert (await ada.log_in()).status == 401
    assert (
        await ada.log_in(password="umbrella violin thursday", recovery_code=ada.recovery_codes[0])
    ).status == 200


async def test_a_program_has_no_log_in_of_its_own(hub: Hub, partner: Partner) -> None:
    for method, step in (("GET", "me"), ("POST", "renew"), ("POST", "logout")):
        no = await partner.call(method, f"{LOGIN}/{step}")
        assert (no.status, no.problem) == (403, "login-needed")


async def test_who_has_lost_everything_is_invited_again(hub: Hub, partner: Partner) -> None:
    ada = await joined(partner, "ada@pointdujour.example", "admin")
    bo = await joined(ada.calls, "bo@pointdujour.example", "finance")
    again = await ada.calls.post(f"/marketplace/partners/FR*PD1/people/{bo.person_id}/invitation")
    back = await accepts(partner, again)
    assert back.person_id == bo.person_id
    # What was lost is worth nothing to whoever has found it.
    assert (await bo.calls.call("GET", f"{LOGIN}/me")).status == 401
    assert (await bo.log_in()).status == 401
    assert (await back.log_in()).status == 200


async def test_other_duties_are_in_force_at_once(hub: Hub, partner: Partner) -> None:
    ada = await joined(partner, "ada@pointdujour.example", "admin")
    bo = await joined(ada.calls, "bo@pointdujour.example", "operations")
    path = f"/marketplace/partners/FR*PD1/people/{bo.person_id}"
    await ada.calls.put(path, {"name": "Bo", "duties": ["read-only"]})
    assert (await bo.calls.call("POST", "/marketplace/services", SERVICE)).status == 401
    await bo.log_in()
    assert (await bo.calls.call("POST", "/marketplace/services", SERVICE)).status == 403


# Bad days.


async def test_a_code_is_good_once_whoever_sends_it_again(hub: Hub, partner: Partner) -> None:
    ada = await joined(partner, "ada@pointdujour.example", "admin")
    code = ada.code(1)
    assert (await ada.log_in(code=code)).status == 200
    stolen = await ada.log_in(code=code)
    assert (stolen.status, stolen.problem) == (401, "login-refused")
    assert (await ada.log_in(code=ada.code())).status == 401, "nor one from before it"
    used = ada.recovery_codes[0]
    assert (await ada.log_in(recovery_code=used.upper())).status == 200
    assert (await ada.log_in(recovery_code=used)).status == 401


async def test_two_who_send_one_code_at_the_same_moment_do_not_both_come_in(
    hub: Hub, partner: Partner
) -> None:
    ada = await joined(partner, "ada@pointdujour.example", "admin")
    code = ada.code(1)
    both = await asyncio.gather(ada.log_in(code=code), ada.log_in(code=code))
    assert sorted(one.status for one in both) == [200, 401]


async def test_whoever_guesses_waits_and_is_not_told_what_was_wrong(
    hub: Hub, partner: Partner
) -> None:
    ada = await joined(partner, "ada@pointdujour.example", "admin")
    wrong_code = await ada.log_in(code="000000", password=PASSWORD)
    wrong_password = await ada.log_in(code=ada.code(1), password="x" * 12)
    nobody = await ada.log_in(email="nobody@pointdujour.example", code="000000")
    told = {str(one.body["detail"]) for one in (wrong_code, wrong_password, nobody)}
    assert len(told) == 1
    for _ in range(8):
        await ada.log_in(code="000000")
    held = await ada.log_in(code=ada.code(1))
    assert (held.status, held.problem) == (429, "too-many-attempts")
    assert re.fullmatch(r"again in \d+ s", held.body["rule"])


async def test_who_has_to_wait_is_told_no_more_than_somebody_who_is_not_there(
    hub: Hub, partner: Partner
) -> None:
    ada = await joined(partner, "ada@pointdujour.example", "admin")
    # From ten addresses, of which each had an attempt of its own.
    async with hub.parts.database.hot() as connection:
        await connection.execute("UPDATE marketplace.person SET failed = 10, failed_at = now()")
    held = await ada.log_in(code=ada.code(1))
    nobody = await ada.log_in(email="nobody@pointdujour.example", code="000000")
    assert held.status == nobody.status == 401
    told = [{**one.body, "request_id": None} for one in (held, nobody)]
    assert told[0] == told[1]


async def test_a_no_takes_as_long_whether_or_not_anything_was_found(
    hub: Hub, partner: Partner
) -> None:
    ada = await joined(partner, "ada@pointdujour.example", "admin")
    for email in (ada.email, "nobody@pointdujour.example"):
        began_s = time.monotonic()
        assert (await ada.log_in(email=email, code="000000")).status == 401
        assert time.monotonic() - began_s >= NO_SOONER_S


async def test_a_suspension_ends_the_token_of_who_comes_in_at_the_same_moment(
    hub: Hub, partner: Partner
) -> None:
    ada = await joined(partner, "ada@pointdujour.example", "admin")
    people = SqlPeople(hub.parts.database, hub.parts.box)
    holder = person_holder(ada.person_id)
    async with hub.parts.database.hot() as connection:
        await connection.execute("DELETE FROM marketplace.token_holder WHERE holder = $1", holder)
    async with people.open() as book:
        standing = await book.standing(ada.person_id)
        assert standing is not None
        suspended = asyncio.create_task(
            change_standing(
                hub.parts.partners,
                HUB,
                PartyId("FR*PD1"),
                Action.SUSPEND,
                hub=HUB,
                memory=hub.parts.book,
                now=utc_now(),
            )
        )
        done, _ = await asyncio.wait([suspended], timeout=0.5)
        assert not done, "it waits for whoever is at the door"
        await book.logged_in(standing.person, utc_now(), "password")
    await suspended
    async with hub.parts.database.hot() as connection:
        ended = await connection.fetchval(
            "SELECT tokens_from FROM marketplace.token_holder WHERE holder = $1", holder
        )
    assert ended is not None


async def test_half_a_character_is_refused_as_a_password(hub: Hub, partner: Partner) -> None:
    invitation = await invited(partner, "ada@pointdujour.example", "admin")
    nobody = Partner(partner.party, "", "", partner.http)
    spelt = json.dumps({"token": invitation["token"], "password": PASSWORD + "\ud800"}).encode()
    as_json = {"Content-Type": "application/json"}
    no = await nobody.call("POST", f"{LOGIN}/accept", spelt, headers=as_json)
    assert (no.status, no.problem) == (422, "bad-password")


async def test_whose_affair_contracts_are_may_ask_whether_they_hold(
    hub: Hub, partner: Partner
) -> None:
    one = {"requester": "FR*PD1", "provider": "EU*GRD", "service": "search-evse"}
    asked = {"questions": [one]}
    for duty, status in (("contracts", 200), ("finance", 200), ("read-only", 403)):
        somebody = await joined(partner, f"{duty}@pointdujour.example", duty)
        path = "/services/contract-validation/validations"
        assert (await somebody.calls.call("POST", path, asked)).status == status, duty


async def test_who_was_removed_is_out_at_once_and_cannot_come_back(
    hub: Hub, partner: Partner
) -> None:
    ada = await joined(partner, "ada@pointdujour.example", "admin")
    mallory = await joined(ada.calls, "mallory@pointdujour.example", "admin")
    path = f"/marketplace/partners/FR*PD1/people/{mallory.person_id}"
    assert (await ada.calls.call("DELETE", path)).status == 204
    assert (await mallory.calls.call("GET", f"{LOGIN}/me")).status == 401
    assert (await mallory.log_in()).status == 401
    assert (await ada.calls.call("GET", path)).status == 404
    # The address is free again, for whoever gets it next.
    assert (await invited(ada.calls, "mallory@pointdujour.example", "finance"))["token"]


async def test_the_last_admin_stays_whoever_wants_it_gone(hub: Hub, partner: Partner) -> None:
    ada = await joined(partner, "ada@pointdujour.example", "admin")
    await invited(ada.calls, "bo@pointdujour.example", "admin")
    path = f"/marketplace/partners/FR*PD1/people/{ada.person_id}"
    for caller in (ada.calls, partner):
        no = await caller.call("DELETE", path)
        assert (no.status, no.problem) == (409, "last-admin")
        less = await caller.call("PUT", path, {"name": "Ada", "duties": ["finance"]})
        assert (less.status, less.problem) == (409, "last-admin")
    assert (await ada.calls.call("GET", f"{LOGIN}/me")).status == 200


async def test_two_admins_who_remove_each_other_at_once_leave_one(
    hub: Hub, partner: Partner
) -> None:
    ada = await joined(partner, "ada@pointdujour.example", "admin")
    bo = await joined(partner, "bo@pointdujour.example", "admin")
    there = "/marketplace/partners/FR*PD1/people"
    both = await asyncio.gather(
        ada.calls.call("DELETE", f"{there}/{bo.person_id}"),
        bo.calls.call("DELETE", f"{there}/{ada.person_id}"),
    )
    assert sum(one.status == 204 for one in both) == 1
    left = await partner.get(there)
    assert len(left) == 1


async def test_an_invitation_is_used_once_and_a_weak_password_is_told_so(
    hub: Hub, partner: Partner
) -> None:
    invitation = await invited(partner, "ada@pointdujour.example", "admin")
    nobody = Partner(partner.party, "", "", partner.http)
    for password in ("sh0rt!", "Password2024!", "1234567890123", "pointdujour.example"):
        asked = {"token": invitation["token"], "password": password}
        no = await nobody.call("POST", f"{LOGIN}/accept", asked)
        assert (no.status, no.problem) == (422, "bad-password")
        assert password not in str(no.body)
    somebody = await accepts(partner, invitation)
    assert isinstance(somebody, Somebody)
    for step, more in (("accept", {"password": PASSWORD}), ("confirm", {"code": "123456"})):
        no = await nobody.call("POST", f"{LOGIN}/{step}", {"token": invitation["token"], **more})
        assert (no.status, no.problem) == (401, "invitation-refused")


async def test_the_people_of_one_party_are_no_others_affair(hub: Hub, partner: Partner) -> None:
    ada = await joined(partner, "ada@pointdujour.example", "admin")
    stranger = await hub.partner("DE*BET", "evsp")
    eve = await joined(stranger, "eve@bet.example", "admin")
    there = "/marketplace/partners/FR*PD1/people"
    for caller in (stranger, eve.calls):
        for method, path, body in (
            ("GET", there, None),
            ("POST", there, {"email": "x@y.example", "name": "X", "duties": ["admin"]}),
            ("GET", f"{there}/{ada.person_id}", None),
            ("PUT", f"{there}/{ada.person_id}", {"name": "X", "duties": ["finance"]}),
            ("DELETE", f"{there}/{ada.person_id}", None),
            ("POST", f"{there}/{ada.person_id}/invitation", None),
        ):
            no = await caller.call(method, path, body)
            assert (no.status, no.problem) == (403, "not-your-people"), (method, path)
    # An address at two partners is two people: neither hears of the other.
    twice = await joined(stranger, "ada@pointdujour.example", "finance")
    assert twice.person_id != ada.person_id
    own = f"/marketplace/partners/DE*BET/people/{ada.person_id}"
    assert (await stranger.call("GET", own)).status == 404


async def test_the_secrets_of_people_are_hashed_or_sealed(hub: Hub, partner: Partner) -> None:
    invitation = await invited(partner, "bo@pointdujour.example", "finance")
    ada = await joined(partner, "ada@pointdujour.example", "admin")
    async with hub.parts.database.hot() as connection:
        rows = await connection.fetch("SELECT t::text AS row FROM marketplace.person AS t")
        kept = "".join(row["row"] for row in rows)
    for secret in (invitation["token"], PASSWORD, ada.totp.secret, *ada.recovery_codes):
        assert secret not in kept
        assert secret.encode().hex() not in kept
    assert pyotp.TOTP(ada.totp.secret).verify(ada.code())
