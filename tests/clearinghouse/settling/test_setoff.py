"""A set-off statement and the payments that it tells of come to the same."""

from __future__ import annotations

from hypothesis import given

from clearinghouse.netting.model import Strategy
from clearinghouse.settling.model import (
    PairTotal,
)
from clearinghouse.settling.setoff import SetOff
from roaming.party import PartyId
from tests.clearinghouse.settling.fakes import parties, settled, totals


@given(totals, parties)
def test_a_set_off_statement_adds_up_to_the_payments(owed: list[PairTotal], one: PartyId) -> None:
    for settlement in settled(*owed):
        own = SetOff(
            one,
            settlement.period_id,
            settlement.clearing_group,
            settlement.currency,
            settlement.strategy,
            tuple(pair for pair in settlement.pairs if one in (pair.debtor, pair.creditor)),
            tuple(p for p in settlement.payments if one in (p.payer, p.payee)),
        )
        got = sum(p.amount_minor if p.payee == one else -p.amount_minor for p in own.payments)
        assert own.net_minor == got
        for payment in own.payments:
            settles = own.settles(payment)
            assert settles
            if settlement.strategy is not Strategy.MULTILATERAL:
                assert {pair.debtor for pair in settles} <= {payment.payer, payment.payee}
