"""Offline lists on a real PostgreSQL: who follows the differences, holds the list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from clearinghouse.customers import flows as customer_flows
from clearinghouse.customers.model import (
    AuthorisationMode,
    CustomerContract,
    Line,
    Removal,
    Status,
    draw_up,
)
from clearinghouse.customers.store import SqlCustomers
from clearinghouse.offline_lists import flows, model
from clearinghouse.offline_lists.model import Consent, Page, Shares, UpdateType
from clearinghouse.offline_lists.store import SqlOfflineLists
from kit import event_log
from kit.database import Database
from roaming.contract_id import ContractId
from roaming.party import PartyId
from roaming.refusal import Refusal

OPERATOR, OTHER = PartyId("FR*PD1"), PartyId("NL*STR")
XYZ, ABC = PartyId("FR*XYZ"), PartyId("DE*ABC")
BEGAN = datetime(2025, 1, 7, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass
class House:
    """Customers, agreements and a clock, and the copy that one operator holds."""

    database: Database
    now: datetime = BEGAN
    agreed: dict[PartyId, datetime | None] = field(default_factory=lambda: {XYZ: None})
    copy: dict[str, tuple[str, datetime | None]] = field(default_factory=dict)
    version: int | None = None

    def partners(self, operator: PartyId, at: datetime) -> Shares:
        return self.agreed if operator == OPERATOR else {}

    def clock(self) -> datetime:
        return self.now

    async def bulk(self, *contents: CustomerContract | Removal, evsp: PartyId = XYZ) -> None:
        async def lines() -> Any:
            yield [Line(n, one, one.contract_id) for n, one in enumerate(contents, 1)]

        report = await customer_flows.keep_many(
            lines(), caller=evsp, customers=SqlCustomers(self.database), clock=self.clock
        )
        self.refused = report.rejected

    async def consent(self, given: bool, evsp: PartyId = XYZ, whom: PartyId | None = None) -> None:
        await flows.consent(Consent(whom, given), caller=evsp, lists=self.lists, clock=self.clock)

    @property
    def lists(self) -> SqlOfflineLists:
        return SqlOfflineLists(self.database)

    async def pages(
        self, since: int | None = None, *, limit: int = 2, operator: PartyId = OPERATOR
    ) -> Sequence[Page]:
        known: dict[str, Any] = {
            "caller": operator,
            "lists": self.lists,
            "agreements": self,
            "clock": self.clock,
            "limit": limit,
        }
        first = await flows.read(since, **known)
        return [page async for page in flows.whole(first, **known)]

    async def full(self, operator: PartyId = OPERATOR) -> dict[str, tuple[str, datetime | None]]:
        pages = await self.pages(operator=operator)
        assert {page.update_type for page in pages} == {UpdateType.FULL}
        entries = [one for page in pages for one in page.entries]
        found = {one.token_uid: (str(one.contract_id), one.valid_until) for one in entries}
        assert len(found) == len(entries), "no card twice"
        return {str(uid): what for uid, what in found.items()}

    async def follow(self) -> tuple[set[str], set[str]]:
        """Bring the operator's copy up to date; the cards that were told, and those removed."""
        pages = await self.pages(self.version)
        if pages[0].update_type is UpdateType.FULL:
            self.copy = {}
        told, removed = set(), set()
        for page in pages:
            for uid in page.removed:
                self.copy.pop(uid, None)
                removed.add(str(uid))
            for one in page.entries:
                self.copy[str(one.token_uid)] = (str(one.contract_id), one.valid_until)
                told.add(str(one.token_uid))
        self.version = pages[0].version.number
        self.copy = {
            uid: what for uid, what in self.copy.items() if what[1] is None or what[1] > self.now
        }
        return told, removed


@pytest.fixture
def house(database: Database) -> House:
    return House(database)


def card(number: int, *uids: str, evsp: PartyId = XYZ, **more: Any) -> CustomerContract:
    return draw_up(f"{evsp.compact}{number:09}", token_uids=uids or [f"UID{number}"], **more)


async def test_nothing_is_exported_without_consent_and_agreement(house: House) -> None:
    await house.bulk(card(1))
    assert await house.full() == {}
    await house.consent(True, whom=OTHER)
    assert await house.full() == {}
    await house.consent(True)
    assert set(await house.full()) == {"UID1"}
    assert await house.full(OTHER) == {}
    # A word about one operator goes before the word about all.
    await house.consent(False, whom=OPERATOR)
    assert await house.full() == {}
    await house.consent(True, whom=OPERATOR)
    house.agreed = {}
    assert await house.full() == {}


async def test_a_consent_is_told_once(house: House, database: Database) -> None:
    for _ in range(2):
        await house.consent(True, whom=OPERATOR)
    async with database.hot() as connection:
        (event,) = await event_log.read(connection, event_log.START)
    assert dict(event.body) == {"operator": "FR*PD1", "consent": True}
    shown = await flows.consents(caller=XYZ, lists=house.lists)
    assert shown == [Consent(OPERATOR, True)]


async def test_only_cards_that_the_list_itself_says_yes_to_are_exported(house: House) -> None:
    await house.consent(True)
    await house.bulk(
        card(1),
        card(2, authorisation=AuthorisationMode.BOTH, valid_until=BEGAN + HOUR),
        card(3, authorisation=AuthorisationMode.ASK),
        card(4, status=Status.BLOCKED),
        card(5, services=["parking"]),
        card(6, valid_from=BEGAN + HOUR),
        card(7, valid_until=BEGAN),
    )
    house.agreed = {XYZ: BEGAN + 5 * HOUR}
    assert await house.full() == {
        "UID1": (ContractId("FRXYZ000000001"), BEGAN + 5 * HOUR),
        "UID2": (ContractId("FRXYZ000000002"), BEGAN + HOUR),
    }


