"""What the hub's operator does about bills on the command line."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from kit.clock import utc_now
from kit.database import Database
from roaming.month import Month
from tests.gridroam.processes import Done, gridroam
from tests.marketplace.billing.market import Market, plan

# By the machine's own clock: the month before this one.
MONTH = Month.of(Month.of(utc_now()).starts_at - timedelta(days=1))


async def test_a_fee_is_set_a_month_is_billed_and_billed_once(
    hub_database_url: str, tmp_path: Path
) -> None:
    async def run(*arguments: str) -> Done:
        place = ("--home", str(tmp_path / "home"), "--database-url", hub_database_url)
        return await gridroam(*arguments, *place, tmp_path=tmp_path)

    async def told(*arguments: str) -> Any:
        done = await run(*arguments)
        assert done.code == 0, done.err
        return json.loads(done.out)

    database = await Database.open(hub_database_url, pool_size=2)
    try:
        market = Market(database)
        terms = plan(per_call="0.05")
        contract = await market.contract(terms, begins=MONTH.starts_at - timedelta(days=99))
        await market.calls(contract, MONTH.starts_at + timedelta(days=3), 3)
        fee = ("--valid-from", "2199-01", "--percent", "1", "--per-invoice", "0.30")
        set_ = await told("bill", "fee", "set", *fee, "--currency", "EUR")
        assert (set_["percent"], set_["per_invoice"], set_["provider"]) == ("1", "0.30", None)
        assert await told("bill", "fee", "list") == set_
        # Nobody has told business details here: it waits, and says so.
        billed = await told("bill", str(MONTH))
        assert (billed["state"], billed["contracts"], billed["not_invoiced"]) == ("done", 1, 1)
        assert (await told("bill", "run", str(MONTH)))["run_id"] != billed["run_id"]
    finally:
        await database.close()
    for arguments, says in (
        (("bill", "october"), "YYYY-MM"),
        (("bill", "2199-01"), "a month that is over"),
        (("bill", str(MONTH), "--up-to", f"{MONTH}-09"), "offset"),
        (("bill", "fee", "set", "--valid-from", "2025-01", "--percent", "1"), "this month"),
        (("bill", "fee", "set", *fee), "currency"),
    ):
        refused = await run(*arguments)
        assert (refused.code, says in refused.err) == (2, True), refused
