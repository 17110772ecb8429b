"""How a dispute goes: each step one transaction, each told to both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from clearinghouse.cdrs import flows as cdr_flows
from clearinghouse.cdrs.batch import credit_of
from clearinghouse.cdrs.life import LIFE
from clearinghouse.cdrs.life import Step as LifeStep
from clearinghouse.cdrs.model import UnknownCdr
from clearinghouse.disputes import model
from clearinghouse.disputes.model import Action, Dispute, Outcome, Reason, Side, State
from clearinghouse.disputes.ports import Book, Books
from kit.actor import actor_now
from kit.clock import Clock
from kit.event_log import NewEvent
from kit.sortable_id import sortable_id
from roaming.events import EventType
from roaming.party import PartyId

LAPSED_AT_ONCE = 100


async def decline(
    operator: PartyId,
    cdr_id: str,
    reason: Reason,
    says: str | None,
    *,
    evsp: PartyId,
    books: Books,
    clock: Clock,
) -> Dispute:
    """An EVSP declines a record that it owes: its amount waits. Told again, the same dispute.

    Raises UnknownCdr, CannotDecline, TooLate, BadDispute.
    """
    now = clock()
    step = model.first_step(evsp, reason, now, says)
    async with books.write(operator) as book:
        cdr = await book.cdr(cdr_id)
        if cdr is None or cdr.evsp != evsp:
            raise UnknownCdr(f"no cdr {cdr_id} of {operator}", field="cdr_id", value=cdr_id)
        known = await book.running(cdr_id)
        if known is not None:
            return known
        if LifeStep.DECLINE not in LIFE[cdr.state] or cdr.submission.credit_reference_id:
            raise model.CannotDecline(
                f"cdr {cdr_id} is {cdr.state} and cannot be declined",
                field="cdr_id",
                value=cdr_id,
                rule="a record that is accepted or flagged, and no credit",
            )
        model.must_be_in_time(cdr.recorded_at, now, cdr_id)
        assert cdr.rated is not None
        dispute = Dispute(
            dispute_id=sortable_id(now),
            operator=operator,
            cdr_id=cdr_id,
            evsp=evsp,
            state=State.OPENED,
            reason=reason,
            excl_vat=cdr.rated.excl_vat,
            vat=cdr.rated.vat,
            clearing_group=cdr.rated.clearing_group,
            opened_at=now,
            due_at=now + model.ANSWER_WITHIN,
            value_at=await book.value_date(cdr.value_at),
            history=(step,),
        )
        await book.open(dispute, cdr, _events(EventType.DISPUTE_OPENED, dispute))
    return dispute


async def act(
    dispute_id: str,
    action: Action,
    says: str | None,
    *,
    caller: PartyId,
    hub: PartyId,
    books: Books,
    clock: Clock,
) -> Dispute:
    """One side of a dispute acts. The same action again tells what it came to.

    Raises UnknownDispute, DisputeCannot, NotYourTurn, BadDispute.
    """
    found = await show(dispute_id, caller=caller, hub=hub, books=books)
    async with books.write(found.operator) as book:
        dispute = await book.find(dispute_id)
        assert dispute is not None
        last = dispute.history[-1]
        if (last.action, last.by) == (action, caller):
            return dispute
        return await _act(
            dispute, action, dispute.side_of(caller, hub), caller, says, book, clock()
        )


async def lapse(*, books: Books, clock: Clock) -> int:
    """What is due is decided by silence; how many disputes that was."""
    due = await books.due(clock(), LAPSED_AT_ONCE)
    lapsed = 0
    for one in due:
        async with books.write(one.operator) as book:
            dispute = await book.find(one.dispute_id)
            now = clock()
            # Somebody may have acted since it was looked up.
            if dispute is None or dispute.due_at is None or now < dispute.due_at:
                continue
            await _act(dispute, Action.LAPSE, (Side.CLOCK,), "deadline", None, book, now)
            lapsed += 1
    return lapsed


async def show(dispute_id: str, *, caller: PartyId, hub: PartyId, books: Books) -> Dispute:
    """A dispute that the caller has part in."""
    found = await books.of(dispute_id)
    if found is None or not found.side_of(caller, hub):
        raise model.UnknownDispute(
            f"no dispute {dispute_id[:60]} of yours", field="dispute_id", value=dispute_id[:60]
        )
    return found


async def page(
    *,
    caller: PartyId,
    hub: PartyId,
    state: State | None,
    after: str,
    limit: int,
    books: Books,
) -> Sequence[Dispute]:
    """The caller's disputes, oldest first; everybody's for the hub."""
    party = None if caller == hub else caller
    return await books.page(party, state=state, after=after, limit=limit)


async def _act(
    dispute: Dispute,
    action: Action,
    sides: tuple[Side, ...],
    by: str,
    says: str | None,
    book: Book,
    now: datetime,
) -> Dispute:
    moved = model.acted(dispute, action, sides, by, now, says)
    if moved.outcome is None:
        await book.go_on(moved, _events(EventType.DISPUTE_WENT_ON, moved))
        return moved
    events = _events(EventType.DISPUTE_RESOLVED, moved)
    cdr = await book.cdr(dispute.cdr_id)
    assert cdr is not None
    value_at = await book.value_date(dispute.value_at)
    if moved.outcome is Outcome.RELEASED:
        await book.release(moved, cdr, value_at, events)
    else:
        told = cdr.submission
        credit = credit_of(cdr, model.credit_id(told.cdr_id, told.content), now)
        credit = replace(credit, moved_to=value_at)
        await book.credit(moved, cdr, credit, cdr_flows.event_of(credit, actor_now()), events)
    return moved


def _events(type_: EventType, dispute: Dispute) -> list[NewEvent]:
    """The same fact for each side; the first is what the ledger's posting stands on."""
    last = dispute.history[-1]
    body: dict[str, Any] = {
        "dispute_id": dispute.dispute_id,
        "operator": dispute.operator,
        "cdr_id": dispute.cdr_id,
        "evsp": dispute.evsp,
        "state": dispute.state.value,
        "reason": dispute.reason.value,
        "action": last.action,
        "by": last.by,
        "due_at": dispute.due_at,
        "outcome": None if dispute.outcome is None else dispute.outcome.value,
    }
    return [
        NewEvent(
            stream=f"disputes:{party}", type=type_, party=party, body=body, occurred_at=last.at
        )
        for party in dict.fromkeys((dispute.operator, dispute.evsp))
    ]
