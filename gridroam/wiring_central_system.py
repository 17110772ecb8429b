"""The central system of charge points put together, with the hub that it calls."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.types import ASGIApp

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
from gridroam.answers import ClientsByHand, KeyClients
from gridroam.assembly import Assembly
from gridroam.service_apps import tie_in
from marketplace.access.token_server import TOKEN_PATH


def central_system(hub: Assembly, main: FastAPI) -> ASGIApp:
    """An operator's own system that is shipped with the hub, and calls it like any other's."""
    parts, settings, stack = hub.parts, hub.settings, hub.stack
    hub_url = settings.hub_url or hub.url
    clients: Clients = KeyClients(parts.access, parts.clock)
    transport: Transport = InProcess(hub.whole)
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
        hub.start(charges, teller)
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
