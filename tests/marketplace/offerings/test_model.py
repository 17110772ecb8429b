"""Terms and audiences: read, refused by name, and written back alike."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from marketplace.offerings.coverage import Coverage
from marketplace.offerings.model import (
    Audience,
    BadOffering,
    NotYourServiceToOffer,
    Pack,
    RoamingTerms,
    ServiceTerms,
    Strategy,
    may_offer,
    parse_terms,
)
from roaming.evse_id import EvseId
from roaming.refusal import Malformed
from tests.marketplace.fakes import EVSP, HUB, OPERATOR, ROAMING_TERMS


def roaming(**other: Any) -> RoamingTerms:
    terms = parse_terms("roaming", ROAMING_TERMS | other)
    assert isinstance(terms, RoamingTerms)
    return terms


def test_roaming_terms_are_read_exactly() -> None:
    terms = roaming(vat_percent=5.5)
    assert (terms.currency, terms.vat_percent) == ("EUR", Decimal("5.5"))
    assert terms.tariff.elements[0].price_components[0].price == Decimal("0.35")
    assert (terms.payment_terms_days, terms.clearing_strategy) == (30, Strategy.MULTILATERAL)
    assert terms.evses is None


def test_equal_terms_are_one_text() -> None:
    spelt = [roaming(vat_percent=one) for one in (20, 20.0, "20", "20.000", Decimal("2e1"))]
    assert len({repr(terms.to_json()) for terms in spelt}) == 1
    one, other = (roaming(evses=e) for e in (["FR*PD1*E1", "FR*PD1*E2*"], ["FRPD1E2*", "frpd1e1"]))
    assert one == other


@given(
    some.none() | some.decimals(0, 100, places=3),
    some.sampled_from(["gross", "bilateral", "multilateral", "cycles"]),
    some.integers(0, 365),
    some.none() | some.lists(some.sampled_from(["FRPD1E1", "FR*PD1*E2*", "FRPD1*"]), min_size=1),
)
def test_roaming_terms_come_back_as_they_were_written(
    vat: Decimal | None, strategy: str, days: int, evses: list[str] | None
) -> None:
    terms = roaming(
        vat_percent=vat, clearing_strategy=strategy, payment_terms_days=days, evses=evses
    )
    assert RoamingTerms.parse(terms.to_json()) == terms


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"currency": "XXX"}, "currency"),
        ({"currency": None}, "terms.currency"),
        ({"vat_percent": -1}, "terms.vat_percent"),
        ({"vat_percent": 100.001}, "terms.vat_percent"),
        ({"vat_percent": "0.0001"}, "terms.vat_percent"),
        ({"vat_percent": "NaN"}, "terms.vat_percent"),
        ({"vat_percent": True}, "terms.vat_percent"),
        ({"vat_percent": "twenty"}, "terms.vat_percent"),
        ({"time_zone": "Paris"}, "terms.time_zone"),
        ({"time_zone": "../../etc/passwd"}, "terms.time_zone"),
        ({"time_zone": "Europe"}, "terms.time_zone"),
        ({"time_zone": 1}, "terms.time_zone"),
        ({"payment_terms_days": 366}, "terms.payment_terms_days"),
        ({"payment_terms_days": True}, "terms.payment_terms_days"),
        ({"clearing_strategy": "none"}, "terms.clearing_strategy"),
        ({"clearing_strategy": ["gross"]}, "terms.clearing_strategy"),
        ({"evses": []}, "terms.evses"),
        ({"evses": "FR*PD1*E1"}, "terms.evses"),
        ({"evses": ["FR*PD1*E1", "*"]}, "terms.evses.1"),
        ({"evses": ["FR*PD1*X*"]}, "terms.evses.0"),
        ({"evses": ["nonsense"]}, "evse_id"),
        ({"discount": 5}, "terms.discount"),
        ({"tariff": None}, None),
        ({"tariff": {"elements": []}}, None),
        ({"tariff": {"currency": "CHF", **ROAMING_TERMS["tariff"]}}, None),
    ],
    ids=str,
)
def test_bad_roaming_terms_are_refused_by_name(wrong: dict[str, Any], field: str | None) -> None:
    with pytest.raises(Malformed) as refused:
        roaming(**wrong)
    assert refused.value.field is not None
    assert field is None or refused.value.field == field


def test_terms_without_a_word_on_vat_are_refused() -> None:
    with pytest.raises(Malformed, match="vat_percent"):
        parse_terms("roaming", {k: v for k, v in ROAMING_TERMS.items() if k != "vat_percent"})


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        None,
        {"operations": []},
        {"operations": "search"},
        {"operations": ["é"]},
        {"operations": [" search"]},
        {"quota": {"calls_per_day": 0}},
        {"quota": {"calls_per_day": 1.5}},
        {"quota": {"calls_per_year": 1}},
        {"quota": {"calls_per_month": 0}},
        {"pack": 500},
        {"pack": {}},
        {"pack": {"calls": 0}},
        {"pack": {"calls": 1.5}},
        {"pack": {"calls": 500, "price_minor": 1}},
        {"pack": {"calls": 500, "price_minor": -1}, "currency": "EUR"},
        {"pack": {"calls": 500, "price": 1}},
        {"pack": {"calls": 500}, "price_per_call_minor": 1, "currency": "EUR"},
        {"quota": 7},
        {"price_per_call_minor": -1},
        {"price_per_call_minor": 1},
        {"price_per_call_minor": 1, "currency": "EURO"},
        {"notice_days": 10_000},
        {"free": True},
        {"operations": ["a\x00"]},
        {"\ud800": 1},
    ],
    ids=repr,
)
def test_bad_service_terms_are_refused(wrong: Any) -> None:
    with pytest.raises(Malformed):
        parse_terms("search", wrong)


def test_terms_too_deep_to_read_are_refused() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    with pytest.raises(Malformed):
        parse_terms("roaming", ROAMING_TERMS | {"tariff": deep})


@given(
    some.lists(some.sampled_from(["*", "search", "GET /evses/*"]), min_size=1, max_size=3),
    some.none() | some.integers(1, 10**9),
    some.none() | some.integers(1, 10**9),
    some.integers(0, 10**6),
    some.booleans(),
    some.integers(0, 3_650),
)
def test_service_terms_come_back_as_they_were_written(
    operations: list[str],
    per_day: int | None,
    per_month: int | None,
    price_minor: int,
    prepaid: bool,
    notice_days: int,
) -> None:
    raw = {
        "operations": operations,
        "quota": {"calls_per_day": per_day, "calls_per_month": per_month},
        "price_per_call_minor": 0 if prepaid else price_minor,
        "pack": {"calls": 500, "price_minor": price_minor} if prepaid else None,
        "currency": "EUR",
        "notice_days": notice_days,
    }
    terms = ServiceTerms.parse(raw)
    assert ServiceTerms.parse(terms.to_json()) == terms
    assert (terms.quota.calls_per_day, terms.quota.calls_per_month) == (per_day, per_month)
    assert terms.pack == (Pack(500, price_minor) if prepaid else None)


def test_terms_that_were_agreed_before_there_were_months_and_packs_are_still_the_same_texts() -> (
    None
):
    before = {
        "operations": ["*"],
        "quota": {"calls_per_day": 7, "calls_per_second": None},
        "price_per_call_minor": 0,
        "currency": None,
        "notice_days": 0,
    }
    assert ServiceTerms.parse(before).to_json() == before


def test_an_audience_is_everybody_or_roles_or_parties() -> None:
    assert Audience.public().includes(EVSP, [])
    assert Audience.of_roles(["evsp", "dso"]).includes(EVSP, ["evsp"])
    assert not Audience.of_roles(["dso"]).includes(EVSP, ["evsp"])
    named = Audience.of_parties(["de-evl"])
    assert named.includes(EVSP, [])
    assert not named.includes(OPERATOR, ["evsp"])
    for wrong in (Audience.of_roles, Audience.of_parties):
        with pytest.raises(BadOffering):
            wrong([])
    with pytest.raises(BadOffering, match="boss"):
        Audience.of_roles(["boss"])


def test_a_service_is_offered_by_its_provider_and_roaming_by_any_operator() -> None:
    may_offer("search", OPERATOR, OPERATOR, [])
    may_offer("roaming", HUB, OPERATOR, ["evse-operator"])
    for service, roles in (("roaming", ["evsp"]), ("search", ["evse-operator"])):
        with pytest.raises(NotYourServiceToOffer):
            may_offer(service, HUB, OPERATOR, roles)


def test_a_coverage_of_nothing_in_particular_is_all() -> None:
    assert EvseId("FR*PD1*E1") in Coverage(None)
    some_of = Coverage(["FRPD1E1", "FRPD1E2*"])
    assert EvseId("FR*PD1*E1") in some_of
    assert EvseId("FR*PD1*E2*9") in some_of
    assert EvseId("FR*PD1*E1*9") not in some_of
