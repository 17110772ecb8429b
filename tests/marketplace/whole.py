"""A whole marketplace for tests: the hub's own books, with an OAuth 2 server and routes on them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import APIRouter

from gateway.health.store import SqlReports
from gridroam.core import Core, core
from gridroam.negotiating import Negotiating
from gridroam.papers import AgreementsForFramework
from gridroam.pulse import PulseOfServices
from gridroam.signatures import KeysForGateway
from kit.access_token import Verifier
from kit.clock import Clock
from kit.database import Database
from marketplace.access import routes as access_routes
from marketplace.access import tasks as access_tasks
from marketplace.access.keys import KeyRing
from marketplace.access.model import KeyRules
from marketplace.access.store import SqlAccess
from marketplace.access.token_server import TokenServer
from marketplace.applications import routes as application_routes
from marketplace.business import routes as business_routes
from marketplace.business import tasks as business_tasks
from marketplace.contracts import routes as contract_routes
from marketplace.contracts import tasks as contract_tasks
from marketplace.contracts.book import ContractBook
from marketplace.framework import routes as framework_routes
from marketplace.offerings import routes as offering_routes
from marketplace.partners import flows as partner_flows
from marketplace.partners import routes as partner_routes
from marketplace.partners.flows import Registration
from marketplace.partners.model import roles_of
from marketplace.roaming import routes as roaming_routes
from marketplace.roaming.store import SqlMarkets
from marketplace.services import routes as service_routes
from marketplace.services.reader import DocumentReader
from marketplace.validation import routes as validation_routes
from roaming.party import PartyId


@dataclass(frozen=True, slots=True)
class Marketplace:
    """One process of a hub, as far as it is a marketplace."""

    core: Core
    ring: KeyRing
    verifier: Verifier
    tokens: TokenServer
    routers: Sequence[APIRouter]
    validation: validation_routes.Desk

    @property
    def clock(self) -> Clock:
        return self.core.clock

    @property
    def database(self) -> Database:
        return self.core.database

    @property
    def access(self) -> SqlAccess:
        return self.core.access

    @property
    def book(self) -> ContractBook:
        return self.core.book

    async def add_partner(self, party: PartyId, roles: Sequence[str], name: str) -> Registration:
        """What the command line does, and this process sees it at once."""
        return await partner_flows.register(
            self.core.partners,
            party,
            roles_of(roles),
            name,
            hasher=self.core.checker,
            now=self.clock(),
            contracts=self.book,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.core.open_the_market()
        async with (
            access_tasks.kept_current(
                self.database,
                self.access,
                ring=self.ring,
                verifier=self.verifier,
                box=self.core.box,
                clock=self.clock,
            ),
            contract_tasks.kept_current(self.database, self.book, self.clock),
            business_tasks.kept_current(self.database, self.core.businesses),
        ):
            yield


def build(
    database: Database, *, clock: Clock, hub: PartyId, issuer: str, secret: bytes
) -> Marketplace:
    """One process; several on one database stand for several processes."""
    parts = core(database, secret, hub=hub, clock=clock)
    ring = KeyRing(parts.box, KeyRules())
    verifier = Verifier(issuer, issuer, clock)
    tokens = TokenServer(issuer, issuer, ring, verifier)
    # Without the workers: tests take their steps, at the time that they set.
    negotiating = Negotiating(parts, url=issuer, ring=ring, allow_loopback=True, runs_tasks=False)
    return Marketplace(
        core=parts,
        ring=ring,
        verifier=verifier,
        tokens=tokens,
        routers=(
            access_routes.router(parts.access, tokens, parts.checker, clock),
            partner_routes.router(
                parts.partners, database, clock, parts.book, hub=hub, allow_loopback=True
            ),
            application_routes.router(
                parts.applications,
                database,
                clock,
                hub=hub,
                checker=parts.checker,
                secrets=parts.application_secrets,
                memory=[parts.book, parts.businesses],
            ),
            business_routes.router(
                parts.business_files, parts.businesses, database, clock, hub=hub
            ),
            service_routes.router(
                parts.catalogue,
                database,
                clock,
                parts.book,
                reader=DocumentReader(),
                box=parts.box,
                pulse=PulseOfServices(SqlReports(database, "test"), hub, clock),
                hub=hub,
                allow_loopback=True,
            ),
            framework_routes.router(
                parts.framework, AgreementsForFramework(parts), database, clock, hub=hub
            ),
            offering_routes.router(parts.offerings, database, clock),
            contract_routes.router(parts.contracts, database, clock, parts.book),
            *negotiating.routers,
            roaming_routes.router(SqlMarkets(database), parts.book, clock, hub=hub),
        ),
        validation=validation_routes.Desk(parts.book, hub, KeysForGateway(ring), issuer, clock),
    )
