"""Deciding about a charge, step by step, with the EVSP on a real socket where it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from clearinghouse.authorisation import flows, model
from clearinghouse.authorisation.account import Account
from clearinghouse.authorisation.client import HttpEvsps
from clearinghouse.authorisation.model import (
    Answer,
    Authorisation,
    Decision,
    IdentificationType,
    NoAnswer,
    Policy,
    Question,
    Reason,
    Silence,
    identify,
)
from clearinghouse.authorisation.ports import Evsps
from clearinghouse.authorisation.store import SqlCustomers, SqlDecisions, SqlPolicies
from clearinghouse.certificates import flows as certificates_flows
from clearinghouse.certificates.model import HashData, present, to_pem
from clearinghouse.certificates.store import SqlCertificates
from clearinghouse.customers.model import AuthorisationMode, CustomerContract, draw_up
from clearinghouse.customers.store import SqlCustomers as KeptCustomers
from clearinghouse.exposure.flows import set_limit
from clearinghouse.exposure.model import limit_of
from clearinghouse.exposure.store import Holds
from clearinghouse.exposure.store import SqlBooks as Exposures
from kit import event_log
from kit.database import Database
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from roaming.money import Money
from roaming.party import PartyId
from tests.clearinghouse.authorisation.fakes import (
    FixedAgreement,
    FixedEndpoint,
    ListedAgreements,
    ListedEndpoints,
    ListedEvses,
    ScriptedEvsps,
    evsp_server,
)
from tests.clearinghouse.certificates import pki

HUB = PartyId("EU*GRD")
PD1, ABC, XYZ = PartyId("FR*PD1"), PartyId("DE*ABC"), PartyId("FR*XYZ")
NOON = datetime(2025, 1, 7, 12, tzinfo=UTC)
HERE, ELSEWHERE = EvseId("FR*PD1*E123"), EvseId("FR*PD1*E999")
LISTED = draw_up("FRXYZ000000001", token_uids=["A1"], valid_until=NOON + timedelta(days=1))
ASKING = draw_up("FRXYZ000000002", token_uids=["B2"], authorisation=AuthorisationMode.ASK)


@dataclass
class House:
    """All that the flow is given."""

    database: Database
    evses: ListedEvses
    customers: SqlCustomers
    agreements: ListedAgreements
    decisions: SqlDecisions
    evsps: Evsps = field(default_factory=lambda: ScriptedEvsps(NoAnswer("nobody asked")))
    ask_timeout_s: float = 10

    async def authorise(self, question: Question) -> Authorisation:
        return await flows.authorise(
            question,
            evses=self.evses,
            customers=self.customers,
            agreements=self.agreements,
            evsps=self.evsps,
            policies=SqlPolicies(self.database),
            certificates=SqlCertificates(self.database),
            decisions=self.decisions,
            clock=lambda: NOON,
            ask_timeout_s=self.ask_timeout_s,
        )

    async def keep(self, *contracts: CustomerContract) -> None:
        async with KeptCustomers(self.database).write(XYZ) as book:
            await book.keep(contracts, NOON)

    async def choose(self, evsp: PartyId, policy: Policy) -> None:
        policies = SqlPolicies(self.database)
        await flows.choose_policy(policy, caller=evsp, policies=policies, clock=lambda: NOON)

    async def told(self) -> list[dict[str, Any]]:
        async with self.database.hot() as connection:
            return [dict(one.body) for one in await event_log.read(connection, event_log.START)]


@pytest.fixture
async def house(database: Database) -> AsyncIterator[House]:
    house = House(
        database,
        ListedEvses({HERE: PD1, ELSEWHERE: PD1, EvseId("DE*ABC*E1"): ABC}),
        SqlCustomers(database),
        ListedAgreements({(PD1, XYZ): (NOON - timedelta(days=7), FixedAgreement())}),
        SqlDecisions(database, Holds(HUB), lambda: NOON),
    )
    await house.keep(LISTED, ASKING)
    yield house
    await house.decisions.close()
    await house.customers.close()


def ask(uid: str = "A1", **members: Any) -> Question:
    question = Question(
        operator=PD1,
        evse_id=HERE,
        identification=identify(IdentificationType.RFID, uid),
        services=("charging",),
        at=NOON,
        at_given=False,
        charge_id=None,
    )
    return replace(question, **members)


async def test_a_listed_customer_is_accepted_with_the_agreements_price(house: House) -> None:
    decided = await house.authorise(ask())
    assert (decided.decision, decided.reason) == (Decision.ACCEPTED, None)
    assert (decided.contract_id, decided.evsp) == (LISTED.contract_id, XYZ)
    assert decided.valid_until == LISTED.valid_until
    assert decided.price is not None
    assert decided.price["currency"] == "EUR"


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (ask(evse_id=EvseId("FR*PD1*E404")), Reason.EVSE_UNKNOWN),
        (ask(evse_id=EvseId("DE*ABC*E1")), Reason.EVSE_UNKNOWN),
        (ask("nobody's"), Reason.UNKNOWN_CONTRACT),
        (ask(operator=ABC, evse_id=EvseId("DE*ABC*E1")), Reason.NO_ROAMING_AGREEMENT),
        (ask(at=NOON - timedelta(days=8)), Reason.NO_ROAMING_AGREEMENT),
        (ask(at=NOON + timedelta(days=1)), Reason.CONTRACT_EXPIRED),
        (ask(services=("charging", "parking")), Reason.SERVICE_NOT_COVERED),
        (ask("B2"), Reason.EVSP_SILENT),
    ],
)
async def test_each_refusal_has_its_reason_and_is_on_record(
    house: House, question: Question, reason: Reason
) -> None:
    decided = await house.authorise(question)
    assert (decided.decision, decided.reason) == (Decision.REFUSED, reason)
    assert decided.price is None
    found, _, steps = await flows.explain(
        decided.authorisation_id, caller=question.operator, decisions=house.decisions
    )
    assert found.reason is reason
    assert [step.outcome for step in steps if step.reason is reason] == ["failed"]


async def test_an_agreement_for_other_evses_does_not_cover_this_one(house: House) -> None:
    only_here = FixedAgreement(evses=frozenset({HERE}))
    house.agreements.by_pair[PD1, XYZ] = (NOON, only_here)
    assert (await house.authorise(ask())).reason is None
    assert (await house.authorise(ask(evse_id=ELSEWHERE))).reason is Reason.NO_ROAMING_AGREEMENT


async def test_a_blocked_contract_is_refused_from_the_next_question_on(house: House) -> None:
    assert (await house.authorise(ask())).reason is None
    await house.keep(LISTED.blocked())
    assert (await house.authorise(ask())).reason is Reason.CONTRACT_BLOCKED


async def test_the_event_tells_the_decision_and_not_the_token(house: House) -> None:
    decided = await house.authorise(ask())
    (body,) = await house.told()
    assert body["authorisation_id"] == decided.authorisation_id
    assert (body["decision"], body["evsp"]) == ("accepted", "FR*XYZ")
    assert "A1" not in body.values()


async def test_without_an_agreement_the_contract_is_not_told(house: House) -> None:
    house.agreements.by_pair.clear()
    await house.authorise(ask())
    (body,) = await house.told()
    assert (body["contract_id"], body["reason"]) == (None, "no-roaming-agreement")


async def test_asking_again_about_a_charge_gives_the_same_decision(house: House) -> None:
    first = await house.authorise(ask(charge_id="c1"))
    await house.keep(LISTED.blocked())
    later = ask(charge_id="c1", at=NOON + timedelta(hours=1))
    again = await house.authorise(later)
    assert again == first
    assert len(await house.told()) == 1


async def test_asking_otherwise_about_a_charge_is_refused_and_changes_nothing(
    house: House,
) -> None:
    first = await house.authorise(ask(charge_id="c1"))
    with pytest.raises(model.ChargeAskedDifferently):
        await house.authorise(ask(charge_id="c1", evse_id=ELSEWHERE))
    assert await house.decisions.of_charge(PD1, "c1") == first
    assert len(await house.told()) == 1


async def test_an_evsp_is_asked_once_about_one_charge(house: House) -> None:
    evsps = ScriptedEvsps(Answer(Decision.ACCEPTED))
    house.evsps = evsps
    first = await house.authorise(ask("B2", charge_id="c1"))
    assert await house.authorise(ask("B2", charge_id="c1")) == first
    with pytest.raises(model.ChargeAskedDifferently):
        await house.authorise(ask("B2", charge_id="c1", evse_id=ELSEWHERE))
    assert len(evsps.asked) == 1


async def test_an_evsp_is_told_all_that_it_needs_to_decide(house: House) -> None:
    evsps = ScriptedEvsps(Answer(Decision.ACCEPTED))
    house.evsps = evsps
    decided = await house.authorise(ask("B2"))
    assert evsps.asked == [
        (
            XYZ,
            {
                "authorisation_id": decided.authorisation_id,
                "evse_id": "FR*PD1*E123",
                "contract_id": ASKING.contract_id,
                "identification": {"type": "rfid", "value": "B2"},
                "services": ["charging"],
                "operator": "FR*PD1",
                "at": NOON,
            },
        )
    ]


async def test_an_evsp_is_not_asked_about_what_is_refused_anyway(house: House) -> None:
    evsps = ScriptedEvsps(Answer(Decision.ACCEPTED))
    house.evsps = evsps
    for question in (ask("A1"), ask("B2", services=("parking",)), ask("nobody's")):
        await house.authorise(question)
    assert evsps.asked == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(Decision.ACCEPTED), None),
        (Answer(Decision.REFUSED, Reason.OVER_LIMIT), Reason.OVER_LIMIT),
        (Answer(Decision.REFUSED), Reason.CONTRACT_BLOCKED),
        (NoAnswer("nonsense"), Reason.EVSP_SILENT),
    ],
)
async def test_the_evsps_answer_decides(
    house: House, answer: Answer | NoAnswer, reason: Reason | None
) -> None:
    house.evsps = ScriptedEvsps(answer)
    assert (await house.authorise(ask("B2"))).reason is reason


async def test_silence_means_what_the_evsp_has_chosen(house: House) -> None:
    for silence, reason in ((Silence.ACCEPT, None), (Silence.REFUSE, Reason.EVSP_SILENT)):
        await house.choose(XYZ, Policy(silence))
        decided = await house.authorise(ask("B2"))
        assert decided.reason is reason
        _, _, steps = await flows.explain(
            decided.authorisation_id, caller=XYZ, decisions=house.decisions
        )
        assert steps[-1].detail == f"nobody asked; on silence: {silence}"


async def test_a_slow_evsp_keeps_no_transaction_open_and_nobody_else_waiting(
    house: House,
) -> None:
    release, arrived = asyncio.Event(), asyncio.Semaphore(0)

    async def slow(_: web.Request) -> web.Response:
        arrived.release()
        await release.wait()
        return web.json_response({"decision": "accepted"})

    async with evsp_server(slow) as url:
        evsps = HttpEvsps(ListedEndpoints({XYZ: FixedEndpoint(url)}))
        house.evsps = evsps
        # More than the pool has connections.
        waiting = [asyncio.create_task(house.authorise(ask("B2"))) for _ in range(20)]
        for _ in waiting:
            await arrived.acquire()
        async with house.database.hot() as connection:
            busy = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND xact_start IS NOT NULL AND pid <> pg_backend_pid()"
            )
        assert busy == 0
        assert (await house.authorise(ask())).reason is None
        release.set()
        assert {one.reason for one in await asyncio.gather(*waiting)} == {None}
        await evsps.close()


async def test_an_evsp_that_never_answers_is_silent_after_its_time(house: House) -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    house.ask_timeout_s = 0.05
    async with evsp_server(never) as url:
        evsps = HttpEvsps(ListedEndpoints({XYZ: FixedEndpoint(url)}))
        house.evsps = evsps
        assert (await house.authorise(ask("B2"))).reason is Reason.EVSP_SILENT
        await evsps.close()


async def test_an_evsp_is_given_the_time_that_it_has_chosen(house: House) -> None:
    seen: list[float] = []

    class Timed(ScriptedEvsps):
        async def ask(
            self, evsp: PartyId, question: Mapping[str, Any], deadline: float
        ) -> Answer | NoAnswer:
            seen.append(deadline - asyncio.get_running_loop().time())
            return await super().ask(evsp, question, deadline)

    house.evsps = Timed(Answer(Decision.ACCEPTED))
    await house.choose(XYZ, Policy(ask_timeout_ms=400))
    await house.authorise(ask("B2"))
    house.ask_timeout_s = 0.2
    await house.authorise(ask("B2"))
    assert seen[0] <= 0.4
    assert seen[1] <= 0.2


async def test_a_silence_that_accepts_up_to_an_amount_is_on_record_with_it(house: House) -> None:
    twenty = Money(2_000, "EUR")
    await house.choose(XYZ, Policy(Silence.ACCEPT, accept_up_to=twenty))
    decided = await house.authorise(ask("B2"))
    assert (decided.reason, decided.max_amount) == (None, twenty)
    found, account, steps = await flows.explain(
        decided.authorisation_id, caller=XYZ, decisions=house.decisions
    )
    assert found.max_amount == twenty
    assert account.decided_by == "policy"
    assert account.policy == {
        "on_silence": "accept",
        "accept_up_to": "20.00 EUR",
        "ask_timeout_ms": 3000,
    }
    assert steps[-1].detail == "nobody asked; on silence: accept up to 20.00 EUR"
    _, operators, _ = await flows.explain(
        decided.authorisation_id, caller=PD1, decisions=house.decisions
    )
    assert (operators.policy, operators.asked, operators.evsps_asked) == (None, (), 1)


FEED = ask("FEED")
OTHER, THIRD = PartyId("NL*OTH"), PartyId("BE*THI")
YES = Answer(Decision.ACCEPTED)


@pytest.fixture
async def asking_around(house: House) -> House:
    """Three EVSPs that have agreed with the operator and want to see cards that nobody knows."""
    since = NOON - timedelta(days=7)
    for evsp in (XYZ, OTHER, THIRD):
        house.agreements.by_pair[PD1, evsp] = (since, FixedAgreement(f"with {evsp}"))
        await house.choose(evsp, Policy(asks_unknown=True))
    return house


async def test_a_card_that_nobody_knows_is_anothers_whose_evsp_says_yes(
    asking_around: House,
) -> None:
    house = asking_around
    own = ContractId("NLOTH000000001")
    evsps = ScriptedEvsps(Answer(Decision.REFUSED), {OTHER: replace(YES, contract_id=own)})
    house.evsps = evsps
    decided = await house.authorise(FEED)
    assert (decided.reason, decided.evsp, decided.contract_id) == (None, OTHER, own)
    assert decided.agreement_id == f"with {OTHER}"
    assert decided.price is not None
    assert {evsp for evsp, _ in evsps.asked} == {XYZ, OTHER, THIRD}
    for _, question in evsps.asked:
        assert question["contract_id"] is None
        assert question["identification"] == {"type": "rfid", "value": "FEED"}


async def test_an_evsp_that_says_yes_to_a_strangers_card_has_its_cap_all_the_same(
    asking_around: House,
) -> None:
    house = asking_around
    house.evsps = ScriptedEvsps(Answer(Decision.REFUSED), {OTHER: YES})
    limit = limit_of(OTHER, Money(50_00, "EUR"), Money(50_00, "EUR"), by="operator", now=NOON)
    books = Exposures(house.database, Holds(HUB))
    await set_limit(limit, books=books, clock=lambda: NOON)
    assert (await house.authorise(FEED)).reason is None
    second = await house.authorise(FEED)
    assert (second.reason, second.evsp) == (Reason.OVER_LIMIT, OTHER)


@pytest.mark.parametrize("answer", [Answer(Decision.REFUSED), NoAnswer("no answer in time")])
async def test_a_card_that_all_deny_is_an_unknown_contract(
    asking_around: House, answer: Answer | NoAnswer
) -> None:
    asking_around.evsps = ScriptedEvsps(answer)
    decided = await asking_around.authorise(FEED)
    assert (decided.reason, decided.evsp) == (Reason.UNKNOWN_CONTRACT, None)
    _, account, _ = await flows.explain(
        decided.authorisation_id, caller=PD1, decisions=asking_around.decisions
    )
    assert (account.evsps_asked, account.asked, account.decided_by) == (3, (), None)


async def test_a_card_is_shown_only_to_those_who_want_it_and_trade_here_and_can_be_asked(
    asking_around: House,
) -> None:
    house = asking_around
    elsewhere, ended, shy = PartyId("FR*ELS"), PartyId("FR*END"), PartyId("FR*SHY")
    agreements = house.agreements.by_pair
    agreements[PD1, elsewhere] = (NOON, FixedAgreement(evses=frozenset({ELSEWHERE})))
    agreements[PD1, shy] = (NOON, FixedAgreement())
    for evsp in (elsewhere, ended):
        await house.choose(evsp, Policy(asks_unknown=True))
    evsps = ScriptedEvsps(Answer(Decision.REFUSED), deaf=frozenset({THIRD}))
    house.evsps = evsps
    await house.authorise(FEED)
    assert {evsp for evsp, _ in evsps.asked} == {XYZ, OTHER}


@pytest.mark.parametrize(
    "question",
    [
        replace(FEED, evse_id=EvseId("DE*ABC*E1")),
        replace(FEED, evse_id=EvseId("FR*PD1*E404")),
        replace(FEED, identification=identify(IdentificationType.REMOTE, "FEED")),
        # Its EVSP has no agreement, and it is nobody else's affair.
        replace(FEED, identification=identify(IdentificationType.CONTRACT_ID, "FRNOT000000009")),
        # There was no agreement then.
        replace(FEED, at=NOON - timedelta(days=8)),
    ],
)
async def test_nothing_else_is_shown_around(asking_around: House, question: Question) -> None:
    evsps = ScriptedEvsps(YES)
    asking_around.evsps = evsps
    assert (await asking_around.authorise(question)).reason is not None
    assert evsps.asked == []


@pytest.mark.parametrize(
    "kind", [IdentificationType.CONTRACT_ID, IdentificationType.PLUG_AND_CHARGE, "remote"]
)
async def test_of_a_contract_that_is_not_kept_here_only_its_own_evsp_is_asked(
    asking_around: House, kind: str
) -> None:
    named = ContractId("FRXYZ000000009")
    evsps = ScriptedEvsps(YES)
    asking_around.evsps = evsps
    shown = identify(IdentificationType(kind), named)
    decided = await asking_around.authorise(replace(FEED, identification=shown))
    assert (decided.reason, decided.evsp, decided.contract_id) == (None, XYZ, named)
    [(evsp, question)] = evsps.asked
    assert (evsp, question["contract_id"]) == (XYZ, named)


async def test_a_charge_that_was_asked_about_is_not_shown_around_again(
    asking_around: House,
) -> None:
    evsps = ScriptedEvsps(YES)
    asking_around.evsps = evsps
    first = await asking_around.authorise(replace(FEED, charge_id="c1"))
    assert await asking_around.authorise(replace(FEED, charge_id="c1")) == first
    assert len(evsps.asked) == 3


async def test_the_first_yes_wins_and_the_others_are_let_go(asking_around: House) -> None:
    """Three servers: one says no, one says yes when both others have the question, one hangs."""
    arrived, gone = asyncio.Semaphore(0), asyncio.Event()

    async def no(_: web.Request) -> web.Response:
        arrived.release()
        return web.json_response({"decision": "refused"})

    async def yes(_: web.Request) -> web.Response:
        for _number in range(2):
            await arrived.acquire()
        return web.json_response({"decision": "accepted", "contract_id": "FR-XYZ-000000001"})

    async def hangs(_: web.Request) -> web.Response:
        arrived.release()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        return web.Response()

    async with evsp_server(no) as a, evsp_server(yes) as b, evsp_server(hangs) as c:
        ends = {XYZ: FixedEndpoint(a), OTHER: FixedEndpoint(b), THIRD: FixedEndpoint(c)}
        evsps = HttpEvsps(ListedEndpoints(ends))
        asking_around.evsps = evsps
        decided = await asking_around.authorise(FEED)
        # It named a contract of another EVSP, which counts as none.
        assert (decided.reason, decided.evsp, decided.contract_id) == (None, OTHER, None)
        async with asyncio.timeout(10):
            await gone.wait()
        await evsps.close()

    async def account(caller: PartyId) -> Account:
        _, found, _ = await flows.explain(
            decided.authorisation_id, caller=caller, decisions=asking_around.decisions
        )
        return found

    operators = await account(PD1)
    assert (operators.evsps_asked, operators.asked, operators.decided_by) == (3, (), "evsp")
    for evsp, said, outcome_told in (
        (XYZ, "refused: no reason given", False),
        (OTHER, "accepted", True),
        (THIRD, "not waited for: another EVSP said yes", False),
    ):
        seen = await account(evsp)
        assert seen.outcome_told is outcome_told
        assert [(one.evsp, one.said) for one in seen.asked] == [(evsp, said)]
        assert (seen.evsps_asked, seen.took_ms) == (None, None)
    with pytest.raises(model.UnknownAuthorisation):
        await account(ABC)


async def test_all_who_are_asked_have_one_deadline(asking_around: House) -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    asking_around.ask_timeout_s = 0.2
    async with evsp_server(never) as url:
        ends = dict.fromkeys((XYZ, OTHER, THIRD), FixedEndpoint(url))
        evsps = HttpEvsps(ListedEndpoints(ends), most_in_flight=1)
        asking_around.evsps = evsps
        began = asyncio.get_running_loop().time()
        assert (await asking_around.authorise(FEED)).reason is Reason.UNKNOWN_CONTRACT
        # Three one after the other would take three times as long.
        assert asyncio.get_running_loop().time() - began < 0.55
        await evsps.close()


EMAID = LISTED.contract_id
ROOT = pki.root()
OTHERS_LEAF = to_pem([pki.root("another").contract(EMAID)])


def vehicle(chain: str, *hash_data: HashData, contract_id: str = EMAID) -> Question:
    shown = identify(IdentificationType.PLUG_AND_CHARGE, contract_id, present(hash_data, chain))
    return ask(identification=shown)


@pytest.fixture
async def trusting(house: House) -> House:
    certificates = SqlCertificates(house.database)
    await certificates_flows.keep(
        ROOT.pem, caller=XYZ, certificates=certificates, clock=lambda: NOON
    )
    return house


async def test_a_contract_certificate_is_checked_and_the_check_is_explained(
    trusting: House,
) -> None:
    leaf, old = ROOT.contract(EMAID), ROOT.contract(EMAID, valid=timedelta(days=30))
    revoked = ROOT.contract(EMAID)
    await certificates_flows.revoke(
        f"{revoked.serial_number:x}",
        None,
        caller=XYZ,
        certificates=SqlCertificates(trusting.database),
        clock=lambda: NOON,
    )
    for question, reason, outcome in (
        (vehicle(to_pem([leaf]), ROOT.hash_data(leaf)), None, "verified"),
        (vehicle(OTHERS_LEAF), Reason.UNKNOWN_CONTRACT, "untrusted"),
        (vehicle(to_pem([leaf]), ROOT.hash_data(old)), Reason.UNKNOWN_CONTRACT, "untrusted"),
        (vehicle(to_pem([revoked])), Reason.CONTRACT_BLOCKED, "revoked"),
        (vehicle(to_pem([old])), Reason.CONTRACT_EXPIRED, "expired"),
    ):
        decided = await trusting.authorise(question)
        assert decided.reason is reason
        for caller in (PD1, XYZ):
            _, account, _ = await flows.explain(
                decided.authorisation_id, caller=caller, decisions=trusting.decisions
            )
            assert account.certificate is not None
            assert account.certificate["outcome"] == outcome


async def test_the_evsp_is_shown_the_certificates_that_do_not_speak_against_themselves(
    trusting: House,
) -> None:
    evsps = ScriptedEvsps(YES)
    trusting.evsps = evsps
    asking = ASKING.contract_id
    leaf = ROOT.contract(asking)
    question = vehicle(to_pem([leaf]), ROOT.hash_data(leaf), contract_id=asking)
    assert (await trusting.authorise(question)).reason is None
    assert (await trusting.authorise(vehicle(OTHERS_LEAF, contract_id=asking))).reason is not None
    [(_, asked)] = evsps.asked
    assert asked["identification"] == {
        "type": "plug-and-charge",
        "value": asking,
        "certificate_hash_data": [asdict(ROOT.hash_data(leaf))],
        "contract_certificate_chain": to_pem([leaf]),
    }


async def test_a_charge_asked_about_with_another_certificate_is_another_question(
    trusting: House,
) -> None:
    first, second = (vehicle(to_pem([ROOT.contract(EMAID)])) for _ in range(2))
    decided = await trusting.authorise(replace(first, charge_id="c1"))
    assert (await trusting.authorise(replace(first, charge_id="c1"))).authorisation_id == (
        decided.authorisation_id
    )
    with pytest.raises(model.ChargeAskedDifferently):
        await trusting.authorise(replace(second, charge_id="c1"))


async def test_others_are_told_of_no_authorisation(house: House) -> None:
    decided = await house.authorise(ask())
    for authorisation_id, caller in (
        (decided.authorisation_id, ABC),
        (model.authorisation_id(NOON, b"0123456789"), PD1),
        ("\x00", PD1),
    ):
        with pytest.raises(model.UnknownAuthorisation):
            await flows.explain(authorisation_id, caller=caller, decisions=house.decisions)
