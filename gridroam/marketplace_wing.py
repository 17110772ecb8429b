"""The marketplace, wired: its stores, its memory, its OAuth 2 server and its routes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.access_token import Verifier
from kit.clock import Clock
from kit.database import Database
from kit.secrets import SecretBox, SecretChecker
from marketplace.access import routes as access_routes
from marketplace.access import tasks as access_tasks
from marketplace.access.keys import KeyRing
from marketplace.access.model import TOKEN_LIFETIME, KeyRules
from marketplace.access.store import SqlAccess, add_client_secret, end_tokens
from marketplace.access.token_server import TokenServer
from marketplace.contracts import flows as contract_flows
from marketplace.contracts import routes as contract_routes
from marketplace.contracts import tasks as contract_tasks
from marketplace.contracts.book import ContractBook
from marketplace.contracts.store import SqlBookSource, SqlContracts, SqlDesk
from marketplace.offerings import flows as offering_flows
from marketplace.offerings import routes as offering_routes
from marketplace.offerings.store import SqlOfferings
from marketplace.partners import flows as partner_flows
from marketplace.partners import routes as partner_routes
from marketplace.partners.flows import Registration
from marketplace.partners.model import Partner, roles_of
from marketplace.partners.store import Joining, SqlPartners
from marketplace.services import flows as service_flows
from marketplace.services import routes as service_routes
from marketplace.services.store import SqlCatalogue
from roaming.party import PartyId


@dataclass(frozen=True, slots=True)
class Marketplace:
    """The wing as the roof uses it. `routers` are for `/`, `validation` for its service app."""

    database: Database
    clock: Clock
    hub: PartyId
    box: SecretBox
    checker: SecretChecker
    partners: SqlPartners
    access: SqlAccess
    catalogue: SqlCatalogue
    offerings: SqlOfferings
    contracts: SqlContracts
    book: ContractBook
    ring: KeyRing
    verifier: Verifier
    tokens: TokenServer
    routers: Sequence[APIRouter]
    validation: APIRouter

    async def add_partner(self, party: PartyId, roles: Sequence[str], name: str) -> Registration:
        """Register a party, or bring it up to date; a further client secret each time."""
        return await partner_flows.register(
            self.partners,
            party,
            roles_of(roles),
            name,
            hasher=self.checker,
            now=self.clock(),
            contracts=self.book,
        )

    async def ensure_hub_services(self) -> None:
        """The hub's services and their public offerings are there after this; at every start."""
        now = self.clock()
        await service_flows.ensure_hub_services(self.catalogue, self.hub, memory=self.book, now=now)
        await offering_flows.ensure_hub_offerings(self.offerings, self.hub, now)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Inside the block contracts, keys and revocations are loaded and kept current."""
        await self.ensure_hub_services()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(
                access_tasks.kept_current(
                    self.database,
                    self.access,
                    ring=self.ring,
                    verifier=self.verifier,
                    box=self.box,
                    clock=self.clock,
                )
            )
            await stack.enter_async_context(
                contract_tasks.kept_current(self.database, self.book, self.clock)
            )
            yield


def build(
    database: Database,
    *,
    clock: Clock,
    hub: PartyId,
    issuer: str,
    hub_key: bytes,
    allow_loopback: bool,
    token_lifetime: timedelta = TOKEN_LIFETIME,
) -> Marketplace:
    """`issuer`: the hub's public URL without a last slash, also the audience of its tokens.

    `hub_key`: 32 bytes, the same in every process and after every restart.
    """
    box, checker = SecretBox(hub_key), SecretChecker()

    async def accept_public(
        connection: AsyncConnection, partner: Partner, now: datetime
    ) -> Sequence[str]:
        desk = SqlDesk(connection)
        return await contract_flows.accept_public(desk, hub, partner.party, partner.roles, now)

    joining = Joining(
        add_client_secret=add_client_secret,
        end_tokens=end_tokens,
        accept_public_offerings=accept_public,
    )
    partners = SqlPartners(database, joining, box)
    access = SqlAccess(database)
    catalogue, offerings = SqlCatalogue(database), SqlOfferings(database)
    contracts = SqlContracts(database)
    book = ContractBook(SqlBookSource(database), clock)
    ring = KeyRing(box, KeyRules(token_lifetime=token_lifetime))
    verifier = Verifier(issuer, issuer, clock)
    tokens = TokenServer(issuer, issuer, ring, verifier)
    return Marketplace(
        database=database,
        clock=clock,
        hub=hub,
        box=box,
        checker=checker,
        partners=partners,
        access=access,
        catalogue=catalogue,
        offerings=offerings,
        contracts=contracts,
        book=book,
        ring=ring,
        verifier=verifier,
        tokens=tokens,
        routers=(
            access_routes.router(access, tokens, checker, clock),
            partner_routes.router(partners, database, clock, allow_loopback=allow_loopback),
            service_routes.router(catalogue, database, clock, book, allow_loopback=allow_loopback),
            offering_routes.router(offerings, database, clock),
            contract_routes.router(contracts, database, clock, book),
        ),
        validation=contract_routes.validation_router(book, hub, clock),
    )
