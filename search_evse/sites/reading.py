"""Files of charge points, read as they come: never more of one in memory than a few rows.

What a file is, its first bytes tell: gzip or not; a JSON array, JSON lines or one JSON document of
OCPI locations; or the CSV of a French IRVE file. A file that is none of these is refused whole. In
a file that is, a bad row is told as a Rejection, and the next one is read.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from itertools import chain
from typing import Any, BinaryIO, cast

from roaming.party import PartyId
from roaming.refusal import Malformed
from search_evse.sites.irve import COLUMN_OF_ID, read_row
from search_evse.sites.model import Rejection, Told
from search_evse.sites.ocpi import looks_like_a_location, read_location

# The largest row and the largest JSON document that is not written one object a line.
ROW_MOST_BYTES = 16 << 20
DOCUMENT_MOST_BYTES = 64 << 20

_CHUNK_CHARACTERS = 1 << 20
_BAD_ROWS_BEFORE_THE_FIRST_GOOD_ONE = 100
_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_KINDS_RULE = "OCPI locations (JSON array or JSON lines) or IRVE (CSV), plain or gzip"


class Kind(Enum):
    OCPI = "ocpi"
    IRVE = "irve"


class NotAnEvseFile(Malformed):
    """Nothing in the file can be read as charge points."""

    def __init__(self, detail: str, value: object = None) -> None:
        super().__init__(detail, field="file", value=value, rule=_KINDS_RULE)


def read(
    source: BinaryIO, *, now: datetime, kind: Kind | None = None, operator: PartyId | None = None
) -> Iterator[Told | Rejection]:
    """EVSE after EVSE of a file, or why one is not taken.

    `operator` runs all of them; else each location's party does, else the party in the EVSE id.
    Times after `now` are not believed. Raises NotAnEvseFile before the first row, if at all.
    """
    stream = _opened(source)
    start = _start_of(stream)
    first = start[:1]
    if first in (b"[", b"{"):
        if kind is Kind.IRVE:
            raise NotAnEvseFile("the file is JSON, and IRVE is CSV")
        things = _array(stream) if first == b"[" else _lines_or_document(stream)
        return _damage_told(_locations(things, operator, now))
    if kind is Kind.OCPI:
        raise NotAnEvseFile("the file does not begin like JSON", _shown(start))
    return _damage_told(_rows(stream, operator, now))


def _opened(source: BinaryIO) -> io.BufferedReader:
    stream: io.BufferedReader = io.BufferedReader(cast(io.RawIOBase, source))
    if stream.peek(2)[:2] != _GZIP:
        return stream
    return io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=stream)))


def _start_of(stream: io.BufferedReader) -> bytes:
    """The first bytes that say anything; a byte order mark is passed over."""
    try:
        if stream.peek(3)[:3] == _BOM:
            stream.read(3)
        while (start := stream.peek(1)) and (blanks := len(start) - len(start.lstrip())):
            stream.read(blanks)
    except (EOFError, OSError, zlib.error) as error:
        raise NotAnEvseFile(f"the file is damaged: {error}") from None
    if not start:
        raise NotAnEvseFile("the file is empty")
    return start


def _shown(start: bytes) -> str:
    return "".join(c if c.isprintable() else "." for c in start[:40].decode("utf-8", "replace"))


def _damage_told(rows: Iterator[Told | Rejection]) -> Iterator[Told | Rejection]:
    """What was read stays read when the file breaks off."""
    line = 0
    try:
        for row in rows:
            line = row.line
            yield row
    except (EOFError, OSError, zlib.error) as error:
        yield Rejection.of(line + 1, "file", error, "is damaged from here on")


class _Bad:
    """An element that is no JSON."""

    def __init__(self, value: str, rule: str = "must be JSON (RFC 8259)") -> None:
        self.value = value
        self.rule = rule


def _locations(
    things: Iterator[tuple[int, Any]], operator: PartyId | None, now: datetime
) -> Iterator[Told | Rejection]:
    known = False
    bad: list[Rejection] = []
    for line, thing in things:
        if isinstance(thing, _Bad):
            bad.append(Rejection.of(line, "row", thing.value, thing.rule))
        elif not known and not looks_like_a_location(thing):
            raise NotAnEvseFile("the first JSON object is no OCPI location", str(thing)[:60])
        else:
            known = True
        # Until one row is a location, bad rows may as well be a file of something else.
        if known:
            yield from bad
            bad.clear()
            if not isinstance(thing, _Bad):
                yield from read_location(line, thing, operator=operator, now=now)
        elif len(bad) > _BAD_ROWS_BEFORE_THE_FIRST_GOOD_ONE:
            break
    if not known and bad:
        raise NotAnEvseFile("the file begins like JSON and is none", bad[0].value)


def _rows(
    stream: io.BufferedReader, operator: PartyId | None, now: datetime
) -> Iterator[Told | Rejection]:
    lines = (line for _, line in _lines(stream))
    header_line = _text(next(lines) or b"")
    delimiter = ";" if header_line.count(";") > header_line.count(",") else ","
    header = [name.strip(' "\r\n') for name in header_line.split(delimiter)]
    if COLUMN_OF_ID not in header:
        raise NotAnEvseFile(
            f"the file is neither JSON nor a CSV with a column {COLUMN_OF_ID}",
            _shown(header_line.encode()),
        )
    reader = csv.reader((_text(line or b"") for line in lines), delimiter=delimiter)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Rejection.of(reader.line_num + 1, "row", error, "must be CSV (RFC 4180)")
            continue
        line = reader.line_num + 1
        if not row:
            continue
        if len(row) != len(header):
            rule = f"must have {len(header)} columns, as the header has"
            yield Rejection.of(line, "row", f"{len(row)} columns", rule)
            continue
        values = dict(zip(header, row, strict=True))
        yield read_row(line, values, operator=operator, now=now)


def _text(line: bytes) -> str:
    """UTF-8, or what a French spreadsheet writes when it does not write UTF-8."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("cp1252", "replace")


