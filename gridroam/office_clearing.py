"""Clearing from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clearinghouse.netting import flows as netting_flows
from clearinghouse.netting.model import ClearingRun, Period, Strategy
from clearinghouse.netting.routes import shown
from clearinghouse.netting.store import SqlBooks as Clearings
from clearinghouse.rating.model import zone_named
from gridroam.core import Core
from gridroam.office import open_core
from roaming.refusal import Malformed


async def clear(parts: Core, period: Period, currency: str, strategy: Strategy) -> ClearingRun:
    """Clear a period for everybody, as the hub."""
    return await netting_flows.run_clearing(
        period,
        currency,
        strategy,
        caller=parts.hub,
        hub=parts.hub,
        books=Clearings(parts.database),
        clock=parts.clock,
    )


async def clear_period(
    home: Path, database_url: str | None, period: Period, currency: str, strategy: Strategy
) -> dict[str, Any]:
    """`clear`, on a home: the run in the shape in which its route shows it."""
    async with open_core(home, database_url) as parts:
        return shown(await clear(parts, period, currency, strategy)).model_dump(
            mode="json", by_alias=True
        )


def period_of(month: str | None, start: str | None, end: str | None, zone_name: str) -> Period:
    """A month, or from one instant to another; Malformed names what is missing or too much."""
    zone = zone_named(zone_name)
    if month is not None and start is None and end is None:
        return Period.month(month, zone)
    if month is None and start is not None and end is not None:
        return Period.between(start, end, zone)
    raise Malformed("which period?", field="--period", rule="either --period, or --from and --to")


def strategy_named(name: str) -> Strategy:
    if name not in set(Strategy):
        raise Malformed(
            f"there is no strategy {name!r}",
            field="--strategy",
            value=name,
            rule=", ".join(Strategy),
        )
    return Strategy(name)
