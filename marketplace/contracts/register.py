"""The register of contracts, as reports and bills go through it, whoever's they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import or_, text

from kit.database import Database, Hot
from marketplace.contracts.model import Contract
from marketplace.contracts.rows import SELECT_CONTRACT, contracts, is_party, to_contracts
from marketplace.framework.model import Clauses
from marketplace.framework.store import clauses_table
from roaming.party import PartyId

_WITH_CLAUSES = SELECT_CONTRACT.add_columns(clauses_table.c.body.label("clauses")).outerjoin(
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
            query = query.where(is_party(party))
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
        return list(zip(to_contracts(rows), clauses, strict=True))

    async def asked_once(self, contract_ids: Collection[str]) -> Mapping[str, Decimal]:
        async with self._database.hot() as connection:
            return await asked_once(connection, contract_ids)


async def asked_once(connection: Hot, contract_ids: Collection[str]) -> Mapping[str, Decimal]:
    """Of contracts that took others' places: the most that any of those asked as a one-time price,
    in the same currency."""
    if not contract_ids:
        return {}
    rows = await connection.fetch(_ASKED_ONCE, list(contract_ids))
    return {row["contract_id"]: row["asked"] for row in rows}
