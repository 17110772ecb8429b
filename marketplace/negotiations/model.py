"""A negotiation: two parties on the way to a contract, or to none.

Law: what may happen is in `TRANSITIONS`, and nothing else happens. The states are those of the
Dataspace Protocol: requested and offered change with every proposal; accepted names the proposal
that the contract will be; agreed has one side's signature and verified both; finalised is a
contract. The same action again by the same side changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from marketplace.framework.model import Clauses
from marketplace.offerings.model import Terms
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed, TooMuch, Unknown

MOST_PROPOSALS = 50
LONGEST_WORDS = 1_000
STANDS_FOR = timedelta(days=30)
STANDS_AT_MOST = timedelta(days=366)
SIGNED_WITHIN = timedelta(days=30)


class State(StrEnum):
    REQUESTED = "requested"
    OFFERED = "offered"
    ACCEPTED = "accepted"
    AGREED = "agreed"
    VERIFIED = "verified"
    FINALISED = "finalised"
    TERMINATED = "terminated"


class Side(StrEnum):
    REQUESTER = "requester"
    PROVIDER = "provider"
    HUB = "hub"


class Action(StrEnum):
    PROPOSE = "propose"
    ACCEPT = "accept"
    REFUSE = "refuse"
    WITHDRAW = "withdraw"
    SIGN = "sign"
    FINALISE = "finalise"
    LAPSE = "lapse"


Step = tuple[Action, Side]
_REQUESTER, _PROVIDER, _HUB = Side.REQUESTER, Side.PROVIDER, Side.HUB
_EITHER_LEAVES: Mapping[Step, State] = {
    (Action.WITHDRAW, _REQUESTER): State.TERMINATED,
    (Action.WITHDRAW, _PROVIDER): State.TERMINATED,
    (Action.LAPSE, _HUB): State.TERMINATED,
}
BEGINNINGS: Mapping[Step, State] = {
    (Action.PROPOSE, _REQUESTER): State.REQUESTED,
    (Action.PROPOSE, _PROVIDER): State.OFFERED,
}
TRANSITIONS: Mapping[State, Mapping[Step, State]] = {
    State.REQUESTED: {
        **BEGINNINGS,
        (Action.ACCEPT, _PROVIDER): State.ACCEPTED,
        (Action.REFUSE, _PROVIDER): State.TERMINATED,
        (Action.WITHDRAW, _REQUESTER): State.TERMINATED,
        (Action.LAPSE, _HUB): State.TERMINATED,
    },
    State.OFFERED: {
        **BEGINNINGS,
        (Action.ACCEPT, _REQUESTER): State.ACCEPTED,
        (Action.REFUSE, _REQUESTER): State.TERMINATED,
        (Action.WITHDRAW, _PROVIDER): State.TERMINATED,
        (Action.LAPSE, _HUB): State.TERMINATED,
    },
    State.ACCEPTED: {
        (Action.SIGN, _REQUESTER): State.AGREED,
        (Action.SIGN, _PROVIDER): State.AGREED,
        **_EITHER_LEAVES,
    },
    State.AGREED: {
        # Each side signs once, so this is the other one.
        (Action.SIGN, _REQUESTER): State.VERIFIED,
        (Action.SIGN, _PROVIDER): State.VERIFIED,
        **_EITHER_LEAVES,
    },
    State.VERIFIED: {(Action.FINALISE, _HUB): State.FINALISED},
    State.FINALISED: {},
    State.TERMINATED: {},
}
OPEN = frozenset(state for state, steps in TRANSITIONS.items() if steps)


class UnknownNegotiation(Unknown):
    """No such negotiation, or one between others."""


class BadProposal(Malformed):
    """A proposal that breaks a rule."""


class NegotiationCannot(Clash):
    """The negotiation's state does not allow this, or not to this side."""


class ProposalSuperseded(Clash):
    """Another proposal has been made meanwhile; what was answered stands no more."""


class ProposalWithdrawn(Clash):
    """Who made the proposal has withdrawn it, or the other side has refused it."""


class ProposalLapsed(Clash):
    """The time for which the proposal stood is over."""


class TooManyProposals(TooMuch):
    """Two who have come no nearer by so many proposals begin anew."""


class OwnNegotiation(Clash):
    """Nobody negotiates with itself."""


