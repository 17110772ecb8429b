"""The day that ships, replayed by a real process, and reckoned apart: to the cent the same."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.gridroam.day import WHOLE
from tests.gridroam.processes import gridroam
from tests.independent.who_owes_whom import unpaid

EXPECTED = json.loads(Path(__file__).with_name("expected_day.json").read_text(encoding="utf-8"))


def cents(amount: str) -> int:
    scaled = Decimal(amount).scaleb(2)
    assert scaled == int(scaled)
    return int(scaled)


def by_parties(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["currency"], *map(str, row.values())))


@pytest.mark.parametrize("through", ["api", "ocpp"])
async def test_a_replay_of_the_day_and_the_second_opinion_agree(
    tmp_path: Path, through: str
) -> None:
    report = tmp_path / "report.json"
    done = await gridroam(
        *("replay", *WHOLE.options, "--through", through, "--report", str(report)),
        tmp_path=tmp_path,
        environment={"TMPDIR": str(tmp_path)},
        within_s=300,
    )
    assert done.code == 0, done.err
    told = json.loads(report.read_text())

    for name in ("charges", "accepted", "refused", "duplicates", "energy_wh", "ledger_sum"):
        assert told[name] == EXPECTED[name], name
    # A flagged record is priced, posted and cleared like the others.
    cdrs = told["cdrs"]
    assert cdrs["accepted"] + cdrs["flagged"] == EXPECTED["cdrs"]["accepted"]
    assert cdrs["rejected"] == EXPECTED["cdrs"]["rejected"]
    assert cdrs["delivered"] == EXPECTED["cdrs"]["accepted"]
    assert told["ledger_sum"] == "0.00"
    assert told["unreadable_lines"] == told["notes"] == []

    assert by_parties(told["gross"]) == by_parties(EXPECTED["gross"])
    assert by_parties(told["bilateral"]) == by_parties(EXPECTED["bilateral"])
    # There may be several ways to cancel circles: what counts is that payments are on debts, that
    # they clear everybody, and that no less can be paid in all.
    debts = {
        (row["debtor"], row["creditor"], row["currency"]): cents(row["amount"])
        for row in EXPECTED["gross"]
    }
    for row in told["cycles"]:
        amount = cents(row["amount"])
        assert 0 < amount <= debts[row["payer"], row["payee"], row["currency"]]
    assert sum(cents(row["amount"]) for row in told["cycles"]) == sum(
        cents(row["amount"]) for row in EXPECTED["cycles"]
    )
    # There may be several shortest lists of payments: what counts is that they clear everybody,
    # and that there is none shorter.
    positions: dict[str, dict[str, int]] = defaultdict(dict)
    for row in EXPECTED["positions"]:
        positions[row["currency"]][row["party"]] = cents(row["amount"])
    for currency, owed in positions.items():
        for way in ("cycles", "multilateral"):
            payments = [
                (row["payer"], row["payee"], cents(row["amount"]))
                for row in told[way]
                if row["currency"] == currency
            ]
            assert all(amount > 0 for _, _, amount in payments)
            assert unpaid(owed, payments) == {}
    assert len(told["multilateral"]) == len(EXPECTED["multilateral"])
