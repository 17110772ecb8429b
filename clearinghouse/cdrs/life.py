"""What becomes of a record, as a table: from state to state, and by which step."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from roaming.refusal import Clash


class CannotBecome(Clash):
    """The record's state does not allow this step."""


class State(StrEnum):
    ACCEPTED = "accepted"
    FLAGGED = "flagged"
    REJECTED = "rejected"
    APPROVED = "approved"
    DECLINED = "declined"
    CREDITED = "credited"
    """Taken back, whole, by a credit."""
    REVISED = "revised"
    """Taken back, and another record stands in its place."""


class Step(StrEnum):
    """What somebody does to a record that is booked."""

    APPROVE = "approve"
    DECLINE = "decline"
    RESOLVE = "resolve"
    CREDIT = "credit"
    REVISE = "revise"


_OPEN = {
    Step.APPROVE: State.APPROVED,
    Step.DECLINE: State.DECLINED,
    Step.CREDIT: State.CREDITED,
}
LIFE: Mapping[State, Mapping[Step, State]] = {
    State.ACCEPTED: _OPEN,
    State.FLAGGED: _OPEN,
    # An operator may find its own error also after the EVSP did not.
    State.APPROVED: {Step.APPROVE: State.APPROVED, Step.CREDIT: State.CREDITED},
    # A dispute holds the amount, and ends in one of two ways; by no approval past it.
    State.DECLINED: {Step.RESOLVE: State.APPROVED, Step.CREDIT: State.CREDITED},
    # What has been taken back may be replaced.
    State.CREDITED: {Step.REVISE: State.REVISED},
    State.REVISED: {},
    State.REJECTED: {},
}
"""From state to state, as `docs/cdrs.md` draws it. A rejected record may be handed in again."""


def after(state: State, step: Step) -> State:
    """The state that `step` leads to. Raises CannotBecome, which names the steps there are."""
    reached = LIFE[state].get(step)
    if reached is None:
        raise CannotBecome(
            f"a record that is {state} takes no step {step}",
            field="state",
            value=state.value,
            rule=", ".join(LIFE[state]) or "nothing follows",
        )
    return reached
