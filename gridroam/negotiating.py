"""Negotiations, contracts' lives and what both sides are told of them, put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from fastapi import APIRouter

from gridroam.answers import EndpointsOfPartners
from gridroam.core import Core
from gridroam.papers import on_paper
from gridroam.signatures import KeysForGateway
from kit.worker import Worker
from marketplace.access import detached
from marketplace.access.keys import KeyRing
from marketplace.contracts import tasks as contract_tasks
from marketplace.framework.document import OnPaper
from marketplace.messages import routes as message_routes
from marketplace.messages.client import HttpSender
from marketplace.messages.flows import Post
from marketplace.messages.model import BackOff
from marketplace.messages.store import SqlOutbox
from marketplace.messages.tasks import Courier
from marketplace.negotiations import routes as negotiation_routes
from marketplace.negotiations import tasks as negotiation_tasks
from marketplace.negotiations.store import SqlNegotiations
from roaming.party import PartyId


class PartiesOnPaper:
    """Who the parties of a negotiation are, and by what keys they sign."""

    def __init__(self, parts: Core) -> None:
        self._parts = parts

    async def on_paper(self, party: PartyId, at: datetime) -> OnPaper:
        return await on_paper(self._parts, party, at)

    async def keys_of(self, party: PartyId) -> Sequence[Mapping[str, Any]]:
        async with self._parts.access.open() as book:
            clients = await book.clients_of(party, self._parts.clock())
        # What is tried out binds nobody.
        return [key for one in clients if not one.sandbox for key in one.public_keys]


class HubAsWitness:
    """The hub's signature, and its public key beside it: the key is out of the JWK set one day."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def sign(
        self, header: Mapping[str, Any], content: bytes, at: datetime
    ) -> tuple[str, Mapping[str, Any]]:
        kid, key = self._ring.current(at)
        public = {**key.as_dict(private=False), "kid": kid}
        return detached.sign(header, content, kid, key), public


class Negotiating:
    """Of one process: `start` and `close` what works beside the calls."""

    def __init__(
        self,
        parts: Core,
        *,
        url: str,
        ring: KeyRing,
        allow_loopback: bool,
        runs_tasks: bool,
    ) -> None:
        outbox = SqlOutbox(parts.database)
        negotiations = SqlNegotiations(parts.database)
        self.routers: Sequence[APIRouter] = [
            message_routes.router(outbox, parts.database, parts.clock),
            negotiation_routes.router(
                negotiations,
                PartiesOnPaper(parts),
                HubAsWitness(ring),
                parts.database,
                parts.clock,
                parts.book,
                hub=parts.hub,
            ),
            negotiation_routes.history_router(negotiations),
        ]
        self._workers: list[Worker | Courier] = []
        self._sender: HttpSender | None = None
        if runs_tasks:
            self._sender = HttpSender.open(
                url, KeysForGateway(ring), parts.clock, allow_loopback=allow_loopback
            )
            endpoints = EndpointsOfPartners(parts.partners)
            holder = f"{parts.database.session}/{uuid4()}"
            post = Post(outbox, endpoints, self._sender, parts.clock, holder, BackOff())
            self._workers += [
                Courier(parts.database, post),
                negotiation_tasks.lapsing(negotiations, parts.hub, parts.clock),
                contract_tasks.tending(parts.contracts, parts.book, parts.clock),
            ]

    def start(self) -> None:
        for worker in self._workers:
            worker.start()

    async def close(self) -> None:
        for worker in self._workers:
            await worker.close()
        if self._sender is not None:
            await self._sender.close()
