"""What the hub's operator sees of contracts, beside a running hub or without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gridroam.office import open_core
from marketplace.contracts import flows
from marketplace.contracts.routes import ContractShown
from marketplace.negotiations import flows as negotiation_flows
from marketplace.negotiations.routes import HistoryShown
from marketplace.negotiations.store import SqlNegotiations
from roaming.party import PartyId

AT_ONCE = 1000


async def list_all(
    home: Path, database_url: str | None, party: PartyId | None, service: str | None
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with open_core(home, database_url) as parts:
        after: str | None = None
        while page := await flows.everything(parts.contracts, after, AT_ONCE):
            after = page[-1].contract_id
            found += [
                ContractShown.of(one, parts.clock()).model_dump(mode="json")
                for one in page
                if (party is None or one.concerns(party)) and service in (None, one.service)
            ]
    return found


async def show(home: Path, database_url: str | None, contract_id: str) -> dict[str, Any]:
    async with open_core(home, database_url) as parts:
        found = await flows.whosever(parts.contracts, contract_id)
        return ContractShown.of(found, parts.clock()).model_dump(mode="json")


async def history(home: Path, database_url: str | None, contract_id: str) -> dict[str, Any]:
    async with open_core(home, database_url) as parts:
        await flows.whosever(parts.contracts, contract_id)
        async with SqlNegotiations(parts.database).open() as desk:
            found = await negotiation_flows.history_of(desk, contract_id)
    return HistoryShown.of(contract_id, found).model_dump(mode="json")
