"""Calendar months in UTC: by them the books are closed, quotas counted and services billed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from roaming.refusal import Malformed

_MONTH = re.compile(r"(2[01]\d\d)-(0[1-9]|1[0-2])")


class BadPeriodId(Malformed):
    """A month is named as 2025-01."""


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month in UTC: [starts_at, ends_at)."""

    year: int
    number: int

    @classmethod
    def of(cls, at: datetime) -> Month:
        moment = at.astimezone(UTC)
        return cls(moment.year, moment.month)

    @classmethod
    def parse(cls, name: str, field: str = "period_id") -> Month:
        """From `2025-01`; `field`: where it was told. Raises BadPeriodId."""
        shape = _MONTH.fullmatch(name)
        if shape is None:
            raise BadPeriodId(
                "not a month", field=field, value=name[:40], rule="YYYY-MM, from 2000 to 2199"
            )
        return cls(int(shape[1]), int(shape[2]))

    def __str__(self) -> str:
        return f"{self.year}-{self.number:02d}"

    @property
    def starts_at(self) -> datetime:
        return datetime(self.year, self.number, 1, tzinfo=UTC)

    @property
    def ends_at(self) -> datetime:
        return self.next.starts_at

    @property
    def last_moment(self) -> datetime:
        """The value date of what the house posts when a month is over."""
        return self.ends_at - timedelta(microseconds=1)

    @property
    def next(self) -> Month:
        return Month(self.year + self.number // 12, self.number % 12 + 1)
