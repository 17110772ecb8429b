"""The ledger on SQL. The database itself holds its laws: postings balance, rows never change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import BigInteger, Column, DateTime, Identity, Index, Table, Text, text

import kit.event_log  # noqa: F401  its kit.forbid_change must be made before our trigger
from clearinghouse.ledger.model import Account, Balance, Posting
from kit.database import Database, Hot, attach_ddl, metadata
from roaming.money import Money
from roaming.party import PartyId

_RECEIVABLES = "account IN ('charge-receivable', 'vat-receivable')"
_CHARGES = "account IN ('charge-receivable', 'charge-payable')"

# Identifiers compare byte by byte: to group and to index them is smaller work than in a language.
_Identifier = Text(collation="C")

entries = Table(
    "ledger_entry",
    metadata,
    Column("entry_id", BigInteger, Identity(always=True), primary_key=True),
    Column("posting_id", BigInteger, nullable=False),
    Column("account", _Identifier, nullable=False),
    Column("party", _Identifier, nullable=False),
    Column("counterparty", _Identifier, nullable=False),
    Column("currency", _Identifier, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("operator", _Identifier, nullable=False),
    Column("cdr_id", _Identifier, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    schema="clearinghouse",
)
# A clearing run reads a period of one currency and nothing else: the index alone answers it.
Index(
    "ix_ledger_entry_netting",
    entries.c.currency,
    entries.c.occurred_at,
    postgresql_include=["party", "counterparty", "account", "amount_minor"],
    postgresql_where=text(_RECEIVABLES),
)
# The line items of one party's statement, in their order.
Index(
    "ix_ledger_entry_statement",
    entries.c.party,
    entries.c.currency,
    entries.c.occurred_at,
    entries.c.posting_id,
    postgresql_where=text(_CHARGES),
)

attach_ddl(
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON clearinghouse.ledger_entry
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
"""
)
attach_ddl(
    """
CREATE FUNCTION clearinghouse.refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  unbalanced bigint;
BEGIN
  SELECT posting_id INTO unbalanced FROM written
    GROUP BY posting_id, currency HAVING sum(amount_minor) <> 0 LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'posting % does not sum to zero', unbalanced USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END
$$
"""
)
# A posting is written by one statement, whole: so it is checked at the end of that statement.
attach_ddl(
    """
CREATE TRIGGER balanced AFTER INSERT ON clearinghouse.ledger_entry
  REFERENCING NEW TABLE AS written
  FOR EACH STATEMENT EXECUTE FUNCTION clearinghouse.refuse_unbalanced()
"""
)

_POST = """
INSERT INTO clearinghouse.ledger_entry (posting_id, account, party, counterparty, currency,
  amount_minor, operator, cdr_id, occurred_at, recorded_at)
SELECT posting_id, account, party, counterparty, currency, amount_minor, operator, cdr_id,
  occurred_at, $10
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
  $7::text[], $8::text[], $9::timestamptz[])
  AS u(posting_id, account, party, counterparty, currency, amount_minor, operator, cdr_id,
    occurred_at)
"""


async def post(connection: Hot, postings: Sequence[Posting], recorded_at: datetime) -> None:
    """Write postings in the caller's transaction."""
    rows = [(posting, entry) for posting in postings for entry in posting.entries]
    if not rows:
        return
    await connection.execute(
        _POST,
        [posting.posting_id for posting, _ in rows],
        [entry.account.value for _, entry in rows],
        [entry.party for _, entry in rows],
        [entry.counterparty for _, entry in rows],
        [entry.currency for _, entry in rows],
        [entry.amount_minor for _, entry in rows],
        [posting.operator for posting, _ in rows],
        [posting.cdr_id for posting, _ in rows],
        [posting.occurred_at for posting, _ in rows],
        recorded_at,
    )


class SqlLedger:
    """Reads of the ledger; writing is part of whoever books a fact."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ledger_sum(self, currency: str) -> Money:
        """The sum of all entries of a currency. Anything but zero is a fault in the house."""
        async with self._database.hot() as connection:
            total = await connection.fetchval(
                "SELECT coalesce(sum(amount_minor), 0)::bigint"
                " FROM clearinghouse.ledger_entry WHERE currency = $1",
                currency,
            )
        return Money(total, currency)

    async def balances(self, party: PartyId) -> list[Balance]:
        """What a party is owed and owes, per account, counterparty and currency, for all time."""
        async with self._database.hot() as connection:
            rows = await connection.fetch(
                "SELECT account, counterparty, currency, sum(amount_minor)::bigint AS minor"
                " FROM clearinghouse.ledger_entry WHERE party = $1"
                " GROUP BY account, counterparty, currency"
                " ORDER BY currency, counterparty, account",
                party,
            )
        return [
            Balance(
                Account(row["account"]),
                PartyId(row["counterparty"]),
                Money(row["minor"], row["currency"]),
            )
            for row in rows
        ]
