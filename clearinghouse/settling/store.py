"""Settlements and their payments on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Date, DateTime, Index, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from clearinghouse.exposure import store as exposure
from clearinghouse.invoicing.store import invoices
from clearinghouse.ledger import store as ledger
from clearinghouse.ledger.model import Posting
from clearinghouse.netting.model import Method, Strategy
from clearinghouse.periods import store as periods
from clearinghouse.periods.model import Month, Period
from clearinghouse.settling.default import Correction, Rule
from clearinghouse.settling.model import (
    COLLATERAL,
    AtRate,
    PairTotal,
    Payment,
    PaymentState,
    Receipt,
    Settlement,
    received,
)
from clearinghouse.settling.ports import After, ToPost
from clearinghouse.settling.setoff import Paper
from documents.invoice import Kind as Invoice
from kit import event_log
from kit.database import Database, Hot, attach_ddl, metadata
from kit.encoding import encode_json
from kit.event_log import NewEvent
from roaming.party import PartyId

_Identifier = Text(collation="C")

settlements = Table(
    "settlement",
    metadata,
    Column("period_id", _Identifier, primary_key=True),
    Column("clearing_group", _Identifier, primary_key=True),
    Column("currency", _Identifier, primary_key=True),
    Column("strategy", Text, nullable=False),
    Column("method", Text),
    # Of each other currency that came into it: its exact factor, and by which rates, in words.
    Column("rates", JSONB, nullable=False),
    Column("settled_at", DateTime(timezone=True), nullable=False),
    schema="clearinghouse",
)
pairs = Table(
    "settlement_pair",
    metadata,
    Column("period_id", _Identifier, primary_key=True),
    Column("clearing_group", _Identifier, primary_key=True),
    Column("settled_in", _Identifier, primary_key=True),
    Column("currency", _Identifier, primary_key=True),
    Column("debtor", _Identifier, primary_key=True),
    Column("creditor", _Identifier, primary_key=True),
    Column("charge_minor", BigInteger, nullable=False),
    Column("vat_minor", BigInteger, nullable=False),
    Column("fee_minor", BigInteger, nullable=False),
    Column("fee_vat_minor", BigInteger, nullable=False),
    Column("cdrs", BigInteger, nullable=False),
    Column("settled_minor", BigInteger, nullable=False),
    schema="clearinghouse",
)
payments = Table(
    "settlement_payment",
    metadata,
    Column("payment_id", Text, primary_key=True),
    Column("period_id", _Identifier, nullable=False),
    Column("clearing_group", _Identifier, nullable=False),
    Column("currency", _Identifier, nullable=False),
    Column("payer", _Identifier, nullable=False),
    Column("payee", _Identifier, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("due_on", Date, nullable=False),
    Column("reference", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("paid_minor", BigInteger, nullable=False),
    Column("defaulter", _Identifier),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    schema="clearinghouse",
)
Index("ix_settlement_payment_period_id", payments.c.period_id)
Index("ix_settlement_payment_payer", payments.c.payer, payments.c.due_on)
Index("ix_settlement_payment_payee", payments.c.payee, payments.c.due_on)
receipts = Table(
    "settlement_receipt",
    metadata,
    Column("payment_id", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("amount_minor", BigInteger, nullable=False),
    Column("paid_at", DateTime(timezone=True), nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    schema="clearinghouse",
)
defaults = Table(
    "settlement_default",
    metadata,
    Column("period_id", _Identifier, primary_key=True),
    Column("clearing_group", _Identifier, primary_key=True),
    Column("currency", _Identifier, primary_key=True),
    Column("defaulter", _Identifier, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("collateral_minor", BigInteger, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    schema="clearinghouse",
)
for _table in (settlements, pairs, receipts, defaults):
    attach_ddl(
        f"""
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {_table.fullname}
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
"""
    )

_SLOW_S = 600
"""For what reads or writes a whole month: seconds for a million charges, more where it is busy."""

_ACCOUNTS = (
    "account IN ('charge-receivable', 'vat-receivable', 'fee-receivable', 'fee-vat-receivable')"
)
_PAIR_TOTALS = f"""
SELECT clearing_group, currency, counterparty AS debtor, party AS creditor,
  coalesce(sum(amount_minor) FILTER (WHERE account = 'charge-receivable'), 0)::bigint AS charge,
  coalesce(sum(amount_minor) FILTER (WHERE account = 'vat-receivable'), 0)::bigint AS vat,
  coalesce(sum(amount_minor) FILTER (WHERE account = 'fee-receivable'), 0)::bigint AS fee,
  coalesce(sum(amount_minor) FILTER (WHERE account = 'fee-vat-receivable'), 0)::bigint AS fee_vat,
  sum(cdrs)::bigint AS cdrs
