"""The catalogue on PostgreSQL. The rows stay in this file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    and_,
    func,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from bridge.document import Document
from kit.database import Database, metadata
from kit.event_log import NewEvent, append
from marketplace.services.changes import Change
from marketplace.services.handling import USUAL, Handling
from marketplace.services.model import (
    Endpoint,
    Environment,
    Operation,
    Protocol,
    Service,
    Status,
)
from roaming.events import EventType
from roaming.party import PartyId

CHANNEL = "services"
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
    schema="marketplace",
)
Index("ix_service_changed_xid", services.c.changed_xid)
interfaces = Table(
    "interface",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("uploaded_at", DateTime(timezone=True), nullable=False),
    schema="marketplace",
)


class SqlShelf:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

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
            "category": service.category,
            "description": service.description,
            "endpoint": service.endpoint,
            "protocol": service.protocol.value,
            "documentation": service.documentation,
            "operations": _operations_to_json(service),
            "more_endpoints": _endpoints_to_json(service),
            "handling": service.handling.to_json(),
        }
        await self._connection.execute(
            services.insert().values(registered_at=service.registered_at, **values)
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

    async def search(
        self, viewer: PartyId, words: str, after: tuple[str, int] | None, limit: int
    ) -> Sequence[Service]:
        visible = or_(
            services.c.provider == viewer,
            services.c.status.in_([Status.PUBLISHED.value, Status.SUSPENDED.value]),
        )
        everything = func.lower(
            func.concat_ws(
                " ",
                services.c.name,
                services.c.category,
                services.c.description,
                services.c.provider,
            )
        )
        matches = [
            everything.contains(word, autoescape=True) for word in words.lower().split()[:20]
        ]
        return await self._page(select(services).where(visible, and_(True, *matches)), after, limit)

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
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlShelf]:
        async with self._database.begin() as connection:
            yield SqlShelf(connection)


def _operations_to_json(service: Service) -> list[list[str]]:
    return [[one.name, one.method, one.path] for one in service.operations]


def _endpoints_to_json(service: Service) -> list[list[str]]:
    return [[one.url, one.environment.value] for one in service.more_endpoints]


# What is told of each change; of a login only whether there is one.
_TOLD: Mapping[Change, tuple[EventType, Callable[[Service], dict[str, Any]]]] = {
    Change.STATUS: (
        EventType.SERVICE_STATUS_CHANGED,
        lambda service: {"status": service.status.value, "held": service.held},
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
        category=row.category,
        description=row.description,
        endpoint=row.endpoint,
        protocol=Protocol(row.protocol),
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
    )
