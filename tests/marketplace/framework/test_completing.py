"""An offer's clauses: asked for, required, or missing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.framework.completing import draft
from marketplace.framework.library import built_in
from marketplace.framework.model import BadClause, Kind, Library, Need, OfferingIncomplete
from tests.marketplace.framework.modules import module

BUILT_IN = Library([one.numbered(1) for one in built_in()])
SAID: dict[str, Any] = {
    "provider": "NL*FCS",
    "service": "load-forecast",
    "major": 1,
    "price_per_call_minor": 1,
    "currency": "EUR",
    "quota": {"calls_per_day": 100, "calls_per_second": None},
    "notice_days": 30,
}
CONDITIONS = {
    "notice_minutes": 15,
    "least_power_w": 4_000,
    "longest_minutes": 60,
    "most_per_day": 2,
}


def test_what_is_required_and_not_mentioned_stands_in_its_standard_form() -> None:
    found = draft(BUILT_IN, Kind.CALL, {}, SAID)
    required = {one.name for one in built_in() if one.kinds.get(Kind.CALL) is Need.REQUIRED}
    assert {one.name for one in found.clauses.chosen} == required == found.standard
    texts = {one.name: one.text for one in found.complete().chosen}
    assert "EUR 0.01 for each call" in texts["price"]
    assert "100 in a calendar day" in texts["quota"]
    assert "30 days after the notice" in texts["term-and-notice"]


def test_clauses_are_read_in_the_order_of_their_places() -> None:
    chosen = draft(BUILT_IN, Kind.CALL, {"force-majeure": None}, SAID).clauses.chosen
    places = {one.name: one.place for one in built_in()}
    assert [places[one.name] for one in chosen] == sorted(places[one.name] for one in chosen)
    assert chosen[0].name == "parties"
    assert "force-majeure" in {one.name for one in chosen}


def test_everything_that_is_missing_is_named_at_once() -> None:
    bare: dict[str, Any] = {"standard": None, "kinds": {"load-management": "required"}}
    library = Library([*BUILT_IN.modules, module(**bare)])
    found = draft(library, Kind.LOAD_MANAGEMENT, {}, SAID)
    assert found.missing == ("load-management-conditions", "parking")
    with pytest.raises(OfferingIncomplete) as refused:
        found.complete()
    assert refused.value.value == "load-management-conditions, parking"
    told = {"load-management-conditions": CONDITIONS, "parking": {"hours": 1}}
    assert draft(library, Kind.LOAD_MANAGEMENT, told, SAID).complete()


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"no-such": {}}, "clauses.no-such"),
        ({"roaming-conditions": None}, "clauses.roaming-conditions"),
        ({"liability": 3}, "clauses.liability"),
        ({"liability": []}, "clauses.liability"),
        ({"liability": {"cap_months": 0}}, "clauses.liability.cap_months"),
        ({"liability": {"cap_amount_minor": 1}}, "clauses.liability"),
        ({"liability": {"version": 2}}, "clauses.liability.version"),
        ({"liability": {"version": "1"}}, "clauses.liability.version"),
        ({"liability": {"version": True}}, "clauses.liability.version"),
        ({"liability": {"version": 1, "months": 3}}, "clauses.liability.months"),
        ({"liability": {"parameters": []}}, "clauses.liability.parameters"),
        (
            {"liability": {"version": 1, "parameters": {"cap_months": 0}}},
            "clauses.liability.parameters.cap_months",
        ),
        ({"quota": {"quota": {}}}, "clauses.quota"),
        ({"quota": {"parameters": {}}}, "clauses.quota.parameters"),
    ],
)
def test_a_clause_that_its_module_does_not_allow_is_refused_with_its_path(
    asked: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadClause) as refused:
        draft(BUILT_IN, Kind.CALL, asked, SAID)
    assert refused.value.field == field
    assert refused.value.rule


def test_what_has_no_standard_form_is_not_taken_in_it() -> None:
    with pytest.raises(BadClause, match="no standard form"):
        draft(BUILT_IN, Kind.LOAD_MANAGEMENT, {"load-management-conditions": None}, SAID)


def test_terms_that_a_module_cannot_say_are_refused_as_terms() -> None:
    later = next(one for one in built_in() if one.name == "term-and-notice")
    schema = dict(later.schema) | {"required": ["renews_months"]}
    stricter = module(
        2, **later.to_json() | {"schema": schema, "name": "term-and-notice", "standard": None}
    )
    with pytest.raises(BadClause) as refused:
        draft(Library([*BUILT_IN.modules, stricter]), Kind.CALL, {}, SAID)
    assert refused.value.field == "terms.renews_months"


def test_a_version_may_be_asked_for_and_the_current_one_is_taken_otherwise() -> None:
    library = Library([*BUILT_IN.modules, module(1), module(2, template="New: {{ hours }}.")])
    texts = []
    for asked in (
        {},
        {"parking": {"hours": 9}},
        {"parking": {"version": 1, "parameters": {"hours": 9}}},
        {"parking": {"version": 1}},
    ):
        chosen = draft(library, Kind.CALL, asked, SAID).clauses.chosen
        [one] = [one for one in chosen if one.name == "parking"]
        texts.append((one.version, one.text))
    old = "Stand for {} hours."
    assert texts == [(2, "New: 2."), (2, "New: 9."), (1, old.format(9)), (1, old.format(2))]


def test_a_version_for_another_kind_is_not_taken() -> None:
    elsewhere = module(1, kinds={"topic": "optional"})
    library = Library([*BUILT_IN.modules, elsewhere, module(2)])
    with pytest.raises(BadClause, match="not for contracts of kind call"):
        draft(library, Kind.CALL, {"parking": {"version": 1}}, SAID)


@given(st.lists(st.sampled_from(["liability", "force-majeure", "data-use"]), unique=True))
def test_a_later_version_of_any_module_changes_no_clause_that_was_made(names: list[str]) -> None:
    asked = dict.fromkeys(names)
    made = draft(BUILT_IN, Kind.CALL, asked, SAID).clauses
    before = made.body
    later = [module(2, **told(one.name)) for one in BUILT_IN.current()]
    again = draft(Library([*BUILT_IN.modules, *later]), Kind.CALL, asked, SAID).clauses
    assert (made.body, made.digest != again.digest) == (before, True)
    assert {one.version for one in again.chosen} == {2}


def told(name: str) -> dict[str, Any]:
    [one] = [one for one in BUILT_IN.current() if one.name == name]
    return one.to_json() | {"template": f"{one.template}\n\nAnd more."}
