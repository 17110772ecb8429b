"""Dead letters from the command line: to read, for a program, and sent again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clearinghouse.cdrs import flows as cdr_flows
from clearinghouse.forwarding.model import Delivery, Reply
from clearinghouse.forwarding.store import SqlOutbox
from gridroam.office import open_core
from tests.clearinghouse.cdrs.fakes import EVSP, NOW, intake_of, keep_customer, many
from tests.gridroam.processes import Done, gridroam


@pytest.fixture
async def letters(hub_database_url: str, tmp_path: Path) -> list[str]:
    """The options of a hub with three dead letters of one EVSP."""
    options = ["--home", str(tmp_path / "home"), "--database-url", hub_database_url]
    async with open_core(tmp_path / "home", hub_database_url) as parts:
        await keep_customer(parts.database)
        await cdr_flows.receive(many(3), intake=intake_of(parts.database))
        outbox = SqlOutbox(parts.database)
        for _ in range(3):
            delivery = await outbox.next(EVSP, holder="one", most=1, now=NOW)
            assert isinstance(delivery, Delivery)
            await outbox.bury(delivery, Reply(422, "no such customer"), NOW)
    return options


async def test_dead_letters_are_listed_and_sent_again(letters: list[str], tmp_path: Path) -> None:
    async def command(*arguments: str) -> Done:
        return await gridroam("dead-letters", *arguments, *letters, tmp_path=tmp_path)

    async def listed(*arguments: str) -> list[Any]:
        done = await command("list", "--json", *arguments)
        assert (done.code, done.err) == (0, "")
        return [json.loads(line) for line in done.out.splitlines()]

    first, *_ = found = await listed()
    assert [(one["evsp"], one["cdr_id"], one["says"]) for one in found] == [
        (EVSP, f"M-{number}", "no such customer") for number in range(3)
    ]
    assert await listed("--evsp", "FR*XYZ") == []
    shown = await command("list", "--evsp", "de-bet")
    assert "M-1" in shown.out
    assert shown.out.splitlines()[-1] == "3 dead letters"

    one = await command("replay", "--evsp", EVSP, "--id", str(first["dead_letter_id"]), "--json")
    assert json.loads(one.out) == {"asked": 1}
    rest = await command("replay", "--evsp", EVSP, "--all")
    assert rest.out == "2 will be sent again\n"
    assert all(one["replay_requested_at"] for one in await listed())


async def test_which_ones_must_be_said(letters: list[str], tmp_path: Path) -> None:
    for more in ([], ["--all", "--id", "1"]):
        done = await gridroam(
            *("dead-letters", "replay", "--evsp", EVSP, *more, *letters), tmp_path=tmp_path
        )
        assert done.code == 2
        assert "either --id, or --all" in done.complaint
