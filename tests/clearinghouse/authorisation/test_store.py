"""Authorisations on a real PostgreSQL: shared look-ups, shared commits, one decision a charge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from clearinghouse.authorisation import decision, model
from clearinghouse.authorisation.model import (
    Authorisation,
    Facts,
    IdentificationType,
    Policy,
    Question,
    Silence,
    identify,
)
from clearinghouse.authorisation.store import SqlCustomers, SqlDecisions, SqlPolicies
from clearinghouse.customers.model import AuthorisationMode, CustomerContract, Status, draw_up
from clearinghouse.customers.store import SqlCustomers as KeptCustomers
from clearinghouse.exposure.store import Holds
from kit import event_log
from kit.database import Database
from kit.event_log import NewEvent
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from roaming.money import Money
from roaming.party import PartyId
from tests.clearinghouse.authorisation.fakes import TARIFF

HUB = PartyId("EU*GRD")
PD1, ABC, XYZ = PartyId("FR*PD1"), PartyId("DE*ABC"), PartyId("FR*XYZ")
NOON = datetime(2025, 1, 7, 12, tzinfo=UTC)
RFID, REMOTE = IdentificationType.RFID, IdentificationType.REMOTE
FIRST = draw_up(
    "FRXYZ000000001",
    token_uids=["A1", "B2"],
    valid_from=NOON,
    status=Status.BLOCKED,
    services=["charging", "parking"],
    authorisation=AuthorisationMode.ASK,
)
SECOND = draw_up("FRXYZ000000002", token_uids=["FRXYZ0000000010", "C3"])

CHOSEN = Policy(Silence.ACCEPT, Money(2_000, "EUR"), asks_unknown=True, ask_timeout_ms=500)


@pytest.fixture
async def decisions(database: Database) -> AsyncIterator[SqlDecisions]:
    decisions = SqlDecisions(database, Holds(HUB), lambda: NOON)
    yield decisions
    await decisions.close()


@pytest.fixture
async def customers(database: Database) -> AsyncIterator[SqlCustomers]:
    async with KeptCustomers(database).write(XYZ) as book:
        await book.keep([FIRST, SECOND], NOON)
    customers = SqlCustomers(database)
    yield customers
    await customers.close()


def decided(number: int = 1, **members: Any) -> Authorisation:
    question = Question(
        operator=PD1,
        evse_id=EvseId("FR*PD1*E123"),
        identification=identify(RFID, "A1"),
        services=("charging", "car wash, inside"),
        at=NOON,
        at_given=False,
        charge_id=None,
    )
    terms = model.Terms("agreement-1", "EUR", TARIFF, None)
    accepted = replace(FIRST, status=Status.ACTIVE, services=question.services)
    facts = Facts(PD1, accepted, terms, answer=model.Answer(model.Decision.ACCEPTED))
    return decision.decide(
        replace(question, **members),
        facts,
        authorisation_id=model.authorisation_id(NOON, number.to_bytes(10)),
        now=NOON,
    )


def event_of(one: Authorisation) -> NewEvent:
    return NewEvent("authorisations:FR*PD1", "t", "FR*PD1", {"id": one.authorisation_id}, NOON)


async def record(decisions: SqlDecisions, one: Authorisation) -> Authorisation:
    return await decisions.record(one, event_of(one))


async def told(database: Database) -> list[str]:
    async with database.hot() as connection:
        return [one.body["id"] for one in await event_log.read(connection, event_log.START)]


def without_tokens(contract: CustomerContract) -> CustomerContract:
    return replace(contract, token_uids=(), display_name=None)


@pytest.mark.parametrize(
    ("kind", "value", "contract"),
    [
        (RFID, "a1", FIRST),
        (RFID, "B2", FIRST),
        (RFID, "FRXYZ000000001", None),
        (RFID, "nobody's", None),
        (IdentificationType.CONTRACT_ID, "FR-XYZ-000000002", SECOND),
        (IdentificationType.PLUG_AND_CHARGE, "FRXYZ000000002", SECOND),
        (IdentificationType.CONTRACT_ID, "FRXYZ000000003", None),
        (REMOTE, "C3", SECOND),
        (REMOTE, "FRXYZ000000002", SECOND),
        # A uid that reads as a contract id, too: the contract of that id goes first.
        (REMOTE, str(FIRST.contract_id), FIRST),
    ],
)
async def test_a_customer_is_found_by_what_was_shown(
    customers: SqlCustomers, kind: IdentificationType, value: str, contract: CustomerContract | None
) -> None:
    found = await customers.find(identify(kind, value))
    assert found == (contract and (without_tokens(contract), Policy(), False))


async def test_callers_at_once_each_get_their_own(customers: SqlCustomers) -> None:
    shown = [identify(RFID, uid) for uid in ("A1", "C3", "nobody's", "A1")]
    found = await asyncio.gather(*(customers.find(one) for one in shown * 20))
    contracts = [None if one is None else one[0].contract_id for one in found]
    assert contracts == [FIRST.contract_id, SECOND.contract_id, None, FIRST.contract_id] * 20


async def test_what_an_evsp_wants_on_silence_comes_with_its_customer(
    customers: SqlCustomers, database: Database
) -> None:
    policies = SqlPolicies(database)
    assert await policies.of(XYZ) == Policy()
    event = NewEvent("customers:FR*XYZ", "t", "FR*XYZ", {"id": "policy"}, NOON)
    for _ in range(2):
        await policies.keep(XYZ, CHOSEN, event)
    assert await policies.of(XYZ) == CHOSEN
    assert await policies.of(ABC) == Policy()
    assert await policies.asking_unknown([ABC, XYZ]) == [XYZ]
    assert await told(database) == ["policy"]
    found = await customers.find(identify(RFID, "C3"))
    assert found is not None
    assert found[1] == CHOSEN


async def test_a_decision_comes_back_as_it_was(decisions: SqlDecisions) -> None:
    one = decided(charge_id="c1", at_given=True)
    assert one.price is not None
    assert await record(decisions, one) is one
    assert await decisions.find(one.authorisation_id, PD1) == one
    assert await decisions.of_charge(PD1, "c1") == one


async def test_a_bare_refusal_comes_back_as_it_was(decisions: SqlDecisions) -> None:
    question = replace(decided().question, identification=identify(REMOTE, "fr-xyz-000000001"))
    one = decision.decide(
        question,
        Facts(None, None, None),
        authorisation_id=model.authorisation_id(NOON, b"0123456789"),
        now=NOON,
    )
    await record(decisions, one)
    found = await decisions.find(one.authorisation_id, PD1)
    assert found is not None
    assert found.question.digest() == one.question.digest()
    assert (found.reason, found.contract_id, found.price) == (one.reason, None, None)


async def test_only_the_operator_and_the_evsp_concerned_find_it(decisions: SqlDecisions) -> None:
    one = decided(charge_id="c1")
    await record(decisions, one)
    assert await decisions.find(one.authorisation_id, XYZ) == one
    assert await decisions.find(one.authorisation_id, ABC) is None
    assert await decisions.of_charge(ABC, "c1") is None


async def test_decisions_at_once_are_each_kept_and_told(
    decisions: SqlDecisions, database: Database
) -> None:
    ones = [decided(number) for number in range(30)]
    assert await asyncio.gather(*(record(decisions, one) for one in ones)) == ones
    assert sorted(await told(database)) == sorted(one.authorisation_id for one in ones)


async def test_a_charge_has_one_decision_whatever_comes_twice(
    decisions: SqlDecisions, database: Database
) -> None:
    other_process = SqlDecisions(database, Holds(HUB), lambda: NOON)
    ones = [decided(number, charge_id=f"c{number % 5}") for number in range(30)]
    kept = await asyncio.gather(
        *(record((decisions, other_process)[n % 2], one) for n, one in enumerate(ones))
    )
    await other_process.close()
    ids = {one.authorisation_id for one in kept}
    assert len(ids) == 5
    assert sorted(await told(database)) == sorted(ids)
    assert [one.question.charge_id for one in kept] == [one.question.charge_id for one in ones]


async def test_a_charge_id_of_another_operator_is_another_charge(decisions: SqlDecisions) -> None:
    ours, theirs = decided(1, charge_id="c1"), decided(2, charge_id="c1", operator=ABC)
    assert await record(decisions, ours) is ours
    assert await record(decisions, theirs) is theirs


async def test_a_decision_that_cannot_be_told_is_not_kept(decisions: SqlDecisions) -> None:
    one = decided()
    bad = replace(event_of(one), body={"nul": "\x00"})
    with pytest.raises(Exception, match="unsupported Unicode escape"):
        await decisions.record(one, bad)
    assert await decisions.find(one.authorisation_id, PD1) is None


async def test_the_uid_of_a_card_is_read_anew_each_time(
    customers: SqlCustomers, database: Database
) -> None:
    before = await customers.find(identify(RFID, "C3"))
    assert before is not None
    assert before[0].status is Status.ACTIVE
    async with KeptCustomers(database).write(XYZ) as book:
        await book.keep([SECOND.blocked()], NOON)
    after = await customers.find(identify(RFID, "C3"))
    assert after is not None
    assert after[0].status is Status.BLOCKED
    assert after[0].contract_id == ContractId("FRXYZ000000002")
