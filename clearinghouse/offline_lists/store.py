"""Offline lists on PostgreSQL: read from the customer contracts themselves, in proportion to what
has changed.

A version keeps the database's snapshot of its moment. What a later reader is told is what that
snapshot had not seen: so the change of a slow writer, which began before a version and committed
after it, is in the next difference.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Column, DateTime, Integer, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from clearinghouse.customers.store import (
    customer_contract,
    customer_token,
    customer_token_given_up,
)
from clearinghouse.offline_lists.model import (
    ALL,
    VERSIONS_KEPT,
    Consent,
    Entry,
    Part,
    Place,
    Shares,
    Stage,
    Version,
    ends,
)
from kit import event_log
from kit.database import Database, Hot, metadata
from kit.event_log import NewEvent
from roaming.contract_id import ContractId
from roaming.party import PartyId
from roaming.token import TokenUid

_Identifier = Text(collation="C")

offline_consent = Table(
    "offline_consent",
    metadata,
    Column("evsp", _Identifier, primary_key=True),
    Column("operator", _Identifier, primary_key=True),
    Column("given", Boolean, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    schema="clearinghouse",
)
offline_list_version = Table(
    "offline_list_version",
    metadata,
    Column("operator", _Identifier, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("snapshot", Text, nullable=False),
    Column("made_at", DateTime(timezone=True), nullable=False),
    Column("shares", JSONB, nullable=False),
    schema="clearinghouse",
)

_CONTRACT, _TOKEN = customer_contract.fullname, customer_token.fullname
_GIVEN_UP = customer_token_given_up.fullname
# $1 is the moment.
_ELIGIBLE = (
    "(c.status = 'active' AND c.authorisation IN ('list', 'both') AND 'charging' = ANY(c.services)"
    " AND (c.valid_from IS NULL OR c.valid_from <= $1)"
    " AND (c.valid_until IS NULL OR c.valid_until > $1))"
)


def _seen(xid: str, snapshot: str) -> str:
    return f"pg_visible_in_snapshot({xid}::text::xid8, {snapshot}::text::pg_snapshot)"


def _unseen(xid: str, snapshot: str) -> str:
    """That a snapshot has not seen a transaction; the first half is for the index."""
    oldest = f"pg_snapshot_xmin({snapshot}::text::pg_snapshot)::text::bigint"
    return f"{xid} >= {oldest} AND NOT {_seen(xid, snapshot)}"


_CONSENTING = """
SELECT DISTINCT ON (evsp) evsp, given FROM clearinghouse.offline_consent
  WHERE evsp = ANY($2::text[]) AND operator IN ($1, '*') ORDER BY evsp, operator = '*'
"""
_KEEP_CONSENT = """
INSERT INTO clearinghouse.offline_consent AS k (evsp, operator, given, changed_at)
  VALUES ($1, $2, $3, $4)
ON CONFLICT (evsp, operator) DO UPDATE SET given = excluded.given, changed_at = excluded.changed_at
  WHERE k.given <> excluded.given
RETURNING 1
"""
_CHANGED_SINCE = f"""
SELECT EXISTS (SELECT FROM {_CONTRACT} AS c
    WHERE c.evsp = ANY($2::text[]) AND {_unseen("c.changed_xid", "$3")})
  OR EXISTS (SELECT FROM {_GIVEN_UP} AS g
    WHERE g.evsp = ANY($2::text[]) AND {_unseen("g.given_up_xid", "$3")})
  OR EXISTS (SELECT FROM {_CONTRACT} AS c WHERE c.evsp = ANY($2::text[])
    AND c.valid_from > c.changed_at AND c.valid_from > $4 AND {_ELIGIBLE})
"""
_ADD_VERSION = """
INSERT INTO clearinghouse.offline_list_version (operator, version, snapshot, made_at, shares)
  SELECT $1, coalesce(max(version), 0) + 1, pg_current_snapshot()::text, $2, $3
  FROM clearinghouse.offline_list_version WHERE operator = $1
