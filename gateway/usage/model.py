"""What is remembered of a call that went through the door."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from roaming.party import PartyId
from roaming.refusal import Malformed, Unavailable


class UsageRecord(NamedTuple):
    """One call: a tuple, since one is made for every call and goes into the table as it is.

    `billable` only when its contract has a price and it was answered with a 2xx.
    `contract_id` None: it went through without one (mode off or shadow). `status` 499: the caller
    went away before it was answered. `sandbox`: it was tried out, and is never billable.
    `units`: as the provider told with its answer, where the contract's price goes by them; of what
    a topic delivers, its events.
    """

    request_id: str
    at: datetime
    contract_id: str | None
    requester: PartyId
    provider: PartyId
    service: str
    major: int
    operation: str
    method: str
    status: int
    duration_us: int
    bytes_in: int
    bytes_out: int
    billable: bool
    sandbox: bool = False
    units: int = 1


@dataclass(frozen=True, slots=True)
class DayOfUse:
    """The calls of one contract on one UTC day, by one requester; those of the sandbox apart."""

    day: date
    contract_id: str | None
    requester: PartyId
    provider: PartyId
    service: str
    major: int
    calls: int
    billable_calls: int
    failed_calls: int
    bytes_in: int
    bytes_out: int
    sandbox: bool = False


class UsagePage(NamedTuple):
    """Days of use in order; `next_cursor` is None on the last page."""

    days: list[DayOfUse]
    next_cursor: str | None


class BadCursor(Malformed):
    """A cursor that no page of usage gave out."""


class NotRecorded(Unavailable):
    """Usage cannot be recorded now, and what cannot be metered is not let through."""
