"""A contract: an accepted offering, its status through time, and when it is in force.

Law: a contract is in force at a moment if and only if the moment lies in [valid_from, valid_until)
and the contract is agreed or resumed at that moment. So a contract that is suspended at a moment is
never valid at it, and what was in force when a charge began stays so, whatever came later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from marketplace.offerings.model import Offering, Terms
from marketplace.partners.model import Role
from marketplace.partners.standing import PartnerStatus, Standing
from marketplace.services.model import ROAMING, Environment
from roaming.party import PartyId
from roaming.refusal import Clash, NotYours, Unknown

LONGEST_REASON = 1_000


class Status(StrEnum):
    AGREED = "agreed"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    TERMINATED = "terminated"


class Action(StrEnum):
    SUSPEND = "suspend"
    RESUME = "resume"
    TERMINATE = "terminate"
    DO_NOT_RENEW = "do-not-renew"


_ENDINGS = {Action.TERMINATE: Status.TERMINATED, Action.DO_NOT_RENEW: Status.TERMINATED}
TRANSITIONS: Mapping[Status, Mapping[Action, Status]] = {
    Status.AGREED: {Action.SUSPEND: Status.SUSPENDED, **_ENDINGS},
    Status.SUSPENDED: {Action.RESUME: Status.RESUMED, **_ENDINGS},
    Status.RESUMED: {Action.SUSPEND: Status.SUSPENDED, **_ENDINGS},
    Status.TERMINATED: {},
}
_IN_FORCE = frozenset({Status.AGREED, Status.RESUMED})


class Absence(StrEnum):
    """Why there is no contract in force; the one that came closest says it."""

    NO_CONTRACT = "no-contract"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    SUSPENDED = "suspended"
    TERMINATED = "terminated"
    # The parties' own standing in the market: whatever their contracts say.
    PARTNER_SUSPENDED = "partner-suspended"
    PARTNER_LEFT = "partner-left"


class UnknownContract(Unknown):
    """No such contract, or one between others."""


class ContractCannot(Clash):
    """The contract's status does not allow this."""


class NotYoursToResume(NotYours):
    """Who suspended a contract resumes it."""


class NothingToRenew(Clash):
    """The contract does not renew by itself, so there is nothing to keep it from."""


class NoticeTooLate(Clash):
    """The time in which a contract can be kept from renewing is over; it can be terminated."""


class OwnOffering(Clash):
    """Nobody makes a contract with itself."""


class OfferingOver(Clash):
    """The time for which it was made is over: its contract would never be in force."""


class ContractsOverlap(Clash):
    """Two contracts on one service between the same parties would be in force at once."""


@dataclass(frozen=True, slots=True)
class StatusChange:
    """From `since` on. `by` said so at `recorded_at`; the two differ where a notice runs."""

    status: Status
    since: datetime
    by: PartyId
    recorded_at: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Contract:
    """`history` is in the order of `since`; its first entry is the agreement itself.

    `negotiation_id`: what it came of, where it is no offering as it was made. `replaces`: the
    contract whose place it took. `agreed_until` is the end that was agreed, once it has been
    renewed, and `renewals` how often it was. One for the sandbox allows calls that are tried out,
    is never billed, and is no contract where one counts.
    """

    contract_id: str
    offering_id: str | None
    provider: PartyId
    requester: PartyId
    service: str
    major: int
    terms: Terms
    valid_from: datetime
    valid_until: datetime | None
    history: tuple[StatusChange, ...]
    suspended_by: frozenset[PartyId]
    version: int
    clauses_digest: bytes | None = None
    negotiation_id: str | None = None
    replaces: str | None = None
    agreed_until: datetime | None = None
    renewals: int = 0
    environment: Environment = Environment.LIVE

    @property
    def sandbox(self) -> bool:
        return self.environment is Environment.SANDBOX

    @property
    def ends(self) -> datetime | None:
        """When it ends at the latest, by its term or by its termination."""
        ends = [one.since for one in self.history if one.status is Status.TERMINATED]
        if self.valid_until is not None:
            ends.append(self.valid_until)
        return min(ends, default=None)

    def status_at(self, at: datetime) -> Status:
        return status_at(self.history, at)

    def concerns(self, party: PartyId) -> bool:
        return party in (self.provider, self.requester)


