"""The tables of billing: append-only but for how far a run has come, and what waits."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

import kit.event_log  # noqa: F401  its kit.forbid_change must be made before our triggers
from kit.database import attach_ddl, metadata

_Identifier = Text(collation="C")

runs = Table(
    "billing_run",
    metadata,
    Column("run_id", _Identifier, primary_key=True),
    Column("month", _Identifier, nullable=False),
    Column("up_to", DateTime(timezone=True), nullable=False),
    Column("earlier", ARRAY(Text), nullable=False),
    Column("begun_by", _Identifier, nullable=False),
    Column("begun_at", DateTime(timezone=True), nullable=False),
    Column("state", Text, nullable=False),
    Column("summed", Boolean, nullable=False),
    Column("after", _Identifier, nullable=False),
    Column("contracts", BigInteger, nullable=False),
    Column("invoices", BigInteger, nullable=False),
    Column("credit_notes", BigInteger, nullable=False),
    Column("not_invoiced", BigInteger, nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    # Who works on it, for how long nobody else does.
    Column("holder", Text),
    Column("held_until", DateTime(timezone=True)),
    schema="marketplace",
)
Index("ix_billing_run_month", runs.c.month)
invoices = Table(
    "billing_invoice",
    metadata,
    Column("number", _Identifier, primary_key=True),
    Column("log_position", BigInteger, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("about", Text, nullable=False),
    Column("seller", _Identifier, nullable=False),
    Column("buyer", _Identifier, nullable=False),
    Column("contract_id", _Identifier),
    Column("run_id", _Identifier),
    Column("month", _Identifier, nullable=False),
    Column("currency", _Identifier, nullable=False),
    Column("issued_on", Date, nullable=False),
    Column("due_on", Date),
    Column("net_minor", BigInteger, nullable=False),
    Column("gross_minor", BigInteger, nullable=False),
    Column("corrects", _Identifier),
    Column("reason", Text),
    Column("content", JSONB, nullable=False),
    Column("xml", LargeBinary, nullable=False),
    Column("xml_sha256", LargeBinary, nullable=False),
    schema="marketplace",
)
Index("ix_billing_invoice_seller", invoices.c.seller, invoices.c.log_position)
Index("ix_billing_invoice_buyer", invoices.c.buyer, invoices.c.log_position)
Index(
    "ix_billing_invoice_corrects",
    invoices.c.corrects,
    postgresql_where=invoices.c.corrects.is_not(None),
)
Index(
    "ix_billing_invoice_due_on", invoices.c.due_on, postgresql_where=invoices.c.due_on.is_not(None)
)
lines = Table(
    "billing_line",
    metadata,
    Column("number", _Identifier, primary_key=True),
    Column("line", Integer, primary_key=True),
    Column("contract_id", _Identifier),
    Column("month", _Identifier, nullable=False),
    Column("key", _Identifier, nullable=False),
    Column("told", Text, nullable=False),
    Column("quantity", Numeric, nullable=False),
    Column("unit", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("taken", Boolean, nullable=False),
    Column("corrects", _Identifier),
    Column("corrects_line", Integer),
    schema="marketplace",
)
Index("ix_billing_line_contract_id", lines.c.contract_id, lines.c.month)
Index(
    "ix_billing_line_corrects",
    lines.c.corrects,
    postgresql_where=lines.c.corrects.is_not(None),
)
series = Table(
    "billing_series",
    metadata,
    Column("seller", _Identifier, primary_key=True),
    Column("year", Integer, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("counted", BigInteger, nullable=False),
    schema="marketplace",
)
uninvoiced = Table(
    "billing_uninvoiced",
    metadata,
    # Of the marketplace's fee: none.
    Column("contract_id", _Identifier, primary_key=True),
    Column("seller", _Identifier, primary_key=True),
    Column("buyer", _Identifier, primary_key=True),
    Column("currency", _Identifier, primary_key=True),
    # So that what a run does not look at any more stays noted.
    Column("month", _Identifier, primary_key=True),
    Column("net_minor", BigInteger, nullable=False),
    Column("wanted", JSONB, nullable=False),
    Column("noted_at", DateTime(timezone=True), nullable=False),
    schema="marketplace",
)
entries = Table(
    "billing_entry",
    metadata,
    Column("number", _Identifier, primary_key=True),
    Column("reference", _Identifier, primary_key=True),
    Column("way", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("on_day", Date, nullable=False),
    Column("note", Text, nullable=False),
    Column("recorded_by", _Identifier, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    schema="marketplace",
)
reminders = Table(
    "billing_reminder",
    metadata,
    Column("number", _Identifier, primary_key=True),
    Column("level", Integer, primary_key=True),
    Column("sent_at", DateTime(timezone=True), nullable=False),
    schema="marketplace",
)
fees = Table(
    "billing_fee",
    metadata,
    Column("fee_no", BigInteger, Identity(always=True), primary_key=True),
    Column("valid_from", _Identifier, nullable=False),
    Column("provider", _Identifier),
    Column("category", Text),
    Column("percent", Numeric, nullable=False),
    Column("per_invoice_minor", BigInteger, nullable=False),
    Column("currency", _Identifier),
    Column("set_by", _Identifier, nullable=False),
    Column("set_at", DateTime(timezone=True), nullable=False),
    schema="marketplace",
)
shares = Table(
    "billing_share",
    metadata,
    Column("number", _Identifier, primary_key=True),
    Column("provider", _Identifier, nullable=False),
    Column("currency", _Identifier, nullable=False),
    Column("percent", Numeric, nullable=False),
    Column("per_invoice_minor", BigInteger, nullable=False),
    Column("net_minor", BigInteger, nullable=False),
    Column("provider_minor", BigInteger, nullable=False),
    Column("fee_minor", BigInteger, nullable=False),
    # What the requester pays is what the provider gets and the fee.
    CheckConstraint("net_minor = provider_minor + fee_minor", name="split"),
    schema="marketplace",
)
Index("ix_billing_share_provider", shares.c.provider)
shares_taken = Table(
    "billing_share_taken",
    metadata,
    Column("number", _Identifier, primary_key=True),
    Column("fee_number", _Identifier, nullable=False),
    schema="marketplace",
)
APPEND_ONLY = (invoices, lines, entries, fees, shares, shares_taken)
for _table in APPEND_ONLY:
    attach_ddl(
        f"""
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {_table.fullname}
  FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()
"""
    )
