"""Questions and what is known of them, by hand and by chance."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import strategies as some

from clearinghouse.authorisation.model import (
    EVSP_REASONS,
    NOT_ASKED,
    Answer,
    Decision,
    Facts,
    IdentificationType,
    NoAnswer,
    Policy,
    Question,
    Silence,
    Terms,
    identify,
)
from clearinghouse.customers.model import (
    AuthorisationMode,
    CustomerContract,
    Status,
    draw_up,
)
from roaming.evse_id import EvseId
from roaming.party import PartyId
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


def blocked(contract: CustomerContract) -> CustomerContract:
    return replace(contract, status=Status.BLOCKED)


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
