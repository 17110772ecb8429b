"""What the gateway is told of contracts: never more than the book says at that moment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from bridge.document import Document, Kind
from gateway.calls.model import Denial, Grant, Quota, Reason
from gridroam.core import COMMITMENTS
from gridroam.gateway_answers import ContractsForGateway, InterfacesForGateway, LoginsForGateway
from kit.database import Database
from kit.secrets import SecretBox
from marketplace.contracts import model
from marketplace.contracts.book import ContractBook
from marketplace.contracts.model import Action, Contract
from marketplace.contracts.ports import BookRow, Reading, ServiceRow, StandingRow
from marketplace.offerings import model as offerings
from marketplace.offerings.model import Audience, Offering, ServiceTerms
from marketplace.partners import standing
from marketplace.partners.standing import ABSENT, UNTROUBLED, Standing
from marketplace.services.handling import ContentMap, Handling, Mode
from marketplace.services.login import Login, seal
from marketplace.services.model import Category, Environment, Operation, Protocol, Service, Status
from marketplace.services.model import Endpoint as ServiceEndpoint
from marketplace.services.store import SqlCatalogue
from roaming.party import PartyId
from roaming.refusal import Refusal

NOW = datetime.fromisoformat("2026-03-01T12:00:00+00:00")
HOUR = timedelta(hours=1)
OWNER, CALLER, STRANGER = PartyId("FR*OWN"), PartyId("FR*CAL"), PartyId("FR*STR")


class Rows:
    """The marketplace's rows in a list; each look reads them all. `broken`: after the rows."""

    def __init__(self) -> None:
        self.contracts: list[Contract] = []
        self.services = [weather()]
        self.standings: dict[PartyId, Standing] = {}
        self.broken = False
        self._looks = 0

    async def read(
        self,
        fence: int | None,
        *,
        known_terms: Collection[bytes],
        take_terms: Callable[[bytes, str], None],
        take: Callable[[Sequence[BookRow]], None],
        take_services: Callable[[Sequence[ServiceRow]], None],
        take_standings: Callable[[Sequence[StandingRow]], None],
        count: bool = False,
    ) -> Reading:
        self._looks += 1
        for one in self.contracts:
            digest = one.contract_id.encode()
            take_terms(digest, msgspec.json.encode(one.terms.to_json()).decode())
            take([row(one, digest, version=self._looks)])
        if self.broken:
            raise ConnectionError("the database is away")
        take_services([ServiceRow(one, self._looks) for one in self.services])
        take_standings(
            [StandingRow(party, one, self._looks) for party, one in self.standings.items()]
        )
        return Reading(fence=1, counted=None)


def row(one: Contract, digest: bytes, *, version: int) -> BookRow:
    return BookRow(
        contract_id=one.contract_id,
        provider=str(one.provider),
        requester=str(one.requester),
        service=one.service,
        major=one.major,
        terms_digest=digest,
        valid_from=one.valid_from,
        valid_until=one.valid_until,
        history=one.history,
        version=version,
        sandbox=one.sandbox,
    )


def weather(status: Status = Status.PUBLISHED, **changes: Any) -> Service:
    return Service(
        name="weather",
        major=1,
        provider=OWNER,
        status=status,
        category=Category.VALUE_ADDED,
        description="",
        endpoint="https://weather.example",
        documentation="",
        registered_at=NOW,
        **{"protocol": Protocol.REST, "operations": (), **changes},
    )


def contract(terms: ServiceTerms | None = None, *, hours: int | None = None) -> Contract:
    offering = Offering(
        offering_id="o1",
        service="weather",
        major=1,
        provider=OWNER,
        terms=terms or ServiceTerms(),
        audience=Audience.public(),
        valid_from=NOW,
        valid_until=None if hours is None else NOW + hours * HOUR,
        status=offerings.Status.PUBLISHED,
        published_at=NOW,
    )
    return model.agreed("c1", offering, CALLER, NOW)


async def opened(*contracts: Contract) -> tuple[Rows, ContractBook, ContractsForGateway]:
    rows = Rows()
    rows.contracts += contracts
    book = ContractBook(rows, lambda: NOW)
    await book.load()
    return rows, book, ContractsForGateway(book)


