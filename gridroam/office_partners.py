"""What the hub's operator sees and tells of partners from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gridroam.office import content_of, open_core
from marketplace.business import flows as business_flows
from marketplace.business.routes import DetailsShown, read_told
from marketplace.partners import flows as partner_flows
from marketplace.partners.routes import PartnerShown
from roaming.party import PartyId


async def partner_details(
    home: Path, database_url: str | None, party: PartyId, file: Path | None
) -> dict[str, Any]:
    """A party's business details, after those of `file` are kept."""
    told = None if file is None else read_told(await content_of(file))
    async with open_core(home, database_url) as parts:
        hub, now = parts.hub, parts.clock()
        if told is None:
            found = await business_flows.read(parts.business_files, hub, party, now, hub=hub)
        else:
            found = await business_flows.tell(
                parts.business_files,
                hub,
                told.of(party, now),
                hub=hub,
                memory=parts.businesses,
                now=now,
            )
    return DetailsShown.of(found).model_dump(mode="json")


async def list_partners(home: Path, database_url: str | None) -> list[dict[str, Any]]:
    """Every partner as JSON: party, name, roles, status, registered_at."""
    found: list[dict[str, Any]] = []
    async with open_core(home, database_url) as parts:
        after: PartyId | None = None
        while page := await partner_flows.page(parts.partners, after, 1000):
            now = parts.clock()
            found += [PartnerShown.of(one, now).model_dump() for one in page]
            after = page[-1].party
    return found
