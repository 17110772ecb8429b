"""What happens in a negotiation, one transaction each; the last one makes the contract."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from kit.sortable_id import sortable_id
from marketplace.access import detached
from marketplace.contracts import flows as contract_flows
from marketplace.contracts import life
from marketplace.contracts.model import Contract, UnknownContract
from marketplace.contracts.ports import Memory
from marketplace.negotiations import drafting, model
from marketplace.negotiations.drafting import Said, Subject, Wish
from marketplace.negotiations.history import Entry, told_once
from marketplace.negotiations.model import (
    Action,
    CannotReplace,
    Negotiation,
    NotYetDrawnUp,
    Side,
    Signed,
    State,
    UnknownNegotiation,
)
from marketplace.negotiations.ports import Desk, Negotiations, Registry, Told, Witness
from roaming.party import PartyId

LAPSED_AT_ONCE = 100


async def begin(
    negotiations: Negotiations,
    caller: PartyId,
    roles: Collection[str],
    subject: Subject,
    wish: Wish,
    now: datetime,
) -> Negotiation:
    """A request of the requester's, or an offer of the provider's; the same again is the same.

    UnknownService, UnknownOffering, UnknownContract, NotYourServiceToOffer, BadProposal, BadTerms.
    """
    async with negotiations.open() as desk:
        offering = await drafting.offering_of(desk, caller, roles, subject)
        replaced = await drafting.replaced_by(desk, caller, subject)
        parties = await drafting.between(desk, caller, subject, offering, replaced)
        requester, provider, name, major = parties
        await desk.lock(requester, provider)
        service = await drafting.service_between(desk, *parties, now)
        before = await drafting.said_before(desk, offering, replaced)
        draft = await drafting.draft(desk, service, provider, requester, wish, before, now)
        begun = model.begun(
            sortable_id(now),
            caller,
            draft,
            now,
            requester=requester,
            provider=provider,
            service=name,
            major=major,
            offering_id=None if offering is None else offering.offering_id,
            replaces=None if replaced is None else replaced.contract_id,
        )
        for known in await desk.open_between(requester, provider, name, major):
            same = (known.offering_id, known.replaces, known.latest.by) == (
                begun.offering_id,
                begun.replaces,
                caller,
            )
            # One that nobody answered in time can be made anew, ended or not yet.
            if same and now < known.until and known.latest.says_the_same_as(draft):
                return known
        await desk.add(begun)
    return begun


async def propose(
    negotiations: Negotiations,
    caller: PartyId,
    negotiation_id: str,
    answers: int,
    wish: Wish,
    now: datetime,
) -> Negotiation:
    """A counter-offer, or a better proposal of one's own."""
    async with negotiations.open() as desk:
        before = await _to_change(desk, caller, negotiation_id)
        between = (before.requester, before.provider, before.service, before.major)
        service = await drafting.service_between(desk, *between, now)
        draft = await drafting.draft(
            desk, service, before.provider, before.requester, wish, Said.of(before.latest), now
        )
        after = model.proposed(before, caller, replace(draft, answers=answers), now)
        await _save(desk, before, after)
    return after


async def accept(
    negotiations: Negotiations,
    registry: Registry,
    caller: PartyId,
    negotiation_id: str,
    number: int,
    now: datetime,
) -> Negotiation:
    """Accept the other side's latest proposal: its document is drawn up, for both to sign.

    ProposalSuperseded, ProposalWithdrawn, ProposalLapsed, NegotiationCannot, ContractsOverlap.
    """
    known = await find(negotiations, caller, negotiation_id)
    provider = await registry.on_paper(known.provider, now)
    requester = await registry.on_paper(known.requester, now)
    async with negotiations.open() as desk:
        before = await _to_change(desk, caller, negotiation_id)
        body = drafting.document(before, provider, requester, now)
        after = model.accepted(before, caller, number, hashlib.sha256(body).digest(), now)
        if after is not before:
            contract = drafting.contract(after, sortable_id(now), now)
            replaced = await _to_replace(desk, after, contract, now)
            if replaced is not None:
                by = after.latest.by
                replaced = life.replaced(
                    replaced, contract.contract_id, contract.valid_from, by, now
                )
            standing = await desk.contracts.standing_beside(contract)
            contract_flows.check_room(contract, standing, replaced)
            await desk.keep_document(negotiation_id, body)
        await _save(desk, before, after)
    return after


