"""How a partner stands in the market: as a whole and in each of its roles, now and at any time.

A standing is a history of dated turns. What it says of a moment is never changed by what comes
later: a charge that began before its provider was suspended began under a contract.

Law: nothing is in force for a partner at a moment at which it is suspended or has left, and nothing
that is done in a role is in force while that role is suspended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from roaming.party import PartyId
from roaming.refusal import Clash, Malformed

LONGEST_REASON = 1_000


class PartnerStatus(StrEnum):
    """What a partner is at a moment. One that leaves is still there until its notice has run."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    LEAVING = "leaving"
    LEFT = "left"


class Action(StrEnum):
    SUSPEND = "suspend"
    RESTORE = "restore"
    LEAVE = "leave"


class RoleAction(StrEnum):
    """A role is not left: a partner that needs it no more has nothing to do in it."""

    SUSPEND = Action.SUSPEND.value
    RESTORE = Action.RESTORE.value


# What becomes of a partner by an action. Who is suspended and leaves stays suspended till the end;
# who is restored while a notice runs is leaving again.
TRANSITIONS: Mapping[PartnerStatus, Mapping[Action, PartnerStatus]] = {
    PartnerStatus.ACTIVE: {
        Action.SUSPEND: PartnerStatus.SUSPENDED,
        Action.LEAVE: PartnerStatus.LEAVING,
    },
    PartnerStatus.SUSPENDED: {
        Action.RESTORE: PartnerStatus.ACTIVE,
        Action.LEAVE: PartnerStatus.SUSPENDED,
    },
    PartnerStatus.LEAVING: {Action.SUSPEND: PartnerStatus.SUSPENDED},
    PartnerStatus.LEFT: {Action.RESTORE: PartnerStatus.ACTIVE},
}
ABSENT = frozenset({PartnerStatus.SUSPENDED, PartnerStatus.LEFT})
"""In none of these is anything in force."""


class Turn(StrEnum):
    """What happened to a standing."""

    SUSPENDED = "suspended"
    RESTORED = "restored"
    LEAVING = "leaving"
    LEFT = "left"


class StandingCannot(Clash):
    """The partner's standing does not allow this."""


class BadReason(Malformed):
    """A reason that cannot be kept."""


@dataclass(frozen=True, slots=True)
class StandingChange:
    """From `since` on. `by` said so at `recorded_at`; the two differ where a notice runs.

    `role` None: the whole partner.
    """

    turn: Turn
    since: datetime
    by: PartyId
    recorded_at: datetime
    reason: str | None = None
    role: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """`history` is in the order of `since`. Nothing in it: active from the first day."""

    history: tuple[StandingChange, ...] = ()

    def at(self, at: datetime) -> PartnerStatus:
        """What the whole partner is at a moment."""
        suspended = leaving = left = False
        for change in self.history:
            if change.since > at:
                break
            if change.role is not None:
                continue
            match change.turn:
                case Turn.SUSPENDED:
                    suspended = True
                case Turn.LEAVING:
                    leaving = True
                case Turn.LEFT:
                    left = True
                case Turn.RESTORED if left:
                    # It has come back, and begins anew.
                    suspended = leaving = left = False
                case Turn.RESTORED:
                    suspended = False
        if left:
            return PartnerStatus.LEFT
        if suspended:
            return PartnerStatus.SUSPENDED
        return PartnerStatus.LEAVING if leaving else PartnerStatus.ACTIVE

    def suspended_in(self, role: str, at: datetime) -> bool:
        """Whether a role is suspended at a moment, whatever the whole partner is."""
        turns = [one.turn for one in self.history if one.role == role and one.since <= at]
        return bool(turns) and turns[-1] is Turn.SUSPENDED

    def absent(self, role: str | None, at: datetime) -> PartnerStatus | None:
        """Why nothing is in force at a moment for the partner, or for its `role`; None: it is."""
        whole = self.at(at)
        if whole in ABSENT:
            return whole
        if role is not None and self.suspended_in(role, at):
            return PartnerStatus.SUSPENDED
        return None

    def unchanged(self, at: datetime) -> tuple[datetime | None, datetime | None]:
        """The time around a moment, its end excluded, in which it says the same throughout.

        None: it has no beginning, or no end.
        """
        turns = [change.since for change in self.history]
        since = max((turn for turn in turns if turn <= at), default=None)
        until = min((turn for turn in turns if turn > at), default=None)
        return since, until

    @property
    def leaves_at(self) -> datetime | None:
        """When it leaves, where notice was given; for one that has left, when it did."""
        ends = None
        for change in self.history:
            if change.role is None and change.turn is Turn.LEFT:
                ends = change.since
            elif change.role is None and change.turn is Turn.RESTORED and ends is not None:
                ends = None if change.since >= ends else ends
        return ends


UNTROUBLED = Standing()


def changed(
    standing: Standing,
    action: Action,
    by: PartyId,
    now: datetime,
    *,
    role: str | None = None,
    leaves_at: datetime | None = None,
    reason: str | None = None,
) -> Standing:
    """The standing after an action; the same one where it says that already.

    `leaves_at` goes with LEAVE. StandingCannot, BadReason.
    """
    assert (action is Action.LEAVE) is (leaves_at is not None)
    assert role is None or action is not Action.LEAVE, "a role is given up, not left"
    if reason is not None and (len(reason) > LONGEST_REASON or "\x00" in reason):
        raise BadReason(
            "the reason cannot be kept",
            field="reason",
            rule=f"at most {LONGEST_REASON} characters and no NUL",
        )
    if role is not None:
        if standing.suspended_in(role, now) is (action is Action.SUSPEND):
            return standing
    else:
        status = standing.at(now)
        if _says_already(standing, status, action):
            return standing
        if action not in TRANSITIONS[status]:
            raise StandingCannot(
                f"a partner that is {status} takes no {action}",
                field="status",
                value=status,
                rule=f"one of: {', '.join(TRANSITIONS[status]) or 'nothing any more'}",
            )
    if leaves_at is None:
        turn = Turn.SUSPENDED if action is Action.SUSPEND else Turn.RESTORED
        return _with(standing, StandingChange(turn, now, by, now, reason, role))
    return _with(
        standing,
        StandingChange(Turn.LEAVING, now, by, now, reason),
        StandingChange(Turn.LEFT, leaves_at, by, now, reason),
    )


def _says_already(standing: Standing, status: PartnerStatus, action: Action) -> bool:
    if action is Action.SUSPEND:
        return status is PartnerStatus.SUSPENDED
    if action is Action.RESTORE:
        return status not in ABSENT
    return standing.leaves_at is not None


def _with(standing: Standing, *new: StandingChange) -> Standing:
    # Stable: of two turns at one moment the later recorded one counts.
    return replace(standing, history=tuple(sorted((*standing.history, *new), key=_since)))


def _since(change: StandingChange) -> datetime:
    return change.since