class NotYetDrawnUp(Unknown):
    """There is no document before a proposal has been accepted."""


class CannotReplace(Clash):
    """The contract cannot be replaced as proposed: held, over before that, or already begun."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a party proposes. `valid_from` None: from the last signature on.

    `answers` is the number of the proposal that it comes after: 0 for the first.
    """

    terms: Terms
    clauses: Clauses | None
    valid_from: datetime | None
    valid_until: datetime | None
    stands_until: datetime | None = None
    says: str | None = None
    answers: int = 0


@dataclass(frozen=True, slots=True)
class Proposal:
    """Never changed: who wants something else makes another. It may be accepted until just before
    `stands_until`."""

    number: int
    side: Side
    by: PartyId
    terms: Terms
    clauses: Clauses | None
    valid_from: datetime | None
    valid_until: datetime | None
    stands_until: datetime
    says: str | None
    at: datetime

    def says_the_same_as(self, draft: Draft) -> bool:
        return (
            self.terms.to_json() == draft.terms.to_json()
            and _digest(self.clauses) == _digest(draft.clauses)
            and (self.valid_from, self.valid_until) == (draft.valid_from, draft.valid_until)
            and draft.stands_until in (None, self.stands_until)
            and self.says == draft.says
        )


@dataclass(frozen=True, slots=True)
class Move:
    """What happened, in order. `by` is the party; for the hub's own doing, the hub."""

    number: int
    action: Action
    side: Side
    by: PartyId
    at: datetime
    state: State
    proposal: int
    says: str | None = None


@dataclass(frozen=True, slots=True)
class Signed:
    """A detached JWS over the document's bytes, and the public key that it holds by."""

    side: Side
    party: PartyId
    jws: str
    public_key: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class Negotiation:
    """`replaces`: the contract that the new one takes the place of. `document`: the SHA-256 of what
    is signed, from its acceptance on. `until`: when it lapses, while it is open."""

    negotiation_id: str
    requester: PartyId
    provider: PartyId
    service: str
    major: int
    offering_id: str | None
    replaces: str | None
    environment: str
    state: State
    until: datetime
    proposals: tuple[Proposal, ...]
    moves: tuple[Move, ...]
    document: bytes | None = None
    signatures: tuple[Signed, ...] = ()
    contract_id: str | None = None

    @property
    def latest(self) -> Proposal:
        return self.proposals[-1]

    @property
    def last(self) -> Move:
        return self.moves[-1]

    @property
    def version(self) -> int:
        return len(self.moves)

    def concerns(self, party: PartyId) -> bool:
        return party in (self.requester, self.provider)

    def side_of(self, party: PartyId) -> Side:
        assert self.concerns(party), "asked for by one of its parties"
        return Side.REQUESTER if party == self.requester else Side.PROVIDER

    def party_of(self, side: Side) -> PartyId:
        return self.requester if side is Side.REQUESTER else self.provider

    def signed_by(self, side: Side) -> Signed | None:
        return next((one for one in self.signatures if one.side is side), None)


def begun(
    negotiation_id: str,
    by: PartyId,
    draft: Draft,
    now: datetime,
    *,
    requester: PartyId,
    provider: PartyId,
    service: str,
    major: int,
    offering_id: str | None = None,
    replaces: str | None = None,
    environment: str = "live",
) -> Negotiation:
    """A negotiation with its first proposal: the requester's request or the provider's offer."""
    if requester == provider:
        raise OwnNegotiation(
            "nobody negotiates with itself", field="provider", value=provider, rule="another party"
        )
    side = Side.REQUESTER if by == requester else Side.PROVIDER
    proposal = _proposal(1, side, by, draft, now)
    state = BEGINNINGS[Action.PROPOSE, side]
    return Negotiation(
        negotiation_id=negotiation_id,
        requester=requester,
        provider=provider,
        service=service,
        major=major,
        offering_id=offering_id,
        replaces=replaces,
        environment=environment,
        state=state,
        until=_until(proposal, proposal.stands_until),
        proposals=(proposal,),
        moves=(Move(1, Action.PROPOSE, side, by, now, state, 1, proposal.says),),
    )


