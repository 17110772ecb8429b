"""The composition root: the only place that knows every part, and ties them together.

All of it is ordinary calls. Arguments carry what the process owns; what is opened is closed, in the
reverse order, by the exit stack.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Protocol
from uuid import uuid4

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Receive, Scope, Send

from central_system.cards import routes as card_routes
from central_system.cards.store import SqlCards
from central_system.hub.client import Hub as CentralSystemHub
from central_system.hub.ports import Clients, Transport
from central_system.hub.store import SqlKeys
from central_system.hub.transports import InProcess, OverHttp
from central_system.ocpp16.conversation import Desk
from central_system.ocpp16.routes import Endpoint
from central_system.ocpp16.store import SqlJournal
from central_system.stations import routes as station_routes
from central_system.stations.store import SqlStations, SqlStatuses
from central_system.stations.tasks import StatusTeller
from central_system.transactions.store import SqlTransactions
from central_system.transactions.tasks import CdrSender
from clearinghouse.authorisation import routes as authorisation_routes
from clearinghouse.authorisation.client import HttpEvsps
from clearinghouse.authorisation.store import SqlCustomers as AuthorisationCustomers
from clearinghouse.authorisation.store import SqlDecisions, SqlPolicies
from clearinghouse.cdr_files import routes as cdr_file_routes
from clearinghouse.cdr_files import tasks as cdr_file_tasks
from clearinghouse.cdr_files.store import SqlFiles as SqlCdrFiles
from clearinghouse.cdrs import routes as cdr_routes
from clearinghouse.certificates import routes as certificate_routes
from clearinghouse.certificates.store import SqlCertificates
from clearinghouse.customers import routes as customer_routes
from clearinghouse.customers.store import SqlCustomers
from clearinghouse.disputes import routes as dispute_routes
from clearinghouse.disputes import tasks as dispute_tasks
from clearinghouse.disputes.store import SqlBooks as Disputes
from clearinghouse.exchange import routes as exchange_routes
from clearinghouse.exchange.store import SqlBooks as ExchangeRates
from clearinghouse.exposure import routes as exposure_routes
from clearinghouse.exposure.store import SqlBooks as SqlExposures
from clearinghouse.fees import routes as fee_routes
from clearinghouse.fees.store import SqlBooks as Fees
from clearinghouse.forwarding import routes as forwarding_routes
from clearinghouse.forwarding import wire as forwarding_wire
from clearinghouse.forwarding.client import HttpSender, senders_over
from clearinghouse.forwarding.preferences import SqlPreferences
from clearinghouse.forwarding.store import SqlOutbox
from clearinghouse.forwarding.tasks import Forwarder
from clearinghouse.invoicing import routes as invoicing_routes
from clearinghouse.invoicing.store import SqlBooks as Invoices
from clearinghouse.ledger import routes as ledger_routes
from clearinghouse.ledger.store import SqlLedger
from clearinghouse.meter_values import routes as meter_routes
from clearinghouse.meter_values.store import SqlKeys as SqlMeterKeys
from clearinghouse.netting import routes as netting_routes
from clearinghouse.netting.store import SqlBooks as Clearings
from clearinghouse.offline_lists import routes as offline_list_routes
from clearinghouse.offline_lists.store import SqlOfflineLists
from clearinghouse.payments import routes as payment_routes
from clearinghouse.payments import tasks as payment_tasks
from clearinghouse.payments.store import SqlBooks as SqlBank
from clearinghouse.periods import routes as period_routes
from clearinghouse.settlement import routes as settlement_routes
from clearinghouse.settlement.store import SqlBooks as Statements
from clearinghouse.settling import routes as settling_routes
from console import routes as console_routes
from console.feed import Feed
from gateway.calls import tasks as call_tasks
from gateway.calls.assertion import Assertions
from gateway.calls.guard import authenticate
from gateway.calls.model import Limits
from gateway.calls.routes import gateway
from gateway.calls.store import RefusalLog, SqlQuotas
from gateway.calls.upstream import Upstream
from gateway.health import routes as health_routes
from gateway.health import tasks as health_tasks
from gateway.health.store import SqlReports
from gateway.monitoring import routes as monitoring_routes
from gateway.monitoring.store import SqlRecords
from gateway.packs import routes as pack_routes
from gateway.packs.store import SqlBooks as SqlPacks
from gateway.signing.flows import Signing
from gateway.signing.store import EvidenceLog
from gateway.usage import routes as usage_routes
from gateway.usage.store import SqlMeter, SqlUsage
from gridroam import billing, bridging, clearing, reports
from gridroam.answers import (
    AgreementsForClearing,
    AgreementsForOfflineLists,
    BargainsForPacks,
    BusinessesForInvoicing,
    ClearingsForConsole,
    ClientsByHand,
    ContractsForGateway,
    DirectoryForConsole,
    EndpointsForHealth,
    EndpointsOfPartners,
    EvsesForClearing,
    KeyClients,
    MapForConsole,
    SpendingForAuthorisation,
    seen_by,
)
from gridroam.core import Core, core
from gridroam.doors import Document, doors
from gridroam.home import Home
from gridroam.negotiating import Negotiating
from gridroam.papers import AgreementsForFramework
from gridroam.pulse import PulseOfServices
from gridroam.service_apps import ServiceApp, operation_name, tie_in
from gridroam.services_seen import ServicesForConsole
from gridroam.settings import Settings
from gridroam.signatures import ClientsForSigning, KeysForGateway
from gridroam.topics import Topics
from kit import problem
from kit.access_token import Verifier
from kit.clock import utc_now
from kit.database import Database
from kit.tracing import Tracing
from marketplace.access import routes as access_routes
from marketplace.access import tasks as access_tasks
from marketplace.access.keys import KeyRing
from marketplace.access.model import KeyRules
from marketplace.access.token_server import TOKEN_PATH, TokenServer
from marketplace.applications import routes as application_routes
from marketplace.audit import routes as audit_routes
from marketplace.audit.store import SqlAudit
from marketplace.billing import routes as billing_routes
from marketplace.billing import tasks as billing_tasks
from marketplace.business import routes as business_routes
from marketplace.business import tasks as business_tasks
from marketplace.contracts import routes as contract_routes
from marketplace.contracts import tasks as contract_tasks
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
from search_evse.availability import routes as availability_routes
from search_evse.availability.store import SqlBoards
from search_evse.finder import routes as finder_routes
from search_evse.finder.store import SqlFinder
from search_evse.sites import routes as site_routes
from search_evse.sites.store import SqlBooks as Sites

AUDIENCE = "gridroam"
VERSION = "0.1.0"
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
# Without a token: where tokens come from, and where machines ask whether we live.
PUBLIC = (
    *("/oauth/", "/.well-known/", "/health/", "/openapi.json", "/docs", "/metrics"),
    *people_routes.PUBLIC,
)
# Who applies has no token yet, and shows what its application is known by.
OWN_DOORS = (application_routes.PATH, f"{application_routes.PATH}/")
# What an EVSP implements to be called by SOAP; its tools fetch it without a token.
DOCUMENTS = {
    "/services/clearing-house/wsdl/service-detail-record-forwarding.wsdl": Document(
        "show-forwarding-wsdl",
        "What an EVSP implements that wants its CDRs by SOAP (WSDL 1.1)",
        "text/xml",
        forwarding_wire.WSDL,
    )
}


@asynccontextmanager
async def hub(
    settings: Settings, home: Home, database_url: str, stopping: asyncio.Event | None = None
) -> AsyncIterator[ASGIApp]:
    """A running hub as one ASGI application, for as long as the block lasts.

    `stopping` is set when no more calls are taken: answers that would never end, end then.
    """
    async with AsyncExitStack() as stack:
        database = await Database.open(database_url, pool_size=12)
        stack.push_async_callback(database.close)
        parts = core(database, home.secret, hub=settings.hub_party, clock=utc_now)
        await parts.open_the_market()
        yield await _Hub(settings, parts, stack, stopping or asyncio.Event()).build()


class _Worker(Protocol):
    def start(self) -> None: ...

    async def close(self) -> None: ...


class _Hub:
    """One hub being put together; each method ties one part in."""

    def __init__(
        self, settings: Settings, parts: Core, stack: AsyncExitStack, stopping: asyncio.Event
    ) -> None:
        assert settings.public_url is not None
        self.stopping = stopping
        self.settings = settings
        self.parts = parts
        self.stack = stack
        self.registry = CollectorRegistry()
        self.reports = SqlReports(parts.database, uuid4().hex)
        self.url = settings.public_url
        self.verifier = Verifier(self.url, AUDIENCE, parts.clock)
        self.ring = KeyRing(parts.box, KeyRules())
        self.front: ASGIApp | None = None

    async def build(self) -> ASGIApp:
        parts, settings, stack = self.parts, self.settings, self.stack
        await stack.enter_async_context(
            contract_tasks.kept_current(
                parts.database,
                parts.book,
                parts.clock,
                # Often enough that one look that fails is no reason to refuse.
                idle_s=min(5.0, settings.oldest_contracts_s / 3),
            )
        )
        await stack.enter_async_context(
            business_tasks.kept_current(parts.database, parts.businesses)
        )
        await stack.enter_async_context(_running(parts.evses.keep_fresh()))
        main = FastAPI(
            title="Gridroam",
            description="Roaming marketplace and clearing house for electric-vehicle charging.",
            version=VERSION,
            openapi_url=None,
            docs_url=None,
            redoc_url=None,
            generate_unique_id_function=operation_name,
        )
        problem.install(main)
        await self._access(main)
        if "marketplace" in settings.only:
            await self._people(main)
            self._marketplace(main)
        services = self.services()
        door = await self._gateway(main, services) if "gateway" in settings.only else None
        console = await self._console() if "console" in settings.only else None
        points: ASGIApp | None = None
        if "central-system" in settings.only:
            points = await self._central_system(main)
        self.front = doors(
            url=self.url,
            main=authenticate(
                main,
                self.verifier,
                PUBLIC,
                new_request_id=lambda: uuid4().hex,
                own_doors=OWN_DOORS,
            ),
            described=main,
            services=services,
            gateway=door,
            console=console,
            central_system=points,
            registry=self.registry,
            database=parts.database,
            contracts_age_s=lambda: parts.book.age_s(parts.clock()),
            oldest_contracts_s=settings.oldest_contracts_s,
            parts=settings.only,
            documents=DOCUMENTS if "clearinghouse" in settings.only else {},
        )
        return self.front

    async def _people(self, main: FastAPI) -> None:
        parts, oidc = self.parts, self.settings.oidc
        provider: OpenIdProvider | None = None
        if oidc is not None:
            secret = oidc.secret_file.read_text().strip()
            registered = Registration(oidc.issuer, oidc.client_id, secret)
            provider = OpenIdProvider.open(registered, self.url)
            self.stack.push_async_callback(provider.close)
        tie_in(
            main,
            people_routes.router(
                SqlPeople(parts.database, parts.box),
                self.tokens,
                parts.checker,
                parts.box,
                parts.database,
                parts.clock,
                hub=parts.hub,
                provider=provider,
            ),
        )
        tie_in(main, audit_routes.router(SqlAudit(parts.database), hub=parts.hub))

    async def _access(self, main: FastAPI) -> None:
        parts = self.parts
        self.tokens = server = TokenServer(
            self.url,
            AUDIENCE,
            self.ring,
            self.verifier,
            mutual_tls=self.settings.sees_certificates,
        )
        await self.stack.enter_async_context(
            access_tasks.kept_current(
                parts.database,
                parts.access,
                ring=self.ring,
                verifier=self.verifier,
                box=parts.box,
                clock=parts.clock,
            )
        )
        tie_in(main, access_routes.router(parts.access, server, parts.checker, parts.clock))

    def _marketplace(self, main: FastAPI) -> None:
        parts = self.parts
        loopback = self.settings.allow_loopback_endpoints
        negotiating = Negotiating(
            parts,
            url=self.url,
            ring=self.ring,
            allow_loopback=loopback,
            runs_tasks=self.settings.runs_tasks,
        )
        self._start(negotiating)
        accounts = billing.house(parts)
        biller = billing_tasks.biller(accounts, billing_day=self.settings.billing_day)
        if self.settings.runs_tasks:
            self._start(biller, billing_tasks.reminders(accounts), reports.roller(parts))
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
                pulse=PulseOfServices(self.reports, parts.hub, parts.clock),
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
            roaming_routes.router(
                SqlMarkets(parts.database), parts.book, parts.clock, hub=parts.hub
            ),
            usage_routes.router(SqlUsage(parts.database), parts.clock),
            monitoring_routes.router(SqlRecords(parts.database), parts.clock),
            reports.router(parts),
            health_routes.router(
                EndpointsForHealth(parts.book), self.reports, parts.clock, hub=parts.hub
            ),
        )
        if self.settings.runs_tasks:
            self._start(
                partner_tasks.leave_taker(parts.partners, parts.clock),
                service_tasks.sunsets(parts.catalogue, parts.hub, parts.book, parts.clock),
            )

    def services(self) -> dict[str, ServiceApp]:
        """The hub's own services, of those parts that this process runs."""
        only = self.settings.only
        found: dict[str, ServiceApp] = {}
        if "search-evse" in only:
            found["search-evse"] = self._search_evse()
        if "marketplace" in only:
            found["contract-validation"] = self._contract_validation()
        if "clearinghouse" in only:
            found["clearing-house"] = self._clearing_house()
        return found

    def _contract_validation(self) -> ServiceApp:
        parts = self.parts
        desk = validation_routes.Desk(
            parts.book, parts.hub, KeysForGateway(self.ring), self.url, parts.clock
        )
        return ServiceApp(validation_routes.hot_routes(desk), [validation_routes.router(desk)])

    def _search_evse(self) -> ServiceApp:
        parts = self.parts
        return ServiceApp(
            [],
            [
                finder_routes.router(SqlFinder(parts.database)),
                site_routes.router(Sites(parts.database), parts.clock, parts.database),
                availability_routes.router(SqlBoards(parts.database), parts.clock),
            ],
        )

    def _clearing_house(self) -> ServiceApp:
        parts, stack = self.parts, self.stack
        database, clock = parts.database, parts.clock
        evses = EvsesForClearing(parts.evses)
        agreements = AgreementsForClearing(parts.book)
        endpoints = EndpointsOfPartners(parts.partners)
        loopback = self.settings.allow_loopback_endpoints
        evsps = HttpEvsps(endpoints, allow_loopback=loopback)
        stack.push_async_callback(evsps.close)
        policies = SqlPolicies(database)
        certificates = SqlCertificates(database)
        holds = clearing.holds(parts.hub)
        exposures = SqlExposures(database, holds)
        decisions = SqlDecisions(database, holds, clock)
        stack.push_async_callback(decisions.close)
        customers = AuthorisationCustomers(database)
        stack.push_async_callback(customers.close)
        meter_keys = SqlMeterKeys(database)
        intake = cdr_routes.Routes(clearing.intake(parts), database)
        stack.push_async_callback(intake.close)
        cdr_files = SqlCdrFiles(database)
        file_booker = cdr_file_tasks.booker(cdr_files, intake, clock)
        stack.push_async_callback(file_booker.close)
        outbox = SqlOutbox(database)
        preferences = SqlPreferences(database, parts.box, clock)
        disputes = Disputes(database)
        bank = SqlBank(database)
        settling = clearing.settling(parts)
        businesses = BusinessesForInvoicing(parts.businesses)
        if self.settings.runs_tasks:
            sender = HttpSender.open(allow_loopback=loopback)
            stack.push_async_callback(sender.close)
            file_booker.start()
            self._start(
                payment_tasks.reminders(bank, settling, businesses),
                dispute_tasks.deadlines(disputes, clock),
                Forwarder(
                    database=database,
                    outbox=outbox,
                    preferences=preferences,
                    endpoints=endpoints,
                    senders=senders_over(sender, allow_loopback=loopback),
                    clock=clock,
                ),
                clearing.watcher(exposures, parts, self.registry),
            )
        return ServiceApp(
            [
                *authorisation_routes.hot_routes(
                    evses=evses,
                    customers=customers,
                    agreements=agreements,
                    evsps=evsps,
                    policies=policies,
                    certificates=certificates,
                    decisions=decisions,
                    database=database,
                    clock=clock,
                ),
                *intake.hot_routes(),
            ],
            [
                authorisation_routes.router(
                    evses=evses,
                    customers=customers,
                    agreements=agreements,
                    certificates=certificates,
                    spending=SpendingForAuthorisation(database, holds, clock),
                    decisions=decisions,
                    policies=policies,
                    database=database,
                    clock=clock,
                ),
                certificate_routes.router(certificates, database=database, clock=clock),
                customer_routes.router(SqlCustomers(database), database, clock),
                offline_list_routes.router(
                    SqlOfflineLists(database),
                    AgreementsForOfflineLists(parts.book),
                    database,
                    clock,
                ),
                exposure_routes.router(exposures, clock),
                ledger_routes.router(SqlLedger(database)),
                dispute_routes.router(disputes, database=database, clock=clock, hub=parts.hub),
                period_routes.router(
                    clearing.periods(parts), database=database, clock=clock, hub=parts.hub
                ),
                netting_routes.router(
                    Clearings(database), database=database, clock=clock, hub=parts.hub
                ),
                fee_routes.router(Fees(database), clock),
                exchange_routes.router(ExchangeRates(database), clock),
                settling_routes.router(settling, database=database),
                settlement_routes.router(Statements(database), DirectoryForConsole(parts.partners)),
                meter_routes.router(meter_keys, evses, database, clock),
                invoicing_routes.router(Invoices(database), hub=parts.hub),
                payment_routes.router(
                    bank,
                    house=settling,
                    businesses=businesses,
                    invoices=Invoices(database),
                    directory=DirectoryForConsole(parts.partners),
                ),
                cdr_file_routes.router(cdr_files, clock, file_booker.wake),
                forwarding_routes.router(
                    outbox, preferences, database=database, clock=clock, allow_loopback=loopback
                ),
            ],
        )

    def _start(self, *workers: _Worker) -> None:
        """What works beside the calls until the hub closes; the last that began ends first."""
        for worker in workers:
            worker.start()
            self.stack.push_async_callback(worker.close)

    async def _gateway(self, main: FastAPI, services: Mapping[str, ServiceApp]) -> ASGIApp:
        parts, stack = self.parts, self.stack
        contracts = ContractsForGateway(parts.book)
        quotas = SqlQuotas(parts.database)
        stack.push_async_callback(quotas.close)
        meter = SqlMeter(parts.database)
        stack.push_async_callback(meter.close)
        refusals = RefusalLog(parts.database, hub=parts.hub)
        stack.push_async_callback(refusals.close)
        topics = Topics(
            parts,
            verifier=self.verifier,
            contracts=contracts,
            meter=meter,
            refusals=refusals,
            registry=self.registry,
            url=self.url,
            signer=KeysForGateway(self.ring),
            allow_loopback=self.settings.allow_loopback_endpoints,
            sends=self.settings.runs_tasks,
            oldest_contracts_s=self.settings.oldest_contracts_s,
            stopping=self.stopping,
        )
        self._start(topics)
        tie_in(main, topics.router)
        upstream = Upstream(allow_loopback=self.settings.allow_loopback_endpoints)
        stack.push_async_callback(upstream.close)
        self._start(
            call_tasks.prober(upstream, contracts.watched, parts.clock),
            health_tasks.teller(seen_by(upstream.endpoints), self.reports, parts.clock),
        )
        known = await asyncio.to_thread(bridging.faces)
        faces = {key: face for key, face in known.items() if key[0] in services}
        bridge, interfaces = bridging.bridge(parts, url=self.url, faces=faces)
        stack.push_async_callback(interfaces.close)
        await stack.enter_async_context(bridging.read_ahead(parts, contracts, interfaces))
        return gateway(
            verifier=self.verifier,
            catalogue=contracts,
            contracts=contracts,
            quotas=quotas,
            meter=meter,
            refusals=refusals,
            local={name: service.app for name, service in services.items()},
            operations={name: service.operations for name, service in services.items()},
            upstream=upstream,
            assertions=Assertions(self.url, KeysForGateway(self.ring)),
            clock=parts.clock,
            registry=self.registry,
            limits=Limits(
                streams=STREAMS,
                calls_per_second=self.settings.client_rate,
                oldest_contracts_s=self.settings.oldest_contracts_s,
            ),
            sandboxed=SANDBOXED,
            bridge=bridge,
            signing=Signing(
                self.url,
                ClientsForSigning(parts.access, parts.clock),
                KeysForGateway(self.ring),
                EvidenceLog(parts.database),
            ),
            tracing=self._tracing(),
        )

    def _tracing(self) -> Tracing | None:
        settings = self.settings
        if settings.otlp_endpoint is None:
            return None
        tracing = Tracing(settings.otlp_endpoint, ratio=settings.trace_ratio, version=VERSION)
        self.stack.push_async_callback(tracing.close)
        return tracing

    async def _central_system(self, main: FastAPI) -> ASGIApp:
        """An operator's own system that is shipped with the hub, and calls it like any other's."""
        parts, settings, stack = self.parts, self.settings, self.stack
        hub_url = settings.hub_url or self.url
        clients: Clients = KeyClients(parts.access, parts.clock)
        transport: Transport = InProcess(self._whole_hub)
        if settings.hub_url is not None:
            elsewhere = OverHttp(settings.hub_url)
            stack.push_async_callback(elsewhere.close)
            transport, clients = elsewhere, ClientsByHand()
        house = CentralSystemHub(
            transport,
            clients,
            SqlKeys(parts.database, parts.box, parts.clock),
            parts.clock,
            token_audience=hub_url + TOKEN_PATH,
        )
        stations = SqlStations(parts.database)
        charges = CdrSender(SqlTransactions(parts.database), house)
        teller = StatusTeller(SqlStatuses(parts.database), house)
        if settings.runs_tasks:
            self._start(charges, teller)
        cards = SqlCards(parts.database)
        journal = SqlJournal(parts.database, parts.vault, on_waiting=charges.wake)
        stack.push_async_callback(journal.close)
        endpoint = Endpoint(
            stations=stations,
            desk=Desk(parts.clock, cards, house, trust_station_time=settings.trust_station_time),
            journal=journal,
            clock=parts.clock,
        )
        endpoint.start()
        stack.push_async_callback(endpoint.close)
        tie_in(main, station_routes.router(stations, parts.clock), card_routes.router(cards))
        return endpoint

    async def _whole_hub(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.front is not None, "charge points come when all of the hub is there"
        await self.front(scope, receive, send)

    async def _console(self) -> ASGIApp:
        parts = self.parts
        feed = Feed(parts.database)
        feed.start()
        self.stack.push_async_callback(feed.close)
        await self.stack.enter_async_context(_running(_close_at(self.stopping, feed)))
        return console_routes.app(
            feed,
            MapForConsole(parts.evses),
            DirectoryForConsole(parts.partners),
            ClearingsForConsole(Clearings(parts.database)),
            ServicesForConsole(parts.book, SqlRecords(parts.database), self.reports, parts.clock),
        )


async def _close_at(stopping: asyncio.Event, feed: Feed) -> None:
    await stopping.wait()
    await feed.close()


@asynccontextmanager
async def _running(work: Any) -> AsyncIterator[None]:
    """Run a coroutine beside the block, and end it with the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
