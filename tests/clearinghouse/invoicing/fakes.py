"""Who the partners of the intake's small world are on paper, and months that are closed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from clearinghouse.cdrs import flows as cdr_flows
from clearinghouse.cdrs.life import State
from clearinghouse.cdrs.model import Submission
from clearinghouse.fees import flows as fee_flows
from clearinghouse.fees.store import SqlBook as FeeBook
from clearinghouse.invoicing import flows
from clearinghouse.invoicing.ports import Found
from clearinghouse.invoicing.store import SqlBooks, SqlClosing
from clearinghouse.periods import flows as period_flows
from clearinghouse.periods.model import Month
from clearinghouse.periods.store import SqlBooks as Periods
from documents.invoice import Business
from kit.database import Database, Hot
from roaming.party import PartyId
from tests.clearinghouse.cdrs.fakes import (
    EVSP,
    OPERATOR,
    OTHER_CONTRACT,
    OTHER_EVSP,
    OTHER_OPERATOR,
    World,
    intake_of,
    keep_customer,
)
from tests.documents.samples import BUYER, SELLER

HUB = PartyId("EU*GRD")
JANUARY, FEBRUARY = Month(2025, 1), Month(2025, 2)


def papers(*without: PartyId) -> dict[PartyId, Business]:
    """The business details of everybody but `without`."""
    everyone = {
        OPERATOR: replace(SELLER, party=OPERATOR),
        OTHER_OPERATOR: replace(SELLER, party=OTHER_OPERATOR, legal_name="Alf B.V."),
        EVSP: replace(BUYER, party=EVSP),
        OTHER_EVSP: replace(BUYER, party=OTHER_EVSP, legal_name="Gamma SAS"),
    }
    return {party: one for party, one in everyone.items() if party not in without}


@dataclass(slots=True)
class Months:
    """A clearing house that takes records and closes months, on a real database."""

    database: Database
    known: dict[PartyId, Business] = field(default_factory=papers)
    world: World = field(default_factory=World)

    def business_at(self, party: PartyId, at: datetime) -> Business | None:
        return self.known.get(party)

    async def book(self, records: Collection[Submission]) -> None:
        for contract in (None, OTHER_CONTRACT):
            await (
                keep_customer(self.database)
                if contract is None
                else keep_customer(self.database, contract, token_uid=None)
            )
        outcomes = await cdr_flows.receive(
            list(records), intake=intake_of(self.database, self.world)
        )
        for outcome in outcomes:
            assert outcome.cdr.state is not State.REJECTED, outcome.cdr.reasons

    async def close(self, month: Month = JANUARY) -> None:
        await period_flows.close(
            month,
            hub=HUB,
            books=Periods(self.database, [self.charge, self.issue]),
            clock=lambda: month.ends_at.replace(tzinfo=UTC),
        )

    async def charge(self, connection: Hot, month: Month, now: datetime) -> None:
        await fee_flows.accrue_period(
            month, book=FeeBook(connection), businesses=self.world, hub=HUB, now=now
        )

    async def issue(self, connection: Hot, month: Month, now: datetime) -> None:
        await flows.issue(month, now, hub=HUB, closing=SqlClosing(connection, HUB), businesses=self)

    async def invoices(self, party: PartyId = HUB, month: Month | None = None) -> list[Found]:
        period_id = None if month is None else str(month)
        return list(
            await flows.page(
                party=party,
                hub=HUB,
                period_id=period_id,
                after=0,
                limit=1_000,
                books=SqlBooks(self.database),
            )
        )

    async def pair_totals(self, month: Month) -> dict[tuple[str, str], int]:
        """What the ledger says that each pair owes for the month, VAT and roundings included."""
        async with self.database.hot() as connection:
            rows = await connection.fetch(
                "SELECT party, counterparty, sum(amount_minor)::bigint AS owed"
                " FROM clearinghouse.ledger_entry WHERE value_at >= $1 AND value_at < $2"
                " AND account IN ('charge-receivable', 'vat-receivable', 'fee-receivable',"
                " 'fee-vat-receivable') GROUP BY 1, 2",
                month.starts_at,
                month.ends_at,
            )
        return {(row[0], row[1]): row[2] for row in rows if row[2]}
