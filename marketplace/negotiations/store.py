"""Negotiations on PostgreSQL. The rows stay in this file.

Proposals, moves, documents and signatures are added and never changed. Every query is for one
party, which is on one side or the other; only what ends negotiations by their time sees them all.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from joserfc.util import urlsafe_b64decode
from sqlalchemy import (
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database, attach_ddl, metadata
from kit.event_log import events
from kit.sortable_id import is_id
from marketplace.contracts.store import SqlDesk as SqlContractDesk
from marketplace.framework.document import Signature
from marketplace.framework.model import Clauses, Library
from marketplace.framework.ports import Paper
from marketplace.framework.store import (
    clauses_of,
    clauses_table,
    keep_clauses,
    keep_paper,
    library_of,
)
from marketplace.messages.model import Fact
from marketplace.messages.store import tell, told
from marketplace.negotiations.history import Entry
from marketplace.negotiations.model import (
    OPEN,
    Action,
    Move,
    Negotiation,
    Proposal,
    Side,
    Signed,
    State,
)
from marketplace.negotiations.ports import Told
from marketplace.offerings.model import Offering, parse_terms
from marketplace.offerings.store import SELECT_OFFERING, keep_terms, terms_table, to_offering
from marketplace.offerings.store import offerings as offerings_table
from marketplace.partners.store import partners
from marketplace.services.model import Service
from marketplace.services.store import services, to_service
from roaming.events import EventType
from roaming.party import PartyId

_Identifier = Text(collation="C")
_IS_OPEN = "state IN ({})".format(", ".join(f"'{one}'" for one in sorted(OPEN)))
negotiations = Table(
    "negotiation",
    metadata,
    Column("negotiation_id", _Identifier, primary_key=True),
    Column("requester", _Identifier, nullable=False),
    Column("provider", _Identifier, nullable=False),
    Column("service", _Identifier, nullable=False),
    Column("major", Integer, nullable=False),
    Column("offering_id", _Identifier),
    Column("replaces", _Identifier),
    Column("environment", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
    Column("version", Integer, nullable=False),
    Column("document_digest", LargeBinary),
    Column("contract_id", _Identifier),
    schema="marketplace",
)
Index(
    "ix_negotiation_requester_provider_service",
    negotiations.c.requester,
    negotiations.c.provider,
    negotiations.c.service,
)
Index("ix_negotiation_provider", negotiations.c.provider, negotiations.c.negotiation_id)
Index("ix_negotiation_replaces", negotiations.c.replaces)
Index("ix_negotiation_contract_id", negotiations.c.contract_id)
Index("ix_negotiation_until", negotiations.c.until, postgresql_where=text(_IS_OPEN))


def _of_negotiation() -> Column[str]:
    return Column(
        "negotiation_id",
        _Identifier,
        ForeignKey(negotiations.c.negotiation_id),
        primary_key=True,
    )


proposals = Table(
    "negotiation_proposal",
    metadata,
    _of_negotiation(),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("side", Text, nullable=False),
    Column("terms_digest", LargeBinary, ForeignKey(terms_table.c.digest), nullable=False),
    Column("valid_from", DateTime(timezone=True)),
    Column("valid_until", DateTime(timezone=True)),
    Column("stands_until", DateTime(timezone=True), nullable=False),
    Column("says", Text),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("clauses_digest", LargeBinary, ForeignKey(clauses_table.c.digest)),
    schema="marketplace",
)
moves = Table(
    "negotiation_move",
    metadata,
    _of_negotiation(),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("action", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("party", _Identifier, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("state", Text, nullable=False),
    Column("proposal", Integer, nullable=False),
    Column("says", Text),
    schema="marketplace",
)
documents = Table(
    "negotiation_document",
    metadata,
    _of_negotiation(),
    Column("body", LargeBinary, nullable=False),
    schema="marketplace",
)
signatures = Table(
    "negotiation_signature",
    metadata,
    _of_negotiation(),
    Column("side", Text, primary_key=True),
    Column("party", _Identifier, nullable=False),
    Column("jws", Text, nullable=False),
    Column("public_key", JSONB, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    schema="marketplace",
)
for _table in (proposals, moves, documents, signatures):
    attach_ddl(
        f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {_table.fullname}"
        " FOR EACH STATEMENT EXECUTE FUNCTION kit.forbid_change()"
    )

_TOLD_AS: Mapping[State, EventType] = {
    State.REQUESTED: EventType.NEGOTIATION_REQUESTED,
    State.OFFERED: EventType.NEGOTIATION_OFFERED,
    State.ACCEPTED: EventType.NEGOTIATION_ACCEPTED,
    State.AGREED: EventType.NEGOTIATION_AGREED,
    State.VERIFIED: EventType.NEGOTIATION_VERIFIED,
    State.FINALISED: EventType.NEGOTIATION_FINALISED,
    State.TERMINATED: EventType.NEGOTIATION_TERMINATED,
}
assert _TOLD_AS.keys() == set(State)


class SqlDesk:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self.contracts = SqlContractDesk(connection)

    async def lock(self, requester: PartyId, provider: PartyId) -> None:
        key = f"negotiations:{requester}:{provider}"
        await self._connection.execute(
            select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0)))
        )

    async def service(self, name: str, major: int) -> Service | None:
        query = select(services).where(services.c.name == name, services.c.major == major)
        row = (await self._connection.execute(query)).first()
        return None if row is None else to_service(row)

    async def offering(self, offering_id: str) -> Offering | None:
        if not is_id(offering_id):
            return None
        query = SELECT_OFFERING.where(offerings_table.c.offering_id == offering_id)
        row = (await self._connection.execute(query)).first()
        return None if row is None else to_offering(row)

    async def roles_of(self, party: PartyId) -> frozenset[str] | None:
        query = select(partners.c.roles).where(partners.c.party == party)
        row = (await self._connection.execute(query)).first()
        return None if row is None else frozenset(row.roles)

    async def open_between(
        self, requester: PartyId, provider: PartyId, service: str, major: int
    ) -> Sequence[Negotiation]:
        rows = await self._connection.execute(
            select(negotiations).where(
                negotiations.c.requester == requester,
                negotiations.c.provider == provider,
                negotiations.c.service == service,
                negotiations.c.major == major,
                negotiations.c.version == 1,
            )
        )
        return await self._whole(rows.all())

    async def add(self, negotiation: Negotiation) -> None:
        await self._connection.execute(negotiations.insert().values(_to_row(negotiation)))
        await self._add_parts(negotiation, 0, 0, 0)

    async def find(self, negotiation_id: str, party: PartyId) -> Negotiation | None:
        return await self._one(negotiation_id, _is_party(party))

    async def find_to_change(self, negotiation_id: str, party: PartyId) -> Negotiation | None:
        return await self._one(negotiation_id, _is_party(party), lock=True)

    async def find_to_lapse(self, negotiation_id: str) -> Negotiation | None:
        return await self._one(negotiation_id, lock=True, skip=True)

    async def _one(
        self, negotiation_id: str, *conditions: Any, lock: bool = False, skip: bool = False
    ) -> Negotiation | None:
        if not is_id(negotiation_id):
            return None
        query = select(negotiations).where(
            negotiations.c.negotiation_id == negotiation_id, *conditions
        )
        if lock:
            query = query.with_for_update(skip_locked=skip)
        found = await self._whole((await self._connection.execute(query)).all())
        return found[0] if found else None

    async def save(self, before: Negotiation, after: Negotiation) -> None:
        await self._connection.execute(
            update(negotiations)
            .where(negotiations.c.negotiation_id == after.negotiation_id)
            .values(_to_row(after))
        )
        await self._add_parts(
            after, len(before.proposals), len(before.moves), len(before.signatures)
        )

    async def _add_parts(
        self, one: Negotiation, known_proposals: int, known_moves: int, known_signatures: int
    ) -> None:
        new = one.proposals[known_proposals:]
        if new:
            digests = await keep_terms(self._connection, [proposal.terms for proposal in new])
            await keep_clauses(self._connection, [it.clauses for it in new if it.clauses])
            rows = [
                _proposal_to_row(one, proposal, digest)
                for proposal, digest in zip(new, digests, strict=True)
            ]
            await self._connection.execute(proposals.insert().values(rows))
        made = one.moves[known_moves:]
        await self._connection.execute(
            moves.insert().values([_move_to_row(one, move) for move in made])
        )
        if one.signatures[known_signatures:]:
            signed = [_signed_to_row(one, it) for it in one.signatures[known_signatures:]]
            await self._connection.execute(signatures.insert().values(signed))
        await tell(self._connection, [_fact(one, move) for move in made])

    async def document(self, negotiation_id: str) -> bytes | None:
        query = select(documents.c.body).where(documents.c.negotiation_id == negotiation_id)
        row = (await self._connection.execute(query)).first()
        return None if row is None else bytes(row.body)

    async def keep_document(self, negotiation_id: str, body: bytes) -> None:
        await self._connection.execute(
            documents.insert().values(negotiation_id=negotiation_id, body=body)
        )

    async def library(self) -> Library:
        return await library_of(self._connection)

    async def clauses(self, digest: bytes | None) -> Clauses | None:
        if digest is None:
            return None
        return (await clauses_of(self._connection, [digest]))[digest]

    async def file(
        self, contract_id: str, body: bytes, signatures: Sequence[Signed], now: datetime
    ) -> None:
        signed = [_on_paper(one) for one in signatures]
        await keep_paper(self._connection, contract_id, Paper(body, signed), now)

    async def about(self, contract_id: str) -> Sequence[str]:
        rows = await self._connection.execute(
            select(negotiations.c.negotiation_id).where(
                or_(
                    negotiations.c.replaces == contract_id,
                    negotiations.c.contract_id == contract_id,
                )
            )
        )
        return [row.negotiation_id for row in rows]

    async def entries(self, subjects: Sequence[str]) -> Sequence[Entry]:
        rows = await self._connection.execute(
            select(events).where(events.c.stream.in_(subjects)).order_by(events.c.position)
        )
        return [
            Entry(row.stream, row.type, row.occurred_at, row.body, bytes(row.hash)) for row in rows
        ]

    async def told(self, negotiation_id: str) -> Sequence[Told]:
        return [
            Told(one.body["number"], one.party, one.reached)
            for one in await told(self._connection, _subject(negotiation_id))
        ]

    async def page(
        self,
        party: PartyId,
        *,
        state: State | None,
        service: str | None,
        other: PartyId | None,
        after: str | None,
        limit: int,
    ) -> Sequence[Negotiation]:
        query = select(negotiations).where(_is_party(party))
        if state is not None:
            query = query.where(negotiations.c.state == state.value)
        if service is not None:
            query = query.where(negotiations.c.service == service)
        if other is not None:
            query = query.where(_is_party(other))
        if after is not None:
            query = query.where(negotiations.c.negotiation_id > after)
        rows = await self._connection.execute(
            query.order_by(negotiations.c.negotiation_id).limit(limit)
        )
        return await self._whole(rows.all())

    async def _whole(self, rows: Sequence[Any]) -> list[Negotiation]:
        """Rows with what belongs to each, whatever their number in five queries."""
        ids = [row.negotiation_id for row in rows]
        if not ids:
            return []
        with_terms = select(proposals, terms_table.c.body.label("terms")).join(
            terms_table, terms_table.c.digest == proposals.c.terms_digest
        )
        parts = []
        for query, table in (
            (with_terms, proposals),
            (select(moves), moves),
            (select(signatures), signatures),
        ):
            last = table.c.at if table is signatures else table.c.number
            found: dict[str, list[Any]] = {one: [] for one in ids}
            ordered = query.where(table.c.negotiation_id.in_(ids)).order_by(last)
            for part in await self._connection.execute(ordered):
                found[part.negotiation_id].append(part)
            parts.append(found)
        digests = {
            bytes(one.clauses_digest)
            for some in parts[0].values()
            for one in some
            if one.clauses_digest is not None
        }
        clauses = await clauses_of(self._connection, digests)
        told = []
        for row in rows:
            proposed, moved, signed = (found[row.negotiation_id] for found in parts)
            told.append(_to_negotiation(row, proposed, moved, signed, clauses))
        return told


class SqlNegotiations:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlDesk]:
        async with self._database.begin() as connection:
            yield SqlDesk(connection)

    async def over(self, now: datetime, limit: int) -> Sequence[str]:
        async with self._database.begin() as connection:
            rows = await connection.execute(
                select(negotiations.c.negotiation_id)
                .where(text(_IS_OPEN), negotiations.c.until <= now)
                .order_by(negotiations.c.until)
                .limit(limit)
            )
            return [row.negotiation_id for row in rows]


def _is_party(party: PartyId) -> Any:
    return or_(negotiations.c.provider == party, negotiations.c.requester == party)


def _subject(negotiation_id: str) -> str:
    return f"negotiation:{negotiation_id}"


def _fact(one: Negotiation, move: Move) -> Fact:
    body = {
        "negotiation_id": one.negotiation_id,
        "requester": one.requester,
        "provider": one.provider,
        "service": one.service,
        "major": one.major,
        "replaces": one.replaces,
        "number": move.number,
        "action": move.action.value,
        "side": move.side.value,
        "by": move.by,
        "state": move.state.value,
        "proposal": move.proposal,
        "says": move.says,
        "until": one.until.isoformat() if move.state in OPEN else None,
        "document_sha256": one.document and one.document.hex(),
        "contract_id": one.contract_id if move.state is State.FINALISED else None,
    }
    parties = (one.requester, one.provider)
    return Fact(_subject(one.negotiation_id), _TOLD_AS[move.state], move.by, parties, body, move.at)


def _to_row(one: Negotiation) -> dict[str, Any]:
    return {
        "negotiation_id": one.negotiation_id,
        "requester": str(one.requester),
        "provider": str(one.provider),
        "service": one.service,
        "major": one.major,
        "offering_id": one.offering_id,
        "replaces": one.replaces,
        "environment": one.environment,
        "state": one.state.value,
        "until": one.until,
        "version": one.version,
        "document_digest": one.document,
        "contract_id": one.contract_id,
    }


def _proposal_to_row(one: Negotiation, proposal: Proposal, digest: bytes) -> dict[str, Any]:
    return {
        "negotiation_id": one.negotiation_id,
        "number": proposal.number,
        "side": proposal.side.value,
        "terms_digest": digest,
        "valid_from": proposal.valid_from,
        "valid_until": proposal.valid_until,
        "stands_until": proposal.stands_until,
        "says": proposal.says,
        "at": proposal.at,
        "clauses_digest": None if proposal.clauses is None else proposal.clauses.digest,
    }


def _move_to_row(one: Negotiation, move: Move) -> dict[str, Any]:
    return {
        "negotiation_id": one.negotiation_id,
        "number": move.number,
        "action": move.action.value,
        "side": move.side.value,
        "party": str(move.by),
        "at": move.at,
        "state": move.state.value,
        "proposal": move.proposal,
        "says": move.says,
    }


def _signed_to_row(one: Negotiation, signed: Signed) -> dict[str, Any]:
    return {
        "negotiation_id": one.negotiation_id,
        "side": signed.side.value,
        "party": str(signed.party),
        "jws": signed.jws,
        "public_key": dict(signed.public_key),
        "at": signed.at,
    }


def _to_negotiation(
    row: Any,
    proposed: Sequence[Any],
    moved: Sequence[Any],
    signed: Sequence[Any],
    clauses: Mapping[bytes, Clauses],
) -> Negotiation:
    parties = {
        Side.REQUESTER: PartyId(row.requester),
        Side.PROVIDER: PartyId(row.provider),
    }
    return Negotiation(
        negotiation_id=row.negotiation_id,
        requester=parties[Side.REQUESTER],
        provider=parties[Side.PROVIDER],
        service=row.service,
        major=row.major,
        offering_id=row.offering_id,
        replaces=row.replaces,
        environment=row.environment,
        state=State(row.state),
        until=row.until,
        proposals=tuple(_to_proposal(row.service, parties, clauses, one) for one in proposed),
        moves=tuple(_to_move(one) for one in moved),
        document=None if row.document_digest is None else bytes(row.document_digest),
        signatures=tuple(_to_signed(one) for one in sorted(signed, key=_in_order)),
        contract_id=row.contract_id,
    )


def _to_proposal(
    service: str, parties: Mapping[Side, PartyId], clauses: Mapping[bytes, Clauses], row: Any
) -> Proposal:
    return Proposal(
        number=row.number,
        side=Side(row.side),
        by=parties[Side(row.side)],
        terms=parse_terms(service, row.terms),
        clauses=None if row.clauses_digest is None else clauses[bytes(row.clauses_digest)],
        valid_from=row.valid_from,
        valid_until=row.valid_until,
        stands_until=row.stands_until,
        says=row.says,
        at=row.at,
    )


def _to_move(row: Any) -> Move:
    return Move(
        number=row.number,
        action=Action(row.action),
        side=Side(row.side),
        by=PartyId(row.party),
        at=row.at,
        state=State(row.state),
        proposal=row.proposal,
        says=row.says,
    )


def _to_signed(row: Any) -> Signed:
    return Signed(Side(row.side), PartyId(row.party), row.jws, row.public_key, row.at)


def _on_paper(signed: Signed) -> Signature:
    protected = json.loads(urlsafe_b64decode(signed.jws.partition(".")[0].encode()))
    key_id = protected.get("kid") or signed.public_key.get("kid") or ""
    return Signature(signed.party, str(key_id), protected["alg"], signed.at, signed.jws)


def _in_order(row: Any) -> tuple[datetime, bool]:
    """The hub signs last, at the moment of the second signature."""
    return row.at, row.side == Side.HUB
