"""What the hub's operator does about bills for services, beside a running hub or without one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from gridroam import billing
from gridroam.office import open_core
from marketplace.billing import flows, looking
from marketplace.billing.model import OtherRunUnderWay, Run, State
from marketplace.billing.routes import FeeAsked, read_fee
from marketplace.billing.shapes import FeeShown, RunShown
from roaming.month import Month


async def bill(
    home: Path,
    database_url: str | None,
    month: Month,
    up_to: datetime | None,
    told: Callable[[Run], None],
) -> dict[str, Any]:
    """Bill a month here and now, or go on with the run of it that was broken off."""
    async with open_core(home, database_url) as parts:
        await parts.businesses.load()
        house = billing.house(parts)
        begun = await flows.begin(month, up_to, parts.hub, house=house)
        told(begun)
        run = await flows.work(begun.run_id, f"office {uuid4().hex}", house=house, told=told)
    if run.state is not State.DONE:
        raise OtherRunUnderWay(
            "another process bills this month",
            field="month",
            value=str(month),
            rule=f"ask again when run {run.run_id} is done",
        )
    return RunShown.of(run).model_dump(mode="json")


async def contracts(home: Path, database_url: str | None) -> int:
    """About how many contracts a run goes through: for the progress bar."""
    async with open_core(home, database_url) as parts, parts.database.hot() as connection:
        counted: int = await connection.fetchval("SELECT count(*) FROM marketplace.contract")
    return counted


async def set_fee(home: Path, database_url: str | None, asked: FeeAsked) -> dict[str, Any]:
    async with open_core(home, database_url) as parts:
        fee = await looking.set_fee(read_fee(asked), parts.hub, house=billing.house(parts))
    return FeeShown.of(fee).model_dump(mode="json")


async def list_fees(home: Path, database_url: str | None) -> list[dict[str, Any]]:
    async with open_core(home, database_url) as parts:
        found = await looking.fee_schedule(parts.hub, house=billing.house(parts))
    return [FeeShown.of(fee).model_dump(mode="json") for fee in found]
