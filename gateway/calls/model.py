"""A service call on its way through the door: nouns and limits. Pure."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from roaming.party import PartyId


class Mode(StrEnum):
    """How a service minds its contracts."""

    OFF = "off"
    SHADOW = "shadow"
    ENFORCE = "enforce"


class Reason(StrEnum):
    """Why a call was refused. The names are told to callers and kept in the log."""

    NO_CONTRACT = "no-contract"
    CONTRACT_SUSPENDED = "contract-suspended"
    CONTRACT_EXPIRED = "contract-expired"
    CONTRACT_TERMINATED = "contract-terminated"
    NOT_YET_VALID = "not-yet-valid"
    PARTNER_SUSPENDED = "partner-suspended"
    PARTNER_LEFT = "partner-left"
    OPERATION_NOT_COVERED = "operation-not-covered"
    SERVICE_UNKNOWN = "service-unknown"
    SERVICE_SUSPENDED = "service-suspended"
    UNAUTHENTICATED = "unauthenticated"
    SCOPE_MISSING = "scope-missing"
    QUOTA_EXCEEDED = "quota-exceeded"
    PACK_USED_UP = "pack-used-up"
    RATE_EXCEEDED = "rate-exceeded"
    TOO_MANY_AT_ONCE = "too-many-at-once"
    SANDBOX_NOT_SERVED = "sandbox-not-served"
    CERTIFICATE_MISMATCH = "certificate-mismatch"
    SIGNATURE_INVALID = "signature-invalid"
    DUTY_MISSING = "duty-missing"


class Speaks(StrEnum):
    """What a service's own endpoint takes."""

    REST = "rest"
    SOAP = "soap"


@dataclass(frozen=True, slots=True)
class Service:
    """A catalogue entry. Not `remote`: it is answered by an application of the hub itself.

    `published` False: a draft, which nobody but its provider may try, or else `in_test`: whoever
    has a contract may try it, and its `testers` see it. `sunset`: when it ends, as was told at
    `deprecated_at`. `interface` is the digest of its interface document, `login` what its own
    server asks the hub for, sealed.
    `timeouts_s` go by operation; where it names none, `timeout_s` counts. So do `maps`.
    `operations`: what calls at its paths are called; None: `METHOD /path`. `turned`: what is said
    in a call of it is put into other words on the way. `aside`: it is carried otherwise than
    straight, being turned, or since its answers tell of its end. `headers`: further ones that are
    passed on both ways, by their names in lower case. `health_path`: where, below each
    endpoint, it tells whether it is well; None: it is not asked.
    """

    name: str
    major: int
    provider: PartyId
    endpoint: str | None = None
    mode: Mode = Mode.ENFORCE
    suspended: bool = False
    speaks: Speaks = Speaks.REST
    further_endpoints: tuple[str, ...] = ()
    sandbox_endpoints: tuple[str, ...] = ()
    published: bool = True
    interface: bytes | None = None
    timeout_s: float = 30.0
    timeouts_s: Mapping[str, float] = field(default_factory=dict)
    login: bytes | None = field(default=None, repr=False)
    operations: Naming | None = None
    maps: Mapping[str, ContentMap] = field(default_factory=dict)
    health_path: str | None = None
    headers: Mapping[bytes, str] = field(default_factory=dict)
    in_test: bool = False
    testers: frozenset[PartyId] = frozenset()
    deprecated_at: datetime | None = None
    sunset: datetime | None = None
    turned: bool = field(init=False)
    aside: bool = field(init=False)
    remote: bool = field(init=False)

    def __post_init__(self) -> None:
        # Asked for at every call, and so reckoned once.
        by_soap = self.speaks is Speaks.SOAP and self.interface is not None
        turned = by_soap or bool(self.maps)
        object.__setattr__(self, "turned", turned)
        object.__setattr__(self, "aside", turned or self.sunset is not None)
        # A draft may have a sandbox before it has anything live.
        outside = self.endpoint is not None or bool(self.sandbox_endpoints)
        object.__setattr__(self, "remote", outside)


