"""The same write twice is one write: `Idempotency-Key`, kept for as long as the table is.

The same key and body give the same answer; the same key and another body are refused. The key is
taken before the work and the answer kept after it, both durable: a caller that lost our answer asks
again and gets it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

from sqlalchemy import Column, DateTime, Integer, LargeBinary, Table, Text, text
from starlette.requests import Request
from starlette.responses import Response

from kit.clock import Clock
from kit.database import Database, metadata
from roaming.refusal import Clash, Malformed

answers = Table(
    "idempotent_answer",
    metadata,
    Column("party", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", LargeBinary, nullable=False),
    Column("asked_at", DateTime(timezone=True), nullable=False),
    Column("status", Integer),
    Column("media_type", Text),
    Column("body", LargeBinary),
    schema="kit",
)

LONGEST_KEY = 255


class KeyReused(Malformed):
    """The Idempotency-Key was used for another request."""


class StillRunning(Clash):
    """The first request with this key has not been answered yet."""


async def once(
    request: Request,
    run: Callable[[], Awaitable[Response]],
    *,
    database: Database,
    party: str,
    clock: Clock,
    body: bytes | None = None,
) -> Response:
    """Run a write at most once for its Idempotency-Key; without a key, just run it.

    `body`: the request's, where it has been read already.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return await run()
    if not 0 < len(key) <= LONGEST_KEY:
        raise Malformed(
            "the key is too long", field="Idempotency-Key", value=key, rule="1 to 255 characters"
        )
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    content = b"\n".join(
        [
            request.method.encode(),
            asked.encode(),
            body if body is not None else await request.body(),
        ]
    )
    digest = hashlib.sha256(content).digest()
    known = await _take(database, party, key, digest, clock)
    if known is not None:
        return known
    try:
        response = await run()
    except BaseException:
        # A refused request changed nothing: the caller may mend it and use the key again.
        await _forget(database, party, key)
        raise
    await _keep(database, party, key, response)
    return response


async def _take(
    database: Database, party: str, key: str, digest: bytes, clock: Clock
) -> Response | None:
    async with database.begin() as connection:
        taken = await connection.execute(
            text(
                "INSERT INTO kit.idempotent_answer (party, key, request_hash, asked_at)"
                " VALUES (:party, :key, :digest, :now)"
                # Taken up anew after a crash in mid-request: the answer never came.
                " ON CONFLICT (party, key) DO UPDATE SET asked_at = :now"
                " WHERE idempotent_answer.status IS NULL"
                " AND idempotent_answer.request_hash = :digest"
                " AND idempotent_answer.asked_at < CAST(:now AS timestamptz) - interval '1 minute'"
                " RETURNING 1"
            ),
            {"party": party, "key": key, "digest": digest, "now": clock()},
        )
        if taken.first() is not None:
            return None
        row = (
            await connection.execute(
                answers.select().where(answers.c.party == party, answers.c.key == key)
            )
        ).one()
    if bytes(row.request_hash) != digest:
        raise KeyReused(
            "this key belongs to another request",
            field="Idempotency-Key",
            value=key,
            rule="a new key for a new request",
        )
    if row.status is None:
        raise StillRunning(
            "the first request with this key is still running",
            field="Idempotency-Key",
            value=key,
            rule="ask again in a moment",
        )
    return Response(
        row.body,
        status_code=row.status,
        media_type=row.media_type,
        headers={"Idempotency-Replayed": "true"},
    )


async def _keep(database: Database, party: str, key: str, response: Response) -> None:
    async with database.begin() as connection:
        await connection.execute(
            answers.update()
            .where(answers.c.party == party, answers.c.key == key)
            .values(
                status=response.status_code,
                media_type=response.headers.get("content-type"),
                body=bytes(response.body),
            )
        )


async def _forget(database: Database, party: str, key: str) -> None:
    async with database.begin() as connection:
        await connection.execute(
            answers.delete().where(answers.c.party == party, answers.c.key == key)
        )
