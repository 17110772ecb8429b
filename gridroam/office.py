"""What the hub's operator does from the command line, beside a running hub or without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from central_system.hub.client import own_key
from central_system.hub.store import SqlKeys
from clearinghouse.exchange import flows as exchange_flows
from clearinghouse.exchange.routes import RateShown
from clearinghouse.exchange.store import SqlBooks as ExchangeRates
from clearinghouse.fees import flows as fee_flows
from clearinghouse.fees.model import Payer, Schedule
from clearinghouse.fees.routes import ScheduleShown
from clearinghouse.fees.store import SqlBooks as Fees
from clearinghouse.netting import flows as netting_flows
from clearinghouse.netting.model import ClearingRun, Period, Strategy
from clearinghouse.netting.routes import shown
from clearinghouse.netting.store import SqlBooks as Clearings
from clearinghouse.periods.model import Month
from clearinghouse.rating.model import zone_named
from gridroam.core import Core, core
from gridroam.home import Home
from gridroam.settings import Settings
from kit import event_log
from kit.clock import utc_now
from kit.event_log import START, Cursor, Event
from marketplace.business import flows as business_flows
from marketplace.business.routes import DetailsShown, read_told
from marketplace.partners import flows as partner_flows
from marketplace.partners.flows import Registration
from marketplace.partners.model import roles_of
from marketplace.partners.routes import PartnerShown
from roaming.events import EventType
from roaming.party import PartyId
from roaming.refusal import Malformed
from search_evse.sites import flows as site_flows
from search_evse.sites.model import ImportReport
from search_evse.sites.store import SqlBooks as Sites

EVENTS_AT_ONCE = 1000


@asynccontextmanager
async def open_core(home: Path, database_url: str | None) -> AsyncIterator[Core]:
    """The books of the hub on `home`, its market open."""
    place = Home(home, database_url)
    async with place.database() as database:
        parts = core(database, place.secret, hub=Settings(home=home).hub_party, clock=utc_now)
        await parts.open_the_market()
        yield parts


async def add_partner(
    home: Path, database_url: str | None, party: PartyId, roles: Sequence[str], name: str
) -> Registration:
    """Register a partner, or give a registered one a further secret."""
    asked = roles_of(roles)
    async with open_core(home, database_url) as parts:
        return await register(parts, party, asked, name)


async def register(parts: Core, party: PartyId, roles: Any, name: str) -> Registration:
    return await partner_flows.register(
        parts.partners, party, roles, name, hasher=parts.checker, now=parts.clock()
    )


async def partner_details(
    home: Path, database_url: str | None, party: PartyId, file: Path | None
) -> dict[str, Any]:
    """A party's business details, after those of `file` are kept."""
    told = None if file is None else read_told(await content_of(file))
    async with open_core(home, database_url) as parts:
        hub, now = parts.hub, parts.clock()
        if told is None:
            found = await business_flows.read(parts.business_files, hub, party, now, hub=hub)
        else:
            found = await business_flows.tell(
                parts.business_files,
                hub,
                told.of(party, now),
                hub=hub,
                memory=parts.businesses,
                now=now,
            )
    return DetailsShown.of(found).model_dump(mode="json")


async def content_of(file: Path) -> bytes:
    """All of a file that was named on the command line. Malformed where it cannot be read."""
    try:
        return await asyncio.to_thread(file.read_bytes)
    except OSError as error:
        raise Malformed(f"cannot read {file}: {error.strerror}", field="FILE", value=file) from None


async def operator_key(
    home: Path, database_url: str | None, operator: PartyId, client_id: str | None
) -> dict[str, Any]:
    """The public key by which the central system here signs for `operator` at a hub elsewhere.

    With `client_id`, the name that the hub has given it is kept.
    """
    async with open_core(home, database_url) as parts:
        keys = SqlKeys(parts.database, parts.box, parts.clock)
        _, public, known = await own_key(keys, operator)
        if client_id is not None:
            await keys.name(operator, client_id)
            known = client_id
    return {"operator": operator, "jwks": {"keys": [public]}, "client_id": known}


async def list_partners(home: Path, database_url: str | None) -> list[dict[str, Any]]:
    """Every partner as JSON: party, name, roles, status, registered_at."""
    found: list[dict[str, Any]] = []
    async with open_core(home, database_url) as parts:
        after: PartyId | None = None
        while page := await partner_flows.page(parts.partners, after, 1000):
            now = parts.clock()
            found += [PartnerShown.of(one, now).model_dump() for one in page]
            after = page[-1].party
    return found


async def import_evses(
    home: Path,
    database_url: str | None,
    file: Path,
    operator: PartyId | None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Import a file of charge points; what became of its rows."""
    async with open_core(home, database_url) as parts:
        return asdict(await import_into(parts, file, operator, progress))


async def import_into(
    parts: Core,
    file: Path,
    operator: PartyId | None = None,
    progress: Callable[[int], None] | None = None,
) -> ImportReport:
    try:
        source = await asyncio.to_thread(file.open, "rb")
    except OSError as error:
        raise Malformed(f"cannot read {file}: {error.strerror}", field="FILE", value=file) from None
    with source:
        return await site_flows.import_evses(
            source,
            books=Sites(parts.database),
            clock=parts.clock,
            operator=operator,
            progress=progress,
        )


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


@dataclass(frozen=True, slots=True)
class EventsAsked:
    """Which events; no types and no party: all of them. `limit` None: to the end of the log."""

    after: Cursor = START
    types: Sequence[EventType] = ()
    party: PartyId | None = None
    limit: int | None = None


def cursor_of(said: str | None) -> Cursor:
    if said is None:
        return START
    try:
        cursor = Cursor.parse(said)
        if not all(0 <= number < 1 << 63 for number in cursor):
            raise ValueError(said)
    except ValueError:
        raise Malformed(
            f"{said!r} is no cursor", field="--after", value=said, rule="as an event shows it"
        ) from None
    return cursor


def types_named(names: Sequence[str]) -> list[EventType]:
    for name in names:
        if name not in set(EventType):
            raise Malformed(
                f"there are no {name!r} events",
                field="--type",
                value=name,
                rule=", ".join(EventType),
            )
    return [EventType(name) for name in names]


async def tell_events(
    home: Path, database_url: str | None, asked: EventsAsked, tell: Callable[[Any], None]
) -> None:
    """The log behind a cursor, oldest first, up to its present end or `limit`."""
    left, after = asked.limit, asked.after
    async with open_core(home, database_url) as parts:
        while left is None or left > 0:
            async with parts.database.hot() as connection:
                page = await event_log.read(
                    connection,
                    after,
                    limit=EVENTS_AT_ONCE if left is None else min(left, EVENTS_AT_ONCE),
                    types=asked.types or None,
                    party=asked.party,
                )
            if not page:
                return
            for event in page:
                tell(_event_shown(event))
            after = page[-1].cursor
            left = None if left is None else left - len(page)


def _event_shown(event: Event) -> dict[str, Any]:
    return {
        "cursor": str(event.cursor),
        "type": event.type,
        "party": event.party,
        "occurred_at": event.occurred_at,
        "recorded_at": event.recorded_at,
        "stream": event.stream,
        "version": event.version,
        "correlation_id": event.correlation_id,
        "causation_id": event.causation_id,
        "body": event.body,
    }
