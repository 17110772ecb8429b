"""Contracts on PostgreSQL, as their parties make and change them.

Every query is for one party, which is on one side of the contract or the other. What reads them all
stands apart: `source.py` for the book in memory, `register.py` for reports and bills.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
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
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database
from kit.sortable_id import is_id
from marketplace.contracts import life
from marketplace.contracts.life import Ended, EndNear, Renewed, Tended, Turn
from marketplace.contracts.model import Action, Contract
from marketplace.contracts.rows import (
    SELECT_CONTRACT,
    THIS_TRANSACTION,
    contracts,
    history_to_json,
    is_party,
    to_contract,
    to_contracts,
    to_row,
)
from marketplace.messages.model import Fact
from marketplace.messages.store import tell
from marketplace.offerings.model import Offering
from marketplace.offerings.store import (
    SELECT_OFFERING,
    keep_terms,
    made_to,
    offerings,
    to_offerings,
    withdraw_service,
)
from marketplace.partners.standing import Standing
from marketplace.partners.store import standings_of
from marketplace.services.model import Environment, Service
from marketplace.services.store import services, to_service
from roaming.events import EventType
from roaming.party import PartyId

CHANNEL = "contracts"
# What is owed under a contract is paid within a year of its end, and whoever is owed it is told.
TOLD_AFTERWARDS = timedelta(days=365)


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
            SELECT_CONTRACT.where(
                contracts.c.requester == requester,
                tuple_(contracts.c.provider, contracts.c.service, contracts.c.major).in_(
                    sorted(keys)
                ),
            ).order_by(contracts.c.contract_id)
        )
        return to_contracts(rows)

    async def add(self, new: Sequence[Contract], now: datetime) -> None:
        if not new:
            return
        digests = await keep_terms(self._connection, [contract.terms for contract in new])
        await self._connection.execute(
            contracts.insert().values(
                [to_row(one, digest, now) for one, digest in zip(new, digests, strict=True)]
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
        query = SELECT_CONTRACT.where(contracts.c.contract_id == contract_id, is_party(party))
        if lock:
            query = query.with_for_update(of=contracts)
        row = (await self._connection.execute(query)).first()
        return None if row is None else to_contract(row)

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
                changed_xid=THIS_TRANSACTION,
                due_at=_due_after_change(now),
            ),
            [
                {
                    "id": one.contract_id,
                    "after": history_to_json(one.history),
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
                "ends": None if (ends := life.end_to_tell(one)) is None else ends.isoformat(),
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
        return await self._lasting(after, is_party(party))

    async def _lasting(self, after: datetime, *wanted: Any) -> Sequence[Contract]:
        """Those that have not ended by then; nobody else changes them until we are done."""
        rows = await self._connection.execute(
            SELECT_CONTRACT.where(
                *wanted, or_(contracts.c.valid_until.is_(None), contracts.c.valid_until > after)
            )
            .order_by(contracts.c.contract_id)
            .with_for_update(of=contracts)
        )
        found = to_contracts(rows)
        return [one for one in found if one.ends is None or one.ends > after]

    async def standing_beside(self, contract: Contract) -> Sequence[Contract]:
        rows = await self._connection.execute(
            SELECT_CONTRACT.where(
                contracts.c.requester == contract.requester,
                contracts.c.provider == contract.provider,
                contracts.c.service == contract.service,
                contracts.c.major == contract.major,
                contracts.c.contract_id != contract.contract_id,
            )
        )
        return to_contracts(rows)

    async def find_to_tend(self, contract_id: str, now: datetime) -> tuple[Contract, datetime]:
        row = (
            await self._connection.execute(
                SELECT_CONTRACT.where(
                    contracts.c.contract_id == contract_id, contracts.c.due_at <= now
                ).with_for_update(of=contracts)
            )
        ).first()
        if row is None:
            raise LookupError(contract_id)
        return to_contract(row), row.due_at

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
                changed_xid=THIS_TRANSACTION,
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
            wanted.append(is_party(other))
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
            SELECT_CONTRACT.where(contracts.c.contract_id.in_(select(either.c.contract_id)))
            .order_by(contracts.c.contract_id)
            .limit(limit)
        )
        return to_contracts(rows)


class SqlContracts:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlDesk]:
        async with self._database.begin() as connection:
            yield SqlDesk(connection)

    async def everything(self, after: str | None, limit: int) -> Sequence[Contract]:
        query = SELECT_CONTRACT.order_by(contracts.c.contract_id).limit(limit)
        if after is not None:
            query = query.where(contracts.c.contract_id > after)
        async with self._database.begin() as connection:
            return to_contracts(await connection.execute(query))

    async def whosever(self, contract_id: str) -> Contract | None:
        if not is_id(contract_id):
            return None
        async with self._database.begin() as connection:
            query = SELECT_CONTRACT.where(contracts.c.contract_id == contract_id)
            row = (await connection.execute(query)).first()
        return None if row is None else to_contract(row)

    async def due(self, now: datetime, limit: int) -> Sequence[tuple[str, PartyId]]:
        async with self._database.begin() as connection:
            rows = await connection.execute(
                select(contracts.c.contract_id, contracts.c.requester)
                .where(contracts.c.due_at <= now)
                .order_by(contracts.c.due_at, contracts.c.contract_id)
                .limit(limit)
            )
            return [(row.contract_id, PartyId(row.requester)) for row in rows]


async def counterparties(
    connection: AsyncConnection, party: PartyId, now: datetime
) -> Sequence[PartyId]:
    """With whom a party has contracts, or had until a year ago, in the caller's transaction."""
    other = case((contracts.c.provider == party, contracts.c.requester), else_=contracts.c.provider)
    since = now - TOLD_AFTERWARDS
    rows = await connection.execute(
        select(other)
        .where(
            is_party(party),
            or_(contracts.c.valid_until.is_(None), contracts.c.valid_until > since),
        )
        .distinct()
        .order_by(other)
    )
    return [PartyId(row[0]) for row in rows]


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
