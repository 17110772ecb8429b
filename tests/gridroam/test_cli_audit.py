"""The hub's operator reads who did what on the command line."""

from __future__ import annotations

import json
from pathlib import Path

from tests.gridroam.processes import Done, gridroam


async def test_what_was_done_at_the_command_line_was_done_by_the_office(
    hub_database_url: str, tmp_path: Path
) -> None:
    async def run(*arguments: str) -> Done:
        place = ("--home", str(tmp_path / "home"), "--database-url", hub_database_url)
        return await gridroam(*arguments, *place, tmp_path=tmp_path)

    added = await run(
        "partner", "add", "FR*PD1", "--role", "evse-operator", "--name", "Point du Jour"
    )
    assert added.code == 0, added.err
    told = await run("audit", "--party", "FR*PD1", "--actor", "office", "--limit", "50")
    assert told.code == 0, told.err
    entries = [json.loads(line) for line in told.out.splitlines()]
    assert {"partner-registered", "client-registered", "contract-agreed"} <= {
        one["type"] for one in entries
    }
    assert {(one["actor"], one["party"]) for one in entries} == {("office", "FR*PD1")}
    wrong = await run("audit", "--type", "nothing-happened")
    assert (wrong.code, "nothing-happened" in wrong.err) == (2, True)
