"""The modules that come with the hub."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from marketplace.framework import flows, parameters, wording
from marketplace.framework.library import built_in
from marketplace.framework.model import BadClause, Kind, Module, Need
from tests.marketplace.framework.drawn import values
from tests.marketplace.offerings.plans import plans

MODULES = {one.name: one for one in built_in()}
NAMED = ("parties", "term-and-notice", "liability", "data-protection")


@pytest.mark.parametrize("name", sorted(MODULES))
def test_each_keeps_to_the_rules_that_others_are_held_to(name: str) -> None:
    assert flows.checked(MODULES[name]).name == name


def test_every_kind_has_what_a_contract_needs() -> None:
    for kind in Kind:
        required = {one.name for one in MODULES.values() if one.kinds.get(kind) is Need.REQUIRED}
        assert required >= {*NAMED, "confidentiality", "governing-law", "final-provisions"}
    assert MODULES["roaming-conditions"].kinds == {Kind.ROAMING: Need.REQUIRED}


def test_only_what_has_no_usual_form_has_no_standard_one() -> None:
    without = {one.name for one in MODULES.values() if one.standard is None and not one.from_terms}
    assert without == {"load-management-conditions"}


def test_no_two_stand_in_one_place() -> None:
    assert len({one.place for one in MODULES.values()}) == len(MODULES)


@given(st.data())
@pytest.mark.parametrize("name", sorted(MODULES))
def test_whatever_parameters_a_module_takes_it_can_say(name: str, data: Any) -> None:
    module = MODULES[name]
    told = data.draw(values(module.schema))
    if "plan" in told:
        told |= {"plan": data.draw(plans()).to_json(), "currency": "EUR"}
    if module.from_terms and "currency" in told:
        told |= {"currency": "EUR"}
    assume(accepted(module, told))
    assert wording.text_of(module, told)


def accepted(module: Module, told: dict[str, Any]) -> bool:
    try:
        parameters.check(module, told, module.name)
    except BadClause:
        return False
    # The terms have a rule of their own: what has a price has a currency.
    priced = told.get("price_per_call_minor") or told.get("pack")
    return not (priced and "currency" not in told)
