"""Lines out of a body of any length, in flat memory: one JSON text a line, gzip or plain."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import AsyncIterable, AsyncIterator

from roaming.refusal import Malformed

PIECE_BYTES = 64 * 1024
_GZIP = 31


class BadCompression(Malformed):
    """The body is not what its Content-Encoding says."""


def decompressed(parts: AsyncIterable[bytes], encoding: str | None) -> AsyncIterable[bytes]:
    """The body as it was before `Content-Encoding`: none or gzip."""
    if encoding in (None, "", "identity"):
        return parts
    if encoding != "gzip":
        raise BadCompression(
            "a content encoding that is not read here",
            field="Content-Encoding",
            value=encoding,
            rule="gzip, or none",
        )
    return _inflated(parts)


async def _inflated(parts: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    # In pieces of a limit of their own: a small body may stand for a very long one.
    inflate = zlib.decompressobj(wbits=_GZIP)
    try:
        async for rest in parts:
            while rest or not inflate.eof:
                if inflate.eof:
                    # gzip members one after another are one text.
                    inflate = zlib.decompressobj(wbits=_GZIP)
                piece = inflate.decompress(rest, PIECE_BYTES)
                if piece:
                    yield piece
                rest = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
                if not rest and len(piece) < PIECE_BYTES:
                    break
        if not inflate.eof:
            raise zlib.error("it ends in the middle")
    except zlib.error as error:
        raise BadCompression(
            f"the body is not gzip: {error}", field="body", rule="Content-Encoding: gzip"
        ) from None


async def lines(parts: AsyncIterable[bytes], longest: int) -> AsyncIterator[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers from 1.

    One longer than `longest` is cut just behind it, and so is seen to be too long; what lies beyond
    is not remembered.
    """
    number, kept = 0, b""
    async for part in parts:
        *whole, rest = part.split(b"\n")
        for line in whole:
            number += 1
            line, kept = (kept + line)[: longest + 1], b""
            if line := _bare(line, number):
                yield number, line
        kept = (kept + rest)[: longest + 1]
    if last := _bare(kept, number + 1):
        yield number + 1, last


def _bare(line: bytes, number: int) -> bytes:
    return (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).strip()
