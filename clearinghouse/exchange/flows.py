"""What happens to exchange rates: published ones are brought in, and looked up. We fetch none."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from io import TextIOWrapper
from itertools import islice
from typing import IO

from clearinghouse.exchange import model
from clearinghouse.exchange.model import OLDEST_DAYS, PIVOT, BadRate, ImportReport, Rate, Rates
from clearinghouse.exchange.ports import Books

AT_ONCE = 10_000
# All that the ECB ever published is 2 MB; a file that unpacks to more than this is none of it.
MOST_BYTES = 64 * 2**20


async def import_ecb(source: IO[bytes], *, books: Books, now: datetime) -> ImportReport:
    """Bring in a file of reference rates, zipped or not; all of it or, after a crash, nothing.

    A rate that is kept already is left alone; another one for its day is rejected, since what was
    published does not change.
    """
    report = ImportReport()
    told = model.read_ecb(_lines(source), report)
    async with books.open() as book:
        while some := list(islice(told, AT_ONCE)):
            standing = await book.add(_first_of_each(some, report), now)
            for rate in _distinct(some):
                known = standing.get((rate.base, rate.quote, rate.at))
                if known is None:
                    report.created += 1
                elif known.rate == rate.rate:
                    report.unchanged += 1
                else:
                    report.reject("another rate is kept for that day")
    return report


async def find(
    base: str, quote: str, at: date, *, books: Books, oldest_days: int = OLDEST_DAYS
) -> model.Exchange:
    """How to make `quote` of `base` on a day. Raises NoRate, BadMoney."""
    return (await up_to(at, {base, quote}, books=books, oldest_days=oldest_days)).find(
        base, quote, at, oldest_days
    )


async def up_to(
    at: date, currencies: Iterable[str], *, books: Books, oldest_days: int = OLDEST_DAYS
) -> Rates:
    """The rates by which these currencies may be converted on a day."""
    async with books.open() as book:
        first = at - timedelta(days=oldest_days)
        return Rates(await book.around({*currencies, PIVOT}, first, at))


async def latest(books: Books) -> Sequence[Rate]:
    """The last rate of each pair."""
    async with books.open() as book:
        return await book.latest()


def _distinct(rates: Sequence[Rate]) -> Iterable[Rate]:
    return {(rate.base, rate.quote, rate.at): rate for rate in reversed(rates)}.values()


def _first_of_each(rates: Sequence[Rate], report: ImportReport) -> list[Rate]:
    """Of a file that tells a day twice the first counts."""
    distinct = list(_distinct(rates))
    for _ in range(len(rates) - len(distinct)):
        report.reject("told twice in one file")
    return distinct


def _lines(source: IO[bytes]) -> Iterable[str]:
    if not zipfile.is_zipfile(source):
        source.seek(0)
        return _text(source)
    source.seek(0)
    archive = zipfile.ZipFile(source)
    inside = [one for one in archive.infolist() if one.filename.lower().endswith(".csv")]
    if len(inside) != 1 or inside[0].file_size > MOST_BYTES:
        raise BadRate(
            "not an archive of reference rates",
            field="FILE",
            value=", ".join(one.filename for one in inside)[:60],
            rule=f"one CSV file of at most {MOST_BYTES} bytes",
        )
    return _text(archive.open(inside[0]))


def _text(source: IO[bytes]) -> Iterable[str]:
    text = TextIOWrapper(source, encoding="utf-8-sig", newline="")
    try:
        yield from text
    except (UnicodeDecodeError, zipfile.BadZipFile) as error:
        raise BadRate(f"cannot be read: {error}", field="FILE", rule="CSV in UTF-8") from None