async def end(
    negotiations: Negotiations,
    caller: PartyId,
    negotiation_id: str,
    action: Action,
    reason: str | None,
    now: datetime,
    *,
    number: int | None = None,
) -> Negotiation:
    """Withdraw from a negotiation, or refuse what is proposed."""
    async with negotiations.open() as desk:
        before = await _to_change(desk, caller, negotiation_id)
        after = model.ended(before, action, caller, reason, now, number=number)
        await _save(desk, before, after)
    return after


async def sign(
    negotiations: Negotiations,
    registry: Registry,
    witness: Witness,
    hub: PartyId,
    caller: PartyId,
    negotiation_id: str,
    jws: str,
    *,
    memory: Memory,
    now: datetime,
) -> Negotiation:
    """One side's signature. With the second, the hub signs as witness, and the contract is made.

    BadSignature, NegotiationCannot, ProposalLapsed, CannotReplace, ContractsOverlap: then nothing
    is signed.
    """
    keys = await registry.keys_of(caller)
    async with negotiations.open() as desk:
        before = await _to_change(desk, caller, negotiation_id)
        body = await desk.document(negotiation_id)
        side = before.side_of(caller)
        if body is None:
            raise _not_yet(before)
        again = before.signed_by(side)
        key = detached.verify(jws, body, keys) if again is None else again.public_key
        after = model.signed(before, Signed(side, caller, jws, key, now), now)
        if after.state is State.VERIFIED and after is not before:
            after = await _finalise(desk, before, after, body, witness, hub, now)
        else:
            await _save(desk, before, after)
    await memory.refresh()
    return after


async def _finalise(
    desk: Desk,
    before: Negotiation,
    verified: Negotiation,
    body: bytes,
    witness: Witness,
    hub: PartyId,
    now: datetime,
) -> Negotiation:
    await desk.contracts.lock(verified.requester)
    contract = drafting.contract(verified, sortable_id(now), now)
    await contract_flows.check_sides(desk.contracts, contract, now)
    replaced = await _to_replace(desk, verified, contract, now)
    header = {
        "negotiation_id": verified.negotiation_id,
        "contract_id": contract.contract_id,
        "finalised_at": now.isoformat(),
        "signatures_sha256": [
            hashlib.sha256(one.jws.encode()).hexdigest() for one in verified.signatures
        ],
    }
    jws, key = witness.sign(header, body, now)
    seen = Signed(Side.HUB, hub, jws, key, now)
    done = model.finalised(verified, contract.contract_id, seen, now)
    await desk.save(before, done)
    await contract_flows.conclude(desk.contracts, contract, now, replaced=replaced)
    await desk.file(contract.contract_id, body, done.signatures, now)
    return done


async def lapse(negotiations: Negotiations, hub: PartyId, now: datetime) -> int:
    """End the negotiations whose time is over; how many there were."""
    over = await negotiations.over(now, LAPSED_AT_ONCE)
    for negotiation_id in over:
        async with negotiations.open() as desk:
            before = await desk.find_to_lapse(negotiation_id)
            if before is not None:
                await _save(desk, before, model.lapsed(before, hub, now))
    return len(over)


async def find(negotiations: Negotiations, party: PartyId, negotiation_id: str) -> Negotiation:
    """One of one's own; UnknownNegotiation, also for one between others."""
    async with negotiations.open() as desk:
        found = await desk.find(negotiation_id, party)
    if found is None:
        raise _unknown(negotiation_id)
    return found


async def find_told(
    negotiations: Negotiations, party: PartyId, negotiation_id: str
) -> tuple[Negotiation, Sequence[Told]]:
    """As `find`, and how far each of its moves has come to both sides."""
    async with negotiations.open() as desk:
        found = await desk.find(negotiation_id, party)
        if found is None:
            raise _unknown(negotiation_id)
        return found, await desk.told(negotiation_id)


