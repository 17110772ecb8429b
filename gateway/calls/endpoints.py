"""Which of a service's endpoints a call goes to, and what is known of each in this process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from gateway.calls.breaker import Breaker, RetryBudget, Rules, State
from gateway.calls.connections import Address, Connections
from gateway.calls.failures import Failure
from gateway.calls.model import Service

# Where an endpoint tells how it is, calls try it again only so long after its rest: it has been
# asked by then, and no call need find out.
HEAD_START_S = 5.0
# Of so many answers the time is remembered, the last ones.
RECENT = 512
_MOST_SERVICES = 4096


@dataclass(frozen=True, slots=True)
class LastFailure:
    kind: Failure
    at: datetime


class Begun(Protocol):
    """A call, or a probe: when it began, by the clock and by the counter."""

    @property
    def at(self) -> datetime: ...

    @property
    def started_ns(self) -> int: ...


class Endpoint:
    """One address of one service. Another service's calls to the same address count there."""

    __slots__ = (
        "address",
        "breaker",
        "budget",
        "failures",
        "head_start_s",
        "last_failure",
        "number",
        "probed_well",
        "probes",
        "recent_us",
        "sandbox",
        "under_way",
        "url",
    )

    def __init__(self, url: str, address: Address, rules: Rules, *, sandbox: bool) -> None:
        self.url = url
        self.sandbox = sandbox
        self.number = 1
        self.address = address
        self.breaker = Breaker(rules)
        self.budget = RetryBudget()
        self.under_way = 0
        self.head_start_s = 0.0
        self.probes = 0
        self.probed_well = False
        self.failures = 0
        self.last_failure: LastFailure | None = None
        self.recent_us: deque[int] = deque(maxlen=RECENT)

    @property
    def place(self) -> str:
        """What it is called where its address is nobody's affair."""
        return f"{'sandbox' if self.sandbox else 'live'}-{self.number}"

    @property
    def calls(self) -> int:
        """Those of callers: probes are nobody's."""
        return self.breaker.calls - self.probes

    @property
    def well(self) -> bool:
        """Whether it answered the last time."""
        return self.breaker.in_a_row == 0 and (bool(self.recent_us) or self.probed_well)

    def lets_through(self, now_s: float) -> bool:
        """Whether a call may go there. A probe goes by the breaker alone."""
        return self.breaker.lets_through(now_s - self.head_start_s)

    @property
    def state(self) -> State:
        """As its breaker has it. One that has rested is half-open: the next call may try it."""
        breaker = self.breaker
        rested = breaker.state is State.OPEN and not breaker.rest_s(time.perf_counter_ns() / 1e9)
        return State.HALF_OPEN if rested else breaker.state


