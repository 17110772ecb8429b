"""Where a partner's host name leads to now, for every session that calls partners."""

from __future__ import annotations

import socket

from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver

from kit.outside_url import is_inside, is_loopback


class OutsideResolver(ThreadedResolver):
    """Looks names up, and refuses those that lead into the hub's own network.

    Whoever registered the name showed it once; who owns it may let it point anywhere by now.
    aiohttp does not ask about addresses that are written as such: `check_url` has seen those.
    """

    def __init__(self, *, allow_loopback: bool) -> None:
        super().__init__()
        self._allow_loopback = allow_loopback

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        outside = [
            one
            for one in found
            if not is_inside(one["host"]) or (self._allow_loopback and is_loopback(one["host"]))
        ]
        if not outside:
            raise OSError(f"{host} leads into the hub's own network")
        return outside
