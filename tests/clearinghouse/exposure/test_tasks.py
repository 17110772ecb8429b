"""The watcher: what nobody asks about is looked at all the same."""

from __future__ import annotations

from datetime import timedelta

import pytest

from clearinghouse.exposure import flows
from clearinghouse.exposure.model import limit_of
from clearinghouse.exposure.store import Holds, SqlBooks
from clearinghouse.exposure.tasks import Watcher
from clearinghouse.ledger.model import Kind, Posting, Subject, mirrored
from clearinghouse.ledger.store import post
from kit import event_log
from kit.database import Database
from roaming.money import Money
from tests.clearinghouse.exposure.test_store import HUB, NOON, PD1, XYZ, eur


@pytest.fixture
def books(database: Database) -> SqlBooks:
    return SqlBooks(database, Holds(HUB))


async def owes(database: Database, number: int, subject: Subject, amount: Money) -> None:
    entries = mirrored(subject, creditor=PD1, debtor=XYZ, amount=amount)
    async with database.hot() as connection:
        one = Posting(number, Kind.CHARGE, PD1, PD1, None, NOON, entries)
        await post(connection, [one], NOON)


async def test_a_debt_that_grows_by_itself_is_warned_of_and_shown_as_a_figure(
    database: Database, books: SqlBooks
) -> None:
    limit = limit_of(XYZ, eur("100.00"), eur("1.00"), by="operator", now=NOON)
    await flows.set_limit(limit, books=books, clock=lambda: NOON)
    watcher = Watcher(books, lambda: NOON + timedelta(seconds=1))
    await owes(database, 1, Subject.CHARGE, eur("50.00"))
    await owes(database, 2, Subject.VAT, eur("10.00"))
    await watcher.step()
    assert watcher.percents() == {(XYZ,): 60}
    # A dispute, a fee, what is settled and not paid: all of it is owed. What is owed to it is not
    # taken off.
    await owes(database, 3, Subject.DISPUTED_CHARGE, eur("10.00"))
    await owes(database, 4, Subject.FEE, eur("5.00"))
    await owes(database, 5, Subject.SETTLEMENT, eur("6.00"))
    async with database.hot() as connection:
        theirs = mirrored(Subject.CHARGE, creditor=XYZ, debtor=PD1, amount=eur("70.00"))
        await post(connection, [Posting(6, Kind.CHARGE, PD1, PD1, None, NOON, theirs)], NOON)
    for _ in range(2):
        await watcher.step()
    assert watcher.percents() == {(XYZ,): 81}
    async with database.hot() as connection:
        events = await event_log.read(connection, event_log.START, types=["exposure-warning"])
    assert [(one.party, one.body["owed_minor"]) for one in events] == [(XYZ, 81_00), (HUB, 81_00)]


async def test_who_has_no_limit_any_more_has_no_figure(books: SqlBooks) -> None:
    limit = limit_of(XYZ, eur("100.00"), eur("1.00"), by="operator", now=NOON)
    await flows.set_limit(limit, books=books, clock=lambda: NOON)
    watcher = Watcher(books, lambda: NOON)
    await watcher.step()
    assert watcher.percents() == {(XYZ,): 0}
    await flows.lift_limit(XYZ, by="operator", books=books, clock=lambda: NOON)
    await watcher.step()
    assert watcher.percents() == {}
