"""The clearing house put together: one service, and what works beside its calls."""

from __future__ import annotations

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
from gridroam import clearing
from gridroam.answers import (
    AgreementsForClearing,
    AgreementsForOfflineLists,
    BusinessesForInvoicing,
    DirectoryForConsole,
    EndpointsOfPartners,
    EvsesForClearing,
    SpendingForAuthorisation,
)
from gridroam.assembly import Assembly
from gridroam.doors import Document
from gridroam.service_apps import ServiceApp

# What an EVSP implements to be called by SOAP; its tools fetch it without a token.
DOCUMENTS = {
    "/services/clearing-house/wsdl/service-detail-record-forwarding.wsdl": Document(
        "show-forwarding-wsdl",
        "What an EVSP implements that wants its CDRs by SOAP (WSDL 1.1)",
        "text/xml",
        forwarding_wire.WSDL,
    )
}


def clearing_house(hub: Assembly) -> ServiceApp:
    """Authorisations, CDRs, and all that is owed for them."""
    parts, stack = hub.parts, hub.stack
    database, clock = parts.database, parts.clock
    evses = EvsesForClearing(parts.evses)
    agreements = AgreementsForClearing(parts.book)
    endpoints = EndpointsOfPartners(parts.partners)
    loopback = hub.settings.allow_loopback_endpoints
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
    if hub.settings.runs_tasks:
        sender = HttpSender.open(allow_loopback=loopback)
        stack.push_async_callback(sender.close)
        file_booker.start()
        hub.start(
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
            clearing.watcher(exposures, parts, hub.registry),
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
