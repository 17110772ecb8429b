"""Invoices on PostgreSQL: numbered without a gap, kept as their bytes, never changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Date, Index, Integer, LargeBinary, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from clearinghouse.cdrs.store import cdrs
from clearinghouse.fees.store import CLEARING_GROUP as FEES_GROUP
from clearinghouse.fees.store import fees
from clearinghouse.invoicing.model import Dealing, Drafted, Issued, Uninvoiced
from clearinghouse.invoicing.ports import Found
from clearinghouse.ledger import store as ledger
from clearinghouse.ledger.model import Kind as PostingKind
from clearinghouse.ledger.model import Posting, Subject, mirrored
from clearinghouse.periods.model import Month
from clearinghouse.tax.model import AGREED_RATE
from documents.invoice import Category, Invoice, Kind, Line, Preceding, Vat
from kit import event_log
from kit.database import Database, Hot, attach_ddl, metadata
from kit.encoding import encode_json
from kit.event_log import NewEvent
from roaming.events import EventType
from roaming.money import Money
from roaming.party import PartyId

_Identifier = Text(collation="C")

invoices = Table(
    "invoice",
    metadata,
    Column("number", _Identifier, primary_key=True),
    Column("log_position", BigInteger, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("seller", _Identifier, nullable=False),
    Column("buyer", _Identifier, nullable=False),
    Column("currency", _Identifier, nullable=False),
    Column("clearing_group", _Identifier, nullable=False),
    Column("period_id", _Identifier, nullable=False),
    Column("issued_on", Date, nullable=False),
    Column("net_minor", BigInteger, nullable=False),
    Column("vat_minor", BigInteger, nullable=False),
    Column("vat_rounding_minor", BigInteger, nullable=False),
    Column("content", JSONB, nullable=False),
    Column("xml", LargeBinary, nullable=False),
    Column("xml_sha256", LargeBinary, nullable=False),
    schema="clearinghouse",
)
Index("ix_invoice_seller", invoices.c.seller, invoices.c.log_position)
Index("ix_invoice_buyer", invoices.c.buyer, invoices.c.log_position)
Index("ix_invoice_period_id", invoices.c.period_id, invoices.c.log_position)
series = Table(
    "invoice_series",
    metadata,
    Column("seller", _Identifier, primary_key=True),
    Column("year", Integer, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("counted", BigInteger, nullable=False),
    schema="clearinghouse",
)
uninvoiced = Table(
    "uninvoiced",
    metadata,
    Column("period_id", _Identifier, primary_key=True),
    Column("seller", _Identifier, primary_key=True),
    Column("buyer", _Identifier, primary_key=True),
    Column("currency", _Identifier, primary_key=True),
    Column("clearing_group", _Identifier, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("net_minor", BigInteger, nullable=False),
    Column("vat_minor", BigInteger, nullable=False),
    Column("wanted", JSONB, nullable=False),
    schema="clearinghouse",
)
attach_ddl(
    f"""
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {invoices.fullname}
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
"""
)

# Everything that was posted about one record in the month comes to one sum: what was charged and
# taken back within it is on no paper. A record whose charge stands in an earlier month was invoiced
# then, so what is taken back of it is a credit note, if it cost nothing too, and what comes back to
# it a new invoice.
_LINES = f"""
WITH posted AS (
  SELECT e.party AS seller, e.counterparty AS buyer, e.currency, e.clearing_group, p.operator,
    coalesce(c.credit_reference_id, c.cdr_id) AS root, p.kind,
    e.account = 'charge-receivable' AS charge, e.amount_minor, e.cdrs, c.energy_wh,
    c.agreement_id, c.vat_rule, c.vat_category, c.vat_percent
  FROM {ledger.entries.fullname} AS e
  JOIN {ledger.postings.fullname} AS p USING (posting_id)
  JOIN {cdrs.fullname} AS c ON c.operator = p.operator AND c.cdr_id = p.cdr_id
    AND c.state <> 'rejected'
  WHERE e.value_at >= $1 AND e.value_at < $2 AND e.party <> e.counterparty
    AND e.account IN ('charge-receivable', 'vat-receivable')
), of_record AS (
  SELECT seller, buyer, currency, clearing_group, operator, root,
    coalesce(sum(amount_minor) FILTER (WHERE charge), 0) AS net,
    coalesce(sum(amount_minor) FILTER (WHERE NOT charge), 0) AS vat,
    sum(cdrs) AS charges, sum(cdrs * energy_wh) AS energy_wh,
    bool_or(charge AND kind = 'charge') AS charged_here,
    max(agreement_id) AS agreement_id, max(vat_rule) AS vat_rule,
    max(vat_category) AS vat_category, max(vat_percent) AS vat_percent
  FROM posted GROUP BY 1, 2, 3, 4, 5, 6
), told AS (
  SELECT r.*, CASE WHEN charged_here THEN NULL ELSE (
      SELECT to_char(o.value_at AT TIME ZONE 'UTC', 'YYYY-MM') FROM {cdrs.fullname} AS c
      JOIN {ledger.postings.fullname} AS o ON o.posting_id = c.log_position
      WHERE c.operator = r.operator AND c.cdr_id = r.root AND c.state <> 'rejected'
    ) END AS charged_in
  FROM of_record AS r WHERE net <> 0 OR vat <> 0 OR charges <> 0
)
SELECT seller, buyer, currency, clearing_group, agreement_id, vat_rule, vat_category, vat_percent,
  NOT charged_here AND (net + vat, charges) < (0, 0) AS credit, charged_in,
  sum(net)::bigint AS net, sum(vat)::bigint AS vat, sum(charges)::bigint AS charges,
  sum(energy_wh)::bigint AS energy_wh
