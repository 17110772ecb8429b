"""Offerings on PostgreSQL. The rows stay in this file.

Terms are kept apart, under the hash of their text: hundreds of offerings and contracts on the same
terms share one row, and what was agreed can never be changed by changing something else.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    and_,
    or_,
    select,
    text,
    union,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database, metadata, plan_for_these_values
from kit.encoding import encode_json
from kit.event_log import NewEvent, append
from kit.sortable_id import is_id
from marketplace.framework.model import Clauses, Library
from marketplace.framework.store import clauses_of, clauses_table, keep_clauses, library_of
from marketplace.offerings.model import (
    Audience,
    AudienceKind,
    Offering,
    Status,
    Terms,
    parse_terms,
)
from marketplace.offerings.ports import Search
from marketplace.partners.standing import UNTROUBLED, Standing
from marketplace.partners.store import standings_of
from marketplace.services.model import ROAMING, Environment, Service
from marketplace.services.store import services, to_service
from roaming.events import EventType
from roaming.party import PartyId

terms_table = Table(
    "terms",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("body", JSONB, nullable=False),
    schema="marketplace",
)
offerings = Table(
    "offering",
    metadata,
    Column("offering_id", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("major", Integer, nullable=False),
    Column("terms_digest", LargeBinary, ForeignKey(terms_table.c.digest), nullable=False),
    Column("audience", Text, nullable=False),
    Column("audience_names", ARRAY(Text), nullable=False),
    Column("valid_from", DateTime(timezone=True)),
    Column("valid_until", DateTime(timezone=True)),
    Column("status", Text, nullable=False),
    Column("published_at", DateTime(timezone=True), nullable=False),
    # The hash of all that an offering says: it is not offered twice at once.
    Column("content", LargeBinary, nullable=False),
    Column("clauses_digest", LargeBinary, ForeignKey(clauses_table.c.digest)),
    Column("environment", Text, nullable=False, server_default=text("'live'")),
    schema="marketplace",
)
Index(
    "uq_offering_content_published",
    offerings.c.content,
    unique=True,
    postgresql_where=text("status = 'published'"),
)
Index("ix_offering_provider", offerings.c.provider, offerings.c.offering_id)
Index("ix_offering_service", offerings.c.service, offerings.c.offering_id)
Index(
    "ix_offering_audience_published",
    offerings.c.audience,
    offerings.c.offering_id,
    postgresql_where=text("status = 'published'"),
)
# Few among the many of the live hub.
Index(
    "ix_offering_sandbox",
    offerings.c.offering_id,
    postgresql_where=text("environment = 'sandbox'"),
)
Index("ix_offering_audience_names", offerings.c.audience_names, postgresql_using="gin")

SELECT_OFFERING = select(offerings, terms_table.c.body.label("terms")).join(
    terms_table, terms_table.c.digest == offerings.c.terms_digest
)


class SqlStall:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def service(self, name: str, major: int) -> Service | None:
        row = (
            await self._connection.execute(
                select(services).where(services.c.name == name, services.c.major == major)
            )
        ).first()
        return None if row is None else to_service(row)

    async def standing(self, party: PartyId) -> Standing:
        found = await standings_of(self._connection, [party])
        return found.get(party, UNTROUBLED)

    async def publish(self, asked: Sequence[Offering], now: datetime) -> Sequence[Offering]:
        if not asked:
            return []
        digests = await keep_terms(self._connection, [offering.terms for offering in asked])
        rows = [_to_row(offering, digest) for offering, digest in zip(asked, digests, strict=True)]
        made = await self._connection.execute(
            insert(offerings)
            .values(rows)
            .on_conflict_do_nothing()
            .returning(offerings.c.offering_id)
        )
        new_ids = {row.offering_id for row in made}
        contents = [row["content"] for row in rows]
        kept = {
            bytes(row.content): to_offering(row)
            for row in await self._connection.execute(
                SELECT_OFFERING.where(
                    offerings.c.content.in_(contents),
                    offerings.c.status == Status.PUBLISHED.value,
                )
            )
        }
        told = [
            _event(EventType.OFFERING_PUBLISHED, offering, now)
            for offering in asked
            if offering.offering_id in new_ids
        ]
        await append(self._connection, told)
        return [kept[content] for content in contents]

    async def library(self) -> Library:
        return await library_of(self._connection)

    async def keep_clauses(self, clauses: Sequence[Clauses]) -> Sequence[bytes]:
        return await keep_clauses(self._connection, clauses)

    async def clauses(self, digest: bytes | None) -> Clauses:
        if digest is None:
            return Clauses(())
        return (await clauses_of(self._connection, [digest]))[digest]

    async def find(self, offering_id: str) -> Offering | None:
        if not is_id(offering_id):
            return None
        row = (
            await self._connection.execute(
                SELECT_OFFERING.where(offerings.c.offering_id == offering_id)
            )
        ).first()
        return None if row is None else to_offering(row)

    async def withdraw(self, offering: Offering, now: datetime) -> None:
        changed = await self._connection.execute(
            update(offerings)
            .where(
                offerings.c.offering_id == offering.offering_id,
                offerings.c.provider == offering.provider,
                offerings.c.status == Status.PUBLISHED.value,
            )
            .values(status=offering.status.value)
            .returning(offerings.c.offering_id)
        )
        if changed.first() is not None:
            await append(self._connection, [_event(EventType.OFFERING_WITHDRAWN, offering, now)])

    async def ever_offered(self, provider: PartyId, service: str, major: int) -> bool:
        found = await self._connection.execute(
            select(offerings.c.offering_id)
            .where(
                offerings.c.provider == provider,
                offerings.c.service == service,
                offerings.c.major == major,
            )
            .limit(1)
        )
        return found.first() is not None

    async def page(
        self,
        viewer: PartyId,
        roles: Collection[str],
        search: Search,
        *,
        after: str | None,
        limit: int,
    ) -> Sequence[Offering]:
        wanted = []
        if search.service is not None:
            wanted.append(offerings.c.service == search.service)
        if search.major is not None:
            wanted.append(offerings.c.major == search.major)
        if search.provider is not None:
            wanted.append(offerings.c.provider == search.provider)
        if search.environment is not None:
            wanted.append(offerings.c.environment == search.environment.value)
        if after is not None:
            wanted.append(offerings.c.offering_id > after)
        # Each way of being seen by an index of its own and in order, or a party with few offerings
        # would have those of all others looked through.
        # Its own it sees in any case.
        others = () if search.provider == viewer else _ways_to(viewer, roles)
        ways = [
            select(offerings.c.offering_id)
            .where(way, *wanted)
            .order_by(offerings.c.offering_id)
            .limit(limit)
            for way in (offerings.c.provider == viewer, *others)
        ]
        some = union(*(way.subquery().select() for way in ways)).subquery()
        await plan_for_these_values(self._connection)
        rows = await self._connection.execute(
            SELECT_OFFERING.where(offerings.c.offering_id.in_(select(some.c.offering_id)))
            .order_by(offerings.c.offering_id)
            .limit(limit)
        )
        return to_offerings(rows)


class SqlOfferings:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlStall]:
        async with self._database.begin() as connection:
            yield SqlStall(connection)


async def withdraw_all(connection: AsyncConnection, party: PartyId, now: datetime) -> None:
    """All that a party offers is offered no more, in the caller's transaction."""
    await _withdraw(connection, now, offerings.c.provider == party)


