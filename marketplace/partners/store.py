"""Partners on PostgreSQL. The rows stay in this file; only model types leave it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    DateTime,
    ForeignKey,
    LargeBinary,
    Table,
    Text,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database, metadata
from kit.event_log import NewEvent, append
from kit.secrets import SecretBox
from marketplace.partners.model import Endpoint, Partner, PartnerStatus, Purpose, Role
from roaming.events import EventType
from roaming.party import PartyId

partners = Table(
    "partner",
    metadata,
    Column("party", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    Column("status", Text, nullable=False),
    Column("registered_at", DateTime(timezone=True), nullable=False),
    schema="marketplace",
)
endpoints = Table(
    "endpoint",
    metadata,
    Column("party", Text, ForeignKey(partners.c.party), primary_key=True),
    Column("purpose", Text, primary_key=True),
    Column("url", Text, nullable=False),
    # Headers carry the partner's secrets: sealed with the hub's key.
    Column("sealed_headers", LargeBinary, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    schema="marketplace",
)


@dataclass(frozen=True, slots=True)
class Joining:
    """What other capabilities do inside the transaction of a registration."""

    add_client_secret: Callable[[AsyncConnection, PartyId, str, datetime], Awaitable[str]]
    end_tokens: Callable[[AsyncConnection, PartyId, datetime], Awaitable[None]]
    accept_public_offerings: Callable[
        [AsyncConnection, Partner, datetime], Awaitable[Sequence[str]]
    ]


class SqlRegister:
    def __init__(self, connection: AsyncConnection, joining: Joining, box: SecretBox) -> None:
        self._connection = connection
        self._joining = joining
        self._box = box

    async def find(self, party: PartyId) -> Partner | None:
        row = (
            await self._connection.execute(select(partners).where(partners.c.party == party))
        ).first()
        return None if row is None else _to_partner(row)

    async def find_to_change(self, party: PartyId) -> Partner | None:
        # A lock on the name, since there may be no row yet to lock.
        await self._connection.execute(
            select(func.pg_advisory_xact_lock(func.hashtextextended(f"partner:{party}", 0)))
        )
        return await self.find(party)

    async def page(self, after: PartyId | None, limit: int) -> Sequence[Partner]:
        query = select(partners).order_by(partners.c.party).limit(limit)
        if after is not None:
            query = query.where(partners.c.party > after)
        return [_to_partner(row) for row in await self._connection.execute(query)]

    async def save(self, partner: Partner, now: datetime, *, changed: bool) -> None:
        if not changed:
            return
        values = {
            "name": partner.name,
            "roles": sorted(partner.roles),
            "status": partner.status.value,
        }
        await self._connection.execute(
            insert(partners)
            .values(party=partner.party, registered_at=partner.registered_at, **values)
            .on_conflict_do_update(index_elements=["party"], set_=values)
        )
        body = {"party": partner.party, **values}
        await self._tell(EventType.PARTNER_REGISTERED, partner.party, body, now)

    async def add_client_secret(self, party: PartyId, secret_hash: str, now: datetime) -> str:
        return await self._joining.add_client_secret(self._connection, party, secret_hash, now)

    async def end_tokens(self, party: PartyId, now: datetime) -> None:
        await self._joining.end_tokens(self._connection, party, now)

    async def accept_public_offerings(self, partner: Partner, now: datetime) -> Sequence[str]:
        return await self._joining.accept_public_offerings(self._connection, partner, now)

    async def endpoint(self, party: PartyId, purpose: Purpose) -> Endpoint | None:
        row = (
            await self._connection.execute(
                select(endpoints).where(
                    endpoints.c.party == party, endpoints.c.purpose == purpose.value
                )
            )
        ).first()
        return None if row is None else self._to_endpoint(row)

    async def endpoints(self, party: PartyId) -> Sequence[Endpoint]:
        rows = await self._connection.execute(
            select(endpoints).where(endpoints.c.party == party).order_by(endpoints.c.purpose)
        )
        return [self._to_endpoint(row) for row in rows]

    async def endpoints_for(
        self, parties: Collection[PartyId], purpose: Purpose
    ) -> Sequence[Endpoint]:
        rows = await self._connection.execute(
            select(endpoints).where(
                endpoints.c.party.in_(parties), endpoints.c.purpose == purpose.value
            )
        )
        return [self._to_endpoint(row) for row in rows]

    async def save_endpoint(self, endpoint: Endpoint, now: datetime) -> None:
        if await self.endpoint(endpoint.party, endpoint.purpose) == endpoint:
            return
        values = {
            "url": endpoint.url,
            "sealed_headers": self._box.seal(
                json.dumps(dict(endpoint.headers)).encode(),
                purpose=_seal_of(endpoint.party, endpoint.purpose),
            ),
            "changed_at": now,
        }
        await self._connection.execute(
            insert(endpoints)
            .values(party=endpoint.party, purpose=endpoint.purpose.value, **values)
            .on_conflict_do_update(index_elements=["party", "purpose"], set_=values)
        )
        body = {
            "party": endpoint.party,
            "purpose": endpoint.purpose.value,
            "url": endpoint.url,
            "header_names": sorted(endpoint.headers),
        }
        await self._tell(EventType.PARTNER_ENDPOINT_CHANGED, endpoint.party, body, now)

    async def _tell(
        self, kind: EventType, party: PartyId, body: dict[str, Any], now: datetime
    ) -> None:
        await append(self._connection, [NewEvent(f"partner:{party}", kind, party, body, now)])

    def _to_endpoint(self, row: Any) -> Endpoint:
        party, purpose = PartyId(row.party), Purpose(row.purpose)
        plain = self._box.unseal(bytes(row.sealed_headers), purpose=_seal_of(party, purpose))
        return Endpoint(party, purpose, row.url, json.loads(plain))


class SqlPartners:
    """`joining` is what the other capabilities do when somebody joins; the roof ties them in."""

    def __init__(self, database: Database, joining: Joining, box: SecretBox) -> None:
        self._database = database
        self._joining = joining
        self._box = box

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlRegister]:
        async with self._database.begin() as connection:
            yield SqlRegister(connection, self._joining, self._box)


def _seal_of(party: PartyId, purpose: Purpose) -> str:
    return f"endpoint-headers:{party}:{purpose}"


def _to_partner(row: Any) -> Partner:
    return Partner(
        party=PartyId(row.party),
        name=row.name,
        roles=frozenset(Role(role) for role in row.roles),
        status=PartnerStatus(row.status),
        registered_at=row.registered_at,
    )
