"""Contracts on PostgreSQL. The rows stay in this file.

Every query is for one party, which is on one side of the contract or the other; only the book that
the hub itself keeps in memory reads them all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast

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
    bindparam,
    case,
    func,
    or_,
    select,
    text,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database, Hot, metadata
from kit.sortable_id import is_id
from marketplace.contracts import life
from marketplace.contracts.life import Ended, EndNear, Renewed, Tended, Turn
from marketplace.contracts.model import Action, Contract, Status, StatusChange
from marketplace.contracts.ports import BookRow, Counted, Reading, ServiceRow, StandingRow
from marketplace.framework.model import Clauses
from marketplace.framework.store import clauses_table
from marketplace.messages.model import Fact
from marketplace.messages.store import tell
from marketplace.offerings.model import Offering, Terms
from marketplace.offerings.store import (
    SELECT_OFFERING,
    keep_terms,
    made_to,
    offerings,
    reader_of_terms,
    terms_table,
    to_offerings,
    withdraw_service,
)
from marketplace.partners.standing import Standing
from marketplace.partners.store import standings_of, to_standing
from marketplace.services.model import Environment, Service
from marketplace.services.store import services, to_service
from roaming.events import EventType
from roaming.party import PartyId

CHANNEL = "contracts"
ROWS_AT_ONCE = 5_000
# What is owed under a contract is paid within a year of its end, and whoever is owed it is told.
TOLD_AFTERWARDS = timedelta(days=365)
_THIS_TRANSACTION = text("pg_current_xact_id()::text::bigint")

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
    Column("changed_xid", BigInteger, nullable=False, server_default=_THIS_TRANSACTION),
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
Index("ix_contract_requester", contracts.c.requester, contracts.c.contract_id)
Index("ix_contract_changed_xid", contracts.c.changed_xid)
Index(
    "ix_contract_due_at",
    contracts.c.due_at,
    postgresql_where=text("due_at IS NOT NULL"),
)

_ALL = (
    "SELECT contract_id, provider, requester, service, major, terms_digest, valid_from,"
    " valid_until, version, environment, CASE WHEN version > 1 THEN history END AS history"
    " FROM marketplace.contract"
)
_ALL_SERVICES = "SELECT * FROM marketplace.service"
# Few partners have ever had another standing than the first: nothing is held of the others.
_ALL_STANDINGS = "SELECT party, standing, standing_xid FROM marketplace.partner"
_COUNTED = (
    "SELECT contracts, versions, services, changes, partners, turns FROM"
    " (SELECT count(*) AS contracts, coalesce(sum(version), 0)::bigint AS versions"
    " FROM marketplace.contract) AS c,"
    " (SELECT count(*) AS services, coalesce(sum(changed_xid), 0)::bigint AS changes"
    " FROM marketplace.service) AS s,"
    " (SELECT count(*) AS partners, coalesce(sum(standing_xid), 0)::bigint AS turns"
    " FROM marketplace.partner WHERE standing_xid IS NOT NULL) AS p"
)
_SELECT = select(contracts, terms_table.c.body.label("terms")).join(
    terms_table, terms_table.c.digest == contracts.c.terms_digest
)

_WITH_CLAUSES = _SELECT.add_columns(clauses_table.c.body.label("clauses")).outerjoin(
    clauses_table, clauses_table.c.digest == contracts.c.clauses_digest
)
# What has a price, or says something of the level of service.
_BINDING = text(
    "(terms.body ? 'plan' OR terms.body ? 'pack' OR terms.body->>'price_per_call_minor' <> '0'"
    """ OR position(CAST('"name":"service-level"' AS bytea) IN clauses.body) > 0)"""
)


# A contract that ended before it began was never in force, and its one-time price never due.
_ASKED_ONCE = """
WITH RECURSIVE chain (contract_id, currency, earlier) AS (
  SELECT c.contract_id, t.body ->> 'currency', c.replaces
  FROM marketplace.contract AS c JOIN marketplace.terms AS t ON t.digest = c.terms_digest
  WHERE c.contract_id = ANY($1)
  UNION ALL
  SELECT n.contract_id, n.currency, c.replaces
  FROM chain AS n JOIN marketplace.contract AS c ON c.contract_id = n.earlier
)
SELECT n.contract_id, max((t.body -> 'plan' ->> 'one_time')::numeric) AS asked
FROM chain AS n JOIN marketplace.contract AS c ON c.contract_id = n.earlier
JOIN marketplace.terms AS t ON t.digest = c.terms_digest
WHERE t.body ->> 'currency' = n.currency AND t.body -> 'plan' ? 'one_time'
  AND (c.valid_until IS NULL OR c.valid_until > c.valid_from)
  AND NOT EXISTS (SELECT FROM jsonb_array_elements(c.history) AS h
    WHERE h ->> 0 = 'terminated' AND (h ->> 1)::timestamptz <= c.valid_from)
