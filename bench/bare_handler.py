"""The least that an authorisation can be: one SELECT, one INSERT, each committed, and an answer."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from uuid import uuid4

import asyncpg
import msgspec
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from bench.asking import CALLER_HEADER
from bench.serving import DATABASE, POOL_SIZE, server
from kit.clock import utc_now

TABLE = """
CREATE TABLE public.bare_authorisation (authorisation_id text COLLATE "C" PRIMARY KEY,
  operator text NOT NULL, evse_id text NOT NULL, identification_type text NOT NULL,
  identification_value text NOT NULL, decided_at timestamptz NOT NULL, reason text,
  contract_id text, evsp text)
"""
_SELECT = """
SELECT c.contract_id, c.evsp, c.status, c.valid_from, c.valid_until
FROM clearinghouse.customer_token AS t
JOIN clearinghouse.customer_contract AS c ON c.contract_id = t.contract_id WHERE t.uid = $1
"""
_INSERT = """
INSERT INTO public.bare_authorisation VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""


class _Identification(msgspec.Struct):
    type: str
    value: str


class _Question(msgspec.Struct):
    evse_id: str
    identification: _Identification


class _Answer(msgspec.Struct):
    authorisation_id: str
    decision: str
    contract_id: str | None
    evsp: str | None
    valid_until: datetime | None


def _bare(pool: asyncpg.Pool[asyncpg.Record]) -> ASGIApp:
    questions = msgspec.json.Decoder(_Question)
    header = CALLER_HEADER.encode()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        operator = next(value for name, value in scope["headers"] if name == header).decode()
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        asked = questions.decode(body)
        found = await pool.fetchrow(_SELECT, asked.identification.value)
        now, decision_id = utc_now(), str(uuid4())
        contract = None if found is None else found["contract_id"]
        accepted = found is not None and found["status"] == "active"
        await pool.execute(
            _INSERT,
            decision_id,
            operator,
            asked.evse_id,
            asked.identification.type,
            asked.identification.value,
            now,
            None if accepted else "refused",
            contract,
            None if found is None else found["evsp"],
        )
        answer = msgspec.json.encode(
            _Answer(
                decision_id,
                "accepted" if accepted else "refused",
                contract,
                None if found is None else found["evsp"],
                None if found is None else found["valid_until"],
            )
        )
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(answer)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app


async def _serve_bare(port: int) -> None:
    async with asyncpg.create_pool(
        os.environ[DATABASE], min_size=POOL_SIZE, max_size=POOL_SIZE
    ) as pool:
        await server(_bare(pool), port).serve()


if __name__ == "__main__":
    uvloop.run(_serve_bare(int(sys.argv[1])))
