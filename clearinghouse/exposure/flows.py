"""What the hub's operator does about exposure, and what an EVSP sees of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

from clearinghouse.exposure import model
from clearinghouse.exposure.model import (
    Figures,
    Level,
    Limit,
    Movement,
    NoLimit,
    ReferenceUsed,
)
from clearinghouse.exposure.ports import Book, Books
from kit.clock import Clock
from kit.event_log import NewEvent
from roaming.events import EventType
from roaming.party import PartyId


@dataclass(frozen=True, slots=True)
class Exposure:
    """One EVSP's limit with what counts against it; both None where there is none."""

    evsp: PartyId
    limit: Limit | None
    figures: Figures | None


async def set_limit(limit: Limit, *, books: Books, clock: Clock) -> Exposure:
    """Cap what an EVSP may owe, from now on. What is held already stays held."""
    async with books.alone(limit.evsp) as book:
        known = await book.limit()
        level = Level.WITHIN if known is None else known.level
        event = NewEvent(
            stream=f"exposure:{limit.evsp}",
            type=EventType.EXPOSURE_LIMIT_SET,
            party=str(limit.evsp),
            body={
                "currency": limit.currency,
                "cap_minor": limit.cap.minor,
                "hold_minor": limit.hold.minor,
                "hold_days": limit.hold_days,
                "set_by": limit.set_by,
            },
            occurred_at=limit.set_at,
        )
        await book.keep(replace(limit, level=level), [event])
        await book.look(clock())
        return await _shown(limit.evsp, book, clock)


async def lift_limit(evsp: PartyId, *, by: str, books: Books, clock: Clock) -> None:
    """Let an EVSP owe whatever it is. Raises NoLimit."""
    async with books.alone(evsp) as book:
        if await book.limit() is None:
            raise NoLimit(f"{evsp} has no limit", field="evsp", value=str(evsp))
        event = NewEvent(
            stream=f"exposure:{evsp}",
            type=EventType.EXPOSURE_LIMIT_LIFTED,
            party=str(evsp),
            body={"lifted_by": by},
            occurred_at=clock(),
        )
        await book.lift([event])


async def show(evsp: PartyId, *, books: Books, clock: Clock) -> Exposure:
    async with books.read(evsp) as book:
        return await _shown(evsp, book, clock)


async def show_all(*, books: Books, clock: Clock) -> list[Exposure]:
    """Every EVSP that has a limit."""
    found = [await show(evsp, books=books, clock=clock) for evsp in await books.watched(clock())]
    return [one for one in found if one.limit is not None]


async def deposit(movement: Movement, *, books: Books, clock: Clock) -> Exposure:
    """Book what an EVSP has paid in. The same reference again changes nothing."""
    assert movement.amount.minor > 0
    async with books.alone(movement.evsp) as book:
        if not await _known(book, movement):
            await book.move(movement, _moved(movement, clock))
            await book.look(clock())
        return await _shown(movement.evsp, book, clock)


async def withdraw(movement: Movement, *, books: Books, clock: Clock) -> Exposure:
    """Book what goes back to an EVSP: not more than is there, nor what it needs for its debts.

    Raises DepositTooSmall, ReferenceUsed.
    """
    async with books.alone(movement.evsp) as book:
        if not await _known(book, movement):
            there = await book.deposited(movement.deposit, movement.amount.currency)
            model.may_leave(movement, there.minor, await book.figures(clock()))
            await book.move(movement, _moved(movement, clock))
            await book.look(clock())
        return await _shown(movement.evsp, book, clock)


async def watch(evsp: PartyId, *, books: Books, clock: Clock) -> Exposure:
    """End what has waited too long, and tell it if the EVSP has come nearer its limit."""
    now = clock()
    async with books.alone(evsp) as book:
        await book.expire(now)
        await book.look(now)
        return await _shown(evsp, book, clock)


async def _shown(evsp: PartyId, book: Book, clock: Clock) -> Exposure:
    return Exposure(evsp, await book.limit(), await book.figures(clock()))


async def _known(book: Book, movement: Movement) -> bool:
    """Whether this very movement is booked already. Raises ReferenceUsed for another one."""
    known = await book.movement(movement.reference)
    if known is None:
        return False
    if known != movement:
        raise ReferenceUsed(
            "this reference stands for another movement",
            field="reference",
            value=movement.reference,
            rule="one reference for one EVSP, deposit and amount",
        )
    return True


def _moved(movement: Movement, clock: Clock) -> NewEvent:
    return NewEvent(
        stream=f"exposure:{movement.evsp}",
        type=EventType.DEPOSIT_BOOKED,
        party=str(movement.evsp),
        body={
            "reference": movement.reference,
            "deposit": movement.deposit.value,
            "currency": movement.amount.currency,
            "amount_minor": movement.amount.minor,
        },
        occurred_at=clock(),
    )
