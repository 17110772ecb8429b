"""The ledger on SQL. The database itself holds its laws: postings balance, rows never change, and
the running balances are the sums of the entries.

Whoever posts takes what others wait for in this order, so that nobody waits in a circle:

1. the operators' own lock, sorted (`cdrs.store.hold`);
2. the months, shared by all who post (`periods.store.hold_open`); alone by who begins to close one;
3. the lock of closing, then the row of a month that is closed, settled or corrected;
4. payments of a settlement, by their id;
5. an EVSP's exposure, sorted (`exposure.store.hold_alone`);
6. the row of a month that nothing was posted to before (`periods.store.value_dates`);
7. streams of the event log, sorted within one `append`;
8. books, sorted, then balances, sorted: `post`, once in a transaction, or of subjects apart;
9. rows that nobody else takes at that moment: holds that end, numbers of invoices.

Not every flow takes all of them. What is taken out of this order deadlocks one day.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

import kit.event_log  # noqa: F401  its kit.forbid_change must be made before our trigger
from clearinghouse.ledger.model import (
    FIRST,
    Account,
    Audit,
    Balance,
    Fault,
    Head,
    Posting,
    chained,
    posting_hash,
)
from kit.database import Database, Hot, attach_ddl, metadata
from roaming.money import Money
from roaming.party import PartyId

# What a settlement takes back is in no clearing group: what a month came to stays what it was.
_CLEARED = "account IN ('charge-receivable', 'vat-receivable') AND clearing_group <> ''"
_CHARGES = "account IN ('charge-receivable', 'charge-payable')"

# Identifiers compare byte by byte: to group and to index them is smaller work than in a language.
_Identifier = Text(collation="C")

postings = Table(
    "ledger_posting",
    metadata,
    Column("posting_id", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", _Identifier, nullable=False),
    Column("book", _Identifier, nullable=False),
    Column("book_no", BigInteger, nullable=False),
    Column("operator", _Identifier),
    Column("cdr_id", _Identifier),
    Column("value_at", DateTime(timezone=True), nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("hash", LargeBinary, nullable=False),
    UniqueConstraint("book", "book_no"),
    schema="clearinghouse",
)
# A charge is found by its record, which has the same number; what came of it later, by this.
Index(
    "ix_ledger_posting_of_cdr",
    postings.c.operator,
    postings.c.cdr_id,
    postgresql_where=text("kind <> 'charge'"),
)
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
    Column("value_at", DateTime(timezone=True), nullable=False),
    Column("cdrs", SmallInteger, nullable=False),
    Column("clearing_group", _Identifier, nullable=False),
    schema="clearinghouse",
)
# A clearing run reads a period of one currency and nothing else: the index alone answers it.
Index(
    "ix_ledger_entry_netting",
    entries.c.currency,
    entries.c.value_at,
    postgresql_include=["party", "counterparty", "account", "amount_minor", "cdrs"],
    postgresql_where=text(_CLEARED),
)
# The line items of one party's statement, in their order.
Index(
    "ix_ledger_entry_statement",
    entries.c.party,
    entries.c.currency,
    entries.c.value_at,
    entries.c.posting_id,
    postgresql_where=text(_CHARGES),
)
books = Table(
    "ledger_book",
    metadata,
    Column("book", _Identifier, primary_key=True),
    Column("postings", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    schema="clearinghouse",
)
balances = Table(
    "ledger_balance",
    metadata,
    Column("party", _Identifier, primary_key=True),
    Column("account", _Identifier, primary_key=True),
    Column("counterparty", _Identifier, primary_key=True),
    Column("currency", _Identifier, primary_key=True),
    Column("amount_minor", BigInteger, nullable=False),
    schema="clearinghouse",
)

for _table in (postings, entries):
    attach_ddl(
        f"""
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {_table.fullname}
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
"""
    )
# A posting is written by one statement, whole: so it is checked at the end of that statement. The
# balances move in one order for all writers: two postings never wait for each other in a circle.
attach_ddl(
    """
CREATE FUNCTION clearinghouse.settle_entries() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  unbalanced bigint;
BEGIN
  SELECT posting_id INTO unbalanced FROM written
    GROUP BY posting_id, currency HAVING sum(amount_minor) <> 0 LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'posting % does not sum to zero', unbalanced USING ERRCODE = 'check_violation';
  END IF;
  INSERT INTO clearinghouse.ledger_balance AS b (party, account, counterparty, currency,
      amount_minor)
    SELECT party, account, counterparty, currency, sum(amount_minor) FROM written
      GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (party, account, counterparty, currency)
      DO UPDATE SET amount_minor = b.amount_minor + excluded.amount_minor;
  RETURN NULL;
