"""Files as operators send them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from tests.clearinghouse.cdrs.fakes import OPERATOR, told


def records(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [told(f"F-{number}", energy_wh=1_000 + number, **changes) for number in range(count)]


def file(
    some: Sequence[Any], file_id: str = "2025-01", sender: str = OPERATOR, **trailer: Any
) -> bytes:
    """A sound file of these records, unless `trailer` says otherwise."""
    end = {"records": len(some), "energy_wh": sum(one["energy_wh"] for one in some), **trailer}
    lines = [{"header": {"file_id": file_id, "sender": sender}}, *some, {"trailer": end}]
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


async def numbered(body: bytes) -> AsyncIterator[tuple[int, bytes]]:
    for number, line in enumerate(body.splitlines(), 1):
        yield number, line