def _lines(stream: io.BufferedReader) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines; None for one that is too long to be held."""
    number = 0
    while line := stream.readline(ROW_MOST_BYTES):
        number += 1
        if len(line) < ROW_MOST_BYTES or line.endswith(b"\n"):
            yield number, line
            continue
        while (rest := stream.readline(ROW_MOST_BYTES)) and not rest.endswith(b"\n"):
            pass
        yield number, None


def _lines_or_document(stream: io.BufferedReader) -> Iterator[tuple[int, Any]]:
    """JSON lines; or one document: a location, or an OCPI answer with locations as its `data`."""
    lines = _lines(stream)
    first = next(lines)
    thing = _parsed(first[1])
    if isinstance(thing, dict) and isinstance(thing.get("data"), list):
        return enumerate(thing["data"], start=1)
    second = next(lines, None)
    if isinstance(thing, _Bad) and (second is None or (second[1] or b"").lstrip()[:1] != b"{"):
        # One object over many lines.
        whole = (first[1] or b"") + ((second[1] or b"") if second else b"")
        return _document(whole + stream.read(DOCUMENT_MOST_BYTES))
    rest = chain([] if second is None else [second], lines)
    return chain(
        [(1, thing)], ((n, _parsed(line)) for n, line in rest if line is None or line.strip())
    )


def _document(whole: bytes) -> Iterator[tuple[int, Any]]:
    thing = _parsed(whole)
    if len(whole) >= DOCUMENT_MOST_BYTES:
        raise NotAnEvseFile("one JSON document of that size; write one location a line")
    if isinstance(thing, _Bad):
        raise NotAnEvseFile("the file begins like JSON and is none", _shown(whole))
    if isinstance(thing, dict) and isinstance(thing.get("data"), list):
        return enumerate(thing["data"], start=1)
    return iter([(1, thing)])


def _parsed(line: bytes | None) -> Any:
    if line is None:
        return _Bad("", f"must have fewer than {ROW_MOST_BYTES >> 20} MiB")
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return _Bad(line[:100].decode("utf-8", "replace").strip())


_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[\s,]*")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|["\[\]{},]', re.DOTALL)


def _array(stream: io.BufferedReader) -> Iterator[tuple[int, Any]]:
    """The elements of a JSON array, one at a time. One that is no JSON costs only itself."""
    text = io.TextIOWrapper(cast(BinaryIO, stream), encoding="utf-8", errors="replace")
    buffer, at, ended = text.read(_CHUNK_CHARACTERS), 0, False
    at = buffer.index("[") + 1
    number = 0
    while True:
        at = cast(re.Match[str], _SPACE.match(buffer, at)).end()
        end: int | None = None
        thing: Any = None
        if buffer[at : at + 1] == "]":
            return
        try:
            thing, end = _DECODER.raw_decode(buffer, at)
        except (ValueError, RecursionError):
            thing, end = None, _end_of_element(buffer, at)
            if end is not None:
                thing = _Bad(buffer[at : at + 100])
        if end is None or (end == len(buffer) and not ended):
            more = "" if len(buffer) - at > ROW_MOST_BYTES else text.read(_CHUNK_CHARACTERS)
            if more:
                buffer, at = buffer[at:] + more, 0
                continue
            ended = True
            if end is None:
                yield number + 1, _Bad(buffer[at : at + 100], "the array breaks off here")
                return
        number += 1
        yield number, thing
        at = end


def _end_of_element(buffer: str, at: int) -> int | None:
    """Where the element at `at` ends, going by brackets and quotes alone; None if not in here."""
    depth = 0
    for token in _TOKEN.finditer(buffer, at):
        mark = token[0]
        if mark == '"':
            return None
        if mark in ("{", "["):
            depth += 1
        elif mark in ("}", "]"):
            depth -= 1
            if depth < 0 and mark == "]":
                # The end of the array itself.
                return token.start()
            if depth <= 0:
                return token.end()
        elif mark == "," and depth == 0:
            return token.start()
    return None
