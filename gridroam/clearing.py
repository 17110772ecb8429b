"""How those parts of the clearing house are put together that need more than one of its stores."""

from __future__ import annotations

from datetime import datetime

from prometheus_client import CollectorRegistry

from clearinghouse.cdrs import credentials
from clearinghouse.cdrs import store as cdrs
from clearinghouse.cdrs.flows import Intake
from clearinghouse.exchange.store import SqlBooks as ExchangeRates
from clearinghouse.exposure.store import Holds
from clearinghouse.exposure.store import SqlBooks as Exposures
from clearinghouse.exposure.tasks import Watcher
from clearinghouse.fees import flows as fee_flows
from clearinghouse.fees.store import SqlBook as FeeBook
from clearinghouse.invoicing import flows as invoicing_flows
from clearinghouse.invoicing.store import SqlClosing
from clearinghouse.meter_values.flows import MeterChecks
from clearinghouse.meter_values.store import SqlKeys
from clearinghouse.periods.model import Month
from clearinghouse.periods.store import Closing
from clearinghouse.periods.store import SqlBooks as Periods
from clearinghouse.rating.model import Rater
from clearinghouse.settling.flows import House as SettlingHouse
from clearinghouse.settling.store import SqlBooks as Settlements
from gridroam.answers import (
    AgreementsForClearing,
    BusinessesForClearing,
    BusinessesForInvoicing,
    EvsesForClearing,
    RatesForSettling,
    TermsForSettling,
)
from gridroam.core import Core
from kit.database import Hot
from kit.metrics import Gauges
from roaming.party import PartyId


def intake(parts: Core) -> Intake:
    """What takes records in, and all that they are held against."""
    return Intake(
        books=cdrs.SqlBooks(parts.database),
        evses=EvsesForClearing(parts.evses),
        agreements=AgreementsForClearing(parts.book),
        customers=credentials.SqlCustomers(parts.database),
        authorisations=credentials.SqlAuthorisations(parts.database),
        meters=MeterChecks(SqlKeys(parts.database)),
        rater=Rater(),
        clock=parts.clock,
        businesses=BusinessesForClearing(parts.businesses),
    )


def periods(parts: Core) -> Periods:
    """Accounting periods, with what the house itself posts before one is closed."""
    return Periods(parts.database, closings=[fees(parts), invoicing(parts)])


def fees(parts: Core) -> Closing:
    """What the hub asks for a month, posted before its invoices are issued."""

    async def charge(connection: Hot, month: Month, now: datetime) -> None:
        await fee_flows.accrue_period(
            month,
            book=FeeBook(connection),
            businesses=BusinessesForClearing(parts.businesses),
            hub=parts.hub,
            now=now,
        )

    return charge


def invoicing(parts: Core) -> Closing:
    """The invoices of a month, issued in the transaction that closes it."""

    async def issue(connection: Hot, month: Month, now: datetime) -> None:
        await invoicing_flows.issue(
            month,
            now,
            hub=parts.hub,
            closing=SqlClosing(connection, parts.hub),
            businesses=BusinessesForInvoicing(parts.businesses),
        )

    return issue


def settling(parts: Core) -> SettlingHouse:
    """What makes payments of a closed month."""
    return SettlingHouse(
        books=Settlements(parts.database, parts.hub),
        terms=TermsForSettling(parts.book),
        rates=RatesForSettling(ExchangeRates(parts.database)),
        hub=parts.hub,
        clock=parts.clock,
    )


def holds(hub: PartyId) -> Holds:
    """What is held on charges that are not billed yet, beside what is booked of them."""
    return Holds(hub, cdrs.spent)


def watcher(exposures: Exposures, parts: Core, registry: CollectorRegistry) -> Watcher:
    """What looks after exposure, and tells how far each EVSP has come."""
    watcher = Watcher(exposures, parts.clock)
    Gauges(
        registry,
        "gridroam_exposure_percent",
        "How much of what it may owe an EVSP owes or holds; 100 and charges are refused.",
        ("evsp",),
        watcher.percents,
    )
    return watcher
