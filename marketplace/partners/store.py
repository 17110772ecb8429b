"""Partners on PostgreSQL. The rows stay in this file; only model types leave it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    LargeBinary,
    Table,
    Text,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database, metadata
from kit.event_log import NewEvent, append
from kit.secrets import SecretBox
from marketplace.partners.model import Endpoint, Partner, Purpose, Role
from marketplace.partners.standing import (
    UNTROUBLED,
    Action,
    PartnerStatus,
    Standing,
    StandingChange,
    Turn,
)
from roaming.events import EventType
from roaming.party import PartyId

CHANNEL = "partners"
"""NOTIFY when a standing changes."""
TOLD_AT_ONCE = 1_000
_THIS_TRANSACTION = text("pg_current_xact_id()::text::bigint")

partners = Table(
    "partner",
    metadata,
    Column("party", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    Column("registered_at", DateTime(timezone=True), nullable=False),
    # Null: the party is the partner itself, and no further id of another.
    Column("main_party", Text(collation="C"), index=True),
    Column("standing", JSONB, nullable=False, server_default="[]"),
    # The transaction that wrote the standing last: what the contract book asks by. Null: never.
    Column("standing_xid", BigInteger, index=True),
    # When it is to be taken leave of. Null: it stays, or it was.
    Column("leave_due", DateTime(timezone=True), index=True),
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
    """What other capabilities do inside the transaction of a registration, or of a leaving."""

    add_client_secret: Callable[[AsyncConnection, PartyId, str, datetime], Awaitable[str]]
    end_tokens: Callable[[AsyncConnection, PartyId, datetime], Awaitable[None]]
    accept_public_offerings: Callable[
        [AsyncConnection, Partner, datetime], Awaitable[Sequence[str]]
    ]
    counterparties: Callable[[AsyncConnection, PartyId, datetime], Awaitable[Sequence[PartyId]]]
    tell: Callable[
        [AsyncConnection, EventType, PartyId, Sequence[PartyId], Mapping[str, Any], datetime],
        Awaitable[None],
    ]
    notice_days: Callable[[AsyncConnection, PartyId, datetime], Awaitable[int]]
    end_contracts: Callable[[AsyncConnection, PartyId, datetime, datetime], Awaitable[None]]
    withdraw_offerings: Callable[[AsyncConnection, PartyId, datetime], Awaitable[None]]


class SqlRegister:
    def __init__(self, connection: AsyncConnection, joining: Joining, box: SecretBox) -> None:
        self._connection = connection
        self._joining = joining
        self._box = box

    async def find(self, party: PartyId) -> Partner | None:
        return await self._one(select(partners).where(partners.c.party == party))

    async def _one(self, query: Any) -> Partner | None:
        row = (await self._connection.execute(query)).first()
        return None if row is None else _to_partner(row)

    async def find_to_change(self, party: PartyId) -> Partner | None:
        # A lock on the name, since there may be no row yet to lock.
        await self._connection.execute(
            select(func.pg_advisory_xact_lock(func.hashtextextended(f"partner:{party}", 0)))
        )
        return await self._one(select(partners).where(partners.c.party == party).with_for_update())

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
        }
        await self._connection.execute(
            insert(partners)
            .values(
                party=partner.party,
                registered_at=partner.registered_at,
                main_party=partner.main,
                **values,
            )
            .on_conflict_do_update(index_elements=["party"], set_=values)
        )
        body = {"party": partner.party, **values, "status": partner.status_at(now).value}
        if partner.main is not None:
            body["main_party"] = partner.main
        await self._tell(EventType.PARTNER_REGISTERED, partner.party, body, now)

    async def ids_of(self, main: PartyId) -> Sequence[PartyId]:
        rows = await self._connection.execute(
            select(partners.c.party)
            .where(or_(partners.c.party == main, partners.c.main_party == main))
            .order_by(partners.c.party)
        )
        return [PartyId(row.party) for row in rows]

    async def change_standing(
        self, partner: Partner, action: Action, role: str | None, by: PartyId, now: datetime
    ) -> None:
        leaves_at = partner.standing.leaves_at
        await self._connection.execute(
            update(partners)
            .where(partners.c.party == partner.party)
            .values(
                standing=_to_json(partner.standing),
                standing_xid=_THIS_TRANSACTION,
                # Kept until leave is taken; whoever comes back before that does not leave.
                leave_due=leaves_at if action is Action.LEAVE else partners.c.leave_due,
            )
        )
        told = max(partner.standing.history, key=lambda one: one.recorded_at)
        body = {
            "party": partner.party,
            "action": action.value,
            "status": partner.status_at(now).value,
            "role": role,
            "since": now.isoformat(),
            "leaves_at": leaves_at and leaves_at.isoformat(),
        }
        # Why it was suspended is between the partner and the hub.
        own = body | {"by": by, "reason": told.reason}
        await self._tell_all(EventType.PARTNER_STANDING_CHANGED, partner.party, own, body, now)

    async def leavers(self, now: datetime, limit: int) -> Sequence[PartyId]:
        rows = await self._connection.execute(
            select(partners.c.party)
            .where(partners.c.leave_due <= now)
            .order_by(partners.c.leave_due)
            .limit(limit)
        )
        return [PartyId(row.party) for row in rows]

    async def take_leave(self, partner: Partner, now: datetime) -> None:
        due = await self._connection.execute(
            update(partners)
            .where(partners.c.party == partner.party, partners.c.leave_due <= now)
            # The books look once more: what is called without a contract goes by no date.
            .values(leave_due=None, standing_xid=_THIS_TRANSACTION)
            .returning(partners.c.party)
        )
        if due.first() is None or partner.status_at(now) is not PartnerStatus.LEFT:
            return
        await self._joining.withdraw_offerings(self._connection, partner.party, now)
        left_at = partner.standing.leaves_at
        body = {"party": partner.party, "left_at": left_at and left_at.isoformat()}
        await self._tell_all(EventType.PARTNER_LEFT, partner.party, body, body, now)

    async def notice_days(self, party: PartyId, now: datetime) -> int:
        return await self._joining.notice_days(self._connection, party, now)

    async def end_contracts(self, party: PartyId, ends: datetime, now: datetime) -> None:
        await self._joining.end_contracts(self._connection, party, ends, now)

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

    async def _tell_all(
        self,
        kind: EventType,
        party: PartyId,
        own: dict[str, Any],
        others: dict[str, Any],
        now: datetime,
    ) -> None:
        """Told to the partner, and to all with whom it has, or had of late, a contract."""
        met = await self._joining.counterparties(self._connection, party, now)
        tell = self._joining.tell
        await tell(self._connection, kind, party, [party], own, now)
        for start in range(0, len(met), TOLD_AT_ONCE):
            some = met[start : start + TOLD_AT_ONCE]
            await tell(self._connection, kind, party, some, others, now)
        await self._connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})

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
            yield self.on(connection)

    def on(self, connection: AsyncConnection) -> SqlRegister:
        """The partners in a transaction that another store has opened."""
        return SqlRegister(connection, self._joining, self._box)


def _seal_of(party: PartyId, purpose: Purpose) -> str:
    return f"endpoint-headers:{party}:{purpose}"


def _to_partner(row: Any) -> Partner:
    return Partner(
        party=PartyId(row.party),
        name=row.name,
        roles=frozenset(Role(role) for role in row.roles),
        registered_at=row.registered_at,
        standing=to_standing(row.standing),
        main=None if row.main_party is None else PartyId(row.main_party),
    )


def to_standing(raw: Sequence[Sequence[Any]]) -> Standing:
    if not raw:
        return UNTROUBLED
    return Standing(
        tuple(
            StandingChange(
                Turn(turn),
                datetime.fromisoformat(since),
                PartyId(by),
                datetime.fromisoformat(recorded_at),
                reason,
                role,
            )
            for turn, since, by, recorded_at, reason, role in raw
        )
    )


async def standings_of(
    connection: AsyncConnection, parties: Collection[PartyId]
) -> dict[PartyId, Standing]:
    """How these partners stand, in the caller's transaction; the hub, which is none, is not told.

    Nobody suspends one of them, or lets it go, until that transaction is done.
    """
    rows = await connection.execute(
        select(partners.c.party, partners.c.standing)
        .where(partners.c.party.in_(sorted(parties)))
        .order_by(partners.c.party)
        .with_for_update(read=True)
    )
    return {PartyId(row.party): to_standing(row.standing) for row in rows}


def _to_json(standing: Standing) -> list[list[str | None]]:
    return [
        [
            one.turn.value,
            one.since.isoformat(),
            str(one.by),
            one.recorded_at.isoformat(),
            one.reason,
            one.role,
        ]
        for one in standing.history
    ]