GROUP BY n.contract_id
"""


class SqlDesk:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def lock(self, requester: PartyId) -> None:
        await self._connection.execute(
            select(func.pg_advisory_xact_lock(func.hashtextextended(f"contracts:{requester}", 0)))
        )

    async def offerings(self, offering_ids: Collection[str]) -> Mapping[str, Offering]:
        ids = [one for one in offering_ids if is_id(one)]
        rows = await self._connection.execute(
            SELECT_OFFERING.where(offerings.c.offering_id.in_(ids))
        )
        return {one.offering_id: one for one in to_offerings(rows)}

    async def public_offerings(
        self, provider: PartyId, roles: Collection[str]
    ) -> Sequence[Offering]:
        rows = await self._connection.execute(
            SELECT_OFFERING.where(
                offerings.c.provider == provider,
                offerings.c.audience != "parties",
                made_to(provider, roles),
            ).order_by(offerings.c.offering_id)
        )
        return to_offerings(rows)

    async def between(
        self, requester: PartyId, offered: Collection[Offering]
    ) -> Sequence[Contract]:
        keys = {(str(one.provider), one.service, one.major) for one in offered}
        if not keys:
            return []
        rows = await self._connection.execute(
            _SELECT.where(
                contracts.c.requester == requester,
                tuple_(contracts.c.provider, contracts.c.service, contracts.c.major).in_(
                    sorted(keys)
                ),
            ).order_by(contracts.c.contract_id)
        )
        return _to_contracts(rows)

    async def add(self, new: Sequence[Contract], now: datetime) -> None:
        if not new:
            return
        digests = await keep_terms(self._connection, [contract.terms for contract in new])
        await self._connection.execute(
            contracts.insert().values(
                [_to_row(one, digest, now) for one, digest in zip(new, digests, strict=True)]
            )
        )
        await tell(
            self._connection,
            [
                Fact(
                    f"contract:{one.contract_id}",
                    EventType.CONTRACT_AGREED,
                    one.requester,
                    (one.provider, one.requester),
                    _told(one)
                    | {
                        "offering_id": one.offering_id,
                        "terms_sha256": digest.hex(),
                        "clauses_sha256": one.clauses_digest and one.clauses_digest.hex(),
                        "valid_from": one.valid_from.isoformat(),
                        "valid_until": one.valid_until and one.valid_until.isoformat(),
                    },
                    now,
                )
                for one, digest in zip(new, digests, strict=True)
            ],
        )
        await _notify(self._connection, new[0].contract_id if len(new) == 1 else "")

    async def find(self, contract_id: str, party: PartyId) -> Contract | None:
        return await self._one(contract_id, party, lock=False)

    async def find_to_change(self, contract_id: str, party: PartyId) -> Contract | None:
        return await self._one(contract_id, party, lock=True)

    async def _one(self, contract_id: str, party: PartyId, *, lock: bool) -> Contract | None:
        if not is_id(contract_id):
            return None
        query = _SELECT.where(contracts.c.contract_id == contract_id, _is_party(party))
        if lock:
            query = query.with_for_update(of=contracts)
        row = (await self._connection.execute(query)).first()
        return None if row is None else _to_contract(row)

    async def save(self, contract: Contract, action: Action, by: PartyId, now: datetime) -> None:
        await self._save([contract], action, by, now)
        await _notify(self._connection, contract.contract_id)

    async def save_ended(self, ended: Sequence[Contract], by: PartyId, now: datetime) -> None:
        if ended:
            await self._save(ended, Action.TERMINATE, by, now)
            await _notify(self._connection, "")

    async def _save(
        self, changed: Sequence[Contract], action: Action, by: PartyId, now: datetime
    ) -> None:
        # They were found and locked in this transaction, for a party that may change them.
        await self._connection.execute(
            update(contracts)
            .where(contracts.c.contract_id == bindparam("id"))
            .values(
                history=bindparam("after"),
                suspended_by=bindparam("held_by"),
                version=bindparam("number"),
                changed_xid=_THIS_TRANSACTION,
                due_at=_due_after_change(now),
            ),
            [
                {
                    "id": one.contract_id,
                    "after": _history_to_json(one.history),
                    "held_by": sorted(str(party) for party in one.suspended_by),
                    "number": one.version,
                    "first_due": life.first_due(one, now),
                }
                for one in changed
            ],
        )
        facts = []
        for one in changed:
            body = _told(one) | {
                "action": action.value,
                "by": by,
                "status": one.status_at(now).value,
                "ends": one.ends and one.ends.isoformat(),
                "reason": next(
                    (o.reason for o in reversed(one.history) if o.recorded_at == now), None
                ),
            }
            stream = f"contract:{one.contract_id}"
            sides = (one.provider, one.requester)
            facts.append(Fact(stream, EventType.CONTRACT_STATUS_CHANGED, by, sides, body, now))
        await tell(self._connection, facts)

    async def services(self, keys: Collection[tuple[str, int]]) -> Sequence[Service]:
        if not keys:
            return []
        rows = await self._connection.execute(
            select(services)
            .where(tuple_(services.c.name, services.c.major).in_(sorted(keys)))
            .order_by(services.c.name, services.c.major)
            .with_for_update(read=True)
        )
        return [to_service(row) for row in rows]

    async def running(self, service: Service, now: datetime) -> Sequence[Contract]:
        return await self._lasting(
            now,
            contracts.c.provider == service.provider,
            contracts.c.service == service.name,
            contracts.c.major == service.major,
        )

    async def withdraw_service(self, service: Service, now: datetime) -> None:
        await withdraw_service(self._connection, service, now)

    async def standings(self, parties: Collection[PartyId]) -> Mapping[PartyId, Standing]:
        return await standings_of(self._connection, parties)

    async def all_to_end(self, party: PartyId, after: datetime) -> Sequence[Contract]:
        return await self._lasting(after, _is_party(party))

    async def _lasting(self, after: datetime, *wanted: Any) -> Sequence[Contract]:
        """Those that have not ended by then; nobody else changes them until we are done."""
        rows = await self._connection.execute(
            _SELECT.where(
                *wanted, or_(contracts.c.valid_until.is_(None), contracts.c.valid_until > after)
            )
            .order_by(contracts.c.contract_id)
            .with_for_update(of=contracts)
        )
        found = _to_contracts(rows)
        return [one for one in found if one.ends is None or one.ends > after]

    async def standing_beside(self, contract: Contract) -> Sequence[Contract]:
        rows = await self._connection.execute(
            _SELECT.where(
                contracts.c.requester == contract.requester,
                contracts.c.provider == contract.provider,
                contracts.c.service == contract.service,
                contracts.c.major == contract.major,
                contracts.c.contract_id != contract.contract_id,
            )
        )
        return _to_contracts(rows)

    async def find_to_tend(self, contract_id: str, now: datetime) -> tuple[Contract, datetime]:
        row = (
            await self._connection.execute(
                _SELECT.where(
                    contracts.c.contract_id == contract_id, contracts.c.due_at <= now
                ).with_for_update(of=contracts)
            )
        ).first()
        if row is None:
            raise LookupError(contract_id)
        return _to_contract(row), row.due_at

    async def tend(self, tended: Tended, now: datetime) -> None:
        contract = tended.contract
        await self._connection.execute(
            update(contracts)
            .where(contracts.c.contract_id == contract.contract_id)
            .values(
                due_at=tended.due,
                valid_until=contract.valid_until,
                agreed_until=contract.agreed_until,
                renewals=contract.renewals,
                version=contract.version,
                changed_xid=_THIS_TRANSACTION,
            )
        )
        await tell(
            self._connection,
            [
                Fact(
                    f"contract:{contract.contract_id}",
                    _TURNS[type(turn)],
                    # In the hub's name there is nothing but time.
                    contract.provider,
                    (contract.provider, contract.requester),
                    _told(contract) | _turn_to_json(turn),
                    now,
                )
                for turn in tended.turns
            ],
        )
        await _notify(self._connection, contract.contract_id)

    async def page(
        self,
        party: PartyId,
        *,
        service: str | None,
        other: PartyId | None,
        environment: Environment | None,
        after: str | None,
        limit: int,
    ) -> Sequence[Contract]:
        wanted = []
        if service is not None:
            wanted.append(contracts.c.service == service)
        if other is not None:
            wanted.append(_is_party(other))
        if environment is not None:
            wanted.append(contracts.c.environment == environment.value)
        if after is not None:
            wanted.append(contracts.c.contract_id > after)
        # Each side by its own index and in order: a party may have tens of thousands.
        sides = [
            select(contracts.c.contract_id)
            .where(side == party, *wanted)
            .order_by(contracts.c.contract_id)
            .limit(limit)
            for side in (contracts.c.provider, contracts.c.requester)
        ]
        # Nobody is on both sides, so none comes twice.
        either = union_all(*(side.subquery().select() for side in sides)).subquery()
        rows = await self._connection.execute(
            _SELECT.where(contracts.c.contract_id.in_(select(either.c.contract_id)))
            .order_by(contracts.c.contract_id)
            .limit(limit)
        )
        return _to_contracts(rows)


class SqlContracts:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlDesk]:
        async with self._database.begin() as connection:
            yield SqlDesk(connection)

    async def everything(self, after: str | None, limit: int) -> Sequence[Contract]:
        query = _SELECT.order_by(contracts.c.contract_id).limit(limit)
        if after is not None:
            query = query.where(contracts.c.contract_id > after)
        async with self._database.begin() as connection:
            return _to_contracts(await connection.execute(query))

    async def whosever(self, contract_id: str) -> Contract | None:
        if not is_id(contract_id):
            return None
        async with self._database.begin() as connection:
            query = _SELECT.where(contracts.c.contract_id == contract_id)
            row = (await connection.execute(query)).first()
        return None if row is None else _to_contract(row)

    async def due(self, now: datetime, limit: int) -> Sequence[tuple[str, PartyId]]:
        async with self._database.begin() as connection:
            rows = await connection.execute(
                select(contracts.c.contract_id, contracts.c.requester)
                .where(contracts.c.due_at <= now)
                .order_by(contracts.c.due_at, contracts.c.contract_id)
                .limit(limit)
            )
            return [(row.contract_id, PartyId(row.requester)) for row in rows]


class SqlRegister:
    """Contracts of a time, as reports go through them; `party` None: of everybody."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        party: PartyId | None,
        *,
        since: datetime,
        until: datetime,
        service: str | None = None,
        contract_id: str | None = None,
        binding: bool = False,
        after: str = "",
        limit: int = 1_000,
    ) -> Sequence[tuple[Contract, Clauses | None]]:
        """Those that begin before `until` and do not end before `since` by their term, by id.

        `binding`: only those of which reports have something to reckon, a price or a level.
        """
        query = _WITH_CLAUSES.where(
            contracts.c.contract_id > after,
            contracts.c.valid_from < until,
            or_(contracts.c.valid_until.is_(None), contracts.c.valid_until > since),
        )
        if party is not None:
            query = query.where(_is_party(party))
        if service is not None:
            query = query.where(contracts.c.service == service)
        if contract_id is not None:
            query = query.where(contracts.c.contract_id == contract_id)
        if binding:
            query = query.where(_BINDING)
        async with self._database.begin() as connection:
            page = query.order_by(contracts.c.contract_id).limit(limit)
            rows = (await connection.execute(page)).all()
        clauses = (None if row.clauses is None else Clauses.parse(row.clauses) for row in rows)
        return list(zip(_to_contracts(rows), clauses, strict=True))

    async def asked_once(self, contract_ids: Collection[str]) -> Mapping[str, Decimal]:
        async with self._database.hot() as connection:
            return await asked_once(connection, contract_ids)


