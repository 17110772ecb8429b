"""The hub's operator asks on the command line what became of calls, and keeps it as a file."""

from __future__ import annotations

import csv
import json
import os
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet

from gateway.usage.store import SqlMeter
from kit.clock import utc_now
from kit.database import Database
from tests.gateway.usage.test_store import record
from tests.gridroam.processes import Done, gridroam


async def test_days_are_told_as_numbers_as_a_picture_and_as_a_file(
    hub_database_url: str, tmp_path: Path
) -> None:
    async def run(*arguments: str) -> Done:
        place = ("--home", str(tmp_path / "home"), "--database-url", hub_database_url)
        return await gridroam("report", *arguments, *place, tmp_path=tmp_path)

    assert "Nothing within 30d" in (await run()).out

    now = utc_now()
    database = await Database.open(hub_database_url)
    meter = SqlMeter(database)
    for number in range(4):
        meter.note(record(number, at=now - number * timedelta(days=1)))
    meter.note(record(9, at=now, status=502))
    await meter.close()
    await database.close()

    lines = [json.loads(line) for line in (await run("--json")).out.splitlines()]
    assert [(one["calls"], one["provider_errors"]) for one in lines] == [
        *((1, 0), (1, 0), (1, 0), (2, 1)),
    ]
    table = (await run("--last", "2d", "--by", "service")).out
    assert "█" in table
    assert "weather" in table
    assert "50.00 %" in table

    for name in ("figures.csv", "figures.parquet"):
        file = tmp_path / name
        done = await run("--every", "whole", "--out", str(file))
        assert f"{name}: {file.stat().st_size} bytes" in done.out
    with (tmp_path / "figures.csv").open(newline="") as told:
        [line] = csv.DictReader(told)
    [row] = pyarrow.parquet.read_table(tmp_path / "figures.parquet").to_pylist()
    assert (line["calls"], row["calls"], row["contract_id"]) == ("5", 5, "C-1")
    assert not any(name.endswith(".part") for name in os.listdir(tmp_path))

    for arguments, says in (
        (("--last", "soon"), "--last"),
        (("--last", "800d"), "731 days"),
        (("--party", "nobody"), "nobody"),
        (("--out", str(tmp_path / "figures.xlsx")), ".parquet"),
        (("--out", str(tmp_path / "nowhere" / "figures.csv")), "cannot write"),
    ):
        refused = await run(*arguments)
        assert refused.code == 2, refused
        assert says in refused.err
