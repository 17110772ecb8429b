"""How a service's endpoints are, for the catalogue: out of what the gateway's processes report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.health.flows import health_of
from gateway.health.ports import Reports
from gateway.health.routes import EndpointShown
from gridroam.gateway_answers import OneForHealth
from kit.clock import Clock
from marketplace.services.model import Service
from roaming.party import PartyId


class PulseOfServices:
    """Of endpoints that a partner has; what the hub answers itself has none."""

    def __init__(self, reports: Reports, hub: PartyId, clock: Clock) -> None:
        self._reports = reports
        self._hub = hub
        self._clock = clock

    async def of(self, service: Service) -> Sequence[dict[str, Any]]:
        one = OneForHealth(service)
        if one.endpoints(service.name, service.major) is None:
            return []
        found = await health_of(
            service.name,
            service.major,
            self._hub,
            catalogue=one,
            reports=self._reports,
            hub=self._hub,
            now=self._clock(),
        )
        return [EndpointShown.of(each).model_dump(mode="json") for each in found]
