"""kill -9 in the middle of a replay, and the same replay again: the books are as without it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from gridroam.home import Home
from tests.gridroam.day import Day, cut
from tests.gridroam.processes import alive, gridroam, postmaster_of, started, until
from tests.independent.who_owes_whom import settle

CHARGES = 150
# What is the same however often it was interrupted; the rest is times and counts of repeats.
BOOKS = (
    *("charges", "accepted", "refused", "cdrs", "energy_wh"),
    *("gross", "bilateral", "multilateral", "ledger_sum"),
)
LOCK = 7_431_099
# The hub stops dead in the transaction that writes the record after the n-th, with the lock that
# the test holds as its brake: it is killed at the same place each time, never a moment too late.
BRAKE = f"""
CREATE SEQUENCE public.written;
CREATE FUNCTION public.brake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF nextval('public.written') > TG_ARGV[0]::bigint THEN
    PERFORM pg_advisory_xact_lock({LOCK});
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER brake AFTER INSERT ON clearinghouse.cdr
  FOR EACH ROW EXECUTE FUNCTION public.brake({{most}});
"""
RELEASE = "DROP FUNCTION public.brake CASCADE; DROP SEQUENCE public.written"
WAITING = (
    f"SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND objid = {LOCK}"
    " AND NOT granted"
)
COUNT = "SELECT count(*) FROM clearinghouse.cdr"


def replay(day: Day, home: Path, through: str, *more: str | Path) -> list[str]:
    return [
        *("replay", *day.options, "--through", through, "--home", str(home)),
        *map(str, more),
    ]


async def played(day: Day, home: Path, through: str, tmp_path: Path) -> dict[str, Any]:
    """The books of a replay that nobody disturbs."""
    report = tmp_path / f"{home.name}.json"
    done = await gridroam(*replay(day, home, through, "--report", report), tmp_path=tmp_path)
    assert done.code == 0, done.err
    told = json.loads(report.read_text())
    return {name: told[name] for name in BOOKS}


@asynccontextmanager
async def database_of(home: Path) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A look into the home's database, which is there for as long as the block lasts."""
    async with Home(home).database_url() as url:
        connection = await asyncpg.connect(url)
        try:
            yield connection
        finally:
            connection.terminate()


async def killed_after(
    records: int, day: Day, home: Path, through: str, tmp_path: Path, *, with_database: bool
) -> int:
    """Replay, and kill the hub as it writes the record after the n-th; how many are there."""
    async with database_of(home) as connection:
        await connection.execute(BRAKE.format(most=records))
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)

        async def stands_still() -> bool:
            assert playing.process.returncode is None, playing.err
            return bool(await connection.fetchval(WAITING))

        async with started(
            *replay(day, home, through), errors=tmp_path / f"killed after {records}"
        ) as playing:
            await until(stands_still)
            hub, server = int((home / "hub.lock").read_text()), postmaster_of(home)
            assert server is not None
            os.kill(hub, signal.SIGKILL)
            if with_database:
                os.kill(server, signal.SIGKILL)
            ended = await playing.done()
            await until(lambda: not alive(hub))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines()[-1] == (
        f"gridroam: the hub (process {hub}) ended in mid-replay, killed by signal 9"
    )
    assert not [line for line in ended.err.splitlines() if line.startswith("Traceback")]
    async with database_of(home) as connection:
        await connection.execute(RELEASE)
        return int(await connection.fetchval(COUNT) or 0)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    return cut(tmp_path_factory.mktemp("kill") / "day", CHARGES)


@pytest.fixture(scope="module")
def undisturbed(day: Day, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The books of the day when nothing happens, whichever way the charges are played."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return asyncio.run(played(day, folder / "home", "api", folder))


def gross(books: dict[str, Any]) -> Sequence[dict[str, Any]]:
    return sorted(books["gross"], key=lambda row: (row["debtor"], row["creditor"]))


@pytest.mark.parametrize("through", ["api", "ocpp"])
async def test_the_books_are_the_same_to_the_cent(
    day: Day, undisturbed: dict[str, Any], tmp_path: Path, through: str
) -> None:
    home = tmp_path / "home"
    assert gross(undisturbed) == settle(day.folder)["gross"]
    records = sum(undisturbed["cdrs"][state] for state in ("accepted", "flagged", "rejected"))
    assert records > 120

    kept = await killed_after(60, day, home, through, tmp_path, with_database=False)
    assert 0 < kept <= 60
    more = await killed_after(20, day, home, through, tmp_path, with_database=True)
    assert kept <= more <= kept + 20 < records
    assert await played(day, home, through, tmp_path) == undisturbed
    assert undisturbed["ledger_sum"] == "0.00"
    assert postmaster_of(home) is None