class SqlBookSource:
    """What the book is read from, hot: hundreds of thousands of rows, at one moment."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(
        self,
        fence: int | None,
        *,
        known_terms: Collection[bytes],
        take_terms: Callable[[bytes, str], None],
        take: Callable[[Sequence[BookRow]], None],
        take_services: Callable[[Sequence[ServiceRow]], None],
        take_standings: Callable[[Sequence[StandingRow]], None],
        count: bool = False,
    ) -> Reading:
        async with (
            self._database.pool.acquire() as connection,
            # One snapshot for all statements: the fence is that of the rows.
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            begun = await connection.fetchval(
                "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
            )
            if fence is None:
                await self._all_terms(cast(Hot, connection), take_terms)
            cursor = await _since(connection, _ALL, fence)
            while rows := await cursor.fetch(ROWS_AT_ONCE):
                missing = {row["terms_digest"] for row in rows} - set(known_terms)
                if missing:
                    for digest, body in await connection.fetch(
                        "SELECT digest, body::text FROM marketplace.terms WHERE digest = ANY($1)",
                        list(missing),
                    ):
                        take_terms(digest, body)
                take([_to_book_row(row) for row in rows])
            cursor = await _since(connection, _ALL_SERVICES, fence)
            while rows := await cursor.fetch(ROWS_AT_ONCE):
                take_services(
                    [ServiceRow(to_service(_Attributes(row)), row["changed_xid"]) for row in rows]
                )
            turned = await connection.fetch(
                f"{_ALL_STANDINGS} WHERE standing_xid >= $1", fence or 0
            )
            take_standings(
                [
                    StandingRow(row["party"], to_standing(row["standing"]), row["standing_xid"])
                    for row in turned
                ]
            )
            counted = await connection.fetchrow(_COUNTED) if count else None
        return Reading(begun, None if counted is None else Counted(*counted))

    @staticmethod
    async def _all_terms(connection: Hot, take_terms: Callable[[bytes, str], None]) -> None:
        async for digest, body in connection.cursor(
            "SELECT digest, body::text FROM marketplace.terms AS t WHERE EXISTS"
            " (SELECT FROM marketplace.contract AS c WHERE c.terms_digest = t.digest)",
            prefetch=1_000,
        ):
            take_terms(digest, body)


async def _since(connection: Any, query: str, fence: int | None) -> Any:
    """A cursor over what was written by the transactions from `fence` on, or over everything."""
    if fence is None:
        return await connection.cursor(query)
    return await connection.cursor(f"{query} WHERE changed_xid >= $1", fence)


class _Attributes:
    """An asyncpg record read as SQLAlchemy's rows are, by attribute."""

    def __init__(self, record: Any) -> None:
        self._record = record

    def __getattr__(self, name: str) -> Any:
        return self._record[name]