def asked(
    answers: ContractsForGateway,
    at: datetime = NOW,
    party: PartyId = CALLER,
    operation: str = "GET /sun",
) -> Grant | Denial:
    return answers.find(party, "weather", 1, operation, at)


async def test_a_contract_is_put_into_words_with_its_quota_and_whether_it_costs() -> None:
    terms = ServiceTerms(
        quota=offerings.Quota(calls_per_day=5), price_per_call_minor=2, currency="EUR"
    )
    _, _, answers = await opened(contract(terms))
    assert asked(answers) == Grant("c1", Quota(per_day=5), priced=True)
    assert asked(answers) is asked(answers)


@pytest.mark.parametrize(
    ("plan", "priced", "units_told"),
    [
        ({"per_call": [{"up_to": 5, "price": "0"}, {"price": "0.005"}]}, True, False),
        ({"per_unit": {"unit": "kilobyte", "price": "0.001"}}, True, False),
        ({"per_unit": {"unit": "told", "price": "0.001"}}, True, True),
        ({"recurring": {"price": "49", "every": "month"}}, False, False),
    ],
    ids=str,
)
async def test_calls_of_a_plan_cost_where_it_has_a_price_for_them(
    plan: dict[str, Any], priced: bool, units_told: bool
) -> None:
    _, _, answers = await opened(contract(ServiceTerms.parse({"plan": plan, "currency": "EUR"})))
    assert asked(answers) == Grant("c1", None, priced=priced, units_told=units_told)


async def test_a_suspended_contract_is_refused_at_once() -> None:
    rows, book, answers = await opened(contract())
    assert asked(answers) == Grant("c1")
    rows.contracts[0] = model.changed(rows.contracts[0], Action.SUSPEND, OWNER, NOW)
    await book.refresh()
    assert asked(answers) == Denial(Reason.CONTRACT_SUSPENDED, "c1")
    rows.contracts[0] = model.changed(rows.contracts[0], Action.RESUME, OWNER, NOW)
    await book.refresh()
    assert asked(answers) == Grant("c1")


async def test_a_suspension_counts_even_where_the_look_that_brought_it_broke_off() -> None:
    rows, book, answers = await opened(contract())
    assert asked(answers) == Grant("c1")
    rows.contracts[0] = model.changed(rows.contracts[0], Action.SUSPEND, OWNER, NOW)
    rows.broken = True
    with pytest.raises(ConnectionError):
        await book.refresh()
    assert asked(answers) == Denial(Reason.CONTRACT_SUSPENDED, "c1")


async def test_a_service_suspended_or_retired_is_seen_at_once() -> None:
    rows, book, answers = await opened()
    found = answers.find_service("weather", 1)
    assert found is not None
    assert not found.suspended
    rows.services = [weather(Status.SUSPENDED)]
    await book.refresh()
    found = answers.find_service("weather", 1)
    assert found is not None
    assert found.suspended
    rows.services = [weather(Status.RETIRED)]
    await book.refresh()
    assert answers.find_service("weather", 1) is None


async def test_a_contract_ends_at_its_end_and_a_notice_when_it_has_run_with_no_look_between() -> (
    None
):
    _, _, answers = await opened(contract(hours=2))
    assert asked(answers, NOW + HOUR) == Grant("c1")
    assert asked(answers, NOW + 2 * HOUR) == Denial(Reason.CONTRACT_EXPIRED, "c1")
    assert asked(answers, NOW - HOUR) == Denial(Reason.NOT_YET_VALID, "c1")
    ends = model.changed(contract(ServiceTerms(notice_days=1)), Action.TERMINATE, OWNER, NOW)
    _, _, answers = await opened(ends)
    assert asked(answers, NOW + 23 * HOUR) == Grant("c1")
    assert asked(answers, NOW + 24 * HOUR) == Denial(Reason.CONTRACT_TERMINATED, "c1")


