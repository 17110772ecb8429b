"""The book: what holds at which moment, in every process, as soon as it is told anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from marketplace.business import flows
from marketplace.business.book import BusinessBook
from marketplace.business.model import BusinessDetails, business_details
from marketplace.business.store import SqlSource
from roaming.party import PartyId
from tests.marketplace.business.test_model import TOLD, details
from tests.marketplace.fakes import EVSP, HUB, NOW, OPERATOR, HandClock, Member, until
from tests.marketplace.whole import Marketplace

DAY = timedelta(days=1)


class Told:
    """What was told, held in memory."""

    def __init__(self, told: Sequence[BusinessDetails]) -> None:
        self._told = told

    async def count(self) -> int:
        return len(self._told)

    async def all(self) -> Sequence[BusinessDetails]:
        return self._told


def at_day(day: int, city: str, party: PartyId = EVSP) -> BusinessDetails:
    return business_details(party, **TOLD | {"city": city, "valid_from": NOW + day * DAY})


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(-1, 10))
def test_what_was_told_last_for_the_latest_moment_before_holds(days: list[int], asked: int) -> None:
    told = [at_day(day, f"City {number}") for number, day in enumerate(days)]
    book = BusinessBook(Told(told))
    asyncio.run(book.load())
    begun = [one for one in told if one.valid_from <= NOW + asked * DAY]
    expected = max(enumerate(begun), key=lambda one: (one[1].valid_from, one[0]), default=None)
    found = book.details_at(EVSP, NOW + asked * DAY)
    assert found == (None if expected is None else expected[1])
    assert book.details_at(OPERATOR, NOW) is None


async def test_a_book_that_was_never_loaded_stays_empty() -> None:
    book = BusinessBook(Told([at_day(0, "Berlin")]))
    await book.refresh()
    assert book.details_at(EVSP, NOW) is None


async def test_other_processes_hear_of_it(
    market: Marketplace, second: Marketplace, evsp: Member, clock: HandClock
) -> None:
    await flows.tell(
        market.core.business_files,
        EVSP,
        details(valid_from=clock()),
        hub=HUB,
        memory=market.core.businesses,
        now=clock(),
    )
    here = market.core.businesses.details_at(EVSP, clock())
    assert here is not None
    assert here.vat_id == "DE136695976"
    await until(lambda: second.core.businesses.details_at(EVSP, clock()) == here)
    assert market.core.businesses.details_at(EVSP, clock() - DAY) is None


async def test_what_is_read_anew_is_what_was_told(
    market: Marketplace, evsp: Member, clock: HandClock
) -> None:
    for city, start in (("Bonn", NOW), ("Köln", datetime(2020, 1, 1, tzinfo=UTC)), ("Bonn", NOW)):
        await flows.tell(
            market.core.business_files,
            EVSP,
            details(city=city, valid_from=start),
            hub=HUB,
            memory=market.core.businesses,
            now=clock(),
        )
    book = BusinessBook(SqlSource(market.database))
    await book.load()
    for at in (NOW, NOW - DAY):
        assert book.details_at(EVSP, at) == market.core.businesses.details_at(EVSP, at) is not None
    assert len(await flows.history(market.core.business_files, EVSP, EVSP, hub=HUB)) == 2