async def document(negotiations: Negotiations, party: PartyId, negotiation_id: str) -> bytes:
    """The bytes that both sides sign. NotYetDrawnUp."""
    async with negotiations.open() as desk:
        found = await desk.find(negotiation_id, party)
        if found is None:
            raise _unknown(negotiation_id)
        body = await desk.document(negotiation_id)
    if body is None:
        raise _not_yet(found)
    return body


async def history(negotiations: Negotiations, party: PartyId, contract_id: str) -> list[Entry]:
    """All that has happened to one of the party's contracts; UnknownContract."""
    async with negotiations.open() as desk:
        if await desk.contracts.find(contract_id, party) is None:
            raise UnknownContract(
                "no such contract is yours", field="contract_id", value=contract_id[:100]
            )
        return await history_of(desk, contract_id)


async def history_of(desk: Desk, contract_id: str) -> list[Entry]:
    """For whom it is, is not asked here."""
    about = [f"negotiation:{one}" for one in await desk.about(contract_id)]
    return told_once(await desk.entries([f"contract:{contract_id}", *about]))


async def page(
    negotiations: Negotiations,
    party: PartyId,
    *,
    state: State | None,
    service: str | None,
    other: PartyId | None,
    after: str | None,
    limit: int,
) -> Sequence[Negotiation]:
    """One's own negotiations, on either side, oldest first."""
    async with negotiations.open() as desk:
        return await desk.page(
            party, state=state, service=service, other=other, after=after, limit=limit
        )


async def _to_replace(
    desk: Desk, negotiation: Negotiation, contract: Contract, now: datetime
) -> Contract | None:
    """The contract that this one replaces, held for it; CannotReplace where that would leave a gap,
    rewrite what has been, or lift a suspension."""
    if negotiation.replaces is None:
        return None
    old = await desk.contracts.find_to_change(negotiation.replaces, negotiation.requester)
    assert old is not None, "a contract of these two, and none is ever forgotten"
    at = contract.valid_from
    why = rule = None
    if old.suspended_by:
        why, rule = "the contract is suspended", "who suspended it resumes it first"
    elif at < now:
        why, rule = "what has been cannot be agreed otherwise", "`valid_from` now or later"
    elif at < old.valid_from:
        why, rule = "it would begin before the other", f"from {old.valid_from.isoformat()} on"
    elif old.ends is not None and at > old.ends and not _goes_on_until(old, at):
        why, rule = "the contract has ended by then", f"until {old.ends.isoformat()}"
    elif old.ends is not None and old.ends <= now:
        why, rule = "the contract has ended", "negotiate another contract"
    if why is not None:
        raise CannotReplace(why, field="replaces", value=old.contract_id, rule=rule)
    return old


def _goes_on_until(contract: Contract, at: datetime) -> bool:
    """Whether a contract that renews by itself will have been renewed beyond a moment."""
    if not life.renews(contract):
        return False
    last = life.renewed(contract).ends
    assert last is not None, "what renews has an end"
    return last >= at


async def _to_change(desk: Desk, caller: PartyId, negotiation_id: str) -> Negotiation:
    found = await desk.find_to_change(negotiation_id, caller)
    if found is None:
        raise _unknown(negotiation_id)
    return found


async def _save(desk: Desk, before: Negotiation, after: Negotiation) -> None:
    if after is not before:
        await desk.save(before, after)


def _not_yet(negotiation: Negotiation) -> NotYetDrawnUp:
    return NotYetDrawnUp(
        f"a negotiation that is {negotiation.state} has no document to sign",
        field="negotiation_id",
        value=negotiation.negotiation_id,
        rule="once a proposal has been accepted",
    )


def _unknown(negotiation_id: str) -> UnknownNegotiation:
    return UnknownNegotiation(
        "no such negotiation is yours", field="negotiation_id", value=negotiation_id[:100]
    )