FROM {ledger.entries.fullname}
WHERE {_ACCOUNTS} AND value_at >= $1 AND value_at < $2
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""
# What stands on each account, beside what the kept pairs take from it again.
_UNSETTLED = f"""
SELECT count(*) FROM (
  SELECT account, party, counterparty, currency, sum(amount_minor) AS minor
  FROM {ledger.entries.fullname}
  WHERE value_at >= $1 AND value_at < $2 AND account IN ('charge-receivable', 'charge-payable',
    'vat-receivable', 'vat-payable', 'fee-receivable', 'fee-payable', 'fee-vat-receivable',
    'fee-vat-payable')
  GROUP BY 1, 2, 3, 4 HAVING sum(amount_minor) <> 0
) AS stands FULL JOIN (
  SELECT account, party, counterparty, currency, sum(minor) AS minor
  FROM {pairs.fullname} CROSS JOIN LATERAL (VALUES
    ('charge-receivable' COLLATE "C", creditor, debtor, charge_minor),
    ('charge-payable', debtor, creditor, -charge_minor),
    ('vat-receivable', creditor, debtor, vat_minor),
    ('vat-payable', debtor, creditor, -vat_minor),
    ('fee-receivable', creditor, debtor, fee_minor),
    ('fee-payable', debtor, creditor, -fee_minor),
    ('fee-vat-receivable', creditor, debtor, fee_vat_minor),
    ('fee-vat-payable', debtor, creditor, -fee_vat_minor)
  ) AS sides (account, party, counterparty, minor)
  WHERE period_id = $3 AND minor <> 0
  GROUP BY 1, 2, 3, 4 HAVING sum(minor) <> 0
) AS taken USING (account, party, counterparty, currency)
WHERE stands.minor IS DISTINCT FROM taken.minor
"""
_KEEP_PAIRS = f"""
INSERT INTO {pairs.fullname}
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[],
  $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[])
"""
_KEEP_PAYMENTS = f"""
INSERT INTO {payments.fullname}
SELECT id, period_id, clearing_group, currency, payer, payee, amount, due_on, reference, state, 0,
  defaulter, $1
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
  $9::date[], $10::text[], $11::text[], $12::text[])
  AS u (id, period_id, clearing_group, currency, payer, payee, amount, due_on, reference, state,
    defaulter)
"""
_MOVE_PAYMENTS = (
    f"UPDATE {payments.fullname} SET state = $2, changed_at = $3 WHERE payment_id = ANY($1::text[])"
)
_PAYMENTS = f"""
SELECT * FROM {payments.fullname}
WHERE ($1::text IS NULL OR payer = $1 OR payee = $1)
  AND ($2::text IS NULL OR period_id = $2) AND ($3::text IS NULL OR state = $3)
  AND ($4::date IS NULL OR (due_on, payment_id) > ($4, $5))
ORDER BY due_on, payment_id LIMIT $6
"""
_PAPERS = f"""
SELECT number, clearing_group, currency, seller, buyer,
  CASE kind WHEN '{Invoice.CREDIT_NOTE.value}' THEN -1 ELSE 1 END * (net_minor + vat_minor) AS gross
FROM {invoices.fullname} WHERE period_id = $1 AND (seller = $2 OR buyer = $2)
ORDER BY log_position
"""
_HOLD_MONTH = f"SELECT FROM {periods.periods.fullname} WHERE period_id = $1 FOR UPDATE"


