"""Names that lead inside are not followed."""

from __future__ import annotations

import pytest

from kit.outside_resolver import OutsideResolver


async def test_a_name_is_held_to_where_it_leads() -> None:
    resolver = OutsideResolver(allow_loopback=False)
    with pytest.raises(OSError, match="own network"):
        await resolver.resolve("localhost", 80)
    allowed = await OutsideResolver(allow_loopback=True).resolve("localhost", 80)
    assert {one["host"] for one in allowed} == {"127.0.0.1"}
