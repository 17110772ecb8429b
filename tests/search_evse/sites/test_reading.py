"""Files of every kind and in every state of repair."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from search_evse.sites import reading
from search_evse.sites.model import Rejection, Told
from search_evse.sites.reading import Kind, NotAnEvseFile, read
from tests.search_evse.cuts import DUTCH, FRENCH, NOW, dutch_locations


def rows(content: bytes | str, kind: Kind | None = None) -> list[Told | Rejection]:
    raw = content.encode() if isinstance(content, str) else content
    return list(read(io.BytesIO(raw), now=NOW, kind=kind))


def ids(found: list[Told | Rejection]) -> list[str]:
    return [row.evse.id for row in found if isinstance(row, Told)]


def refused(found: list[Told | Rejection]) -> list[Rejection]:
    return [row for row in found if isinstance(row, Rejection)]


LINES = rows(DUTCH.read_bytes())


def test_the_dutch_cut_is_read_evse_by_evse() -> None:
    assert len(LINES) == 27
    assert [row.line for row in refused(LINES)] == [2, 2, 3, 3]


def test_the_french_cut_is_read_row_by_row() -> None:
    found = rows(FRENCH.read_bytes())
    assert len(found) == 14
    assert [row.line for row in refused(found)] == [4, 5]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_array_or_an_ocpi_answer_reads_as_the_lines_do(
    indent: int | None, wrapped: bool
) -> None:
    thing: Any = dutch_locations()
    if wrapped:
        thing = {"data": thing, "status_code": 1000}
    found = rows(json.dumps(thing, indent=indent))
    assert ids(found) == ids(LINES)
    assert [row.reason for row in refused(found)] == [row.reason for row in refused(LINES)]


@pytest.mark.parametrize("indent", [None, 2])
def test_one_location_alone_is_a_file_too(indent: int | None) -> None:
    assert len(rows(json.dumps(dutch_locations()[0], indent=indent))) == 2


@pytest.mark.parametrize("path", [DUTCH, FRENCH], ids=["ocpi", "irve"])
@pytest.mark.parametrize("prefix", [b"\xef\xbb\xbf", b"\n \n", b"\xef\xbb\xbf\r\n"])
def test_gzip_byte_order_marks_and_blank_lines_make_no_difference(path: Any, prefix: bytes) -> None:
    plain = path.read_bytes()
    assert ids(rows(gzip.compress(prefix + plain))) == ids(rows(plain))


def test_a_line_that_is_no_json_costs_only_itself() -> None:
    first, second, *_ = DUTCH.read_text().splitlines()
    deep = "[" * 100_000
    found = rows("\n".join([first, second[:50], "", deep, '{"evses": "\\', first]))
    assert len(ids(found)) == 4
    assert [(row.line, row.field) for row in refused(found)] == [(2, "row"), (4, "row"), (5, "row")]


def test_bad_lines_before_the_first_good_one_are_told_too() -> None:
    found = rows("{not json}\n{nor this}\n" + DUTCH.read_text())
    assert [row.line for row in refused(found)][:2] == [1, 2]
    assert ids(found) == ids(LINES)


def test_an_element_of_an_array_that_is_no_json_costs_only_itself() -> None:
    good = json.dumps(dutch_locations()[0])
    found = rows(f'[{good}, {{"id": oops, "evses": ["]}}"]}}, 5, {good}]')
    assert len(ids(found)) == 4
    assert [(row.line, row.field) for row in refused(found)] == [(2, "row"), (3, "location")]


def test_a_stray_brace_in_an_array_does_not_hold_the_reader_up() -> None:
    good = json.dumps(dutch_locations()[0])
    found = rows(f"[{good}, }}, {good}]")
    assert len(ids(found)) == 4
    assert [row.line for row in refused(found)] == [2]


def test_an_array_that_breaks_off_keeps_what_was_read() -> None:
    whole = json.dumps(dutch_locations())
    found = rows(whole[: len(whole) // 2])
    assert ids(found)
    assert ids(found) == ids(LINES)[: len(ids(found))]
    assert refused(found)[-1].rule == "the array breaks off here"


def test_an_array_is_read_in_pieces_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = json.dumps(dutch_locations(), ensure_ascii=False)
    for size in (7, 100, 1_009):
        monkeypatch.setattr(reading, "_CHUNK_CHARACTERS", size)
        assert ids(rows(whole)) == ids(LINES)


def test_a_file_cut_off_inside_gzip_keeps_what_was_read() -> None:
    packed = gzip.compress(DUTCH.read_bytes() * 200)
    found = rows(packed[: len(packed) // 2])
    assert len(ids(found)) > 23
    assert refused(found)[-1].reason == "file: is damaged from here on"


def test_a_row_with_another_number_of_columns_is_refused() -> None:
    header, first, second, *_ = FRENCH.read_text().splitlines()
    found = rows("\n".join([header, first + ",", "", second, "x"]))
    assert len(ids(found)) == 1
    assert [row.value for row in refused(found)] == ["38 columns", "1 columns"]


def test_a_quote_left_open_ends_where_the_csv_reader_gives_up() -> None:
    header, first, *_ = FRENCH.read_text().splitlines()
    swallowed = '"' + "x" * 200_000
    found = rows("\n".join([header, first, swallowed, first]))
    assert len(ids(found)) >= 1
    assert len(refused(found)) >= 1


def test_semicolons_and_windows_letters_are_read() -> None:
    header, _, *more = FRENCH.read_text().splitlines()
    row = next(line for line in more if "Lézignan" in line)
    assert '"' in row
    table = header + "\n" + row
    found = rows(table.encode("cp1252"))
    assert isinstance(found[0], Told)
    assert found[0].site.city == "Lézignan-Corbières"
    quoted = ";".join(f'"{name}"' for name in header.split(","))
    assert rows(quoted + "\n") == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" \n ",
        b"PK\x03\x04 a spreadsheet",
        b"name,latitude,longitude\nPlein,52,5\n",
        b'{"evse_id": "FR*PD1*E1", "start": "2025-01-01T00:00:00Z"}\n',
        b"[1, 2, 3]",
        b"[section]\nkey = value\n",
        b"{" * 5_000,
        b"\x1f\x8b\x08 this is no gzip",
        gzip.compress(b"nothing of the kind", mtime=0),
        "[{}]".encode("utf-16"),
    ],
)
def test_a_file_of_something_else_is_refused_whole(content: bytes) -> None:
    with pytest.raises(NotAnEvseFile) as refusal:
        rows(content)
    assert refusal.value.field == "file"
    assert "\n" not in refusal.value.detail


def test_a_file_of_the_other_kind_is_refused() -> None:
    with pytest.raises(NotAnEvseFile):
        rows(DUTCH.read_bytes(), Kind.IRVE)
    with pytest.raises(NotAnEvseFile):
        rows(FRENCH.read_bytes(), Kind.OCPI)


damage = some.tuples(some.integers(0, 21_000), some.binary(min_size=1, max_size=6))


@given(
    some.sampled_from(
        [DUTCH.read_bytes(), FRENCH.read_bytes(), json.dumps(dutch_locations()).encode()]
    ),
    some.lists(damage, min_size=1, max_size=5),
)
def test_no_damage_makes_a_reader_fail(content: bytes, damages: list[tuple[int, bytes]]) -> None:
    for place, garbage in damages:
        content = content[:place] + garbage + content[place + len(garbage) :]
    try:
        found = rows(content)
    except NotAnEvseFile:
        return
    assert all(isinstance(row, Told | Rejection) for row in found)
