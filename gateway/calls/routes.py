"""The door's face: `/services/{service}/…` in plain ASGI, since every call pays for what is here.

    /services/{service}/{path}        major version 1
    /services/{service}/v2/{path}     any other

Answers carry `X-Request-Id`, `X-Contract-Id`, `traceparent`, and `RateLimit`, `RateLimit-*` where
the contract has a quota. Every no is a problem document (RFC 9457).
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import structlog
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.calls.flows import Bridge, Door, Signing, meter_billable, pass_through
from gateway.calls.forwarded_headers import comes_bit_by_bit, units_of
from gateway.calls.holding import Pot
from gateway.calls.local import local_service
from gateway.calls.metrics import CallMetrics
from gateway.calls.model import Call, Left, Limits, Period, tightest
from gateway.calls.paths import Operations, continue_trace, split_path
from gateway.calls.ports import (
    Assertions,
    Catalogue,
    Contracts,
    Meter,
    Quotas,
    Refusals,
    Verifier,
    Words,
)
from gateway.calls.refusals import (
    BadPath,
    BodyTooLarge,
    CallerGone,
    CallRefused,
    HeadersTooLarge,
    OperationUnknown,
    OverLimit,
    ProviderBroken,
    ProviderResting,
    ProviderSilent,
    ProviderUnreachable,
    SignatureInvalid,
)
from gateway.calls.spans import span_of
from gateway.calls.upstream import Upstream
from kit.clock import Clock
from kit.encoding import encode_json
from kit.problem import MEDIA_TYPE, body_of, status_of
from kit.tracing import Tracing
from roaming.refusal import Malformed, Refusal

log = structlog.get_logger(__name__)

# Statuses of which kit/problem.py knows nothing; nginx's 499 is only ever seen in the usage.
_STATUS: Mapping[type[Refusal], int] = {
    HeadersTooLarge: 431,
    SignatureInvalid: 400,
    ProviderUnreachable: 502,
    ProviderBroken: 502,
    ProviderSilent: 504,
    ProviderResting: 503,
    CallerGone: 499,
}
# Of an answer that costs money, this much is held back until the call is in the books.
HELD_BYTES = 1024 * 1024


def gateway(
    *,
    verifier: Verifier,
    catalogue: Catalogue,
    contracts: Contracts,
    quotas: Quotas,
    meter: Meter,
    refusals: Refusals,
    local: Mapping[str, ASGIApp],
    operations: Mapping[str, Sequence[tuple[str, str, str]]],
    upstream: Upstream,
    assertions: Assertions,
    clock: Clock,
    registry: CollectorRegistry,
    limits: Limits | None = None,
    sandboxed: Collection[str] = (),
    bridge: Bridge | None = None,
    signing: Signing | None = None,
    tracing: Tracing | None = None,
) -> ASGIApp:
    """The door as an ASGI application. Without a `bridge` all speak as their providers do.

    `local` and `operations` go by service name, `name/v2` for a major version other than 1; an
    operation is (method, path template behind the service's name, name in contracts). `sandboxed`
    names those of `local` that a caller of the sandbox may read.
    """
    limits = limits or Limits()
    door = Door(
        verifier=verifier,
        catalogue=catalogue,
        contracts=contracts,
        quotas=quotas,
        meter=meter,
        refusals=refusals,
        local={_versioned(key): local_service(app) for key, app in local.items()},
        operations={_versioned(key): Operations(table) for key, table in operations.items()},
        remote=upstream.carry,
        assertions=assertions,
        limits=limits,
        lanes={},
        pot=Pot(limits.held_bytes, limits.held_bytes_of_one),
        sandboxed=frozenset(sandboxed),
        bridge=bridge,
        signing=signing,
    )
    entrances = {} if bridge is None else bridge.entrances
    metrics = CallMetrics(
        registry,
        contracts_age_s=lambda: contracts.age_s(clock()),
        forwards_under_way=lambda: upstream.under_way,
        endpoints=upstream.endpoints,
        repeats=lambda: upstream.repeats,
    )
    numbers = _Numbers()
    begins = None if tracing is None else tracing.begins

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        call = _call(scope, clock, numbers, begins)
        answer = _Answer(send, call, door, metrics)
        try:
            _fill(call, scope, door.limits)
            entrance = entrances.get(call.rest)
            if entrance is not None:
                answer.words = entrance.words(call, door) or _problem
            body = _Body(receive, call, door.limits.body_of(scope["path"]))
        except Refusal as refusal:
            refusing = entrances.get(call.rest)
            if refusing is not None:
                answer.words = refusing.words(call, door) or _problem
            await answer.refuse(refusal)
        else:
            try:
                if entrance is None:
                    await pass_through(call, body, answer, door)
                else:
                    await entrance.enter(call, body, answer, door)
            except Exception as error:
                log.error("call failed", request_id=call.request_id, exc_info=error)
                await answer.break_off()
        metrics.answered(call, time.perf_counter_ns() - call.started_ns)
        if tracing is not None and tracing.is_sampled(call.traceparent):
            tracing.tell(span_of(call, time.perf_counter_ns() - call.started_ns))

    return app


def _versioned(key: str) -> tuple[str, int]:
    name, _, major = key.partition("/v")
    return name, int(major) if major else 1


class _Numbers:
    """Request ids that sort by time and are given out once: time, process, number."""

    def __init__(self) -> None:
        self._process = secrets.token_hex(5)
        self._span = secrets.token_hex(3)
        self._counter = itertools.count(secrets.randbits(24))

    def next(self, at_s: float) -> tuple[str, str]:
        """A request id of 32 hexadecimal digits, which can be a trace id, and a span id of 16."""
        number = next(self._counter) & 0xFF_FFFF_FFFF
        return f"{int(at_s * 1000):012x}{self._process}{number:010x}", f"{self._span}{number:010x}"


def _call(
    scope: Scope, clock: Clock, numbers: _Numbers, begins: Callable[[str], bool] | None
) -> Call:
    started_ns = time.perf_counter_ns()
    at = clock()
    request_id, span_id = numbers.next(at.timestamp())
    given: list[tuple[bytes, bytes]] = scope["headers"]
    headers = dict(given)
    if len(headers) != len(given):
        headers = _joined(given)
    traceparent = continue_trace(headers.get(b"traceparent"), request_id, span_id, begins)
    if b"tracestate" in headers and traceparent.startswith(request_id, len("00-")):
        # It belongs to a trace that this call is no part of (W3C Trace Context, section 3.3).
        del headers[b"tracestate"]
    return Call(
        scope=scope,
        request_id=request_id,
        at=at,
        started_ns=started_ns,
        method=scope["method"],
        headers=headers,
        traceparent=traceparent,
    )


def _joined(given: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers that came more than once, in one line each (RFC 9110, section 5.3)."""
    joined: dict[bytes, bytes] = {}
    for name, value in given:
        joined[name] = joined[name] + b", " + value if name in joined else value
    return joined


def _fill(call: Call, scope: Scope, limits: Limits) -> None:
    """Where the call wants to go. Raises HeadersTooLarge, BadPath, OperationUnknown."""
    if call.method == "TRACE":
        # Its answer is what a provider was sent: the hub's word on the call among it, with which a
        # caller could go there itself, past contract and price.
        raise OperationUnknown(
            "TRACE is not passed on", field="method", value="TRACE", rule="any other method"
        )
    raw_path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    query: bytes = scope["query_string"]
    if len(raw_path) + len(query) > limits.path_bytes:
        raise HeadersTooLarge(
            "the path is too long",
            field="path",
            value=len(raw_path) + len(query),
            rule=f"at most {limits.path_bytes} bytes with the query",
        )
    call.service_name, call.major, call.rest = split_path(raw_path)
    headers = call.headers
    size = sum(map(len, headers)) + sum(map(len, headers.values()))
    if size > limits.header_bytes:
        raise HeadersTooLarge(
            "the headers are too long",
            field="headers",
            value=size,
            rule=f"at most {limits.header_bytes} bytes",
        )
    if query:
        text = query.decode("latin-1")
        if not text.isascii() or not text.isprintable() or " " in text or "#" in text:
            raise BadPath(
                "the query holds characters that must be percent-encoded",
                field="query",
                value=text[:200],
                rule="RFC 3986, section 3.4",
            )
        call.query = text


class _Body:
    """The caller's body as it comes, with its limit kept while it comes."""

    __slots__ = ("_call", "_length", "_more", "_most", "_receive", "empty", "receive")

    def __init__(self, receive: Receive, call: Call, most_bytes: int) -> None:
        self._receive = receive
        self._call = call
        self._most = most_bytes
        headers = call.headers
        announced = headers.get(b"content-length")
        self._length: int | None = None
        self.empty = False
        # uvicorn itself holds a body to its announced length; only an unannounced one is counted.
        self.receive: Receive = receive
        if announced is not None:
            if not announced.isdigit():
                raise Malformed("no length", field="Content-Length", rule="RFC 9110, section 8.6")
            self._length = call.bytes_in = int(announced)
            self.empty = self._length == 0
            if self._length > most_bytes:
                raise self._too_large(self._length)
        elif b"transfer-encoding" in headers:
            if headers[b"transfer-encoding"].strip().lower() != b"chunked":
                # Undone by nobody on the way, and told to nobody behind it.
                raise Malformed(
                    "the body is coded for its transfer",
                    field="Transfer-Encoding",
                    value=headers[b"transfer-encoding"].decode("latin-1"),
                    rule="chunked alone; Content-Encoding goes through as it is",
                )
            self.receive = self._counted
        else:
            self.empty = True
        self._more = not self.empty

    async def small(self, most_bytes: int) -> bytes | None:
        if self._length is None or self._length > most_bytes:
            return None
        piece = await self.read()
        if not self._more:
            return piece
        pieces = [piece]
        while piece := await self.read():
            pieces.append(piece)
        return b"".join(pieces)

    async def read(self) -> bytes:
        while self._more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise CallerGone("the caller went away before its body had come")
            self._more = message.get("more_body", False)
            piece: bytes = message.get("body", b"")
            if piece:
                return piece
        return b""

    async def gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _counted(self) -> Message:
        message = await self._receive()
        self._call.bytes_in += len(message.get("body", b""))
        if self._call.bytes_in > self._most:
            raise self._too_large(self._call.bytes_in)
        return message

    def _too_large(self, size: int) -> BodyTooLarge:
        return BodyTooLarge(
            f"the body has {size} bytes or more",
            field="body",
            value=size,
            rule=f"at most {self._most} bytes; send it in parts",
        )


class _Answer:
    """The answer on its way out: headers of our own added, bytes counted, costly ones held back."""

    __slots__ = (
        "_begun",
        "_call",
        "_deaf",
        "_door",
        "_held",
        "_held_bytes",
        "_metrics",
        "_send",
        "words",
    )

    def __init__(self, send: Send, call: Call, door: Door, metrics: CallMetrics) -> None:
        self._send = send
        self._call = call
        self._door = door
        self._metrics = metrics
        self._begun = False
        self._held: list[Message] | None = None
        self._held_bytes = 0
        self._deaf = False
        self.words: Words = _problem

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        call = self._call
        call.status = status
        headers.append((b"x-request-id", call.request_id.encode()))
        headers.append((b"traceparent", call.traceparent.encode()))
        grant = call.grant
        if grant is not None:
            headers.append((b"x-contract-id", grant.contract_id.encode()))
        if call.allowance is not None:
            headers += _rate_limit(call.allowance.lefts)
        message: Message = {"type": "http.response.start", "status": status, "headers": headers}
        if grant is not None and grant.priced and 200 <= status < 300:
            if grant.units_told:
                call.units = units_of(headers)
            self._held = [message]
            if comes_bit_by_bit(headers):
                # Whoever waits for what happens next cannot wait for the end of it.
                await self._let_go(self._held)
            return
        self._begun = True
        await self._send(message)

    async def write(self, chunk: bytes, *, more: bool) -> None:
        if self._deaf:
            return
        self._call.bytes_out += len(chunk)
        message = {"type": "http.response.body", "body": chunk, "more_body": more}
        if self._held is None:
            await self._send(message)
            return
        self._held.append(message)
        self._held_bytes += len(chunk)
        if not more or self._held_bytes > HELD_BYTES:
            await self._let_go(self._held)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self.start(message["status"], list(message.get("headers", ())))
        elif message["type"] == "http.response.body":
            await self.write(message.get("body", b""), more=message.get("more_body", False))

    async def refuse(self, refusal: Refusal) -> None:
        self._metrics.refused(refusal)
        status = next(
            (_STATUS[kind] for kind in type(refusal).__mro__ if kind in _STATUS), None
        ) or status_of(refusal)
        more: dict[str, Any] = {
            "field": refusal.field,
            "value": None if refusal.value is None else str(refusal.value)[:200],
            "rule": refusal.rule,
        }
        headers = []
        if isinstance(refusal, CallRefused):
            more["reason"] = refusal.reason.value
        if isinstance(refusal, OverLimit):
            more["violated-policies"] = [refusal.lefts[-1].period.value]
            headers += _rate_limit(refusal.lefts)
        if status == 401:
            # RFC 6750, section 3.1: what came without a token is told of no error.
            error = b', error="invalid_token"' if b"authorization" in self._call.headers else b""
            headers.append((b"www-authenticate", b'Bearer realm="gridroam"' + error))
        retry_after_s = getattr(refusal, "retry_after_s", None)
        if retry_after_s is not None:
            headers.append((b"retry-after", str(retry_after_s).encode()))
        await self._say_no(status, type(refusal).__name__, refusal.detail, headers, more)

    async def break_off(self) -> None:
        """Our own fault: a reference number, and nothing of what went wrong."""
        await self._say_no(
            500,
            "InternalError",
            "Something went wrong on our side. Tell us the request_id.",
            [],
            {},
        )

    async def _say_no(
        self,
        status: int,
        name: str,
        detail: str,
        headers: list[tuple[bytes, bytes]],
        more: Mapping[str, Any],
    ) -> None:
        """Where the answer has begun, leaving it unfinished makes the server close the connection:
        that is how the caller learns that it is not whole.
        """
        if self._begun:
            return
        self._held = None
        call = self._call
        call.bytes_out = 0
        call.outcome = status
        members = body_of(status, name, detail, request_id=call.request_id, **more)
        status, media_type, body = self.words(status, members)
        headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", str(len(body)).encode()),
            *headers,
        ]
        await self.start(status, headers)
        await self.write(body, more=False)

    async def _let_go(self, held: list[Message]) -> None:
        self._held = None
        try:
            if self._call.outcome < 400:
                await meter_billable(self._call, self._door)
        except Refusal as refusal:
            # Told here: raised through a framework it would come out as a bug of the service's.
            await self.refuse(refusal)
            self._deaf = True
            return
        self._begun = True
        for message in held:
            await self._send(message)


