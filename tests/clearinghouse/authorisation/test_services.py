"""What a customer may have at an EVSE is what authorising it would say."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given

from clearinghouse.authorisation import services
from clearinghouse.authorisation.model import (
    NOT_ASKED,
    Facts,
    Question,
    Reason,
)
from clearinghouse.authorisation.rules import judge, must_ask
from tests.clearinghouse.authorisation.questions import (
    ABC,
    CONTRACT,
    FACTS,
    NO,
    SILENT,
    TERMS,
    XYZ,
    YES,
    facts_in_general,
    question,
    questions,
)


@given(questions, facts_in_general)
def test_a_look_at_the_services_says_what_authorising_each_would(
    asked: Question, facts: Facts
) -> None:
    facts = replace(facts, answer=NOT_ASKED)
    seen = services.consumable(asked, facts)
    if seen.reason is not None:
        assert seen.services == ()
        assert judge(asked, facts) is seen.reason
    for here in seen.services:
        one = replace(asked, services=(here.service,))
        answers = (YES, NO, SILENT) if must_ask(one, facts) else (NOT_ASKED,)
        outcomes = {judge(one, replace(facts, answer=answer)) for answer in answers}
        if here.allowed is None:
            assert len(outcomes) > 1
            assert None in outcomes
        else:
            assert outcomes == {here.reason}
            assert here.allowed is (here.reason is None)


def test_nothing_is_told_of_a_customer_whose_evsp_has_no_agreement_here() -> None:
    seen = services.consumable(question(), replace(FACTS, agreement=None))
    assert (seen.reason, seen.evsp) == (Reason.NO_ROAMING_AGREEMENT, XYZ)
    assert (seen.contract_id, seen.services) == (None, ())
    elsewhere = services.consumable(question(), replace(FACTS, evse_operator=ABC))
    assert (elsewhere.reason, elsewhere.evsp) == (Reason.EVSE_UNKNOWN, None)


def test_each_service_comes_with_the_prices_that_it_can_come_to() -> None:
    def element(kind: str, **restrictions: object) -> dict[str, object]:
        component = {"type": kind, "price": "1", "step_size": 1}
        return {"price_components": [component], "restrictions": restrictions}

    tariff = {
        "elements": [
            element("ENERGY"),
            element("FLAT"),
            element("PARKING_TIME"),
            element("TIME", reservation="RESERVATION"),
        ]
    }
    everything = ("charging", "parking", "reservation", "car-wash")
    facts = replace(
        FACTS,
        contract=replace(CONTRACT, services=everything),
        agreement=replace(TERMS, tariff=tariff),
    )
    seen = services.consumable(question(), facts)
    priced = {one.service: [c["type"] for c in one.price_components] for one in seen.services}
    assert priced == {
        "charging": ["ENERGY", "FLAT"],
        "parking": ["PARKING_TIME"],
        "reservation": ["TIME"],
        "car-wash": [],
    }
