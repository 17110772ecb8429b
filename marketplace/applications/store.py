"""Applications on PostgreSQL. The rows stay in this file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    DateTime,
    Index,
    LargeBinary,
    Table,
    Text,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database, metadata
from kit.event_log import NewEvent, append
from kit.sortable_id import is_id
from marketplace.applications.model import (
    Application,
    Contact,
    ContactPurpose,
    RoleAsked,
    RoleStatus,
)
from marketplace.business.model import BusinessDetails
from marketplace.business.store import SqlFile
from marketplace.partners.model import Role
from marketplace.partners.store import SqlPartners, SqlRegister, partners
from roaming.events import EventType
from roaming.party import PartyId

_Identifier = Text(collation="C")
applications = Table(
    "application",
    metadata,
    Column("application_id", _Identifier, primary_key=True),
    # Null: somebody new. Else a partner that asks for further roles.
    Column("applicant", _Identifier, index=True),
    Column("parties", ARRAY(Text), nullable=False),
    Column("details", JSONB, nullable=False),
    Column("contacts", JSONB, nullable=False),
    Column("roles", JSONB, nullable=False),
    Column("status", Text, nullable=False),
    Column("submitted_at", DateTime(timezone=True), nullable=False),
    Column("approved_at", DateTime(timezone=True)),
    # The digests of all that it says, and of the Idempotency-Key that it came with.
    Column("content", LargeBinary, nullable=False, index=True),
    Column("key", LargeBinary, unique=True),
    Column("secret_hash", Text),
    schema="marketplace",
)
Index("ix_application_status", applications.c.status, applications.c.application_id)


@dataclass(frozen=True, slots=True)
class Row:
    """An application as it is kept."""

    application: Application
    content: bytes
    secret_hash: str | None = field(repr=False)


class SqlDesk:
    def __init__(self, connection: AsyncConnection, register: SqlRegister, hub: PartyId) -> None:
        self._connection = connection
        self._hub = hub
        self.register = register
        self.file = SqlFile(connection)

    async def lock(self, content: bytes) -> None:
        await self._connection.execute(
            select(
                func.pg_advisory_xact_lock(func.hashtextextended(f"application:{content.hex()}", 0))
            )
        )

    async def known_by_key(self, key: bytes) -> Row | None:
        return await self._first(select(applications).where(applications.c.key == key))

    async def known_by_content(self, content: bytes) -> Row | None:
        return await self._first(
            select(applications)
            .where(applications.c.content == content)
            .order_by(applications.c.application_id.desc())
            .limit(1)
        )

    async def waiting(self) -> int:
        query = (
            select(func.count())
            .select_from(applications)
            .where(applications.c.status == RoleStatus.REQUESTED.value)
        )
        return int((await self._connection.execute(query)).scalar_one())

    async def add(
        self, asked: Application, content: bytes, *, key: bytes | None, secret_hash: str | None
    ) -> None:
        details = asdict(asked.details) | {"valid_from": asked.details.valid_from.isoformat()}
        await self._connection.execute(
            applications.insert().values(
                application_id=asked.application_id,
                applicant=asked.applicant,
                parties=list(asked.parties),
                details=details,
                contacts=[asdict(one) for one in asked.contacts],
                submitted_at=asked.submitted_at,
                content=content,
                key=key,
                secret_hash=secret_hash,
                **_decided(asked),
            )
        )
        body = {
            "application_id": asked.application_id,
            "parties": list(asked.parties),
            "legal_name": asked.details.legal_name,
            "roles": [one.role.value for one in asked.roles],
        }
        told_to = [self._hub, *([] if asked.applicant is None else [asked.applicant])]
        await self._tell(EventType.PARTNER_APPLIED, asked, told_to, body, asked.submitted_at)

    async def find(self, application_id: str) -> Row | None:
        if not is_id(application_id):
            return None
        return await self._first(_by_id(application_id))

    async def find_to_change(self, application_id: str) -> Application | None:
        if not is_id(application_id):
            return None
        row = await self._first(_by_id(application_id).with_for_update())
        return None if row is None else row.application

    async def save(self, asked: Application, now: datetime) -> None:
        await self._connection.execute(
            update(applications)
            .where(applications.c.application_id == asked.application_id)
            .values(**_decided(asked))
        )
        body = {
            "application_id": asked.application_id,
            "parties": list(asked.parties),
            "status": asked.status.value,
            "roles": {one.role.value: one.status.value for one in asked.roles},
        }
        # A party id that was claimed is not the applicant's before it is given to it.
        approved = [] if asked.approved_at is None else [asked.main]
        await self._tell(
            EventType.PARTNER_APPLICATION_DECIDED, asked, [self._hub, *approved], body, now
        )

    async def page(
        self,
        *,
        status: RoleStatus | None,
        applicant: PartyId | None,
        after: str | None,
        limit: int,
    ) -> Sequence[Application]:
        query = select(applications)
        if status is not None:
            query = query.where(applications.c.status == status.value)
        if applicant is not None:
            query = query.where(applications.c.applicant == applicant)
        if after is not None:
            query = query.where(applications.c.application_id > after)
        rows = await self._connection.execute(
            query.order_by(applications.c.application_id).limit(limit)
        )
        return [_to_application(row) for row in rows]

    async def owners(self, parties: Collection[PartyId]) -> Mapping[PartyId, PartyId]:
        rows = await self._connection.execute(
            select(partners.c.party, partners.c.main_party).where(partners.c.party.in_(parties))
        )
        return {PartyId(row.party): PartyId(row.main_party or row.party) for row in rows}

    async def _first(self, query: Any) -> Row | None:
        row = (await self._connection.execute(query)).first()
        if row is None:
            return None
        return Row(_to_application(row), bytes(row.content), row.secret_hash)

    async def _tell(
        self,
        kind: EventType,
        asked: Application,
        parties: Sequence[PartyId],
        body: dict[str, Any],
        now: datetime,
    ) -> None:
        stream = f"application:{asked.application_id}"
        await append(self._connection, [NewEvent(stream, kind, one, body, now) for one in parties])


class SqlApplications:
    """`partners`: whose register an approval writes in, in the same transaction."""

    def __init__(self, database: Database, partners: SqlPartners, hub: PartyId) -> None:
        self._database = database
        self._partners = partners
        self._hub = hub

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlDesk]:
        async with self._database.begin() as connection:
            yield SqlDesk(connection, self._partners.on(connection), self._hub)


def _by_id(application_id: str) -> Any:
    return select(applications).where(applications.c.application_id == application_id)


def _decided(asked: Application) -> dict[str, Any]:
    return {
        "roles": [
            [
                one.role.value,
                one.status.value,
                one.decided_at and one.decided_at.isoformat(),
                one.decided_by,
                one.reason,
            ]
            for one in asked.roles
        ],
        "status": asked.status.value,
        "approved_at": asked.approved_at,
    }


def _to_application(row: Any) -> Application:
    details = row.details
    return Application(
        application_id=row.application_id,
        applicant=None if row.applicant is None else PartyId(row.applicant),
        parties=tuple(PartyId(party) for party in row.parties),
        details=BusinessDetails(
            **details
            | {
                "party": PartyId(details["party"]),
                "valid_from": datetime.fromisoformat(details["valid_from"]),
            }
        ),
        contacts=tuple(
            Contact(one["name"], one["email"], ContactPurpose(one["purpose"]))
            for one in row.contacts
        ),
        roles=tuple(
            RoleAsked(
                Role(role),
                RoleStatus(status),
                None if at is None else datetime.fromisoformat(at),
                None if by is None else PartyId(by),
                reason,
            )
            for role, status, at, by, reason in row.roles
        ),
        submitted_at=row.submitted_at,
        approved_at=row.approved_at,
    )
