"""Invoices as they are kept: the bytes that were issued, numbered and never changed."""

from __future__ import annotations

from hashlib import sha256

import asyncpg
import pytest

from clearinghouse.invoicing.store import SqlBooks
from clearinghouse.periods.model import Month
from documents.en16931 import to_xml
from kit import event_log
from kit.database import Database
from kit.event_log import START
from roaming.events import EventType
from tests.clearinghouse.cdrs.fakes import EVSP, OPERATOR, many
from tests.clearinghouse.invoicing.fakes import JANUARY, Months

DECEMBER = Month(2024, 12)


async def test_what_is_read_back_is_what_was_issued_to_the_byte(database: Database) -> None:
    months = Months(database)
    await months.book(many(3, energy_wh=1_001))
    await months.close()
    (found,) = await months.invoices()
    assert to_xml(found.invoice) == found.xml
    assert sha256(found.xml).digest() == found.xml_sha256


async def test_it_is_told_in_the_log_of_its_seller(database: Database) -> None:
    months = Months(database)
    await months.book(many(1))
    await months.close()
    (found,) = await months.invoices()
    async with database.hot() as connection:
        (event,) = await event_log.read(connection, START, types=[EventType.INVOICE_ISSUED])
    assert event.stream == f"invoices/{OPERATOR}"
    assert event.cursor.position == found.position
    assert event.body["number"] == found.invoice.number
    assert event.body["buyer"] == EVSP
    assert event.body["xml_sha256"] == found.xml_sha256.hex()


@pytest.mark.parametrize(
    "change",
    ["UPDATE clearinghouse.invoice SET buyer = 'FR*XXX'", "DELETE FROM clearinghouse.invoice"],
)
async def test_nobody_changes_an_invoice(database: Database, change: str) -> None:
    months = Months(database)
    await months.book(many(1))
    await months.close()
    with pytest.raises(asyncpg.PostgresError, match="append-only"):
        async with database.hot() as connection:
            await connection.execute(change)


async def test_pages_follow_each_other(database: Database) -> None:
    months = Months(database)
    for month in (DECEMBER, JANUARY):
        await months.book(many(1, prefix=str(month), first=month.starts_at))
        await months.close(month)
    async with SqlBooks(database).read() as book:
        (first,) = await book.page(EVSP, None, 0, 1)
        (second,) = await book.page(EVSP, None, first.position, 10)
        assert await book.page(EVSP, None, second.position, 10) == []
        assert await book.page(EVSP, str(DECEMBER), 0, 10) == [first]
    assert (first.period_id, second.period_id) == ("2024-12", "2025-01")
