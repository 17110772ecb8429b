"""Every table of every wing, registered by importing the stores that own them."""

from __future__ import annotations

import importlib

STORES = [
    "central_system.cards.store",
    "central_system.hub.store",
    "central_system.stations.store",
    "central_system.transactions.store",
    "clearinghouse.authorisation.store",
    "clearinghouse.cdr_files.store",
    "clearinghouse.cdrs.store",
    "clearinghouse.certificates.store",
    "clearinghouse.customers.store",
    "clearinghouse.exchange.store",
    "clearinghouse.fees.store",
    "clearinghouse.exposure.store",
    "clearinghouse.ledger.store",
    "clearinghouse.offline_lists.store",
    "clearinghouse.meter_values.store",
    "clearinghouse.periods.store",
    "clearinghouse.disputes.store",
    "gateway.calls.store",
    "gateway.packs.store",
    "gateway.health.store",
    "gateway.reports.store",
    "gateway.topics.outbox",
    "gateway.topics.store",
    "gateway.usage.store",
    "gateway.usage.sums",
    "kit.event_log",
    "kit.idempotency",
    "kit.personal_data",
    "search_evse.sites.store",
    "clearinghouse.netting.store",
    "clearinghouse.settling.store",
    "clearinghouse.forwarding.store",
    "clearinghouse.invoicing.store",
    "clearinghouse.payments.store",
    "marketplace.access.store",
    "marketplace.billing.store",
    "marketplace.applications.store",
    "marketplace.business.store",
    "marketplace.contracts.store",
    "marketplace.messages.store",
    "marketplace.framework.store",
    "marketplace.negotiations.store",
    "marketplace.offerings.store",
    "marketplace.partners.store",
    "marketplace.people.store",
    "marketplace.services.store",
]


def register() -> None:
    """Import all stores, so that `kit.database.metadata` knows every table."""
    for store in STORES:
        importlib.import_module(store)
