"""The checks find what they are for: three faults, each planted once in books that were sound.

An entry is lost, a posting is doubled, a posting is put into the wrong month; by somebody who goes
round the ledger and sees to it that sums and balances look right again.
"""

from __future__ import annotations

import pytest

from clearinghouse.ledger.store import SqlLedger
from kit.database import Database
from tests.laws.history import House, Paper
from tests.laws.test_crashes import charge, ready

LOST = """
DELETE FROM clearinghouse.ledger_entry WHERE posting_id = (SELECT max(posting_id)
  FROM clearinghouse.ledger_posting)
"""
DOUBLED = """
INSERT INTO clearinghouse.ledger_posting SELECT posting_id + 1000000, kind, book, book_no + 1000,
  operator, cdr_id || ' again', value_at, recorded_at, hash FROM clearinghouse.ledger_posting
  WHERE posting_id = (SELECT max(posting_id) FROM clearinghouse.ledger_posting);
INSERT INTO clearinghouse.ledger_entry (posting_id, account, party, counterparty, currency,
  amount_minor, value_at, cdrs, clearing_group)
  SELECT posting_id + 1000000, account, party, counterparty, currency, amount_minor, value_at,
  cdrs, clearing_group FROM clearinghouse.ledger_entry WHERE posting_id =
  (SELECT max(posting_id) - 1000000 FROM clearinghouse.ledger_posting)
"""
MOVED = """
UPDATE clearinghouse.ledger_entry SET value_at = value_at + interval '40 days'
  WHERE posting_id = (SELECT max(posting_id) FROM clearinghouse.ledger_posting);
UPDATE clearinghouse.ledger_posting SET value_at = value_at + interval '40 days'
  WHERE posting_id = (SELECT max(posting_id) FROM clearinghouse.ledger_posting);
INSERT INTO clearinghouse.accounting_period (period_id, state) VALUES ('2025-02', 'open')
"""
# Whoever forges entries forges the balances, too.
COVERED_UP = """
DELETE FROM clearinghouse.ledger_balance;
INSERT INTO clearinghouse.ledger_balance SELECT party, account, counterparty, currency,
  sum(amount_minor) FROM clearinghouse.ledger_entry GROUP BY 1, 2, 3, 4
"""


@pytest.mark.parametrize(
    ("fault", "law"),
    [
        pytest.param(LOST, "each book is a chain", id="a lost posting"),
        pytest.param(DOUBLED, "each book is a chain", id="a doubled posting"),
        pytest.param(MOVED, "each book is a chain", id="a wrong period"),
    ],
)
async def test_a_planted_fault_is_found_by_the_audit_and_on_paper(
    database: Database, fault: str, law: str
) -> None:
    house, _, _ = await ready(database)
    paper = Paper()
    for number in range(1, 8):
        paper.take(charge(number))
        await house.take(charge(number))
    assert await sound(house, paper)
    async with database.hot() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(fault)
        await connection.execute(COVERED_UP)
    audit = await SqlLedger(database).audit()
    assert {one.law for one in audit.faults} == {law}
    assert await house.totals() != paper.totals()


async def sound(house: House, paper: Paper) -> bool:
    audit = await SqlLedger(house.database).audit()
    return not audit.faults and await house.totals() == paper.totals()


async def test_half_a_posting_cannot_even_be_looked_at(database: Database) -> None:
    """One of a pair's two entries is lost: the totals of its month do not sum to zero."""
    house, _, _ = await ready(database)
    await house.take(charge(1))
    async with database.hot() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(
            "DELETE FROM clearinghouse.ledger_entry WHERE account = 'charge-payable'"
        )
    assert "debits equal credits" in {one.law for one in (await SqlLedger(database).audit()).faults}
    with pytest.raises(AssertionError, match="sums to zero"):
        await house.totals()
