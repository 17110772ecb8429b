"""What the intake of records asks of the outside world."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol

from clearinghouse.cdrs.life import State
from clearinghouse.cdrs.model import Authorisation, Cdr, Customer, Key
from clearinghouse.meter_values.model import Check
from clearinghouse.rating.model import Agreement
from kit.event_log import Cursor, NewEvent
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from roaming.party import PartyId
from roaming.token import TokenUid

CHANNEL = "cdrs"
"""NOTIFY when records are booked: a JSON list of the EVSPs they are for; empty is "look at all"."""


class Evses(Protocol):
    async def find_many(
        self, evse_ids: Collection[EvseId]
    ) -> Mapping[EvseId, tuple[PartyId, str | None, int | None, str | None]]:
        """Operator, time zone, most power in W and country (ISO 3166 alpha-2) of those of
        `evse_ids` that the house knows.
        """


class Agreements(Protocol):
    def between(self, operator: PartyId, evsp: PartyId, at: datetime) -> Agreement | None:
        """The roaming agreement in force at `at`, out of memory."""


class Customers(Protocol):
    async def by_contract(
        self, contract_ids: Collection[ContractId]
    ) -> Mapping[ContractId, Customer]: ...

    async def by_token(self, token_uids: Collection[TokenUid]) -> Mapping[TokenUid, Customer]: ...


class Authorisations(Protocol):
    async def find(self, authorisation_ids: Collection[str]) -> Mapping[str, Authorisation]: ...


class Meters(Protocol):
    async def check(
        self, told: Sequence[tuple[tuple[PartyId, EvseId], Sequence[Any]]]
    ) -> Sequence[Check | None]:
        """What came of each record's signed meter values, at its operator's EVSE; None for none."""


class Book(Protocol):
    """Records in one open transaction. Leaving it commits, an exception undoes it."""

    async def booked(self, keys: Collection[Key]) -> Mapping[Key, Cdr]:
        """The accepted and flagged records under these keys."""

    async def rejected(self, keys: Collection[Key]) -> Mapping[Key, Cdr]:
        """The latest rejected record under each of these keys."""

    async def fingerprints(self, fingerprints: Collection[bytes]) -> Mapping[bytes, str]:
        """The cdr_id of each booked record that has one of these fingerprints."""

    async def overlapping(self, cdrs: Sequence[Cdr]) -> Mapping[Key, str]:
        """By record, the cdr_id of another booked one on its EVSE that shares time with it.

        One that ended more than 24 hours after it is not looked for: such carry a flag themselves.
        """

    async def held(self, evsp: PartyId, keys: Collection[Key]) -> Mapping[Key, State]:
        """The states of those of these booked records that `evsp` owes; they stay as they are
        until the transaction ends."""

    async def move(self, states: Mapping[Key, State], events: Sequence[NewEvent]) -> None:
        """Bring booked records into other states, and tell of it."""

    async def value_dates(self, instants: Sequence[datetime]) -> Sequence[datetime]:
        """The value date of each of `instants`: no month is closed until the book is left."""

    async def record(
        self, cdrs: Sequence[Cdr], events: Sequence[NewEvent], changed: Sequence[Cdr] = ()
    ) -> None:
        """Write records, what they mean in money, and their events, one for each, in order.

        `changed`: records of earlier, of which the state (and with it the fingerprint) is new.
        """


class Books(Protocol):
    def read(self) -> AbstractAsyncContextManager[Book]:
        """For looking only; others may write at the same time."""

    def write(self, operators: Collection[PartyId]) -> AbstractAsyncContextManager[Book]:
        """Writers of one operator's records wait for one another, whatever process they are in."""

    async def page(
        self,
        party: PartyId,
        *,
        after: Cursor,
        since: datetime | None,
        state: State | None,
        limit: int,
    ) -> Sequence[tuple[Cursor, Cdr]]:
        """The party's records behind a cursor: as operator all of its own, as EVSP the booked."""

    async def find(self, party: PartyId, operator: PartyId, cdr_id: str) -> Cdr | None:
        """One record that `party` may see: the booked one, else its operator's latest rejected."""
