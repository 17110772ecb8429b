"""Disputes: an EVSP declines a record, and its amount waits until somebody has the last word.

While it waits, it is out of every total that is cleared. It comes back as it was, or it is
credited; nothing in between, and never by an edit: a record that is wrong in part is conceded, and
another one handed in for it. Who is silent beyond a deadline has agreed with the other side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from roaming.money import Money
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed, NotYours, Unknown

DECLINE_WITHIN = timedelta(days=45)
ANSWER_WITHIN = timedelta(days=14)
SAYS_LONGEST = 2_000


class BadDispute(Malformed):
    """A reason without the words that it needs."""


class UnknownDispute(Unknown):
    """No dispute by this id that the caller has part in."""


class TooLate(Clash):
    """The record has been agreed with by silence."""


class CannotDecline(Clash):
    """The record is in a state that is not declined."""


class DisputeCannot(Clash):
    """The dispute is in a state that takes no such action."""


class NotYourTurn(NotYours):
    """The action is another side's to take."""


class Reason(StrEnum):
    """Why an EVSP declines a record; `other` needs words."""

    NOT_OUR_CUSTOMER = "not-our-customer"
    DID_NOT_TAKE_PLACE = "did-not-take-place"
    WRONG_ENERGY = "wrong-energy"
    WRONG_TIME = "wrong-time"
    WRONG_PRICE = "wrong-price"
    CHARGED_TWICE = "charged-twice"
    CONTRACT_NOT_VALID = "contract-not-valid"
    METER_VALUES = "meter-values"
    OTHER = "other"


class State(StrEnum):
    OPENED = "opened"
    CONTESTED = "contested"
    ESCALATED = "escalated"
    WITHDRAWN = "withdrawn"
    ACCEPTED = "accepted"
    DISMISSED = "dismissed"
    CONCEDED = "conceded"
    UPHELD = "upheld"
    LAPSED_TO_OPERATOR = "lapsed-to-operator"
    LAPSED_TO_EVSP = "lapsed-to-evsp"


class Action(StrEnum):
    WITHDRAW = "withdraw"
    """The EVSP was wrong, and says so."""
    CONCEDE = "concede"
    """The operator was wrong: the record is credited. It may hand in another in its place."""
    CONTEST = "contest"
    """The operator stands by its record, and says why."""
    ACCEPT = "accept"
    """The EVSP agrees with what the operator said."""
    ESCALATE = "escalate"
    """The EVSP does not, and asks the hub."""
    UPHOLD = "uphold"
    """The hub finds for the EVSP."""
    DISMISS = "dismiss"
    """The hub finds for the operator."""
    LAPSE = "lapse"
    """Whose turn it was has been silent for too long."""


class Side(StrEnum):
    EVSP = "evsp"
    OPERATOR = "operator"
    HUB = "hub"
    CLOCK = "clock"


class Outcome(StrEnum):
    """What becomes of the amount that waits."""

    RELEASED = "released"
    CREDITED = "credited"


TRANSITIONS: Mapping[State, Mapping[Action, State]] = {
    State.OPENED: {
        Action.WITHDRAW: State.WITHDRAWN,
        Action.CONCEDE: State.CONCEDED,
        Action.CONTEST: State.CONTESTED,
        Action.LAPSE: State.LAPSED_TO_EVSP,
    },
    State.CONTESTED: {
        Action.ACCEPT: State.ACCEPTED,
        Action.ESCALATE: State.ESCALATED,
        Action.CONCEDE: State.CONCEDED,
        Action.LAPSE: State.LAPSED_TO_OPERATOR,
    },
    State.ESCALATED: {
        Action.UPHOLD: State.UPHELD,
        Action.DISMISS: State.DISMISSED,
        Action.CONCEDE: State.CONCEDED,
        Action.ACCEPT: State.ACCEPTED,
    },
    State.WITHDRAWN: {},
    State.ACCEPTED: {},
    State.DISMISSED: {},
    State.CONCEDED: {},
    State.UPHELD: {},
    State.LAPSED_TO_OPERATOR: {},
    State.LAPSED_TO_EVSP: {},
}
"""From state to state, as `docs/flows/dispute.md` draws it. The hub decides without a deadline of
its own: nobody is to win because a third party was slow."""

WHOSE: Mapping[Action, Side] = {
    Action.WITHDRAW: Side.EVSP,
    Action.CONCEDE: Side.OPERATOR,
    Action.CONTEST: Side.OPERATOR,
    Action.ACCEPT: Side.EVSP,
    Action.ESCALATE: Side.EVSP,
    Action.UPHOLD: Side.HUB,
    Action.DISMISS: Side.HUB,
    Action.LAPSE: Side.CLOCK,
}
OUTCOMES: Mapping[State, Outcome] = {
    State.WITHDRAWN: Outcome.RELEASED,
    State.ACCEPTED: Outcome.RELEASED,
    State.DISMISSED: Outcome.RELEASED,
    State.LAPSED_TO_OPERATOR: Outcome.RELEASED,
    State.CONCEDED: Outcome.CREDITED,
    State.UPHELD: Outcome.CREDITED,
    State.LAPSED_TO_EVSP: Outcome.CREDITED,
}
_WITHIN = {State.OPENED: ANSWER_WITHIN, State.CONTESTED: ANSWER_WITHIN}
_NEEDS_WORDS = (Action.CONTEST, Action.ESCALATE, Action.UPHOLD, Action.DISMISS)


