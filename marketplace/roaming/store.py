"""Roaming offers out of PostgreSQL, read as the market looks at them. Nothing is written here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, and_, cast, column, exists, func, literal, or_, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database
from marketplace.contracts.model import Status as ContractStatus
from marketplace.contracts.rows import contracts
from marketplace.negotiations.model import State
from marketplace.negotiations.store import negotiations
from marketplace.offerings.model import Audience, AudienceKind, RoamingTerms, Status
from marketplace.offerings.store import made_to, offerings, terms_table
from marketplace.partners.model import Role
from marketplace.partners.store import partners
from marketplace.roaming.model import Offer, OpenOffer
from marketplace.services.model import ROAMING
from roaming.party import PartyId

_ROAMING = and_(
    offerings.c.service == ROAMING,
    offerings.c.major == 1,
    offerings.c.status == Status.PUBLISHED.value,
)


class SqlMarket:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def offers(
        self,
        evsp: PartyId,
        roles: Collection[str],
        now: datetime,
        *,
        operator: PartyId | None,
        currency: str | None,
        accepted: bool | None,
        after: str | None,
        limit: int,
    ) -> Sequence[Offer]:
        mine = _contract_of(evsp, now)
        query = select(offerings, mine.label("contract_id")).where(
            _ROAMING, made_to(evsp, roles), _open(now), offerings.c.provider != evsp
        )
        if operator is not None:
            query = query.where(offerings.c.provider == operator)
        if currency is not None:
            said = terms_table.c.body["currency"].astext
            query = query.join(terms_table, terms_table.c.digest == offerings.c.terms_digest).where(
                said == currency
            )
        if accepted is not None:
            query = query.where(mine.is_not(None) if accepted else mine.is_(None))
        if after is not None:
            query = query.where(offerings.c.offering_id > after)
        rows = (
            await self._connection.execute(query.order_by(offerings.c.offering_id).limit(limit))
        ).all()
        terms = await self._terms({bytes(row.terms_digest) for row in rows})
        return [_to_offer(row, terms[bytes(row.terms_digest)]) for row in rows]

    async def _terms(self, digests: Collection[bytes]) -> Mapping[bytes, RoamingTerms]:
        """Hundreds of offers may be made on the same terms: each are read once."""
        rows = await self._connection.execute(
            select(terms_table).where(terms_table.c.digest.in_(digests))
        )
        return {bytes(row.digest): RoamingTerms.parse(row.body) for row in rows}

    async def offering(self, party: PartyId | None, roles: Collection[str]) -> Collection[PartyId]:
        query = select(offerings.c.provider).where(_ROAMING)
        if party is not None:
            to_it = made_to(party, roles) if Role.EVSP in roles else literal(value=False)
            query = query.where(or_(offerings.c.provider == party, to_it))
        rows = await self._connection.execute(query.distinct())
        return {PartyId(row.provider) for row in rows}

    async def open_offers(
        self, operators: Collection[PartyId], now: datetime
    ) -> Sequence[OpenOffer]:
        rows = await self._connection.execute(
            select(offerings)
            .where(_ROAMING, _open(now), offerings.c.provider.in_(map(str, operators)))
            .order_by(offerings.c.offering_id)
        )
        return [
            OpenOffer(
                row.offering_id,
                PartyId(row.provider),
                Audience(AudienceKind(row.audience), frozenset(row.audience_names)),
            )
            for row in rows
        ]

    async def accepted(
        self, offering_ids: Collection[str], now: datetime
    ) -> Collection[tuple[str, PartyId]]:
        rows = await self._connection.execute(
            select(contracts.c.offering_id, contracts.c.requester).where(
                contracts.c.offering_id.in_(offering_ids), _lives(now)
            )
        )
        return {(row.offering_id, PartyId(row.requester)) for row in rows}

    async def evsps(self) -> Mapping[PartyId, Collection[str]]:
        rows = await self._connection.execute(
            select(partners.c.party, partners.c.roles).where(
                partners.c.roles.contains([Role.EVSP.value])
            )
        )
        return {PartyId(row.party): frozenset(row.roles) for row in rows}

    async def asked(self, party: PartyId | None) -> Mapping[tuple[PartyId, PartyId], Sequence[str]]:
        of = negotiations.c
        query = select(of.provider, of.requester, of.negotiation_id).where(
            of.service == ROAMING, of.major == 1, of.state == State.REQUESTED.value
        )
        if party is not None:
            query = query.where(or_(of.provider == party, of.requester == party))
        found: dict[tuple[PartyId, PartyId], list[str]] = {}
        for row in await self._connection.execute(query.order_by(of.negotiation_id)):
            pair = PartyId(row.provider), PartyId(row.requester)
            found.setdefault(pair, []).append(row.negotiation_id)
        return found


class SqlMarkets:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlMarket]:
        async with self._database.begin() as connection:
            yield SqlMarket(connection)


def _open(now: datetime) -> Any:
    """The condition that an offer's validity has not run out: what it came to would be over."""
    return or_(offerings.c.valid_until.is_(None), offerings.c.valid_until > now)


def _lives(now: datetime) -> Any:
    """The condition that a contract is not terminated yet: then its offer can be accepted again."""
    change = func.jsonb_array_elements(contracts.c.history).table_valued(
        column("value", JSONB), name="change"
    )
    said = change.c.value
    return ~exists(
        select(literal(1))
        .select_from(change)
        .where(
            said[0].astext == ContractStatus.TERMINATED.value,
            cast(said[1].astext, DateTime(timezone=True)) <= now,
        )
    )


def _contract_of(evsp: PartyId, now: datetime) -> Any:
    return (
        select(contracts.c.contract_id)
        .where(
            contracts.c.offering_id == offerings.c.offering_id,
            contracts.c.requester == evsp,
            _lives(now),
        )
        .order_by(contracts.c.contract_id.desc())
        .limit(1)
        .scalar_subquery()
    )


def _to_offer(row: Any, terms: RoamingTerms) -> Offer:
    return Offer(
        offering_id=row.offering_id,
        operator=PartyId(row.provider),
        terms=terms,
        valid_from=row.valid_from,
        valid_until=row.valid_until,
        published_at=row.published_at,
        contract_id=row.contract_id,
    )
