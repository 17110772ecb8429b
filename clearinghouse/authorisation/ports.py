"""What deciding about a charge asks of the outside world."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from clearinghouse.authorisation.model import (
    Answer,
    Authorisation,
    Identification,
    NoAnswer,
    Policy,
)
from clearinghouse.authorisation.services import Left
from clearinghouse.certificates.model import Authorities
from clearinghouse.customers.model import CustomerContract
from clearinghouse.exposure.model import Claim, Weighed
from kit.event_log import NewEvent
from roaming.evse_id import EvseId
from roaming.party import PartyId


class Evses(Protocol):
    async def find(self, evse_id: EvseId) -> tuple[PartyId, str | None] | None:
        """Who operates the EVSE, and its time zone; None where it is not known here."""


class Agreement(Protocol):
    """A roaming agreement in force. `tariff` as agreed: OCPI 2.2.1 `{"elements": […]}`.

    `tariff_group`: the name of the charge points that it is for; None: those without a group.
    """

    @property
    def contract_id(self) -> str: ...
    @property
    def currency(self) -> str: ...
    @property
    def tariff(self) -> Mapping[str, Any]: ...
    @property
    def vat_percent(self) -> Decimal | None: ...
    @property
    def tariff_group(self) -> str | None: ...
    def covers(self, evse_id: EvseId) -> bool: ...
    def at(self, evse_id: EvseId) -> Agreement:
        """The same, as it prices at this charge point."""
        ...


class Agreements(Protocol):
    def between(self, operator: PartyId, evsp: PartyId, at: datetime) -> Agreement | None:
        """The agreement in force at `at`, out of memory."""

    def partners(self, operator: PartyId, at: datetime) -> Collection[PartyId]:
        """The EVSPs with which the operator has an agreement in force at `at`, out of memory."""


class Customers(Protocol):
    async def find(
        self, identification: Identification
    ) -> tuple[CustomerContract, Policy, bool] | None:
        """Whose identification it is, what its EVSP wants when it is asked, and whether what that
        EVSP may owe has a limit.

        The contract comes without its token uids, which nobody needs here.
        """


class Certificates(Protocol):
    async def find(self, evsp: PartyId, serial_numbers: Collection[str]) -> Authorities:
        """The EVSP's certificate authorities, and which of `serial_numbers` it has revoked."""


class Evsps(Protocol):
    async def ask(
        self, evsp: PartyId, question: Mapping[str, Any], deadline: float
    ) -> Answer | NoAnswer:
        """What the EVSP says. Never later than `deadline` (clock of the event loop), never raises.

        `question`: `authorisation_id`, `evse_id`, `contract_id` (null for a card that nobody
        here knows), `identification` {`type`, `value`}, `services`, `operator`, `at`.
        """

    async def listening(self, evsps: Collection[PartyId]) -> Collection[PartyId]:
        """Those that can be asked at all."""


class Endpoint(Protocol):
    """Where a partner is called; `headers` go along and may hold secrets."""

    @property
    def url(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


class Endpoints(Protocol):
    async def of_many(
        self, parties: Collection[PartyId], purpose: str
    ) -> Mapping[PartyId, Endpoint]:
        """The endpoints that partners have given for `purpose` ("authorisation"), of those that
        have."""


class Spending(Protocol):
    async def left(self, contract: CustomerContract, at: datetime) -> Left | None:
        """What a customer may still spend at `at`; None where no limit is kept here."""


class Decisions(Protocol):
    async def record(self, decided: Authorisation, event: NewEvent) -> Authorisation:
        """Keep a decision and tell it, durably, before it returns.

        Where the operator's charge_id has a decision already, that one is returned and nothing is
        kept or told.
        """

    async def record_within_limits(
        self, claim: Claim, decide: Callable[[Weighed], tuple[Authorisation, NewEvent]]
    ) -> Authorisation:
        """As `record`, for a decision that hangs on a claim: what it holds, and what was decided
        with that, are kept together or not at all. A known charge claims nothing."""

    async def of_charge(self, operator: PartyId, charge_id: str) -> Authorisation | None: ...

    async def find(self, authorisation_id: str, party: PartyId) -> Authorisation | None:
        """A decision that `party` asked for, whose customer it was about, or was asked about."""


class Policies(Protocol):
    async def of(self, evsp: PartyId) -> Policy: ...

    async def asking_unknown(self, evsps: Collection[PartyId]) -> Collection[PartyId]:
        """Those of `evsps` that want to be shown cards which nobody here knows."""

    async def keep(self, evsp: PartyId, policy: Policy, event: NewEvent) -> None:
        """Keep what an EVSP wants when it is asked, and tell `event` if that is a change."""