def _problem(status: int, members: Mapping[str, Any]) -> tuple[int, str, bytes]:
    return status, MEDIA_TYPE, encode_json(members)


def _rate_limit(lefts: Sequence[Left]) -> list[tuple[bytes, bytes]]:
    """What is left of each limit (draft-ietf-httpapi-ratelimit-headers-10), and of the tightest
    once more in the three plain fields of draft 06, which more clients know.

    A month has no one length and a pack no end, so their policies tell no window.
    """
    first = tightest(lefts)
    told = [
        (b"ratelimit-limit", b"%d" % first.limit),
        (b"ratelimit-remaining", b"%d" % first.remaining),
        (b"ratelimit-policy", b", ".join([_policy(one.period, one.limit) for one in lefts])),
        (b"ratelimit", ", ".join([_state(one) for one in lefts]).encode()),
    ]
    if first.reset_s is not None:
        told.append((b"ratelimit-reset", b"%d" % first.reset_s))
    return told


_WINDOWS = {Period.SECOND: ";w=1", Period.DAY: ";w=86400", Period.MONTH: "", Period.PACK: ""}


# Of a contract it is the same at every call.
@lru_cache(maxsize=1_000)
def _policy(period: Period, limit: int) -> bytes:
    return f'"{period}";q={limit}{_WINDOWS[period]}'.encode()


def _state(left: Left) -> str:
    period, _, remaining, reset_s = left
    reset = "" if reset_s is None else f";t={reset_s}"
    return f'"{period}";r={remaining}{reset}'
