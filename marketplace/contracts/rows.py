"""Contracts as rows: their table, and how one is read and written. No row leaves the stores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from kit.database import metadata
from marketplace.contracts import life
from marketplace.contracts.model import Contract, Status, StatusChange
from marketplace.framework.store import clauses_table
from marketplace.offerings.model import Terms
from marketplace.offerings.store import offerings, reader_of_terms, terms_table
from marketplace.services.model import Environment
from roaming.party import PartyId

THIS_TRANSACTION = text("pg_current_xact_id()::text::bigint")
_Identifier = Text(collation="C")
contracts = Table(
    "contract",
    metadata,
    Column("contract_id", Text, primary_key=True),
    Column("offering_id", Text, ForeignKey(offerings.c.offering_id), index=True),
    Column("provider", Text, nullable=False),
    Column("requester", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("major", Integer, nullable=False),
    Column("terms_digest", LargeBinary, ForeignKey(terms_table.c.digest), nullable=False),
    Column("valid_from", DateTime(timezone=True), nullable=False),
    Column("valid_until", DateTime(timezone=True)),
    Column("history", JSONB, nullable=False),
    Column("suspended_by", ARRAY(Text), nullable=False),
    Column("version", Integer, nullable=False),
    # The transaction that wrote the row last: what the book asks by (see contracts/book.py).
    Column("changed_xid", BigInteger, nullable=False, server_default=THIS_TRANSACTION),
    Column("clauses_digest", LargeBinary, ForeignKey(clauses_table.c.digest)),
    Column("negotiation_id", _Identifier),
    Column("replaces", _Identifier),
    Column("agreed_until", DateTime(timezone=True)),
    Column("renewals", Integer, nullable=False, server_default="0"),
    # When its time comes: a reminder, its renewal, its end (see contracts/life.py).
    Column("due_at", DateTime(timezone=True)),
    Column("environment", Text, nullable=False, server_default=text("'live'")),
    schema="marketplace",
)
Index(
    "ix_contract_requester_provider_service",
    contracts.c.requester,
    contracts.c.provider,
    contracts.c.service,
)
Index("ix_contract_provider", contracts.c.provider, contracts.c.contract_id)
# For whoever has tens of thousands: those of one of its services.
Index(
    "ix_contract_provider_service",
    contracts.c.provider,
    contracts.c.service,
    contracts.c.contract_id,
)
Index("ix_contract_requester", contracts.c.requester, contracts.c.contract_id)
Index("ix_contract_changed_xid", contracts.c.changed_xid)
Index(
    "ix_contract_due_at",
    contracts.c.due_at,
    postgresql_where=text("due_at IS NOT NULL"),
)
SELECT_CONTRACT = select(contracts, terms_table.c.body.label("terms")).join(
    terms_table, terms_table.c.digest == contracts.c.terms_digest
)


def is_party(party: PartyId) -> Any:
    return or_(contracts.c.provider == party, contracts.c.requester == party)


def to_row(contract: Contract, digest: bytes, now: datetime) -> dict[str, Any]:
    return {
        "contract_id": contract.contract_id,
        "offering_id": contract.offering_id,
        "provider": str(contract.provider),
        "requester": str(contract.requester),
        "service": contract.service,
        "major": contract.major,
        "terms_digest": digest,
        "valid_from": contract.valid_from,
        "valid_until": contract.valid_until,
        "history": history_to_json(contract.history),
        "suspended_by": sorted(str(party) for party in contract.suspended_by),
        "version": contract.version,
        "clauses_digest": contract.clauses_digest,
        "negotiation_id": contract.negotiation_id,
        "replaces": contract.replaces,
        "agreed_until": contract.agreed_until,
        "renewals": contract.renewals,
        "due_at": life.first_due(contract, now),
        "environment": contract.environment.value,
    }


def to_contract(row: Any) -> Contract:
    [found] = to_contracts([row])
    return found


def to_contracts(rows: Iterable[Any]) -> list[Contract]:
    terms_of = reader_of_terms()
    return [_on_terms(row, terms_of(row)) for row in rows]


def _on_terms(row: Any, terms: Terms) -> Contract:
    return Contract(
        contract_id=row.contract_id,
        offering_id=row.offering_id,
        provider=PartyId(row.provider),
        requester=PartyId(row.requester),
        service=row.service,
        major=row.major,
        terms=terms,
        valid_from=row.valid_from,
        valid_until=row.valid_until,
        history=history_of(row.history),
        suspended_by=frozenset(PartyId(party) for party in row.suspended_by),
        version=row.version,
        clauses_digest=row.clauses_digest,
        negotiation_id=row.negotiation_id,
        replaces=row.replaces,
        agreed_until=row.agreed_until,
        renewals=row.renewals,
        environment=Environment(row.environment),
    )


def history_to_json(history: Sequence[StatusChange]) -> list[list[str | None]]:
    return [
        [
            one.status.value,
            one.since.isoformat(),
            str(one.by),
            one.recorded_at.isoformat(),
            one.reason,
        ]
        for one in history
    ]


def history_of(raw: Sequence[Sequence[Any]]) -> tuple[StatusChange, ...]:
    return tuple(
        StatusChange(
            Status(status),
            datetime.fromisoformat(since),
            PartyId(by),
            datetime.fromisoformat(recorded_at),
            reason,
        )
        for status, since, by, recorded_at, reason in raw
    )
