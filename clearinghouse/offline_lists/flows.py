"""How an EVSP shares its list with operators, and how an operator reads what it may keep."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from clearinghouse.offline_lists import model
from clearinghouse.offline_lists.model import Consent, Page, Place, Shares, Version
from clearinghouse.offline_lists.ports import Agreements, Lists, OfflineLists
from kit.clock import Clock
from kit.event_log import NewEvent
from roaming.events import EventType
from roaming.party import PartyId


async def consent(given: Consent, *, caller: PartyId, lists: OfflineLists, clock: Clock) -> Consent:
    """Let an operator have the caller's list, or no longer: in effect at once."""
    now = clock()
    async with lists.open() as book:
        if await book.keep_consent(caller, given, now):
            await book.tell(
                NewEvent(
                    stream=f"customers:{caller}",
                    type=EventType.OFFLINE_CONSENT_CHANGED,
                    party=str(caller),
                    body={"operator": given.operator or "all", "consent": given.given},
                    occurred_at=now,
                )
            )
    return given


async def consents(*, caller: PartyId, lists: OfflineLists) -> Sequence[Consent]:
    async with lists.open() as book:
        return await book.consents(caller)


async def read(
    since: int | None,
    *,
    caller: PartyId,
    lists: OfflineLists,
    agreements: Agreements,
    clock: Clock,
    limit: int,
) -> Page:
    """The first page of the operator's list, or of what differs from version `since` of it.

    A version that is not known (any more) is answered by the full list.
    """
    now = clock()
    async with lists.open() as book:
        await book.lock(caller)
        shares = await _shares(caller, book, agreements, now)
        version = await book.newest(caller)
        if version is None or version.shares != shares or await book.changed_since(version, now):
            version = await book.add_version(caller, shares, now)
        known = None if since is None else await book.version(caller, since)
        return await _page(book, version, known, None, shares, now, limit)


async def read_on(
    version: int,
    since: int | None,
    after: Place,
    *,
    caller: PartyId,
    lists: OfflineLists,
    agreements: Agreements,
    clock: Clock,
    limit: int,
) -> Page:
    """The page behind `after`. Each is read by itself: nothing is held open for a slow reader.

    What changes while it reads may be in one page or the next version; it is never in neither.
    """
    now = clock()
    async with lists.open() as book:
        of = await book.version(caller, version)
        known = None if since is None else await book.version(caller, since)
        if of is None or (since is not None and known is None):
            raise model.ListMovedOn(
                "this version is not kept any more",
                field="cursor",
                value=version,
                rule="begin anew, without a cursor",
            )
        # Who has withdrawn meanwhile is not told of any more; the next version says so.
        shares = await _shares(caller, book, agreements, now)
        return await _page(book, of, known, after, shares, now, limit)


async def whole(
    first: Page,
    *,
    caller: PartyId,
    lists: OfflineLists,
    agreements: Agreements,
    clock: Clock,
    limit: int,
) -> AsyncIterator[Page]:
    """Every page of a list, one after the other."""
    page = first
    yield page
    while page.after is not None:
        page = await read_on(
            page.version.number,
            None if page.since is None else page.since.number,
            page.after,
            caller=caller,
            lists=lists,
            agreements=agreements,
            clock=clock,
            limit=limit,
        )
        yield page


async def _shares(operator: PartyId, book: Lists, agreements: Agreements, now: datetime) -> Shares:
    partners = agreements.partners(operator, now)
    consenting = await book.consenting(operator, partners)
    return {evsp: partners[evsp] for evsp in sorted(consenting)}


async def _page(
    book: Lists,
    version: Version,
    since: Version | None,
    after: Place | None,
    shares: Shares,
    now: datetime,
    limit: int,
) -> Page:
    if since is not None and since.number == version.number:
        return Page(version, since, (), (), None)
    parts = model.parts(version.shares, None if since is None else since.shares)
    shares = {evsp: until for evsp, until in shares.items() if evsp in version.shares}
    for part, place in model.places(parts, after):
        if part.listed and part.evsp not in shares:
            continue
        entries, removed, following = await book.read(
            part, place, shares=shares, since=since, at=now, limit=limit
        )
        if following is not None:
            return Page(version, since, entries, removed, following)
        if entries or removed:
            rest = model.places(parts, place)
            next(rest)
            on = next(rest, None)
            return Page(version, since, entries, removed, None if on is None else on[1])
    return Page(version, since, (), (), None)
