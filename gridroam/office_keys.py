"""Keys of a central system that runs alone, from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from central_system.hub.client import own_key
from central_system.hub.store import SqlKeys
from gridroam.office import open_core
from roaming.party import PartyId


async def operator_key(
    home: Path, database_url: str | None, operator: PartyId, client_id: str | None
) -> dict[str, Any]:
    """The public key by which the central system here signs for `operator` at a hub elsewhere.

    With `client_id`, the name that the hub has given it is kept.
    """
    async with open_core(home, database_url) as parts:
        keys = SqlKeys(parts.database, parts.box, parts.clock)
        _, public, known = await own_key(keys, operator)
        if client_id is not None:
            await keys.name(operator, client_id)
            known = client_id
    return {"operator": operator, "jwks": {"keys": [public]}, "client_id": known}
