"""The book: what it finds, what it parses, and that it misses nothing that was committed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from gridroam.core import COMMITMENTS
from marketplace.contracts.book import ContractBook
from marketplace.contracts.entries import ContractInForce, NotInForce
from marketplace.contracts.model import Absence
from marketplace.contracts.ports import BookRow, Reading, ServiceRow, StandingRow
from marketplace.contracts.source import SqlBookSource
from marketplace.services import flows as service_flows
from marketplace.services.changes import Change
from marketplace.services.handling import Mode
from marketplace.services.lifecycle import Action
from marketplace.services.model import HUB_SERVICES
from marketplace.services.store import SqlShelf
from roaming.evse_id import EvseId
from tests.marketplace.fakes import (
    EVSP,
    HUB,
    NOW,
    OPERATOR,
    OTHER,
    ROAMING_TERMS,
    HandClock,
    Member,
    agree_roaming,
    until,
)
from tests.marketplace.services.test_routes import PARKING
from tests.marketplace.whole import Marketplace


def new_book(market: Marketplace) -> ContractBook:
    return ContractBook(SqlBookSource(market.database), market.clock)


async def test_a_roaming_agreement_comes_with_its_tariff_ready(
    market: Marketplace, operator: Member, evsp: Member, clock: HandClock
) -> None:
    terms = ROAMING_TERMS | {"evses": ["FR*PD1*E12*", "fr-pd1-E77"]}
    contract = await agree_roaming(operator, evsp, terms=terms)
    agreement = market.book.roaming(OPERATOR, EVSP, clock())
    assert agreement is not None
    assert agreement.contract_id == contract["contract_id"]
    assert (agreement.operator, agreement.evsp) == (OPERATOR, EVSP)
    assert (agreement.currency, agreement.vat_percent) == ("EUR", Decimal(20))
    assert agreement.tariff.elements[0].price_components[0].price == Decimal("0.35")
    assert agreement.covers(EvseId("FR*PD1*E123"))
    assert agreement.covers(EvseId("FR*PD1*E77"))
    assert not agreement.covers(EvseId("FR*PD1*E771"))
    assert market.book.roaming(OPERATOR, EVSP, clock()) is agreement
    assert market.book.roaming(EVSP, OPERATOR, clock()) is None
    assert market.book.roaming(OPERATOR, OTHER, clock()) is None
    assert market.book.roaming(OPERATOR, EVSP, NOW - timedelta(seconds=1)) is None


async def test_an_operators_roaming_partners_are_those_in_force_at_the_moment(
    market: Marketplace, operator: Member, evsp: Member, clock: HandClock
) -> None:
    at = clock()
    assert market.book.roaming_partners(OPERATOR, at) == []
    contract = await agree_roaming(operator, evsp)
    assert market.book.roaming_partners(OPERATOR, at) == [EVSP]
    assert market.book.roaming_partners(OTHER, at) == []
    assert market.book.roaming_partners(EVSP, at) == []
    assert market.book.roaming_partners(OPERATOR, NOW - timedelta(seconds=1)) == []
    await operator.http.post(f"/marketplace/contracts/{contract['contract_id']}/suspend")
    assert market.book.roaming_partners(OPERATOR, at) == []


async def test_why_there_is_none_is_said_by_the_contract_that_came_closest(
    market: Marketplace, operator: Member, evsp: Member, clock: HandClock
) -> None:
    past = await agree_roaming(
        operator, evsp, valid_from="2025-01-01T00:00:00Z", valid_until="2025-06-01T00:00:00Z"
    )
    coming = await agree_roaming(operator, evsp, valid_from="2026-06-01T00:00:00Z")
    find = market.book.find
    assert find(EVSP, OPERATOR, "roaming", 1, NOW) == NotInForce(
        Absence.NOT_YET_VALID, coming["contract_id"]
    )
    await operator.http.post(f"/marketplace/contracts/{past['contract_id']}/suspend")
    assert find(EVSP, OPERATOR, "roaming", 1, NOW) == NotInForce(
        Absence.SUSPENDED, past["contract_id"]
    )
    assert find(EVSP, None, "roaming", 1, NOW) == NotInForce(Absence.NO_CONTRACT)
    assert find(EVSP, None, "no-such", 1, NOW) == NotInForce(Absence.NO_CONTRACT)
    assert find(EVSP, OPERATOR, "roaming", 2, NOW) == NotInForce(Absence.NO_CONTRACT)


async def test_a_suspended_partner_has_nothing_in_force_from_that_moment_until_it_is_restored(
    market: Marketplace, operator: Member, evsp: Member, keeper: Member, clock: HandClock
) -> None:
    contract = await agree_roaming(operator, evsp)
    find, began = market.book.find, clock()
    suspended = clock.forward(minutes=5)
    assert (await keeper.http.post(f"{standing_of(OPERATOR)}/suspend")).status_code == 200
    absent = NotInForce(Absence.PARTNER_SUSPENDED, contract["contract_id"])
    assert find(EVSP, OPERATOR, "roaming", 1, suspended) == absent
    assert market.book.roaming(OPERATOR, EVSP, suspended) is None
    assert market.book.roaming_partners(OPERATOR, suspended) == []
    found = find(OPERATOR, None, "search-evse", 1, suspended)
    assert isinstance(found, NotInForce)
    assert found.reason is Absence.PARTNER_SUSPENDED
    # What began before has begun under a contract, which held until then and no longer.
    before = find(EVSP, OPERATOR, "roaming", 1, began)
    assert isinstance(before, ContractInForce)
    assert (before.holds_from, before.holds_until) == (began, suspended)
    assert market.book.roaming(OPERATOR, EVSP, suspended - timedelta(seconds=1)) is not None
    # Nobody else is touched.
    assert isinstance(find(EVSP, None, "search-evse", 1, suspended), ContractInForce)

    restored = clock.forward(minutes=5)
    await keeper.http.post(f"{standing_of(OPERATOR)}/restore")
    again = find(EVSP, OPERATOR, "roaming", 1, restored)
    assert isinstance(again, ContractInForce)
    assert (again.holds_from, again.holds_until) == (restored, None)
    assert find(EVSP, OPERATOR, "roaming", 1, restored - timedelta(seconds=1)) == absent


async def test_what_stands_in_the_database_of_partners_is_in_every_book(
    market: Marketplace, second: Marketplace, operator: Member, evsp: Member, keeper: Member
) -> None:
    await agree_roaming(operator, evsp)
    late = new_book(market)
    path = f"/marketplace/partners/{EVSP}/roles/evsp"
    assert (await keeper.http.post(f"{path}/suspend")).status_code == 200
    await until(lambda: second.book.roaming(OPERATOR, EVSP, NOW) is None)
    await late.load()
    assert late.roaming(OPERATOR, EVSP, NOW) is None
    # Of a suspended role only what is done in it.
    assert isinstance(late.find(EVSP, None, "search-evse", 1, NOW), ContractInForce)
    assert await late.check()
    # A book that missed a turn notices when it is compared.
    late._pages.standings.clear()
    late._pages._turned.clear()
    assert not await late.check()
    assert late.roaming(OPERATOR, EVSP, NOW) is None


def standing_of(party: str) -> str:
    return f"/marketplace/partners/{party}/standing"


async def test_the_catalogue_is_in_the_book(market: Marketplace, clock: HandClock) -> None:
    search = market.book.service("search-evse", 1)
    assert search is not None
    assert (search.provider, search.endpoint, search.callable) == (HUB, None, True)
    roaming = market.book.service("roaming", 1)
    assert roaming is not None
    assert not roaming.callable
    for action, suspended in ((Action.SUSPEND, True), (Action.PUBLISH, False)):
        await service_flows.change(
            market.core.catalogue, HUB, "search-evse", 1, action, memory=market.book, now=clock()
        )
        entry = market.book.service("search-evse", 1)
        assert entry is not None
        assert entry.suspended is suspended
    assert market.book.service("search-evse", 2) is None


async def test_a_slow_writer_is_not_missed(
    market: Marketplace, operator: Member, evsp: Member, clock: HandClock
) -> None:
    contract = await agree_roaming(operator, evsp)
    book = new_book(market)
    await book.load()
    slow = await market.database.pool.acquire()
    transaction = slow.transaction()
    await transaction.start()
    try:
        await slow.execute(
            "UPDATE marketplace.contract SET changed_xid = pg_current_xact_id()::text::bigint,"
            " valid_until = $2, version = version + 1 WHERE contract_id = $1",
            contract["contract_id"],
            NOW + timedelta(hours=1),
        )
        # Another, quicker transaction commits in between and is seen.
        clock.forward(minutes=1)
        await market.add_partner(OTHER, ["evsp"], "Quick")
        await book.refresh()
        assert isinstance(book.find(OTHER, None, "search-evse", 1, clock()), ContractInForce)
        await transaction.commit()
    finally:
        await market.database.pool.release(slow)
    await book.refresh()
    found = book.find(EVSP, OPERATOR, "roaming", 1, NOW + timedelta(hours=1))
    assert found == NotInForce(Absence.EXPIRED, contract["contract_id"])


async def test_what_was_committed_before_a_refresh_is_seen_after_it_however_many_ask(
    market: Marketplace, clock: HandClock
) -> None:
    book = new_book(market)
    await book.load()

    async def join_and_look(code: str) -> bool:
        joined = await market.add_partner(OTHER.__class__(f"NL*{code}"), ["evsp"], code)
        await book.refresh()
        return isinstance(
            book.find(joined.partner.party, None, "search-evse", 1, clock()), ContractInForce
        )

    assert all(await asyncio.gather(*(join_and_look(f"A{n:02}") for n in range(12))))
    offered = [name for name, (*_, roles) in HUB_SERVICES.items() if "evsp" in roles]
    assert len(book) == 12 * len(offered)


async def test_a_book_that_differs_is_found_out_and_loaded_anew(
    market: Marketplace, operator: Member
) -> None:
    book = new_book(market)
    await book.load()
    assert await book.check()
    async with market.database.begin() as connection:
        # A change behind the hub's back, which no look by transaction would show.
        await connection.exec_driver_sql(
            "DELETE FROM marketplace.contract WHERE service = 'search-evse'"
        )
    assert not await book.check()
    assert await book.check()
    assert book.find(OPERATOR, None, "search-evse", 1, NOW) == NotInForce(Absence.NO_CONTRACT)


async def test_a_service_changed_behind_its_back_is_found_out_too(
    market: Marketplace, operator: Member
) -> None:
    book = new_book(market)
    await book.load()
    await operator.http.post("/marketplace/services", json=PARKING)
    await book.refresh()
    assert await book.check()
    assert book.service("parking", 1) is not None
    async with market.database.begin() as connection:
        await connection.exec_driver_sql("DELETE FROM marketplace.service WHERE name = 'parking'")
    assert not await book.check()
    assert book.service("parking", 1) is None


async def test_a_service_that_a_slow_writer_changes_is_not_missed(
    market: Marketplace, operator: Member, clock: HandClock
) -> None:
    await operator.http.post("/marketplace/services", json=PARKING)
    book = new_book(market)
    await book.load()
    async with market.database.begin() as connection:
        slow = SqlShelf(connection, COMMITMENTS)
        (parking,) = await slow.versions("parking")
        moved = replace(parking, endpoint="https://slow.example/")
        await slow.save(moved, Change.ENDPOINTS, OPERATOR, clock())
        # Another, quicker transaction commits in between and is seen.
        await operator.http.post("/marketplace/services", json=PARKING | {"name": "quick"})
        await book.refresh()
        assert book.service("quick", 1) is not None
        assert _endpoint(book) == PARKING["endpoint"]
    await book.refresh()
    assert _endpoint(book) == "https://slow.example/"


def _endpoint(book: ContractBook) -> str | None:
    entry = book.service("parking", 1)
    assert entry is not None
    return entry.endpoint


async def test_only_what_has_changed_is_read_again_of_a_large_catalogue(
    market: Marketplace, operator: Member, clock: HandClock
) -> None:
    """Ten thousand services would otherwise be parsed every few seconds, in every process."""
    await operator.http.post("/marketplace/services", json=PARKING)
    async with market.database.begin() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO marketplace.service (name, major, provider, status, category, description,"
            " endpoint, protocol, documentation, operations, registered_at)"
            " SELECT 'many-' || n, 1, provider, 'published', category, description,"
            " endpoint, protocol, documentation, operations, registered_at"
            " FROM marketplace.service, generate_series(1, 10000) AS n WHERE name = 'parking'"
        )
    source = Counting(SqlBookSource(market.database))
    book = ContractBook(source, market.clock)
    await book.load()
    assert source.services > 10_000
    source.services, edition = 0, book.edition
    for _ in range(3):
        await book.refresh()
        assert await book.check()
    assert (source.services, book.edition) == (0, edition)
    before = book.service("many-1", 1)
    await operator.http.put(
        "/marketplace/services/parking/v1/handling", json={"mode": "shadow", "timeout_s": 2}
    )
    await book.refresh()
    assert source.services == 1
    assert book.edition > edition
    parking = book.service("parking", 1)
    assert parking is not None
    assert parking.handling.mode is Mode.SHADOW
    assert book.service("many-1", 1) is before


class Counting:
    """Counts the services that a source gives."""

    def __init__(self, source: SqlBookSource) -> None:
        self._source = source
        self.services = 0

    async def read(
        self,
        fence: int | None,
        *,
        known_terms: Collection[bytes],
        take_terms: Callable[[bytes, str], None],
        take: Callable[[Sequence[BookRow]], None],
        take_services: Callable[[Sequence[ServiceRow]], None],
        take_standings: Callable[[Sequence[StandingRow]], None],
        count: bool = False,
    ) -> Reading:
        def counted(rows: Sequence[ServiceRow]) -> None:
            self.services += len(rows)
            take_services(rows)

        return await self._source.read(
            fence,
            known_terms=known_terms,
            take_terms=take_terms,
            take=take,
            take_services=counted,
            take_standings=take_standings,
            count=count,
        )


async def test_its_age_is_the_time_since_it_was_last_known_to_be_right(
    market: Marketplace, clock: HandClock
) -> None:
    book = new_book(market)
    assert book.age_s(NOW) == float("inf")
    await book.refresh()
    assert book.age_s(NOW) == float("inf")
    await book.load()
    clock.forward(seconds=7)
    assert book.age_s(clock()) == 7
    await book.refresh()
    assert book.age_s(clock()) == 0
