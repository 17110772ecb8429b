"""Files that others read: each is read back by a reader that is not ours."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from kit.sheet import (
    ROWS_AT_ONCE,
    Column,
    Form,
    Kind,
    as_csv,
    as_parquet,
    wanted,
)

AT = datetime(2026, 11, 26, 9, 30, 0, 250, tzinfo=UTC)
ROW: dict[str, Any] = {
    "name": "a, b\n“c”",
    "calls": 7,
    "share": 0.5,
    "cost": Decimal("12.3450"),
    "day": date(2026, 11, 26),
    "at": AT,
    "kept": False,
}
NOTHING = dict.fromkeys(ROW)
KINDS = (Kind.TEXT, Kind.WHOLE, Kind.SHARE, Kind.AMOUNT, Kind.DAY, Kind.INSTANT, Kind.TRUTH)
SHEET = [
    Column[dict[str, Any]](name, kind, lambda row, name=name: row[name])  # type: ignore[misc]
    for name, kind in zip(ROW, KINDS, strict=True)
]


async def batches(*told: Sequence[dict[str, Any]]) -> AsyncIterator[Sequence[dict[str, Any]]]:
    for one in told:
        yield one


async def whole(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def test_a_csv_file_is_read_back_as_it_was() -> None:
    content = await whole(as_csv(SHEET, batches([ROW], [], [NOTHING])))
    lines = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    assert lines[0] == {
        "name": "a, b\n“c”",
        "calls": "7",
        "share": "0.5",
        "cost": "12.3450",
        "day": "2026-11-26",
        "at": "2026-11-26T09:30:00.000250Z",
        "kept": "false",
    }
    assert set(lines[1].values()) == {""}
    assert len(lines) == 2


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@a", "\tx"])
async def test_no_text_of_a_partner_becomes_a_formula(name: str) -> None:
    content = await whole(as_csv(SHEET[:2], batches([{"name": name, "calls": -1}])))
    [line] = csv.DictReader(io.StringIO(content.decode(), newline=""))
    assert line == {"name": "'" + name, "calls": "-1"}


async def test_a_parquet_file_has_typed_columns_and_is_read_back_as_it_was() -> None:
    content = await whole(as_parquet(SHEET, batches([ROW], [], [NOTHING])))
    table = pyarrow.parquet.read_table(io.BytesIO(content))
    assert [str(field.type) for field in table.schema] == [
        *("string", "int64", "double", "decimal128(38, 4)", "date32[day]"),
        *("timestamp[us, tz=UTC]", "bool"),
    ]
    assert table.to_pylist() == [ROW, NOTHING]


@pytest.mark.parametrize("form", [Form.CSV, Form.PARQUET])
async def test_a_file_without_rows_has_its_columns(form: Form) -> None:
    if form is Form.CSV:
        content = await whole(as_csv(SHEET, batches()))
        assert content.decode().strip().split(",") == list(ROW)
    else:
        content = await whole(as_parquet(SHEET, batches()))
        table = pyarrow.parquet.read_table(io.BytesIO(content))
        assert (table.column_names, table.num_rows) == (list(ROW), 0)


async def test_a_long_file_is_given_away_while_it_is_written() -> None:
    """So its length costs no memory: what was given is not held."""
    given = 0

    async def many() -> AsyncIterator[Sequence[dict[str, Any]]]:
        for n in range(5):
            yield [ROW | {"calls": n}] * ROWS_AT_ONCE
            # Before the next batch is asked for, this one has been given away.
            assert given > n

    pieces = []
    async for piece in as_parquet(SHEET, many()):
        given += 1
        pieces.append(piece)
    file = pyarrow.parquet.ParquetFile(io.BytesIO(b"".join(pieces)))
    assert (file.metadata.num_rows, file.num_row_groups) == (5 * ROWS_AT_ONCE, 5)


@pytest.mark.parametrize(
    ("said", "accept", "form"),
    [
        (None, "", Form.JSON),
        (None, "*/*", Form.JSON),
        (None, "text/csv", Form.CSV),
        (None, "text/html, application/vnd.apache.parquet;q=0.9", Form.PARQUET),
        ("csv", "application/json", Form.CSV),
    ],
)
def test_the_address_says_the_form_or_the_header_does(
    said: str | None, accept: str, form: Form
) -> None:
    assert wanted(said, accept) is form


def test_a_hub_that_writes_no_parquet_never_loads_what_writes_it() -> None:
    code = "import gridroam.wiring, sys; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
