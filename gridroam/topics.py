"""Topics, put together: their desk, their routes, and what works beside the calls."""

from __future__ import annotations

import asyncio
from datetime import datetime
from uuid import uuid4

from fastapi import APIRouter
from prometheus_client import CollectorRegistry

from gateway.calls.model import Denial, Grant
from gateway.calls.ports import Meter, Refusals, Verifier
from gateway.topics import routes
from gateway.topics.bell import Bell
from gateway.topics.client import HttpSender
from gateway.topics.desk import Desk
from gateway.topics.metrics import TopicMetrics
from gateway.topics.model import DELIVER, BackOff, Topic
from gateway.topics.outbox import SqlOutbox
from gateway.topics.sending import Post
from gateway.topics.store import SqlLog, SqlSubscriptions
from gateway.topics.tasks import Deliverer
from gridroam.core import Core
from gridroam.gateway_answers import ContractsForGateway
from kit.message_signature import Signer
from marketplace.contracts.book import ContractBook
from marketplace.services.model import Protocol
from roaming.party import PartyId


class TopicsOfMarket:
    """Topics of the catalogue and contracts on them, in the gateway's words.

    A topic has one version: what is told in another way is another topic.
    """

    def __init__(self, book: ContractBook, contracts: ContractsForGateway, oldest_s: float) -> None:
        self._book = book
        self._contracts = contracts
        self.oldest_s = oldest_s

    def topic(self, name: str) -> Topic | None:
        entry = self._book.service(name, 1)
        if entry is None or entry.protocol is not Protocol.TOPIC:
            return None
        return Topic(name, entry.provider, entry.published, entry.suspended)

    def grant(self, party: PartyId, topic: Topic, at: datetime) -> Grant | Denial:
        return self._contracts.find(party, topic.name, 1, DELIVER, at)

    def age_s(self, now: datetime) -> float:
        return self._book.age_s(now)


class Topics:
    """The topics of one process: `start` and `close` what works beside the calls."""

    def __init__(
        self,
        parts: Core,
        *,
        verifier: Verifier,
        contracts: ContractsForGateway,
        meter: Meter,
        refusals: Refusals,
        registry: CollectorRegistry,
        url: str,
        signer: Signer,
        allow_loopback: bool,
        sends: bool,
        oldest_contracts_s: float,
        stopping: asyncio.Event,
    ) -> None:
        self._bell = Bell(parts.database, stopping)
        desk = Desk(
            verifier=verifier,
            market=TopicsOfMarket(parts.book, contracts, oldest_contracts_s),
            log=SqlLog(parts.database),
            evses=parts.evses,
            meter=meter,
            refusals=refusals,
            bell=self._bell,
            metrics=TopicMetrics(registry),
            clock=parts.clock,
            url=url,
        )
        subscriptions, outbox = SqlSubscriptions(parts.database), SqlOutbox(parts.database)
        self.router: APIRouter = routes.router(
            desk, subscriptions, outbox, parts.database, allow_loopback=allow_loopback
        )
        self._sender: HttpSender | None = None
        self._deliverer: Deliverer | None = None
        if sends:
            self._sender = HttpSender.open(signer, parts.clock, allow_loopback=allow_loopback)
            holder = f"{parts.database.session}/{uuid4()}"
            post = Post(desk, outbox, self._sender, BackOff(), holder)
            self._deliverer = Deliverer(parts.database, post, subscriptions)

    def start(self) -> None:
        self._bell.start()
        if self._deliverer is not None:
            self._deliverer.start()

    async def close(self) -> None:
        if self._deliverer is not None:
            await self._deliverer.close()
        if self._sender is not None:
            await self._sender.close()
        await self._bell.close()