def _is_party(party: PartyId) -> Any:
    return or_(contracts.c.provider == party, contracts.c.requester == party)


async def counterparties(
    connection: AsyncConnection, party: PartyId, now: datetime
) -> Sequence[PartyId]:
    """With whom a party has contracts, or had until a year ago, in the caller's transaction."""
    other = case((contracts.c.provider == party, contracts.c.requester), else_=contracts.c.provider)
    since = now - TOLD_AFTERWARDS
    rows = await connection.execute(
        select(other)
        .where(
            _is_party(party),
            or_(contracts.c.valid_until.is_(None), contracts.c.valid_until > since),
        )
        .distinct()
        .order_by(other)
    )
    return [PartyId(row[0]) for row in rows]


async def asked_once(connection: Hot, contract_ids: Collection[str]) -> Mapping[str, Decimal]:
    """Of contracts that took others' places: the most that any of those asked as a one-time price,
    in the same currency."""
    if not contract_ids:
        return {}
    rows = await connection.fetch(_ASKED_ONCE, list(contract_ids))
    return {row["contract_id"]: row["asked"] for row in rows}


async def _notify(connection: AsyncConnection, payload: str) -> None:
    await connection.execute(
        text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": payload}
    )


def _told(contract: Contract) -> dict[str, Any]:
    return {
        "contract_id": contract.contract_id,
        "provider": contract.provider,
        "requester": contract.requester,
        "service": contract.service,
        "major": contract.major,
        "environment": contract.environment.value,
    }


