"""Settling a month is killed between its steps, from outside: it has never begun, or is done."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from clearinghouse.ledger.store import SqlLedger
from clearinghouse.periods.model import Month
from clearinghouse.settling import flows
from gridroam import clearing, office_books
from gridroam.core import Core
from gridroam.office import open_core
from tests.clearinghouse.settling.test_flows import booked
from tests.gridroam.processes import gridroam, started, until

LOCK = 7_431_098
# Settling stops dead as it has written this table, with the lock that the test holds as its brake.
BRAKE = f"""
CREATE FUNCTION public.brake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock({LOCK});
  RETURN NULL;
END $$;
CREATE TRIGGER brake AFTER INSERT ON {{table}} FOR EACH STATEMENT EXECUTE FUNCTION public.brake();
"""
RELEASE = "DROP FUNCTION public.brake CASCADE"
WAITING = (
    f"SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND objid = {LOCK}"
    " AND NOT granted"
)
JANUARY = Month(2025, 1)


@dataclass(frozen=True, slots=True)
class Home:
    """A hub's books with a closed month, in which three pairs owe each other."""

    parts: Core
    options: Sequence[str | Path]

    async def payments(self) -> list[tuple[str, str, int]]:
        found = await flows.payments(
            *(None,),
            month=None,
            state=None,
            after=None,
            limit=100,
            books=clearing.settling(self.parts).books,
        )
        return sorted((one.payer, one.payee, one.amount_minor) for one in found)


@pytest.fixture
async def home(hub_database_url: str, tmp_path: Path) -> AsyncIterator[Home]:
    folder = tmp_path / "home"
    async with open_core(folder, hub_database_url) as parts:
        await booked(parts.database)
        await office_books.close(parts, JANUARY)
        yield Home(parts, ["--home", folder, "--database-url", hub_database_url])


@pytest.mark.parametrize(
    "table",
    [
        "clearinghouse.settlement_pair",
        "clearinghouse.settlement_payment",
        "clearinghouse.ledger_entry",
        "kit.event",
    ],
)
async def test_a_settlement_that_is_killed_has_never_been_and_is_made_by_the_next(
    home: Home, tmp_path: Path, table: str
) -> None:
    asked = ["settle", "--period", "2025-01", *home.options]
    async with home.parts.database.pool.acquire() as connection:
        before = await connection.fetchval("SELECT count(*) FROM clearinghouse.ledger_entry")
        await connection.execute(BRAKE.format(table=table))
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)

        async def stands_still() -> bool:
            assert settling.process.returncode is None, settling.err
            return bool(await connection.fetchval(WAITING))

        async with started(*asked, errors=tmp_path / "killed") as settling:
            await until(stands_still)
            os.kill(settling.pid, signal.SIGKILL)
            assert (await settling.done()).out == ""
        await connection.execute("SELECT pg_advisory_unlock($1)", LOCK)

        async def nobody_waits() -> bool:
            return not await connection.fetchval(WAITING)

        # Its server finds out by itself that nobody is there any more.
        await until(nobody_waits)
        await connection.execute(RELEASE)
        after = await connection.fetchval("SELECT count(*) FROM clearinghouse.ledger_entry")
    assert after == before
    assert await home.payments() == []

    for _ in range(2):
        done = await gridroam(*asked, tmp_path=tmp_path)
        assert done.code == 0, done.err
        assert json.loads(done.out)["state"] == "settled"
        assert await home.payments() == [
            *(("DE*BET", "FR*PD1", 600), ("DE*BET", "NL*ALF", 360), ("FR*GAM", "FR*PD1", 240)),
        ]
    assert (await SqlLedger(home.parts.database).audit()).faults == []
