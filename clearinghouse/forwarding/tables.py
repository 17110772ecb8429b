"""The tables of the outbox: how far each EVSP is, its deliveries, its refusals, its wishes."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, DateTime, Index, Integer, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from kit.database import metadata

_Identifier = Text(collation="C")

# How far an EVSP has come; up to where its records go one by one; and which process serves it.
progress = Table(
    "forwarding",
    metadata,
    Column("evsp", _Identifier, primary_key=True),
    Column("xid", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("single_xid", BigInteger, nullable=False),
    Column("single_position", BigInteger, nullable=False),
    Column("holder", Text, nullable=False),
    Column("held_until", DateTime(timezone=True), nullable=False),
    # The run that is due, where an EVSP has a cadence: all that older transactions have booked.
    Column("run_xid", BigInteger),
    Column("acknowledged_xid", BigInteger),
    Column("acknowledged_position", BigInteger),
    Column("acknowledged_at", DateTime(timezone=True)),
    schema="clearinghouse",
)
deliveries = Table(
    "delivery",
    metadata,
    Column("delivery_id", Text, primary_key=True),
    Column("evsp", _Identifier, nullable=False),
    Column("after_xid", BigInteger, nullable=False),
    Column("after_position", BigInteger, nullable=False),
    Column("up_to_xid", BigInteger, nullable=False),
    Column("up_to_position", BigInteger, nullable=False),
    Column("cdrs", Integer, nullable=False),
    Column("dead_letter", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("last_error", Text),
    Column("outcome", Text),
    Column("delivered_at", DateTime(timezone=True)),
    Column("next_attempt_at", DateTime(timezone=True)),
    # The proof of what arrived, and the place of its event in the log's hash chain.
    Column("channel", Text),
    Column("host", Text),
    Column("body_sha256", LargeBinary),
    Column("answer_status", Integer),
    Column("answer_says", Text),
    Column("answer_sha256", LargeBinary),
    Column("receipt", JSONB),
    Column("log_xid", BigInteger),
    Column("log_position", BigInteger),
    schema="clearinghouse",
)
# One delivery at a time for an EVSP: the database, not the code, says so.
Index(
    "uq_delivery_under_way",
    deliveries.c.evsp,
    unique=True,
    postgresql_where=text("outcome IS NULL"),
)
ARRIVED = "outcome = 'delivered' AND dead_letter IS NULL"
Index(
    "ix_delivery_arrived",
    deliveries.c.evsp,
    deliveries.c.up_to_xid,
    deliveries.c.up_to_position,
    postgresql_where=text(ARRIVED),
)
Index(
    "ix_delivery_of_dead_letter",
    deliveries.c.dead_letter,
    postgresql_where=text("dead_letter IS NOT NULL"),
)
Index(
    "ix_delivery_of_evsp_in_log",
    deliveries.c.evsp,
    deliveries.c.log_xid,
    deliveries.c.log_position,
    postgresql_where=text("log_position IS NOT NULL"),
)
Index(
    "ix_delivery_in_log",
    deliveries.c.log_xid,
    deliveries.c.log_position,
    postgresql_where=text("log_position IS NOT NULL"),
)
dead_letters = Table(
    "dead_letter",
    metadata,
    Column("dead_letter_id", BigInteger, primary_key=True, autoincrement=False),
    Column("xid", BigInteger, nullable=False),
    Column("evsp", _Identifier, nullable=False),
    Column("operator", _Identifier, nullable=False),
    Column("cdr_id", _Identifier, nullable=False),
    Column("status", Integer, nullable=False),
    Column("says", Text, nullable=False),
    Column("refused_at", DateTime(timezone=True), nullable=False),
    Column("replays", Integer, nullable=False),
    Column("replay_requested_at", DateTime(timezone=True)),
    Column("delivered_at", DateTime(timezone=True)),
    schema="clearinghouse",
)
Index("ix_dead_letter_of_evsp", dead_letters.c.evsp, dead_letters.c.dead_letter_id)

preferences = Table(
    "delivery_preference",
    metadata,
    Column("evsp", _Identifier, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("cadence", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("weekday", Text, nullable=False),
    Column("day_of_month", Integer, nullable=False),
    Column("sftp", JSONB),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    schema="clearinghouse",
)
# The hub's own key at each EVSP's host; the private half is sealed with the hub's key.
sftp_keys = Table(
    "sftp_key",
    metadata,
    Column("evsp", _Identifier, primary_key=True),
    Column("public_key", Text, nullable=False),
    Column("sealed_private_key", LargeBinary, nullable=False),
    Column("made_at", DateTime(timezone=True), nullable=False),
    schema="clearinghouse",
)
