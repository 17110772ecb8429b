"""Which charge points have a tariff of their own: the first group counts, and none is idle."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridroam.answers import AgreementInForce
from marketplace.contracts.entries import RoamingAgreement
from marketplace.offerings.coverage import Coverage, Idle, TariffGroup, idle
from marketplace.offerings.model import BadTerms, RoamingTerms, Strategy
from roaming.evse_id import EvseId
from roaming.party import PartyId
from roaming.tariff import Tariff
from tests.marketplace.fakes import NOW, ROAMING_TERMS


def priced(price: float) -> dict[str, Any]:
    return {
        "elements": [{"price_components": [{"type": "ENERGY", "price": price, "step_size": 1}]}]
    }


TARIFF = Tariff.parse(priced(0.5), currency="EUR")
FAST = {"name": "fast", "evses": ["FR*PD1*E1*"], "tariff": priced(0.69)}
SLOW = {"name": "slow", "evses": ["FR*PD1*E2*", "FR*PD1*E3"], "tariff": priced(0.39)}
# Short enough that drawn entries meet, lie in each other, or are the same.
ENTRIES = st.text("12", max_size=3).map(lambda end: f"FRPD1E{end}*") | st.text(
    "12", min_size=1, max_size=3
).map(lambda end: f"FRPD1E{end}")
GROUPS = st.lists(
    st.lists(ENTRIES, min_size=1, max_size=3, unique=True).map(tuple), min_size=1, max_size=4
).map(
    lambda drawn: tuple(
        TariffGroup(f"g{n}", evses, TARIFF, Decimal(n)) for n, evses in enumerate(drawn)
    )
)
POINTS = st.text("12", min_size=1, max_size=5).map(lambda end: EvseId(f"FRPD1E{end}"))


def parsed(*groups: object, **more: object) -> RoamingTerms:
    return RoamingTerms.parse({**ROAMING_TERMS, "tariff_groups": list(groups), **more})


def in_force(groups: tuple[TariffGroup, ...]) -> AgreementInForce:
    agreement = RoamingAgreement(
        contract_id="C-1",
        operator=PartyId("FR*PD1"),
        evsp=PartyId("DE*EVL"),
        currency="EUR",
        tariff=TARIFF,
        vat_percent=Decimal(20),
        time_zone="Europe/Paris",
        payment_terms_days=30,
        clearing_strategy=Strategy.GROSS,
        valid_from=NOW,
        valid_until=None,
        coverage=Coverage(None),
        group_name=None,
        tariff_groups=groups,
    )
    return AgreementInForce(agreement, {}, [(group, {"of": group.name}) for group in groups])


def covered(entry: str, point: str) -> bool:
    """By hand: is the point this very one, or does it begin so?"""
    return point == entry if entry[-1] != "*" else point[: len(entry) - 1] == entry[:-1]


@given(GROUPS, POINTS)
def test_the_first_group_that_covers_a_charge_point_counts(
    groups: tuple[TariffGroup, ...], point: EvseId
) -> None:
    here = in_force(groups).at(point)
    first = next((g for g in groups if any(covered(one, point) for one in g.evses)), None)
    if first is None:
        assert (here.tariff_group, here.vat_percent, here.tariff) == (None, Decimal(20), {})
    else:
        expected = (first.name, first.vat_percent, {"of": first.name})
        assert (here.tariff_group, here.vat_percent, here.tariff) == expected
    assert (here.contract_id, here.currency, here.clearing_group) == ("C-1", "EUR", "gross")


@given(GROUPS, st.none() | st.lists(ENTRIES, min_size=1, max_size=3), POINTS)
def test_an_entry_is_idle_only_if_no_charge_point_ever_gets_its_tariff_by_it(
    groups: tuple[TariffGroup, ...], evses: list[str] | None, point: EvseId
) -> None:
    for found in idle(groups, evses):
        entry = groups[found.group].evses[found.entry]
        earlier = [one for group in groups[: found.group] for one in group.evses]
        agreed = evses is None or any(covered(one, point) for one in evses)
        counts = covered(entry, point) and agreed and not any(covered(e, point) for e in earlier)
        assert not counts


@given(st.none() | st.lists(ENTRIES, min_size=1, max_size=3), ENTRIES)
def test_an_entry_of_the_first_group_that_is_not_idle_meets_the_agreement(
    evses: list[str] | None, entry: str
) -> None:
    group = TariffGroup("g", (entry,), TARIFF, None)
    if evses is None or list(idle([group], evses)) == []:
        # A charge point that begins like both: the longer of the two, or anything behind it.
        begins = entry.rstrip("*")
        others = [begins] if evses is None else [one.rstrip("*") for one in evses]
        candidates = [one + "1" if one.endswith("E") else one for one in (begins, *others)]
        assert any(
            covered(entry, one) and (evses is None or any(covered(e, one) for e in evses))
            for one in candidates
        )


def test_the_special_stands_before_the_general_or_is_refused() -> None:
    one = {**FAST, "name": "one", "evses": ["FR*PD1*E1*7"]}
    assert [group.name for group in parsed(one, FAST).tariff_groups] == ["one", "fast"]
    with pytest.raises(BadTerms) as refused:
        parsed(FAST, one)
    assert refused.value.field == "terms.tariff_groups.1.evses"
    assert refused.value.value == "FRPD1E17"
    assert "'fast'" in (refused.value.rule or "")


def test_what_the_agreement_is_not_about_has_no_tariff() -> None:
    with pytest.raises(BadTerms, match=r"charge points that terms\.evses has"):
        parsed(FAST, SLOW, evses=["FR*PD1*E1*"])
    assert len(parsed(FAST, SLOW, evses=["FR*PD1*E*"]).tariff_groups) == 2
    wider = {**FAST, "evses": ["FR*PD1*E*"]}
    assert list(idle(parsed(wider).tariff_groups, ["FRPD1E17"])) == []
    assert list(idle(parsed(wider).tariff_groups, ["FRPD2E17"])) == [Idle(0, 0, None)]


def test_groups_are_written_back_in_one_form_and_terms_without_them_are_as_ever() -> None:
    terms = parsed(FAST, {**SLOW, "vat_percent": "5.50"})
    assert terms.to_json()["tariff_groups"] == [
        {
            "name": "fast",
            "evses": ["FRPD1E1*"],
            "tariff": {"currency": "EUR", **FAST_TOLD},
            "vat_percent": "20",
        },
        {
            "name": "slow",
            "evses": ["FRPD1E2*", "FRPD1E3"],
            "tariff": {"currency": "EUR", **SLOW_TOLD},
            "vat_percent": "5.5",
        },
    ]
    assert RoamingTerms.parse(terms.to_json()) == terms
    assert "tariff_groups" not in RoamingTerms.parse(ROAMING_TERMS).to_json()
    said_by_the_tariff = parsed({**FAST, "vat_percent": None})
    assert said_by_the_tariff.tariff_groups[0].vat_percent is None


FAST_TOLD, SLOW_TOLD = priced(0.69), priced(0.39)


@pytest.mark.parametrize(
    ("groups", "field"),
    [
        ([], "terms.tariff_groups"),
        ({}, "terms.tariff_groups"),
        (["x"], "terms.tariff_groups.0"),
        ([{**FAST, "name": ""}], "terms.tariff_groups.0.name"),
        ([{**FAST, "name": "a\tb"}], "terms.tariff_groups.0.name"),
        ([FAST, {**SLOW, "name": "fast"}], "terms.tariff_groups.1.name"),
        ([{**FAST, "evses": None}], "terms.tariff_groups.0.evses"),
        ([{**FAST, "evses": []}], "terms.tariff_groups.0.evses"),
        ([{**FAST, "evses": ["FR*PD1*P1*"]}], "terms.tariff_groups.0.evses.0"),
        ([{**FAST, "tariff": {"elements": []}}], "terms.tariff_groups.0.tariff.elements"),
        ([{**FAST, "tariff": {**FAST_TOLD, "currency": "CHF"}}],
         "terms.tariff_groups.0.tariff.currency"),
        ([{**FAST, "vat_percent": 101}], "terms.tariff_groups.0.vat_percent"),
        ([{**FAST, "price": 1}], "terms.tariff_groups.0.price"),
        ([{**FAST, "name": f"g{n}", "evses": [f"FR*PD1*E{n}"]} for n in range(101)],
         "terms.tariff_groups"),
        ([{**FAST, "name": f"g{g}", "evses": [f"FR*PD1*E{g}*{n:05}" for n in range(6_000)]}
          for g in range(2)], "terms.tariff_groups.1.evses"),
    ],
    ids=["none", "object", "text", "nameless", "tab", "twice", "no list", "empty list", "a pool",
         "no element", "other currency", "much vat", "unknown", "too many", "too many entries"],
)  # fmt: skip
def test_a_group_that_breaks_a_rule_is_named_by_its_path(groups: Any, field: str) -> None:
    with pytest.raises(BadTerms) as refused:
        RoamingTerms.parse({**ROAMING_TERMS, "tariff_groups": groups})
    assert refused.value.field == field