class Agreed(NamedTuple):
    """The contract of two parties that is in force at a moment, or came closest. `absence`: why it
    is not. `until`: by its term, or by a termination that is known."""

    contract_id: str
    absence: Absence | None
    since: datetime
    until: datetime | None


def agreed(contract_id: str, offering: Offering, requester: PartyId, now: datetime) -> Contract:
    """The contract that comes of accepting an offering. Its terms are a copy, and stay."""
    if offering.provider == requester:
        raise OwnOffering(
            "nobody makes a contract with itself",
            field="offering_id",
            value=offering.offering_id,
            rule="an offering of another party",
        )
    return Contract(
        contract_id=contract_id,
        offering_id=offering.offering_id,
        provider=offering.provider,
        requester=requester,
        service=offering.service,
        major=offering.major,
        terms=offering.terms,
        valid_from=offering.valid_from or now,
        valid_until=offering.valid_until,
        history=(StatusChange(Status.AGREED, now, requester, now),),
        suspended_by=frozenset(),
        version=1,
        clauses_digest=offering.clauses_digest,
        environment=offering.environment,
    )


def check_time(offering: Offering, now: datetime) -> None:
    """OfferingOver where nothing could come of a contract. Roaming may be agreed upon afterwards,
    for a time that is named: it is for charges, and those of then are cleared by it."""
    if offering.valid_until is None or offering.valid_until > now:
        return
    if offering.service == ROAMING and offering.valid_from is not None:
        return
    raise OfferingOver(
        f"the offering was for the time until {offering.valid_until.isoformat()}",
        field="offering_id",
        value=offering.offering_id,
        rule="one that goes on: GET /marketplace/offerings, or negotiate",
    )


def status_at(history: tuple[StatusChange, ...], at: datetime) -> Status:
    """The status at a moment. An agreement reaches back: before its first change it is agreed, and
    its validity alone says how far. A termination is final, whatever is written behind it."""
    current = history[0].status
    for change in history[1:]:
        if change.since > at:
            break
        current = change.status
        if current is Status.TERMINATED:
            break
    return current


def in_order(history: tuple[StatusChange, ...], now: datetime) -> datetime:
    """The moment of a change that is written now: not before those that are written already. Of two
    who act at once, who looked at the clock first may be the one that comes second."""
    return max(now, *(one.recorded_at for one in history))


def absence(
    valid_from: datetime,
    valid_until: datetime | None,
    history: tuple[StatusChange, ...] | None,
    at: datetime,
) -> Absence | None:
    """Why a contract is not in force at a moment; None: it is. No history: agreed, nothing since.

    Where several reasons hold: terminated, suspended, not yet valid, expired.
    """
    if history is not None:
        status = status_at(history, at)
        if status not in _IN_FORCE:
            return Absence.TERMINATED if status is Status.TERMINATED else Absence.SUSPENDED
    if at < valid_from:
        return Absence.NOT_YET_VALID
    if valid_until is not None and at >= valid_until:
        return Absence.EXPIRED
    return None


def unchanged(
    valid_from: datetime,
    valid_until: datetime | None,
    history: tuple[StatusChange, ...] | None,
    at: datetime,
) -> tuple[datetime | None, datetime | None]:
    """The time around a moment, its end excluded, in which `absence` says the same throughout.

    None: it has no beginning, or no end. A termination whose notice runs is such an end.
    """
    turns = [valid_from]
    if valid_until is not None:
        turns.append(valid_until)
    if history is not None:
        turns += [change.since for change in history]
    since = max((turn for turn in turns if turn <= at), default=None)
    until = min((turn for turn in turns if turn > at), default=None)
    return since, until


