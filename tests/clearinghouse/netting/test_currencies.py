"""Several currencies cleared in one: a published case, and the laws of converting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as some

from clearinghouse.netting.currencies import converted
from clearinghouse.netting.model import Obligation, Payment, Strategy, clear, positions
from roaming.money import BadMoney
from roaming.party import PartyId
from roaming.rounding import half_up
from tests.clearinghouse.netting.test_model import A, B, debts

KENDURI, LAKAMA, JAIA, GOCHISO = (PartyId(f"GB*{name}") for name in ("KEN", "LAK", "JAI", "GOC"))


# ACCA, paper P4 Advanced Financial Management, June 2013, question 2 (Kenduri Co), "N3": balances
# within a group, in millions, netted in GBP at the mid rates. JPY has no minor unit.
def millions(debtor: PartyId, creditor: PartyId, tenths: int, minor: int = 100) -> Obligation:
    return Obligation(debtor, creditor, tenths * 100_000 * minor)


N3 = {
    "USD": [
        millions(KENDURI, LAKAMA, 45),
        millions(GOCHISO, LAKAMA, 14),
        millions(JAIA, LAKAMA, 15),
        millions(LAKAMA, KENDURI, 21),
    ],
    "CAD": [
        millions(KENDURI, JAIA, 11),
        millions(GOCHISO, JAIA, 32),
        millions(JAIA, KENDURI, 34),
    ],
    "JPY": [millions(LAKAMA, GOCHISO, 3_200, minor=1)],
}
MID = {"USD": Fraction("1.5950"), "CAD": Fraction("1.5700"), "JPY": Fraction("132.75")}


def test_n3_the_positions_in_millions_of_pounds_are_those_published() -> None:
    made = converted(N3, "GBP", lambda currency: 1 / MID[currency])
    assert made.rates == {"USD": 1 / MID["USD"], "CAD": 1 / MID["CAD"], "JPY": 1 / MID["JPY"]}
    # As published, each debt is given in thousands of pounds, and these are added up.
    debts_of_n3 = {
        currency: converted({currency: owed}, "GBP", lambda each: 1 / MID[each]).obligations
        for currency, owed in N3.items()
    }
    published = [
        Obligation(one.debtor, one.creditor, half_up(Fraction(one.amount_minor, 100_000)))
        for owed in debts_of_n3.values()
        for one in owed
    ]
    assert nets_of(published) == {KENDURI: -39, LAKAMA: 911, JAIA: -367, GOCHISO: -505}
    # To the penny, as reckoned by hand from the same rates.
    to_the_penny = nets_of(made.obligations)
    assert to_the_penny == {
        KENDURI: -3_973_403,
        LAKAMA: 91_233_787,
        JAIA: -36_719_047,
        GOCHISO: -50_541_337,
    }
    cleared = clear(Strategy.MULTILATERAL, made.obligations)
    assert [(one.payer, one.payee) for one in cleared.payments] == [
        *((GOCHISO, LAKAMA), (JAIA, LAKAMA), (KENDURI, LAKAMA))
    ]


def nets_of(obligations: Iterable[Obligation]) -> dict[PartyId, int]:
    return {one.party: one.amount_minor for one in positions(obligations)}


def test_each_pair_and_currency_is_rounded_once_half_up() -> None:
    owed = {
        # 3 x 0.5 cents are 1.5, so 2; each by itself would make 3.
        "CHF": [Obligation(A, B, 1, 1) for _ in range(3)],
        "EUR": [Obligation(A, B, 100, 20, 4)],
        "JPY": [Obligation(B, A, 1)],
    }
    rates = {"CHF": Fraction(1, 2), "JPY": Fraction("0.0065")}
    made = converted(owed, "EUR", rates.__getitem__)
    assert made.obligations == (Obligation(A, B, 102, 22, 7), Obligation(B, A, 1, 0, 1))
    assert made.rates == {"CHF": Fraction(1, 2), "EUR": 1, "JPY": Fraction("0.0065")}


def test_the_settlement_currency_needs_no_rate() -> None:
    def never(currency: str) -> Fraction:
        raise AssertionError(currency)

    made = converted({"EUR": [Obligation(A, B, 7)]}, "EUR", never)
    assert clear(Strategy.GROSS, made.obligations).payments == (Payment(A, B, 7, 0),)
    assert converted({}, "EUR", never).obligations == ()


def test_a_currency_that_there_is_not_is_refused() -> None:
    with pytest.raises(BadMoney):
        converted({}, "XYZ", lambda currency: Fraction(1))


rates = some.fractions(min_value=Fraction(1, 1000), max_value=1000, max_denominator=10_000)
by_currency = some.dictionaries(some.sampled_from(["CHF", "EUR", "JPY", "KWD", "SEK"]), debts)


@given(
    by_currency,
    some.dictionaries(some.sampled_from(["CHF", "JPY", "KWD", "SEK"]), rates, min_size=4),
)
def test_converting_makes_and_loses_no_money(
    owed: Mapping[str, list[Obligation]], rate_of: Mapping[str, Fraction]
) -> None:
    made = converted(owed, "EUR", rate_of.__getitem__)
    assert sum(one.amount_minor for one in positions(made.obligations)) == 0
    assert made.rates.keys() == owed.keys()
    assert sum(one.cdrs for one in made.obligations) == sum(
        one.cdrs for of_currency in owed.values() for one in of_currency
    )
    # Off by half a cent at most for each pair and currency.
    places = {"CHF": 2, "EUR": 2, "JPY": 0, "KWD": 3, "SEK": 2}
    exact = Fraction(0)
    for currency, of_currency in owed.items():
        for one in of_currency:
            exact += Fraction(one.amount_minor, 10 ** places[currency]) * made.rates[currency] * 100
    pairs = len({(c, one.debtor, one.creditor) for c in owed for one in owed[c]})
    assert abs(sum(one.amount_minor for one in made.obligations) - exact) <= Fraction(pairs, 2)
