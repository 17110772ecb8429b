"""What statements are made of, out of the ledger and the records behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from clearinghouse.cdrs.store import cdrs
from clearinghouse.ledger.store import entries, postings
from clearinghouse.netting.model import Period
from clearinghouse.netting.store import SqlBook as NettingBook
from clearinghouse.settlement.model import Item
from clearinghouse.settlement.ports import After
from kit.database import Database, Hot
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from roaming.party import PartyId

# A party that is its own counterparty is on both sides; its charge is listed once, as a claim.
_ITEMS = f"""
SELECT e.posting_id, e.value_at, e.counterparty, p.kind, p.operator, p.cdr_id, e.amount_minor,
  c.ended_at, c.evse_id, c.contract_id, c.energy_wh,
  c.vat_minor * CASE WHEN e.account = 'charge-receivable' THEN 1 ELSE -1 END
    * CASE WHEN p.kind = 'dispute-opened' THEN -1 ELSE 1 END AS vat_minor
FROM {entries.fullname} AS e JOIN {postings.fullname} AS p USING (posting_id)
JOIN {cdrs.fullname} AS c ON c.operator = p.operator AND c.cdr_id = p.cdr_id
  AND c.state <> 'rejected'
WHERE e.party = $1 AND e.currency = $2 AND e.value_at >= $3 AND e.value_at < $4
  AND e.account IN ('charge-receivable', 'charge-payable')
  AND (e.party <> e.counterparty OR e.account = 'charge-receivable')
  AND ($5::timestamptz IS NULL OR (e.value_at, e.posting_id) > ($5, $6::bigint))
ORDER BY e.value_at, e.posting_id LIMIT $7
"""


class SqlBook(NettingBook):
    """The ledger as netting reads it, and the charges one by one."""

    def __init__(self, connection: Hot) -> None:
        super().__init__(connection)
        self._reading = connection

    async def items(
        self, party: PartyId, period: Period, currency: str, *, after: After | None, limit: int
    ) -> Sequence[Item]:
        rows = await self._reading.fetch(
            _ITEMS,
            party,
            currency,
            period.start,
            period.end,
            None if after is None else after.value_at,
            None if after is None else after.position,
            limit,
        )
        return [
            Item(
                position=row["posting_id"],
                value_at=row["value_at"],
                kind=row["kind"],
                ended_at=row["ended_at"],
                counterparty=PartyId(row["counterparty"]),
                operator=PartyId(row["operator"]),
                cdr_id=row["cdr_id"],
                evse_id=EvseId(row["evse_id"]),
                contract_id=None if row["contract_id"] is None else ContractId(row["contract_id"]),
                energy_wh=row["energy_wh"],
                amount_minor=row["amount_minor"],
                vat_minor=row["vat_minor"],
            )
            for row in rows
        ]


class SqlBooks:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def read(self) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            yield SqlBook(connection)
