"""A whole hub on a real socket, and a browser in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from httpx import AsyncClient

from gridroam.core import core
from gridroam.home import Home
from gridroam.settings import Settings
from gridroam.wiring import hub as wired
from kit.clock import utc_now
from kit.database import Database
from kit.event_log import NewEvent
from tests.browser.chrome import Browser, browser, driver, free_port
from tests.console import entries
from tests.console.serving import serving
from tests.hub import Hub


class Site:
    """A hub that can go away and come back at the same address."""

    def __init__(self, database: Database, database_url: str, home: Path) -> None:
        self.database = database
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.page = f"{self.url}/console"
        self._database_url = database_url
        self._home = Home(home, database_url)
        self._settings = Settings(home=home, public_url=self.url)
        self._up = AsyncExitStack()

    async def start(self) -> None:
        stopping = asyncio.Event()
        app = await self._up.enter_async_context(
            wired(self._settings, self._home, self._database_url, stopping)
        )
        await self._up.enter_async_context(serving(app, port=self.port, stopping=stopping))

    async def stop(self) -> None:
        await self._up.aclose()

    async def tell(self, *told: NewEvent) -> None:
        """Put entries into the log, as the wings do."""
        await entries.write(self.database, *told)

    def office(self, http: AsyncClient) -> Hub:
        """The hub's partners, and its operator's desk."""
        parts = core(self.database, self._home.secret, hub=self._settings.hub_party, clock=utc_now)
        return Hub(http, parts)


@pytest.fixture(scope="session")
def chromedriver() -> Iterator[str]:
    with driver() as url:
        yield url


@pytest.fixture
async def site(database: Database, database_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(database, database_url, tmp_path / "home")
    await site.start()
    yield site
    await site.stop()


@pytest.fixture
async def hub(site: Site) -> AsyncIterator[Hub]:
    async with AsyncClient(base_url=site.url) as http:
        yield site.office(http)


@pytest.fixture
async def desktop(chromedriver: str, tmp_path: Path) -> AsyncIterator[Browser]:
    async with browser(chromedriver, tmp_path / "profile") as found:
        yield found