FROM told GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
"""
_FEES = f"""
SELECT * FROM {fees.fullname} WHERE period_id = $1 ORDER BY party, currency
"""
_TAKE = f"""
INSERT INTO {series.fullname} AS s (seller, year, kind, counted)
SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::bigint[]) AS u (a, b, c, d)
  ORDER BY a, b, c
ON CONFLICT (seller, year, kind) DO UPDATE SET counted = s.counted + excluded.counted
RETURNING seller, year, kind, counted
"""
_EARLIER = f"""
SELECT k.*, i.number, i.issued_on
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
  AS k (seller, buyer, currency, clearing_group, period_id)
JOIN {invoices.fullname} AS i USING (seller, buyer, currency, clearing_group, period_id)
WHERE i.kind = '{Kind.INVOICE}' ORDER BY i.number
"""
_KEEP = f"""
INSERT INTO {invoices.fullname}
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
  $7::text[], $8::text[], $9::date[], $10::bigint[], $11::bigint[], $12::bigint[], $13::jsonb[],
  $14::bytea[], $15::bytea[])
"""
_KEEP_UNINVOICED = f"""
INSERT INTO {uninvoiced.fullname}
SELECT a, b, c, d, e, f, g, h, i::jsonb
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
  $7::bigint[], $8::bigint[], $9::text[]) AS u (a, b, c, d, e, f, g, h, i)
