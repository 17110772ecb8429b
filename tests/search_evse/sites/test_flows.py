"""Whole files taken in on a real PostgreSQL: the cuts of the real registers, once and again."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest

from kit import event_log
from kit.database import Database
from roaming.events import EventType
from roaming.party import PartyId
from search_evse.sites import flows
from search_evse.sites.flows import import_evses
from search_evse.sites.model import ImportReport
from search_evse.sites.reading import NotAnEvseFile
from search_evse.sites.store import SqlBooks
from tests.search_evse.cuts import DUTCH, FRENCH, OTHER, clock, dutch_locations


def _content(source: Path | list[Any]) -> bytes:
    return source.read_bytes() if isinstance(source, Path) else json.dumps(source).encode()


async def take(database: Database, source: Path | list[Any], **more: Any) -> ImportReport:
    content = _content(source)
    report = await import_evses(io.BytesIO(content), books=SqlBooks(database), clock=clock, **more)
    assert report.read == report.created + report.updated + report.unchanged + report.rejected
    return report


async def held(database: Database, evse_id: str) -> tuple[str, str, str]:
    row = await database.pool.fetchrow(
        "SELECT site_id, status, operator FROM search_evse.evse WHERE evse_id = $1", evse_id
    )
    assert row is not None
    return row["site_id"], row["status"], row["operator"]


async def test_the_dutch_cut_is_taken_in_and_every_loss_is_told(database: Database) -> None:
    report = await take(database, DUTCH)
    assert (report.read, report.created, report.updated, report.unchanged, report.rejected) == (
        27,
        19,
        2,
        2,
        4,
    )
    assert report.reasons == {
        "evse_id: must be an EVSE id of eMI3, as FR*PD1*E123, or of DIN SPEC 91286": 2,
        "evse_id: must be given": 2,
    }
    assert report.warnings["max_electric_power: over 400 kW, left out"] == 2
    assert report.warnings["evse_id: told more than once, the newest counts"] == 4
    assert report.examples[0].value == "NL.SPI.ECO01064*1"


@pytest.mark.parametrize("batch", [1, 3, 1_000])
async def test_of_two_channels_the_newer_word_stands_whichever_comes_first(
    database: Database, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(flows, "BATCH", batch)
    report = await take(database, DUTCH)
    assert (report.created, report.updated, report.unchanged) == (19, 2, 2)
    assert await held(database, "NLALLEGO0125441") == ("NLLOC006564", "AVAILABLE", "NL*ALL")
    assert await held(database, "NLUB2E10027959") == ("1099", "CHARGING", "NL*UB2")


@pytest.mark.parametrize("path", [DUTCH, FRENCH], ids=["ocpi", "irve"])
async def test_the_same_file_again_changes_nothing(database: Database, path: Path) -> None:
    first = await take(database, path)
    async with database.begin() as connection:
        events = await event_log.read(connection, event_log.START)
    again = await take(database, path)
    assert (again.created, again.updated) == (0, 0)
    assert again.unchanged == first.created + first.updated + first.unchanged
    assert again.reasons == first.reasons
    async with database.begin() as connection:
        assert await event_log.read(connection, event_log.START) == events


async def test_the_french_cut_is_taken_in(database: Database) -> None:
    report = await take(database, FRENCH)
    assert (report.read, report.created, report.rejected) == (14, 12, 2)
    assert await held(database, "FRTSLE0005PN") == ("FRTSLP29984", "UNKNOWN", "FR*TSL")


async def test_removed_evses_are_kept_as_removed(database: Database) -> None:
    await take(database, DUTCH)
    assert (await held(database, "NLEFLEV3476925C1"))[1] == "REMOVED"


async def test_the_log_tells_once_for_each_operator_of_a_batch(database: Database) -> None:
    await take(database, DUTCH)
    async with database.begin() as connection:
        events = await event_log.read(connection, event_log.START, types=[EventType.EVSE_CHANGED])
    assert len({event.party for event in events}) == len(events)
    allego = next(event for event in events if event.party == "NL*ALL")
    assert allego.stream == "evses:NL*ALL"
    both = {"NLALLEGO0125441", "NLALLEGO0125442"}
    assert {key: set(value) for key, value in allego.body.items()} == {
        "created": both,
        "updated": both,
    }


async def test_a_provider_gets_in_its_own_evses_and_no_others(database: Database) -> None:
    report = await take(database, dutch_locations(), provider=PartyId("NL*TNM"))
    assert (report.created, report.rejected) == (2, 25)
    assert report.reasons["evse_id: must be an EVSE of the party that provides it"] == 21


async def test_a_party_cannot_take_over_an_evse_by_claiming_its_location(
    database: Database,
) -> None:
    await take(database, DUTCH)
    claimed = [{**dutch_locations()[0], "country_code": "DE", "party_id": "ABC"}]
    report = await take(database, claimed, provider=OTHER)
    assert (report.read, report.rejected) == (2, 2)
    assert (await held(database, "NLTNMEGL3115845012"))[2] == "NL*TNM"


async def test_an_operator_given_from_outside_runs_the_whole_file(database: Database) -> None:
    await take(database, DUTCH, operator=OTHER)
    operators = await database.pool.fetch("SELECT DISTINCT operator FROM search_evse.evse")
    assert [row[0] for row in operators] == ["DE*ABC"]


async def test_progress_is_told_as_rows_are_read(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "BATCH", 10)
    steps: list[int] = []
    await take(database, DUTCH, progress=steps.append)
    assert steps == [10, 20, 27]


async def test_imports_at_once_wait_for_each_other_in_no_circle_and_agree_on_the_books(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "BATCH", 2)
    backwards = list(reversed(dutch_locations()))
    for _ in range(8):
        await database.pool.execute("TRUNCATE search_evse.evse, search_evse.site")
        await asyncio.gather(*(take(database, source) for source in (DUTCH, backwards) * 3))
    assert await held(database, "NLALLEGO0125441") == ("NLLOC006564", "AVAILABLE", "NL*ALL")
    assert await held(database, "NLUB2E10027959") == ("1099", "CHARGING", "NL*UB2")
    assert await database.pool.fetchval("SELECT count(*) FROM search_evse.evse") == 19


async def test_a_file_of_something_else_leaves_nothing_behind(database: Database) -> None:
    with pytest.raises(NotAnEvseFile):
        await take(database, [{"charge": 1}])
    assert await database.pool.fetchval("SELECT count(*) FROM search_evse.evse") == 0
