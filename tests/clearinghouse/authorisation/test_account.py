"""A decision explained: to each party its own steps and figures."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from clearinghouse.authorisation import account, decision, model
from clearinghouse.authorisation.model import (
    Decision,
    Facts,
    Question,
    Reason,
)
from clearinghouse.authorisation.rules import RULES
from tests.clearinghouse.authorisation.questions import (
    ABC,
    ASKING,
    FACTS,
    NOON,
    PD1,
    SILENT,
    XYZ,
    facts_in_general,
    question,
    questions,
)


@given(questions, facts_in_general)
def test_a_decision_tells_prices_and_contracts_only_to_those_who_may_know(
    asked: Question, facts: Facts
) -> None:
    decided = decision.decide(asked, facts, authorisation_id="id", now=NOON)
    assert (decided.price is None) == (decided.decision is Decision.REFUSED)
    if facts.agreement is None:
        assert decided.contract_shown is None


@given(questions, facts_in_general)
def test_the_steps_pass_up_to_the_reason_and_end_there(asked: Question, facts: Facts) -> None:
    decided = decision.decide(asked, facts, authorisation_id="id", now=NOON)
    outcomes = [step.outcome for step in account.explain(decided, PD1)]
    if decided.reason is None:
        assert outcomes == ["passed"] * len(RULES)
    else:
        place = list(Reason).index(decided.reason)
        rest = len(RULES) - place - 1
        assert outcomes == ["passed"] * place + ["failed"] + ["not-reached"] * rest


def test_the_details_of_a_step_are_for_the_evsp_alone() -> None:
    facts = replace(FACTS, contract=ASKING, answer=SILENT)
    decided = decision.decide(question(), facts, authorisation_id="id", now=NOON)
    operators = account.explain(decided, PD1)
    evsps = account.explain(decided, XYZ)
    assert {step.detail for step in operators} == {None}
    assert evsps[-1].detail == "no answer in time; on silence: refuse"
    with pytest.raises(model.UnknownAuthorisation):
        account.explain(decided, ABC)