def proposed(negotiation: Negotiation, by: PartyId, draft: Draft, now: datetime) -> Negotiation:
    """With a further proposal: a counter-offer, or a better one of one's own.

    ProposalSuperseded where it answers another than the latest; NegotiationCannot, ProposalLapsed,
    TooManyProposals, BadProposal.
    """
    latest, side = negotiation.latest, negotiation.side_of(by)
    again = latest.by == by and latest.number == draft.answers + 1
    if again and negotiation.last.action is Action.PROPOSE and latest.says_the_same_as(draft):
        return negotiation
    state = _next(negotiation, Action.PROPOSE, side)
    _check_answered(negotiation, draft.answers, "answers")
    _check_time(negotiation, now)
    if len(negotiation.proposals) >= MOST_PROPOSALS:
        raise TooManyProposals(
            f"{MOST_PROPOSALS} proposals have been made",
            field="negotiation_id",
            value=negotiation.negotiation_id,
            rule="accept the latest, or end this negotiation and begin another",
        )
    proposal = _proposal(latest.number + 1, side, by, draft, now)
    moved = replace(
        negotiation,
        proposals=(*negotiation.proposals, proposal),
        until=_until(proposal, proposal.stands_until),
    )
    return _moved(moved, Action.PROPOSE, side, by, now, state, proposal.says)


def accepted(
    negotiation: Negotiation, by: PartyId, number: int, document: bytes, now: datetime
) -> Negotiation:
    """With the other side's latest proposal accepted; `document` is the digest of what comes of it.

    ProposalSuperseded, ProposalWithdrawn, ProposalLapsed, NegotiationCannot.
    """
    side = negotiation.side_of(by)
    if has_accepted(negotiation, by, number):
        return negotiation
    state = _next(negotiation, Action.ACCEPT, side, number)
    _check_answered(negotiation, number, "proposal")
    _check_time(negotiation, now)
    until = _until(negotiation.latest, now + SIGNED_WITHIN)
    moved = replace(negotiation, document=document, until=until)
    return _moved(moved, Action.ACCEPT, side, by, now, state)


def has_accepted(negotiation: Negotiation, by: PartyId, number: int) -> bool:
    """Whether this party has accepted this proposal, and it was not undone since."""
    return negotiation.state is not State.TERMINATED and any(
        (one.action, one.by, one.proposal) == (Action.ACCEPT, by, number)
        for one in negotiation.moves
    )


def ended(
    negotiation: Negotiation,
    action: Action,
    by: PartyId,
    says: str | None,
    now: datetime,
    *,
    number: int | None = None,
) -> Negotiation:
    """Withdrawn or refused by a party; `number`: the proposal that it speaks of. NegotiationCannot,
    ProposalSuperseded."""
    assert action in (Action.WITHDRAW, Action.REFUSE)
    check_words(says, "reason")
    last = negotiation.last
    if (last.action, last.by) == (action, by):
        return negotiation
    side = negotiation.side_of(by)
    state = _next(negotiation, action, side, number)
    if number is not None:
        _check_answered(negotiation, number, "proposal")
    return _moved(negotiation, action, side, by, now, state, says)


def lapsed(negotiation: Negotiation, hub: PartyId, now: datetime) -> Negotiation:
    """Ended by its time; itself where that has not come, or it is not open any more."""
    step = (Action.LAPSE, Side.HUB)
    if step not in TRANSITIONS[negotiation.state] or now < negotiation.until:
        return negotiation
    state = TRANSITIONS[negotiation.state][step]
    return _moved(negotiation, *step, hub, now, state)


def signed(negotiation: Negotiation, signature: Signed, now: datetime) -> Negotiation:
    """With a party's signature, which has been verified. NegotiationCannot, ProposalLapsed."""
    side = signature.side
    if negotiation.state is not State.TERMINATED and negotiation.signed_by(side) is not None:
        return negotiation
    state = _next(negotiation, Action.SIGN, side)
    _check_time(negotiation, now)
    moved = replace(negotiation, signatures=(*negotiation.signatures, signature))
    return _moved(moved, Action.SIGN, side, signature.party, now, state)


def finalised(
    negotiation: Negotiation, contract_id: str, witness: Signed, now: datetime
) -> Negotiation:
    """With the contract that it has come to, and the hub's signature beside the two."""
    state = _next(negotiation, Action.FINALISE, Side.HUB)
    moved = replace(
        negotiation, contract_id=contract_id, signatures=(*negotiation.signatures, witness)
    )
    return _moved(moved, Action.FINALISE, Side.HUB, witness.party, now, state)


