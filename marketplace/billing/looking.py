"""What the two sides of an invoice, and the operator, see of billing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from marketplace.billing import fees, model
from marketplace.billing.fees import BadFee, Fee
from marketplace.billing.model import Contract, Item, NotForYou, Run, Uninvoiced, UnknownInvoice
from marketplace.billing.ports import Found, House, Recorded
from marketplace.billing.standing import Billed, State
from roaming.month import Month
from roaming.party import PartyId

READ_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Whole:
    """A document with all that hangs on it."""

    found: Found
    lines: Sequence[Billed]
    entries: Sequence[Recorded]
    credit_notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Unbilled:
    """What a contract's month has come to by now, and what of it is on no invoice yet."""

    contract: Contract
    items: Sequence[Item]
    due: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which documents are looked for."""

    month: Month | None = None
    contract_id: str | None = None
    counterparty: PartyId | None = None
    state: State | None = None


async def find(number: str, party: PartyId, *, house: House) -> Found:
    """A document that the party is the seller or the buyer of; the hub sees all."""
    async with house.books.open() as book:
        found = await book.find(number, _whose(party, house))
    if found is None:
        raise UnknownInvoice(f"no invoice {number}", field="number", value=number)
    return found


async def show(number: str, party: PartyId, *, house: House) -> Whole:
    async with house.books.open() as book:
        found = await book.find(number, _whose(party, house))
        if found is None:
            raise UnknownInvoice(f"no invoice {number}", field="number", value=number)
        return Whole(
            found,
            await book.lines(number),
            await book.entries(number),
            await book.credit_notes(number),
        )


async def page(
    party: PartyId, wanted: Wanted, *, after: int, limit: int, house: House
) -> Sequence[Found]:
    """Documents in the order of their issue. How they stand is nowhere kept: it is looked at."""
    today = house.clock().date()
    found: list[Found] = []
    async with house.books.open() as book:
        while len(found) < limit:
            some = await book.page(
                _whose(party, house),
                month=wanted.month,
                contract_id=wanted.contract_id,
                counterparty=wanted.counterparty,
                after=after,
                limit=limit if wanted.state is None else READ_AT_ONCE,
            )
            if not some:
                break
            after = some[-1].position
            found += [one for one in some if wanted.state in (None, one.standing.state(today))]
    return found[:limit]


async def every(party: PartyId, wanted: Wanted, *, house: House) -> AsyncIterator[Sequence[Found]]:
    """All documents, a page at a time; each page as it stands when it is read."""
    after = 0
    while found := await page(party, wanted, after=after, limit=READ_AT_ONCE, house=house):
        yield found
        after = found[-1].position


async def uninvoiced(party: PartyId, *, house: House) -> Sequence[Uninvoiced]:
    """What is due to or from the party and waits for what an invoice needs."""
    async with house.books.open() as book:
        return await book.uninvoiced(_whose(party, house))


async def unbilled(party: PartyId, month: Month | None, *, house: House) -> Sequence[Unbilled]:
    """What a month has come to by now under the party's contracts: this month, if none is told."""
    now = house.clock()
    month = month or Month.of(now)
    until = min(now, month.ends_at)
    if until <= month.starts_at:
        return []
    async with house.books.open() as book:
        contracts = await book.contracts_of(party, month, now)
        ids = [one.contract_id for one in contracts]
        taken = await book.taken(ids, [month])
    span = [(month, until)]
    used = await house.usage.now(contracts, span)
    packed = [one.contract_id for one in contracts if one.terms.pack is not None]
    bought = await house.packs.bought(packed, span)
    found = []
    for one in contracts:
        items = model.rated(
            one,
            month,
            until,
            used.get(one.contract_id, {}).get(month, model.Used()),
            bought.get(one.contract_id, {}).get(month, model.Bought()),
        )
        due = model.difference(items, taken.get((one.contract_id, month), {}))
        if items or due:
            found.append(Unbilled(one, items, due))
    return found


async def runs(party: PartyId, before: str | None, limit: int, *, house: House) -> Sequence[Run]:
    operator_only(party, house)
    async with house.books.open() as book:
        return await book.runs(before, limit)


async def fee_schedule(party: PartyId, *, house: House) -> Sequence[Fee]:
    """The fees that can hold for a party: those of others are not its own to see."""
    async with house.books.open() as book:
        every = await book.fees()
    if party == house.hub:
        return every
    return [one for one in every if one.provider in (None, party)]


async def set_fee(fee: Fee, by: PartyId, *, house: House) -> Fee:
    """A fee from a month on, of which nothing is billed yet. NotForYou, BadFee."""
    operator_only(by, house)
    now = house.clock()
    async with house.books.open() as book:
        await book.lock()
        fees.checked(fee, Month.of(now))
        if await book.has_billed(fee.valid_from):
            raise BadFee(
                f"{fee.valid_from} is being billed",
                field="valid_from",
                value=str(fee.valid_from),
                rule="a month of which nothing is billed yet",
            )
        await book.add_fee(fee, by, now)
    return fee


def operator_only(party: PartyId, house: House) -> None:
    """Refuse everybody but the operator of the hub."""
    if party != house.hub:
        raise NotForYou("the operator of the hub does this", rule=f"asked by {house.hub}")


def _whose(party: PartyId, house: House) -> PartyId | None:
    return None if party == house.hub else party
