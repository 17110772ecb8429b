"""A checked, metered, forwarded call against proxies that check the same, and a bare forward.

2,000 partners and 8,000 contracts with a quota in the real tables and the real book, a JSON
upstream in a process of its own. What is compared is CPU time a call, read from the server's
process.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from statistics import median, quantiles
from typing import Any

from msgspec import structs

from bench import gateway_servers
from bench.gateway_proxies import PEERS
from bench.gateway_servers import FLOOR, OURS, REST, command
from bench.gateway_world import (
    CALLS_A_DAY,
    CONTRACTS_EACH,
    PARTNERS,
    WITHOUT_QUOTA,
    Caller,
    Providers,
)
from bench.processes import Asked, PeerMissing, cpu_us_a_call, free_port, load_well, running
from bench.row import Options, Row

NAME = "gateway-call"

LIMIT = "plain ASGI under uvicorn + aiohttp forward, no check"
UNIT = "us CPU a call"
_FREE = "ours, without a quota"


async def run(options: Options) -> list[Row]:
    requests = 2_000 if options.quick else 5_000
    rounds = 1 if options.quick else 15
    caller = Caller(options.scratch)
    servers: dict[str, tuple[int, Asked]] = {}
    missing: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        upstream = free_port()
        await stack.enter_async_context(running(command(REST, upstream), upstream))

        async def start(name: str, line: list[str], port: int) -> None:
            pid = await stack.enter_async_context(running(line, port))
            await load_well(caller.plain(port), requests=requests)
            servers[name] = pid, caller.plain(port)

        port = free_port()
        await start(FLOOR, command(FLOOR, port, str(upstream)), port)
        gateway = gateway_servers.ours(options, caller, Providers(rest=upstream, soap=upstream))
        pid, port = await stack.enter_async_context(gateway)
        for name, asked in (
            (OURS, caller.plain(port)),
            (_FREE, caller.plain(port, WITHOUT_QUOTA)),
        ):
            await load_well(asked, requests=requests)
            servers[name] = pid, asked
        for peer, command_of in PEERS.items():
            port = free_port()
            try:
                await start(peer, command_of(caller, options.scratch, port, upstream), port)
            except PeerMissing as problem:
                missing[peer] = str(problem)
        us = await cpu_us_a_call(servers, requests=requests, rounds=rounds)
    return _rows(us, missing, {"requests": requests, "rounds": rounds, "at_once": 16})


def _rows(
    us: Mapping[str, list[float]], missing: Mapping[str, str], load_params: dict[str, Any]
) -> list[Row]:
    """Ours against the bare forward round by round, and the peers beside it."""
    params = {
        "partners": PARTNERS,
        "contracts": PARTNERS * CONTRACTS_EACH,
        "quota_a_day": CALLS_A_DAY,
        **load_params,
        "us_without_quota": round(median(us[_FREE]), 1),
        "calls_a_core_second": round(1e6 / median(us[OURS])),
    }
    row = compared(us[OURS], us[FLOOR], name=NAME, unit=UNIT, limit=LIMIT, params=params)
    rows = [row]
    for peer in PEERS:
        why = {"not_started": missing[peer]} if peer in missing else {}
        value = round(median(us[peer]), 1) if peer in us else None
        rows.append(structs.replace(row, peer=peer, peer_value=value, params={**row.params, **why}))
    return rows


def compared(
    ours: list[float],
    limit_us: list[float],
    *,
    name: str,
    unit: str,
    limit: str,
    params: dict[str, Any],
) -> Row:
    """The median of the rounds' ratios; `ratio_quartiles` tell how far the middle half is."""
    ratios = [one / other for one, other in zip(ours, limit_us, strict=True)]
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return Row(
        name=name,
        ours=round(median(ours), 1),
        unit=unit,
        limit=limit,
        limit_value=round(median(limit_us), 1),
        ratio_to_limit=round(median(ratios), 2),
        params={**params, "ratio_quartiles": f"{low:.2f}-{high:.2f}"},
    )
