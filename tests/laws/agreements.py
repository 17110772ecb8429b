"""Contracts on paper: who agreed what with whom, and when it is in force, by intervals alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from roaming.party import PartyId

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a proposal says, as far as time goes."""

    begins: datetime | None
    until: datetime | None
    renews_months: int
    notice_days: int


@dataclass(slots=True)
class Agreed:
    """A contract on paper. `holds`: by whom, from when, and until when; None: still."""

    contract_id: str
    requester: PartyId
    provider: PartyId
    begins: datetime
    until: datetime | None
    wish: Wish
    agreed_until: datetime | None = None
    renewals: int = 0
    ended_at: datetime | None = None
    holds: list[tuple[PartyId, datetime, datetime | None]] = field(default_factory=list)

    @property
    def ends(self) -> datetime | None:
        known = [one for one in (self.until, self.ended_at) if one is not None]
        return min(known, default=None)

    def ends_by(self, at: datetime) -> None:
        self.ended_at = at if self.ended_at is None else min(at, self.ended_at)

    def covers(self, at: datetime) -> bool:
        return self.begins <= at and (self.ends is None or at < self.ends)

    def held(self, at: datetime) -> bool:
        return any(since <= at and (end is None or at < end) for _, since, end in self.holds)


@dataclass(slots=True)
class Paper:
    """All contracts, and when which partner was suspended."""

    contracts: dict[str, Agreed] = field(default_factory=dict)
    absences: dict[PartyId, list[list[datetime | None]]] = field(default_factory=dict)

    def of(self, requester: PartyId, provider: PartyId) -> list[Agreed]:
        pair = (requester, provider)
        return [one for one in self.contracts.values() if (one.requester, one.provider) == pair]

    def in_force(self, requester: PartyId, provider: PartyId, at: datetime) -> str | None:
        covering = [one for one in self.of(requester, provider) if one.covers(at)]
        assert len(covering) <= 1, "two contracts of one pair are never valid at once"
        if not covering or covering[0].held(at):
            return None
        if self.absent(requester, at) or self.absent(provider, at):
            return None
        return covering[0].contract_id

    def absent(self, party: PartyId, at: datetime) -> bool:
        return any(
            since is not None and since <= at and (end is None or at < end)
            for since, end in self.absences.get(party, [])
        )

    def time_passes(self, now: datetime) -> None:
        """What renews is renewed a day before its end, where nobody has ended it by then and no
        other contract is in the way."""
        for one in sorted(self.contracts.values(), key=lambda it: it.contract_id):
            if one.wish.renews_months and one.until is not None and now >= one.until - DAY:
                first = one.agreed_until or one.until
                later = months_after(first, (one.renewals + 1) * one.wish.renews_months)
                last = later if one.ended_at is None else min(later, one.ended_at)
                if one.ended_at is not None and one.ended_at <= one.until:
                    continue
                others = [it for it in self.of(one.requester, one.provider) if it is not one]
                until = one.until
                if any(it.begins < last and (it.ends is None or until < it.ends) for it in others):
                    continue
                one.agreed_until, one.until, one.renewals = first, later, one.renewals + 1


def months_after(start: datetime, months: int) -> datetime:
    """By going through the days: the same day of that month, or its last one. UTC."""
    year, month = start.year, start.month
    for _ in range(months):
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    day = start.day
    while True:
        try:
            return datetime(year, month, day, start.hour, start.minute, start.second, tzinfo=UTC)
        except ValueError:
            day -= 1