class ContentMap(NamedTuple):
    """JMESPath expressions for what an operation is asked and what it answers; None: as it is."""

    request: str | None = None
    answer: str | None = None


class Naming(Protocol):
    def name(self, method: str, path: str) -> str | None:
        """The operation that is called so, or None."""
        ...


class Period(StrEnum):
    """What a limit counts in. Seconds, days and calendar months are those of UTC; a pack lasts
    until it is used up.
    """

    SECOND = "second"
    DAY = "day"
    MONTH = "month"
    PACK = "pack"

    def window(self, at: datetime) -> int:
        """The number of the second, day or month that a moment falls in."""
        return self.moment(at)[0]

    def reset_s(self, at: datetime) -> int | None:
        """Seconds until the next window, 1 at least; None: there will be none."""
        return self.moment(at)[1]

    def moment(self, at: datetime) -> tuple[int, int | None]:
        """The window and what is left of it, for who needs both at every call."""
        at_s = int(at.timestamp())
        if self is Period.MONTH:
            days = monthrange(at.year, at.month)[1] - at.day
            return at.year * 12 + at.month - 1, days * _DAY_S + _DAY_S - at_s % _DAY_S
        length_s = _LENGTHS_S.get(self)
        if length_s is None:
            return 0, None
        window, gone_s = divmod(at_s, length_s)
        return window, length_s - gone_s


_DAY_S = 86_400
_LENGTHS_S = {Period.SECOND: 1, Period.DAY: _DAY_S}


