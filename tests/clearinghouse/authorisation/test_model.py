"""Contractual clearing, by example first and by law second."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from clearinghouse.authorisation import model
from clearinghouse.authorisation.model import (
    EVSP_REASONS,
    NOT_ASKED,
    RULES,
    Answer,
    Decision,
    Facts,
    IdentificationType,
    NoAnswer,
    Policy,
    Question,
    Reason,
    Silence,
    Terms,
    identify,
    judge,
    must_ask,
)
from clearinghouse.certificates.model import Checked, Outcome
from clearinghouse.customers.model import (
    AuthorisationMode,
    CustomerContract,
    Limits,
    Status,
    draw_up,
)
from clearinghouse.exposure.model import Weighed
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from roaming.money import Money
from roaming.party import PartyId
from roaming.refusal import Malformed
from roaming.token import TokenUid
from tests.clearinghouse.authorisation.fakes import TARIFF

PD1, ABC, XYZ = PartyId("FR*PD1"), PartyId("DE*ABC"), PartyId("FR*XYZ")
NOON = datetime(2025, 1, 7, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONTRACT = draw_up("FRXYZ000000001", token_uids=["A1"], valid_from=NOON, valid_until=NOON + HOUR)
TERMS = Terms("agreement-1", "EUR", TARIFF, Decimal("20"))
YES, NO = Answer(Decision.ACCEPTED), Answer(Decision.REFUSED)
SILENT = NoAnswer("no answer in time")


def question(**members: object) -> Question:
    asked = Question(
        operator=PD1,
        evse_id=EvseId("FR*PD1*E123"),
        identification=identify(IdentificationType.RFID, "A1"),
        services=("charging",),
        at=NOON,
        at_given=False,
        charge_id=None,
    )
    return replace(asked, **members)  # type: ignore[arg-type]


FACTS = Facts(evse_operator=PD1, contract=CONTRACT, agreement=TERMS)
ASKING = replace(CONTRACT, authorisation=AuthorisationMode.ASK)


def test_where_all_holds_it_is_accepted() -> None:
    assert judge(question(), FACTS) is None


def blocked(contract: CustomerContract) -> CustomerContract:
    return replace(contract, status=Status.BLOCKED)


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
    decided = model.decide(question(), over, authorisation_id="a", now=NOON)
    for caller, told in ((XYZ, "left 0.00 EUR"), (PD1, None)):
        steps = {step.reason: step.detail for step in model.explain(decided, caller)}
        assert steps[Reason.OVER_LIMIT] == told


def test_only_what_would_be_accepted_and_is_limited_claims_anything() -> None:
    def claims(facts: Facts) -> bool:
        return model.claim_of(question(), facts, "a") is not None

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
    claim = model.claim_of(question(), facts, "a")
    assert claim is not None
    assert not claim.takes
    accepting = replace(facts, policy=Policy(Silence.ACCEPT))
    claim = model.claim_of(question(), accepting, "a")
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
        decided = model.decide(question(), facts, authorisation_id="a", now=NOON)
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
        decided = model.decide(question(), silent, authorisation_id="id", now=NOON)
        # It is the list's yes, so that no amount bounds it.
        assert (decided.reason, decided.max_amount) == (None, None)


UP_TO_20 = Policy(Silence.ACCEPT, accept_up_to=Money(2_000, "EUR"))


def test_a_silence_that_accepts_up_to_an_amount_says_which() -> None:
    facts = replace(FACTS, contract=ASKING, answer=SILENT, policy=UP_TO_20)
    decided = model.decide(question(), facts, authorisation_id="id", now=NOON)
    assert (decided.reason, decided.max_amount) == (None, Money(2_000, "EUR"))
    answered = replace(facts, answer=YES)
    assert model.decide(question(), answered, authorisation_id="id", now=NOON).max_amount is None


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


def test_a_policy_is_the_usual_one_unless_chosen_otherwise() -> None:
    assert model.policy_of(Silence.REFUSE) == model.USUAL
    assert not model.USUAL.asks_unknown


STRANGER = Facts(PD1, contract=None, agreement=None)


def test_only_at_ones_own_charge_point_is_a_stranger_asked_about() -> None:
    card = question(identification=identify(IdentificationType.RFID, "FEED"))
    assert model.may_ask_around(card, STRANGER)
    assert not model.may_ask_around(card, replace(STRANGER, evse_operator=ABC))
    assert not model.may_ask_around(card, FACTS)
    for kind in (IdentificationType.REMOTE, IdentificationType.CONTRACT_ID):
        named = question(identification=identify(kind, str(CONTRACT.contract_id)))
        assert model.may_ask_around(named, STRANGER)
    nameless = question(identification=identify(IdentificationType.REMOTE, "FEED"))
    assert not model.may_ask_around(nameless, STRANGER)
    for outcome in Outcome:
        stranger = replace(STRANGER, certificate=Checked(outcome, ""))
        harmless = outcome in (Outcome.VERIFIED, Outcome.NOT_CHECKED)
        assert model.may_ask_around(named, stranger) is harmless


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


def test_who_vouches_for_a_customer_names_none_of_anothers() -> None:
    own, others = CONTRACT.contract_id, ContractId("DEABC000000001")
    assert model.Voucher.of(XYZ, replace(YES, contract_id=own)).contract_id == own
    assert model.Voucher.of(XYZ, replace(YES, contract_id=others)).contract_id is None
    assert model.Voucher.of(XYZ, YES).contract_id is None


def test_a_customer_that_an_evsp_vouches_for_is_accepted_on_its_account() -> None:
    facts = replace(STRANGER, voucher=model.Voucher(XYZ, None), agreement=TERMS)
    decided = model.decide(question(), facts, authorisation_id="id", now=NOON)
    assert (decided.reason, decided.evsp, decided.contract_id) == (None, XYZ, None)
    assert judge(question(), replace(facts, agreement=None)) is Reason.NO_ROAMING_AGREEMENT
    assert judge(question(), STRANGER) is Reason.UNKNOWN_CONTRACT


@given(some.sets(some.integers(0, 999), max_size=80), some.integers(0, 9))
def test_so_many_are_asked_about_a_card_and_the_same_each_time(
    numbers: set[int], card: int
) -> None:
    evsps = [PartyId(f"FR*{number:03}") for number in numbers]
    asked = question(identification=identify(IdentificationType.RFID, f"CARD{card}"))
    chosen = model.in_turn(asked, evsps)
    assert chosen == model.in_turn(asked, reversed(evsps))
    assert len(set(chosen)) == min(len(evsps), model.ASKED_AROUND_MOST)
    assert set(chosen) <= set(evsps)


def test_no_name_keeps_an_evsp_from_ever_being_asked() -> None:
    evsps = [PartyId(f"FR*{number:03}") for number in range(2 * model.ASKED_AROUND_MOST)]
    cards = [identify(IdentificationType.RFID, f"CARD{number}") for number in range(50)]
    asked = [model.in_turn(question(identification=card), evsps) for card in cards]
    assert {evsp for one in asked for evsp in one} == set(evsps)


contracts = some.none() | some.builds(
    replace,
    some.just(CONTRACT),
    status=some.sampled_from(Status),
    authorisation=some.sampled_from(AuthorisationMode),
    services=some.sampled_from([("charging",), ("parking",), ("charging", "parking")]),
    valid_from=some.sampled_from([None, NOON, NOON + HOUR / 2]),
    valid_until=some.sampled_from([None, NOON + HOUR]),
)
answers = some.one_of(
    some.just(NOT_ASKED),
    some.just(SILENT),
    some.just(YES),
    some.builds(Answer, some.just(Decision.REFUSED), some.none() | some.sampled_from(EVSP_REASONS)),
)
facts_in_general = some.builds(
    Facts,
    evse_operator=some.sampled_from([None, PD1, ABC]),
    contract=contracts,
    agreement=some.sampled_from([None, TERMS]),
    policy=some.builds(Policy, some.sampled_from(Silence)),
    answer=answers,
)
questions = some.builds(
    question,
    services=some.sampled_from([("charging",), ("charging", "parking")]),
    at=some.sampled_from([NOON - HOUR, NOON, NOON + HOUR]),
)


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


@given(questions, facts_in_general)
def test_a_look_at_the_services_says_what_authorising_each_would(
    asked: Question, facts: Facts
) -> None:
    facts = replace(facts, answer=NOT_ASKED)
    seen = model.consumable(asked, facts)
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
    seen = model.consumable(question(), replace(FACTS, agreement=None))
    assert (seen.reason, seen.evsp) == (Reason.NO_ROAMING_AGREEMENT, XYZ)
    assert (seen.contract_id, seen.services) == (None, ())
    elsewhere = model.consumable(question(), replace(FACTS, evse_operator=ABC))
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
    seen = model.consumable(question(), facts)
    priced = {one.service: [c["type"] for c in one.price_components] for one in seen.services}
    assert priced == {
        "charging": ["ENERGY", "FLAT"],
        "parking": ["PARKING_TIME"],
        "reservation": ["TIME"],
        "car-wash": [],
    }


@given(questions, facts_in_general)
def test_a_decision_tells_prices_and_contracts_only_to_those_who_may_know(
    asked: Question, facts: Facts
) -> None:
    decided = model.decide(asked, facts, authorisation_id="id", now=NOON)
    assert (decided.price is None) == (decided.decision is Decision.REFUSED)
    if facts.agreement is None:
        assert decided.contract_shown is None


@given(questions, facts_in_general)
def test_the_steps_pass_up_to_the_reason_and_end_there(asked: Question, facts: Facts) -> None:
    decided = model.decide(asked, facts, authorisation_id="id", now=NOON)
    outcomes = [step.outcome for step in model.explain(decided, PD1)]
    if decided.reason is None:
        assert outcomes == ["passed"] * len(RULES)
    else:
        place = list(Reason).index(decided.reason)
        rest = len(RULES) - place - 1
        assert outcomes == ["passed"] * place + ["failed"] + ["not-reached"] * rest


def test_the_details_of_a_step_are_for_the_evsp_alone() -> None:
    facts = replace(FACTS, contract=ASKING, answer=SILENT)
    decided = model.decide(question(), facts, authorisation_id="id", now=NOON)
    operators = model.explain(decided, PD1)
    evsps = model.explain(decided, XYZ)
    assert {step.detail for step in operators} == {None}
    assert evsps[-1].detail == "no answer in time; on silence: refuse"
    with pytest.raises(model.UnknownAuthorisation):
        model.explain(decided, ABC)


def test_the_price_names_each_component_and_whether_it_holds_always() -> None:
    assert model.price_of(TERMS) == {
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
    decided = model.decide(asked, FACTS, authorisation_id="id", now=NOON)
    assert model.repeated(decided, replace(asked, at=NOON + HOUR)) is decided
    for other in (
        replace(asked, evse_id=EvseId("FR*PD1*E124")),
        replace(asked, identification=identify(IdentificationType.RFID, "B2")),
        replace(asked, services=("parking",)),
        replace(asked, at_given=True),
    ):
        with pytest.raises(model.ChargeAskedDifferently):
            model.repeated(decided, other)


def test_a_remote_identification_may_be_a_contract_or_a_token() -> None:
    contract = identify(IdentificationType.REMOTE, "fr-xyz-000000001")
    assert contract.contract_id == ContractId("FRXYZ000000001")
    assert contract.token_uid == TokenUid("FR-XYZ-000000001")
    token = identify(IdentificationType.REMOTE, "04A1B2")
    assert (token.contract_id, token.token_uid) == (None, TokenUid("04A1B2"))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (IdentificationType.RFID, ""),
        (IdentificationType.RFID, "x" * 37),
        (IdentificationType.REMOTE, "é"),
        (IdentificationType.CONTRACT_ID, "FRXYZ00000000"),
        (IdentificationType.PLUG_AND_CHARGE, "04A1B2"),
    ],
)
def test_what_cannot_be_what_it_is_said_to_be_is_refused(
    kind: IdentificationType, value: str
) -> None:
    with pytest.raises(model.BadQuestion) as caught:
        identify(kind, value)
    assert caught.value.field == "identification.value"
    assert str(kind) in str(caught.value.rule)


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"services": ()}, "services"),
        ({"services": ("a\tb",)}, "services"),
        ({"services": ("",)}, "services"),
        ({"services": tuple(f"s{n}" for n in range(21))}, "services"),
        ({"charge_id": ""}, "charge_id"),
        ({"charge_id": "x" * 101}, "charge_id"),
        ({"charge_id": "a\x00"}, "charge_id"),
        ({"at": datetime(1969, 12, 31, tzinfo=UTC)}, "at"),
        ({"at": datetime(1, 1, 1, tzinfo=timezone(HOUR))}, "at"),
        ({"evse_id": "nonsense"}, "evse_id"),
    ],
)
def test_a_question_that_breaks_a_rule_is_refused_by_name(
    members: dict[str, object], field: str
) -> None:
    whole: dict[str, object] = {
        "evse_id": "FR*PD1*E123",
        "identification": identify(IdentificationType.RFID, "A1"),
        "services": ("charging",),
        "charge_id": None,
        "at": None,
        "now": NOON,
    }
    with pytest.raises(Malformed) as caught:
        model.question_of(PD1, **whole | members)  # type: ignore[arg-type]
    assert caught.value.field == field
    assert caught.value.rule


@given(
    some.lists(
        some.tuples(some.integers(0, 10**12), some.binary(min_size=10, max_size=10)), max_size=20
    )
)
def test_authorisation_ids_sort_by_their_time(moments: list[tuple[int, bytes]]) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    by_time = sorted(moments, key=lambda moment: moment[0])
    ids = [
        model.authorisation_id(epoch + timedelta(milliseconds=ms), chance) for ms, chance in by_time
    ]
    assert [one[:13] for one in ids] == sorted(one[:13] for one in ids)
    assert all(model.known_shape(one) for one in ids)
    assert all(one[14] == "7" and one[19] in "89ab" for one in ids)


@pytest.mark.parametrize("text", ["", "A" * 36, "\x00", "0" * 32, "0" * 36])
def test_what_cannot_be_an_id_of_ours_is_not_looked_up(text: str) -> None:
    assert not model.known_shape(text)
