"""Bad days between the hub and its EVSPs: killed in mid-delivery, and peers that lie or dawdle."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from clearinghouse.cdrs import flows as cdr_flows
from clearinghouse.forwarding.model import Cadence, Place, Preference, Schedule
from clearinghouse.forwarding.preferences import SqlPreferences
from clearinghouse.forwarding.store import SqlOutbox
from gridroam.core import Core
from gridroam.office import open_core
from marketplace.partners import flows as partner_flows
from marketplace.partners.model import Purpose, roles_of
from tests.clearinghouse.cdrs.fakes import EVSP, NOW, intake_of, keep_customer, many
from tests.gridroam.processes import serving, until
from tests.hub import Server, server


@dataclass(slots=True)
class Home:
    """A hub's books, with records of one EVSP that has a server of its own."""

    parts: Core
    options: Sequence[str | Path]
    evsp: Server
    ids: list[str]

    async def nothing_left(self) -> bool:
        return not await SqlOutbox(self.parts.database).undelivered()

    def taken(self) -> list[str]:
        """What an EVSP has on its books that keeps each delivery once, by its id."""
        by_id = {came.headers["Idempotency-Key"]: came.json for came in self.evsp.came}
        return [one["cdr_id"] for told in by_id.values() for one in told["cdrs"]]


@pytest.fixture
async def home(hub_database_url: str, tmp_path: Path) -> AsyncIterator[Home]:
    folder = tmp_path / "home"
    async with open_core(folder, hub_database_url) as parts, server() as evsp:
        await partner_flows.register(
            *(parts.partners, EVSP, roles_of(["evsp"]), "Bet"), hasher=parts.checker, now=NOW
        )
        await partner_flows.set_endpoint(
            *(parts.partners, EVSP, EVSP, Purpose.CDRS, evsp.url, {}),
            allow_loopback=True,
            now=NOW,
        )
        await keep_customer(parts.database)
        submissions = many(250)
        await cdr_flows.receive(submissions, intake=intake_of(parts.database))
        options: list[str | Path] = ["--home", folder, "--database-url", hub_database_url]
        yield Home(parts, options, evsp, [one.cdr_id for one in submissions])


async def killed_with(home: Home, deliveries: int, tmp_path: Path) -> None:
    """A hub that is killed when so many deliveries have come, the last of them unanswered."""
    silent = asyncio.Event()

    async def well_until(_: web.BaseRequest) -> web.StreamResponse:
        if len(home.evsp.came) >= deliveries:
            await silent.wait()
        return web.Response(status=204)

    home.evsp.behaviour = well_until
    async with serving(*home.options, tmp_path=tmp_path) as hub:
        await until(lambda: len(home.evsp.came) >= deliveries)
        await hub.end(signal.SIGKILL)
    silent.set()


@pytest.mark.parametrize("cadence", [Cadence.AT_ONCE, Cadence.DAILY])
async def test_killed_between_sending_and_keeping_it_sends_the_same_again_under_the_same_id(
    home: Home, tmp_path: Path, cadence: Cadence
) -> None:
    # The wish is as old as the records, so that their moment has passed.
    preferences = SqlPreferences(home.parts.database, home.parts.box, lambda: NOW)
    await preferences.keep(EVSP, Preference(schedule=Schedule(cadence)))
    await killed_with(home, 2, tmp_path)
    lost = home.evsp.came[1]
    assert len(home.evsp.came) == 2
    async with serving(*home.options, tmp_path=tmp_path):
        await until(home.nothing_left)
    again = home.evsp.came[2]
    assert again.content == lost.content
    assert again.headers["Idempotency-Key"] == lost.headers["Idempotency-Key"]
    assert home.taken() == home.ids


async def test_an_evsp_that_takes_a_delivery_and_answers_too_late_has_it_once(
    home: Home, tmp_path: Path
) -> None:
    dawdles = iter([True])

    async def dawdling(_: web.BaseRequest) -> web.StreamResponse:
        if next(dawdles, False):
            # Longer than the hub waits; it hangs up first.
            await asyncio.sleep(30)
        return web.Response(status=204)

    home.evsp.behaviour = dawdling
    async with serving(*home.options, tmp_path=tmp_path):
        await until(home.nothing_left)
    assert home.evsp.came[0].content == home.evsp.came[1].content
    assert home.taken() == home.ids


async def test_what_a_lying_evsp_says_is_kept_as_its_word_and_moves_nobody_elses_books(
    home: Home, tmp_path: Path
) -> None:
    async def lying(_: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"received": -7, "digest": "of something else", "cdrs": None})

    home.evsp.behaviour = lying
    outbox = SqlOutbox(home.parts.database)
    async with serving(*home.options, tmp_path=tmp_path):
        await until(home.nothing_left)
    first, after = await outbox.carried(evsp=EVSP, operator=None, after=Place(0, 0), limit=2)
    last, after = await outbox.carried(evsp=EVSP, operator=None, after=after, limit=2)
    carried = [*first, *last]
    assert [cdr_id for one in carried for _, cdr_id in one.keys] == home.ids
    assert [one.proof.receipt for one in carried if one.proof is not None] == [
        {"received": -7, "digest": "of something else"}
    ] * 3
