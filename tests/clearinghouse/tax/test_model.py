"""The rules of VAT: each by the case it is made for, and what holds for all of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearinghouse.tax import model
from clearinghouse.tax.model import (
    DOMESTIC_REVERSE_CHARGE,
    FALLBACK,
    RULES,
    STANDARD_RATES,
    Category,
    Facts,
    Side,
    Supply,
    Treatment,
    facts_of,
    standard_rate,
    treatment,
)
from roaming.country import EU_MEMBERS

PAGE = Path(__file__).parents[3] / "docs" / "vat.md"
NOON = datetime(2025, 3, 3, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Paper:
    """A business on paper."""

    country: str
    taxable_dealer: bool = True
    vat_id: str | None = "X1"


def treated(
    seller: Paper | None,
    buyer: Paper | None,
    point: str | None = None,
    *,
    at: datetime = NOON,
    supply: Supply = Supply.ELECTRICITY,
) -> Treatment:
    return treatment(facts_of(seller, buyer, point, at, supply))


def consumer(country: str, vat_id: str | None = "X1") -> Paper:
    return Paper(country, taxable_dealer=False, vat_id=vat_id)


CASES = [
    # The usual case, wherever the charge point stands.
    (Paper("FR"), Paper("DE"), "FR", "reverse-charge-dealer", "AE", "0", "buyer"),
    (Paper("FR"), Paper("DE"), None, "reverse-charge-dealer", "AE", "0", "buyer"),
    (Paper("CH"), Paper("DE"), "CH", "reverse-charge-dealer", "AE", "0", "buyer"),
    (Paper("GB"), Paper("IE"), "GB", "reverse-charge-dealer", "AE", "0", "buyer"),
    (Paper("MC"), Paper("IT"), "MC", "reverse-charge-dealer", "AE", "0", "buyer"),
    # At home.
    (Paper("DE"), Paper("DE"), "DE", "domestic-reverse-charge", "AE", "0", "buyer"),
    (consumer("DE"), Paper("DE"), "DE", "domestic-dealer", "S", "19", "seller"),
    (consumer("FR"), Paper("FR"), "FR", "domestic-reverse-charge", "AE", "0", "buyer"),
    (Paper("MC"), Paper("FR"), "MC", "domestic-reverse-charge", "AE", "0", "buyer"),
    (Paper("AT"), Paper("AT"), "DE", "domestic-reverse-charge", "AE", "0", "buyer"),
    (Paper("IT"), Paper("IT"), "IT", "domestic-reverse-charge", "AE", "0", "buyer"),
    (Paper("IT"), Paper("IT", vat_id=None), "IT", "domestic-dealer", "S", "22", "seller"),
    (Paper("NL"), Paper("NL"), "NL", "domestic-dealer", "S", "21", "seller"),
    (Paper("CH"), Paper("CH"), "CH", "domestic-dealer", "S", "8.1", "seller"),
    (Paper("NO"), Paper("NO"), None, "domestic-dealer", "S", "25", "seller"),
    # To somewhere without the Directive.
    (Paper("FR"), Paper("CH"), "FR", "outside-dealer", "O", "0", "nobody"),
    (Paper("FR"), Paper("US", vat_id=None), "FR", "outside-dealer", "O", "0", "nobody"),
    # To whoever consumes it.
    (Paper("FR"), consumer("DE"), "DE", "reverse-charge-consumption", "AE", "0", "buyer"),
    (Paper("CH"), consumer("DE"), "DE", "reverse-charge-consumption", "AE", "0", "buyer"),
    (Paper("FR"), consumer("DE"), "FR", "consumption", "S", "20", "seller"),
    (Paper("FR"), consumer("US", None), "FR", "consumption", "S", "20", "seller"),
    (Paper("GB"), consumer("GB"), "GB", "consumption", "S", "20", "seller"),
    # What is not ours to decide.
    (Paper("FR"), consumer("DE"), None, "agreed-rate", None, None, "as agreed"),
    (Paper("FR"), consumer("DE"), "NL", "agreed-rate", None, None, "as agreed"),
    (Paper("FR"), consumer("DE", None), "DE", "agreed-rate", None, None, "as agreed"),
    (Paper("GB"), consumer("DE"), "GB", "agreed-rate", None, None, "as agreed"),
    (Paper("FR"), Paper("DE", vat_id=None), "FR", "agreed-rate", None, None, "as agreed"),
    (Paper("FR", vat_id=None), Paper("DE"), "FR", "agreed-rate", None, None, "as agreed"),
    (Paper("CH"), Paper("GB"), "CH", "agreed-rate", None, None, "as agreed"),
    (Paper("GR"), Paper("GR"), "GR", "agreed-rate", None, None, "as agreed"),
    (Paper("US"), Paper("US"), "US", "agreed-rate", None, None, "as agreed"),
    (None, Paper("DE"), "DE", "agreed-rate", None, None, "as agreed"),
    (Paper("FR"), None, "FR", "agreed-rate", None, None, "as agreed"),
]


@pytest.mark.parametrize(
    ("seller", "buyer", "point", "rule", "category", "percent", "accounts"), CASES
)
def test_each_case_has_the_rule_that_is_made_for_it(
    seller: Paper | None,
    buyer: Paper | None,
    point: str | None,
    rule: str,
    category: str | None,
    percent: str | None,
    accounts: str,
) -> None:
    found = treated(seller, buyer, point)
    assert (found.rule, found.category, found.accounts) == (rule, category, accounts)
    assert found.percent == (None if percent is None else Decimal(percent))


SERVICES = [
    ("BE", Paper("FR"), "reverse-charge-service", "AE", "0"),
    ("CH", Paper("FR"), "reverse-charge-service", "AE", "0"),
    ("BE", Paper("BE"), "domestic-service", "S", "21"),
    ("LU", Paper("LU"), "domestic-service", "S", "17"),
    ("BE", Paper("CH"), "outside-service", "O", "0"),
    ("BE", Paper("FR", vat_id=None), "agreed-rate", None, None),
    ("CH", Paper("GB"), "agreed-rate", None, None),
]


@pytest.mark.parametrize(("hub", "payer", "rule", "category", "percent"), SERVICES)
def test_a_service_is_supplied_where_the_business_sits_that_gets_it(
    hub: str, payer: Paper, rule: str, category: str | None, percent: str | None
) -> None:
    for dealer in (True, False):
        buyer = Paper(payer.country, dealer, payer.vat_id)
        found = treated(Paper(hub), buyer, supply=Supply.SERVICE)
        assert (found.rule, found.category) == (rule, category)
        assert found.percent == (None if percent is None else Decimal(percent))


def test_a_rule_says_itself_in_a_sentence_with_its_source() -> None:
    found = treated(Paper("FR"), Paper("DE"), "FR")
    assert found == Treatment(
        rule="reverse-charge-dealer",
        category=Category.REVERSE_CHARGE,
        percent=Decimal(0),
        accounts=Side.BUYER,
        exemption_reason="Reverse charge",
        vatex="VATEX-EU-AE",
        says="Sold from FR to a taxable dealer in DE: supplied in DE, where the buyer accounts for"
        " the VAT.",
        source="Directive 2006/112/EC Art. 38, 195",
    )
    assert "USt 1 TH" in treated(Paper("DE"), Paper("DE")).source
    outside = treated(Paper("FR"), Paper("CH"))
    assert (outside.vatex, outside.exemption_reason) == ("VATEX-EU-O", "Not subject to VAT")


# The first second of a new rate, in its country's time, and the last one of the old.
@pytest.mark.parametrize(
    ("country", "changed_at", "before", "after"),
    [
        ("EE", "2025-07-01T00:00:00+03:00", "22", "24"),
        ("EE", "2024-01-01T00:00:00+02:00", "20", "22"),
        ("SK", "2025-01-01T00:00:00+01:00", "20", "23"),
        ("RO", "2025-08-01T00:00:00+03:00", "19", "21"),
        ("FI", "2024-09-01T00:00:00+03:00", "24", "25.5"),
        ("LU", "2023-01-01T00:00:00+01:00", "17", "16"),
        ("LU", "2024-01-01T00:00:00+01:00", "16", "17"),
        ("DE", "2020-07-01T00:00:00+02:00", "19", "16"),
        ("DE", "2021-01-01T00:00:00+01:00", "16", "19"),
        ("IE", "2020-09-01T00:00:00+01:00", "23", "21"),
        ("CH", "2024-01-01T00:00:00+01:00", "7.7", "8.1"),
    ],
)
def test_a_rate_changes_at_midnight_of_its_country(
    country: str, changed_at: str, before: str, after: str
) -> None:
    moment = datetime.fromisoformat(changed_at)
    for at, percent in ((moment - timedelta(microseconds=1), before), (moment, after)):
        found = treated(Paper(country), Paper(country), at=at, supply=Supply.SERVICE)
        assert (found.rule, found.percent) == ("domestic-service", Decimal(percent))


def test_the_domestic_reverse_charge_has_its_time() -> None:
    for country, zone, first in (
        ("DE", "+02:00", "2013-09-01"),
        ("AT", "+01:00", "2014-01-01"),
        ("FR", "+02:00", "2012-04-01"),
        ("IT", "+01:00", "2015-01-01"),
    ):
        begins = datetime.fromisoformat(f"{first}T00:00:00{zone}")
        ends = datetime.fromisoformat("2027-01-01T00:00:00+01:00")
        pair = Paper(country), Paper(country)
        eve = timedelta(seconds=1)
        assert treated(*pair, at=begins - eve).rule != "domestic-reverse-charge"
        assert treated(*pair, at=begins).rule == "domestic-reverse-charge"
        assert treated(*pair, at=ends - eve).rule == "domestic-reverse-charge"
        # What comes after Art. 199a is not known here.
        assert treated(*pair, at=ends).rule == "agreed-rate"


def test_britain_left_and_croatia_came() -> None:
    left = datetime(2021, 1, 1, tzinfo=UTC)
    pair = Paper("FR"), Paper("GB")
    assert treated(*pair, at=left - timedelta(days=1)).rule == "reverse-charge-dealer"
    assert treated(*pair, at=left).rule == "outside-dealer"
    came = datetime(2013, 7, 1, tzinfo=UTC)
    assert treated(Paper("FR"), Paper("HR"), at=came).rule == "reverse-charge-dealer"
    assert treated(Paper("FR"), Paper("HR"), at=came - timedelta(days=1)).rule == "outside-dealer"


COUNTRIES = st.sampled_from([None, *STANDARD_RATES, "US", "XX"])
IDS = st.sampled_from([None, "X1"])
ALL_FACTS = st.builds(
    Facts,
    supply=st.sampled_from(Supply),
    seller=COUNTRIES,
    seller_vat_id=IDS,
    seller_dealer=st.booleans(),
    buyer=COUNTRIES,
    buyer_vat_id=IDS,
    buyer_dealer=st.booleans(),
    point=COUNTRIES,
    day=st.dates(date(2000, 1, 1), date(2199, 12, 31)),
)


@given(ALL_FACTS)
def test_there_is_always_exactly_one_rule(facts: Facts) -> None:
    holding = [rule for rule in RULES if rule.holds(facts)]
    assert len(holding) <= 1
    found = treatment(facts)
    assert found.rule == (holding[0] if holding else FALLBACK).name
    assert treatment.__wrapped__(Facts(*facts)) == found


@given(ALL_FACTS)
def test_what_a_rule_says_agrees_with_itself(facts: Facts) -> None:
    found = treatment(facts)
    if found.category is Category.REVERSE_CHARGE:
        assert (found.percent, found.accounts) == (Decimal(0), Side.BUYER)
        assert facts.buyer_vat_id is not None
        assert facts.seller_vat_id is not None
        assert found.vatex == "VATEX-EU-AE"
    if found.category is Category.STANDARD:
        assert found.accounts is Side.SELLER
        assert found.percent == standard_rate(facts.seller, facts.day)
        assert found.percent is not None
        assert found.percent > 0
        assert found.vatex is found.exemption_reason is None
    if found.category is None:
        assert (found.rule, found.percent) == ("agreed-rate", None)
    assert "None" not in found.says


@given(st.sampled_from(sorted(STANDARD_RATES)), st.datetimes(timezones=st.just(UTC)))
def test_the_rate_is_that_of_the_sellers_day(country: str, at: datetime) -> None:
    at = at.replace(year=2020 + at.year % 10)
    local = at.astimezone(model._ZONES[country])
    found = treated(Paper(country), Paper(country), at=at, supply=Supply.SERVICE)
    assert found.percent == standard_rate(country, local.date())


def test_the_tables_are_in_order() -> None:
    names = [rule.name for rule in (*RULES, FALLBACK)]
    assert len(set(names)) == len(names)
    for rates in STANDARD_RATES.values():
        assert [first for first, _ in rates] == sorted({first for first, _ in rates})
        assert all(0 < percent < 30 for _, percent in rates)
    assert set(STANDARD_RATES) >= EU_MEMBERS | {"CH", "GB", "NO"}
    assert set(DOMESTIC_REVERSE_CHARGE) <= EU_MEMBERS


def test_an_agreed_percentage_has_the_category_it_can_have() -> None:
    assert model.category_of_agreed(Decimal(20)) is Category.STANDARD
    assert model.category_of_agreed(Decimal(0)) is Category.ZERO
    assert model.category_of_agreed(None) is None


def rows_of_rules() -> list[str]:
    return [
        f"| `{rule.name}` | {rule.when} | {rule.category or '—'} |"
        f" {rule.rate} | {rule.accounts} | {rule.source} |"
        for rule in (*RULES, FALLBACK)
    ]


def rows_of_rates() -> list[str]:
    return [
        f"| {country} | " + ", ".join(f"{percent} from {first}" for first, percent in rates) + " |"
        for country, rates in sorted(STANDARD_RATES.items())
    ]


def rows_at_home() -> list[str]:
    return [
        f"| {country} | {one.first_day} | {one.until} |"
        f" {'seller and buyer' if one.both_dealers else 'buyer'} | {one.source} |"
        for country, one in sorted(DOMESTIC_REVERSE_CHARGE.items())
    ]


@pytest.mark.parametrize(
    ("name", "rows"),
    [("rules", rows_of_rules()), ("rates", rows_of_rates()), ("at home", rows_at_home())],
)
def test_the_page_prints_the_tables_of_the_code(name: str, rows: list[str]) -> None:
    marked = re.search(rf"<!-- {name} -->\n(.*?)<!-- end -->", PAGE.read_text(), re.S)
    assert marked is not None
    printed = [line for line in marked[1].splitlines() if line.startswith("| ")]
    assert printed[1:] == rows
