"""Contractual clearing, by example first and by law second."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from clearinghouse.authorisation import account, decision, model, rules
from clearinghouse.authorisation.model import (
    NOT_ASKED,
    Answer,
    Decision,
    Facts,
    IdentificationType,
    Policy,
    Question,
    Reason,
    Silence,
    Terms,
    identify,
)
from clearinghouse.authorisation.rules import RULES, judge, must_ask
from clearinghouse.certificates.model import Checked, Outcome
from clearinghouse.customers.model import (
    AuthorisationMode,
    Limits,
    Status,
)
from clearinghouse.exposure.model import Weighed
from roaming.money import Money
from roaming.party import PartyId
from tests.clearinghouse.authorisation.fakes import TARIFF
from tests.clearinghouse.authorisation.questions import (
    ABC,
    ASKING,
    CONTRACT,
    FACTS,
    HOUR,
    NO,
    NOON,
    PD1,
    SILENT,
    TERMS,
    XYZ,
    YES,
    blocked,
    facts_in_general,
    question,
    questions,
)


def test_where_all_holds_it_is_accepted() -> None:
    assert judge(question(), FACTS) is None


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (replace(FACTS, evse_operator=None), Reason.EVSE_UNKNOWN),
        (replace(FACTS, evse_operator=ABC), Reason.EVSE_UNKNOWN),
        (Facts(PD1, None, None), Reason.UNKNOWN_CONTRACT),
        (replace(FACTS, agreement=None), Reason.NO_ROAMING_AGREEMENT),
        (replace(FACTS, contract=blocked(CONTRACT)), Reason.CONTRACT_BLOCKED),
        (replace(FACTS, contract=replace(CONTRACT, valid_until=NOON)), Reason.CONTRACT_EXPIRED),
        (
            replace(FACTS, contract=replace(CONTRACT, valid_from=NOON + HOUR)),
            Reason.CONTRACT_EXPIRED,
        ),
        (replace(FACTS, contract=replace(CONTRACT, services=("parking",))), "service-not-covered"),
        (
            replace(FACTS, contract=ASKING, answer=Answer(Decision.REFUSED, Reason.OVER_LIMIT)),
            Reason.OVER_LIMIT,
        ),
        (replace(FACTS, contract=ASKING, answer=SILENT), Reason.EVSP_SILENT),
        (replace(FACTS, contract=ASKING), Reason.EVSP_SILENT),
    ],
)
def test_each_fact_has_its_own_reason(facts: Facts, reason: str) -> None:
    assert judge(question(), facts) == reason


def test_what_was_weighed_decides_and_only_the_evsp_is_told_the_figures() -> None:
    over = replace(FACTS, hold=Weighed(granted=False, says="left 0.00 EUR"))
    assert judge(question(), over) is Reason.OVER_LIMIT
    assert judge(question(), replace(FACTS, hold=Weighed(granted=True))) is None
    # In the published order it goes before silence, and after all else.
    silent = replace(over, contract=ASKING, answer=SILENT)
    assert judge(question(), silent) is Reason.OVER_LIMIT
    assert judge(question(), replace(over, contract=blocked(CONTRACT))) is Reason.CONTRACT_BLOCKED
    decided = decision.decide(question(), over, authorisation_id="a", now=NOON)
    for caller, told in ((XYZ, "left 0.00 EUR"), (PD1, None)):
        steps = {step.reason: step.detail for step in account.explain(decided, caller)}
        assert steps[Reason.OVER_LIMIT] == told


def test_only_what_would_be_accepted_and_is_limited_claims_anything() -> None:
    def claims(facts: Facts) -> bool:
        return rules.claim_of(question(), facts, "a") is not None

    limited = replace(FACTS, limited=True)
    own = replace(FACTS, contract=replace(CONTRACT, limits=Limits("EUR", per_day_minor=1)))
    vouched = Facts(PD1, None, TERMS, voucher=model.Voucher(XYZ, None))
    assert not claims(FACTS)
    assert all(map(claims, (limited, own, vouched)))
    for refused in (
        replace(limited, agreement=None),
        replace(limited, contract=blocked(CONTRACT)),
        replace(limited, contract=ASKING, answer=Answer(Decision.REFUSED, Reason.OVER_LIMIT)),
        Facts(PD1, None, None, limited=True),
    ):
        assert not claims(refused)


def test_a_silence_that_refuses_looks_whether_there_is_room_and_holds_nothing() -> None:
    facts = replace(FACTS, limited=True, contract=ASKING, answer=SILENT)
    claim = rules.claim_of(question(), facts, "a")
    assert claim is not None
    assert not claim.takes
    accepting = replace(facts, policy=Policy(Silence.ACCEPT))
    claim = rules.claim_of(question(), accepting, "a")
    assert claim is not None
    assert claim.takes


def test_the_most_that_a_charge_may_come_to_is_the_lesser_of_silence_and_customer() -> None:
    per_charge = replace(ASKING, limits=Limits("EUR", per_charge_minor=20_00))
    silence = Policy(Silence.ACCEPT, Money(30_00, "EUR"))
    both = replace(FACTS, contract=per_charge, policy=silence, answer=SILENT)
    pounds = replace(ASKING, limits=Limits("GBP", per_charge_minor=1))
    for facts, most in (
        (both, Money(20_00, "EUR")),
        (replace(both, contract=ASKING), Money(30_00, "EUR")),
        (replace(both, answer=YES), Money(20_00, "EUR")),
        (replace(both, contract=pounds), Money(30_00, "EUR")),
        (replace(both, contract=ASKING, answer=YES), None),
    ):
        assert facts.most == most
        decided = decision.decide(question(), facts, authorisation_id="a", now=NOON)
        assert decided.max_amount == most


def test_a_tariff_that_is_dearer_than_the_customers_limit_whatever_one_does_is_over_it() -> None:
    flat = {"elements": [{"price_components": [{"type": "FLAT", "price": 5, "step_size": 1}]}]}
    dear = replace(FACTS, agreement=replace(TERMS, tariff=flat))
    for minor, currency, reason in (
        (5_00, "EUR", None),
        (4_99, "EUR", Reason.OVER_LIMIT),
        (4_99, "GBP", None),
    ):
        contract = replace(CONTRACT, limits=Limits(currency, per_charge_minor=minor))
        assert judge(question(), replace(dear, contract=contract)) is reason


def test_every_service_asked_for_must_be_covered() -> None:
    both = replace(FACTS, contract=replace(CONTRACT, services=("charging", "parking")))
    asked = question(services=("charging", "parking"))
    assert judge(asked, both) is None
    assert judge(asked, FACTS) is Reason.SERVICE_NOT_COVERED


def test_the_evsp_decides_where_it_wants_to_be_asked() -> None:
    facts = replace(FACTS, contract=ASKING)
    assert judge(question(), replace(facts, answer=YES)) is None
    assert judge(question(), replace(facts, answer=NO)) is Reason.CONTRACT_BLOCKED


def test_the_evsps_silence_means_what_it_has_chosen() -> None:
    facts = replace(FACTS, contract=ASKING, answer=SILENT)
    assert judge(question(), replace(facts, policy=Policy(Silence.REFUSE))) is Reason.EVSP_SILENT
    assert judge(question(), replace(facts, policy=Policy(Silence.ACCEPT))) is None


def test_an_evsp_is_asked_only_where_its_answer_could_matter() -> None:
    facts = replace(FACTS, contract=ASKING)
    assert must_ask(question(), facts)
    assert not must_ask(question(), FACTS)
    assert not must_ask(question(), replace(facts, agreement=None))
    assert not must_ask(question(), replace(facts, contract=blocked(ASKING)))
    assert must_ask(question(), replace(facts, policy=Policy(Silence.ACCEPT)))


BOTH = replace(CONTRACT, authorisation=AuthorisationMode.BOTH)


def test_where_both_decide_the_list_goes_first_and_the_evsps_silence_leaves_it_its_yes() -> None:
    facts = replace(FACTS, contract=BOTH)
    assert must_ask(question(), facts)
    assert not must_ask(question(), replace(facts, contract=blocked(BOTH)))
    assert judge(question(), replace(facts, answer=YES)) is None
    assert judge(question(), replace(facts, answer=NO)) is Reason.CONTRACT_BLOCKED
    for policy in (Policy(Silence.REFUSE), Policy(Silence.ACCEPT, Money(1, "EUR"))):
        silent = replace(facts, answer=SILENT, policy=policy)
        decided = decision.decide(question(), silent, authorisation_id="id", now=NOON)
        # It is the list's yes, so that no amount bounds it.
        assert (decided.reason, decided.max_amount) == (None, None)


UP_TO_20 = Policy(Silence.ACCEPT, accept_up_to=Money(2_000, "EUR"))


def test_a_silence_that_accepts_up_to_an_amount_says_which() -> None:
    facts = replace(FACTS, contract=ASKING, answer=SILENT, policy=UP_TO_20)
    decided = decision.decide(question(), facts, authorisation_id="id", now=NOON)
    assert (decided.reason, decided.max_amount) == (None, Money(2_000, "EUR"))
    answered = replace(facts, answer=YES)
    assert decision.decide(question(), answered, authorisation_id="id", now=NOON).max_amount is None


def with_flat(*fees: tuple[str, bool], **more: object) -> Terms:
    elements = [
        {"price_components": [{"type": "FLAT", "price": price, "step_size": 1}]}
        | ({"restrictions": {"start_time": "08:00"}} if restricted else {})
        for price, restricted in fees
    ]
    return replace(TERMS, tariff={"elements": [*TARIFF["elements"], *elements], **more})


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        (with_flat(("20.00", False)), None),
        (with_flat(("20.01", False)), Reason.EVSP_SILENT),
        (with_flat(("50", True)), None),
        (with_flat(("50", True), ("30", False)), Reason.EVSP_SILENT),
        (with_flat(("50", True), ("20", False)), None),
        # Behind the first that always holds none is ever active.
        (with_flat(("30", False), ("1", False)), Reason.EVSP_SILENT),
        (with_flat(min_price={"excl_vat": "20.01"}), Reason.EVSP_SILENT),
        (with_flat(min_price={"excl_vat": "20"}), None),
        (replace(TERMS, currency="CHF"), Reason.EVSP_SILENT),
    ],
)
def test_a_silence_accepts_no_charge_that_cannot_stay_within_its_amount(
    terms: Terms, reason: Reason | None
) -> None:
    facts = Facts(PD1, ASKING, terms, UP_TO_20, SILENT)
    assert judge(question(), facts) is reason
    assert judge(question(), replace(facts, answer=YES)) is None


STRANGER = Facts(PD1, contract=None, agreement=None)


def test_only_at_ones_own_charge_point_is_a_stranger_asked_about() -> None:
    card = question(identification=identify(IdentificationType.RFID, "FEED"))
    assert rules.may_ask_around(card, STRANGER)
    assert not rules.may_ask_around(card, replace(STRANGER, evse_operator=ABC))
    assert not rules.may_ask_around(card, FACTS)
    for kind in (IdentificationType.REMOTE, IdentificationType.CONTRACT_ID):
        named = question(identification=identify(kind, str(CONTRACT.contract_id)))
        assert rules.may_ask_around(named, STRANGER)
    nameless = question(identification=identify(IdentificationType.REMOTE, "FEED"))
    assert not rules.may_ask_around(nameless, STRANGER)
    for outcome in Outcome:
        stranger = replace(STRANGER, certificate=Checked(outcome, ""))
        harmless = outcome in (Outcome.VERIFIED, Outcome.NOT_CHECKED)
        assert rules.may_ask_around(named, stranger) is harmless


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome.UNTRUSTED, Reason.UNKNOWN_CONTRACT),
        (Outcome.REVOKED, Reason.CONTRACT_BLOCKED),
        (Outcome.EXPIRED, Reason.CONTRACT_EXPIRED),
        (Outcome.VERIFIED, None),
        (Outcome.NOT_CHECKED, None),
    ],
)
def test_a_certificate_that_is_not_right_refuses_whoever_would_say_yes(
    outcome: Outcome, reason: Reason | None
) -> None:
    checked = replace(FACTS, certificate=Checked(outcome, ""))
    assert judge(question(), checked) is reason
    asking = replace(checked, contract=ASKING, answer=YES)
    assert judge(question(), asking) is reason
    assert must_ask(question(), asking) is (reason is None)


def test_a_customer_that_an_evsp_vouches_for_is_accepted_on_its_account() -> None:
    facts = replace(STRANGER, voucher=model.Voucher(XYZ, None), agreement=TERMS)
    decided = decision.decide(question(), facts, authorisation_id="id", now=NOON)
    assert (decided.reason, decided.evsp, decided.contract_id) == (None, XYZ, None)
    assert judge(question(), replace(facts, agreement=None)) is Reason.NO_ROAMING_AGREEMENT
    assert judge(question(), STRANGER) is Reason.UNKNOWN_CONTRACT


@given(some.sets(some.integers(0, 999), max_size=80), some.integers(0, 9))
def test_so_many_are_asked_about_a_card_and_the_same_each_time(
    numbers: set[int], card: int
) -> None:
    evsps = [PartyId(f"FR*{number:03}") for number in numbers]
    asked = question(identification=identify(IdentificationType.RFID, f"CARD{card}"))
    chosen = rules.in_turn(asked, evsps)
    assert chosen == rules.in_turn(asked, reversed(evsps))
    assert len(set(chosen)) == min(len(evsps), rules.ASKED_AROUND_MOST)
    assert set(chosen) <= set(evsps)


def test_no_name_keeps_an_evsp_from_ever_being_asked() -> None:
    evsps = [PartyId(f"FR*{number:03}") for number in range(2 * rules.ASKED_AROUND_MOST)]
    cards = [identify(IdentificationType.RFID, f"CARD{number}") for number in range(50)]
    asked = [rules.in_turn(question(identification=card), evsps) for card in cards]
    assert {evsp for one in asked for evsp in one} == set(evsps)


@given(questions, facts_in_general)
def test_the_first_reason_in_the_published_order_is_given(asked: Question, facts: Facts) -> None:
    applying = [rule.reason for rule in RULES if not rule.holds(asked, facts)]
    assert judge(asked, facts) == min(applying, key=list(Reason).index, default=None)


@given(questions, facts_in_general)
def test_it_is_accepted_only_where_all_holds(asked: Question, facts: Facts) -> None:
    """Said over again in other words than the rules'."""
    contract = facts.contract
    right_place = facts.evse_operator == asked.operator
    right_contract = (
        contract is not None
        and contract.status is Status.ACTIVE
        and (contract.valid_from is None or contract.valid_from <= asked.at)
        and (contract.valid_until is None or asked.at < contract.valid_until)
        and set(asked.services) <= set(contract.services)
    )
    refused_by_evsp = isinstance(facts.answer, Answer) and facts.answer.decision == "refused"
    evsp_agrees = not refused_by_evsp and (
        contract is None
        or contract.authorisation is not AuthorisationMode.ASK
        or facts.answer == YES
        or facts.policy.on_silence is Silence.ACCEPT
    )
    all_holds = right_place and right_contract and facts.agreement is not None and evsp_agrees
    assert (judge(asked, facts) is None) == all_holds


@given(questions, facts_in_general)
def test_whom_the_answer_cannot_help_is_not_asked(asked: Question, facts: Facts) -> None:
    unasked = replace(facts, answer=NOT_ASKED)
    reasons = {judge(asked, replace(facts, answer=answer)) for answer in (YES, NO, SILENT)}
    if must_ask(asked, unasked):
        assert None in reasons
    else:
        assert judge(asked, unasked) is None or judge(asked, replace(facts, answer=YES)) is not None
