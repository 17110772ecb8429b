"""A decision on record: its price, and the same charge asked about again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clearinghouse.authorisation import decision, model
from clearinghouse.authorisation.model import (
    IdentificationType,
    identify,
)
from roaming.evse_id import EvseId
from tests.clearinghouse.authorisation.questions import FACTS, HOUR, NOON, TERMS, question


def test_the_price_names_each_component_and_whether_it_holds_always() -> None:
    assert decision.price_of(TERMS) == {
        "agreement_id": "agreement-1",
        "currency": "EUR",
        "vat_percent": "20",
        "components": [
            {"type": "ENERGY", "price": "0.35", "step_size": 1, "restricted": False},
            {"type": "TIME", "price": "2.40", "step_size": 60, "restricted": True},
        ],
    }


def test_a_charge_asked_about_differently_is_refused() -> None:
    asked = question(charge_id="c1")
    decided = decision.decide(asked, FACTS, authorisation_id="id", now=NOON)
    assert decision.repeated(decided, replace(asked, at=NOON + HOUR)) is decided
    for other in (
        replace(asked, evse_id=EvseId("FR*PD1*E124")),
        replace(asked, identification=identify(IdentificationType.RFID, "B2")),
        replace(asked, services=("parking",)),
        replace(asked, at_given=True),
    ):
        with pytest.raises(model.ChargeAskedDifferently):
            decision.repeated(decided, other)
