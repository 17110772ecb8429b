"""What the book of contracts tells: contracts in force or why none is, services, agreements."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from marketplace.contracts.model import Absence
from marketplace.offerings.coverage import Coverage, TariffGroup
from marketplace.offerings.model import Strategy, Terms
from marketplace.services.handling import Handling
from marketplace.services.model import Endpoint, Operation, Protocol
from roaming.evse_id import EvseId
from roaming.party import PartyId
from roaming.tariff import Tariff


@dataclass(frozen=True, slots=True)
class ContractInForce:
    """A contract that allows a call at the moment asked about.

    It does so from `holds_from` until just before `holds_until`, as long as the book is of the same
    edition.
    """

    contract_id: str
    provider: PartyId
    requester: PartyId
    service: str
    major: int
    terms: Terms
    valid_from: datetime
    valid_until: datetime | None
    holds_from: datetime
    holds_until: datetime | None


class Standing(NamedTuple):
    """A contract in force at the moment asked about, its terms by their digest alone."""

    contract_id: str
    terms_digest: bytes
    service: str
    valid_from: datetime
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class NotInForce:
    """Why there is none; `contract_id` is the one that came closest, where there is one."""

    reason: Absence
    contract_id: str | None = None


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """A service as the gateway needs it. `endpoint` None: the hub itself answers.

    `published` False: it is a draft, which nobody but its provider may try, or else `in_test`, and
    its `testers` see it. `sunset`: when it ends, as it was told at `deprecated_at`.
    """

    name: str
    major: int
    provider: PartyId
    protocol: Protocol
    endpoint: str | None
    more_endpoints: tuple[Endpoint, ...]
    published: bool
    suspended: bool
    operations: tuple[Operation, ...]
    handling: Handling
    interface_digest: bytes | None
    login: bytes | None = field(repr=False)
    in_test: bool = False
    testers: frozenset[PartyId] = frozenset()
    deprecated_at: datetime | None = None
    sunset: datetime | None = None

    @property
    def callable(self) -> bool:
        """Whether it is called at the gateway."""
        return self.protocol in (Protocol.REST, Protocol.SOAP)


@dataclass(frozen=True, slots=True)
class RoamingAgreement:
    """A roaming agreement in force, its tariff ready for pricing."""

    contract_id: str
    operator: PartyId
    evsp: PartyId
    currency: str
    tariff: Tariff
    vat_percent: Decimal | None
    time_zone: str
    payment_terms_days: int
    clearing_strategy: Strategy
    valid_from: datetime
    valid_until: datetime | None
    coverage: Coverage
    group_name: str | None
    tariff_groups: tuple[TariffGroup, ...]

    @property
    def clearing_group(self) -> str:
        """With what other debts its charges are cleared: `strategy`, or `strategy:name`."""
        strategy = self.clearing_strategy.value
        return strategy if self.group_name is None else f"{strategy}:{self.group_name}"

    def covers(self, evse_id: EvseId) -> bool:
        """Whether the agreement is about this charge point."""
        return evse_id in self.coverage
