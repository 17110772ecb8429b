"""The book keeps up with what other processes commit, without being asked and without waiting."""

from __future__ import annotations

from typing import Any

from marketplace.contracts import tasks
from marketplace.contracts.book import ContractBook
from marketplace.contracts.entries import ServiceEntry
from marketplace.contracts.source import SqlBookSource
from marketplace.services.handling import Mode
from tests.marketplace.fakes import Member, until
from tests.marketplace.services.test_routes import ONE, OPENAPI, PARKING, SERVICES
from tests.marketplace.whole import Marketplace

# Far longer than any test waits: what is seen was heard of.
NEVER_S = 3_600.0


async def test_each_change_of_a_service_is_heard_of_in_every_process(
    market: Marketplace, operator: Member
) -> None:
    first, second = (ContractBook(SqlBookSource(market.database), market.clock) for _ in range(2))
    async with (
        tasks.kept_current(market.database, first, market.clock, idle_s=NEVER_S),
        tasks.kept_current(market.database, second, market.clock, idle_s=NEVER_S),
    ):

        async def seen(**wanted: Any) -> None:
            def everywhere() -> bool:
                entries = [book.service("parking", 1) for book in (first, second)]
                return all(entry is not None and _has(entry, wanted) for entry in entries)

            await until(everywhere)

        await operator.http.post(SERVICES, json=PARKING)
        await seen(published=False)
        await operator.http.put(f"{ONE}/interface", json=OPENAPI)
        async with market.core.catalogue.open() as shelf:
            [kept] = await shelf.versions("parking")
        await seen(interface_digest=kept.interface_digest, operations=kept.operations)
        await operator.http.post(f"{ONE}/publish")
        await seen(published=True)
        await operator.http.put(f"{ONE}/endpoints", json={"endpoint": "https://new.example/"})
        await seen(endpoint="https://new.example/")
        answer = await operator.http.put(f"{ONE}/handling", json={"mode": "off", "timeout_s": 1})
        assert answer.status_code == 200
        await until(
            lambda: all(
                (entry := book.service("parking", 1)) is not None
                and entry.handling.mode is Mode.OFF
                for book in (first, second)
            )
        )
        await operator.http.post(f"{ONE}/suspend")
        await seen(suspended=True)
        await operator.http.post(f"{ONE}/retire")
        await until(lambda: first.service("parking", 1) is second.service("parking", 1) is None)


def _has(entry: ServiceEntry, wanted: dict[str, Any]) -> bool:
    return all(getattr(entry, name) == value for name, value in wanted.items())