def changed(
    contract: Contract, action: Action, by: PartyId, now: datetime, reason: str | None = None
) -> Contract:
    """The contract after an action of one of its parties; the same one where nothing changes.

    Suspending is each party's own: the contract resumes when nobody holds it any more. A
    termination takes effect when the notice of the terms has run. ContractCannot, NotYoursToResume,
    NothingToRenew; whether a notice comes in time for that is for `life` to say.
    """
    assert contract.concerns(by), "asked for by one of its parties"
    status = contract.status_at(now)
    if action is Action.SUSPEND and by in contract.suspended_by:
        return contract
    if action is Action.RESUME and not contract.suspended_by and status in _IN_FORCE:
        return contract
    if action is Action.DO_NOT_RENEW and contract.valid_until is None:
        raise NothingToRenew(
            "a contract without an end does not renew",
            field="action",
            value=action,
            rule="terminate it with notice",
        )
    ending = _ending(contract, action, now)
    if ending is not None and any(
        one.status is Status.TERMINATED and one.since <= ending for one in contract.history
    ):
        return contract
    target = TRANSITIONS[status].get(action)
    if action is Action.SUSPEND and status is Status.SUSPENDED:
        # The other party holds it already; now both do, and the history says so.
        target = Status.SUSPENDED
    if target is None:
        raise ContractCannot(
            f"a contract that is {status} takes no {action}",
            field="status",
            value=status,
            rule=f"one of: {', '.join(TRANSITIONS[status]) or 'nothing any more'}",
        )
    if action is Action.RESUME:
        if by not in contract.suspended_by:
            if any(one.status is Status.SUSPENDED and one.by == by for one in contract.history):
                # It has lifted its own hold already; the other party's remains.
                return contract
            raise NotYoursToResume(
                "who suspended a contract resumes it",
                field="action",
                value=action,
                rule=f"by {', '.join(sorted(contract.suspended_by))}",
            )
        holding = contract.suspended_by - {by}
        if holding:
            return replace(contract, suspended_by=holding, version=contract.version + 1)
    entry = StatusChange(target, ending or now, by, now, reason)
    # While a notice runs, who held the contract holds it still.
    suspended_by = contract.suspended_by
    if action is Action.SUSPEND:
        suspended_by |= {by}
    elif action is Action.RESUME:
        suspended_by = frozenset()
    return replace(
        contract,
        # Stable: of two changes at one moment the later recorded one counts.
        history=(contract.history[0], *sorted((*contract.history[1:], entry), key=_since)),
        suspended_by=suspended_by,
        version=contract.version + 1,
    )


def acts_as(service: str) -> tuple[Role, Role | None]:
    """In which roles the provider and the requester of a contract on a service act in it.

    None: in whatever roles it has.
    """
    if service == ROAMING:
        return Role.EVSE_OPERATOR, Role.EVSP
    return Role.SERVICE_PROVIDER, None


def absence_of_parties(
    provider: Standing | None, requester: Standing | None, service: str, at: datetime
) -> Absence | None:
    """Why contracts between two parties are not in force at a moment, whatever they say themselves.

    None: by their standing they may be. A standing of None is that of a party without a history.
    """
    if provider is None and requester is None:
        return None
    roles = acts_as(service)
    for standing, role in zip((provider, requester), roles, strict=True):
        status = None if standing is None else standing.absent(role, at)
        if status is not None:
            left = status is PartnerStatus.LEFT
            return Absence.PARTNER_LEFT if left else Absence.PARTNER_SUSPENDED
    return None


def narrowed(
    since: datetime | None, until: datetime | None, standing: Standing | None, at: datetime
) -> tuple[datetime | None, datetime | None]:
    """The part of [since, until) around a moment in which a standing says the same throughout."""
    if standing is None:
        return since, until
    begins, ends = standing.unchanged(at)
    return (
        max((one for one in (since, begins) if one is not None), default=None),
        min((one for one in (until, ends) if one is not None), default=None),
    )


def overlap(
    begins: datetime, ends: datetime | None, others_begin: datetime, others_end: datetime | None
) -> bool:
    """Whether [begins, ends) and [others_begin, others_end) share a moment; None: no end.

    One that ended before it began, or as it did, has none to share.
    """
    last_begin = max(begins, others_begin)
    return all(end is None or last_begin < end for end in (ends, others_end))


def _ending(contract: Contract, action: Action, now: datetime) -> datetime | None:
    """When an action of a party ends the contract; None: it does not."""
    if action is Action.TERMINATE:
        return now + timedelta(days=contract.terms.notice_days)
    return contract.valid_until if action is Action.DO_NOT_RENEW else None


def _since(change: StatusChange) -> datetime:
    return change.since
