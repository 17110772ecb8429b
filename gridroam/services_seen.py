"""How the services fare, for the console: figures of their calls, and what is seen of endpoints."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from console.ports import EndpointSeen, ServiceSeen
from gateway.health.model import Health, Report, State, together
from gateway.health.store import SqlReports
from gateway.monitoring.model import By, Figures, Question
from gateway.monitoring.store import SqlRecords
from kit.clock import Clock
from marketplace.contracts.book import ContractBook

MINUTES = 5
# However many pages are open, the database is asked no more often.
REMEMBERED_S = 2.0
MOST = 1000
_BY_BADNESS = [state.value for state in State]

_Key = tuple[str, int]


class ServicesForConsole:
    """Of calls that count; those of the sandbox are left out."""

    def __init__(
        self, book: ContractBook, records: SqlRecords, reports: SqlReports, clock: Clock
    ) -> None:
        self._book = book
        self._records = records
        self._reports = reports
        self._clock = clock
        self._asking = asyncio.Lock()
        self._asked_s = float("-inf")
        self._seen: list[ServiceSeen] = []

    async def services(self, limit: int) -> Sequence[ServiceSeen]:
        async with self._asking:
            if time.monotonic() - self._asked_s >= REMEMBERED_S:
                self._seen = await self._look()
                self._asked_s = time.monotonic()
            return self._seen[:limit]

    async def _look(self) -> list[ServiceSeen]:
        now = self._clock()
        question = Question(now - timedelta(minutes=MINUTES), now, By.SERVICE)
        page = await self._records.figures(None, question, limit=MOST, cursor=None)
        figures = {(one.service, one.major): one for one in page.figures}
        reports: dict[_Key, list[Report]] = defaultdict(list)
        for report in await self._reports.everything(now):
            reports[report.place.service, report.place.major].append(report)
        found = [
            self._service(key, figures.get(key), reports.get(key, ()))
            for key in figures.keys() | reports.keys()
        ]
        return sorted(found, key=_worst_first)

    def _service(
        self, key: _Key, figures: Figures | None, reports: Sequence[Report]
    ) -> ServiceSeen:
        name, major = key
        entry = self._book.service(name, major)
        provider = entry.provider if entry is not None else None
        if provider is None and reports:
            provider = reports[0].provider
        of_each: dict[tuple[bool, str], list[Report]] = defaultdict(list)
        for report in sorted(reports, key=lambda one: (one.place.sandbox, one.place.number)):
            of_each[report.place.address].append(report)
        return ServiceSeen(
            name=name,
            major=major,
            provider="" if provider is None else str(provider),
            minutes=MINUTES,
            calls=figures.calls if figures else 0,
            failed=figures.provider_errors if figures else 0,
            theirs=figures.caller_errors if figures else 0,
            p95_ms=figures.p95_us / 1000 if figures else None,
            endpoints=[_endpoint(together(seen[0].place, seen)) for seen in of_each.values()],
        )


def _endpoint(health: Health) -> EndpointSeen:
    place, failed = health.place, health.failed
    return EndpointSeen(
        place=f"{'sandbox' if place.sandbox else 'live'}-{place.number}",
        state=health.state.value,
        processes=health.processes,
        resting_in=health.resting_in,
        last_failure=None if failed is None else failed.kind,
        failed_at=None if failed is None else failed.at,
    )


def _worst_first(one: ServiceSeen) -> tuple[int, int, int, str, int]:
    worst = max((_BY_BADNESS.index(end.state) for end in one.endpoints), default=0)
    return -worst, -one.failed, -one.calls, one.name, one.major
