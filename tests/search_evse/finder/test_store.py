"""The finder on a real PostgreSQL: nearest first is held to brute force, all over the world."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from kit.database import Database
from roaming.evse_id import EvseId
from roaming.party import PartyId
from search_evse.finder.model import EvseFound, Page, Point, Query, distance_m
from search_evse.finder.store import SqlFinder
from search_evse.sites.flows import import_evses
from search_evse.sites.model import Connector, Intake, Status, Told
from search_evse.sites.store import SqlBooks
from tests.search_evse.cuts import DUTCH, FAST, FRENCH, NOW, OTHER, clock, told

TYPE_2 = Connector("1", "IEC_62196_T2", "SOCKET", "AC_3_PHASE", 22_000)
COMBO = Connector("2", "IEC_62196_T2_COMBO", "CABLE", "DC", 150_000)
SLOW_COMBO = Connector("2", "IEC_62196_T2_COMBO", "CABLE", "DC", 24_000)
ROLDE = Point(52.97, 6.62)


async def keep(database: Database, rows: Sequence[Told]) -> None:
    async with SqlBooks(database).open() as book:
        await book.write(Intake(now=NOW).take(rows, {}).changes)


def scattered() -> list[Told]:
    """Points in towns, along the antimeridian, about the poles, and two in one spot."""
    chance = random.Random(1)
    places = [Point(chance.uniform(-90, 90), chance.uniform(-180, 180)) for _ in range(120)]
    for centre in (Point(52, 5), Point(0, 180), Point(69.6, 18.9), Point(-17, -179.99)):
        for _ in range(40):
            longitude = centre.longitude + chance.gauss(0, 0.05)
            longitude = (longitude + 180) % 360 - 180
            places.append(Point(centre.latitude + chance.gauss(0, 0.05), longitude))
    places += [Point(90, 0), Point(-90, 0), Point(89.99, 120), Point(89.99, -60), Point(0, 180)]
    places += [Point(0, -180), Point(52, 5), Point(52, 5)]
    return [
        told(
            f"NL*FAS*E{number}",
            *place,
            status=chance.choice([Status.AVAILABLE, Status.CHARGING]),
            connectors=chance.choice([(TYPE_2,), (COMBO,), (TYPE_2, SLOW_COMBO), ()]),
        )
        for number, place in enumerate(places)
    ]


SCATTERED = scattered()


async def everything(finder: SqlFinder, query: Query) -> list[EvseFound]:
    """All pages of a search, put together."""
    found: list[EvseFound] = []
    page = Page((), None)
    while page.after is not None or not found:
        page = await finder.search(replace(query, after=page.after))
        found += page.found
        if page.after is None:
            break
    return found


near_places = some.builds(
    Point,
    some.floats(-90, 90) | some.sampled_from([-90.0, 90.0, 0.0, 52.0, 69.6]),
    some.floats(-180, 180) | some.sampled_from([-180.0, 180.0, 179.99, 5.0, 18.9]),
)
filters: some.SearchStrategy[dict[str, Any]] = some.fixed_dictionaries(
    {},
    optional={
        "radius_m": some.sampled_from([1.0, 5_000.0, 100_000.0, 3_000_000.0, 20_040_000.0]),
        "statuses": some.just(frozenset({Status.AVAILABLE})),
        "connectors": some.sampled_from(
            [frozenset({TYPE_2.standard}), frozenset({COMBO.standard, "CHADEMO"})]
        ),
        "min_power_w": some.sampled_from([20_000, 50_000]),
    },
)


def fits(row: Told, query: Query) -> bool:
    """The filters again, in plain words."""
    evse = row.evse
    if query.statuses and evse.status not in query.statuses:
        return False
    if not query.connectors and query.min_power_w is None:
        return True
    return any(
        (not query.connectors or connector.standard in query.connectors)
        and (connector.max_electric_power_w or 0) >= (query.min_power_w or 0)
        for connector in evse.connectors
    )


@pytest.fixture
async def world(database: Database) -> SqlFinder:
    await keep(database, SCATTERED)
    return SqlFinder(database)


async def test_the_nearest_are_those_that_brute_force_finds(world: SqlFinder) -> None:
    loop = asyncio.get_running_loop()

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(near_places, some.integers(1, 40), filters)
    def law(near: Point, limit: int, more: dict[str, Any]) -> None:
        query = Query(limit=limit, near=near, **more)
        search = asyncio.run_coroutine_threadsafe(world.search(query), loop)
        found = search.result(30).found
        distances = sorted(
            distance_m(near, Point(row.evse.latitude, row.evse.longitude))
            for row in SCATTERED
            if fits(row, query)
        )
        if query.radius_m is not None:
            distances = [distance for distance in distances if distance <= query.radius_m]
        assert [one.distance_m for one in found] == pytest.approx(distances[:limit], abs=0.01)
        for one in found:
            assert distance_m(near, one.place) == pytest.approx(one.distance_m, abs=0.01)

    await asyncio.to_thread(law)


@pytest.mark.parametrize("near", [Point(52, 5), Point(0, 180), Point(90, 0), None])
@pytest.mark.parametrize("limit", [1, 7, 100])
async def test_pages_put_together_hold_each_evse_once_and_in_order(
    world: SqlFinder, near: Point | None, limit: int
) -> None:
    found = await everything(world, Query(limit=limit, near=near))
    assert {one.evse_id for one in found} == {row.evse.id for row in SCATTERED}
    assert len(found) == len(SCATTERED)
    order = [(one.distance_m or 0.0, one.evse_id) for one in found]
    assert order == sorted(order)


async def test_type_and_power_must_be_those_of_one_connector(database: Database) -> None:
    await keep(
        database,
        [
            told("NL*FAS*E1", connectors=(TYPE_2, COMBO)),
            told("NL*FAS*E2", connectors=(replace(TYPE_2, max_electric_power_w=None), COMBO)),
            told("NL*FAS*E3", connectors=(SLOW_COMBO, replace(COMBO, standard="CHADEMO"))),
        ],
    )
    finder = SqlFinder(database)

    async def ids(**asked: Any) -> list[str]:
        return [one.evse_id for one in (await finder.search(Query(limit=9, **asked))).found]

    combo = frozenset({"IEC_62196_T2_COMBO"})
    assert await ids(connectors=combo, min_power_w=50_000) == ["NLFASE1", "NLFASE2"]
    assert await ids(connectors=frozenset({"IEC_62196_T2"}), min_power_w=11_000) == ["NLFASE1"]
    assert await ids(min_power_w=100_000) == ["NLFASE1", "NLFASE2", "NLFASE3"]


async def test_removed_and_unpublished_evses_are_not_found(database: Database) -> None:
    await keep(
        database,
        [
            told("NL*FAS*E1"),
            told("NL*FAS*E2", status=Status.REMOVED),
            told("NL*FAS*E3", published=False),
        ],
    )
    finder = SqlFinder(database)
    for near in (None, Point(52, 5)):
        page = await finder.search(Query(limit=9, near=near))
        assert [one.evse_id for one in page.found] == ["NLFASE1"]


async def test_a_removed_evse_is_still_looked_up_and_an_unpublished_one_by_its_operator(
    database: Database,
) -> None:
    await keep(
        database,
        [told("NL*FAS*E2", status=Status.REMOVED), told("NL*FAS*E3", published=False)],
    )
    finder = SqlFinder(database)
    removed = await finder.look_up(EvseId("NL*FAS*E2"), asker=OTHER)
    assert removed is not None
    assert removed.status is Status.REMOVED
    assert await finder.look_up(EvseId("NL*FAS*E3"), asker=OTHER) is None
    assert await finder.look_up(EvseId("NL*FAS*E3"), asker=FAST) is not None
    assert await finder.look_up(EvseId("NL*FAS*E9"), asker=FAST) is None


@pytest.fixture
async def registers(database: Database) -> SqlFinder:
    for path in (DUTCH, FRENCH):
        await import_evses(io.BytesIO(path.read_bytes()), books=SqlBooks(database), clock=clock)
    return SqlFinder(database)


CHADEMO, RESERVABLE = frozenset({"CHADEMO"}), frozenset({"RESERVABLE"})
ALLEGO, FASTNED = frozenset({PartyId("NL*ALL")}), frozenset({PartyId("NL*FAS")})
OKKEN = ["NLTNMEGL3115845011", "NLTNMEGL3115845012"]
BAARVELD = [f"NLFASE310930{number}" for number in (1, 2, 3, 4)]
ALL_NIGHT_AND_FAST = {
    "open_all_hours": True,
    "min_power_w": 300_000,
    "near": ROLDE,
    "radius_m": 20_000.0,
    "words": ("baarveld",),
}


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        ({"city": "ROLDE", "operators": ALLEGO}, ["NLALLEGO0125441", "NLALLEGO0125442"]),
        ({"city": "lezignan corbieres"}, ["FRECHECSQXX1"]),
        ({"postal_code": "75011"}, ["FRV75E9011022", "FRV75EPX11092"]),
        ({"postal_code": "9461 va"}, OKKEN),
        ({"postal_code": "9461", "words": ("shell", "okk")}, OKKEN),
        ({"words": ("taillebourg",)}, ["FRV75EPX11092"]),
        ({"words": ("tailleboulevard",)}, []),
        ({"connectors": CHADEMO, "operators": FASTNED}, ["NLFASE3109302", "NLFASE3109304"]),
        ({"capabilities": RESERVABLE, "city": "Lézignan-Corbières"}, ["FRECHECSQXX1"]),
        ({"capabilities": RESERVABLE | {"RFID_READER"}}, []),
        (ALL_NIGHT_AND_FAST, BAARVELD),
    ],
)
async def test_the_registers_are_found_by_all_five_sections(
    registers: SqlFinder, asked: dict[str, Any], ids: list[str]
) -> None:
    page = await registers.search(Query(limit=50, **asked))
    assert sorted(one.evse_id for one in page.found) == ids
    assert page.after is None


async def test_what_is_found_is_what_was_told(registers: SqlFinder) -> None:
    found = await registers.look_up(EvseId("NLFASE3109302"), asker=OTHER)
    assert found is not None
    assert (found.operator, found.status, found.site.name) == (
        "NL*FAS",
        Status.AVAILABLE,
        "Fastned Baarveld",
    )
    assert [(one.standard, one.max_electric_power_w) for one in found.connectors] == [
        ("IEC_62196_T2_COMBO", 300_000),
        ("CHADEMO", 50_000),
    ]
    assert found.capabilities == ("REMOTE_START_STOP_CAPABLE", "RFID_READER")


async def test_words_of_a_search_cannot_become_its_grammar(registers: SqlFinder) -> None:
    for word in ("rue_", "a_b", "_", "x" * 3_000):
        await registers.search(Query(limit=5, words=(word,)))
    assert (await registers.search(Query(limit=5, postal_code="75%1"))).found == ()
