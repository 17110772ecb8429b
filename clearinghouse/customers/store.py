"""Customer contracts on PostgreSQL. Written in batches; the token uid's primary key keeps the law.

One EVSP's writers wait for one another (an advisory lock), so that two uploads of one list come out
as one of them; two EVSPs meet only where they name the same token uid.

Each contract carries the transaction that changed it or its tokens last, and what has lost its
holder is remembered beside: the changes since a moment are found by an index, and nobody who asks
by the oldest transaction that ran then misses what a slow one writes (offline lists do).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from clearinghouse.customers.model import (
    NOTHING_KEPT,
    AuthorisationMode,
    BulkReport,
    CustomerContract,
    Kept,
    Limits,
    Mode,
    Rejection,
    Status,
    TokensRaced,
    Upload,
    UploadState,
)
from clearinghouse.customers.ports import NotAllNew
from kit import event_log
from kit.database import Database, Hot, metadata
from kit.encoding import encode_json
from kit.event_log import NewEvent
from roaming.contract_id import ContractId
from roaming.party import PartyId
from roaming.token import TokenUid

# Identifiers compare byte by byte: an index on them is smaller work than one of a language.
_Identifier = Text(collation="C")

_THIS_TRANSACTION = text("pg_current_xact_id()::text::bigint")
# Asked once a statement, not once a row.
_XID = "(SELECT pg_current_xact_id()::text::bigint)"

customer_contract = Table(
    "customer_contract",
    metadata,
    Column("contract_id", _Identifier, primary_key=True),
    Column("evsp", _Identifier, nullable=False),
    Column("valid_from", DateTime(timezone=True)),
    Column("valid_until", DateTime(timezone=True)),
    Column("status", Text, nullable=False),
    Column("services", ARRAY(Text), nullable=False),
    Column("authorisation", Text, nullable=False),
    Column("display_name", Text),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    Column("limits", JSONB),
    # The transaction that changed the contract or its tokens last.
    Column("changed_xid", BigInteger, nullable=False, server_default=_THIS_TRANSACTION),
    CheckConstraint("status IN ('active', 'blocked')", name="status"),
    CheckConstraint("authorisation IN ('list', 'ask', 'both')", name="authorisation"),
    schema="clearinghouse",
)
Index(
    "ix_customer_contract_evsp_changed_xid",
    customer_contract.c.evsp,
    customer_contract.c.changed_xid,
)
# Those few that begin later than they were told of: nobody writes when they do.
Index(
    "ix_customer_contract_evsp_valid_from",
    customer_contract.c.evsp,
    customer_contract.c.valid_from,
    postgresql_where=text("valid_from > changed_at"),
)
customer_token = Table(
    "customer_token",
    metadata,
    Column("uid", _Identifier, primary_key=True),
    Column(
        "contract_id",
        _Identifier,
        ForeignKey("clearinghouse.customer_contract.contract_id"),
        nullable=False,
        index=True,
    ),
    Column("evsp", _Identifier, nullable=False),
    # The transaction in which the EVSP first named it.
    Column("kept_xid", BigInteger, nullable=False, server_default=_THIS_TRANSACTION),
    schema="clearinghouse",
)
customer_token_given_up = Table(
    "customer_token_given_up",
    metadata,
    Column("evsp", _Identifier, primary_key=True),
    Column("uid", _Identifier, primary_key=True),
    Column("kept_xid", BigInteger, nullable=False),
    Column("given_up_xid", BigInteger, nullable=False),
    schema="clearinghouse",
)
Index(
    "ix_customer_token_given_up_evsp_given_up_xid",
    customer_token_given_up.c.evsp,
    customer_token_given_up.c.given_up_xid,
)
customer_upload = Table(
    "customer_upload",
    metadata,
    Column("evsp", _Identifier, primary_key=True),
    Column("upload_id", _Identifier, primary_key=True),
    Column("mode", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("lines", BigInteger, nullable=False),
    Column("read", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    Column("unnamed", BigInteger, nullable=False),
    Column("rejections", JSONB, nullable=False),
    Column("active_before", BigInteger),
    Column("ended", BigInteger, nullable=False),
    Column("began_xid", BigInteger, nullable=False),
    Column("began_at", DateTime(timezone=True), nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("mode IN ('delta', 'full')", name="mode"),
    CheckConstraint("state IN ('open', 'complete', 'replaced')", name="state"),
    schema="clearinghouse",
)
# What a full list has named and left as it was; all else that it named shows by its changed_xid.
customer_listed = Table(
    "customer_listed",
    metadata,
    Column("evsp", _Identifier, primary_key=True),
    Column("contract_id", _Identifier, primary_key=True),
    schema="clearinghouse",
)

_COLUMNS = (
    "c.contract_id, c.valid_from, c.valid_until, c.status, c.services, c.authorisation,"
    " c.display_name, c.limits"
)
_TOKENS = (
    "ARRAY(SELECT t.uid FROM clearinghouse.customer_token AS t"
    " WHERE t.contract_id = c.contract_id ORDER BY t.uid) AS token_uids"
)
_FIND = (
    f"SELECT {_COLUMNS}, {_TOKENS} FROM clearinghouse.customer_contract AS c"
    " WHERE c.evsp = $1 AND c.contract_id = $2"
)
# A contract id begins with its provider, so the primary key gives one EVSP's in order.
_PAGE = (
    f"SELECT {_COLUMNS}, {_TOKENS} FROM clearinghouse.customer_contract AS c"
    " WHERE c.evsp = $1 AND c.contract_id > $2 AND c.contract_id < $3"
    " ORDER BY c.contract_id LIMIT $4"
)
_HELD = "SELECT uid FROM clearinghouse.customer_token WHERE uid = ANY($1::text[]) AND evsp <> $2"
_NEW = f"""
INSERT INTO clearinghouse.customer_contract AS c (contract_id, evsp, valid_from, valid_until,
    status, services, authorisation, display_name, limits, changed_at, changed_xid)
  SELECT n.contract_id, $9, n.valid_from, n.valid_until, n.status, string_to_array(n.services, ','),
    n.authorisation, n.display_name, n.limits::jsonb, $10, {_XID}
  FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::text[], $6::text[],
    $7::text[], $8::text[]) AS n (contract_id, valid_from, valid_until, status, services,
    authorisation, display_name, limits)
