"""The catalogue on PostgreSQL. The rows stay in this file."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    and_,
    any_,
    event,
    func,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from bridge.document import Document
from kit.database import Database, metadata, plan_for_these_values
from kit.event_log import NewEvent, append
from marketplace.partners.store import partners
from marketplace.services.changes import Change
from marketplace.services.handling import USUAL, Handling
from marketplace.services.model import (
    SEEN_BY_ALL,
    Category,
    Endpoint,
    Environment,
    Operation,
    Service,
    Status,
    Version,
)
from marketplace.services.model import Protocol as Speaks
from marketplace.services.ports import Search
from roaming.events import EventType
from roaming.party import PartyId

CHANNEL = "services"
# The indexes of words know trigrams, and of the beginning of a word its first letter by itself.
INDEXED_LETTERS = 3
BETWEEN_WORDS = " -"
THIS_TRANSACTION = text("pg_current_xact_id()::text::bigint")

services = Table(
    "service",
    metadata,
    Column("name", Text, primary_key=True),
    Column("major", Integer, primary_key=True),
    Column("provider", Text, nullable=False, index=True),
    Column("status", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("endpoint", Text),
    Column("protocol", Text, nullable=False),
    Column("documentation", Text, nullable=False),
    Column("operations", JSONB, nullable=False),
    Column("registered_at", DateTime(timezone=True), nullable=False),
    Column("more_endpoints", JSONB, nullable=False, server_default=text("'[]'")),
    Column("handling", JSONB, nullable=False, server_default=text("'{}'")),
    Column("interface_digest", LargeBinary),
    Column("login", LargeBinary),
    # The transaction that wrote the row last: what the book asks by (see contracts/book.py).
    Column("changed_xid", BigInteger, nullable=False, server_default=THIS_TRANSACTION),
    Column("held", Boolean, nullable=False, server_default=text("false")),
    Column("tags", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("version", Text, nullable=False, server_default=text("''")),
    # The version whose place it takes, as `name/v1`.
    Column("replaces", Text),
    Column("testers", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("deprecated_at", DateTime(timezone=True)),
    Column("sunset", DateTime(timezone=True)),
    # All that a search of words goes through but the provider's name, in small letters.
    Column("words", Text, nullable=False, server_default=text("''")),
    schema="marketplace",
)
Index("ix_service_changed_xid", services.c.changed_xid)
Index("ix_service_tags", services.c.tags, postgresql_using="gin")
Index("ix_service_testers", services.c.testers, postgresql_using="gin")
Index("ix_service_replaces", services.c.replaces)
Index(
    "ix_service_sunset",
    services.c.sunset,
    postgresql_where=text("sunset IS NOT NULL AND status <> 'retired'"),
)
Index(
    "ix_service_words",
    services.c.words,
    postgresql_using="gin",
    postgresql_ops={"words": "gin_trgm_ops"},
)
Index(
    "ix_partner_name",
    partners.c.name,
    postgresql_using="gin",
    postgresql_ops={"name": "gin_trgm_ops"},
)


def _with_trigrams(_: Table, connection: Connection, **__: Any) -> None:
    """Comes with PostgreSQL, and may be made by whoever owns the database."""
    connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS pg_trgm")


for _searched in (services, partners):
    event.listen(_searched, "before_create", _with_trigrams)
interfaces = Table(
    "interface",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("uploaded_at", DateTime(timezone=True), nullable=False),
    schema="marketplace",
)


@dataclass(frozen=True, slots=True)
class Commitments:
    """What contracts do inside the transaction in which what they are about comes to its end."""

    last_end: Callable[[AsyncConnection, Service, datetime], Awaitable[datetime | None]]
    end: EndContracts


class EndContracts(Protocol):
    async def __call__(
        self,
        connection: AsyncConnection,
        service: Service,
        by: PartyId,
        now: datetime,
        *,
        sunset: datetime,
        own_notice: bool,
        reason: str | None,
    ) -> None: ...


class SqlShelf:
    def __init__(self, connection: AsyncConnection, commitments: Commitments) -> None:
        self._connection = connection
        self._commitments = commitments

    async def lock(self, name: str) -> None:
        await self._connection.execute(
            select(func.pg_advisory_xact_lock(func.hashtextextended(f"service:{name}", 0)))
        )

    async def versions(self, name: str) -> Sequence[Service]:
        rows = await self._connection.execute(
            select(services).where(services.c.name == name).order_by(services.c.major)
        )
        return [to_service(row) for row in rows]

    async def add(self, service: Service, now: datetime) -> None:
        values = {
            "name": service.name,
            "major": service.major,
            "provider": str(service.provider),
            "status": service.status.value,
            "category": service.category.value,
            "tags": list(service.tags),
            "replaces": None if service.replaces is None else str(service.replaces),
            "description": service.description,
            "endpoint": service.endpoint,
            "protocol": service.protocol.value,
            "documentation": service.documentation,
            "operations": _operations_to_json(service),
            "more_endpoints": _endpoints_to_json(service),
            "handling": service.handling.to_json(),
        }
        await self._connection.execute(
            services.insert().values(
                registered_at=service.registered_at, **values, **_standing(service)
            )
        )
        await self._tell(EventType.SERVICE_REGISTERED, service, service.provider, values, now)

    async def save(self, service: Service, change: Change, by: PartyId, now: datetime) -> None:
        await self._connection.execute(
            update(services)
            .where(services.c.name == service.name, services.c.major == service.major)
            .values(
                status=service.status.value,
                endpoint=service.endpoint,
                more_endpoints=_endpoints_to_json(service),
                handling=service.handling.to_json(),
                operations=_operations_to_json(service),
                interface_digest=service.interface_digest,
                login=service.login,
                held=service.held,
                changed_xid=THIS_TRANSACTION,
                **_standing(service),
            )
        )
        kind, told = _TOLD[change]
        body = {"name": service.name, "major": service.major, "by": by, **told(service)}
        await self._tell(kind, service, service.provider, body, now)

    async def keep(self, document: Document, now: datetime) -> None:
        await self._connection.execute(
            insert(interfaces)
            .values(
                digest=document.digest,
                kind=document.kind.value,
                content=document.to_bytes(),
                uploaded_at=now,
            )
            .on_conflict_do_nothing()
        )

    async def document(self, digest: bytes) -> Document | None:
        content = await self._connection.scalar(
            select(interfaces.c.content).where(interfaces.c.digest == digest)
        )
        return None if content is None else Document.of_bytes(content)

    async def everything(self, after: tuple[str, int] | None, limit: int) -> Sequence[Service]:
        return await self._page(select(services), after, limit)

    async def last_end(self, service: Service, now: datetime) -> datetime | None:
        # Whoever makes a contract shares the row until it is made (see contracts/store.py).
        await self._connection.execute(
            select(services.c.name)
            .where(services.c.name == service.name, services.c.major == service.major)
            .with_for_update()
        )
        return await self._commitments.last_end(self._connection, service, now)

    async def end_contracts(
        self,
        service: Service,
        by: PartyId,
        now: datetime,
        *,
        sunset: datetime,
        own_notice: bool,
        reason: str | None,
    ) -> None:
        await self._commitments.end(
            self._connection,
            service,
            by,
            now,
            sunset=sunset,
            own_notice=own_notice,
            reason=reason,
        )

    async def due(self, now: datetime) -> Service | None:
        rows = await self._connection.execute(
            select(services)
            .where(services.c.sunset <= now, services.c.status != Status.RETIRED.value)
            .order_by(services.c.sunset)
            .limit(1)
        )
        row = rows.first()
        return None if row is None else to_service(row)

    async def replacing(self, versions: Sequence[Version]) -> Sequence[Service]:
        rows = await self._connection.execute(
            select(services)
            .where(services.c.replaces.in_([str(one) for one in versions]))
            .order_by(services.c.name, services.c.major)
        )
        return [to_service(row) for row in rows]

    async def search(
        self, viewer: PartyId, search: Search, after: tuple[str, int] | None, limit: int
    ) -> Sequence[Service]:
        found = select(services).where(seen_by(viewer), *map(_said, search.words))
        if search.category is not None:
            found = found.where(services.c.category == search.category.value)
        if search.status is not None:
            found = found.where(services.c.status == search.status.value)
        if search.tag is not None:
            found = found.where(services.c.tags.contains([search.tag]))
        if search.provider is not None:
            found = found.where(services.c.provider == search.provider)
        if search.protocol is not None:
            found = found.where(services.c.protocol == search.protocol.value)
        await plan_for_these_values(self._connection)
        return await self._page(found, after, limit)

    async def _page(
        self, query: Any, after: tuple[str, int] | None, limit: int
    ) -> Sequence[Service]:
        if after is not None:
            query = query.where(tuple_(services.c.name, services.c.major) > after)
        query = query.order_by(services.c.name, services.c.major).limit(limit)
        return [to_service(row) for row in await self._connection.execute(query)]

    async def _tell(
        self, kind: EventType, service: Service, by: PartyId, body: dict[str, Any], now: datetime
    ) -> None:
        stream = f"service:{service.name}:{service.major}"
        await append(self._connection, [NewEvent(stream, kind, by, body, now)])
        await self._connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})


class SqlCatalogue:
    def __init__(self, database: Database, commitments: Commitments) -> None:
        self._database = database
        self._commitments = commitments

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlShelf]:
        async with self._database.begin() as connection:
            yield SqlShelf(connection, self._commitments)


def seen_by(viewer: PartyId) -> Any:
    """The condition that a party sees a service (as `Service.seen_by`)."""
    return or_(
        services.c.status.in_(sorted(SEEN_BY_ALL)),
        services.c.provider == viewer,
        and_(
            services.c.status == Status.IN_TEST.value,
            services.c.testers.contains([str(viewer)]),
        ),
    )


def _said(word: str) -> Any:
    """The condition that a word occurs in what is said of a service, or in its provider's name; one
    that is shorter than what the indexes know, that it begins a word there."""
    plain = re.sub(r"([\\%_])", r"\\\1", word.lower())
    patterns = [f"%{plain}%"]
    said: Any = services.c.words.like(f"%{plain}%")
    if len(word) < INDEXED_LETTERS:
        patterns = [f"{plain}%", *(f"%{before}{plain}%" for before in BETWEEN_WORDS)]
        # That it does not occur at all is seen soonest, where all have to be looked through.
        said = and_(said, or_(*(services.c.words.like(one) for one in patterns)))
    named = (
        select(partners.c.party)
        .where(or_(*(partners.c.name.ilike(one) for one in patterns)))
        .scalar_subquery()
    )
    # An array, which is made first and then looked for in the index.
    return or_(said, services.c.provider == any_(func.array(named, type_=ARRAY(Text))))


def _standing(service: Service) -> dict[str, Any]:
    """What changes of a service as it comes and goes, and is described anew."""
    return {
        "version": service.version,
        "testers": sorted(str(one) for one in service.testers),
        "deprecated_at": service.deprecated_at,
        "sunset": service.sunset,
        "words": _words(service),
    }


def _words(service: Service) -> str:
    said = (
        service.name,
        service.category.value,
        *service.tags,
        service.provider,
        service.description,
        *(one.name for one in service.operations),
    )
    return " ".join(said).lower()


def _operations_to_json(service: Service) -> list[list[str]]:
    return [[one.name, one.method, one.path] for one in service.operations]


def _endpoints_to_json(service: Service) -> list[list[str]]:
    return [[one.url, one.environment.value] for one in service.more_endpoints]


# What is told of each change; of a login only whether there is one.
_TOLD: Mapping[Change, tuple[EventType, Callable[[Service], dict[str, Any]]]] = {
    Change.STATUS: (
        EventType.SERVICE_STATUS_CHANGED,
        lambda service: {
            "status": service.status.value,
            "held": service.held,
            "sunset": service.sunset and service.sunset.isoformat(),
        },
    ),
    Change.ENDPOINTS: (
        EventType.SERVICE_ENDPOINTS_CHANGED,
        lambda service: {
            "endpoint": service.endpoint,
            "more_endpoints": _endpoints_to_json(service),
        },
    ),
    Change.HANDLING: (
        EventType.SERVICE_HANDLING_CHANGED,
        lambda service: {"handling": service.handling.to_json()},
    ),
    Change.INTERFACE: (
        EventType.SERVICE_INTERFACE_CHANGED,
        lambda service: {
            "sha256": service.interface_digest and service.interface_digest.hex(),
            "operations": _operations_to_json(service),
            "version": service.version,
        },
    ),
    Change.LOGIN: (
        EventType.SERVICE_LOGIN_CHANGED,
        lambda service: {"login": service.login is not None},
    ),
}


def to_service(row: Any) -> Service:
    """A row of `services`, from either kind of connection."""
    return Service(
        name=row.name,
        major=row.major,
        provider=PartyId(row.provider),
        status=Status(row.status),
        category=Category(row.category),
        description=row.description,
        endpoint=row.endpoint,
        protocol=Speaks(row.protocol),
        documentation=row.documentation,
        operations=tuple(Operation(*one) for one in row.operations),
        registered_at=row.registered_at,
        more_endpoints=tuple(
            Endpoint(url, Environment(environment)) for url, environment in row.more_endpoints
        ),
        handling=Handling.parse(row.handling) if row.handling else USUAL,
        interface_digest=row.interface_digest,
        login=row.login,
        held=row.held,
        tags=tuple(row.tags),
        version=row.version,
        replaces=None if row.replaces is None else Version.parse(row.replaces, "replaces"),
        testers=frozenset(PartyId(party) for party in row.testers),
        deprecated_at=row.deprecated_at,
        sunset=row.sunset,
    )
