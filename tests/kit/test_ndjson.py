"""A body of any length is lines, however it is cut into parts, plain or compressed."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.ndjson import PIECE_BYTES, BadCompression, decompressed, lines


async def parts_of(body: bytes, cuts: Sequence[int]) -> AsyncIterator[bytes]:
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        yield body[start:end]


Texts = st.lists(st.binary(max_size=20).map(lambda one: one.replace(b"\n", b"")), max_size=8)
Cuts = st.lists(st.integers(0, 1_000), max_size=6)


@given(Texts, Cuts, st.booleans())
async def test_lines_are_the_same_however_they_arrive(
    texts: list[bytes], cuts: list[int], compressed: bool
) -> None:
    texts = [b"x", *texts]
    body = b"\n".join(texts)
    sent = gzip.compress(body) if compressed else body
    parts = decompressed(parts_of(sent, cuts), "gzip" if compressed else None)
    found = [one async for one in lines(parts, 100)]
    assert found == [(n, one.strip()) for n, one in enumerate(texts, 1) if one.strip()]


async def test_a_line_that_is_too_long_is_cut_behind_its_limit() -> None:
    body = b"a" * 50 + b"\n" + b"b" * 5_000 + b"\nc"
    found = [one async for one in lines(parts_of(body, range(0, 5_000, 7)), 10)]
    assert found == [(1, b"a" * 11), (2, b"b" * 11), (3, b"c")]


async def test_members_of_gzip_one_after_another_are_one_text() -> None:
    body = gzip.compress(b"a\nb") + gzip.compress(b"c\nd")
    for cuts in ([], [5], range(len(body))):
        found = [line async for _, line in lines(decompressed(parts_of(body, cuts), "gzip"), 9)]
        assert found == [b"a", b"bc", b"d"]


async def test_a_small_body_that_stands_for_a_long_one_comes_in_pieces() -> None:
    body = gzip.compress(b"\n" * 50_000_000)
    async for piece in decompressed(parts_of(body, []), "gzip"):
        assert len(piece) <= PIECE_BYTES


@pytest.mark.parametrize("body", [b"plain", gzip.compress(b"abc" * 99, mtime=0)[:-9], b"\x1f\x8b"])
async def test_what_is_not_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(BadCompression):
        async for _ in decompressed(parts_of(body, [3]), "gzip"):
            pass


def test_another_encoding_is_refused() -> None:
    with pytest.raises(BadCompression, match="not read here"):
        decompressed(parts_of(b"", []), "br")


async def test_a_byte_order_mark_and_carriage_returns_are_no_content() -> None:
    body = b"\xef\xbb\xbf{}\r\n\r\n{}\r\n"
    assert [one async for one in lines(parts_of(body, []), 9)] == [(1, b"{}"), (3, b"{}")]