"""
_KEEP_CONTRACTS = f"""{_NEW}
ON CONFLICT (contract_id) DO UPDATE SET valid_from = excluded.valid_from,
    valid_until = excluded.valid_until, status = excluded.status, services = excluded.services,
    authorisation = excluded.authorisation, display_name = excluded.display_name,
    limits = excluded.limits, changed_at = excluded.changed_at, changed_xid = excluded.changed_xid
  WHERE (c.valid_from, c.valid_until, c.status, c.services, c.authorisation, c.display_name,
    c.limits) IS DISTINCT FROM (excluded.valid_from, excluded.valid_until, excluded.status,
    excluded.services, excluded.authorisation, excluded.display_name, excluded.limits)
RETURNING contract_id, xmax = 0 AS created
"""
_GIVE_UP = f"""
WITH dropped AS (
  DELETE FROM clearinghouse.customer_token AS t WHERE t.contract_id = ANY($1::text[])
    AND NOT EXISTS (SELECT FROM unnest($2::text[]) AS n (uid) WHERE n.uid = t.uid)
  RETURNING t.evsp, t.uid, t.kept_xid, t.contract_id
), remembered AS (
  INSERT INTO clearinghouse.customer_token_given_up AS g (evsp, uid, kept_xid, given_up_xid)
    SELECT evsp, uid, kept_xid, {_XID} FROM dropped
  ON CONFLICT (evsp, uid) DO UPDATE SET given_up_xid = excluded.given_up_xid,
    kept_xid = least(g.kept_xid, excluded.kept_xid)
)
SELECT contract_id FROM dropped
"""
# In order of the uid, so that two EVSPs who name the same ones do not wait for each other in a
# circle.
_NEW_TOKENS = f"""
INSERT INTO clearinghouse.customer_token AS t (uid, contract_id, evsp, kept_xid)
  SELECT n.uid, n.contract_id, $3, {_XID}
  FROM unnest($1::text[], $2::text[]) AS n (uid, contract_id) ORDER BY n.uid
"""
_KEEP_TOKENS = f"""{_NEW_TOKENS}
ON CONFLICT (uid) DO UPDATE SET contract_id = excluded.contract_id
  WHERE t.evsp = excluded.evsp AND t.contract_id <> excluded.contract_id
RETURNING contract_id
"""
_TOUCH = f"""
UPDATE clearinghouse.customer_contract SET changed_at = $2, changed_xid = {_XID}
  WHERE contract_id = ANY($1::text[])
"""
_BLOCK = f"""
UPDATE clearinghouse.customer_contract SET status = 'blocked', changed_at = $3, changed_xid = {_XID}
  WHERE evsp = $1 AND contract_id = ANY($2::text[]) AND status <> 'blocked'
RETURNING contract_id
"""
_LIST = """
INSERT INTO clearinghouse.customer_listed (evsp, contract_id)
  SELECT $1, c.contract_id FROM clearinghouse.customer_contract AS c
  WHERE c.evsp = $1 AND c.contract_id = ANY($2::text[]) AND c.changed_xid < $3
