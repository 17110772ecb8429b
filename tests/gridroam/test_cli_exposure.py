"""What the hub's operator says of exposure on the command line, from the cap to its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.gridroam.processes import Done, gridroam


async def test_a_cap_is_set_paid_into_shown_and_lifted(
    hub_database_url: str, tmp_path: Path
) -> None:
    async def run(*arguments: str) -> Done:
        place = ("--home", str(tmp_path / "home"), "--database-url", hub_database_url)
        return await gridroam(*arguments, *place, tmp_path=tmp_path)

    async def told(*arguments: str) -> Any:
        done = await run(*arguments)
        assert done.code == 0, done.err
        return json.loads(done.out)

    cap = ("--cap", "5000.00", "--currency", "EUR", "--hold", "1000.00")
    found = await told("exposure", "set", "fr-xyz", *cap)
    assert (found["evsp"], found["cap"], found["hold"], found["left"]) == (
        *("FR*XYZ", "5000.00", "1000.00", "5000.00"),
    )
    paid = ("--prepayment", "250.50", "EUR", "--reference", "bank-1")
    for _ in range(2):
        assert (await told("deposit", "FR*XYZ", *paid))["left"] == "5250.50"
    back = ("--prepayment", "50.50", "EUR", "--reference", "back-1")
    assert (await told("withdraw", "FR*XYZ", *back))["prepaid"] == "200.00"
    assert (await told("exposure", "show", "--json"))["left"] == "5200.00"
    table = await run("exposure", "show")
    assert "5200.00" in table.out

    for arguments, says in (
        (("withdraw", "FR*XYZ", "--prepayment", "201", "EUR", "--reference", "x"), "200.00 EUR"),
        (("deposit", "FR*XYZ", "--prepayment", "1", "EUR", "--reference", "bank-1"), "reference"),
        (("deposit", "FR*XYZ", "--reference", "x"), "--prepayment"),
        (("deposit", "FR*XYZ", "--prepayment", "1.001", "EUR", "--reference", "x"), "1.001"),
        (("exposure", "lift", "DE*ABC"), "DE*ABC has no limit"),
    ):
        refused = await run(*arguments)
        assert refused.code == 2, refused
        assert says in refused.err
    assert await told("exposure", "lift", "FR*XYZ") == {"evsp": "FR*XYZ", "limited": False}
    assert (await told("exposure", "show", "FR*XYZ", "--json"))["limited"] is False
