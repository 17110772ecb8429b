"""Who there is in the random histories: four partners, their five dealings, what the hub asks.

Chosen so that everything comes up that a month can come to: debts that go both ways and are set off
between two, debts that go round three and are set off among all, one in another currency that is
paid as it stands; VAT by rule at three rates, VAT as agreed; sellers that cannot be invoiced for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from clearinghouse.fees import flows as fee_flows
from clearinghouse.fees.model import Payer, Schedule
from clearinghouse.fees.store import SqlBooks as FeeBooks
from clearinghouse.periods.model import Month
from gridroam.core import Core, core
from kit.clock import Clock
from kit.database import Database
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from roaming.party import PartyId
from tests.clearinghouse.cdrs.fakes import (
    CONTRACT,
    EVSE,
    EVSP,
    OPERATOR,
    OTHER_CONTRACT,
    OTHER_EVSE,
    OTHER_EVSP,
    OTHER_OPERATOR,
    FakeAgreement,
    World,
    keep_customer,
)

HUB = PartyId("EU*GRD")
# An EVSP that has charge points of its own, and an operator with customers of its own.
EVSE_OF_EVSP = EvseId("DE*BET*E1")
CONTRACT_OF_OPERATOR = ContractId("NLALFC00000001")


class Pair(NamedTuple):
    """Who charges where, and what holds between the two. `invoiced`: both sides are known."""

    operator: PartyId
    evse: EvseId
    contract: ContractId
    evsp: PartyId
    group: str
    currency: str
    vat_percent: int
    invoiced: bool


PAIRS = (
    # From France to a dealer in Germany: the buyer accounts for the VAT.
    Pair(OPERATOR, EVSE, CONTRACT, EVSP, "multilateral", "EUR", 0, True),
    # Within France, to somebody who is no dealer: the rate of France.
    Pair(OPERATOR, EVSE, OTHER_CONTRACT, OTHER_EVSP, "gross", "CHF", 20, True),
    # The Dutch operator has told no business details: VAT as agreed, and no invoices.
    Pair(OTHER_OPERATOR, OTHER_EVSE, CONTRACT, EVSP, "bilateral", "EUR", 20, False),
    Pair(EVSP, EVSE_OF_EVSP, CONTRACT_OF_OPERATOR, OTHER_OPERATOR, "bilateral", "EUR", 20, False),
    # Consumed in Germany, sold from there to somebody who is no dealer: the rate of Germany.
    Pair(EVSP, EVSE_OF_EVSP, OTHER_CONTRACT, OTHER_EVSP, "multilateral", "EUR", 19, True),
)
BUSINESSES = (
    (OPERATOR, "Point du Jour SAS", "FR", "FR40303265045", True),
    (EVSP, "Betamobil GmbH", "DE", "DE129273398", True),
    (OTHER_EVSP, "Gamma SAS", "FR", None, False),
    (HUB, "Gridroam SAS", "FR", "FR83404833048", False),
)


class Price(NamedTuple):
    """What the hub asks in respect of one side of a charge; `party` None: everybody else."""

    side: str
    party: PartyId | None
    currency: str
    per_cdr: str
    per_kwh: str


PRICES = (
    Price("operator", None, "EUR", "0", "0.0125"),
    Price("evsp", None, "EUR", "0.015", "0"),
    Price("evsp", OTHER_EVSP, "CHF", "0.021", "0.001"),
)
# A service to a French business is taxed in France, and to one elsewhere there.
FEE_VAT_PERCENT = {OPERATOR: 20, OTHER_EVSP: 20, EVSP: 0, OTHER_OPERATOR: 0}
FEE_GROUP = "gross:hub-fees"
_BEFORE = datetime(2023, 11, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Dealing:
    """Between whom money is owed, and with what else it is cleared."""

    group: str
    currency: str
    debtor: PartyId
    creditor: PartyId


def world() -> World:
    return World(
        evses={
            EVSE: (OPERATOR, "Europe/Paris", 22_000, "FR"),
            OTHER_EVSE: (OTHER_OPERATOR, None, None, None),
            EVSE_OF_EVSP: (EVSP, "Europe/Berlin", 150_000, "DE"),
        },
        agreements={
            (pair.operator, pair.evsp): FakeAgreement(
                f"agreement-{number}",
                currency=pair.currency,
                vat_percent=Decimal(20),
                clearing_group=pair.group,
            )
            for number, pair in enumerate(PAIRS, 1)
        },
        valid_until=datetime(2035, 1, 1, tzinfo=UTC),
    )


def price(side: str, party: PartyId) -> tuple[str, Fraction, Fraction]:
    """Currency, and the price per record and kWh, that holds for a party."""
    [found] = [one for one in PRICES if one.side == side and one.party == party] or [
        one for one in PRICES if one.side == side and one.party is None
    ]
    return found.currency, Fraction(found.per_cdr), Fraction(found.per_kwh)


async def settle_in(database: Database) -> None:
    """All who deal here are known, and what the hub asks."""
    await keep_customer(database)
    await keep_customer(database, OTHER_CONTRACT, token_uid=None)
    await keep_customer(database, CONTRACT_OF_OPERATOR, token_uid=None)
    async with database.hot() as connection:
        for party, name, country, vat_id, dealer in BUSINESSES:
            await connection.execute(
                "INSERT INTO marketplace.business_details (party, legal_name, street, city,"
                " postal_code, country, vat_id, taxable_dealer, valid_from, told_by, recorded_at)"
                " VALUES ($1, $2, 'Rue 1', 'Ville', '1000', $3, $4, $5, $6, $1, $6)",
                *(party, name, country, vat_id, dealer, _BEFORE),
            )
    for one in PRICES:
        await fee_flows.set_schedule(
            Schedule(
                Payer(one.side),
                one.party,
                Month.of(_BEFORE).next,
                one.currency,
                Decimal(one.per_cdr),
                Decimal(one.per_kwh),
            ),
            hub=HUB,
            books=FeeBooks(database),
            now=_BEFORE,
        )


def hub_on(database: Database, clock: Clock) -> Core:
    """The hub's own books, put together as every process of a hub does."""
    return core(database, bytes(32), hub=HUB, clock=clock)
