"""Small honest stand-ins for what other wings answer, and EVSPs on real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from aiohttp import web

from clearinghouse.authorisation.model import Answer, NoAnswer
from roaming.evse_id import EvseId
from roaming.party import PartyId

TARIFF = {
    "elements": [
        {"price_components": [{"type": "ENERGY", "price": 0.35, "step_size": 1}]},
        {
            "price_components": [{"type": "TIME", "price": "2.40", "step_size": 60}],
            "restrictions": {"start_time": "08:00"},
        },
    ]
}


@dataclass
class ListedEvses:
    operators: dict[EvseId, PartyId]

    async def find(self, evse_id: EvseId) -> tuple[PartyId, str | None] | None:
        operator = self.operators.get(evse_id)
        return None if operator is None else (operator, "Europe/Paris")


@dataclass(frozen=True)
class FixedAgreement:
    contract_id: str = "agreement-1"
    currency: str = "EUR"
    tariff: Mapping[str, Any] = field(default_factory=lambda: TARIFF)
    vat_percent: Decimal | None = Decimal("20")
    evses: frozenset[EvseId] | None = None
    tariff_group: str | None = None
    elsewhere: Mapping[EvseId, FixedAgreement] = field(default_factory=dict)

    def at(self, evse_id: EvseId) -> FixedAgreement:
        return self.elsewhere.get(evse_id, self)

    def covers(self, evse_id: EvseId) -> bool:
        return self.evses is None or evse_id in self.evses


@dataclass
class ListedAgreements:
    """Agreements in force from a time on, by operator and EVSP."""

    by_pair: dict[tuple[PartyId, PartyId], tuple[datetime, FixedAgreement]]

    def between(self, operator: PartyId, evsp: PartyId, at: datetime) -> FixedAgreement | None:
        since, agreement = self.by_pair.get((operator, evsp), (None, None))
        return agreement if since is not None and since <= at else None

    def partners(self, operator: PartyId, at: datetime) -> Collection[PartyId]:
        return [evsp for one, evsp in self.by_pair if self.between(one, evsp, at) is not None]


@dataclass
class ScriptedEvsps:
    """EVSPs that answer as told, all alike or each its own, and remember what they were asked."""

    answer: Answer | NoAnswer
    answers: Mapping[PartyId, Answer | NoAnswer] = field(default_factory=dict)
    deaf: frozenset[PartyId] = frozenset()
    asked: list[tuple[PartyId, Mapping[str, Any]]] = field(default_factory=list)

    async def ask(
        self, evsp: PartyId, question: Mapping[str, Any], deadline: float
    ) -> Answer | NoAnswer:
        self.asked.append((evsp, question))
        return self.answers.get(evsp, self.answer)

    async def listening(self, evsps: Collection[PartyId]) -> Collection[PartyId]:
        return [evsp for evsp in evsps if evsp not in self.deaf]


@dataclass(frozen=True)
class FixedEndpoint:
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class ListedEndpoints:
    by_party: dict[PartyId, FixedEndpoint]

    async def of_many(
        self, parties: Collection[PartyId], purpose: str
    ) -> Mapping[PartyId, FixedEndpoint]:
        assert purpose == "authorisation"
        return {party: self.by_party[party] for party in parties if party in self.by_party}


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def evsp_server(handler: Handler) -> AsyncIterator[str]:
    """An EVSP's own server on loopback; its address."""
    app = web.Application()
    app.router.add_post("/ask", handler)
    # A client that hangs up ends its handler, as most servers do.
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/ask"
    finally:
        await runner.cleanup()


class NoLimitKept:
    """What a customer has spent is not reckoned here: a `Spending` that knows of no limit."""

    async def left(self, contract: object, at: datetime) -> None:
        return None
