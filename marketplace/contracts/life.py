"""What time does to a contract: reminders of its end, its renewal, its end.

Law: a contract that renews goes on without a gap, since it is renewed a day before its end; unless
notice was given in time, which is when the notice of its terms could still run before that end, and
a day before it at the latest. Reminders come 90, 45 and 30 days before the end, each once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from marketplace.contracts.calendar import days_before, months_after
from marketplace.contracts.model import (
    Action,
    Contract,
    NothingToRenew,
    NoticeTooLate,
    Status,
    StatusChange,
)
from marketplace.offerings.model import RoamingTerms, Terms
from roaming.party import PartyId

REMINDERS = (90, 45, 30)
RENEWED_DAYS_BEFORE = 1
# What ends later is looked at by nobody now; the calendar ends in the year 9999.
LAST_YEAR = 9_000


class Because(StrEnum):
    """Why a contract has ended."""

    EXPIRED = "expired"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class EndNear:
    """So many days before the end at most. Where it renews: until when, and how long it can still
    be kept from that."""

    days: int
    ends: datetime
    renews_until: datetime | None = None
    notice_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Renewed:
    at: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Ended:
    at: datetime
    because: Because


Turn = EndNear | Renewed | Ended


@dataclass(frozen=True, slots=True)
class Tended:
    """A contract, what has happened to it, and when it is to be looked at again; None: never."""

    contract: Contract
    turns: Sequence[Turn]
    due: datetime | None


def zone_of(terms: Terms) -> str:
    return terms.time_zone if isinstance(terms, RoamingTerms) else "UTC"


def renews(contract: Contract) -> bool:
    """Whether it goes on behind its end, as things stand: a notice that came too late for that
    ends it later."""
    until = contract.valid_until
    return (
        contract.terms.renews_months > 0
        and until is not None
        and until.year <= LAST_YEAR
        and not _ends_by_notice(contract)
    )


def _ends_by_notice(contract: Contract) -> bool:
    """Whether a termination ends it at its end, or before; one that comes later lets it renew."""
    until = contract.valid_until
    return any(
        one.status is Status.TERMINATED and (until is None or one.since <= until)
        for one in contract.history
    )


def next_end(contract: Contract) -> datetime:
    """Until when it is valid once it is renewed again."""
    assert contract.valid_until is not None, "what renews has an end"
    first = contract.agreed_until or contract.valid_until
    months = (contract.renewals + 1) * contract.terms.renews_months
    return months_after(first, months, zone_of(contract.terms))


def notice_until(contract: Contract) -> datetime:
    """Just before this moment it can still be kept from renewing."""
    assert contract.valid_until is not None, "what renews has an end"
    notice = contract.valid_until - timedelta(days=contract.terms.notice_days)
    return min(notice, _renewed_at(contract))


def lasts_until(contract: Contract) -> datetime | None:
    """When it has ended at the latest, as things stand, all its renewals counted; None: never."""
    if not renews(contract):
        return contract.ends
    ends = [one.since for one in contract.history if one.status is Status.TERMINATED]
    return min(ends, default=None)


def end_to_tell(contract: Contract) -> datetime | None:
    """When it ends as far as anybody has said: its term, or the termination that outlasts a term
    which is renewed before. None: nobody has said."""
    return lasts_until(contract) or contract.ends


def end_by_notice(contract: Contract, now: datetime) -> datetime:
    """When it has ended at the latest, if notice is given now or was given before."""
    noticed, last = now + timedelta(days=contract.terms.notice_days), lasts_until(contract)
    return noticed if last is None else min(last, noticed)


def ended(contract: Contract, ends: datetime, by: PartyId, now: datetime, reason: str) -> Contract:
    """The contract when a party of it leaves the market at `ends`, or what it is about ends; the
    same one where it has ended by then for good. The notice is no shorter than its own.
    """
    last = lasts_until(contract)
    if last is not None and last <= ends:
        return contract
    entry = StatusChange(Status.TERMINATED, ends, by, now, reason)
    others = [one for one in contract.history[1:] if one.status is not Status.TERMINATED]
    return replace(
        contract,
        history=(contract.history[0], *sorted((*others, entry), key=lambda one: one.since)),
        version=contract.version + 1,
    )


def check_notice(contract: Contract, now: datetime) -> None:
    """NothingToRenew, NoticeTooLate, unless the contract can be kept from renewing, or is."""
    if _ends_by_notice(contract):
        return
    if not renews(contract):
        raise NothingToRenew(
            "this contract does not renew by itself",
            field="action",
            value=Action.DO_NOT_RENEW,
            rule="a contract whose terms say `renews_months`, and that has an end",
        )
    last = notice_until(contract)
    if now >= last:
        raise NoticeTooLate(
            f"it goes on until {next_end(contract).isoformat()}",
            field="action",
            value=Action.DO_NOT_RENEW,
            rule=f"before {last.isoformat()}; it can be terminated with notice",
        )


def renewed(contract: Contract) -> Contract:
    return replace(
        contract,
        valid_until=next_end(contract),
        agreed_until=contract.agreed_until or contract.valid_until,
        renewals=contract.renewals + 1,
        version=contract.version + 1,
    )


def replaced(
    contract: Contract, successor: str, at: datetime, by: PartyId, now: datetime
) -> Contract:
    """Ended by consent where its successor begins; the same where it ends then anyway, unless that
    would renew it."""
    if contract.ends is not None and contract.ends <= at and not renews(contract):
        return contract
    entry = StatusChange(Status.TERMINATED, at, by, now, f"replaced by contract {successor}")
    # Stable: of two changes at one moment the later recorded one counts.
    later = sorted((*contract.history[1:], entry), key=lambda one: one.since)
    return replace(
        contract,
        history=(contract.history[0], *later),
        version=contract.version + 1,
    )


def first_due(contract: Contract, now: datetime) -> datetime | None:
    """When a contract is to be looked at next, all that lies behind being done but its renewal.

    None: it has no end, or had ended when it was made or changed.
    """
    ends = contract.ends
    if ends is None or ends <= now or ends.year > LAST_YEAR:
        return None
    moments = [at for at, _ in _milestones(contract) if at > now]
    if renews(contract):
        moments.append(_renewed_at(contract))
    return min(moments, default=None)


def tended(contract: Contract, due: datetime, now: datetime, *, free: bool) -> Tended:
    """All that has come due since `due`. `free`: no other contract is in the way of its renewal.

    Of reminders that were missed, the hub having been away, the nearest alone is given.
    """
    turns: list[Turn] = []
    while renews(contract) and free and _renewed_at(contract) <= now:
        if not turns:
            turns += _reminder(contract, due, now)
        contract = renewed(contract)
        assert contract.valid_until is not None, "what was renewed has an end"
        turns.append(Renewed(now, contract.valid_until))
    ends = contract.ends
    if ends is not None and ends <= now:
        ended = contract.status_at(ends) is Status.TERMINATED
        turns.append(Ended(ends, Because.TERMINATED if ended else Because.EXPIRED))
        return Tended(contract, turns, None)
    if not turns:
        turns += _reminder(contract, due, now)
    following = [at for at, _ in _milestones(contract) if at > now]
    if renews(contract) and free:
        following.append(_renewed_at(contract))
    return Tended(contract, turns, min(following, default=None))


def _reminder(contract: Contract, due: datetime, now: datetime) -> list[Turn]:
    assert contract.ends is not None, "what is near its end has one"
    given = [days for at, days in _milestones(contract) if days and due <= at <= now]
    if not given or now >= contract.ends:
        return []
    days = min(given)
    if not renews(contract):
        return [EndNear(days, contract.ends)]
    goes_on = renewed(contract).ends
    return [EndNear(days, contract.ends, goes_on, notice_until(contract))]


def _milestones(contract: Contract) -> list[tuple[datetime, int]]:
    assert contract.ends is not None
    zone = zone_of(contract.terms)
    near = [(days_before(contract.ends, days, zone), days) for days in REMINDERS]
    return [*near, (contract.ends, 0)]


def _renewed_at(contract: Contract) -> datetime:
    assert contract.valid_until is not None, "what renews has an end"
    return days_before(contract.valid_until, RENEWED_DAYS_BEFORE, zone_of(contract.terms))
