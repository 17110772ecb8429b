"""Statements: what a partner owes and is owed for a period, and what each strategy makes of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from clearinghouse.netting.model import Clearing, Obligation, Payment, Period, Strategy, clear
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from roaming.party import PartyId


@dataclass(frozen=True, slots=True)
class Side:
    """What goes one way between two parties: gross, VAT apart, for `cdrs` charges."""

    amount_minor: int = 0
    vat_minor: int = 0
    cdrs: int = 0


NOTHING = Side()


@dataclass(frozen=True, slots=True)
class Account:
    """A partner's dealings with one counterparty. `net_minor` is positive when it is owed money."""

    counterparty: PartyId
    owing: Side
    owed: Side

    @property
    def net_minor(self) -> int:
        return self.owed.amount_minor - self.owing.amount_minor

    @property
    def net_vat_minor(self) -> int:
        return self.owed.vat_minor - self.owing.vat_minor


@dataclass(frozen=True, slots=True)
class Statement:
    """One partner's period in one currency. `clearings`: its own part under each strategy."""

    party: PartyId
    period: Period
    currency: str
    accounts: tuple[Account, ...]
    clearings: Mapping[Strategy, Clearing]

    @property
    def owing(self) -> Side:
        return _sum(account.owing for account in self.accounts)

    @property
    def owed(self) -> Side:
        return _sum(account.owed for account in self.accounts)


@dataclass(frozen=True, slots=True)
class Item:
    """One charge in a statement; amounts are positive when the partner is owed them."""

    position: int
    ended_at: datetime
    counterparty: PartyId
    operator: PartyId
    cdr_id: str
    evse_id: EvseId
    contract_id: ContractId | None
    energy_wh: int
    amount_minor: int
    vat_minor: int


def draw_up(
    party: PartyId, period: Period, currency: str, obligations: Iterable[Obligation]
) -> Statement:
    """The statement of one party, out of everybody's obligations of the period.

    Everybody's are needed since a party's payments under MULTILATERAL depend on all of them.
    """
    everyone = tuple(obligations)
    own = [debt for debt in everyone if party in (debt.debtor, debt.creditor)]
    multilateral = clear(Strategy.MULTILATERAL, everyone).seen_by(party)
    return _drawn_up(party, period, currency, own, multilateral)


def draw_up_all(
    period: Period, currency: str, obligations: Iterable[Obligation]
) -> dict[PartyId, Statement]:
    """The statement of each party that owes or is owed; for hundreds, all is cleared but once."""
    whole = clear(Strategy.MULTILATERAL, obligations)
    debts: defaultdict[PartyId, list[Obligation]] = defaultdict(list)
    for debt in whole.obligations:
        for party in {debt.debtor, debt.creditor}:
            debts[party].append(debt)
    payments: defaultdict[PartyId, list[Payment]] = defaultdict(list)
    for payment in whole.payments:
        payments[payment.payer].append(payment)
        payments[payment.payee].append(payment)
    return {
        position.party: _drawn_up(
            position.party,
            period,
            currency,
            debts[position.party],
            Clearing(
                whole.strategy,
                tuple(debts[position.party]),
                tuple(payments[position.party]),
                (position,),
                whole.method,
            ),
        )
        for position in whole.positions
    }


def _drawn_up(
    party: PartyId,
    period: Period,
    currency: str,
    own: Sequence[Obligation],
    multilateral: Clearing,
) -> Statement:
    owing: dict[PartyId, Side] = {}
    owed: dict[PartyId, Side] = {}
    for debt in own:
        side = Side(debt.amount_minor, debt.vat_minor, debt.cdrs)
        if debt.debtor == party:
            owing[debt.creditor] = side
        if debt.creditor == party:
            owed[debt.debtor] = side
    return Statement(
        party=party,
        period=period,
        currency=currency,
        accounts=tuple(
            Account(other, owing.get(other, NOTHING), owed.get(other, NOTHING))
            for other in sorted(owing.keys() | owed.keys())
        ),
        clearings={
            strategy: multilateral
            if strategy is Strategy.MULTILATERAL
            else clear(strategy, own).seen_by(party)
            for strategy in Strategy
        },
    )


def _sum(sides: Iterable[Side]) -> Side:
    amount = vat = cdrs = 0
    for side in sides:
        amount, vat, cdrs = amount + side.amount_minor, vat + side.vat_minor, cdrs + side.cdrs
    return Side(amount, vat, cdrs)