async def withdraw_service(connection: AsyncConnection, service: Service, now: datetime) -> None:
    """A service that comes to its end is offered no more, in the caller's transaction."""
    await _withdraw(
        connection,
        now,
        offerings.c.provider == service.provider,
        offerings.c.service == service.name,
        offerings.c.major == service.major,
    )


async def _withdraw(connection: AsyncConnection, now: datetime, *which: Any) -> None:
    gone = await connection.execute(
        update(offerings)
        .where(*which, offerings.c.status == Status.PUBLISHED.value)
        .values(status=Status.WITHDRAWN.value)
        .returning(offerings.c.offering_id)
    )
    ids = [row.offering_id for row in gone]
    rows = await connection.execute(SELECT_OFFERING.where(offerings.c.offering_id.in_(ids)))
    await append(
        connection, [_event(EventType.OFFERING_WITHDRAWN, to_offering(row), now) for row in rows]
    )


def made_to(party: PartyId, roles: Collection[str]) -> Any:
    """The condition that a published offering is made to this party."""
    return or_(*_ways_to(party, roles))


def _ways_to(party: PartyId, roles: Collection[str]) -> tuple[Any, ...]:
    """The same, each way by itself."""
    published = offerings.c.status == Status.PUBLISHED.value
    return (
        and_(published, offerings.c.audience == AudienceKind.PUBLIC.value),
        and_(
            published,
            offerings.c.audience == AudienceKind.ROLES.value,
            offerings.c.audience_names.overlap(sorted(roles)),
        ),
        and_(
            published,
            offerings.c.audience == AudienceKind.PARTIES.value,
            offerings.c.audience_names.contains([str(party)]),
        ),
    )


