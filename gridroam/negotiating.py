"""Negotiations, contracts' lives and what both sides are told of them, put together."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from fastapi import APIRouter

from gridroam.answers import EndpointsOfPartners
from gridroam.core import Core
from gridroam.signatures import KeysForGateway
from kit.worker import Worker
from marketplace.messages import routes as message_routes
from marketplace.messages.client import HttpSender
from marketplace.messages.flows import Post
from marketplace.messages.model import BackOff
from marketplace.messages.store import SqlOutbox
from marketplace.messages.tasks import Courier


class Negotiating:
    """Of one process: `start` and `close` what works beside the calls."""

    def __init__(
        self,
        parts: Core,
        *,
        url: str,
        keys: KeysForGateway,
        allow_loopback: bool,
        runs_tasks: bool,
    ) -> None:
        outbox = SqlOutbox(parts.database)
        self.routers: Sequence[APIRouter] = [
            message_routes.router(outbox, parts.database, parts.clock)
        ]
        self._workers: list[Worker | Courier] = []
        self._sender: HttpSender | None = None
        if runs_tasks:
            self._sender = HttpSender.open(url, keys, parts.clock, allow_loopback=allow_loopback)
            endpoints = EndpointsOfPartners(parts.partners)
            holder = f"{parts.database.session}/{uuid4()}"
            post = Post(outbox, endpoints, self._sender, parts.clock, holder, BackOff())
            self._workers.append(Courier(parts.database, post))

    def start(self) -> None:
        for worker in self._workers:
            worker.start()

    async def close(self) -> None:
        for worker in self._workers:
            await worker.close()
        if self._sender is not None:
            await self._sender.close()
