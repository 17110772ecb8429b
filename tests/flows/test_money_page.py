"""docs/money.md tells a finance person of a month; every figure in it comes out of a real hub."""

from __future__ import annotations

import re
from pathlib import Path

from clearinghouse.ledger.store import SqlLedger
from tests.flows.worked_month import Played, pictures, play, shown
from tests.hub import Hub

DOCS = Path(__file__).parents[2] / "docs"
TABLE = re.compile(r"<!-- (\w+) -->\n(.*?)\n<!-- end -->", re.DOTALL)


async def test_every_table_and_picture_of_the_money_page_is_what_a_hub_makes_of_the_month(
    hub: Hub,
) -> None:
    played = await play(hub)
    page = (DOCS / "money.md").read_text()
    assert dict(TABLE.findall(page)) == shown(played)
    for name, picture in pictures(played).items():
        assert (DOCS / "money" / name).read_text() == picture
    it_adds_up(played)
    audit = await SqlLedger(hub.parts.database).audit()
    assert audit.faults == []


def it_adds_up(played: Played) -> None:
    settlement = played.settlement
    assert settlement.total_minor == 157_00 + 3_15
    assert settlement.total_minor == settlement.netted_minor + settlement.paid_minor
    assert played.closed.totals[0].disputed_minor == 4_00
    assert played.april_minor == 5_00