async def keep_terms(connection: AsyncConnection, terms: Sequence[Terms]) -> list[bytes]:
    """Keep terms once each; their digests in order."""
    bodies: dict[bytes, dict[str, Any]] = {}
    known: dict[int, bytes] = {}
    digests = []
    for one in terms:
        digest = known.get(id(one))
        if digest is None:
            body = one.to_json()
            # Sorted, so that equal terms are one text whatever order their members came in.
            digest = hashlib.sha256(_sorted_json(body)).digest()
            bodies[digest] = body
            known[id(one)] = digest
        digests.append(digest)
    await connection.execute(
        insert(terms_table)
        .values([{"digest": digest, "body": body} for digest, body in sorted(bodies.items())])
        .on_conflict_do_nothing()
    )
    return digests


def reader_of_terms() -> Callable[[Any], Terms]:
    """Reads the terms of rows, those that hundreds of them share only once."""
    read: dict[tuple[bool, bytes], Terms] = {}

    def terms_of(row: Any) -> Terms:
        # Those of roaming are of another kind, even where the text is the same.
        key = row.service == ROAMING, bytes(row.terms_digest)
        if key not in read:
            read[key] = parse_terms(row.service, row.terms)
        return read[key]

    return terms_of


def to_offering(row: Any) -> Offering:
    [found] = to_offerings([row])
    return found


def to_offerings(rows: Iterable[Any]) -> list[Offering]:
    terms_of = reader_of_terms()
    return [_on_terms(row, terms_of(row)) for row in rows]


def _on_terms(row: Any, terms: Terms) -> Offering:
    return Offering(
        offering_id=row.offering_id,
        service=row.service,
        major=row.major,
        provider=PartyId(row.provider),
        terms=terms,
        audience=Audience(AudienceKind(row.audience), frozenset(row.audience_names)),
        valid_from=row.valid_from,
        valid_until=row.valid_until,
        status=Status(row.status),
        published_at=row.published_at,
        clauses_digest=row.clauses_digest,
        environment=Environment(row.environment),
    )


def _sorted_json(value: Any) -> bytes:
    plain = msgspec.json.decode(encode_json(value))
    return msgspec.json.encode(plain, order="sorted")


def _to_row(offering: Offering, digest: bytes) -> dict[str, Any]:
    said = [
        str(offering.provider),
        offering.service,
        offering.major,
        digest.hex(),
        offering.audience.kind.value,
        sorted(offering.audience.names),
        None if offering.valid_from is None else offering.valid_from.timestamp(),
        None if offering.valid_until is None else offering.valid_until.timestamp(),
    ]
    if offering.clauses_digest is not None:
        said.append(offering.clauses_digest.hex())
    if offering.sandbox:
        # Not told of the others: what they say is still the same.
        said.append(offering.environment.value)
    return {
        "offering_id": offering.offering_id,
        "provider": str(offering.provider),
        "service": offering.service,
        "major": offering.major,
        "terms_digest": digest,
        "audience": offering.audience.kind.value,
        "audience_names": [str(name) for name in sorted(offering.audience.names)],
        "valid_from": offering.valid_from,
        "valid_until": offering.valid_until,
        "status": offering.status.value,
        "published_at": offering.published_at,
        "clauses_digest": offering.clauses_digest,
        "environment": offering.environment.value,
        "content": hashlib.sha256(encode_json(said)).digest(),
    }


def _event(kind: EventType, offering: Offering, now: datetime) -> NewEvent:
    body = {
        "offering_id": offering.offering_id,
        "service": offering.service,
        "major": offering.major,
        "provider": offering.provider,
        "status": offering.status.value,
        "environment": offering.environment.value,
    }
    return NewEvent(f"offerings:{offering.provider}", kind, offering.provider, body, now)
