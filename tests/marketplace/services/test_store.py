"""The catalogue on PostgreSQL: what is kept comes back, and what has changed is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from bridge.document import Document, Kind
from gridroam.core import COMMITMENTS
from kit import event_log
from kit.database import Database
from marketplace.services.changes import Change
from marketplace.services.handling import ContentMap, Handling, Mode
from marketplace.services.model import Endpoint, Environment, Operation, Protocol, Service, Status
from marketplace.services.store import CHANNEL, SqlCatalogue
from roaming.events import EventType
from tests.marketplace.fakes import HUB, NOW, OPERATOR
from tests.marketplace.services.test_model import SERVICE

WHOLE = replace(
    SERVICE,
    protocol=Protocol.SOAP,
    status=Status.SUSPENDED,
    endpoint="https://b.example/",
    operations=(Operation("Finde Plätze", "POST", "/Finde Plätze"),),
    more_endpoints=(Endpoint("https://try.example/", Environment.SANDBOX),),
    handling=Handling(Mode.SHADOW, 2.5, {"a": 1.0}, {"a": ContentMap("@", None)}),
    interface_digest=b"\x00\xff" * 16,
    login=b"sealed",
    held=True,
)


async def test_all_of_a_service_is_kept_and_each_change_is_an_event_of_its_provider(
    database: Database,
) -> None:
    catalogue = SqlCatalogue(database, COMMITMENTS)
    async with catalogue.open() as shelf:
        await shelf.add(SERVICE, NOW)
    async with database.listen(CHANNEL) as heard:
        for change in Change:
            async with catalogue.open() as shelf:
                await shelf.save(replace(WHOLE, name="parking"), change, HUB, NOW)
            async with asyncio.timeout(10):
                assert await anext(heard) == ""
    async with catalogue.open() as shelf:
        # The protocol is for good: a change does not touch it.
        assert await shelf.versions("parking") == [replace(WHOLE, protocol=SERVICE.protocol)]
    async with database.hot() as connection:
        events = await event_log.read(connection, event_log.START, limit=100)
    told = {event.type: event for event in events}
    assert told.keys() == {
        EventType.SERVICE_REGISTERED,
        EventType.SERVICE_STATUS_CHANGED,
        EventType.SERVICE_ENDPOINTS_CHANGED,
        EventType.SERVICE_HANDLING_CHANGED,
        EventType.SERVICE_INTERFACE_CHANGED,
        EventType.SERVICE_LOGIN_CHANGED,
    }
    assert {event.party for event in events} == {OPERATOR}
    assert all(event.body["by"] == HUB for event in events[1:])
    assert "sealed" not in str([event.body for event in events])


async def test_a_document_is_kept_once_and_for_good(database: Database) -> None:
    catalogue = SqlCatalogue(database, COMMITMENTS)
    document = Document(Kind.WSDL, "a.wsdl", {"a.wsdl": bytes(range(256)), "b/c.xsd": b""})
    for _ in range(2):
        async with catalogue.open() as shelf:
            await shelf.keep(document, NOW)
    async with catalogue.open() as shelf:
        assert await shelf.document(document.digest) == document
        assert await shelf.document(b"another") is None


async def test_for_the_hub_there_is_everything_in_pages(database: Database) -> None:
    catalogue = SqlCatalogue(database, COMMITMENTS)
    several: list[Service] = [
        replace(SERVICE, name=name, major=major, status=status)
        for name, major, status in (
            ("a-b", 1, Status.DRAFT),
            ("a-b", 2, Status.PUBLISHED),
            ("b-c", 1, Status.RETIRED),
        )
    ]
    async with catalogue.open() as shelf:
        for service in several:
            await shelf.add(service, NOW)
        first = await shelf.everything(None, 2)
        rest = await shelf.everything((first[-1].name, first[-1].major), 2)
    assert [*first, *rest] == several
