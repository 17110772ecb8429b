"""The bridge at the door of a whole hub: who is let in by name and secret, what is read ahead."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from bridge.document import Document
from gateway.bridging.interfaces import Interfaces
from gateway.bridging.model import LoginRefused, TooManyAttempts
from gateway.bridging.sides import Side, read_side
from gateway.calls.model import Service
from gridroam.bridging import ClientsAtTheDoor, read_ahead
from gridroam.gateway_answers import ContractsForGateway, InterfacesForGateway
from kit.clock import utc_now
from roaming.refusal import Unavailable
from tests.hub import Hub, Partner, until

HERE = "192.0.2.1"


class Watch:
    """A clock that is put forward by hand."""

    def __init__(self) -> None:
        self.now = utc_now()

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def clients(hub: Hub, watch: Watch) -> ClientsAtTheDoor:
    return ClientsAtTheDoor(hub.parts.access, hub.parts.checker, watch)


async def test_a_client_is_who_a_token_would_say_it_is(hub: Hub, clients: ClientsAtTheDoor) -> None:
    operator = await hub.partner("FR*PD1", "evse-operator", "evsp")
    found = await clients.identify(operator.client_id, operator.client_secret, HERE)
    assert (found.party, found.client_id) == (operator.party, operator.client_id)
    assert found.roles == {"evse-operator", "evsp"}
    assert "services" in found.scopes
    assert not found.sandbox


async def test_a_client_of_the_sandbox_stays_in_it(hub: Hub, clients: ClientsAtTheDoor) -> None:
    operator = await hub.partner("FR*PD1", "evse-operator")
    made = await operator.post(
        f"/marketplace/partners/{operator.party}/clients", {"environment": "sandbox"}
    )
    found = await clients.identify(made["client_id"], made["client_secret"], HERE)
    assert found.sandbox
    assert found.scopes == {"services"}


async def test_a_revoked_client_is_refused_within_a_second(
    hub: Hub, clients: ClientsAtTheDoor, watch: Watch
) -> None:
    operator = await hub.partner("FR*PD1", "evse-operator")
    name, secret = operator.client_id, operator.client_secret
    await clients.identify(name, secret, HERE)
    answer = await operator.call(
        "DELETE", f"/marketplace/partners/{operator.party}/clients/{operator.client_id}"
    )
    assert answer.status == 204
    watch.forward(1.0)
    with pytest.raises(LoginRefused):
        await clients.identify(name, secret, HERE)


@pytest.mark.parametrize("name", ["nobody", "", "a\nb", "x" * 500, "é"])
async def test_nobody_is_told_which_of_name_and_secret_is_wrong(
    hub: Hub, clients: ClientsAtTheDoor, name: str
) -> None:
    operator = await hub.partner("FR*PD1", "evse-operator")
    told = set()
    for client_id in (name, operator.client_id):
        with pytest.raises(LoginRefused) as refused:
            await clients.identify(client_id, "guessed", HERE)
        told.add((refused.value.detail, refused.value.rule))
    assert len(told) == 1


async def test_whoever_guesses_is_slowed_and_nobody_else_is(
    hub: Hub, clients: ClientsAtTheDoor, watch: Watch
) -> None:
    operator: Partner = await hub.partner("FR*PD1", "evse-operator")
    for _ in range(10):
        with pytest.raises(LoginRefused):
            await clients.identify(operator.client_id, "guessed", HERE)
    with pytest.raises(TooManyAttempts) as refused:
        await clients.identify(operator.client_id, operator.client_secret, HERE)
    assert refused.value.retry_after_s > 0
    await clients.identify(operator.client_id, operator.client_secret, "198.51.100.7")
    watch.forward(refused.value.retry_after_s)
    await clients.identify(operator.client_id, operator.client_secret, HERE)


class Away:
    """The access book while its database is away."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Any]:
        raise ConnectionRefusedError
        yield


async def test_nobody_is_let_in_while_it_cannot_be_looked_up_who_it_is(
    hub: Hub, watch: Watch
) -> None:
    clients = ClientsAtTheDoor(Away(), hub.parts.checker, watch)
    with pytest.raises(Unavailable):
        await clients.identify("somebody", "secret", HERE)


async def test_a_document_is_read_before_anybody_calls(hub: Hub) -> None:
    provider = await hub.partner("NL*CHS", "service-provider")
    read: list[str] = []

    def reading(service: Service, document: Document) -> Side:
        read.append(service.name)
        return read_side(service, document)

    async def register(name: str) -> None:
        await provider.post(
            "/marketplace/services",
            {
                "name": name,
                "category": "value-added",
                "description": "d",
                "endpoint": "https://p.example",
            },
        )
        answers = {"200": {"description": "OK"}}
        document = {
            "openapi": "3.1.0",
            "info": {"title": name, "version": "1"},
            "paths": {"/": {"get": {"operationId": "a", "responses": answers}}},
        }
        await provider.put(f"/marketplace/services/{name}/v1/interface", document)

    await register("before")
    parts = hub.parts
    await parts.book.load()
    interfaces = Interfaces(InterfacesForGateway(parts.catalogue), reading)
    async with read_ahead(parts, ContractsForGateway(parts.book), interfaces):
        await register("after")
        await until(lambda: bool(read))
    assert read == ["after"]
    await interfaces.close()
