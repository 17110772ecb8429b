"""The books of billing on PostgreSQL, hot: a page of contracts is a few statements."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date as Day
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

from documents.invoice import Kind, Preceding, VatTotal
from kit import event_log
from kit.database import Database, Hot
from kit.event_log import NewEvent
from marketplace.billing import tables
from marketplace.billing.fees import Fee, Share
from marketplace.billing.model import (
    DAYS_TO_PAY,
    Contract,
    Item,
    Run,
    Uninvoiced,
)
from marketplace.billing.papers import Issued, Left
from marketplace.billing.ports import Found, MonthOf, Recorded, Series
from marketplace.billing.rows import (
    event_of,
    invoice_row,
    line_rows,
    parties_of,
    share_row,
    to_found,
    to_invoice,
    to_item,
    to_share,
    to_uninvoiced,
    told_to,
)
from marketplace.billing.runs import SqlRuns
from marketplace.billing.standing import LEVELS, Billed, Entry, Way
from marketplace.contracts.model import Status
from marketplace.contracts.register import asked_once
from marketplace.contracts.rows import contracts
from marketplace.framework.store import clauses_table
from marketplace.offerings.model import ServiceTerms, parse_terms
from marketplace.offerings.store import terms_table
from marketplace.services.model import ROAMING
from marketplace.services.store import services
from roaming.events import EventType
from roaming.month import Month
from roaming.party import PartyId

SLOW_S = 600
_INVOICES, _LINES = tables.invoices.fullname, tables.lines.fullname
_ENTRIES, _SHARES = tables.entries.fullname, tables.shares.fullname
_SHARES_TAKEN, _FEES = tables.shares_taken.fullname, tables.fees.fullname
_SERIES, _UNINVOICED = tables.series.fullname, tables.uninvoiced.fullname
_REMINDERS = tables.reminders.fullname

# Terms that can cost anything: most contracts are free, and are not read.
_PRICED = """
(t.body ? 'plan' OR coalesce((t.body ->> 'price_per_call_minor')::numeric, 0) > 0
  OR coalesce((t.body -> 'pack' ->> 'price_minor')::numeric, 0) > 0)
"""
# What is made for the sandbox is never billed: not its days either.
_CONTRACTS = f"""
SELECT c.contract_id, c.service, c.major, c.provider, c.requester, c.valid_from, c.valid_until,
  c.history, c.replaces, c.terms_digest, t.body::text AS terms,
  coalesce(s.category, '') AS category,
  coalesce(jsonb_path_query_first(convert_from(k.body, 'UTF8')::jsonb,
    '$[*] ? (@.name == "payment-terms").parameters.due_days')::int, {DAYS_TO_PAY}) AS days_to_pay
FROM {contracts.fullname} AS c JOIN {terms_table.fullname} AS t ON t.digest = c.terms_digest
LEFT JOIN {services.fullname} AS s ON s.name = c.service AND s.major = c.major
LEFT JOIN {clauses_table.fullname} AS k ON k.digest = c.clauses_digest
WHERE c.service <> '{ROAMING}' AND c.environment = 'live' AND {_PRICED}
  AND c.valid_from < $1 AND (c.valid_until IS NULL OR c.valid_until > $2)
"""
_PAGE_OF_CONTRACTS = f"{_CONTRACTS} AND c.contract_id > $3 ORDER BY c.contract_id LIMIT $4"
_OWN_CONTRACTS = f"{_CONTRACTS} AND (c.provider = $3 OR c.requester = $3) ORDER BY c.contract_id"
_BY_QUARTER = f"""
SELECT c.contract_id FROM {contracts.fullname} AS c
JOIN {terms_table.fullname} AS t ON t.digest = c.terms_digest
WHERE t.body -> 'plan' ? 'time_of_use' AND c.service <> '{ROAMING}'
  AND c.valid_from < $1 AND (c.valid_until IS NULL OR c.valid_until > $2)
"""
_TAKEN = f"""
SELECT contract_id, month, key, (array_agg(told ORDER BY number DESC))[1] AS told,
  (array_agg(unit ORDER BY number DESC))[1] AS unit, sum(quantity) AS quantity,
  sum(amount_minor)::bigint AS amount_minor