async def test_a_version_stays_until_something_changes_and_grows_then(house: House) -> None:
    await house.consent(True)
    await house.bulk(card(1))
    await house.follow()
    assert (house.version, await house.follow()) == (1, (set(), set()))
    assert house.version == 1
    await house.bulk(card(2), card(3))
    assert await house.follow() == ({"UID2", "UID3"}, set())
    assert house.version == 2
    await house.bulk(card(2, status=Status.BLOCKED))
    assert await house.follow() == (set(), {"UID2"})


async def test_what_was_never_told_is_not_told_by_its_removal(house: House) -> None:
    await house.consent(True)
    await house.bulk(card(1))
    await house.follow()
    await house.bulk(card(2))
    await house.bulk(card(3, status=Status.BLOCKED), Removal(card(2).contract_id))
    await house.consent(False)
    assert await house.follow() == (set(), {"UID1"})
    assert await house.follow() == (set(), set())


async def test_who_withdraws_while_a_list_is_read_is_told_of_no_more(house: House) -> None:
    await house.consent(True)
    await house.bulk(*(card(n) for n in range(4)))
    known: dict[str, Any] = {
        "caller": OPERATOR,
        "lists": house.lists,
        "agreements": house,
        "clock": house.clock,
        "limit": 2,
    }
    first = await flows.read(None, **known)
    await house.consent(False)
    rest = [page async for page in flows.whole(first, **known)][1:]
    assert [len(page.entries) for page in (first, *rest)] == [2, 0]


async def test_a_version_that_is_too_old_is_answered_by_the_full_list(house: House) -> None:
    await house.consent(True)
    for n in range(model.VERSIONS_KEPT + 2):
        await house.bulk(card(n % 3, display_name=str(n)))
        (page,) = await house.pages(limit=100)
    assert page.version.number == model.VERSIONS_KEPT + 2
    (old,) = await house.pages(1, limit=100)
    assert (old.update_type, len(old.entries)) == (UpdateType.FULL, 3)
    recent, *_ = await house.pages(page.version.number - 1, limit=100)
    assert (recent.update_type, len(recent.entries)) == (UpdateType.DIFFERENTIAL, 1)
    with pytest.raises(Refusal) as refused:
        await flows.read_on(
            1,
            None,
            model.Place(XYZ, model.Stage.ALL),
            caller=OPERATOR,
            lists=house.lists,
            agreements=house,
            clock=house.clock,
            limit=1,
        )
    assert refused.value.field == "cursor"


async def test_the_change_of_a_slow_writer_is_in_the_next_difference(
    house: House, database: Database
) -> None:
    await house.consent(True)
    await house.bulk(card(1), card(2))
    await house.follow()
    async with SqlCustomers(database).write(XYZ) as slow:
        await slow.keep([card(1, status=Status.BLOCKED)], house.now)
        # A faster one, of another EVSP, commits meanwhile, and a version is made.
        house.agreed = {XYZ: None, ABC: None}
        await house.consent(True, evsp=ABC)
        await house.bulk(card(9, evsp=ABC), evsp=ABC)
        assert await house.follow() == ({"UID9"}, set())
    assert await house.follow() == (set(), {"UID1"})


steps = some.lists(
    some.one_of(
        some.tuples(
            some.just("keep"),
            some.sampled_from([XYZ, ABC]),
            some.integers(1, 3),
            some.lists(some.sampled_from(["A", "B", "C"]), max_size=2, unique=True),
            some.sampled_from(list(Status)),
            some.sampled_from([None, 1, 3]),
            some.sampled_from([None, 2, 4]),
        ),
        some.tuples(some.just("remove"), some.sampled_from([XYZ, ABC]), some.integers(1, 3)),
        some.tuples(some.just("consent"), some.sampled_from([XYZ, ABC]), some.booleans()),
        some.tuples(
            some.just("agree"), some.sampled_from([XYZ, ABC]), some.sampled_from([None, 0, 5, 9])
        ),
        some.tuples(some.just("wait")),
        some.tuples(some.just("follow")),
    ),
    min_size=3,
    max_size=14,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=steps)
async def test_who_follows_the_differences_holds_the_full_list(
    database: Database, steps: list[tuple[Any, ...]]
) -> None:
    async with database.hot() as connection:
        await connection.execute(
            "TRUNCATE clearinghouse.customer_contract, clearinghouse.customer_token,"
            " clearinghouse.customer_token_given_up, clearinghouse.offline_consent,"
            " clearinghouse.offline_list_version CASCADE"
        )
    house = House(database, agreed={XYZ: None, ABC: None})
    for evsp in (XYZ, ABC):
        await house.consent(True, evsp)
    for step in [*steps, ("follow",)]:
        match step:
            case "keep", evsp, number, uids, status, begins, until:
                validity = {
                    "valid_from": begins and BEGAN + begins * HOUR,
                    "valid_until": until and BEGAN + (until + 3) * HOUR,
                }
                one = draw_up(
                    f"{evsp.compact}{number:09}", token_uids=uids, status=status, **validity
                )
                await house.bulk(one, evsp=evsp)
            case "remove", evsp, number:
                await house.bulk(Removal(card(number, evsp=evsp).contract_id), evsp=evsp)
            case "consent", evsp, given:
                await house.consent(given, evsp)
            case "agree", evsp, 0:
                house.agreed = {one: at for one, at in house.agreed.items() if one != evsp}
            case "agree", evsp, hours:
                house.agreed = house.agreed | {evsp: hours and BEGAN + (hours + 20) * HOUR}
            case ("wait",):
                house.now += HOUR
            case ("follow",):
                await house.follow()
                assert house.copy == await house.full()
