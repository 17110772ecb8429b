"""Which terms apply to a charge; the tariff's own rules are tested with roaming."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from clearinghouse.rating.model import (
    BadTimeZone,
    Rater,
    UnreadableTerms,
    line_shown,
    zone_named,
)
from clearinghouse.tax.model import facts_of, treatment
from roaming.charge import Charge
from roaming.pricing import PriceLine
from roaming.tariff import Dimension
from tests.clearinghouse.cdrs.fakes import FakeAgreement
from tests.clearinghouse.tax.test_model import Paper

# 17:30 to 18:30 in Paris, 16:30 to 17:30 in London, 16:30 to 17:30 in UTC.
AT_DUSK = Charge.whole(
    datetime(2025, 1, 15, 16, 30, tzinfo=UTC), datetime(2025, 1, 15, 17, 30, tzinfo=UTC), 10_000
)
DEAR_FROM_18 = {
    "elements": [
        {
            "price_components": [{"type": "ENERGY", "price": 1, "step_size": 1}],
            "restrictions": {"start_time": "18:00", "end_time": "23:00"},
        },
        {"price_components": [{"type": "ENERGY", "price": 0, "step_size": 1}]},
    ]
}


@pytest.mark.parametrize(
    ("of_cdr", "of_agreement", "of_evse", "costs", "by"),
    [
        ("Europe/London", "Europe/Paris", "Europe/Paris", "0.00", "Europe/London"),
        (None, "Europe/Paris", "Europe/London", "5.00", "Europe/Paris"),
        (None, None, "Europe/Paris", "5.00", "Europe/Paris"),
        (None, None, None, "0.00", "UTC"),
    ],
)
def test_the_clock_is_the_records_own_then_the_agreements_then_the_evses(
    of_cdr: str | None, of_agreement: str | None, of_evse: str | None, costs: str, by: str
) -> None:
    agreement = FakeAgreement(tariff=DEAR_FROM_18, time_zone=of_agreement, vat_percent=None)
    rated = Rater().rate(agreement, AT_DUSK, cdr_zone=of_cdr, evse_zone=of_evse)
    assert (rated.amounts()["excl_vat"], rated.time_zone) == (costs, by)


def test_a_price_comes_with_its_lines() -> None:
    rated = Rater().rate(FakeAgreement(), AT_DUSK, cdr_zone=None, evse_zone=None)
    assert rated.agreement_id == "agreement-1"
    assert rated.amounts() == {
        "currency": "EUR",
        "excl_vat": "5.00",
        "vat": "1.00",
        "incl_vat": "6.00",
    }
    assert rated.lines == [
        {
            "dimension": "ENERGY",
            "quantity": "10000",
            "unit": "Wh",
            "price_per_unit": "0.50",
            "amount": "5",
        }
    ]


def test_what_a_price_limit_takes_away_is_a_line_of_its_own() -> None:
    capped = FakeAgreement(
        tariff={
            "elements": [{"price_components": [{"type": "ENERGY", "price": 1, "step_size": 1}]}],
            "max_price": {"excl_vat": 4},
        }
    )
    rated = Rater().rate(capped, AT_DUSK, cdr_zone=None, evse_zone=None)
    assert rated.lines[-1] == {"dimension": "PRICE_LIMIT", "amount": "-6"}
    assert rated.amounts()["excl_vat"] == "4.00"


def test_an_amount_that_no_decimal_can_say_stays_a_fraction() -> None:
    line = PriceLine(Dimension.TIME, Fraction(1), Decimal("0.5"), Fraction(1, 7200), Decimal(19))
    assert line_shown(line) == {
        "dimension": "TIME",
        "quantity": "1",
        "unit": "s",
        "price_per_unit": "0.5",
        "amount": "1/7200",
        "vat_percent": "19",
    }
    eighth = PriceLine(Dimension.FLAT, Fraction(1), Decimal(1), Fraction(-1, 8), None)
    assert line_shown(eighth)["amount"] == "-0.125"


@pytest.mark.parametrize(
    "terms",
    [
        {"tariff": {}},
        {"tariff": {"elements": "none"}},
        {"currency": "XXX"},
        {"time_zone": "Europe/Atlantis"},
    ],
)
def test_terms_that_cannot_be_read_are_refused_each_time(terms: dict[str, Any]) -> None:
    rater = Rater()
    for _ in range(2):
        with pytest.raises(UnreadableTerms, match="agreement-1"):
            rater.rate(FakeAgreement(**terms), AT_DUSK, cdr_zone=None, evse_zone=None)


def test_only_so_many_agreements_are_kept_read() -> None:
    rater = Rater(most=2)
    for number in range(5):
        agreement = FakeAgreement(contract_id=str(number))
        assert rater.rate(agreement, AT_DUSK, cdr_zone=None, evse_zone=None).currency == "EUR"
    assert len(rater._terms) == 2


def test_a_tariff_that_many_agreements_share_is_read_once() -> None:
    rater, shared = Rater(), FakeAgreement().tariff
    for number in range(5):
        agreement = FakeAgreement(contract_id=str(number), tariff=shared)
        rater.rate(agreement, AT_DUSK, cdr_zone=None, evse_zone=None)
    assert len({id(terms.tariff) for terms in rater._terms.values()}) == 1  # type: ignore[union-attr]


def test_a_group_of_charge_points_is_priced_by_its_own_terms_and_says_so() -> None:
    rater = Rater()
    everywhere = FakeAgreement()
    dearer = {"elements": [{"price_components": [{"type": "ENERGY", "price": "0.60"}]}]}
    here = FakeAgreement(tariff=dearer, vat_percent=Decimal(5), tariff_group="motorway")
    for _ in range(2):
        plain = rater.rate(everywhere, AT_DUSK, cdr_zone=None, evse_zone=None)
        dear = rater.rate(here, AT_DUSK, cdr_zone=None, evse_zone=None)
        assert plain.agreement_id == dear.agreement_id
        assert (plain.vat_percent, dear.vat_percent) == (Decimal(20), Decimal(5))
        assert (plain.excl_vat.figure, dear.excl_vat.figure) == ("5.00", "6.00")
        assert {line["tariff_group"] for line in dear.lines} == {"motorway"}
        assert not any("tariff_group" in line for line in plain.lines)


@pytest.mark.parametrize("name", ["Europe/Atlantis", "", "../etc/passwd", "/etc/localtime"])
def test_a_time_zone_is_one_of_the_database(name: str) -> None:
    with pytest.raises(BadTimeZone):
        zone_named(name)


def test_the_vat_that_a_rule_decides_takes_the_place_of_the_agreed_one() -> None:
    rater = Rater()
    agreed = rater.rate(FakeAgreement(), AT_DUSK, cdr_zone=None, evse_zone=None)
    assert (agreed.vat_rule, agreed.vat_category, agreed.vat_percent) == (
        "agreed-rate",
        "S",
        Decimal(20),
    )
    seller, buyer = Paper("FR"), Paper("DE")
    reverse = treatment(facts_of(seller, buyer, "FR", AT_DUSK.end))
    rated = rater.rate(FakeAgreement(), AT_DUSK, cdr_zone=None, evse_zone=None, vat=reverse)
    assert (rated.vat_rule, rated.vat_category) == ("reverse-charge-dealer", "AE")
    assert rated.vat_percent == 0
    assert (rated.excl_vat, rated.vat.minor) == (agreed.excl_vat, 0)
    at_home = treatment(facts_of(seller, Paper("DE", taxable_dealer=False), "FR", AT_DUSK.end))
    # The tariff's own percentages are for drivers: the rule's holds for all lines.
    rated = rater.rate(
        FakeAgreement(vat_percent=None), AT_DUSK, cdr_zone=None, evse_zone=None, vat=at_home
    )
    assert (rated.vat_rule, rated.vat_percent, str(rated.vat)) == (
        "consumption",
        Decimal(20),
        "1.00 EUR",
    )
    for line in rated.lines:
        assert (line["vat_rule"], line["vat_category"], line["vat_percent"]) == (
            "consumption",
            "S",
            "20",
        )


def test_what_no_rule_decides_is_priced_to_the_letter_as_without_one() -> None:
    undecided = treatment(facts_of(Paper("FR"), None, "FR", AT_DUSK.end))
    for percent, category in ((Decimal(20), "S"), (Decimal(0), "Z"), (None, None)):
        agreement = FakeAgreement(f"agreed-{percent}", vat_percent=percent)
        plain = Rater().rate(agreement, AT_DUSK, cdr_zone=None, evse_zone=None)
        assert plain == Rater().rate(
            agreement, AT_DUSK, cdr_zone=None, evse_zone=None, vat=undecided
        )
        assert (plain.vat_category, plain.vat_percent) == (category, percent)
        assert all("vat_rule" not in line for line in plain.lines)