ON CONFLICT DO NOTHING
"""
_UNLISTED = """
 FROM clearinghouse.customer_contract AS c
 WHERE c.evsp = $1 AND c.changed_xid < $2 AND c.status = 'active' AND NOT EXISTS
  (SELECT FROM clearinghouse.customer_listed AS l
   WHERE l.evsp = c.evsp AND l.contract_id = c.contract_id)
"""
_END = f"""
UPDATE clearinghouse.customer_contract SET status = 'blocked', changed_at = $3, changed_xid = {_XID}
  WHERE contract_id IN (SELECT c.contract_id {_UNLISTED})
"""
_BEGIN_UPLOAD = f"""
INSERT INTO clearinghouse.customer_upload (evsp, upload_id, mode, state, lines, read, created,
    changed, rejected, unnamed, rejections, active_before, ended, began_xid, began_at, changed_at)
  VALUES ($1, $2, $3, 'open', 0, 0, 0, 0, 0, 0, '[]', CASE WHEN $3 = 'full' THEN
    (SELECT count(*) FROM clearinghouse.customer_contract WHERE evsp = $1 AND status = 'active')
    END, 0, {_XID}, $4, $4)
RETURNING *
"""
_REPLACE_UPLOADS = """
UPDATE clearinghouse.customer_upload SET state = 'replaced', changed_at = $2
  WHERE evsp = $1 AND mode = 'full' AND state = 'open'
"""
_SAVE_UPLOAD = """
UPDATE clearinghouse.customer_upload SET state = $3, lines = $4, read = $5, created = $6,
    changed = $7, rejected = $8, unnamed = $9, rejections = $10, ended = $11, changed_at = $12
  WHERE evsp = $1 AND upload_id = $2
"""
_UPLOAD = "SELECT * FROM clearinghouse.customer_upload WHERE evsp = $1 AND upload_id = $2"


class SqlBook:
    """One EVSP's contracts in one transaction."""

    def __init__(self, connection: Hot, evsp: PartyId) -> None:
        self._connection = connection
        self._evsp = evsp

    async def find(self, contract_id: ContractId) -> CustomerContract | None:
        row = await self._connection.fetchrow(_FIND, self._evsp, contract_id)
        return None if row is None else to_contract(row)

    async def held_elsewhere(self, uids: Sequence[TokenUid]) -> frozenset[TokenUid]:
        if not uids:
            return frozenset()
        rows = await self._connection.fetch(_HELD, uids, self._evsp)
        return frozenset(TokenUid(row["uid"]) for row in rows)

    async def add(self, contracts: Sequence[CustomerContract], at: datetime) -> Kept:
        if contracts:
            uids = {uid: one.contract_id for one in contracts for uid in one.token_uids}
            try:
                await self._connection.execute(_NEW, *self._columns(contracts, at))
                await self._connection.execute(
                    _NEW_TOKENS, list(uids), list(uids.values()), self._evsp
                )
            except (asyncpg.UniqueViolationError, asyncpg.DeadlockDetectedError) as error:
                raise NotAllNew from error
        return Kept(created=len(contracts), changed=0)

    async def keep(self, contracts: Sequence[CustomerContract], at: datetime) -> Kept:
        if not contracts:
            return NOTHING_KEPT
        columns = self._columns(contracts, at)
        written = await self._connection.fetch(_KEEP_CONTRACTS, *columns)
        created = {row["contract_id"] for row in written if row["created"]}
        changed = {row["contract_id"] for row in written if not row["created"]}
        by_token = await self._keep_tokens(contracts) - created - changed
        if by_token:
            await self._connection.execute(_TOUCH, list(by_token), at)
        return Kept(created=len(created), changed=len(changed | by_token))

    def _columns(self, contracts: Sequence[CustomerContract], at: datetime) -> Sequence[Any]:
        return (
            [one.contract_id for one in contracts],
            [one.valid_from for one in contracts],
            [one.valid_until for one in contracts],
            [one.status for one in contracts],
            [",".join(one.services) for one in contracts],
            [one.authorisation for one in contracts],
            [one.display_name for one in contracts],
            [None if one.limits is None else _limits_to_json(one.limits) for one in contracts],
            self._evsp,
            at,
        )

    async def _keep_tokens(self, contracts: Sequence[CustomerContract]) -> set[str]:
        """Give each uid to the last contract that names it; the ids of contracts that changed."""
        holders = {uid: one.contract_id for one in contracts for uid in one.token_uids}
        try:
            dropped = await self._connection.fetch(
                _GIVE_UP, [one.contract_id for one in contracts], list(holders)
            )
            taken = await self._connection.fetch(
                _KEEP_TOKENS, list(holders), list(holders.values()), self._evsp
            )
        except asyncpg.DeadlockDetectedError as error:
            raise TokensRaced(
                "another EVSP writes the same token uids", rule="try again"
            ) from error
        if await self.held_elsewhere(list(holders)):
            raise TokensRaced("another EVSP took one of the token uids", rule="try again")
        return {row["contract_id"] for row in (*dropped, *taken)}

    async def remove(self, contract_ids: Sequence[ContractId], at: datetime) -> int:
        if not contract_ids:
            return 0
        rows = await self._connection.fetch(_BLOCK, self._evsp, contract_ids, at)
        blocked = {row["contract_id"] for row in rows}
        rows = await self._connection.fetch(_GIVE_UP, contract_ids, [])
        by_token = {row["contract_id"] for row in rows} - blocked
        if by_token:
            await self._connection.execute(_TOUCH, list(by_token), at)
        return len(blocked | by_token)

    async def upload(self, upload_id: str) -> Upload | None:
        row = await self._connection.fetchrow(_UPLOAD, self._evsp, upload_id)
        return None if row is None else _to_upload(row)

    async def begin_upload(self, upload_id: str, mode: Mode, at: datetime) -> Upload:
        if mode is Mode.FULL:
            await self._connection.execute(_REPLACE_UPLOADS, self._evsp, at)
            await self._forget_listed()
        row = await self._connection.fetchrow(_BEGIN_UPLOAD, self._evsp, upload_id, mode, at)
        return _to_upload(row)

    async def save_upload(self, upload: Upload) -> None:
        report = upload.report
        await self._connection.execute(
            _SAVE_UPLOAD,
            *(self._evsp, upload.upload_id, upload.state, upload.lines),
            *(report.read, report.kept.created, report.kept.changed),
            *(report.rejected, report.unnamed, [asdict(one) for one in report.rejections]),
            *(upload.ended, upload.changed_at),
        )

    async def list_named(self, upload: Upload, contract_ids: Sequence[ContractId]) -> None:
        await self._connection.execute(_LIST, self._evsp, contract_ids, upload.began_xid)

    async def count_unlisted(self, upload: Upload) -> int:
        found: int = await self._connection.fetchval(
            f"SELECT count(*) {_UNLISTED}", self._evsp, upload.began_xid
        )
        return found

    async def end_unlisted(self, upload: Upload, at: datetime) -> None:
        await self._connection.execute(_END, self._evsp, upload.began_xid, at)
        await self._forget_listed()

    async def _forget_listed(self) -> None:
        await self._connection.execute(
            "DELETE FROM clearinghouse.customer_listed WHERE evsp = $1", self._evsp
        )

    async def tell(self, event: NewEvent) -> None:
        await event_log.append(self._connection, [event])


