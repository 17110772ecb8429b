"""What an EVSP is offered, side by side; and the matrix of all who roam with each other."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from marketplace.offerings.coverage import Coverage
from marketplace.offerings.model import RoamingTerms
from marketplace.partners.model import Role
from marketplace.roaming import model
from marketplace.roaming.model import BadComparison, Cell, Glance, Offer, OpenOffer, Session
from marketplace.roaming.ports import Book, Market, Markets
from roaming.evse_id import EvseId
from roaming.party import PartyId

MOST_COMPARED = 10_000
_AT_ONCE = 1_000
# Pricing is pure reckoning: between slices other callers of this process get their turn.
_SLICE = 32


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which offers: of an operator, in a currency, about a charge point, accepted or not yet."""

    operator: PartyId | None = None
    currency: str | None = None
    evse_id: EvseId | None = None
    accepted: bool | None = None


Seen = tuple[Offer, Glance]


async def offers(
    markets: Markets,
    evsp: PartyId,
    roles: Collection[str],
    wanted: Wanted,
    session: Session,
    *,
    after: str | None,
    limit: int,
    now: datetime,
) -> list[Seen]:
    """What is offered to an EVSP, oldest first, each with its price at a glance."""
    found: list[Offer] = []
    async with markets.open() as market:
        while len(found) < limit:
            page = await _page(market, evsp, roles, wanted, after=after, limit=_AT_ONCE, now=now)
            found += [one for one in page if _is_wanted(one, wanted)]
            if len(page) < _AT_ONCE:
                break
            after = page[-1].offering_id
    return await _priced(found[:limit], session, now)


async def cheapest(
    markets: Markets,
    evsp: PartyId,
    roles: Collection[str],
    wanted: Wanted,
    session: Session,
    *,
    limit: int,
    now: datetime,
) -> list[Seen]:
    """The offers under which the session costs least without VAT, outside groups. BadComparison."""
    if wanted.currency is None:
        raise BadComparison(
            "prices of several currencies have no order",
            field="currency",
            rule="one currency, as EUR",
        )
    found = await offers(
        markets, evsp, roles, wanted, session, after=None, limit=MOST_COMPARED, now=now
    )
    found.sort(key=lambda one: (one[1].everywhere.excl_vat.minor, one[0].offering_id))
    return found[:limit]


async def _page(
    market: Market,
    evsp: PartyId,
    roles: Collection[str],
    wanted: Wanted,
    *,
    after: str | None,
    limit: int,
    now: datetime,
) -> Sequence[Offer]:
    return await market.offers(
        evsp,
        roles,
        now,
        operator=wanted.operator,
        currency=wanted.currency,
        accepted=wanted.accepted,
        after=after,
        limit=limit,
    )


def _is_wanted(offer: Offer, wanted: Wanted) -> bool:
    return wanted.evse_id is None or wanted.evse_id in Coverage(offer.terms.evses)


async def _priced(found: Sequence[Offer], session: Session, now: datetime) -> list[Seen]:
    known: dict[int, Glance] = {}
    seen = []
    for n, offer in enumerate(found):
        terms: RoamingTerms = offer.terms
        if id(terms) not in known:
            known[id(terms)] = model.glance(terms, session, now)
        seen.append((offer, known[id(terms)]))
        if n % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)
    return seen


async def matrix(
    markets: Markets,
    book: Book,
    party: PartyId | None,
    roles: Collection[str],
    *,
    after: PartyId | None,
    limit: int,
    now: datetime,
) -> dict[PartyId, list[Cell]]:
    """By operator, in order, its EVSPs: whatever two have, had or may have with each other.

    A party sees its own row, and itself in the rows of others; None sees all. `after` and `limit`
    are of operators.
    """
    roamers = book.roamers()
    async with markets.open() as market:
        asked = await market.asked(party)
        operators = {
            *await market.offering(party, roles),
            *_agreeing(roamers, party),
            *(operator for operator, _ in asked),
        }
        page = sorted(one for one in operators if after is None or one > after)[:limit]
        offered = await market.open_offers(page, now)
        accepted = set(await market.accepted([one.offering_id for one in offered], now))
        evsps = await market.evsps()
    found: dict[PartyId, list[Cell]] = {}
    for operator in page:
        own = [one for one in offered if one.operator == operator]
        columns = {*evsps, *roamers.get(operator, ()), *_asking(asked, operator)} - {operator}
        if party is not None and party != operator:
            columns = {party}
            evsps = {party: roles, **evsps}
        row = [
            model.cell(
                operator,
                evsp,
                book.agreed(operator, evsp, now),
                _open(own, evsp, evsps.get(evsp, ()), accepted),
                asked.get((operator, evsp), ()),
            )
            for evsp in sorted(columns)
        ]
        found[operator] = [one for one in row if one is not None]
        await asyncio.sleep(0)
    return found


def _agreeing(
    roamers: Mapping[PartyId, Collection[PartyId]], party: PartyId | None
) -> list[PartyId]:
    return [
        operator
        for operator, evsps in roamers.items()
        if party is None or operator == party or party in evsps
    ]


def _asking(
    asked: Mapping[tuple[PartyId, PartyId], Sequence[str]], operator: PartyId
) -> list[PartyId]:
    return [evsp for other, evsp in asked if other == operator]


def _open(
    offered: Sequence[OpenOffer],
    evsp: PartyId,
    roles: Collection[str],
    accepted: set[tuple[str, PartyId]],
) -> list[str]:
    return [
        one.offering_id
        for one in model.made_to(offered, evsp, roles)
        if Role.EVSP in roles and (one.offering_id, evsp) not in accepted
    ]