RETURNING *
"""
_FORGET_VERSIONS = (
    "DELETE FROM clearinghouse.offline_list_version WHERE operator = $1 AND version <= $2"
)


def _cards(order: str, first: str, condition: str) -> str:
    """Contracts by an index, $5 of them behind ($7, $6), then their cards. `known`: the reader may
    have been told of the card, by the snapshot $3 or by one before it."""
    return f"""
WITH page AS (
  SELECT {first} AS k1, c.contract_id, c.valid_until, {_ELIGIBLE} AS eligible,
    NOT {_seen("c.changed_xid", "$3")} AS changed, row_number() OVER (ORDER BY {order}) AS n
  FROM (SELECT * FROM {_CONTRACT} AS c WHERE c.evsp = $2 AND {condition}
    ORDER BY {order} LIMIT $5) AS c
)
SELECT p.n, p.k1, p.contract_id AS k2, p.valid_until, p.eligible, p.changed, t.uid,
  {_seen("t.kept_xid", "$3")} OR EXISTS (SELECT FROM {_GIVEN_UP} AS g
    WHERE g.evsp = ANY($4::text[]) AND g.uid = t.uid AND {_seen("g.kept_xid", "$3")}) AS known
FROM page AS p LEFT JOIN {_TOKEN} AS t ON t.contract_id = p.contract_id ORDER BY p.n, t.uid
"""


# A contract id begins with its provider, so the primary key gives one EVSP's in order.
_EVERY = _cards("c.contract_id", "''", "c.contract_id > $6 AND c.contract_id < $7")
_CHANGED = _cards(
    "c.changed_xid, c.contract_id",
    "c.changed_xid::text",
    f"{_unseen('c.changed_xid', '$3')} AND (c.changed_xid, c.contract_id) > ($7::text::bigint, $6)",
)
_BEGUN = _cards(
    "c.valid_from, c.contract_id",
    "c.valid_from::text",
    f"{_seen('c.changed_xid', '$3')} AND c.valid_from > c.changed_at AND c.valid_from > $8"
    " AND c.valid_from <= $1 AND (c.valid_from, c.contract_id) > ($7::text::timestamptz, $6)",
)
# What another who shares has taken since is told with that one's changes.
_FORGOTTEN = f"""
SELECT g.given_up_xid::text AS k1, g.uid, {_seen("g.kept_xid", "$2")} AND NOT EXISTS (
    SELECT FROM {_TOKEN} AS t WHERE t.uid = g.uid AND t.evsp = ANY($3::text[])) AS told
FROM {_GIVEN_UP} AS g WHERE g.evsp = $1 AND {_unseen("g.given_up_xid", "$2")}
  AND (g.given_up_xid, g.uid) > ($6::text::bigint, $5)