class SqlCustomers:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def write(self, evsp: PartyId) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"customers:{evsp}"
            )
            yield SqlBook(connection, evsp)

    async def find(self, evsp: PartyId, contract_id: ContractId) -> CustomerContract | None:
        async with self._database.hot() as connection:
            return await SqlBook(connection, evsp).find(contract_id)

    async def find_upload(self, evsp: PartyId, upload_id: str) -> Upload | None:
        async with self._database.hot() as connection:
            return await SqlBook(connection, evsp).upload(upload_id)

    async def page(
        self, evsp: PartyId, *, after: ContractId | None, limit: int
    ) -> Sequence[CustomerContract]:
        async with self._database.hot() as connection:
            rows = await connection.fetch(
                _PAGE, evsp, after or evsp.compact, evsp.compact + "~", limit
            )
        return [to_contract(row) for row in rows]


def to_contract(row: Any) -> CustomerContract:
    return CustomerContract(
        contract_id=ContractId(row["contract_id"]),
        token_uids=tuple(map(TokenUid, row["token_uids"])),
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        status=Status(row["status"]),
        services=tuple(row["services"]),
        authorisation=AuthorisationMode(row["authorisation"]),
        display_name=row["display_name"],
        limits=None if row["limits"] is None else Limits(**row["limits"]),
    )


def _to_upload(row: Any) -> Upload:
    return Upload(
        upload_id=row["upload_id"],
        mode=Mode(row["mode"]),
        state=UploadState(row["state"]),
        lines=row["lines"],
        report=BulkReport(
            read=row["read"],
            kept=Kept(created=row["created"], changed=row["changed"]),
            rejected=row["rejected"],
            rejections=tuple(Rejection(**one) for one in row["rejections"]),
            unnamed=row["unnamed"],
        ),
        active_before=row["active_before"],
        ended=row["ended"],
        began_xid=row["began_xid"],
        began_at=row["began_at"],
        changed_at=row["changed_at"],
    )


def _limits_to_json(limits: Limits) -> str:
    """All members, so that the same limits are the same row."""
    return encode_json(asdict(limits)).decode()
