"""Whose a contract or a token is, and what the house has said to it: as the intake needs it.

The tables are those of customers and of authorisation.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from clearinghouse.authorisation.store import authorisation
from clearinghouse.cdrs.model import Authorisation, Customer
from clearinghouse.cdrs.rows import contract_of
from clearinghouse.customers.store import customer_contract, customer_token
from kit.database import Database
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from roaming.party import PartyId
from roaming.token import TokenUid


class SqlCustomers:
    """The customer contracts that EVSPs keep here, as the intake needs them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_contract(
        self, contract_ids: Collection[ContractId]
    ) -> Mapping[ContractId, Customer]:
        if not contract_ids:
            return {}
        async with self._database.pool.acquire() as connection:
            rows = await connection.fetch(
                "SELECT c.contract_id, c.evsp, c.status, c.valid_from, c.valid_until"
                f" FROM {customer_contract.fullname} AS c WHERE c.contract_id = ANY($1::text[])",
                list(contract_ids),
            )
        return {ContractId(row["contract_id"]): _to_customer(row) for row in rows}

    async def by_token(self, token_uids: Collection[TokenUid]) -> Mapping[TokenUid, Customer]:
        if not token_uids:
            return {}
        async with self._database.pool.acquire() as connection:
            rows = await connection.fetch(
                "SELECT t.uid, c.contract_id, c.evsp, c.status, c.valid_from, c.valid_until"
                f" FROM {customer_token.fullname} AS t"
                f" JOIN {customer_contract.fullname} AS c USING (contract_id)"
                " WHERE t.uid = ANY($1::text[])",
                list(token_uids),
            )
        return {TokenUid(row["uid"]): _to_customer(row) for row in rows}


class SqlAuthorisations:
    """What the house decided earlier, as the intake needs it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, authorisation_ids: Collection[str]) -> Mapping[str, Authorisation]:
        if not authorisation_ids:
            return {}
        async with self._database.pool.acquire() as connection:
            rows = await connection.fetch(
                "SELECT authorisation_id, operator, evse_id, evsp, contract_id, at, reason"
                f" FROM {authorisation.fullname} WHERE authorisation_id = ANY($1::text[])",
                list(authorisation_ids),
            )
        return {row["authorisation_id"]: _to_authorisation(row) for row in rows}


def _to_customer(row: Any) -> Customer:
    return Customer(
        contract_id=ContractId(row["contract_id"]),
        evsp=PartyId(row["evsp"]),
        blocked=row["status"] != "active",
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
    )


def _to_authorisation(row: Any) -> Authorisation:
    return Authorisation(
        authorisation_id=row["authorisation_id"],
        operator=PartyId(row["operator"]),
        evse_id=EvseId(row["evse_id"]),
        evsp=None if row["evsp"] is None else PartyId(row["evsp"]),
        contract_id=contract_of(row["contract_id"]),
        at=row["at"],
        accepted=row["reason"] is None,
    )
