"""Published rates are brought in once, whole, and never change."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, date, datetime

import asyncpg
import pytest

from clearinghouse.exchange import flows
from clearinghouse.exchange.model import BadRate, ImportReport
from clearinghouse.exchange.store import SqlBooks
from kit.database import Database

NOW = datetime(2025, 2, 3, tzinfo=UTC)
FILE = b"Date,USD,GBP,JPY,\n2025-01-31,1.0393,0.83608,161.19,\n2025-01-30,1.0396,0.83718,160.99,\n"


def counts(report: ImportReport) -> tuple[int, int, int, int]:
    return report.read, report.created, report.unchanged, report.rejected


async def brought_in(database: Database, content: bytes) -> ImportReport:
    return await flows.import_ecb(io.BytesIO(content), books=SqlBooks(database), now=NOW)


def zipped(content: bytes, *names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return file.getvalue()


async def test_a_file_is_brought_in_once_zipped_or_not(database: Database) -> None:
    assert counts(await brought_in(database, FILE)) == (6, 6, 0, 0)
    again = await brought_in(database, zipped(FILE, "eurofxref-hist.csv"))
    assert counts(again) == (6, 0, 6, 0)
    found = await flows.find("GBP", "USD", date(2025, 2, 2), books=SqlBooks(database))
    assert [(leg.quote, str(leg.rate), leg.at) for leg in found.legs] == [
        ("GBP", "0.83608", date(2025, 1, 31)),
        ("USD", "1.0393", date(2025, 1, 31)),
    ]
    assert [one.quote for one in await flows.latest(SqlBooks(database))] == ["GBP", "JPY", "USD"]


async def test_what_was_published_does_not_change(database: Database) -> None:
    await brought_in(database, FILE)
    other = FILE.replace(b"1.0393", b"1.0394") + b"2025-01-29,1.05,,,\n2025-01-29,1.06,,,\n"
    report = await brought_in(database, other)
    assert counts(report) == (8, 1, 5, 2)
    assert report.reasons == {
        "another rate is kept for that day": 1,
        "told twice in one file": 1,
    }
    for day, factor in ((31, "1.0393"), (29, "1.05")):
        found = await flows.find("EUR", "USD", date(2025, 1, day), books=SqlBooks(database))
        assert str(found.legs[0].rate) == factor
    async with database.hot() as connection:
        with pytest.raises(asyncpg.PostgresError, match="change"):
            await connection.execute("UPDATE clearinghouse.exchange_rate SET rate = 1")


async def test_a_file_of_many_years_is_brought_in_whole(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "AT_ONCE", 7)
    lines = [b"Date,USD,GBP,\n"]
    lines += [b"20%02d-%02d-01,1.%02d,0.8,\n" % (y, m, m) for y in range(10, 20) for m in (1, 2, 3)]
    report = await brought_in(database, b"".join(lines))
    assert counts(report) == (60, 60, 0, 0)
    assert counts(await brought_in(database, b"".join(lines))) == (60, 0, 60, 0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"PK\x03\x04 not really",
        zipped(FILE, "a.csv", "b.csv"),
        zipped(FILE, "a.txt"),
    ],
    ids=["empty", "no UTF-8", "no archive", "two files", "no CSV"],
)
async def test_what_is_no_file_of_rates_is_refused_and_changes_nothing(
    database: Database, content: bytes
) -> None:
    with pytest.raises(BadRate) as refused:
        await brought_in(database, content)
    assert refused.value.field == "FILE"
    assert await flows.latest(SqlBooks(database)) == []