async def test_one_partys_contract_is_not_anothers_and_not_for_other_operations() -> None:
    _, _, answers = await opened(contract(ServiceTerms(operations=("GET /sun",))))
    assert asked(answers) == Grant("c1")
    assert asked(answers, party=STRANGER) == Denial(Reason.NO_CONTRACT)
    assert asked(answers, operation="POST /sun") == Denial(Reason.OPERATION_NOT_COVERED, "c1")
    assert answers.find(CALLER, "weather", 2, "GET /sun", NOW) == Denial(Reason.NO_CONTRACT)


async def test_calls_have_the_names_that_the_provider_gave_its_operations() -> None:
    rows, book, answers = await opened()
    plain = answers.find_service("weather", 1)
    assert plain is not None
    assert plain.operations is None
    handling = Handling(maps={"sun": ContentMap(answer="hours")})
    named = (Operation("sun", "GET", "/sun/{place}"),)
    rows.services = [weather(operations=named, handling=handling)]
    await book.load()
    service = answers.find_service("weather", 1)
    assert service is not None
    assert service.operations is not None
    assert service.operations.name("GET", "/sun/Paris") == "sun"
    assert service.operations.name("GET", "/rain/Paris") is None
    assert service.maps == {"sun": (None, "hours")}
    assert service.turned


@pytest.mark.parametrize(
    ("changes", "watched"),
    [
        ({}, True),
        ({"handling": Handling()}, False),
        ({"status": Status.DRAFT}, False),
        ({"status": Status.SUSPENDED}, False),
        ({"endpoint": None}, False),
        ({"protocol": Protocol.TOPIC}, False),
    ],
    ids=["published", "no path", "draft", "suspended", "of the hub", "topic"],
)
async def test_only_published_services_with_a_health_path_are_watched(
    changes: dict[str, Any], watched: bool
) -> None:
    rows, book, answers = await opened()
    rows.services = [replace(weather(handling=Handling(health_path="/up")), **changes)]
    await book.refresh()
    found = list(answers.watched())
    assert [one.health_path for one in found] == (["/up"] if watched else [])
    # It is the very one that calls are told of: what is known of its endpoints is known once.
    assert all(one is answers.find_service("weather", 1) for one in found)


async def test_a_described_soap_service_is_called_by_the_names_of_its_operations() -> None:
    rows, book, answers = await opened()
    rows.services = [weather(protocol=Protocol.SOAP, interface_digest=b"digest")]
    await book.load()
    service = answers.find_service("weather", 1)
    assert service is not None
    assert service.operations is not None
    assert service.operations.name("POST", "/GetSun") == "GetSun"
    assert service.turned


@given(
    some.lists(
        some.tuples(
            some.sampled_from(Action), some.sampled_from([OWNER, CALLER]), some.integers(0, 30)
        ),
        max_size=6,
    ),
    some.lists(some.integers(-5, 120), min_size=1, max_size=20),
)
async def test_what_is_remembered_is_what_a_first_look_would_say(
    done: list[tuple[Action, PartyId, int]], hours: list[int]
) -> None:
    one, now = contract(ServiceTerms(notice_days=1), hours=100), NOW
    for action, by, later in done:
        now += later * HOUR
        with suppress(Refusal):
            one = model.changed(one, action, by, now)
    _, book, answers = await opened(one)
    for hour in hours:
        at = NOW + hour * HOUR
        assert asked(answers, at) == asked(ContractsForGateway(book), at)


moves = some.lists(
    some.tuples(
        some.sampled_from(standing.Action),
        some.none() | some.just("service-provider"),
        some.integers(0, 30),
        some.integers(0, 40),
    ),
    max_size=5,
)


def stood(asked: list[tuple[standing.Action, str | None, int, int]]) -> Standing:
    """What became of a partner."""
    one, now = UNTROUBLED, NOW
    for action, role, later, notice in asked:
        now += later * HOUR
        leaves_at = now + notice * HOUR if action is standing.Action.LEAVE else None
        with suppress(Refusal):
            one = standing.changed(
                one, action, OWNER, now, role=None if leaves_at else role, leaves_at=leaves_at
            )
    return one


