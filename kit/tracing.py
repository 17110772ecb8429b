"""Spans for OpenTelemetry: one a call, told when it is over, so that no call waits for it.

The trace goes through the hub by its `traceparent` whether spans are told or not. Where they are,
a span has just the id under which the next one down the line knows us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from zlib import crc32

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

_SAMPLED = 1
PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Told:
    """A span that is over. `traceparent` is the one that we passed on, `parent` the one that came,
    where one did (W3C Trace Context). Times in nanoseconds since 1970.
    """

    name: str
    traceparent: str
    parent: str | None
    began_ns: int
    ended_ns: int
    attributes: Mapping[str, str | int | bool] = field(default_factory=dict)
    failed: bool = False


class _GivenIds(IdGenerator):
    """The ids of a span are those that were passed on long before it is told."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0

    def generate_span_id(self) -> int:
        return self.span_id

    def generate_trace_id(self) -> int:
        return self.trace_id


class Tracing:
    """Spans to a collector, by OTLP over HTTP, in batches on a thread of their own.

    `ratio` of the traces that begin here are told; of those that come, whatever their caller said.
    Past a bound (OTEL_BSP_MAX_QUEUE_SIZE) spans are dropped rather than kept in memory.
    """

    def __init__(self, endpoint: str, *, ratio: float = 1.0, version: str = "") -> None:
        """`endpoint`: the collector's address, as http://127.0.0.1:4318."""
        self._below = int(ratio * 2**32)
        self._ids = _GivenIds()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource.create({"service.name": "gridroam", "service.version": version}),
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        exporter = OTLPSpanExporter(
            endpoint=endpoint.rstrip("/") + "/v1/traces", timeout=PATIENCE_S
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("gridroam")

    def begins(self, trace_id: str) -> bool:
        """Whether a trace that begins here is told."""
        return crc32(trace_id.encode()) < self._below

    @staticmethod
    def is_sampled(traceparent: str) -> bool:
        return bool(int(traceparent[-2:], 16) & _SAMPLED)

    def tell(self, told: Told) -> None:
        """Hand a span over. Never waits."""
        self._ids.trace_id, self._ids.span_id = _ids(told.traceparent)
        context = Context()
        if told.parent is not None:
            trace_id, span_id = _ids(told.parent)
            above = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(_SAMPLED))
            context = set_span_in_context(NonRecordingSpan(above), context)
        span = self._tracer.start_span(
            told.name,
            context,
            kind=SpanKind.SERVER,
            attributes=told.attributes,
            start_time=told.began_ns,
        )
        if told.failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(told.ended_ns)

    async def close(self) -> None:
        """Send what is left, as far as the collector takes it."""
        await asyncio.to_thread(self._provider.shutdown)


def _ids(traceparent: str) -> tuple[int, int]:
    _, trace_id, span_id, _ = traceparent.split("-")
    return int(trace_id, 16), int(span_id, 16)
