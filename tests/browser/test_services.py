"""The services' page in a real browser: how calls fare, and whose endpoint is let alone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from gateway.health.store import SqlReports
from gateway.usage.store import SqlMeter
from kit.clock import utc_now
from tests.browser.chrome import DESKTOP, PHONE, TAB, Viewport, browser
from tests.browser.conftest import Site
from tests.gateway.health.test_store import DOWN, WELL
from tests.gateway.usage.test_store import record


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_it_shows_how_services_fare_and_looks_again_by_itself(
    site: Site, chromedriver: str, tmp_path: Path, viewport: Viewport
) -> None:
    async with browser(chromedriver, tmp_path / "profile", viewport) as page:
        await page.open(f"{site.url}/console/services")
        await page.until_text("#link", "live")
        assert await page.text("#nothing") == "Nobody has called a service lately."
        now = utc_now()
        meter = SqlMeter(site.database)
        for number in range(10):
            meter.note(record(number, at=now - timedelta(seconds=9), duration_us=2_500))
        meter.note(record(11, at=now - timedelta(seconds=9), duration_us=2_500, status=502))
        await meter.close()
        reports = SqlReports(site.database, "another")
        await reports.keep([DOWN], now)
        await page.until_text("#rows", "live-1 open in 1 of 1")
        row = await page.text("#rows tr")
        for says in ("weather", "2.2", "2.5 ms", "NL*ABC", "last failure: unreachable"):
            assert says in row
        assert await page.count("#nothing[hidden]") == 1
        await reports.keep([WELL], utc_now())
        await page.until_text("#rows", "live-1 closed")
        assert await page.run("return document.documentElement.scrollWidth") == viewport.width
        await page.press(TAB)
        assert await page.run("return document.activeElement.getAttribute('href')") == "/console/"
        assert "secret" not in await page.run("return document.documentElement.outerHTML")
        await site.stop()
        await page.until_text("#link", "out of reach", within_s=30)
        assert "weather" in await page.text("#rows")
        await site.start()
        await page.until_text("#link", "live", within_s=30)
        asked = [url for url in await page.requests() if url.startswith(("http", "ws"))]
        assert [url for url in asked if not url.startswith(f"{site.url}/console")] == []