@dataclass(frozen=True, slots=True)
class Quota:
    """Calls that a contract allows; None is unlimited. `pack`: calls are bought in packs of so many
    before they are made. `limits` are those that there are, the shortest first.
    """

    per_day: int | None = None
    per_second: int | None = None
    per_month: int | None = None
    pack: int | None = None
    limits: tuple[tuple[Period, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        told = (
            (Period.SECOND, self.per_second),
            (Period.DAY, self.per_day),
            (Period.MONTH, self.per_month),
            (Period.PACK, self.pack),
        )
        object.__setattr__(self, "limits", tuple((p, most) for p, most in told if most is not None))

    def __bool__(self) -> bool:
        return bool(self.limits)


@dataclass(frozen=True, slots=True)
class Grant:
    """The contract that allows a call. `units_told`: its price goes by what the provider tells."""

    contract_id: str
    quota: Quota | None = None
    priced: bool = False
    units_told: bool = False


@dataclass(frozen=True, slots=True)
class Denial:
    """No contract allows the call. `contract_id` is the one that came closest, where there is."""

    reason: Reason
    contract_id: str | None = None


class Lease(NamedTuple):
    """One call taken from a quota: `window` is the day, month or second that it counts in."""

    contract_id: str
    period: Period
    window: int


class Left(NamedTuple):
    """What is left of one limit. `reset_s` None: nothing comes back by itself."""

    period: Period
    limit: int
    remaining: int
    reset_s: int | None


class Allowance(NamedTuple):
    """What is left of a quota after this call, limit by limit, for the RateLimit headers."""

    leases: tuple[Lease, ...]
    lefts: tuple[Left, ...]


def tightest(lefts: Sequence[Left]) -> Left:
    """The limit that will be used up first, as things stand."""
    return lefts[0] if len(lefts) == 1 else min(lefts, key=_REMAINING)


_REMAINING = attrgetter("remaining")


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """One refused call. `shadow`: it was let through, and would be refused under enforcement."""

    at: datetime
    caller: PartyId | None
    client_id: str | None
    service: str | None
    operation: str | None
    reason: Reason
    contract_id: str | None
    request_id: str
    shadow: bool = False
    sandbox: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one call, of one caller, and of all together. Sizes in bytes.

    `held_bytes`: of bodies that are read whole, in all and of one client.

    `streams` are paths at which a service of the hub itself reads a body as it comes, line by line,
    and holds none of it. One that ends in a slash stands for all that are one step below it.
    """

    path_bytes: int = 8 * 1024
    header_bytes: int = 32 * 1024
    body_bytes: int = 10 * 1024 * 1024
    stream_bytes: int = 4 * 1024 * 1024 * 1024
    streams: frozenset[str] = frozenset()
    held_bytes: int = 512 * 1024 * 1024
    held_bytes_of_one: int = 128 * 1024 * 1024
    calls_per_second: float = 2_000.0
    calls_at_once: int = 256
    oldest_contracts_s: float = 30.0

    def body_of(self, path: str) -> int:
        """The most bytes of a body that is sent to `path`."""
        above, slash, _ = path.rpartition("/")
        streamed = path in self.streams or above + slash in self.streams
        return self.stream_bytes if streamed else self.body_bytes


@dataclass(slots=True)
class Lane:
    """What one client may still do in this process: a token bucket, and calls under way."""

    tokens: float
    refilled_s: float
    under_way: int = 0

    def take(self, now_s: float, limits: Limits) -> Reason | None:
        """Let one call in, or say why not. Each call let in must `leave`."""
        rate = limits.calls_per_second
        tokens = min(rate, self.tokens + (now_s - self.refilled_s) * rate)
        self.refilled_s = now_s
        self.tokens = tokens
        if tokens < 1.0:
            return Reason.RATE_EXCEEDED
        if self.under_way >= limits.calls_at_once:
            return Reason.TOO_MANY_AT_ONCE
        self.tokens = tokens - 1.0
        self.under_way += 1
        return None

    def leave(self) -> None:
        self.under_way -= 1


class Held(Protocol):
    """As much of a process's memory as one call takes (`gateway/calls/holding.py`)."""

    def more(self, size: int) -> None: ...

    def let_go(self) -> None: ...


@dataclass(slots=True)
class Call:
    """One call, filled in step by step on its way through the pipeline.

    `scope` is the ASGI scope that it came with; only a service of this process ever sees it.
    `credentials` are what its provider knows it by, and never the caller's own.
    `sandbox`: it is tried out, so it goes to an endpoint that is there for that and counts nowhere.
    `alias` is `METHOD /path` where the operation has a name: a contract may say either.
    `parameters`: headers that are parameters of its operation, and passed on whatever their names.
    `holding`: what it keeps of bodies that are read whole.
    `outcome`: what its answer means, where `status` is how its caller's words put it: a fault in
    SOAP 1.1 has 500, whoever is to blame. Figures and bills go by it. 0: there is no difference.
    `metered_bytes_out`: of an answer that costs money, what had gone out when it was recorded.
    """

    scope: Mapping[str, Any]
    request_id: str
    at: datetime
    started_ns: int
    method: str
    headers: Mapping[bytes, bytes]
    traceparent: str
    service_name: str = ""
    major: int = 1
    rest: str = "/"
    query: str = ""
    party: PartyId | None = None
    client_id: str | None = None
    roles: frozenset[str] = frozenset()
    sandbox: bool = False
    person: str | None = None
    lane: Lane | None = None
    holding: Held | None = None
    service: Service | None = None
    operation: str | None = None
    alias: str | None = None
    grant: Grant | None = None
    allowance: Allowance | None = None
    credentials: str | None = field(default=None, repr=False)
    parameters: tuple[tuple[str, str], ...] = ()
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    units: int = 1
    outcome: int = 0
    metered: bool = False
    metered_bytes_out: int = 0

    @property
    def meant(self) -> int:
        """The status that it is recorded with."""
        return self.outcome or self.status

    @property
    def contract_id(self) -> str | None:
        return self.grant.contract_id if self.grant is not None else None

    @property
    def address(self) -> str:
        """Where it came from, as the server says; "" where it says nothing."""
        client = self.scope.get("client")
        return str(client[0]) if client else ""

    @property
    def root(self) -> str:
        """The path up to where the service's own paths begin."""
        version = "" if self.major == 1 else f"/v{self.major}"
        return f"/services/{self.service_name}{version}"
