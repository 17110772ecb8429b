"""The hub's fees and the rates of exchange, from the command line."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from clearinghouse.exchange import flows as exchange_flows
from clearinghouse.exchange.routes import RateShown
from clearinghouse.exchange.store import SqlBooks as ExchangeRates
from clearinghouse.fees import flows as fee_flows
from clearinghouse.fees.model import Payer, Schedule
from clearinghouse.fees.routes import ScheduleShown
from clearinghouse.fees.store import SqlBooks as Fees
from clearinghouse.periods.model import Month
from gridroam.office import open_core
from roaming.party import PartyId
from roaming.refusal import Malformed


def fee_schedule(
    payer: str, valid_from: str, currency: str, per_cdr: str, per_kwh: str, party: str | None
) -> Schedule:
    """A schedule as told on the command line; Malformed names what is wrong."""
    if payer not in set(Payer):
        raise Malformed(
            f"there is no side {payer!r}", field="--payer", value=payer, rule=", ".join(Payer)
        )
    prices = []
    for option, told in (("--per-cdr", per_cdr), ("--per-kwh", per_kwh)):
        try:
            prices.append(Decimal(told))
        except InvalidOperation:
            raise Malformed("not a number", field=option, value=told, rule="as 0.015") from None
    return Schedule(
        Payer(payer),
        None if party is None else PartyId(party),
        Month.parse(valid_from),
        currency,
        *prices,
    )


async def set_fees(home: Path, database_url: str | None, asked: Schedule) -> dict[str, Any]:
    async with open_core(home, database_url) as parts:
        kept = await fee_flows.set_schedule(
            asked, hub=parts.hub, books=Fees(parts.database), now=parts.clock()
        )
    return _schedule_shown(kept)


async def list_fees(home: Path, database_url: str | None) -> list[dict[str, Any]]:
    async with open_core(home, database_url) as parts, Fees(parts.database).open() as book:
        return [_schedule_shown(one) for one in await book.schedules()]


def _schedule_shown(schedule: Schedule) -> dict[str, Any]:
    return {"party": schedule.party} | ScheduleShown.of(schedule).model_dump(mode="json")


async def import_rates(home: Path, database_url: str | None, file: Path) -> dict[str, Any]:
    """Import a file of exchange rates; what became of them."""
    try:
        source = await asyncio.to_thread(file.open, "rb")
    except OSError as error:
        raise Malformed(f"cannot read {file}: {error.strerror}", field="FILE", value=file) from None
    with source:
        async with open_core(home, database_url) as parts:
            return asdict(
                await exchange_flows.import_ecb(
                    source, books=ExchangeRates(parts.database), now=parts.clock()
                )
            )


async def latest_rates(home: Path, database_url: str | None) -> list[dict[str, Any]]:
    async with open_core(home, database_url) as parts:
        found = await exchange_flows.latest(ExchangeRates(parts.database))
    return [RateShown.of(one).model_dump(mode="json") for one in found]