class SqlBook:
    """One open transaction."""

    def __init__(self, connection: Hot, hub: PartyId) -> None:
        self._connection = connection
        self._hub = hub

    async def period(self, month: Month) -> Period:
        return await periods.find(self._connection, month)

    async def pair_totals(self, month: Month) -> Sequence[PairTotal]:
        rows = await self._connection.fetch(
            _PAIR_TOTALS, month.starts_at, month.ends_at, timeout=_SLOW_S
        )
        return [
            PairTotal(
                clearing_group=row["clearing_group"],
                currency=row["currency"],
                debtor=PartyId(row["debtor"]),
                creditor=PartyId(row["creditor"]),
                charge_minor=row["charge"],
                vat_minor=row["vat"],
                fee_minor=row["fee"],
                fee_vat_minor=row["fee_vat"],
                cdrs=row["cdrs"],
            )
            for row in rows
        ]

    async def unsettled(self, month: Month) -> int:
        found: int = await self._connection.fetchval(
            _UNSETTLED, month.starts_at, month.ends_at, str(month), timeout=_SLOW_S
        )
        return found

    async def keep_settled(self, period: Period, made: Sequence[Settlement], now: datetime) -> None:
        await periods.keep(self._connection, period)
        for one in made:
            await self._connection.execute(
                f"INSERT INTO {settlements.fullname} VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7)",
                one.period_id,
                one.clearing_group,
                one.currency,
                one.strategy.value,
                None if one.method is None else one.method.value,
                encode_json(
                    {name: [str(rate.factor), rate.by] for name, rate in one.rates.items()}
                ).decode(),
                now,
            )
            await self._connection.execute(
                _KEEP_PAIRS,
                one.period_id,
                [one.clearing_group for _ in one.pairs],
                [one.currency for _ in one.pairs],
                [pair.currency for pair in one.pairs],
                [pair.debtor for pair in one.pairs],
                [pair.creditor for pair in one.pairs],
                [pair.charge_minor for pair in one.pairs],
                [pair.vat_minor for pair in one.pairs],
                [pair.fee_minor for pair in one.pairs],
                [pair.fee_vat_minor for pair in one.pairs],
                [pair.cdrs for pair in one.pairs],
                [pair.settled_minor for pair in one.pairs],
            )
            await self._keep_payments(one.payments, now)

    async def _keep_payments(self, made: Sequence[Payment], now: datetime) -> None:
        await self._connection.execute(
            _KEEP_PAYMENTS,
            now,
            [one.payment_id for one in made],
            [one.period_id for one in made],
            [one.clearing_group for one in made],
            [one.currency for one in made],
            [one.payer for one in made],
            [one.payee for one in made],
            [one.amount_minor for one in made],
            [one.due_on for one in made],
            [one.reference for one in made],
            [one.state.value for one in made],
            [one.defaulter for one in made],
        )

    async def post(self, postings: Sequence[ToPost], value_at: datetime, now: datetime) -> None:
        places = await event_log.append(self._connection, [one.event for one in postings])
        await ledger.post(
            self._connection,
            [
                Posting(
                    posting_id=place.position,
                    kind=one.kind,
                    book=self._hub,
                    operator=None,
                    cdr_id=None,
                    value_at=value_at,
                    entries=tuple(one.entries),
                )
                for place, one in zip(places, postings, strict=True)
            ],
            now,
        )

    async def tell(self, events: Sequence[NewEvent]) -> None:
        await event_log.append(self._connection, events)

    async def settlements(self, month: Month, party: PartyId | None) -> Sequence[Settlement]:
        heads = await self._connection.fetch(
            f"SELECT * FROM {settlements.fullname} WHERE period_id = $1"
            " ORDER BY clearing_group, currency",
            str(month),
        )
        pair_rows = await self._connection.fetch(
            f"SELECT * FROM {pairs.fullname} WHERE period_id = $1"
            " AND ($2::text IS NULL OR debtor = $2 OR creditor = $2)"
            " ORDER BY clearing_group, settled_in, currency, debtor, creditor",
            str(month),
            party,
        )
        payment_rows = await self._connection.fetch(
            f"SELECT * FROM {payments.fullname} WHERE period_id = $1"
            " AND ($2::text IS NULL OR payer = $2 OR payee = $2)"
            " ORDER BY clearing_group, currency, payer, payee, payment_id",
            str(month),
            party,
        )
        found = [
            _to_settlement(
                head,
                [row for row in pair_rows if _of(head, row, "settled_in")],
                [row for row in payment_rows if _of(head, row, "currency")],
            )
            for head in heads
        ]
        return [one for one in found if party is None or one.pairs or one.payments]

    async def papers(self, month: Month, party: PartyId) -> Sequence[Paper]:
        rows = await self._connection.fetch(_PAPERS, str(month), party)
        return [
            Paper(
                number=row["number"],
                clearing_group=row["clearing_group"],
                currency=row["currency"],
                seller=PartyId(row["seller"]),
                buyer=PartyId(row["buyer"]),
                gross_minor=row["gross"],
            )
            for row in rows
        ]

    async def payments(
        self,
        party: PartyId | None,
        *,
        month: Month | None,
        state: PaymentState | None,
        after: After | None,
        limit: int,
    ) -> Sequence[Payment]:
        rows = await self._connection.fetch(
            _PAYMENTS,
            party,
            None if month is None else str(month),
            None if state is None else state.value,
            None if after is None else after.due_on,
            None if after is None else after.payment_id,
            limit,
        )
        return [_to_payment(row) for row in rows]

    async def payment(self, payment_id: str) -> Payment | None:
        row = await self._connection.fetchrow(
            f"SELECT * FROM {payments.fullname} WHERE payment_id = $1 FOR UPDATE", payment_id
        )
        return None if row is None else _to_payment(row)

    async def receipt(self, payment_id: str, source: str) -> Receipt | None:
        row = await self._connection.fetchrow(
            f"SELECT * FROM {receipts.fullname} WHERE payment_id = $1 AND source = $2",
            payment_id,
            source,
        )
        if row is None:
            return None
        return Receipt(row["payment_id"], row["source"], row["amount_minor"], row["paid_at"])

    async def has_defaulted(self, payment: Payment) -> bool:
        row = await self._connection.fetchrow(
            f"SELECT FROM {defaults.fullname} WHERE period_id = $1 AND clearing_group = $2"
            " AND currency = $3 AND defaulter = $4",
            payment.period_id,
            payment.clearing_group,
            payment.currency,
            payment.payer,
        )
        return row is not None

    async def keep_receipt(self, receipt: Receipt, payment: Payment, now: datetime) -> None:
        await self._connection.execute(
            f"INSERT INTO {receipts.fullname} VALUES ($1, $2, $3, $4, $5)",
            receipt.payment_id,
            receipt.source,
            receipt.amount_minor,
            receipt.paid_at,
            now,
        )
        await self._connection.execute(
            f"UPDATE {payments.fullname} SET paid_minor = $2, state = $3, changed_at = $4"
            " WHERE payment_id = $1",
            payment.payment_id,
            payment.paid_minor,
            payment.state.value,
            now,
        )

    async def keep_payment(self, payment: Payment, now: datetime) -> None:
        await self._connection.execute(
            _MOVE_PAYMENTS, [payment.payment_id], payment.state.value, now
        )

    async def collateral(self, party: PartyId, hub: PartyId) -> Mapping[str, int]:
        # Nobody takes it out meanwhile.
        await exposure.hold_alone(self._connection, [party])
        rows = await self._connection.fetch(
            f"SELECT currency, amount_minor FROM {ledger.balances.fullname}"
            " WHERE party = $1 AND counterparty = $2 AND account = 'collateral-receivable'",
            party,
            hub,
        )
        return {row["currency"]: row["amount_minor"] for row in rows}

    async def keep_correction(self, correction: Correction, now: datetime) -> None:
        await self._connection.execute(
            f"INSERT INTO {defaults.fullname} VALUES ($1, $2, $3, $4, $5, $6, $7)",
            correction.period_id,
            correction.clearing_group,
            correction.currency,
            correction.defaulter,
            correction.rule.value,
            correction.collateral_minor,
            now,
        )
        for these, state in (
            (correction.unwound, PaymentState.UNWOUND),
            (correction.failed, PaymentState.FAILED),
        ):
            await self._connection.execute(
                _MOVE_PAYMENTS, [one.payment_id for one in these], state.value, now
            )
        if correction.rule is Rule.CLEARING_VECTOR:
            # What collateral pays is paid as far as this payment goes: the hub owes it now.
            covered = {one.payee: one.amount_minor for one in correction.covered}
            for payment in correction.failed:
                if came := covered.get(payment.payee):
                    failed = replace(payment, state=PaymentState.FAILED)
                    receipt = Receipt(payment.payment_id, COLLATERAL, came, now)
                    await self.keep_receipt(receipt, received(failed, receipt), now)
        await self._keep_payments(correction.instead, now)

    async def value_at(self, at: datetime) -> datetime:
        [date] = await periods.value_dates(self._connection, [at])
        return date


