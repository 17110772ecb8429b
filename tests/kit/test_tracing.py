"""Spans reach a real collector, under the ids that were passed on."""

from __future__ import annotations

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from kit.tracing import Told, Tracing
from tests.hub import Server, server

TRACE, OURS, ABOVE = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{ABOVE}-01"


def spans(collector: Server) -> list[Span]:
    found = []
    for one in collector.came:
        batch = ExportTraceServiceRequest.FromString(one.content)
        for resource in batch.resource_spans:
            for scope in resource.scope_spans:
                found += scope.spans
    return found


async def taken(_: web.BaseRequest) -> web.Response:
    return web.Response(content_type="application/x-protobuf")


async def test_a_span_is_told_under_the_ids_that_were_passed_on() -> None:
    async with server(taken) as collector:
        tracing = Tracing(collector.url)
        tracing.tell(
            Told("GET /evses", f"00-{TRACE}-{OURS}-01", PARENT, 1_000, 3_000, {"http.x": 7}, True)
        )
        tracing.tell(Told("GET /evses", f"00-{TRACE}-{OURS}-01", None, 1_000, 3_000))
        await tracing.close()
        below, begun = spans(collector)
    assert (below.trace_id.hex(), below.span_id.hex(), below.parent_span_id.hex()) == (
        *(TRACE, OURS, ABOVE),
    )
    assert (below.start_time_unix_nano, below.end_time_unix_nano) == (1_000, 3_000)
    assert below.attributes[0].value.int_value == 7
    assert below.status.code == 2
    assert (begun.trace_id.hex(), begun.parent_span_id.hex()) == (TRACE, "")


async def test_a_collector_that_is_away_holds_nobody_up() -> None:
    async with server(taken) as collector:
        url = collector.url
    tracing = Tracing(url)
    tracing.tell(Told("x", PARENT, None, 1, 2))
    await tracing.close()


@pytest.mark.parametrize(("ratio", "few", "many"), [(0.0, 0, 0), (0.1, 50, 150), (1.0, 1000, 1000)])
def test_so_many_of_the_traces_that_begin_here_are_told(ratio: float, few: int, many: int) -> None:
    tracing = Tracing("http://127.0.0.1:9", ratio=ratio)
    assert few <= sum(tracing.begins(f"{number:032x}") for number in range(1000)) <= many


def test_what_the_caller_said_of_its_trace_is_read() -> None:
    assert Tracing.is_sampled(PARENT)
    assert not Tracing.is_sampled(PARENT[:-2] + "00")
