"""Statements: what a partner owes and is owed for a period, and what each strategy makes of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
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
    """One line of a statement; amounts are positive when the partner is owed them.

    `kind`: a charge, the credit of one, or its going into and coming out of a dispute.
    """

    position: int
    value_at: datetime
    kind: str
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

    Everybody's are needed since a party's payments may depend on all of them.
    """
    everyone = tuple(obligations)
    own = [debt for debt in everyone if party in (debt.debtor, debt.creditor)]
    return _drawn_up(
        party,
        period,
        currency,
        own,
        {
            strategy: clear(strategy, everyone if strategy.needs_everyone else own).seen_by(party)
            for strategy in Strategy
        },
    )


def draw_up_all(
    period: Period, currency: str, obligations: Iterable[Obligation]
) -> dict[PartyId, Statement]:
    """The statement of each party that owes or is owed: all is cleared once, then dealt out."""
    everyone = sorted(obligations, key=lambda debt: (debt.debtor, debt.creditor))
    debts: defaultdict[PartyId, list[Obligation]] = defaultdict(list)
    for debt in everyone:
        for party in {debt.debtor, debt.creditor}:
            debts[party].append(debt)
    own = {party: tuple(theirs) for party, theirs in debts.items()}
    dealt = {strategy: _dealt_out(clear(strategy, everyone), own) for strategy in Strategy}
    return {
        party: _drawn_up(
            party,
            period,
            currency,
            own[party],
            {strategy: dealt[strategy][party] for strategy in Strategy},
        )
        for party in sorted(own)
    }


def _dealt_out(
    clearing: Clearing, own: Mapping[PartyId, tuple[Obligation, ...]]
) -> dict[PartyId, Clearing]:
    """What each party sees of a clearing (`Clearing.seen_by`), all in one walk through it."""
    payments: defaultdict[PartyId, list[Payment]] = defaultdict(list)
    for payment in clearing.payments:
        payments[payment.payer].append(payment)
        payments[payment.payee].append(payment)
    return {
        position.party: Clearing(
            clearing.strategy,
            own[position.party],
            tuple(payments[position.party]),
            (position,),
            clearing.method,
        )
        for position in clearing.positions
    }


def _drawn_up(
    party: PartyId,
    period: Period,
    currency: str,
    own: Iterable[Obligation],
    clearings: Mapping[Strategy, Clearing],
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
        clearings=clearings,
    )


def _sum(sides: Iterable[Side]) -> Side:
    amount = vat = cdrs = 0
    for side in sides:
        amount, vat, cdrs = amount + side.amount_minor, vat + side.vat_minor, cdrs + side.cdrs
    return Side(amount, vat, cdrs)