"""
_OWN = "($1::text IS NULL OR seller = $1 OR buyer = $1)"
_PAGE = f"""
SELECT * FROM {invoices.fullname}
WHERE log_position > $2 AND {_OWN} AND ($3::text IS NULL OR period_id = $3)
ORDER BY log_position LIMIT $4
"""
_UNINVOICED = f"""
SELECT * FROM {uninvoiced.fullname} WHERE {_OWN} AND ($2::text IS NULL OR period_id = $2)
ORDER BY period_id, seller, buyer, currency, clearing_group, kind
"""


class SqlClosing:
    """A month that is being closed, on the connection of who closes it. `hub`: whose book tells
    of roundings."""

    def __init__(self, connection: Hot, hub: PartyId) -> None:
        self._connection = connection
        self._hub = hub

    async def lines(self, month: Month) -> Sequence[tuple[Dealing, Drafted]]:
        rows = await self._connection.fetch(_LINES, month.starts_at, month.ends_at, timeout=_SLOW_S)
        fees = await self._connection.fetch(_FEES, str(month))
        return [
            *((_dealing(row), _drafted(row, month)) for row in rows),
            *((_fee_dealing(row, self._hub), _fee(row, month)) for row in fees),
        ]

    async def take_numbers(
        self, wanted: dict[tuple[PartyId, int, Kind], int]
    ) -> dict[tuple[PartyId, int, Kind], int]:
        rows = await self._connection.fetch(
            _TAKE,
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

    async def invoices_of(
        self, wanted: Sequence[tuple[Dealing, str]]
    ) -> dict[tuple[Dealing, str], list[Preceding]]:
        keys = sorted(
            {
                (one.seller, one.buyer, one.currency, one.clearing_group, month)
                for one, month in wanted
            }
        )
        found: dict[tuple[Dealing, str], list[Preceding]] = {}
        if not keys:
            return found
        columns = [list(column) for column in zip(*keys, strict=True)]
        for row in await self._connection.fetch(_EARLIER, *columns):
            key = _dealing(row), row["period_id"]
            found.setdefault(key, []).append(Preceding(row["number"], row["issued_on"]))
        return found

    async def keep(
        self,
        issued: Sequence[Issued],
        uninvoiced: Sequence[Uninvoiced],
        month: Month,
        now: datetime,
    ) -> None:
        if uninvoiced:
            await self._connection.execute(
                _KEEP_UNINVOICED,
                [one.period_id for one in uninvoiced],
                [one.dealing.seller for one in uninvoiced],
                [one.dealing.buyer for one in uninvoiced],
                [one.dealing.currency for one in uninvoiced],
                [one.dealing.clearing_group for one in uninvoiced],
                [one.kind.value for one in uninvoiced],
                [one.net_minor for one in uninvoiced],
                [one.vat_minor for one in uninvoiced],
                [encode_json(one.wanted).decode() for one in uninvoiced],
            )
        if not issued:
            return
        digests = [sha256(one.xml).digest() for one in issued]
        events = [_event(one, digest, now) for one, digest in zip(issued, digests, strict=True)]
        cursors = await event_log.append(self._connection, events)
        positions = [cursor.position for cursor in cursors]
        made = [one.invoice for one in issued]
        await self._connection.execute(
            _KEEP,
            [one.number for one in made],
            positions,
            [one.kind.value for one in made],
            [one.seller.party for one in made],
            [one.buyer.party for one in made],
            [one.currency for one in made],
            [one.dealing.clearing_group for one in issued],
            [one.period_id for one in issued],
            [one.issued_on for one in made],
            [one.net_minor for one in made],
            [one.vat_minor for one in made],
            [one.vat_rounding_minor for one in made],
            made,
            [one.xml for one in issued],
            digests,
            timeout=_SLOW_S,
        )
        await ledger.post(
            self._connection,
            [
                _rounding(one, position, month, self._hub)
                for one, position in zip(issued, positions, strict=True)
                if one.rounding_minor
            ],
            now,
        )


_SLOW_S = 600


class SqlBook:
    def __init__(self, connection: Hot) -> None:
        self._connection = connection

    async def find(self, number: str, party: PartyId | None) -> Found | None:
        row = await self._connection.fetchrow(
            f"SELECT * FROM {invoices.fullname} WHERE number = $2 AND {_OWN}", party, number
        )
        return None if row is None else _to_found(row)

    async def page(
        self, party: PartyId | None, period_id: str | None, after: int, limit: int
    ) -> Sequence[Found]:
        rows = await self._connection.fetch(_PAGE, party, after, period_id, limit)
        return [_to_found(row) for row in rows]

    async def count(self, period_id: str) -> int:
        counted: int = await self._connection.fetchval(
            f"SELECT count(*) FROM {invoices.fullname} WHERE period_id = $1", period_id
        )
        return counted

    async def uninvoiced(
        self, party: PartyId | None, period_id: str | None
    ) -> Sequence[Uninvoiced]:
        rows = await self._connection.fetch(_UNINVOICED, party, period_id)
        return [
            Uninvoiced(
                dealing=_dealing(row),
                period_id=row["period_id"],
                kind=Kind(row["kind"]),
                net_minor=row["net_minor"],
                vat_minor=row["vat_minor"],
                wanted=tuple(row["wanted"]),
            )
            for row in rows
        ]


class SqlBooks:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def read(self) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            yield SqlBook(connection)


def _dealing(row: Any) -> Dealing:
    return Dealing(
        PartyId(row["seller"]), PartyId(row["buyer"]), row["currency"], row["clearing_group"]
    )


def _drafted(row: Any, month: Month) -> Drafted:
    category, percent = row["vat_category"], row["vat_percent"]
    known = category is not None and percent is not None
    vat = Vat(Category(category), percent, row["vat_rule"] or AGREED_RATE) if known else _NO_VAT
    earlier = row["charged_in"]
    line = Line(
        description=f"Charging, {earlier or month}",
        agreement_id=row["agreement_id"],
        vat=vat,
        amount_minor=row["net"],
        vat_minor=row["vat"],
        charges=row["charges"],
        energy_wh=row["energy_wh"],
    )
    corrects = () if earlier is None else (str(earlier),)
    return Drafted(line, known, row["credit"], corrects)


def _fee_dealing(row: Any, hub: PartyId) -> Dealing:
    return Dealing(hub, PartyId(row["party"]), row["currency"], FEES_GROUP)


def _fee(row: Any, month: Month) -> Drafted:
    """What the hub itself asks for a month; below zero where more was taken back than booked."""
    category, percent = row["vat_category"], row["vat_percent"]
    known = category is not None and percent is not None
    line = Line(
        description=f"Fees of the clearing house, {month}",
        agreement_id="fee schedule",
        vat=Vat(Category(category), percent, row["vat_rule"]) if known else _NO_VAT,
        amount_minor=row["net_minor"],
        vat_minor=row["vat_minor"],
        charges=1,
    )
    return Drafted(line, known, credit=row["net_minor"] < 0)


_NO_VAT = Vat(Category.ZERO, Decimal(0), AGREED_RATE)


def _event(issued: Issued, digest: bytes, now: datetime) -> NewEvent:
    invoice = issued.invoice
    credit = invoice.kind is Kind.CREDIT_NOTE
    return NewEvent(
        stream=f"invoices/{invoice.seller.party}",
        type=EventType.CREDIT_NOTE_ISSUED if credit else EventType.INVOICE_ISSUED,
        party=invoice.seller.party,
        body={
            "number": invoice.number,
            "period_id": issued.period_id,
            "seller": invoice.seller.party,
            "buyer": invoice.buyer.party,
            "currency": invoice.currency,
            "clearing_group": issued.dealing.clearing_group,
            "net_minor": invoice.net_minor,
            "vat_minor": invoice.vat_minor,
            "vat_rounding_minor": invoice.vat_rounding_minor,
            "xml_sha256": digest.hex(),
        },
        occurred_at=now,
    )


def _rounding(issued: Issued, position: int, month: Month, hub: PartyId) -> Posting:
    """What the invoice's VAT is more than that of its charges, so that the ledger says the same."""
    invoice = issued.invoice
    assert invoice.seller.party != hub, "a fee is one line, whose VAT was rounded once"
    return Posting(
        posting_id=position,
        kind=PostingKind.VAT_ROUNDING,
        book=hub,
        operator=None,
        cdr_id=None,
        value_at=month.last_moment,
        entries=mirrored(
            Subject.VAT,
            creditor=invoice.seller.party,
            debtor=invoice.buyer.party,
            amount=Money(issued.rounding_minor, invoice.currency),
            clearing_group=issued.dealing.clearing_group,
        ),
    )


def _to_found(row: Any) -> Found:
    return Found(
        position=row["log_position"],
        period_id=row["period_id"],
        clearing_group=row["clearing_group"],
        invoice=msgspec.convert(row["content"], Invoice, dec_hook=_read),
        xml=row["xml"],
        xml_sha256=row["xml_sha256"],
    )


def _read(kind: type, value: Any) -> Any:
    assert kind is PartyId
    return PartyId(value)
