"""Chromium without a window, driven by WebDriver (W3C) as plain HTTP to chromedriver."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

HOW_TO_GET_IT = (
    "the browser tests need `chromium` and `chromedriver` on the PATH; "
    "on Debian: apt-get install chromium chromium-driver"
)
# The second half keeps the browser itself silent: what leaves the machine is then the page's doing.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TAB, ENTER = "\ue004", "\ue007"


class BrowserMissing(Exception):
    """There is no browser to test with, and how to get one."""


@dataclass(frozen=True, slots=True)
class Viewport:
    width: int
    height: int
    touch: bool = False


DESKTOP, PHONE = Viewport(1400, 900), Viewport(390, 844, touch=True)


class Browser:
    """One browser with one page; every test has its own, with an empty profile."""

    def __init__(self, http: httpx.AsyncClient, session: str) -> None:
        self._http = http
        self._path = f"/session/{session}"

    async def open(self, url: str) -> None:
        await self._post("/url", url=url)

    async def run(self, script: str, *arguments: Any) -> Any:
        """The value of a JavaScript function body; `arguments[0]` is the first argument."""
        return await self._post("/execute/sync", script=script, args=list(arguments))

    async def text(self, selector: str) -> str:
        """What a person reads there, hidden parts left out; "" when there is no such element."""
        return str(
            await self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)
        )

    async def texts(self, selector: str) -> list[str]:
        found = await self.run(
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText ?? "
            "e.textContent)",
            selector,
        )
        return [str(one) for one in found]

    async def count(self, selector: str) -> int:
        return int(
            await self.run("return document.querySelectorAll(arguments[0]).length", selector)
        )

    async def until(self, script: str, *arguments: Any, within_s: float = 15.0) -> Any:
        """Run the script until its value is truthy; AssertionError after the deadline."""
        deadline = time.monotonic() + within_s
        while not (value := await self.run(script, *arguments)):
            assert time.monotonic() < deadline, f"never came true: {script} {arguments}"
            await asyncio.sleep(0.05)
        return value

    async def until_text(self, selector: str, expected: str, *, within_s: float = 15.0) -> None:
        await self.until(
            "return (document.querySelector(arguments[0])?.innerText ?? '').includes(arguments[1])",
            selector,
            expected,
            within_s=within_s,
        )

    async def press(self, key: str) -> None:
        """A key on the keyboard, wherever the focus is."""
        strokes = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        await self._post("/actions", actions=[{"type": "key", "id": "keys", "actions": strokes}])

    async def point(self, x: int, y: int) -> None:
        """Move the mouse to a place in the viewport."""
        move = {"type": "pointerMove", "duration": 0, "x": x, "y": y}
        await self._post("/actions", actions=[{"type": "pointer", "id": "m", "actions": [move]}])

    async def click(self, selector: str) -> None:
        found = await self._post("/element", using="css selector", value=selector)
        await self._post(f"/element/{next(iter(found.values()))}/click")

    async def complaints(self) -> list[str]:
        """What the console of the browser said at level warning or worse, since last asked."""
        entries = await self._post("/se/log", type="browser")
        return [e["message"] for e in entries if e["level"] in ("SEVERE", "WARNING")]

    async def requests(self) -> list[str]:
        """The URL of everything that the page asked for, since last asked."""
        entries = await self._post("/se/log", type="performance")
        messages = (json.loads(entry["message"])["message"] for entry in entries)
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    async def prefer(self, **features: str) -> None:
        """Emulate a reader's preferences, as `prefers_reduced_motion="reduce"`."""
        await self._devtools(
            "Emulation.setEmulatedMedia",
            features=[{"name": n.replace("_", "-"), "value": v} for n, v in features.items()],
        )

    async def size(self, viewport: Viewport) -> None:
        await self._devtools(
            "Emulation.setDeviceMetricsOverride",
            width=viewport.width,
            height=viewport.height,
            deviceScaleFactor=1,
            mobile=viewport.touch,
        )

    async def picture(self, *, whole: bool = False) -> bytes:
        """A PNG of the viewport, or of the whole page."""
        shot = await self._devtools(
            "Page.captureScreenshot", format="png", captureBeyondViewport=whole
        )
        return base64.b64decode(shot["data"])

    async def _devtools(self, command: str, **parameters: Any) -> Any:
        return await self._post("/goog/cdp/execute", cmd=command, params=parameters)

    async def _post(self, path: str, **body: Any) -> Any:
        response = await self._http.post(self._path + path, json=body)
        told = response.json()["value"]
        assert response.status_code == 200, told
        return told


@contextmanager
def driver() -> Iterator[str]:
    """The URL of a chromedriver. BrowserMissing when it or the browser is not installed."""
    program = shutil.which("chromedriver")
    if program is None or _browser() is None:
        raise BrowserMissing(HOW_TO_GET_IT)
    url = f"http://127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [program, f"--port={url.rpartition(':')[2]}", "--log-level=SEVERE"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(url)
        yield url
    finally:
        process.terminate()
        process.wait()


@asynccontextmanager
async def browser(
    driver_url: str, profile: Path, viewport: Viewport = DESKTOP
) -> AsyncIterator[Browser]:
    """A fresh browser of that size; ends with the block."""
    wanted = {
        "browserName": "chrome",
        "goog:chromeOptions": {
            "binary": _browser(),
            "args": [*FLAGS, f"--user-data-dir={profile}", "--window-size=1400,900"],
        },
        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
    }
    # Straight to loopback, whatever proxy the environment names.
    async with httpx.AsyncClient(base_url=driver_url, timeout=60, trust_env=False) as http:
        response = await http.post("/session", json={"capabilities": {"alwaysMatch": wanted}})
        assert response.status_code == 200, response.text
        session = response.json()["value"]["sessionId"]
        try:
            found = Browser(http, session)
            await found.size(viewport)
            yield found
        finally:
            await http.delete(f"/session/{session}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _browser() -> str | None:
    return shutil.which("chromium") or shutil.which("google-chrome")


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            if httpx.get(f"{url}/status", trust_env=False).json()["value"]["ready"]:
                return
        except httpx.TransportError:
            assert time.monotonic() < deadline, "chromedriver does not answer"
        time.sleep(0.05)