FROM {_LINES} WHERE contract_id = ANY($1) AND month = ANY($2) AND taken
GROUP BY contract_id, month, key
"""
_LEFT = f"""
SELECT l.contract_id, l.month, i.number, i.issued_on, sum(l.amount_minor)::bigint AS minor
FROM {_LINES} AS l JOIN {_INVOICES} AS d ON d.number = l.number
JOIN {_INVOICES} AS i ON i.number = coalesce(d.corrects, d.number)
WHERE l.contract_id = ANY($1) AND l.month = ANY($2) AND i.kind = '{Kind.INVOICE}'
GROUP BY l.contract_id, l.month, i.number ORDER BY i.log_position DESC
"""
_TAKE_NUMBERS = f"""
INSERT INTO {_SERIES} AS s (seller, year, kind, counted)
SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::bigint[]) AS u (a, b, c, d)
  ORDER BY a, b, c
ON CONFLICT (seller, year, kind) DO UPDATE SET counted = s.counted + excluded.counted
RETURNING seller, year, kind, counted
"""
_OWN = "($1::text IS NULL OR i.seller = $1 OR i.buyer = $1)"
# What one run has noted, together.
_WAITING = f"""
SELECT contract_id, seller, buyer, currency, wanted, noted_at,
  array_agg(month ORDER BY month) AS months, array_agg(net_minor ORDER BY month) AS minors
FROM {_UNINVOICED} AS i WHERE {_OWN}
GROUP BY contract_id, seller, buyer, currency, wanted, noted_at
ORDER BY seller, buyer, contract_id, currency, noted_at
"""
# How a document stands: nothing of it is kept, everything is added up.
_FOUND = f"""
SELECT i.*, coalesce(credited.minor, 0)::bigint AS credited_minor,
  coalesce(entered.paid, 0)::bigint AS paid_minor,
  coalesce(entered.written_off, 0)::bigint AS written_off_minor
FROM {_INVOICES} AS i
LEFT JOIN LATERAL (
  SELECT sum(c.gross_minor) AS minor FROM {_INVOICES} AS c WHERE c.corrects = i.number
) AS credited ON true
LEFT JOIN LATERAL (
  SELECT sum(e.amount_minor) FILTER (WHERE e.way = '{Way.PAYMENT}') AS paid,
    sum(e.amount_minor) FILTER (WHERE e.way = '{Way.WRITTEN_OFF}') AS written_off
  FROM {_ENTRIES} AS e WHERE e.number = i.number
) AS entered ON true
"""
_PAGE = f"""
{_FOUND} WHERE {_OWN} AND ($2::text IS NULL OR i.month = $2)
  AND ($3::text IS NULL OR i.contract_id = $3)
  AND ($4::text IS NULL OR i.seller = $4 OR i.buyer = $4) AND i.log_position > $5
ORDER BY i.log_position LIMIT $6
"""
# Paid, credited or written off in between: who looks at them sees.
_OVERDUE = f"""
SELECT f.*, (SELECT count(*) FROM {_REMINDERS} AS r WHERE r.number = f.number) AS reminded
FROM ({_FOUND} WHERE i.due_on <= $1 AND i.kind = '{Kind.INVOICE}' AND i.log_position > $2) AS f
WHERE f.gross_minor > f.credited_minor + f.paid_minor + f.written_off_minor
  AND (SELECT count(*) FROM {_REMINDERS} AS r WHERE r.number = f.number) < {len(LEVELS)}
ORDER BY f.log_position LIMIT $3
"""
# What a run takes back names no line: it is of the one that took it, by its month and key.
_BILLED = f"""
SELECT l.*, (coalesce((
    SELECT sum(-c.amount_minor) FROM {_LINES} AS c
    WHERE c.corrects = l.number AND c.corrects_line = l.line
  ), 0) + coalesce((
    SELECT sum(-c.amount_minor) FROM {_INVOICES} AS d JOIN {_LINES} AS c ON c.number = d.number
    WHERE d.corrects = l.number AND c.corrects IS NULL AND c.month = l.month AND c.key = l.key
  ), 0))::bigint AS credited_minor