END
$$
"""
)
attach_ddl(
    """
CREATE TRIGGER settled AFTER INSERT ON clearinghouse.ledger_entry
  REFERENCING NEW TABLE AS written
  FOR EACH STATEMENT EXECUTE FUNCTION clearinghouse.settle_entries()
"""
)

# Books in one order for all writers. Taking a head locks it until the posting is committed.
_TAKE_HEADS = f"""
INSERT INTO {books.fullname} AS b SELECT n, 0, '' FROM unnest($1::text[]) AS u (n) ORDER BY n
ON CONFLICT (book) DO UPDATE SET postings = b.postings
RETURNING book, postings, hash
"""
_MOVE_HEADS = f"""
UPDATE {books.fullname} AS b SET postings = n.postings, hash = n.hash
FROM unnest($1::text[], $2::bigint[], $3::bytea[]) AS n (book, postings, hash)
WHERE b.book = n.book
"""
_POSTING = (
    *("posting_id", "kind", "book", "book_no", "operator", "cdr_id", "value_at", "recorded_at"),
    "hash",
)
_ENTRY = (
    *("posting_id", "value_at", "account", "party", "counterparty", "currency", "amount_minor"),
    *("cdrs", "clearing_group"),
)
_BALANCES = (
    f"SELECT account, counterparty, currency, amount_minor FROM {balances.fullname}"
    " WHERE party = $1 ORDER BY currency, counterparty, account"
)

MANY, _SLOW_S = 10_000, 600


async def post(connection: Hot, made: Sequence[Posting], recorded_at: datetime) -> None:
    """Write postings in the caller's transaction, each at the end of its book."""
    if not made:
        return
    rows = await connection.fetch(_TAKE_HEADS, sorted({one.book for one in made}))
    heads = {PartyId(row["book"]): Head(row["postings"], bytes(row["hash"])) for row in rows}
    places = chained(made, heads, recorded_at)
    lines = [(one.posting_id, one.value_at, *entry) for one in made for entry in one.entries]
    # The settlement of a month is one posting, of hundreds of thousands of entries.
    timeout = _SLOW_S if len(lines) > MANY else None
    await connection.copy_records_to_table(
        postings.name,
        schema_name=postings.schema,
        columns=_POSTING,
        records=[
            (
                one.posting_id,
                one.kind,
                one.book,
                place.postings,
                one.operator,
                one.cdr_id,
                one.value_at,
                recorded_at,
                place.hash,
            )
            for one, place in zip(made, places, strict=True)
        ],
    )
    await connection.execute(
        _MOVE_HEADS,
        list(heads),
        [head.postings for head in heads.values()],
        [head.hash for head in heads.values()],
    )
    # One statement, which checks them and moves the balances: last, since from here until the
    # commit others who move the same balances wait.
    await connection.copy_records_to_table(
        entries.name, schema_name=entries.schema, columns=_ENTRY, records=lines, timeout=timeout
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
            rows = await connection.fetch(_BALANCES, party)
        return [
            Balance(
                Account(row["account"]),
                PartyId(row["counterparty"]),
                Money(row["amount_minor"], row["currency"]),
            )
            for row in rows
        ]

    async def audit(self) -> Audit:
        """Hold every line of the ledger against its laws; see `audit`."""
        async with self._database.hot() as connection:
            # One picture of all tables, however long it takes to look at them.
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            return await audit(connection)


_UNSOUND = {
    "debits equal credits": (
        "SELECT 'posting ' || posting_id, 'its entries sum to ' || sum(amount_minor) || ' '"
        f" || currency FROM {entries.fullname}"
        " GROUP BY posting_id, currency HAVING sum(amount_minor) <> 0"
    ),
    "a balance is the sum of its entries": (
        "SELECT concat_ws(' ', party, account, counterparty, currency),"
        " 'it is kept as ' || coalesce(kept::text, 'nothing') || ', the entries sum to '"
        " || coalesce(summed::text, 'nothing')"
        f" FROM (SELECT party, account, counterparty, currency, amount_minor AS kept"
        f" FROM {balances.fullname}) AS k FULL JOIN (SELECT party, account, counterparty,"
        f" currency, sum(amount_minor) AS summed FROM {entries.fullname} GROUP BY 1, 2, 3, 4) AS s"
        " USING (party, account, counterparty, currency) WHERE kept IS DISTINCT FROM summed"
    ),
    "each entry belongs to a posting, and has its value date": (
        "SELECT 'entry ' || e.entry_id, 'posting ' || e.posting_id"
        " || coalesce(' has another value date', ' is not there')"
        f" FROM {entries.fullname} AS e LEFT JOIN {postings.fullname} AS p USING (posting_id)"
        " WHERE p.value_at IS DISTINCT FROM e.value_at"
    ),
    "what one is owed, the other owes": (
        "SELECT concat_ws(' ', posting_id, party, counterparty, subject, currency),"
        " 'the two sides differ by ' || sum(amount_minor) FROM (SELECT posting_id,"
        " least(party, counterparty) AS party, greatest(party, counterparty) AS counterparty,"
        " regexp_replace(account, '-(receivable|payable)$', '') AS subject, currency, amount_minor"
        f" FROM {entries.fullname}) AS pairs GROUP BY posting_id, party, counterparty, subject,"
        " currency HAVING sum(amount_minor) <> 0"
    ),
}
_MOST_FAULTS = 100


async def audit(connection: Hot) -> Audit:
    """Hold every line against the laws; each fault (a hundred a law) with its place.

    Reads all of the ledger: seconds for a million records.
    """
    faults: list[Fault] = []
    for law, query in _UNSOUND.items():
        rows = await connection.fetch(f"{query} LIMIT {_MOST_FAULTS}", timeout=600)
        faults += [Fault(law, row[0], row[1]) for row in rows]
    seen, heads = await _walk(connection, faults)
    kept = await connection.fetch(f"SELECT book, postings, hash FROM {books.fullname}")
    for row in kept:
        head = heads.pop(row["book"], Head(0, FIRST))
        if (row["postings"], bytes(row["hash"])) != (head.postings, head.hash):
            faults.append(
                Fault(
                    _CHAIN,
                    f"book {row['book']}",
                    f"it should end with number {row['postings']}, and ends with {head.postings}",
                )
            )
    faults += [Fault(_CHAIN, f"book {book}", "it has no head") for book in heads]
    counts = await connection.fetchrow(
        f"SELECT (SELECT count(*) FROM {entries.fullname}) AS entries,"
        f" (SELECT count(*) FROM {balances.fullname}) AS balances",
        timeout=600,
    )
    assert counts is not None
    return Audit(seen, counts["entries"], len(kept), counts["balances"], faults)


_CHAIN = "each book is a chain"
_SEALED = (
    *("posting_id", "kind", "book", "book_no", "operator", "cdr_id", "value_at", "recorded_at"),
)
_LINE = (
    *("account", "party", "counterparty", "currency", "amount_minor", "cdrs", "clearing_group"),
)
_WALK = f"""
SELECT p.*, e.account, e.party, e.counterparty, e.currency, e.amount_minor, e.cdrs, e.clearing_group
FROM {postings.fullname} AS p LEFT JOIN {entries.fullname} AS e USING (posting_id)
ORDER BY p.book, p.book_no, e.entry_id
"""


async def _walk(connection: Hot, faults: list[Fault]) -> tuple[int, dict[str, Head]]:
    """Reckon every hash again, in order; how many postings there are, and where each book ends."""
    heads: dict[str, Head] = {}
    seen = found = 0
    async for row, lines in _postings(connection):
        seen += 1
        head = heads.get(row["book"], Head(0, FIRST))
        number, kept = row["book_no"], bytes(row["hash"])
        reckoned = posting_hash(
            head.hash,
            **{name: row[name] for name in _SEALED},
            lines=[tuple(one[name] for name in _LINE) for one in lines if one["account"]],
        )
        if (number, kept) != (head.postings + 1, reckoned) and found < _MOST_FAULTS:
            found += 1
            says = "does not follow from its predecessor and its content"
            faults.append(Fault(_CHAIN, f"book {row['book']} number {number}", says))
        heads[row["book"]] = Head(number, kept)
    return seen, heads


async def _postings(connection: Hot) -> AsyncIterator[tuple[Any, list[Any]]]:
    """Each posting's row with the rows of its entries."""
    lines: list[Any] = []
    async for row in connection.cursor(_WALK, prefetch=5_000, timeout=600):
        if lines and lines[0]["posting_id"] != row["posting_id"]:
            yield lines[0], lines
            lines = []
        lines.append(row)
    if lines:
        yield lines[0], lines
