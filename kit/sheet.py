"""Rows as files: CSV, and Parquet with typed columns. Written piece by piece, never held whole.

pyarrow is imported when the first Parquet file is asked for: it takes a third of a second and some
40 MB of memory, which every process would pay at its start and most never use.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, TypeVar

from starlette.responses import StreamingResponse

Row = TypeVar("Row")

ROWS_AT_ONCE = 10_000
"""Rows of a group in a Parquet file: so many are held at once, and no more."""


class Form(StrEnum):
    """In what form rows are told."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


MEDIA_TYPES = {
    Form.JSON: "application/json",
    Form.CSV: "text/csv",
    Form.PARQUET: "application/vnd.apache.parquet",
}


class Kind(StrEnum):
    """What a column holds. `amount`: money in the currency's own unit; `instant`: in UTC."""

    TEXT = "text"
    WHOLE = "whole"
    SHARE = "share"
    AMOUNT = "amount"
    DAY = "day"
    INSTANT = "instant"
    TRUTH = "truth"


@dataclass(frozen=True)
class Column(Generic[Row]):
    """A column, and where its value is found in a row; None is no value."""

    name: str
    kind: Kind
    value: Callable[[Row], Any]


Sheet = Sequence[Column[Row]]


def wanted(said: str | None, accept: str) -> Form:
    """What `?format=` says; else the first of `Accept` that we have; else JSON."""
    if said is not None:
        return Form(said)
    for part in accept.split(","):
        media_type = part.partition(";")[0].strip().lower()
        for form, name in MEDIA_TYPES.items():
            if media_type == name:
                return form
    return Form.JSON


async def file_response(
    form: Form, sheet: Sheet[Row], batches: AsyncIterator[Sequence[Row]], name: str
) -> StreamingResponse:
    """A file that is written while it is read. What refuses its first piece is told as a refusal;
    what breaks off later, breaks the file off, so that nobody takes it as whole.
    """
    pieces = written(form, sheet, batches)
    begun = await anext(pieces)

    async def whole() -> AsyncIterator[bytes]:
        yield begun
        async for piece in pieces:
            yield piece

    headers = {"Content-Disposition": f'attachment; filename="{name}.{form}"'}
    return StreamingResponse(whole(), media_type=MEDIA_TYPES[form], headers=headers)


FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "As asked for by `format` or `Accept`",
        "content": {MEDIA_TYPES[form]: {} for form in (Form.CSV, Form.PARQUET)},
    }
}
"""What an operation that answers so says of it in the OpenAPI document."""


def written(
    form: Form, sheet: Sheet[Row], batches: AsyncIterator[Sequence[Row]]
) -> AsyncIterator[bytes]:
    """The rows as a file of that form, in pieces."""
    assert form is not Form.JSON, "JSON has shapes of its own"
    return as_csv(sheet, batches) if form is Form.CSV else as_parquet(sheet, batches)


async def as_csv(sheet: Sheet[Row], batches: AsyncIterator[Sequence[Row]]) -> AsyncIterator[bytes]:
    """RFC 4180 in UTF-8, with the names of the columns first."""
    text = io.StringIO(newline="")
    lines = csv.writer(text)
    lines.writerow([column.name for column in sheet])
    async for rows in batches:
        lines.writerows([[plain(column.value(row)) for column in sheet] for row in rows])
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    if text.tell():
        yield text.getvalue().encode()


async def as_parquet(
    sheet: Sheet[Row], batches: AsyncIterator[Sequence[Row]]
) -> AsyncIterator[bytes]:
    """Typed columns, a group of rows at a time; writing one holds up nobody else's calls."""
    file = await asyncio.to_thread(_ParquetFile[Row], sheet)
    waiting: list[Row] = []
    async for rows in batches:
        for begin in range(0, len(rows), ROWS_AT_ONCE):
            waiting += rows[begin : begin + ROWS_AT_ONCE]
            if len(waiting) >= ROWS_AT_ONCE:
                yield await asyncio.to_thread(file.add, waiting)
                waiting = []
    if waiting:
        yield await asyncio.to_thread(file.add, waiting)
    yield await asyncio.to_thread(file.end)


def plain(value: Any) -> Any:
    """As it stands in a text: nothing for None, RFC 3339 for times, every place of a decimal."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str) and value[:1] in _FORMULAE:
        # A spreadsheet would take it for a formula (CWE-1236), and it came from a partner.
        return "'" + value
    return value


_FORMULAE = ("=", "+", "-", "@", "\t", "\r")


class _ParquetFile(Generic[Row]):
    """A file that is taken away in pieces while it is written."""

    def __init__(self, sheet: Sheet[Row]) -> None:
        import pyarrow
        import pyarrow.parquet

        types = {
            Kind.TEXT: pyarrow.string(),
            Kind.WHOLE: pyarrow.int64(),
            Kind.SHARE: pyarrow.float64(),
            # 34 digits before the point; four places, as many as any currency has.
            Kind.AMOUNT: pyarrow.decimal128(38, 4),
            Kind.DAY: pyarrow.date32(),
            Kind.INSTANT: pyarrow.timestamp("us", tz="UTC"),
            Kind.TRUTH: pyarrow.bool_(),
        }
        self._sheet = sheet
        self._arrow = pyarrow
        self._schema = pyarrow.schema([(one.name, types[one.kind]) for one in sheet])
        self._sink = _Sink()
        self._writer = pyarrow.parquet.ParquetWriter(
            self._sink, self._schema, compression="zstd", store_schema=True
        )

    def add(self, rows: Sequence[Row]) -> bytes:
        columns = [
            self._arrow.array([column.value(row) for row in rows], type=field.type)
            for column, field in zip(self._sheet, self._schema, strict=True)
        ]
        self._writer.write_table(self._arrow.table(columns, schema=self._schema))
        return self._sink.take()

    def end(self) -> bytes:
        self._writer.close()
        return self._sink.take()


class _Sink(io.RawIOBase):
    """What was written since it was last taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._told = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._told

    def write(self, piece: Any) -> int:
        content = bytes(piece)
        self._pieces.append(content)
        self._told += len(content)
        return len(content)

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