@dataclass(frozen=True, slots=True)
class Step:
    """Something that was done about a dispute, by whom and with what words."""

    action: str
    by: str
    at: datetime
    says: str | None


@dataclass(frozen=True, slots=True)
class Dispute:
    """One dispute about one record. `due_at`: until when whose turn it is has time; None: no end.

    `value_at` is the value date under which the amount waits.
    """

    dispute_id: str
    operator: PartyId
    cdr_id: str
    evsp: PartyId
    state: State
    reason: Reason
    excl_vat: Money
    vat: Money
    clearing_group: str
    opened_at: datetime
    due_at: datetime | None
    value_at: datetime
    history: tuple[Step, ...]

    @property
    def outcome(self) -> Outcome | None:
        return OUTCOMES.get(self.state)

    @property
    def turn(self) -> tuple[Side, ...]:
        """Who may act now."""
        sides = dict.fromkeys(WHOSE[action] for action in TRANSITIONS[self.state])
        return tuple(side for side in sides if side is not Side.CLOCK)

    def side_of(self, party: PartyId, hub: PartyId) -> tuple[Side, ...]:
        """What a party is in this dispute; nothing where it has no part in it."""
        sides = []
        if party == self.evsp:
            sides.append(Side.EVSP)
        if party == self.operator:
            sides.append(Side.OPERATOR)
        if party == hub:
            sides.append(Side.HUB)
        return tuple(sides)


def checked_words(says: str | None, *, needed: bool, field: str = "says") -> str | None:
    """The words of a step; BadDispute where they are needed and missing, or too many."""
    words = (says or "").strip()
    if needed and not words:
        raise BadDispute("words are needed here", field=field, rule=f"1 to {SAYS_LONGEST}")
    if len(words) > SAYS_LONGEST or "\0" in words:
        raise BadDispute(
            "too many words", field=field, value=words[:60], rule=f"at most {SAYS_LONGEST}"
        )
    return words or None


def must_be_in_time(recorded_at: datetime, now: datetime, cdr_id: str) -> None:
    """TooLate where the EVSP has had the record for longer than it may decline it."""
    if now > recorded_at + DECLINE_WITHIN:
        raise TooLate(
            f"cdr {cdr_id} was recorded at {recorded_at.isoformat()}",
            field="cdr_id",
            value=cdr_id,
            rule=f"declined within {DECLINE_WITHIN.days} days",
        )


def acted(
    dispute: Dispute,
    action: Action,
    sides: tuple[Side, ...],
    by: str,
    now: datetime,
    says: str | None,
) -> Dispute:
    """The dispute after an action of somebody who is `sides` in it.

    Raises DisputeCannot, NotYourTurn, BadDispute.
    """
    target = TRANSITIONS[dispute.state].get(action)
    if target is None:
        raise DisputeCannot(
            f"a dispute that is {dispute.state} takes no {action}",
            field="action",
            value=action,
            rule=f"one of: {', '.join(TRANSITIONS[dispute.state]) or 'nothing any more'}",
        )
    if WHOSE[action] not in sides:
        raise NotYourTurn(
            f"{action} is the {WHOSE[action]}'s to do",
            field="action",
            value=action,
            rule=f"by the {WHOSE[action]} of this dispute",
        )
    if action is Action.LAPSE:
        assert dispute.due_at is not None
        assert now >= dispute.due_at, "nothing lapses before it is due"
    within = _WITHIN.get(target)
    return replace(
        dispute,
        state=target,
        due_at=None if within is None else now + within,
        history=(
            *dispute.history,
            Step(action, by, now, checked_words(says, needed=action in _NEEDS_WORDS)),
        ),
    )


def first_step(evsp: PartyId, reason: Reason, now: datetime, says: str | None) -> Step:
    """The EVSP's declining of a record."""
    return Step("decline", evsp, now, checked_words(says, needed=reason is Reason.OTHER))


def credit_id(cdr_id: str, content: bytes) -> str:
    """What the credit of a dispute is called: at most 64 characters, by the record that it credits.

    A record is credited once, and what it said tells it apart from others of nearly the same id. It
    stands in the ledger: so the same input makes the same books, whatever the dispute is called.
    """
    return f"{cdr_id[:50]}-D{hashlib.sha256(content).hexdigest()[:12]}"