class SqlBooks:
    def __init__(self, database: Database, hub: PartyId) -> None:
        self._database = database
        self._hub = hub

    @asynccontextmanager
    async def read(self) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            yield SqlBook(connection, self._hub)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            await periods.hold_open(connection)
            yield SqlBook(connection, self._hub)

    @asynccontextmanager
    async def settling(self, month: Month) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            await connection.execute(_HOLD_MONTH, str(month))
            yield SqlBook(connection, self._hub)

    @asynccontextmanager
    async def correcting(self, month: Month) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            # In the order in which who records a payment takes them: nobody waits in a circle.
            await periods.hold_open(connection)
            await connection.execute(_HOLD_MONTH, str(month))
            await connection.execute(
                f"SELECT FROM {payments.fullname} WHERE period_id = $1"
                " ORDER BY payment_id FOR UPDATE",
                str(month),
            )
            yield SqlBook(connection, self._hub)


def _of(head: Any, row: Any, currency: str) -> bool:
    return (head["clearing_group"], head["currency"]) == (row["clearing_group"], row[currency])


def _to_settlement(head: Any, pair_rows: Sequence[Any], payment_rows: Sequence[Any]) -> Settlement:
    rates = msgspec.json.decode(head["rates"])
    return Settlement(
        period_id=head["period_id"],
        clearing_group=head["clearing_group"],
        currency=head["currency"],
        strategy=Strategy(head["strategy"]),
        method=None if head["method"] is None else Method(head["method"]),
        pairs=tuple(
            PairTotal(
                clearing_group=row["clearing_group"],
                currency=row["currency"],
                debtor=PartyId(row["debtor"]),
                creditor=PartyId(row["creditor"]),
                charge_minor=row["charge_minor"],
                vat_minor=row["vat_minor"],
                fee_minor=row["fee_minor"],
                fee_vat_minor=row["fee_vat_minor"],
                cdrs=row["cdrs"],
                settled_minor=row["settled_minor"],
            )
            for row in pair_rows
        ),
        payments=tuple(_to_payment(row) for row in payment_rows),
        rates={name: AtRate(Fraction(factor), by) for name, (factor, by) in rates.items()},
    )


def _to_payment(row: Any) -> Payment:
    return Payment(
        payment_id=row["payment_id"],
        period_id=row["period_id"],
        clearing_group=row["clearing_group"],
        currency=row["currency"],
        payer=PartyId(row["payer"]),
        payee=PartyId(row["payee"]),
        amount_minor=row["amount_minor"],
        due_on=row["due_on"],
        reference=row["reference"],
        state=PaymentState(row["state"]),
        paid_minor=row["paid_minor"],
        defaulter=None if row["defaulter"] is None else PartyId(row["defaulter"]),
    )
