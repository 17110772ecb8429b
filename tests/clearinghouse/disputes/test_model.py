"""Whose turn it is, what silence means, and that every dispute ends one way or the other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from clearinghouse.disputes.model import (
    ANSWER_WITHIN,
    DECLINE_WITHIN,
    OUTCOMES,
    TRANSITIONS,
    WHOSE,
    Action,
    BadDispute,
    Dispute,
    DisputeCannot,
    NotYourTurn,
    Outcome,
    Reason,
    Side,
    State,
    TooLate,
    acted,
    credit_id,
    first_step,
    must_be_in_time,
)
from roaming.money import Money
from roaming.party import PartyId

OPERATOR, EVSP, HUB = PartyId("FR*PD1"), PartyId("DE*BET"), PartyId("EU*GRD")
NOW = datetime(2025, 2, 1, tzinfo=UTC)


def opened() -> Dispute:
    return Dispute(
        dispute_id="0194be00-0000-7000-8000-000000000001",
        operator=OPERATOR,
        cdr_id="A-1",
        evsp=EVSP,
        state=State.OPENED,
        reason=Reason.WRONG_ENERGY,
        excl_vat=Money(500, "EUR"),
        vat=Money(100, "EUR"),
        clearing_group="multilateral",
        opened_at=NOW,
        due_at=NOW + ANSWER_WITHIN,
        value_at=NOW,
        history=(first_step(EVSP, Reason.WRONG_ENERGY, NOW, None),),
    )


@given(some.lists(some.tuples(some.sampled_from(Action), some.sampled_from(Side)), max_size=8))
def test_a_dispute_goes_by_its_table_and_who_may_not_act_changes_nothing(
    asked: list[tuple[Action, Side]],
) -> None:
    dispute, now = opened(), NOW
    for action, side in asked:
        now = max(now, dispute.due_at or now)
        before = dispute
        if action not in TRANSITIONS[dispute.state]:
            with pytest.raises(DisputeCannot):
                acted(dispute, action, (side,), side, now, "because")
        elif WHOSE[action] is not side:
            with pytest.raises(NotYourTurn):
                acted(dispute, action, (side,), side, now, "because")
        else:
            dispute = acted(dispute, action, (side,), side, now, "because")
            assert dispute.state is TRANSITIONS[before.state][action]
            assert dispute.history[:-1] == before.history
            assert (dispute.outcome is None) == bool(TRANSITIONS[dispute.state])
            assert (dispute.due_at is None) == (Action.LAPSE not in TRANSITIONS[dispute.state])
            continue
        assert dispute is before


def test_every_state_either_goes_on_or_has_an_outcome() -> None:
    assert TRANSITIONS.keys() == set(State)
    assert {state for state, row in TRANSITIONS.items() if not row} == OUTCOMES.keys()
    assert WHOSE.keys() == set(Action)


def test_the_picture_in_the_docs_is_the_table() -> None:
    page = (Path(__file__).parents[3] / "docs" / "flows" / "dispute.md").read_text()
    drawn = {line.strip() for line in page.splitlines() if " --> " in line and "[*]" not in line}
    table = {
        f"{state} --> {target}: {action} ({WHOSE[action]})".replace("lapsed-to-", "lapsed_to_")
        for state, row in TRANSITIONS.items()
        for action, target in row.items()
    }
    assert drawn == table


def test_silence_agrees_with_the_other_side() -> None:
    dispute = opened()
    assert dispute.due_at is not None
    silent = acted(dispute, Action.LAPSE, (Side.CLOCK,), "deadline", dispute.due_at, None)
    assert (silent.state, silent.outcome) == (State.LAPSED_TO_EVSP, Outcome.CREDITED)
    contested = acted(dispute, Action.CONTEST, (Side.OPERATOR,), OPERATOR, NOW, "signed values")
    assert contested.due_at is not None
    silent = acted(contested, Action.LAPSE, (Side.CLOCK,), "deadline", contested.due_at, None)
    assert (silent.state, silent.outcome) == (State.LAPSED_TO_OPERATOR, Outcome.RELEASED)


def test_nothing_lapses_before_it_is_due() -> None:
    dispute = opened()
    assert dispute.due_at is not None
    early = dispute.due_at - timedelta(microseconds=1)
    with pytest.raises(AssertionError):
        acted(dispute, Action.LAPSE, (Side.CLOCK,), "deadline", early, None)


def test_once_the_hub_is_asked_nobody_loses_by_waiting() -> None:
    contested = acted(opened(), Action.CONTEST, (Side.OPERATOR,), OPERATOR, NOW, "no")
    asked = acted(contested, Action.ESCALATE, (Side.EVSP,), EVSP, NOW, "yes")
    assert (asked.due_at, asked.turn) == (None, (Side.HUB, Side.OPERATOR, Side.EVSP))


@pytest.mark.parametrize("says", [None, "", "   ", "x" * 2_001, "a\0b"])
def test_to_contest_takes_words(says: str | None) -> None:
    with pytest.raises(BadDispute) as refused:
        acted(opened(), Action.CONTEST, (Side.OPERATOR,), OPERATOR, NOW, says)
    assert refused.value.field == "says"


def test_another_reason_takes_words() -> None:
    assert first_step(EVSP, Reason.WRONG_PRICE, NOW, None).says is None
    with pytest.raises(BadDispute):
        first_step(EVSP, Reason.OTHER, NOW, "")


def test_a_record_is_declined_in_time_or_not_at_all() -> None:
    must_be_in_time(NOW, NOW + DECLINE_WITHIN, "A-1")
    with pytest.raises(TooLate, match="A-1"):
        must_be_in_time(NOW, NOW + DECLINE_WITHIN + timedelta(seconds=1), "A-1")


@given(some.text(min_size=1, max_size=64))
def test_the_credit_of_a_dispute_has_an_id_that_a_record_may_have(cdr_id: str) -> None:
    assert len(credit_id(cdr_id, b"told")) <= 64


def test_the_credit_of_a_dispute_is_named_by_the_record_and_nothing_else() -> None:
    """Books are made again from the same input to the letter: no chance is in their names."""
    longest = "X" * 63
    assert credit_id("A-1", b"told") == credit_id("A-1", b"told") == "A-1-D1fcc08c77339"
    assert credit_id(longest + "1", b"told") != credit_id(longest + "2", b"told otherwise")


def test_each_party_knows_which_side_it_is_on() -> None:
    assert opened().side_of(EVSP, HUB) == (Side.EVSP,)
    assert opened().side_of(OPERATOR, HUB) == (Side.OPERATOR,)
    assert opened().side_of(HUB, HUB) == (Side.HUB,)
    assert opened().side_of(PartyId("NL*ALF"), HUB) == ()
