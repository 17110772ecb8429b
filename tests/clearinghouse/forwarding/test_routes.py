"""Forwarding over HTTP: wishes, receipts, proofs and dead letters; each party sees its own."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
)
from fastapi import FastAPI

from clearinghouse.cdrs import flows as cdr_flows
from clearinghouse.cdrs.store import SqlBooks
from clearinghouse.forwarding import routes
from clearinghouse.forwarding.model import Delivery, Proof, Reply
from clearinghouse.forwarding.preferences import SqlPreferences
from clearinghouse.forwarding.store import SqlOutbox
from kit import problem
from kit.database import Database
from kit.event_log import START
from kit.secrets import SecretBox
from roaming.party import PartyId
from tests.clearinghouse.cdrs.fakes import (
    EVSP,
    NOW,
    OPERATOR,
    OTHER_CONTRACT,
    OTHER_EVSP,
    House,
    intake_of,
    keep_customer,
    many,
    submission,
)


@pytest.fixture
async def outbox(database: Database) -> SqlOutbox:
    """Two records of EVSP, both refused."""
    await keep_customer(database)
    await cdr_flows.receive(many(2), intake=intake_of(database))
    outbox = SqlOutbox(database)
    for _ in range(2):
        delivery = await outbox.next(EVSP, holder="one", most=1, now=NOW)
        assert isinstance(delivery, Delivery)
        await outbox.bury(delivery, Reply(422, "no such customer"), NOW)
    return outbox


@pytest.fixture
def house(outbox: SqlOutbox, database: Database) -> House:
    app = FastAPI()
    problem.install(app)
    app.include_router(
        routes.router(
            outbox,
            SqlPreferences(database, SecretBox(bytes(32)), lambda: NOW),
            database=database,
            clock=lambda: NOW,
            allow_loopback=False,
        )
    )
    return House(app)


async def letters(house: House, party: PartyId = EVSP, query: str = "") -> Any:
    return await house.get("/dead-letters", party=party, roles=["evsp"], query=query)


async def test_an_evsp_sees_its_own(house: House) -> None:
    status, page = await letters(house)
    assert status == 200
    assert [(one["cdr_id"], one["status"], one["says"]) for one in page["dead_letters"]] == [
        ("M-0", 422, "no such customer"),
        ("M-1", 422, "no such customer"),
    ]
    assert (await letters(house, OTHER_EVSP))[1] == {"dead_letters": []}


async def test_pages_go_on_by_cursor(house: House) -> None:
    _, first = await letters(house, query="limit=1")
    (letter,) = first["dead_letters"]
    _, second = await letters(house, query=f"limit=1&cursor={letter['dead_letter_id']}")
    assert [one["cdr_id"] for one in second["dead_letters"]] == ["M-1"]


async def test_it_may_have_them_again(house: House, outbox: SqlOutbox) -> None:
    _, page = await letters(house)
    path = f"/dead-letters/{page['dead_letters'][0]['dead_letter_id']}/replay"
    for _ in range(2):
        answer = await house.call("POST", path, b"", party=EVSP, roles=["evsp"])
        assert answer.status == 202
    delivery = await outbox.next(EVSP, holder="one", most=9, now=NOW)
    assert isinstance(delivery, Delivery)
    assert [cdr.submission.cdr_id for cdr in delivery.cdrs] == ["M-0"]
    await outbox.delivered(delivery, NOW)
    assert await outbox.delivered_count() == 1
    _, after = await letters(house)
    assert [one["delivered_at"] is None for one in after["dead_letters"]] == [False, True]


async def test_nobody_touches_anothers(house: House) -> None:
    _, page = await letters(house)
    path = f"/dead-letters/{page['dead_letters'][0]['dead_letter_id']}/replay"
    for party, roles, status in [
        (OTHER_EVSP, ["evsp"], 404),
        (EVSP, ["evse-operator"], 403),
        (None, [], 401),
    ]:
        assert (await house.call("POST", path, b"", party=party, roles=roles)).status == status
    assert (await house.get("/dead-letters", party=EVSP, roles=[]))[0] == 403
    assert (await house.get("/dead-letters", party=None))[0] == 401
    answer = await house.call(
        "POST", "/dead-letters/99999999999999999999/replay", b"", party=EVSP, roles=["evsp"]
    )
    assert answer.status == 422


async def asked(house: House, method: str, path: str, body: Any, **how: Any) -> tuple[int, Any]:
    how = {"party": EVSP, "roles": ["evsp"]} | how
    headers = {"content-type": "application/json"} | how.pop("headers", {})
    answer = await house.call(method, path, body, headers=headers, **how)
    return answer.status, json.loads(answer.body)


async def test_many_dead_letters_are_had_again_in_one_call(house: House, outbox: SqlOutbox) -> None:
    path = "/dead-letters/replay"
    assert (await asked(house, "POST", path, {"all": True}, party=OTHER_EVSP))[1] == {"asked": 0}
    _, page = await letters(house)
    first = page["dead_letters"][0]["dead_letter_id"]
    assert await asked(house, "POST", path, {"ids": [first, 7]}) == (202, {"asked": 1})
    assert (await asked(house, "POST", path, {"all": True}))[1] == {"asked": 1}
    assert (await asked(house, "POST", path, {"all": True}))[1] == {"asked": 0}
    for neither in ({}, {"ids": [first], "all": True}):
        status, problem_ = await asked(house, "POST", path, neither)
        assert (status, problem_["field"]) == (422, "ids")


async def test_an_evsp_that_has_not_said_gets_everything_at_once_over_http(house: House) -> None:
    status, told = await asked(house, "GET", "/delivery-preferences", b"")
    assert (status, told["channel"], told["cadence"], told["changed_at"]) == (
        *(200, "http", "at-once"),
        None,
    )


async def test_a_wish_is_kept_and_told_again_with_its_next_moment(house: House) -> None:
    wish = {
        "channel": "pull",
        "cadence": "weekly",
        "time_zone": "Europe/Berlin",
        "at": "06:15",
        "weekday": "tuesday",
    }
    status, told = await asked(house, "PUT", "/delivery-preferences", wish)
    assert (status, told["next_due"]) == (200, None)
    status, told = await asked(house, "PUT", "/delivery-preferences", wish | {"channel": "soap"})
    # 2025-02-01 is a Saturday.
    assert told["next_due"] == "2025-02-04T05:15:00Z"
    assert (await asked(house, "GET", "/delivery-preferences", b""))[1] == told
    assert told | wish | {"channel": "soap"} == told


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"at": "25:00"}, "at"),
        ({"day_of_month": 0}, "day_of_month"),
        ({"channel": "sftp"}, "sftp"),
        ({"channel": "pigeon"}, "channel"),
    ],
)
async def test_a_wish_that_cannot_be_fulfilled_is_refused_by_field(
    house: House, wrong: Any, field: str
) -> None:
    status, told = await asked(house, "PUT", "/delivery-preferences", wrong)
    assert status == 422
    assert field in told["field"]


FILES = {
    "host": "files.example",
    "user": "grid",
    "directory": "in",
    "host_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
}


async def test_a_wish_for_files_shows_the_one_key_to_authorise(
    house: House, database: Database
) -> None:
    wish = {"channel": "sftp", "sftp": FILES}
    status, told = await asked(house, "PUT", "/delivery-preferences", wish)
    assert (status, told["sftp"]) == (200, FILES | {"port": 22})
    assert told["sftp_public_key"].startswith("ssh-ed25519 ")
    again = await asked(
        house, "PUT", "/delivery-preferences", {"channel": "sftp", "sftp": FILES | {"user": "b"}}
    )
    assert again[1]["sftp_public_key"] == told["sftp_public_key"]
    assert "PRIVATE" not in json.dumps(again)
    keeper = SqlPreferences(database, SecretBox(bytes(32)), lambda: NOW)
    private = load_ssh_private_key(await keeper.private_key(EVSP), None)
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert told["sftp_public_key"].startswith(public)
    async with database.hot() as connection:
        sealed = await connection.fetchval("SELECT sealed_private_key FROM clearinghouse.sftp_key")
    assert b"PRIVATE" not in sealed


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.7", "localhost", "::1", "169.254.169.254"])
async def test_files_go_nowhere_inside_the_hubs_own_network(house: House, host: str) -> None:
    wish = {"channel": "sftp", "sftp": FILES | {"host": host}}
    status, told = await asked(house, "PUT", "/delivery-preferences", wish)
    assert (status, told["field"]) == (422, "sftp.host")


async def test_an_evsp_that_fetches_confirms_what_it_has(
    house: House, outbox: SqlOutbox, database: Database
) -> None:
    await cdr_flows.receive(
        many(3, prefix="N", first=NOW - timedelta(days=3)), intake=intake_of(database)
    )
    page = await SqlBooks(database).page(EVSP, after=START, since=None, state=None, limit=4)
    body = {"cursor": str(page[-1][0])}
    path = "/cdrs/acknowledgements"
    assert (await asked(house, "POST", path, body))[1] | {"cdrs": 4} == {
        "cursor": body["cursor"],
        "cdrs": 4,
        "acknowledged_at": "2025-02-01T00:00:00Z",
    }
    assert (await asked(house, "POST", path, body))[1]["cdrs"] == 0
    assert await outbox.undelivered() == {EVSP: 1}
    # A number out of the air confirms what there is, not what will come.
    far = {"cursor": f"{2**62}-1"}
    assert (await asked(house, "POST", path, far))[1]["cdrs"] == 1
    await cdr_flows.receive(
        many(1, prefix="O", first=NOW - timedelta(days=9)), intake=intake_of(database)
    )
    assert await outbox.undelivered() == {EVSP: 1}
    assert (await asked(house, "POST", path, far, party=OTHER_EVSP))[1]["cursor"] is None
    for wrong in ("", "1", "a-b", f"{2**63}-1", "-1-1"):
        status, told = await asked(house, "POST", path, {"cursor": wrong})
        assert (status, told["field"]) == (422, "cursor")


async def test_did_you_get_it(house: House, outbox: SqlOutbox, database: Database) -> None:
    """Every answer, to the operator and to the EVSP; a stranger learns nothing."""
    intake = intake_of(database)
    first = NOW - timedelta(days=3)
    await cdr_flows.receive(many(2, prefix="D", first=first), intake=intake)
    delivery = await outbox.next(EVSP, holder="one", most=1, now=NOW)
    assert isinstance(delivery, Delivery)
    proof = Proof(b"\x01" * 32, "evsp.example")
    await outbox.delivered(delivery, NOW, Reply(200, "", proof=proof))
    tried = await outbox.next(EVSP, holder="one", most=1, now=NOW)
    assert isinstance(tried, Delivery)
    await outbox.failed(tried, "closed", NOW + timedelta(minutes=1))
    await cdr_flows.receive(many(1, prefix="W", first=first + timedelta(days=1)), intake=intake)
    await cdr_flows.receive([submission("BAD", energy_wh=-5)], intake=intake)
    await cdr_flows.receive(
        [
            submission(
                "PULLED",
                start="2025-01-03T10:00:00Z",
                end="2025-01-03T11:00:00Z",
                contract_id=str(OTHER_CONTRACT),
            )
        ],
        intake=intake,
    )
    ids = ["D-0", "D-1", "W-0", "BAD", "M-0", "none", "PULLED"]
    ask = {"cdrs": [{"cdr_id": one, "operator": OPERATOR} for one in ids]}
    _, told = await asked(
        house, "POST", "/deliveries/look-up", ask, party=OPERATOR, roles=["evse-operator"]
    )
    shown = {one["cdr_id"]: one for one in told["cdrs"]}
    assert {cdr_id: one["state"] for cdr_id, one in shown.items()} == {
        "D-0": "delivered",
        "D-1": "under-way",
        "W-0": "waiting",
        "BAD": "rejected",
        "M-0": "dead-lettered",
        "none": "unknown",
        "PULLED": "rejected",
    }
    assert shown["D-0"]["body_sha256"] == "01" * 32
    assert shown["D-0"]["delivery_id"] == delivery.delivery_id
    assert (shown["D-1"]["attempts"], shown["D-1"]["last_error"]) == (1, None)
    assert shown["W-0"]["next_due"] is not None
    _, told = await asked(house, "POST", "/deliveries/look-up", ask)
    theirs = {one["cdr_id"]: one for one in told["cdrs"]}
    assert theirs["BAD"]["state"] == theirs["none"]["state"] == "unknown"
    assert theirs["D-1"]["last_error"] == "closed"
    _, told = await asked(house, "POST", "/deliveries/look-up", ask, party=OTHER_EVSP)
    assert {one["state"] for one in told["cdrs"]} == {"unknown"}
    assert all(
        value is None
        for one in told["cdrs"]
        for name, value in one.items()
        if name not in ("operator", "cdr_id", "state")
    )
    _, state = await asked(house, "GET", "/delivery-state", b"")
    assert (state["undelivered"], state["dead_letters"], state["last_error"]) == (2, 2, "closed")


async def test_a_dead_letter_that_arrived_after_all_is_proved_like_any_other(
    house: House, outbox: SqlOutbox
) -> None:
    await outbox.ask_replays(EVSP, None, NOW)
    delivery = await outbox.next(EVSP, holder="one", most=9, now=NOW)
    assert isinstance(delivery, Delivery)
    await outbox.delivered(delivery, NOW, Reply(204, "", proof=Proof(b"\x02" * 32, "h")))
    ask = {"cdrs": [{"cdr_id": "M-0"}]}
    _, told = await asked(
        house, "POST", "/deliveries/look-up", ask, party=OPERATOR, roles=["evse-operator"]
    )
    [one] = told["cdrs"]
    assert (one["state"], one["delivery_id"]) == ("delivered", delivery.delivery_id)
    _, page = await asked(house, "GET", "/deliveries", b"")
    [shown] = page["deliveries"]
    assert shown["cdrs"] == [{"operator": OPERATOR, "cdr_id": "M-0"}]
    assert (shown["host"], shown["answer_status"]) == ("h", 204)
    _, page = await asked(house, "GET", "/deliveries", b"", party=OPERATOR, roles=["evse-operator"])
    [mine] = page["deliveries"]
    assert (mine["cdrs"], mine["host"], mine["answer_status"]) == (shown["cdrs"], None, None)
    both = {"party": OPERATOR, "roles": ["evse-operator", "evsp"]}
    _, own = await asked(house, "GET", "/deliveries", b"", **both)
    assert own["deliveries"] == []
    _, as_operator = await asked(
        house, "GET", "/deliveries", b"", query="role=evse-operator", **both
    )
    assert as_operator == page
    status, _ = await asked(house, "GET", "/deliveries", b"", query="role=evse-operator")
    assert status == 403
    _, rest = await asked(house, "GET", "/deliveries", b"", query=f"cursor={page['next_cursor']}")
    assert rest == {"deliveries": [], "next_cursor": page["next_cursor"]}
