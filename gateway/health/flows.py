"""How a service's endpoints are, for those who may know."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from gateway.health.model import Health, NotItsProvider, ServiceNotFound, together
from gateway.health.ports import Catalogue, Reports
from roaming.party import PartyId


async def health_of(
    name: str,
    major: int,
    asking: PartyId,
    *,
    catalogue: Catalogue,
    reports: Reports,
    hub: PartyId,
    now: datetime,
) -> Sequence[Health]:
    """Of each endpoint in the catalogue. Raises ServiceNotFound, NotItsProvider."""
    listed = catalogue.endpoints(name, major)
    if listed is None:
        raise ServiceNotFound(
            f"no partner's service {name} version {major} is called at the gateway",
            field="name",
            value=name,
            rule="a service of the caller: GET /marketplace/services",
        )
    if asking not in (listed.provider, hub):
        raise NotItsProvider(
            f"{asking} is not the provider of {name}",
            field="name",
            value=name,
            rule="a service of the caller",
        )
    seen = await reports.read(name, major, now)
    return [together(place, seen.get(place.address, ())) for place in listed.places]
