"""Where the book of contracts is read from: PostgreSQL, as fast as it gives its rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

from kit.database import Database, Hot
from marketplace.contracts.ports import BookRow, Counted, Reading, ServiceRow, StandingRow
from marketplace.contracts.rows import history_of
from marketplace.partners.store import to_standing
from marketplace.services.model import Environment
from marketplace.services.store import to_service

ROWS_AT_ONCE = 5_000
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
        None if history is None else history_of(history),
        row["version"],
        row["environment"] == Environment.SANDBOX.value,
    )
