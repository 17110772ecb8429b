"""The database itself holds the ledger's laws, also against those who go round our code."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import asyncpg
import pytest

from clearinghouse.ledger import store
from clearinghouse.ledger.model import Account, Balance, Kind, Posting, charge_entries
from clearinghouse.ledger.store import SqlLedger
from kit.database import Database
from roaming.money import Money
from roaming.party import PartyId

EVSP, OPERATOR = PartyId("DE*BET"), PartyId("FR*PD1")
NOW = datetime(2025, 2, 1, tzinfo=UTC)
ENTRY = (
    "INSERT INTO clearinghouse.ledger_entry (posting_id, account, party, counterparty, currency,"
    " amount_minor, value_at, cdrs, clearing_group)"
    " SELECT 7, 'charge-payable', 'DE*BET', 'FR*PD1', currency, minor, now(), 0, ''"
    " FROM (VALUES {rows}) AS v (currency, minor)"
)


def posting(number: int, excl_vat: int, vat: int) -> Posting:
    entries = charge_entries(EVSP, OPERATOR, Money(excl_vat, "EUR"), Money(vat, "EUR"))
    return Posting(number, Kind.CHARGE, OPERATOR, OPERATOR, f"A-{number}", NOW, entries)


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
        "UPDATE clearinghouse.ledger_posting SET value_at = now()",
        "DELETE FROM clearinghouse.ledger_posting",
    ],
)
async def test_what_is_posted_never_changes(database: Database, sql: str) -> None:
    await post(database, posting(1, 500, 100))
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await execute(database, sql)
    assert len(await SqlLedger(database).balances(OPERATOR)) == 2


async def test_sound_books_are_found_sound(database: Database) -> None:
    await post(database, posting(1, 500, 100), posting(2, 250, 50))
    await post(database, posting(3, 0, 0))
    audit = await SqlLedger(database).audit()
    assert (audit.postings, audit.entries, audit.books, audit.balances) == (3, 10, 1, 4)
    assert audit.faults == []
    assert (await SqlLedger(database).audit()).faults == []


async def test_writers_of_one_book_at_the_same_moment_make_one_chain(database: Database) -> None:
    await asyncio.gather(*(post(database, posting(n, n, 0)) for n in range(1, 31)))
    audit = await SqlLedger(database).audit()
    assert (audit.postings, audit.faults) == (30, [])
    [claim] = await SqlLedger(database).balances(OPERATOR)
    assert claim.amount.minor == sum(range(1, 31))


@pytest.mark.parametrize(
    ("deed", "law"),
    [
        (
            "DELETE FROM clearinghouse.ledger_entry WHERE posting_id = 2",
            "a balance is the sum of its entries",
        ),
        (
            "DELETE FROM clearinghouse.ledger_entry WHERE entry_id ="
            " (SELECT min(entry_id) FROM clearinghouse.ledger_entry)",
            "debits equal credits",
        ),
        (
            "UPDATE clearinghouse.ledger_entry SET value_at = value_at + interval '1 month'"
            " WHERE posting_id = 2",
            "each entry belongs to a posting, and has its value date",
        ),
        (
            "UPDATE clearinghouse.ledger_posting SET value_at = value_at + interval '1 month'"
            " WHERE posting_id = 2",
            "each book is a chain",
        ),
        (
            "UPDATE clearinghouse.ledger_entry SET amount_minor = amount_minor * 2"
            " WHERE posting_id = 2",
            "each book is a chain",
        ),
        (
            "UPDATE clearinghouse.ledger_entry SET counterparty = 'NL*ALF'"
            " WHERE posting_id = 2 AND party = 'DE*BET'",
            "what one is owed, the other owes",
        ),
        (
            "DELETE FROM clearinghouse.ledger_posting WHERE posting_id = 3",
            "each entry belongs to a posting, and has its value date",
        ),
        ("UPDATE clearinghouse.ledger_book SET postings = 2", "each book is a chain"),
        (
            "UPDATE clearinghouse.ledger_balance SET amount_minor = amount_minor + 1"
            " WHERE party = 'DE*BET' AND account = 'charge-payable'",
            "a balance is the sum of its entries",
        ),
    ],
)
async def test_whoever_goes_round_the_ledger_is_found_out(
    database: Database, deed: str, law: str
) -> None:
    await post(database, posting(1, 500, 100), posting(2, 250, 50), posting(3, 70, 0))
    # A superuser at the database itself: no trigger stands in the way.
    async with database.hot() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(deed)
    audit = await SqlLedger(database).audit()
    assert law in {fault.law for fault in audit.faults}