ORDER BY g.given_up_xid, g.uid LIMIT $4
"""


class SqlLists:
    """The lists in one transaction."""

    def __init__(self, connection: Hot) -> None:
        self._connection = connection

    async def lock(self, operator: PartyId) -> None:
        await self._connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"offline-list:{operator}"
        )

    async def consenting(
        self, operator: PartyId, evsps: Collection[PartyId]
    ) -> Collection[PartyId]:
        rows = await self._connection.fetch(_CONSENTING, operator, list(evsps))
        return [PartyId(row["evsp"]) for row in rows if row["given"]]

    async def consents(self, evsp: PartyId) -> Sequence[Consent]:
        rows = await self._connection.fetch(
            "SELECT operator, given FROM clearinghouse.offline_consent"
            " WHERE evsp = $1 ORDER BY operator",
            evsp,
        )
        return [
            Consent(None if row["operator"] == ALL else PartyId(row["operator"]), row["given"])
            for row in rows
        ]

    async def keep_consent(self, evsp: PartyId, consent: Consent, at: datetime) -> bool:
        changed = await self._connection.fetchval(
            _KEEP_CONSENT, evsp, consent.operator or ALL, consent.given, at
        )
        return changed is not None

    async def newest(self, operator: PartyId) -> Version | None:
        row = await self._connection.fetchrow(
            "SELECT * FROM clearinghouse.offline_list_version"
            " WHERE operator = $1 ORDER BY version DESC LIMIT 1",
            operator,
        )
        return None if row is None else _to_version(row)

    async def version(self, operator: PartyId, number: int) -> Version | None:
        row = await self._connection.fetchrow(
            "SELECT * FROM clearinghouse.offline_list_version WHERE operator = $1 AND version = $2",
            operator,
            number,
        )
        return None if row is None else _to_version(row)

    async def changed_since(self, version: Version, at: datetime) -> bool:
        found: bool = await self._connection.fetchval(
            _CHANGED_SINCE, at, list(version.shares), version.snapshot, version.made_at
        )
        return found

    async def add_version(self, operator: PartyId, shares: Shares, at: datetime) -> Version:
        told = {str(evsp): until and until.isoformat() for evsp, until in shares.items()}
        row = await self._connection.fetchrow(_ADD_VERSION, operator, at, told)
        version = _to_version(row)
        await self._connection.execute(_FORGET_VERSIONS, operator, version.number - VERSIONS_KEPT)
        return version

    async def read(
        self,
        part: Part,
        place: Place,
        *,
        shares: Shares,
        since: Version | None,
        at: datetime,
        limit: int,
    ) -> tuple[Sequence[Entry], Sequence[TokenUid], Place | None]:
        if place.stage is Stage.GIVEN_UP:
            assert since is not None, "a full list forgets nothing"
            return await self._forgotten(part, place, shares, since, limit)
        rows = await self._rows(part, place, since, at, limit)
        agreed_until = shares.get(part.evsp)
        # All that is on the list now has been read in the stage before this one.
        told = not (place.stage is Stage.CHANGED and Stage.ALL in part.stages)
        forgets = place.stage in (Stage.CHANGED, Stage.GONE)
        entries, removed = [], []
        for row in rows:
            if row["uid"] is None:
                continue
            uid = TokenUid(row["uid"])
            if row["eligible"] and part.listed:
                if told:
                    until = ends(row["valid_until"], agreed_until)
                    entries.append(Entry(uid, ContractId(row["k2"]), part.evsp, until))
            elif forgets and row["known"] and (row["changed"] or row["eligible"]):
                removed.append(uid)
        following = None
        if rows and rows[-1]["n"] == limit:
            following = Place(part.evsp, place.stage, (rows[-1]["k1"], rows[-1]["k2"]))
        return entries, removed, following

    async def _rows(
        self, part: Part, place: Place, since: Version | None, at: datetime, limit: int
    ) -> Sequence[Any]:
        before = () if since is None else since.shares
        of = (
            *(at, part.evsp, None if since is None else since.snapshot),
            *([str(evsp) for evsp in before], limit),
        )
        if place.stage in (Stage.ALL, Stage.GONE):
            _, last = place.key or ("", part.evsp.compact)
            return await self._connection.fetch(_EVERY, *of, last, part.evsp.compact + "~")
        assert since is not None, "a full list has no changes"
        if place.stage is Stage.CHANGED:
            change, last = place.key or ("0", "")
            return await self._connection.fetch(_CHANGED, *of, last, change)
        began, last = place.key or ("-infinity", "")
        return await self._connection.fetch(_BEGUN, *of, last, began, since.made_at)

    async def _forgotten(
        self, part: Part, place: Place, shares: Shares, since: Version, limit: int
    ) -> tuple[Sequence[Entry], Sequence[TokenUid], Place | None]:
        change, last = place.key or ("0", "")
        rows = await self._connection.fetch(
            *(_FORGOTTEN, part.evsp, since.snapshot, [str(evsp) for evsp in shares]),
            *(limit, last, change),
        )
        removed = [TokenUid(row["uid"]) for row in rows if row["told"]]
        following = None
        if len(rows) == limit:
            following = Place(part.evsp, place.stage, (rows[-1]["k1"], rows[-1]["uid"]))
        return (), removed, following

    async def tell(self, event: NewEvent) -> None:
        await event_log.append(self._connection, [event])


class SqlOfflineLists:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlLists]:
        async with self._database.hot() as connection:
            yield SqlLists(connection)


def _to_version(row: Any) -> Version:
    return Version(
        number=row["version"],
        snapshot=row["snapshot"],
        made_at=row["made_at"],
        shares={
            PartyId(evsp): None if until is None else datetime.fromisoformat(until)
            for evsp, until in row["shares"].items()
        },
    )