@given(moves, moves, some.lists(some.integers(-5, 220), min_size=1, max_size=20))
async def test_nobody_calls_or_is_called_who_is_suspended_or_has_left_whatever_is_remembered(
    provider: list[tuple[standing.Action, str | None, int, int]],
    requester: list[tuple[standing.Action, str | None, int, int]],
    half_hours: list[int],
) -> None:
    rows, book, answers = await opened(contract(hours=100))
    rows.standings = {OWNER: stood(provider), CALLER: stood(requester)}
    await book.refresh()
    for half_hour in half_hours:
        at = NOW + half_hour * HOUR / 2
        owner, caller = rows.standings[OWNER], rows.standings[CALLER]
        there = not (
            owner.at(at) in ABSENT
            or caller.at(at) in ABSENT
            or owner.suspended_in("service-provider", at)
        )
        allowed = isinstance(asked(answers, at), Grant)
        assert allowed is (there and 0 <= half_hour < 200)
        assert asked(answers, at) == asked(ContractsForGateway(book), at)


async def test_the_reason_tells_who_is_suspended_from_who_has_left() -> None:
    rows, book, answers = await opened(contract())
    suspended = stood([(standing.Action.SUSPEND, None, 0, 0)])
    left = stood([(standing.Action.LEAVE, None, 0, 0)])
    for party, one, reason in (
        (OWNER, suspended, Reason.PARTNER_SUSPENDED),
        (CALLER, suspended, Reason.PARTNER_SUSPENDED),
        (OWNER, left, Reason.PARTNER_LEFT),
    ):
        rows.standings = {OWNER: UNTROUBLED, CALLER: UNTROUBLED, party: one}
        await book.refresh()
        assert asked(answers) == Denial(reason, "c1")


@pytest.mark.parametrize("mode", [*Mode])
async def test_what_is_called_without_a_contract_is_not_called_while_its_provider_is_suspended(
    mode: Mode,
) -> None:
    rows, book, answers = await opened()
    rows.services = [weather(handling=Handling(mode=mode))]
    rows.standings = {OWNER: stood([(standing.Action.SUSPEND, None, 0, 0)])}
    await book.refresh()
    found = answers.find_service("weather", 1)
    assert found is not None
    # Where contracts are minded, they say no, and why.
    assert found.suspended is (mode is not Mode.ENFORCE)
    rows.standings = {OWNER: UNTROUBLED}
    await book.refresh()
    found = answers.find_service("weather", 1)
    assert found is not None
    assert not found.suspended


async def test_a_draft_that_is_answered_in_the_sandbox_alone_is_not_taken_for_the_hubs_own() -> (
    None
):
    rows, book, answers = await opened()
    tried = ServiceEndpoint("https://try.example/", Environment.SANDBOX)
    rows.services = [
        weather(
            Status.DRAFT,
            more_endpoints=(tried,),
            operations=(Operation("forecast", "GET", "/forecast"),),
        )
    ]
    rows.services = [replace(one, endpoint=None) for one in rows.services]
    await book.refresh()
    service = answers.find_service("weather", 1)
    assert service is not None
    assert (service.published, service.sandbox_endpoints) == (False, (tried.url,))
    assert service.endpoint is not None
    assert service.operations is not None
    assert service.operations.name("GET", "/forecast") == "forecast"


async def test_a_document_is_found_by_the_digest_that_a_service_names(database: Database) -> None:
    catalogue = SqlCatalogue(database, COMMITMENTS)
    document = Document(Kind.OPENAPI, "a.yaml", {"a.yaml": b"openapi: 3.1.0"})
    async with catalogue.open() as shelf:
        await shelf.keep(document, NOW)
    assert await InterfacesForGateway(catalogue).load(document.digest) == document


async def test_a_login_is_opened_for_the_service_that_it_was_sealed_for() -> None:
    box = SecretBox(b"k" * 32)
    login = Login("hub", "secret")
    rows, book, answers = await opened()
    rows.services = [weather(protocol=Protocol.SOAP, login=seal(box, login, "weather", 1))]
    await book.refresh()
    service = answers.find_service("weather", 1)
    assert service is not None
    assert LoginsForGateway(box).open(service) == login
    rows.services = [weather()]
    await book.refresh()
    service = answers.find_service("weather", 1)
    assert service is not None
    assert LoginsForGateway(box).open(service) is None
