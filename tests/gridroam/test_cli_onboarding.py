"""The hub's operator lets partners in, and out, on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gridroam.core import core
from kit.clock import utc_now
from kit.database import Database
from kit.sortable_id import sortable_id
from marketplace.applications import flows
from marketplace.applications.flows import Receipt
from marketplace.applications.model import application
from marketplace.partners.model import Role
from roaming.party import PartyId
from tests.gridroam.processes import Done, gridroam
from tests.marketplace.applications.test_model import EVERY_CONTACT, details
from tests.marketplace.fakes import EVSP, HUB, OTHER


async def applied(database: Database, *parties: PartyId) -> Receipt:
    """An application that came in at the door."""
    parts = core(database, bytes(32), hub=HUB, clock=utc_now)
    asked = application(
        sortable_id(utc_now()),
        parties,
        [Role.EVSP, Role.DSO],
        details(parties[0]),
        EVERY_CONTACT,
        utc_now(),
    )
    return await flows.submit(
        parts.applications,
        asked,
        key=None,
        secrets=parts.application_secrets,
        checker=parts.checker,
        hub=HUB,
        now=utc_now(),
    )


async def test_applications_are_listed_and_decided_and_partners_suspended_and_let_go(
    hub_database_url: str, tmp_path: Path
) -> None:
    async def run(*arguments: str) -> Done:
        place = ("--home", str(tmp_path / "home"), "--database-url", hub_database_url)
        return await gridroam(*arguments, *place, tmp_path=tmp_path)

    async def told(*arguments: str) -> Any:
        done = await run(*arguments)
        assert done.code == 0, done.err
        return json.loads(done.out)

    database = await Database.open(hub_database_url)
    first = (await applied(database, EVSP)).application.application_id
    second = (await applied(database, OTHER, EVSP)).application.application_id
    await database.close()

    listed = (await run("partner", "applications", "--status", "requested")).out.splitlines()
    assert [json.loads(line)["application_id"] for line in listed] == [first, second]
    refused = await told("partner", "refuse", first, "--role", "dso", "--reason", "no grid")
    assert [one["status"] for one in refused["roles"]] == ["refused", "requested"]
    assert (await told("partner", "approve", first))["status"] == "approved"
    taken = await run("partner", "approve", second)
    assert (taken.code, EVSP in taken.err) == (2, True)

    suspended = await told("partner", "suspend", EVSP, "--reason", "unpaid")
    assert (suspended["status"], suspended["history"][0]["by"]) == ("suspended", HUB)
    assert (await told("partner", "restore", EVSP))["status"] == "active"
    role = await told("partner", "suspend", EVSP, "--role", "evsp")
    assert role["roles"] == [{"role": "evsp", "status": "suspended"}]
    assert (await told("partner", "leave", EVSP))["status"] == "left"
    assert await told("partner", "standing", EVSP) == await told("partner", "leave", EVSP)

    operator = await told("operator", "add", "--name", "The hub")
    assert operator["party"] == HUB
    assert operator["client_secret"]

    for arguments, says in (
        (("partner", "suspend", "NL*NON"), "not registered"),
        (("partner", "suspend", EVSP), "takes no suspend"),
        (("partner", "suspend", EVSP, "--role", "boss"), "boss"),
        (("partner", "approve", "no-such"), "no such application"),
        (("partner", "refuse", second, "--reason", " "), "told why"),
        (("partner", "refuse", second), "--reason"),
    ):
        done = await run(*arguments)
        assert done.code == 2, done
        assert says in done.err, done.err
