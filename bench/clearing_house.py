"""The clearing house's hot routes as the hub ties them, in a process of their own."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack, suppress

import uvloop

from bench.serving import DATABASE, POOL_SIZE, behind_a_door, server
from clearinghouse.authorisation import routes as authorisation_routes
from clearinghouse.authorisation.client import HttpEvsps
from clearinghouse.authorisation.store import SqlCustomers as AuthorisationCustomers
from clearinghouse.authorisation.store import SqlDecisions, SqlPolicies
from clearinghouse.cdrs import credentials
from clearinghouse.cdrs import routes as cdr_routes
from clearinghouse.cdrs import store as cdr_store
from clearinghouse.cdrs.flows import Intake
from clearinghouse.certificates.store import SqlCertificates
from clearinghouse.meter_values.flows import MeterChecks
from clearinghouse.meter_values.store import SqlKeys
from clearinghouse.rating.model import Rater
from gridroam import clearing
from gridroam.answers import (
    AgreementsForClearing,
    BusinessesForClearing,
    EndpointsOfPartners,
    EvsesForClearing,
)
from gridroam.core import core
from gridroam.service_apps import ServiceApp
from kit.clock import utc_now
from kit.database import Database
from marketplace.contracts import tasks as contract_tasks
from roaming.party import PartyId


def command(port: int) -> list[str]:
    return [sys.executable, "-m", "bench.clearing_house", str(port)]


async def _serve(port: int) -> None:
    async with AsyncExitStack() as stack:
        database = await Database.open(os.environ[DATABASE], pool_size=POOL_SIZE)
        stack.push_async_callback(database.close)
        parts = core(database, bytes(32), hub=PartyId("EU*GRD"), clock=utc_now)
        await stack.enter_async_context(
            contract_tasks.kept_current(database, parts.book, parts.clock)
        )
        fresh = asyncio.create_task(parts.evses.keep_fresh())
        stack.callback(fresh.cancel)
        evses, agreements = EvsesForClearing(parts.evses), AgreementsForClearing(parts.book)
        evsps = HttpEvsps(EndpointsOfPartners(parts.partners))
        stack.push_async_callback(evsps.close)
        policies = SqlPolicies(database)
        certificates = SqlCertificates(database)
        decisions = SqlDecisions(database, clearing.holds(parts.hub), utc_now)
        stack.push_async_callback(decisions.close)
        customers = AuthorisationCustomers(database)
        stack.push_async_callback(customers.close)
        cdrs = cdr_routes.Routes(
            Intake(
                books=cdr_store.SqlBooks(database),
                evses=evses,
                agreements=agreements,
                customers=credentials.SqlCustomers(database),
                authorisations=credentials.SqlAuthorisations(database),
                meters=MeterChecks(SqlKeys(database)),
                rater=Rater(),
                clock=utc_now,
                businesses=BusinessesForClearing(parts.businesses),
            ),
            database,
        )
        stack.push_async_callback(cdrs.close)
        routes = authorisation_routes.hot_routes(
            evses=evses,
            customers=customers,
            agreements=agreements,
            evsps=evsps,
            policies=policies,
            certificates=certificates,
            decisions=decisions,
            database=database,
            clock=utc_now,
        )
        service = ServiceApp([*routes, *cdrs.hot_routes()], [])
        await server(behind_a_door(service.app, "evse-operator"), port).serve()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        uvloop.run(_serve(int(sys.argv[1])))
