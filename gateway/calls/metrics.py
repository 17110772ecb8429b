"""The gateway's figures: calls, how long they took, what was refused, how old the contracts are."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry

from gateway.calls.model import Call, CallRefused
from kit.metrics import Count, Counters, Gauge, Histograms, Spread
from roaming.refusal import Refusal

# Callers choose the path, so a service that the catalogue does not know has no label of its own.
UNKNOWN = "unknown"


class CallMetrics:
    """Counts with labels bound once for each service."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        contracts_age_s: Callable[[], float],
        forwards_under_way: Callable[[], float],
    ) -> None:
        self._calls = Counters(
            registry, "gridroam_calls", "Calls of services by outcome", ("service", "outcome")
        )
        self._seconds = Histograms(
            registry, "gridroam_call_seconds", "Time from call to answer", ("service",)
        )
        self._refusals = Counters(
            registry, "gridroam_calls_refused", "Calls refused, and why", ("reason",)
        )
        self._bound: dict[str, tuple[dict[int, Count], Spread]] = {}
        Gauge(
            registry,
            "gridroam_contracts_age_seconds",
            "Seconds since the contract table was last known to be current",
            contracts_age_s,
        )
        Gauge(
            registry,
            "gridroam_forwards_under_way",
            "Calls that are with a partner now",
            forwards_under_way,
        )

    def answered(self, call: Call, duration_ns: int) -> None:
        name = UNKNOWN if call.service is None else call.service.name
        bound = self._bound.get(name)
        if bound is None:
            bound = self._bound[name] = ({}, self._seconds.at(name))
        counts, spread = bound
        count = counts.get(call.status)
        if count is None:
            count = counts[call.status] = self._calls.at(name, str(call.status))
        count.value += 1
        spread.observe(duration_ns / 1e9)

    def refused(self, refusal: Refusal) -> None:
        reason = (
            refusal.reason.value if isinstance(refusal, CallRefused) else type(refusal).__name__
        )
        self._refusals.at(reason).value += 1
