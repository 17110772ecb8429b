"""What every process of a hub has, whatever parts it runs: its database and the books on it.

Nothing here is started; `gridroam.wiring` starts, `gridroam.office` uses it beside a running hub.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.clock import Clock
from kit.database import Database
from kit.personal_data import Vault
from kit.secrets import SecretBox, SecretChecker
from marketplace.access.store import SqlAccess, add_client_secret, end_tokens
from marketplace.applications.store import SqlApplications
from marketplace.business.book import BusinessBook
from marketplace.business.store import SqlFiles, SqlSource
from marketplace.contracts import flows as contract_flows
from marketplace.contracts.book import ContractBook
from marketplace.contracts.source import SqlBookSource
from marketplace.contracts.store import SqlContracts, SqlDesk, counterparties
from marketplace.framework import flows as framework_flows
from marketplace.framework.store import SqlShelves
from marketplace.messages.model import Fact
from marketplace.messages.store import tell
from marketplace.offerings import flows as offering_flows
from marketplace.offerings.store import SqlOfferings, withdraw_all
from marketplace.partners import flows as partner_flows
from marketplace.partners.model import Partner
from marketplace.partners.standing import ABSENT
from marketplace.partners.store import Joining, SqlPartners
from marketplace.services import flows as service_flows
from marketplace.services.model import Service
from marketplace.services.store import Commitments, SqlCatalogue
from roaming.events import EventType
from roaming.party import PartyId
from search_evse.sites.store import EvseRegister


@dataclass(frozen=True, slots=True)
class Core:
    """The books of one hub on one database."""

    hub: PartyId
    clock: Clock
    database: Database
    box: SecretBox
    vault: Vault
    checker: SecretChecker
    access: SqlAccess
    partners: SqlPartners
    applications: SqlApplications
    application_secrets: ApplicationSecrets
    catalogue: SqlCatalogue
    framework: SqlShelves
    offerings: SqlOfferings
    contracts: SqlContracts
    book: ContractBook
    business_files: SqlFiles
    businesses: BusinessBook
    evses: EvseRegister

    async def open_the_market(self) -> None:
        """The hub's own services and public offerings are in the catalogue after this."""
        now = self.clock()
        await service_flows.ensure_hub_services(self.catalogue, self.hub, memory=self.book, now=now)
        await framework_flows.ensure_library(self.framework, now)
        new = await offering_flows.ensure_hub_offerings(self.offerings, self.hub, now)
        if new:
            await self._agree_with_all(new, now)

    async def _agree_with_all(self, services: Sequence[str], now: datetime) -> None:
        """Who joined before the hub had these services has them as newcomers do."""
        after: PartyId | None = None
        while page := await partner_flows.page(self.partners, after, 1000):
            after = page[-1].party
            for partner in page:
                if partner.party == self.hub or partner.status_at(now) in ABSENT:
                    continue
                async with self.contracts.open() as desk:
                    await contract_flows.accept_public(
                        desk, self.hub, partner.party, partner.roles, now, services=services
                    )


async def _last_end(
    connection: AsyncConnection, service: Service, now: datetime
) -> datetime | None:
    return await contract_flows.last_end(SqlDesk(connection), service, now)


async def _end(
    connection: AsyncConnection,
    service: Service,
    by: PartyId,
    now: datetime,
    *,
    sunset: datetime,
    own_notice: bool,
    reason: str | None,
) -> None:
    await contract_flows.end_with_service(
        SqlDesk(connection),
        service,
        by,
        now,
        sunset=sunset,
        own_notice=own_notice,
        reason=reason,
    )


COMMITMENTS = Commitments(_last_end, _end)
"""What contracts do where what they are about ends."""


def core(database: Database, secret: bytes, *, hub: PartyId, clock: Clock) -> Core:
    """Put a hub's books together. `secret`: 32 bytes, the same for the data's whole life."""
    box = SecretBox(_derived(secret, b"seal"))
    contracts = SqlContracts(database)

    async def accept_public(
        connection: AsyncConnection, partner: Partner, now: datetime
    ) -> Sequence[str]:
        return await contract_flows.accept_public(
            SqlDesk(connection), hub, partner.party, partner.roles, now
        )

    partners = SqlPartners(
        database,
        Joining(
            add_client_secret=add_client_secret,
            end_tokens=end_tokens,
            accept_public_offerings=accept_public,
            counterparties=counterparties,
            tell=_tell,
            notice_days=_notice_days,
            end_contracts=_end_contracts,
            withdraw_offerings=withdraw_all,
        ),
        box,
    )
    return Core(
        hub=hub,
        clock=clock,
        database=database,
        box=box,
        vault=Vault(_derived(secret, b"personal data"), clock),
        checker=SecretChecker(),
        access=SqlAccess(database),
        partners=partners,
        applications=SqlApplications(database, partners, hub),
        application_secrets=ApplicationSecrets(_derived(secret, b"applications")),
        catalogue=SqlCatalogue(database, COMMITMENTS),
        framework=SqlShelves(database),
        offerings=SqlOfferings(database),
        contracts=contracts,
        book=ContractBook(SqlBookSource(database), clock),
        business_files=SqlFiles(database),
        businesses=BusinessBook(SqlSource(database)),
        evses=EvseRegister(database),
    )


class ApplicationSecrets:
    """Secrets made of what an applicant brings: the same again each time, and kept nowhere."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, key: str, content: bytes) -> str:
        digest = hashlib.blake2b(content + key.encode(), key=self._key, digest_size=32).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


async def _tell(
    connection: AsyncConnection,
    kind: EventType,
    about: PartyId,
    parties: Sequence[PartyId],
    body: Mapping[str, Any],
    now: datetime,
) -> None:
    fact = Fact(f"partner:{about}", kind, about, tuple(parties), body, now)
    await tell(connection, [fact])


async def _notice_days(connection: AsyncConnection, party: PartyId, now: datetime) -> int:
    return await contract_flows.notice_days(SqlDesk(connection), party, now)


async def _end_contracts(
    connection: AsyncConnection, party: PartyId, ends: datetime, now: datetime
) -> None:
    await contract_flows.end_all(SqlDesk(connection), party, ends, now)


def _derived(secret: bytes, purpose: bytes) -> bytes:
    """One secret, many uses, none of which tells of another."""
    return hashlib.blake2b(purpose, key=secret, digest_size=32).digest()