def check_words(says: str | None, field: str) -> None:
    if says is not None and (
        not 0 < len(says) <= LONGEST_WORDS
        or "\x00" in says
        or any("\ud800" <= letter <= "\udfff" for letter in says)
    ):
        raise BadProposal(
            "these words cannot be kept",
            field=field,
            rule=f"1 to {LONGEST_WORDS} whole Unicode characters without NUL",
        )


def _proposal(number: int, side: Side, by: PartyId, draft: Draft, now: datetime) -> Proposal:
    check_words(draft.says, "says")
    begins, ends = draft.valid_from or now, draft.valid_until
    if ends is not None and ends <= begins:
        raise BadProposal(
            "it would end before it begins",
            field="valid_until",
            value=ends.isoformat(),
            rule=f"after {begins.isoformat()}",
        )
    if ends is not None and ends <= now:
        # It would lapse as it is made, and nobody could ever accept it.
        raise BadProposal(
            "it would be over before anybody could accept it",
            field="valid_until",
            value=ends.isoformat(),
            rule=f"after {now.isoformat()}",
        )
    stands_until = draft.stands_until or now + STANDS_FOR
    if not now < stands_until <= now + STANDS_AT_MOST:
        raise BadProposal(
            "a proposal stands for a while",
            field="stands_until",
            value=stands_until.isoformat(),
            rule=f"after now, and within {STANDS_AT_MOST.days} days",
        )
    return Proposal(
        number=number,
        side=side,
        by=by,
        terms=draft.terms,
        clauses=draft.clauses,
        valid_from=draft.valid_from,
        valid_until=draft.valid_until,
        stands_until=stands_until,
        says=draft.says,
        at=now,
    )


def _until(proposal: Proposal, at: datetime) -> datetime:
    """A contract that would be over when it is made is made by nobody."""
    return at if proposal.valid_until is None else min(at, proposal.valid_until)


def _next(negotiation: Negotiation, action: Action, side: Side, number: int | None = None) -> State:
    """The state that the table has for it, or why it has none."""
    state = TRANSITIONS[negotiation.state].get((action, side))
    if state is not None:
        return state
    last = negotiation.last
    if last.action is Action.LAPSE:
        raise _lapsed(negotiation)
    if last.action in (Action.WITHDRAW, Action.REFUSE):
        raise ProposalWithdrawn(
            f"the {last.side} has ended this negotiation: {last.action}",
            field="negotiation_id",
            value=negotiation.negotiation_id,
            rule="begin another negotiation",
        )
    if number is not None and number != negotiation.latest.number:
        _check_answered(negotiation, number, "proposal")
    may = [f"{one} by {who}" for one, who in TRANSITIONS[negotiation.state]]
    raise NegotiationCannot(
        f"a negotiation that is {negotiation.state} takes no {action} by the {side}",
        field="state",
        value=negotiation.state,
        rule=f"one of: {', '.join(may) or 'nothing any more'}",
    )


def _check_answered(negotiation: Negotiation, number: int, field: str) -> None:
    if number != negotiation.latest.number:
        raise ProposalSuperseded(
            f"the latest proposal is number {negotiation.latest.number}",
            field=field,
            value=number,
            rule="the number of the latest proposal, once you have read it",
        )


def _check_time(negotiation: Negotiation, now: datetime) -> None:
    if now >= negotiation.until:
        raise _lapsed(negotiation)


def _lapsed(negotiation: Negotiation) -> ProposalLapsed:
    return ProposalLapsed(
        f"its time was over at {negotiation.until.isoformat()}",
        field="negotiation_id",
        value=negotiation.negotiation_id,
        rule="begin another negotiation",
    )


def _moved(
    negotiation: Negotiation,
    action: Action,
    side: Side,
    by: PartyId,
    now: datetime,
    state: State,
    says: str | None = None,
) -> Negotiation:
    move = Move(
        number=negotiation.version + 1,
        action=action,
        side=side,
        by=by,
        at=now,
        state=state,
        proposal=negotiation.latest.number,
        says=says,
    )
    return replace(negotiation, state=state, moves=(*negotiation.moves, move))


def _digest(clauses: Clauses | None) -> bytes | None:
    return None if clauses is None else clauses.digest