class Turn:
    """One call at an endpoint. What became of it is told once; what is told after is not heard."""

    __slots__ = ("_began_ns", "_endpoint", "_epoch", "open")
    _counts = 1

    def __init__(self, endpoint: Endpoint, began_ns: int) -> None:
        endpoint.under_way += 1
        self._endpoint = endpoint
        self._began_ns = began_ns
        self._epoch = endpoint.breaker.begin(began_ns / 1e9)
        self.open = True

    def heard(self) -> None:
        """The answer begins: how long that took."""
        took_ns = time.perf_counter_ns() - self._began_ns
        self._endpoint.recent_us.append(took_ns // 1000)

    def succeeded(self) -> None:
        if self.open:
            self.open = False
            endpoint = self._endpoint
            endpoint.under_way -= 1
            breaker = endpoint.breaker
            if breaker.in_a_row or breaker.state is not State.CLOSED:
                breaker.succeeded(self._epoch)

    def failed(self, kind: Failure, call: Begun) -> None:
        if self.open:
            self.open = False
            endpoint, now_ns = self._endpoint, time.perf_counter_ns()
            endpoint.under_way -= 1
            endpoint.failures += self._counts
            after = timedelta(microseconds=(now_ns - call.started_ns) // 1000)
            endpoint.last_failure = LastFailure(kind, call.at + after)
            endpoint.breaker.failed(self._epoch, now_ns / 1e9)

    def of_no_account(self) -> None:
        if self.open:
            self.open = False
            self._endpoint.under_way -= 1
            self._endpoint.breaker.of_no_account(self._epoch)


class ProbesTurn(Turn):
    """A turn that is nobody's call: it tells the breaker, and counts in nobody's figures."""

    __slots__ = ()
    _counts = 0

    def __init__(self, endpoint: Endpoint, began_ns: int) -> None:
        super().__init__(endpoint, began_ns)
        endpoint.probes += 1

    def succeeded(self) -> None:
        super().succeeded()
        self._endpoint.probed_well = True


class Choice:
    """Endpoints of one service that may stand for each other."""

    __slots__ = ("_turn", "all", "only")

    def __init__(self, endpoints: tuple[Endpoint, ...]) -> None:
        self.all = endpoints
        self.only = endpoints[0] if len(endpoints) == 1 else None
        self._turn = 0

    def take(
        self, now_s: float, *, repeatable: bool, tried: Collection[Endpoint] = ()
    ) -> Endpoint | None:
        """The healthy one with the least under way, by turns where that is the same.

        One that failed is tried again by a call that can be repeated elsewhere if it fails there
        too, or where no other is left. None: all of them rest, or were tried.
        """
        everyone = self.all
        best = resting = None
        self._turn += 1
        for number in range(len(everyone)):
            one = everyone[(self._turn + number) % len(everyone)]
            if one in tried:
                continue
            if one.breaker.state is State.CLOSED:
                if best is None or one.under_way < best.under_way:
                    best = one
            elif resting is None and one.lets_through(now_s):
                resting = one
        if best is None or (resting is not None and repeatable and not tried):
            return resting
        return best

    def rest_s(self, now_s: float) -> float:
        """How long until one of them is tried again."""
        return min((one.breaker.rest_s(now_s) for one in self.all), default=0.0)


@dataclass(slots=True)
class ServiceEndpoints:
    """`time_s`: what a call of it may take where its operation has no time of its own."""

    service: Service
    time_s: float
    live: Choice
    sandbox: Choice

    def __iter__(self) -> Iterator[Endpoint]:
        yield from self.live.all
        yield from self.sandbox.all


class Endpoints:
    """Of all services that were called. What is known of an address outlives other changes."""

    def __init__(self, rules: Rules, *, longest_s: float, allow_loopback: bool) -> None:
        self._rules = rules
        self._longest_s = longest_s
        self._allow_loopback = allow_loopback
        self._services: dict[tuple[str, int], ServiceEndpoints] = {}

    def __iter__(self) -> Iterator[ServiceEndpoints]:
        return iter(self._services.values())

    def of(self, service: Service, connections: Connections) -> ServiceEndpoints:
        known = self._services.get((service.name, service.major))
        if known is not None and known.service is service:
            return known
        return self._anew(service, known, connections)

    def clear(self) -> None:
        self._services.clear()

    def _anew(
        self, service: Service, known: ServiceEndpoints | None, connections: Connections
    ) -> ServiceEndpoints:
        before = {} if known is None else {(one.sandbox, one.url): one for one in known}
        if len(self._services) >= _MOST_SERVICES:
            self._services.clear()

        def choice(urls: tuple[str, ...], *, sandbox: bool) -> Choice:
            found = []
            for number, url in enumerate(dict.fromkeys(urls), 1):
                one = before.get((sandbox, url)) or self._endpoint(url, connections, sandbox)
                if one is not None:
                    one.number = number
                    one.head_start_s = 0.0 if service.health_path is None else HEAD_START_S
                    found.append(one)
            return Choice(tuple(found))

        live = () if service.endpoint is None else (service.endpoint, *service.further_endpoints)
        found = self._services[service.name, service.major] = ServiceEndpoints(
            service,
            min(service.timeout_s, self._longest_s),
            choice(live, sandbox=False),
            choice(service.sandbox_endpoints, sandbox=True),
        )
        return found

    def _endpoint(self, url: str, connections: Connections, sandbox: bool) -> Endpoint | None:
        """None: the address is none, or leads into the hub's own network."""
        try:
            address = Address.of(url, connections, allow_loopback=self._allow_loopback)
        except ValueError:
            return None
        return None if address.inside else Endpoint(url, address, self._rules, sandbox=sandbox)