_TURNS: Mapping[type[Turn], EventType] = {
    EndNear: EventType.CONTRACT_END_NEAR,
    Renewed: EventType.CONTRACT_RENEWED,
    Ended: EventType.CONTRACT_ENDED,
}


def _turn_to_json(turn: Turn) -> dict[str, Any]:
    if isinstance(turn, Renewed):
        return {"valid_until": turn.until.isoformat()}
    if isinstance(turn, Ended):
        return {"ended_at": turn.at.isoformat(), "because": turn.because.value}
    return {
        "days": turn.days,
        "ends": turn.ends.isoformat(),
        "renews": turn.renews_until is not None,
        "renews_until": turn.renews_until and turn.renews_until.isoformat(),
        "notice_until": turn.notice_until and turn.notice_until.isoformat(),
    }


def _due_after_change(now: datetime) -> Any:
    """What has come due and was not seen to yet, stays so."""
    due = contracts.c.due_at
    return case((due <= now, due), else_=bindparam("first_due", type_=due.type))


def _to_row(contract: Contract, digest: bytes, now: datetime) -> dict[str, Any]:
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
        "history": _history_to_json(contract.history),
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


def _to_contract(row: Any) -> Contract:
    [found] = _to_contracts([row])
    return found


def _to_contracts(rows: Iterable[Any]) -> list[Contract]:
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
        history=_history(row.history),
        suspended_by=frozenset(PartyId(party) for party in row.suspended_by),
        version=row.version,
        clauses_digest=row.clauses_digest,
        negotiation_id=row.negotiation_id,
        replaces=row.replaces,
        agreed_until=row.agreed_until,
        renewals=row.renewals,
        environment=Environment(row.environment),
    )


def _to_book_row(row: Any) -> BookRow:
    history = row["history"]
    return BookRow(
        row["contract_id"],
        row["provider"],
        row["requester"],
        row["service"],
        row["major"],
        row["terms_digest"],
        row["valid_from"],
        row["valid_until"],
        None if history is None else _history(history),
        row["version"],
        row["environment"] == Environment.SANDBOX.value,
    )


def _history_to_json(history: Sequence[StatusChange]) -> list[list[str | None]]:
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


def _history(raw: Sequence[Sequence[Any]]) -> tuple[StatusChange, ...]:
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
