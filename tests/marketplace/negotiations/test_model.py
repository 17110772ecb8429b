"""The table of a negotiation, tried whole; and what is said to whoever is too late."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from marketplace.negotiations import model
from marketplace.negotiations.model import (
    BEGINNINGS,
    MOST_PROPOSALS,
    SIGNED_WITHIN,
    TRANSITIONS,
    Action,
    BadProposal,
    Draft,
    Negotiation,
    NegotiationCannot,
    OwnNegotiation,
    ProposalLapsed,
    ProposalSuperseded,
    ProposalWithdrawn,
    Side,
    Signed,
    State,
    TooManyProposals,
)
from marketplace.offerings.model import ServiceTerms
from roaming.party import PartyId

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
REQUESTER, PROVIDER, HUB = PartyId("FR*PD1"), PartyId("NL*FCS"), PartyId("EU*GRD")
PARTIES = {Side.REQUESTER: REQUESTER, Side.PROVIDER: PROVIDER, Side.HUB: HUB}


def draft(price: int = 10, answers: int = 0, **more: Any) -> Draft:
    terms = ServiceTerms(price_per_call_minor=price, currency="EUR")
    return Draft(terms, None, None, None, answers=answers, **more)


def begun(side: Side = Side.REQUESTER, **more: Any) -> Negotiation:
    return model.begun(
        "n-1",
        PARTIES[side],
        draft(**more),
        NOW,
        requester=REQUESTER,
        provider=PROVIDER,
        service="forecast",
        major=1,
    )


def signature(side: Side) -> Signed:
    return Signed(side, PARTIES[side], "a..b", {"kty": "EC"}, NOW)


def take(one: Negotiation, action: Action, side: Side, now: datetime = NOW) -> Negotiation:
    """The action as its side would take it, having read the latest."""
    by, number = PARTIES[side], one.latest.number
    if action is Action.PROPOSE:
        return model.proposed(one, by, draft(number + 100, number), now)
    if action is Action.ACCEPT:
        return model.accepted(one, by, number, b"digest", now)
    if action is Action.SIGN:
        return model.signed(one, signature(side), now)
    if action is Action.FINALISE:
        return model.finalised(one, "c-1", signature(Side.HUB), now)
    if action is Action.LAPSE:
        return model.lapsed(one, HUB, max(now, one.until))
    return model.ended(one, action, by, "because", now)


def in_state(state: State) -> Negotiation:
    """A negotiation that has come to a state the shortest way, its signatures by the requester
    first."""
    one = begun()
    if state is State.OFFERED:
        return take(one, Action.PROPOSE, Side.PROVIDER)
    if state is State.TERMINATED:
        return take(one, Action.LAPSE, Side.HUB)
    for until, action, side in (
        (State.REQUESTED, Action.ACCEPT, Side.PROVIDER),
        (State.ACCEPTED, Action.SIGN, Side.REQUESTER),
        (State.AGREED, Action.SIGN, Side.PROVIDER),
        (State.VERIFIED, Action.FINALISE, Side.HUB),
    ):
        if state is until:
            return one
        one = take(one, action, side)
    assert state is State.FINALISED
    return one


def allowed(action: Action, side: Side) -> bool:
    """Whether it is anything that this side could ever ask for."""
    hubs = action in (Action.FINALISE, Action.LAPSE)
    return hubs is (side is Side.HUB)


@pytest.mark.parametrize(
    ("state", "action", "side"),
    [one for one in product(State, Action, Side) if allowed(one[1], one[2])],
)
def test_every_action_of_every_side_in_every_state_does_what_the_table_says(
    state: State, action: Action, side: Side
) -> None:
    one = in_state(state)
    assert one.state is state
    expected = TRANSITIONS[state].get((action, side))
    repeats = {
        # The signature that is there already: nothing changes.
        (State.AGREED, Action.SIGN, Side.REQUESTER),
        (State.VERIFIED, Action.SIGN, Side.REQUESTER),
        (State.VERIFIED, Action.SIGN, Side.PROVIDER),
        (State.FINALISED, Action.SIGN, Side.REQUESTER),
        (State.FINALISED, Action.SIGN, Side.PROVIDER),
        (State.ACCEPTED, Action.ACCEPT, Side.PROVIDER),
        (State.AGREED, Action.ACCEPT, Side.PROVIDER),
        (State.VERIFIED, Action.ACCEPT, Side.PROVIDER),
        (State.FINALISED, Action.ACCEPT, Side.PROVIDER),
    }
    if (state, action, side) in repeats or (action is Action.LAPSE and expected is None):
        assert take(one, action, side) is one
        return
    if expected is None:
        with pytest.raises((NegotiationCannot, ProposalLapsed)):
            take(one, action, side)
        return
    after = take(one, action, side)
    assert after.state is expected
    assert (after.last.action, after.last.side, after.last.state) == (action, side, expected)
    assert after.moves[:-1] == one.moves
    assert after.version == one.version + 1


def test_every_state_but_the_last_two_has_a_way_out_and_is_reached() -> None:
    reached = {
        *BEGINNINGS.values(),
        *(to for steps in TRANSITIONS.values() for to in steps.values()),
    }
    assert reached == set(State)
    assert {state for state, steps in TRANSITIONS.items() if not steps} == {
        State.FINALISED,
        State.TERMINATED,
    }


def test_the_picture_in_the_docs_is_the_table() -> None:
    text = (Path(__file__).parents[3] / "docs/contracts.md").read_text()
    drawn = text.partition("stateDiagram-v2\n")[2].partition("```")[0]
    expected = [
        *(f"[*] --> {to}: {action} by {side}" for (action, side), to in BEGINNINGS.items()),
        *(
            f"{state} --> {to}: {action} by {side}"
            for state, steps in TRANSITIONS.items()
            for (action, side), to in steps.items()
        ),
        *(f"{state} --> [*]" for state, steps in TRANSITIONS.items() if not steps),
    ]
    assert [line.strip() for line in drawn.splitlines()] == expected


def test_an_offer_begins_as_offered_and_a_request_as_requested() -> None:
    assert begun(Side.PROVIDER).state is State.OFFERED
    assert begun(Side.REQUESTER).state is State.REQUESTED


def test_the_same_again_by_the_same_side_changes_nothing() -> None:
    one = begun()
    countered = model.proposed(one, PROVIDER, draft(20, 1), NOW)
    assert model.proposed(countered, PROVIDER, draft(20, 1), NOW) is countered
    accepted = model.accepted(countered, REQUESTER, 2, b"digest", NOW)
    assert model.accepted(accepted, REQUESTER, 2, b"other", NOW) is accepted
    signed = model.signed(accepted, signature(Side.PROVIDER), NOW)
    again = replace(signature(Side.PROVIDER), jws="c..d")
    assert model.signed(signed, again, NOW) is signed
    ended = model.ended(signed, Action.WITHDRAW, REQUESTER, "no", NOW)
    assert model.ended(ended, Action.WITHDRAW, REQUESTER, "no", NOW) is ended


def test_what_was_countered_meanwhile_is_refused_by_name() -> None:
    one = model.proposed(begun(), REQUESTER, draft(5, 1), NOW)
    with pytest.raises(ProposalSuperseded) as refused:
        model.accepted(one, PROVIDER, 1, b"digest", NOW)
    assert refused.value.value == 1
    with pytest.raises(ProposalSuperseded):
        model.proposed(one, PROVIDER, draft(7, 1), NOW)
    with pytest.raises(ProposalSuperseded):
        model.ended(one, Action.REFUSE, PROVIDER, None, NOW, number=1)
    assert model.accepted(one, PROVIDER, 2, b"digest", NOW).state is State.ACCEPTED


def test_ones_own_counter_offer_is_not_accepted_for_the_other_side() -> None:
    one = model.proposed(begun(), PROVIDER, draft(20, 1), NOW)
    with pytest.raises(NegotiationCannot):
        model.accepted(one, PROVIDER, 2, b"digest", NOW)
    # Who has yet to see the counter-offer is told of that, rather than of whose turn it is.
    with pytest.raises(ProposalSuperseded):
        model.accepted(one, PROVIDER, 1, b"digest", NOW)


def test_what_was_just_withdrawn_is_refused_by_name() -> None:
    one = model.ended(begun(), Action.WITHDRAW, REQUESTER, "changed our mind", NOW)
    with pytest.raises(ProposalWithdrawn):
        model.accepted(one, PROVIDER, 1, b"digest", NOW)
    refused = model.ended(begun(), Action.REFUSE, PROVIDER, None, NOW)
    with pytest.raises(ProposalWithdrawn):
        model.proposed(refused, REQUESTER, draft(1, 1), NOW)


def test_a_proposal_stands_until_just_before_its_time_whoever_looks_first() -> None:
    until = NOW + timedelta(hours=1)
    one = begun(stands_until=until)
    assert model.lapsed(one, HUB, until - timedelta(microseconds=1)) is one
    late = timedelta(microseconds=1)
    assert model.accepted(one, PROVIDER, 1, b"d", until - late).state is State.ACCEPTED
    with pytest.raises(ProposalLapsed):
        model.accepted(one, PROVIDER, 1, b"d", until)
    with pytest.raises(ProposalLapsed):
        model.proposed(one, PROVIDER, draft(3, 1), until)
    lapsed = model.lapsed(one, HUB, until)
    assert lapsed.state is State.TERMINATED
    with pytest.raises(ProposalLapsed):
        model.accepted(lapsed, PROVIDER, 1, b"d", until)


def test_what_was_accepted_is_signed_within_its_time_and_before_its_end() -> None:
    one = take(begun(), Action.ACCEPT, Side.PROVIDER)
    assert one.until == NOW + SIGNED_WITHIN
    with pytest.raises(ProposalLapsed):
        model.signed(one, signature(Side.REQUESTER), one.until)
    soon = NOW + timedelta(days=2)
    terms = ServiceTerms()
    short = model.proposed(begun(), PROVIDER, Draft(terms, None, None, soon, answers=1), NOW)
    assert short.until == soon
    assert take(short, Action.ACCEPT, Side.REQUESTER).until == soon


def test_a_proposal_that_breaks_a_rule_is_refused() -> None:
    for wrong in (
        {"stands_until": NOW},
        {"stands_until": NOW + timedelta(days=367)},
        {"says": ""},
        {"says": "a\0b"},
        {"says": "x" * 1_001},
    ):
        with pytest.raises(BadProposal):
            begun(**wrong)
    with pytest.raises(BadProposal):
        model.proposed(begun(), PROVIDER, Draft(ServiceTerms(), None, None, NOW, answers=1), NOW)
    # Nor what lies wholly behind: it would lapse as it is made, without a word.
    day = timedelta(days=1)
    over = Draft(ServiceTerms(), None, NOW - 2 * day, NOW - day, answers=1)
    with pytest.raises(BadProposal) as refused:
        model.proposed(begun(), PROVIDER, over, NOW)
    assert refused.value.field == "valid_until"
    with pytest.raises(OwnNegotiation):
        model.begun(
            "n", HUB, draft(), NOW, requester=HUB, provider=HUB, service="forecast", major=1
        )


def test_two_who_come_no_nearer_stop_somewhere() -> None:
    one = begun()
    sides = (Side.PROVIDER, Side.REQUESTER)
    for n in range(MOST_PROPOSALS - 1):
        one = take(one, Action.PROPOSE, sides[n % 2])
    with pytest.raises(TooManyProposals):
        take(one, Action.PROPOSE, Side.REQUESTER)
    assert take(one, Action.ACCEPT, Side.REQUESTER).state is State.ACCEPTED


steps = some.lists(some.sampled_from([one for one in product(Action, Side) if allowed(*one)]))


@given(steps)
def test_nothing_is_unsaid_and_nothing_is_agreed_that_two_have_not_signed(
    taken: list[tuple[Action, Side]],
) -> None:
    one = begun()
    for action, side in taken:
        if (action, one.state) == (Action.FINALISE, State.AGREED):
            continue
        try:
            after = take(one, action, side)
        except (NegotiationCannot, ProposalLapsed, ProposalWithdrawn, ProposalSuperseded):
            continue
        assert after.moves[: len(one.moves)] == one.moves
        assert after.proposals[: len(one.proposals)] == one.proposals
        assert after.signatures[: len(one.signatures)] == one.signatures
        one = after
    assert [move.number for move in one.moves] == list(range(1, one.version + 1))
    if one.state in (State.VERIFIED, State.FINALISED):
        assert {Side.REQUESTER, Side.PROVIDER} <= {it.side for it in one.signatures}
    assert (one.contract_id is not None) is (one.state is State.FINALISED)
