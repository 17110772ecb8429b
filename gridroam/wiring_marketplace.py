"""The marketplace put together: who may log in, the market itself, Contract Validation."""

from __future__ import annotations

from fastapi import FastAPI

from gateway.health import routes as health_routes
from gateway.monitoring import routes as monitoring_routes
from gateway.monitoring.store import SqlRecords
from gateway.packs import routes as pack_routes
from gateway.packs.store import SqlBooks as SqlPacks
from gateway.usage import routes as usage_routes
from gateway.usage.store import SqlUsage
from gridroam import billing, reports
from gridroam.assembly import AUDIENCE, Assembly
from gridroam.gateway_answers import BargainsForPacks, EndpointsForHealth
from gridroam.negotiating import Negotiating
from gridroam.papers import AgreementsForFramework
from gridroam.pulse import PulseOfServices
from gridroam.service_apps import ServiceApp, tie_in
from gridroam.signatures import KeysForGateway
from marketplace.access import routes as access_routes
from marketplace.access import tasks as access_tasks
from marketplace.access.token_server import TokenServer
from marketplace.applications import routes as application_routes
from marketplace.audit import routes as audit_routes
from marketplace.audit.store import SqlAudit
from marketplace.billing import routes as billing_routes
from marketplace.billing import tasks as billing_tasks
from marketplace.business import routes as business_routes
from marketplace.contracts import routes as contract_routes
from marketplace.framework import routes as framework_routes
from marketplace.offerings import routes as offering_routes
from marketplace.partners import routes as partner_routes
from marketplace.partners import tasks as partner_tasks
from marketplace.people import routes as people_routes
from marketplace.people.oidc import OpenIdProvider, Registration
from marketplace.people.store import SqlPeople
from marketplace.roaming import routes as roaming_routes
from marketplace.roaming.store import SqlMarkets
from marketplace.services import routes as service_routes
from marketplace.services import tasks as service_tasks
from marketplace.services.reader import DocumentReader
from marketplace.validation import routes as validation_routes


async def access(hub: Assembly, main: FastAPI) -> TokenServer:
    """Tokens, and who may have them; every process has that, whatever parts it runs."""
    parts = hub.parts
    server = TokenServer(
        hub.url,
        AUDIENCE,
        hub.ring,
        hub.verifier,
        mutual_tls=hub.settings.sees_certificates,
    )
    await hub.stack.enter_async_context(
        access_tasks.kept_current(
            parts.database,
            parts.access,
            ring=hub.ring,
            verifier=hub.verifier,
            box=parts.box,
            clock=parts.clock,
        )
    )
    tie_in(main, access_routes.router(parts.access, server, parts.checker, parts.clock))
    return server


def people(hub: Assembly, main: FastAPI, tokens: TokenServer) -> None:
    """People who log in by themselves, and what is kept of who did what."""
    parts, oidc = hub.parts, hub.settings.oidc
    provider: OpenIdProvider | None = None
    if oidc is not None:
        secret = oidc.secret_file.read_text().strip()
        registered = Registration(oidc.issuer, oidc.client_id, secret)
        provider = OpenIdProvider.open(registered, hub.url)
        hub.stack.push_async_callback(provider.close)
    tie_in(
        main,
        people_routes.router(
            SqlPeople(parts.database, parts.box),
            tokens,
            parts.checker,
            parts.box,
            parts.database,
            parts.clock,
            hub=parts.hub,
            provider=provider,
        ),
        audit_routes.router(SqlAudit(parts.database), hub=parts.hub),
    )


def marketplace(hub: Assembly, main: FastAPI) -> None:
    """Partners, services, offerings, contracts and what comes of them."""
    parts = hub.parts
    loopback = hub.settings.allow_loopback_endpoints
    negotiating = Negotiating(
        parts,
        url=hub.url,
        ring=hub.ring,
        allow_loopback=loopback,
        runs_tasks=hub.settings.runs_tasks,
    )
    hub.start(negotiating)
    accounts = billing.house(parts)
    biller = billing_tasks.biller(accounts, billing_day=hub.settings.billing_day)
    if hub.settings.runs_tasks:
        hub.start(biller, billing_tasks.reminders(accounts), reports.roller(parts))
    tie_in(
        main,
        *negotiating.routers,
        partner_routes.router(
            parts.partners,
            parts.database,
            parts.clock,
            parts.book,
            hub=parts.hub,
            allow_loopback=loopback,
        ),
        application_routes.router(
            parts.applications,
            parts.database,
            parts.clock,
            hub=parts.hub,
            checker=parts.checker,
            secrets=parts.application_secrets,
            memory=[parts.book, parts.businesses],
        ),
        business_routes.router(
            parts.business_files,
            parts.businesses,
            parts.database,
            parts.clock,
            hub=parts.hub,
        ),
        service_routes.router(
            parts.catalogue,
            parts.database,
            parts.clock,
            parts.book,
            reader=DocumentReader(),
            box=parts.box,
            pulse=PulseOfServices(hub.reports, parts.hub, parts.clock),
            hub=parts.hub,
            allow_loopback=loopback,
        ),
        framework_routes.router(
            parts.framework,
            AgreementsForFramework(parts),
            parts.database,
            parts.clock,
            hub=parts.hub,
        ),
        offering_routes.router(parts.offerings, parts.database, parts.clock),
        # Before the contracts' own routes, which take any word behind a contract for an action.
        pack_routes.router(
            BargainsForPacks(parts.contracts, parts.clock),
            SqlPacks(parts.database),
            parts.database,
            parts.clock,
        ),
        contract_routes.router(parts.contracts, parts.database, parts.clock, parts.book),
        billing_routes.router(accounts, parts.database, biller.wake),
        roaming_routes.router(SqlMarkets(parts.database), parts.book, parts.clock, hub=parts.hub),
        usage_routes.router(SqlUsage(parts.database), parts.clock),
        monitoring_routes.router(SqlRecords(parts.database), parts.clock),
        reports.router(parts),
        health_routes.router(
            EndpointsForHealth(parts.book), hub.reports, parts.clock, hub=parts.hub
        ),
    )
    if hub.settings.runs_tasks:
        hub.start(
            partner_tasks.leave_taker(parts.partners, parts.clock),
            service_tasks.sunsets(parts.catalogue, parts.hub, parts.book, parts.clock),
        )


def contract_validation(hub: Assembly) -> ServiceApp:
    """The service that says whether a contract covers a call."""
    parts = hub.parts
    desk = validation_routes.Desk(
        parts.book, parts.hub, KeysForGateway(hub.ring), hub.url, parts.clock
    )
    return ServiceApp(validation_routes.hot_routes(desk), [validation_routes.router(desk)])
