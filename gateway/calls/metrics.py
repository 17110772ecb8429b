"""The gateway's figures: calls, how long they took, what was refused, how old the contracts are."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry

from gateway.calls.breaker import State
from gateway.calls.endpoints import ServiceEndpoints
from gateway.calls.model import Call, Service
from gateway.calls.refusals import CallRefused
from kit.metrics import Count, Counters, Gauge, Gauges, Histograms, Spread
from roaming.refusal import Refusal

_STATES = (State.CLOSED, State.HALF_OPEN, State.OPEN)
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
        endpoints: Iterable[ServiceEndpoints],
        repeats: Callable[[], float],
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
        Gauges(
            registry,
            "gridroam_endpoint_state",
            "Whether calls go to an endpoint: 0 closed, 1 half-open, 2 open (it is let alone)",
            ("service", "endpoint"),
            lambda: {
                (_name(every.service), one.place): _STATES.index(one.state)
                for every in endpoints
                for one in every
            },
        )
        Gauge(
            registry,
            "gridroam_call_repeats",
            "Calls that were asked again, since this process began",
            repeats,
        )

    def answered(self, call: Call, duration_ns: int) -> None:
        name = UNKNOWN if call.service is None else call.service.name
        bound = self._bound.get(name)
        if bound is None:
            bound = self._bound[name] = ({}, self._seconds.at(name))
        counts, spread = bound
        count = counts.get(call.meant)
        if count is None:
            count = counts[call.meant] = self._calls.at(name, str(call.meant))
        count.value += 1
        spread.observe(duration_ns / 1e9)

    def refused(self, refusal: Refusal) -> None:
        reason = (
            refusal.reason.value if isinstance(refusal, CallRefused) else type(refusal).__name__
        )
        self._refusals.at(reason).value += 1


def _name(service: Service) -> str:
    return service.name if service.major == 1 else f"{service.name}/v{service.major}"
