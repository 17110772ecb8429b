"""The gateway put together: the way of all calls to services, and the topics."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from fastapi import FastAPI
from starlette.types import ASGIApp

from gateway.calls import tasks as call_tasks
from gateway.calls.assertion import Assertions
from gateway.calls.model import Limits
from gateway.calls.routes import gateway
from gateway.calls.store import RefusalLog, SqlQuotas
from gateway.calls.upstream import Upstream
from gateway.health import tasks as health_tasks
from gateway.signing.flows import Signing
from gateway.signing.store import EvidenceLog
from gateway.usage.store import SqlMeter
from gridroam import bridging
from gridroam.assembly import VERSION, Assembly
from gridroam.gateway_answers import ContractsForGateway, seen_by
from gridroam.service_apps import ServiceApp, tie_in
from gridroam.signatures import ClientsForSigning, KeysForGateway
from gridroam.topics import Topics
from kit.tracing import Tracing

# Where a list of any length may be sent in one call.
STREAMS = frozenset(
    {
        "/services/clearing-house/cdr-files/",
        "/services/clearing-house/cdrs/stream",
        "/services/clearing-house/customer-contracts/bulk",
    }
)
# What a caller of the sandbox may read of the hub's own services; all else in them is live.
SANDBOXED = ("contract-validation", "search-evse")


async def open_gateway(hub: Assembly, main: FastAPI, services: Mapping[str, ServiceApp]) -> ASGIApp:
    """What all calls to services pass; `services` are those of this process."""
    parts, stack = hub.parts, hub.stack
    contracts = ContractsForGateway(parts.book)
    quotas = SqlQuotas(parts.database)
    stack.push_async_callback(quotas.close)
    meter = SqlMeter(parts.database)
    stack.push_async_callback(meter.close)
    refusals = RefusalLog(parts.database, hub=parts.hub)
    stack.push_async_callback(refusals.close)
    topics = Topics(
        parts,
        verifier=hub.verifier,
        contracts=contracts,
        meter=meter,
        refusals=refusals,
        registry=hub.registry,
        url=hub.url,
        signer=KeysForGateway(hub.ring),
        allow_loopback=hub.settings.allow_loopback_endpoints,
        sends=hub.settings.runs_tasks,
        oldest_contracts_s=hub.settings.oldest_contracts_s,
        stopping=hub.stopping,
    )
    hub.start(topics)
    tie_in(main, topics.router)
    upstream = Upstream(allow_loopback=hub.settings.allow_loopback_endpoints)
    stack.push_async_callback(upstream.close)
    hub.start(
        call_tasks.prober(upstream, contracts.watched, parts.clock),
        health_tasks.teller(seen_by(upstream.endpoints), hub.reports, parts.clock),
    )
    known = await asyncio.to_thread(bridging.faces)
    faces = {key: face for key, face in known.items() if key[0] in services}
    bridge, interfaces = bridging.bridge(parts, url=hub.url, faces=faces)
    stack.push_async_callback(interfaces.close)
    await stack.enter_async_context(bridging.read_ahead(parts, contracts, interfaces))
    return gateway(
        verifier=hub.verifier,
        catalogue=contracts,
        contracts=contracts,
        quotas=quotas,
        meter=meter,
        refusals=refusals,
        local={name: service.app for name, service in services.items()},
        operations={name: service.operations for name, service in services.items()},
        upstream=upstream,
        assertions=Assertions(hub.url, KeysForGateway(hub.ring)),
        clock=parts.clock,
        registry=hub.registry,
        limits=Limits(
            streams=STREAMS,
            calls_per_second=hub.settings.client_rate,
            oldest_contracts_s=hub.settings.oldest_contracts_s,
        ),
        sandboxed=SANDBOXED,
        bridge=bridge,
        signing=Signing(
            hub.url,
            ClientsForSigning(parts.access, parts.clock),
            KeysForGateway(hub.ring),
            EvidenceLog(parts.database),
        ),
        tracing=_tracing(hub),
    )


def _tracing(hub: Assembly) -> Tracing | None:
    settings = hub.settings
    if settings.otlp_endpoint is None:
        return None
    tracing = Tracing(settings.otlp_endpoint, ratio=settings.trace_ratio, version=VERSION)
    hub.stack.push_async_callback(tracing.close)
    return tracing
