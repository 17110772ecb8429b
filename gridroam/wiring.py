"""The composition root: what parts a hub has, and the order in which they are tied together.

All of it is ordinary calls. Arguments carry what the process owns; what is opened is closed, in the
reverse order, by the exit stack. Each wing's part is put together in a file of its own:
`wiring_marketplace`, `wiring_clearing_house`, `wiring_gateway`, `wiring_central_system`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

from fastapi import FastAPI
from starlette.types import ASGIApp

from clearinghouse.netting.store import SqlBooks as Clearings
from console import routes as console_routes
from console.feed import Feed
from gateway.calls.guard import authenticate
from gateway.monitoring.store import SqlRecords
from gridroam.answers import ClearingsForConsole, DirectoryForConsole, MapForConsole
from gridroam.assembly import VERSION, Assembly, running
from gridroam.core import core
from gridroam.doors import doors
from gridroam.home import Home
from gridroam.service_apps import ServiceApp, operation_name
from gridroam.services_seen import ServicesForConsole
from gridroam.settings import Settings
from gridroam.wiring_central_system import central_system
from gridroam.wiring_clearing_house import DOCUMENTS, clearing_house
from gridroam.wiring_gateway import open_gateway
from gridroam.wiring_marketplace import access, contract_validation, marketplace, people
from kit import problem
from kit.clock import utc_now
from kit.database import Database
from marketplace.applications import routes as application_routes
from marketplace.business import tasks as business_tasks
from marketplace.contracts import tasks as contract_tasks
from marketplace.people import routes as people_routes
from search_evse.availability import routes as availability_routes
from search_evse.availability.store import SqlBoards
from search_evse.finder import routes as finder_routes
from search_evse.finder.store import SqlFinder
from search_evse.sites import routes as site_routes
from search_evse.sites.store import SqlBooks as Sites

# Without a token: where tokens come from, and where machines ask whether we live.
PUBLIC = (
    *("/oauth/", "/.well-known/", "/health/", "/openapi.json", "/docs", "/metrics"),
    *people_routes.PUBLIC,
)
# Who applies has no token yet, and shows what its application is known by.
OWN_DOORS = (application_routes.PATH, f"{application_routes.PATH}/")


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
        yield await build(Assembly(settings, parts, stack, stopping or asyncio.Event()))


async def build(hub: Assembly) -> ASGIApp:
    """All parts that the settings ask for, behind the hub's one front."""
    parts, only = hub.parts, hub.settings.only
    await _keep_current(hub)
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
    tokens = await access(hub, main)
    if "marketplace" in only:
        people(hub, main, tokens)
        marketplace(hub, main)
    services = services_of(hub)
    hub.front = doors(
        url=hub.url,
        main=authenticate(
            main,
            hub.verifier,
            PUBLIC,
            new_request_id=lambda: uuid4().hex,
            own_doors=OWN_DOORS,
        ),
        described=main,
        services=services,
        gateway=await open_gateway(hub, main, services) if "gateway" in only else None,
        console=await _console(hub) if "console" in only else None,
        central_system=central_system(hub, main) if "central-system" in only else None,
        registry=hub.registry,
        database=parts.database,
        contracts_age_s=lambda: parts.book.age_s(parts.clock()),
        oldest_contracts_s=hub.settings.oldest_contracts_s,
        parts=only,
        documents=DOCUMENTS if "clearinghouse" in only else {},
    )
    return hub.front


def services_of(hub: Assembly) -> dict[str, ServiceApp]:
    """The hub's own services, of those parts that this process runs."""
    only = hub.settings.only
    found: dict[str, ServiceApp] = {}
    if "search-evse" in only:
        found["search-evse"] = _search_evse(hub)
    if "marketplace" in only:
        found["contract-validation"] = contract_validation(hub)
    if "clearinghouse" in only:
        found["clearing-house"] = clearing_house(hub)
    return found


async def _keep_current(hub: Assembly) -> None:
    """What every process holds in memory follows the database."""
    parts = hub.parts
    await hub.stack.enter_async_context(
        contract_tasks.kept_current(
            parts.database,
            parts.book,
            parts.clock,
            # Often enough that one look that fails is no reason to refuse.
            idle_s=min(5.0, hub.settings.oldest_contracts_s / 3),
        )
    )
    await hub.stack.enter_async_context(
        business_tasks.kept_current(parts.database, parts.businesses)
    )
    await hub.stack.enter_async_context(running(parts.evses.keep_fresh()))


def _search_evse(hub: Assembly) -> ServiceApp:
    parts = hub.parts
    return ServiceApp(
        [],
        [
            finder_routes.router(SqlFinder(parts.database)),
            site_routes.router(Sites(parts.database), parts.clock, parts.database),
            availability_routes.router(SqlBoards(parts.database), parts.clock),
        ],
    )


async def _console(hub: Assembly) -> ASGIApp:
    parts = hub.parts
    feed = Feed(parts.database)
    hub.start(feed)
    await hub.stack.enter_async_context(running(_close_at(hub.stopping, feed)))
    return console_routes.app(
        feed,
        MapForConsole(parts.evses),
        DirectoryForConsole(parts.partners),
        ClearingsForConsole(Clearings(parts.database)),
        ServicesForConsole(parts.book, SqlRecords(parts.database), hub.reports, parts.clock),
    )


async def _close_at(stopping: asyncio.Event, feed: Feed) -> None:
    await stopping.wait()
    await feed.close()
