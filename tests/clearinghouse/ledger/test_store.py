"""The database itself holds the ledger's laws, also against those who go round our code."""

from __future__ import annotations

from datetime import UTC, datetime

import asyncpg
import pytest

from clearinghouse.ledger import store
from clearinghouse.ledger.model import Account, Balance, Posting, charge_entries
from clearinghouse.ledger.store import SqlLedger
from kit.database import Database
from roaming.money import Money
from roaming.party import PartyId

EVSP, OPERATOR = PartyId("DE*BET"), PartyId("FR*PD1")
NOW = datetime(2025, 2, 1, tzinfo=UTC)
ENTRY = (
    "INSERT INTO clearinghouse.ledger_entry (posting_id, account, party, counterparty, currency,"
    " amount_minor, operator, cdr_id, occurred_at, recorded_at)"
    " SELECT 7, 'charge-payable', 'DE*BET', 'FR*PD1', currency, minor, 'FR*PD1', 'A', now(), now()"
    " FROM (VALUES {rows}) AS v (currency, minor)"
)


def posting(number: int, excl_vat: int, vat: int) -> Posting:
    entries = charge_entries(EVSP, OPERATOR, Money(excl_vat, "EUR"), Money(vat, "EUR"))
    return Posting(number, OPERATOR, f"A-{number}", NOW, entries)


async def post(database: Database, *postings: Posting) -> None:
    async with database.hot() as connection:
        await store.post(connection, postings, NOW)


async def execute(database: Database, sql: str) -> None:
    async with database.hot() as connection:
        await connection.execute(sql)


async def test_balances_are_the_sums_of_entries(database: Database) -> None:
    await post(database, posting(1, 500, 100), posting(2, 250, 50), posting(3, 0, 0))
    ledger = SqlLedger(database)
    assert await ledger.balances(OPERATOR) == [
        Balance(Account.CHARGE_RECEIVABLE, EVSP, Money(750, "EUR")),
        Balance(Account.VAT_RECEIVABLE, EVSP, Money(150, "EUR")),
    ]
    assert await ledger.balances(EVSP) == [
        Balance(Account.CHARGE_PAYABLE, OPERATOR, Money(-750, "EUR")),
        Balance(Account.VAT_PAYABLE, OPERATOR, Money(-150, "EUR")),
    ]
    assert await ledger.balances(PartyId("NL*ALF")) == []
    assert str(await ledger.ledger_sum("EUR")) == "0.00 EUR"


@pytest.mark.parametrize(
    "rows", ["('EUR', 1)", "('EUR', 1), ('EUR', -2)", "('EUR', 1), ('CHF', -1)"]
)
async def test_an_unbalanced_posting_is_refused(database: Database, rows: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="does not sum to zero"):
        await execute(database, ENTRY.format(rows=rows))
    assert str(await SqlLedger(database).ledger_sum("EUR")) == "0.00 EUR"


async def test_a_balanced_posting_is_not(database: Database) -> None:
    await execute(database, ENTRY.format(rows="('EUR', 1), ('EUR', -1)"))
    assert len(await SqlLedger(database).balances(EVSP)) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE clearinghouse.ledger_entry SET amount_minor = 0",
        "DELETE FROM clearinghouse.ledger_entry",
        "TRUNCATE clearinghouse.ledger_entry",
    ],
)
async def test_what_is_posted_never_changes(database: Database, sql: str) -> None:
    await post(database, posting(1, 500, 100))
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await execute(database, sql)
    assert len(await SqlLedger(database).balances(OPERATOR)) == 2