FROM {_LINES} AS l WHERE l.number = $1 ORDER BY l.line
"""


class SqlBook(SqlRuns):
    def __init__(self, connection: Hot, known_terms: dict[bytes, ServiceTerms]) -> None:
        super().__init__(connection)
        self._terms = known_terms

    async def by_quarter(self, run: Run) -> Sequence[str]:
        rows = await self._connection.fetch(_BY_QUARTER, run.up_to, run.months[0].starts_at)
        return [row["contract_id"] for row in rows]

    async def contracts(self, run: Run, limit: int) -> Sequence[Contract]:
        rows = await self._connection.fetch(
            _PAGE_OF_CONTRACTS, run.up_to, run.months[0].starts_at, run.after, limit
        )
        return await self._contracts(rows)

    async def contracts_of(self, party: PartyId, month: Month, now: datetime) -> Sequence[Contract]:
        rows = await self._connection.fetch(
            _OWN_CONTRACTS, min(now, month.ends_at), month.starts_at, party
        )
        return await self._contracts(rows)

    async def taken(
        self, contract_ids: Collection[str], months: Collection[Month]
    ) -> Mapping[MonthOf, Mapping[str, Item]]:
        rows = await self._connection.fetch(
            _TAKEN, list(contract_ids), [str(month) for month in months]
        )
        found: dict[MonthOf, dict[str, Item]] = {}
        for row in rows:
            place = row["contract_id"], Month.parse(row["month"])
            found.setdefault(place, {})[row["key"]] = to_item(row)
        return found

    async def left(
        self, contract_ids: Collection[str], months: Collection[Month]
    ) -> Mapping[str, Mapping[Month, Sequence[Left]]]:
        if not contract_ids:
            return {}
        rows = await self._connection.fetch(
            _LEFT, list(contract_ids), [str(month) for month in months]
        )
        found: dict[str, dict[Month, list[Left]]] = {}
        for row in rows:
            one = Left(Preceding(row["number"], row["issued_on"]), row["minor"])
            of_contract = found.setdefault(row["contract_id"], {})
            of_contract.setdefault(Month.parse(row["month"]), []).append(one)
        return found

    async def vat_credited(self, numbers: Collection[str]) -> Mapping[str, tuple[VatTotal, ...]]:
        if not numbers:
            return {}
        rows = await self._connection.fetch(
            f"SELECT corrects, content FROM {_INVOICES} WHERE corrects = ANY($1)", list(numbers)
        )
        found: dict[str, tuple[VatTotal, ...]] = {}
        for row in rows:
            had = found.get(row["corrects"], ())
            found[row["corrects"]] = had + to_invoice(row["content"]).vat_totals
        return found

    async def take_numbers(self, wanted: Mapping[Series, int]) -> Mapping[Series, int]:
        rows = await self._connection.fetch(
            _TAKE_NUMBERS,
            [seller for seller, _, _ in wanted],
            [year for _, year, _ in wanted],
            [kind.value for _, _, kind in wanted],
            list(wanted.values()),
        )
        found = {}
        for row in rows:
            one = PartyId(row["seller"]), row["year"], Kind(row["kind"])
            found[one] = row["counted"] - wanted[one]
        return found

    async def keep(self, issued: Sequence[Issued], xmls: Sequence[bytes], now: datetime) -> None:
        if not issued:
            return
        digests = [sha256(xml).digest() for xml in xmls]
        sellers = [event_of(one, digest, now) for one, digest in zip(issued, digests, strict=True)]
        buyers = [
            told_to(event, one.invoice.buyer.party)
            for event, one in zip(sellers, issued, strict=True)
        ]
        cursors = (await event_log.append(self._connection, [*sellers, *buyers]))[: len(issued)]
        await self._connection.copy_records_to_table(
            tables.invoices.name,
            schema_name="marketplace",
            columns=[column.name for column in tables.invoices.columns],
            records=[
                (*invoice_row(one, cursor.position), one.invoice, xml, digest)
                for one, cursor, xml, digest in zip(issued, cursors, xmls, digests, strict=True)
            ],
            timeout=SLOW_S,
        )
        await self._connection.copy_records_to_table(
            tables.lines.name,
            schema_name="marketplace",
            columns=[column.name for column in tables.lines.columns],
            records=[row for one in issued for row in line_rows(one)],
            timeout=SLOW_S,
        )
        await self._connection.copy_records_to_table(
            tables.shares.name,
            schema_name="marketplace",
            columns=[column.name for column in tables.shares.columns],
            records=[share_row(one.share) for one in issued if one.share is not None],
        )

    async def note_uninvoiced(
        self,
        contract_ids: Collection[str],
        months: Collection[Month],
        uninvoiced: Sequence[Uninvoiced],
    ) -> None:
        await self._connection.execute(
            f"DELETE FROM {_UNINVOICED} WHERE contract_id = ANY($1) AND month = ANY($2)",
            *(list(contract_ids), [str(month) for month in months]),
        )
        await self._note(uninvoiced)

    async def note_unpaid_fee(
        self, seller: PartyId, buyer: PartyId, uninvoiced: Sequence[Uninvoiced]
    ) -> None:
        await self._connection.execute(
            f"DELETE FROM {_UNINVOICED} WHERE contract_id = '' AND seller = $1 AND buyer = $2",
            *(seller, buyer),
        )
        await self._note(uninvoiced)

    async def _note(self, uninvoiced: Sequence[Uninvoiced]) -> None:
        await self._connection.executemany(
            f"INSERT INTO {_UNINVOICED} VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            [
                (
                    *(one.contract_id or "", one.seller, one.buyer, one.currency, str(month)),
                    *(minor, list(one.wanted), one.noted_at),
                )
                for one in uninvoiced
                for month, minor in one.by_month
            ],
        )

    async def uninvoiced(self, party: PartyId | None) -> Sequence[Uninvoiced]:
        rows = await self._connection.fetch(_WAITING, party)
        return [to_uninvoiced(row) for row in rows]

    async def find(self, number: str, party: PartyId | None, *, lock: bool = False) -> Found | None:
        if lock:
            # The document itself never changes: what is locked is what is added to it.
            await self._connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended('billing:' || $1, 0))", number
            )
        row = await self._connection.fetchrow(
            f"{_FOUND} WHERE {_OWN} AND i.number = $2", party, number
        )
        return None if row is None else to_found(row)

    async def page(
        self,
        party: PartyId | None,
        *,
        month: Month | None,
        contract_id: str | None,
        counterparty: PartyId | None,
        after: int,
        limit: int,
    ) -> Sequence[Found]:
        told = None if month is None else str(month)
        rows = await self._connection.fetch(
            _PAGE, party, told, contract_id, counterparty, after, limit
        )
        return [to_found(row) for row in rows]

    async def lines(self, number: str) -> Sequence[Billed]:
        content = await self._connection.fetchval(
            f"SELECT content FROM {_INVOICES} WHERE number = $1", number
        )
        paper = to_invoice(content).lines
        return [
            Billed(
                row["line"],
                Month.parse(row["month"]),
                to_item(row),
                paper[row["line"] - 1],
                row["credited_minor"],
            )
            for row in await self._connection.fetch(_BILLED, number)
        ]

    async def entries(self, number: str) -> Sequence[Recorded]:
        rows = await self._connection.fetch(
            f"SELECT * FROM {_ENTRIES} WHERE number = $1 ORDER BY recorded_at, reference", number
        )
        return [
            Recorded(
                Entry(
                    *(row["reference"], Way(row["way"]), row["amount_minor"], row["on_day"]),
                    row["note"],
                ),
                PartyId(row["recorded_by"]),
                row["recorded_at"],
            )
            for row in rows
        ]

    async def credit_notes(self, number: str) -> Sequence[str]:
        rows = await self._connection.fetch(
            f"SELECT number FROM {_INVOICES} WHERE corrects = $1 ORDER BY log_position", number
        )
        return [row["number"] for row in rows]

    async def record(
        self, found: Found, entry: Entry, by: PartyId, open_minor: int, now: datetime
    ) -> None:
        await self._connection.execute(
            f"INSERT INTO {_ENTRIES} VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            *(found.invoice.number, entry.reference, entry.way.value, entry.amount_minor),
            *(entry.on, entry.note, by, now),
        )
        written_off = entry.way is Way.WRITTEN_OFF
        body = parties_of(found.invoice) | {
            "reference": entry.reference,
            "amount_minor": entry.amount_minor,
            "on": entry.on.isoformat(),
            "open_minor": open_minor,
            "by": by,
        }
        await self._tell(
            EventType.SERVICE_INVOICE_WRITTEN_OFF
            if written_off
            else EventType.SERVICE_PAYMENT_RECORDED,
            *(found, body, now),
        )

    async def overdue(self, today: Day, after: int, limit: int) -> Sequence[tuple[Found, int]]:
        rows = await self._connection.fetch(
            _OVERDUE, today - timedelta(days=LEVELS[0]), after, limit
        )
        return [(to_found(row), row["reminded"]) for row in rows]

    async def remind(self, found: Found, level: int, now: datetime) -> None:
        sent = await self._connection.fetchval(
            f"INSERT INTO {_REMINDERS} VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING true",
            *(found.invoice.number, level, now),
        )
        if sent:
            body = parties_of(found.invoice) | {
                "level": level,
                "due_on": found.invoice.due_on and found.invoice.due_on.isoformat(),
                "open_minor": found.standing.open_minor,
            }
            await self._tell(EventType.SERVICE_PAYMENT_REMINDED, found, body, now)

    async def _tell(
        self, kind: EventType, found: Found, body: Mapping[str, Any], now: datetime
    ) -> None:
        seller = found.invoice.seller.party
        event = NewEvent(f"service-invoices/{seller}", kind, seller, dict(body), now)
        buyer = found.invoice.buyer.party
        await event_log.append(self._connection, [event, told_to(event, buyer)])

    async def fees(self) -> Sequence[Fee]:
        return [
            Fee(
                valid_from=Month.parse(row["valid_from"]),
                percent=row["percent"],
                per_invoice_minor=row["per_invoice_minor"],
                currency=row["currency"],
                provider=None if row["provider"] is None else PartyId(row["provider"]),
                category=row["category"],
            )
            for row in await self._connection.fetch(f"SELECT * FROM {_FEES} ORDER BY fee_no")
        ]

    async def add_fee(self, fee: Fee, by: PartyId, now: datetime) -> None:
        await self._connection.execute(
            f"INSERT INTO {_FEES} (valid_from, provider, category, percent, per_invoice_minor,"
            " currency, set_by, set_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            *(str(fee.valid_from), fee.provider, fee.category, fee.percent),
            *(fee.per_invoice_minor, fee.currency, by, now),
        )
        body = {
            "valid_from": str(fee.valid_from),
            "provider": fee.provider,
            "category": fee.category,
            "percent": f"{fee.percent:f}",
            "per_invoice_minor": fee.per_invoice_minor,
            "currency": fee.currency,
        }
        event = NewEvent("marketplace-fees", EventType.MARKETPLACE_FEE_SET, by, body, now)
        of_one = [] if fee.provider is None else [told_to(event, fee.provider)]
        await event_log.append(self._connection, [event, *of_one])

    async def share_of(self, number: str) -> Share | None:
        row = await self._connection.fetchrow(f"SELECT * FROM {_SHARES} WHERE number = $1", number)
        return None if row is None else to_share(row)

    async def providers_with_fees(self, after: str, limit: int) -> Sequence[PartyId]:
        rows = await self._connection.fetch(
            f"SELECT DISTINCT provider FROM {_SHARES} AS s WHERE provider > $1 AND fee_minor <> 0"
            f" AND NOT EXISTS (SELECT FROM {_SHARES_TAKEN} AS t WHERE t.number = s.number)"
            " ORDER BY provider LIMIT $2",
            *(after, limit),
        )
        return [PartyId(row["provider"]) for row in rows]

    async def shares_due(self, provider: PartyId) -> Sequence[Share]:
        rows = await self._connection.fetch(
            f"SELECT * FROM {_SHARES} AS s WHERE provider = $1 AND fee_minor <> 0"
            f" AND NOT EXISTS (SELECT FROM {_SHARES_TAKEN} AS t WHERE t.number = s.number)"
            " ORDER BY number",
            provider,
        )
        return [to_share(row) for row in rows]

    async def take_shares(self, numbers: Sequence[str], fee_number: str) -> None:
        await self._connection.execute(
            f"INSERT INTO {_SHARES_TAKEN} SELECT unnest($1::text[]), $2", list(numbers), fee_number
        )

    async def _contracts(self, rows: Sequence[Any]) -> list[Contract]:
        amended = [row["contract_id"] for row in rows if row["replaces"] is not None]
        asked = await asked_once(self._connection, amended)
        return [self._contract(row, asked.get(row["contract_id"], Decimal(0))) for row in rows]

    def _contract(self, row: Any, before: Decimal) -> Contract:
        terms = self._terms.get(row["terms_digest"])
        if terms is None:
            read = parse_terms(row["service"], json.loads(row["terms"]))
            assert isinstance(read, ServiceTerms)
            terms = self._terms[row["terms_digest"]] = read
        ended = [
            datetime.fromisoformat(since)
            for status, since, *_ in row["history"]
            if status == Status.TERMINATED
        ]
        if row["valid_until"] is not None:
            ended.append(row["valid_until"])
        return Contract(
            contract_id=row["contract_id"],
            service=row["service"],
            major=row["major"],
            category=row["category"],
            days_to_pay=row["days_to_pay"],
            provider=PartyId(row["provider"]),
            requester=PartyId(row["requester"]),
            terms=terms,
            begins=row["valid_from"],
            ends=min(ended, default=None),
            asked_once=before,
        )


class SqlBooks:
    """`MOST_TERMS`: terms are texts that many contracts share, and are read once."""

    MOST_TERMS = 10_000

    def __init__(self, database: Database) -> None:
        self._database = database
        self._terms: dict[bytes, ServiceTerms] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlBook]:
        if len(self._terms) > self.MOST_TERMS:
            self._terms = {}
        async with self._database.hot() as connection:
            yield SqlBook(connection, self._terms)
