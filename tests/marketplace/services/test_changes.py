"""What may change about a service without a new version, and what others can rely on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from marketplace.services import changes, lifecycle, model
from marketplace.services.changes import (
    BadOperation,
    OfTheHub,
    OperationsRemoved,
    WrongKind,
    fits,
    with_endpoints,
    with_handling,
    with_interface,
    with_login,
    with_mode,
)
from marketplace.services.handling import USUAL, BadHandling, ContentMap, Handling, Mode
from marketplace.services.lifecycle import Action, ServiceIncomplete
from marketplace.services.model import (
    MOST_ENDPOINTS,
    MOST_OPERATIONS,
    BadService,
    Category,
    Endpoint,
    Environment,
    Operation,
    Protocol,
    Service,
    Status,
    Version,
)
from tests.marketplace.fakes import HUB, NOW
from tests.marketplace.services.test_model import SERVICE

DIGEST = b"d" * 32
PUBLISHED = lifecycle.changed(SERVICE, Action.PUBLISH)
SOAP = replace(SERVICE, protocol=Protocol.SOAP)
TOPIC = replace(SERVICE, protocol=Protocol.TOPIC, endpoint=None, operations=())
HUBS = model.hub_services(HUB, NOW)
operations = some.lists(
    some.builds(
        Operation, some.sampled_from("abcd"), some.sampled_from(["GET", "POST"]), some.just("/x")
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda one: one.name,
).map(tuple)


@given(operations, operations, some.sampled_from(Status))
def test_once_others_may_call_it_each_operation_stays_where_it_is(
    before: tuple[Operation, ...], after: tuple[Operation, ...], status: Status
) -> None:
    service = replace(SERVICE, operations=before, status=status)
    removed = {one.name for one in set(before) - set(after)}
    if removed and status not in (Status.DRAFT, Status.IN_TEST):
        with pytest.raises(OperationsRemoved) as refused:
            with_interface(service, DIGEST, after)
        assert set(str(refused.value.value).split(", ")) == removed
        return
    described = with_interface(service, DIGEST, after)
    assert (described.operations, described.interface_digest) == (after, DIGEST)


@given(operations, operations)
def test_handling_never_speaks_of_an_operation_that_there_is_not(
    before: tuple[Operation, ...], after: tuple[Operation, ...]
) -> None:
    for handling in (Handling(timeouts_s={"a": 1.0}), Handling(maps={"b": ContentMap("@")})):
        spoken = {*handling.timeouts_s, *handling.maps}
        service = replace(SERVICE, operations=before)
        if not spoken <= {one.name for one in before}:
            with pytest.raises(BadHandling):
                with_handling(service, handling)
            continue
        service = with_handling(service, handling)
        if spoken <= {one.name for one in after}:
            assert with_interface(service, DIGEST, after).handling == handling
        else:
            with pytest.raises(BadHandling):
                with_interface(service, DIGEST, after)


def test_a_service_without_known_operations_is_handled_by_any_name() -> None:
    handling = Handling(timeouts_s={"whatever": 1.0})
    assert with_handling(replace(SERVICE, operations=()), handling).handling == handling


def test_what_is_subscribed_to_is_not_carried_and_is_told_so() -> None:
    assert with_handling(TOPIC, USUAL) == with_mode(TOPIC, Mode.ENFORCE) == TOPIC
    with pytest.raises(BadHandling) as refused:
        with_handling(TOPIC, Handling(timeout_s=5.0))
    assert refused.value.field == "handling.timeout_s"
    with pytest.raises(BadHandling) as refused:
        with_mode(TOPIC, Mode.SHADOW)
    assert refused.value.field == "handling.mode"


def test_the_mode_changes_and_nothing_else() -> None:
    handled = with_handling(SERVICE, Handling(timeouts_s={"find": 2.0}))
    off = with_mode(handled, Mode.OFF)
    assert off.handling.timeouts_s == {"find": 2.0}
    assert with_mode(off, Mode.ENFORCE) == handled


def test_a_published_service_keeps_an_endpoint_and_a_draft_need_not() -> None:
    sandbox = [Endpoint("https://try.example/", Environment.SANDBOX)]
    assert with_endpoints(SERVICE, None, sandbox).endpoint is None
    for service in (PUBLISHED, lifecycle.changed(PUBLISHED, Action.SUSPEND)):
        with pytest.raises(ServiceIncomplete):
            with_endpoints(service, None, sandbox)
    moved = with_endpoints(PUBLISHED, "https://new.example/", [])
    assert moved == replace(PUBLISHED, endpoint="https://new.example/")


def test_endpoints_are_few_and_each_another() -> None:
    for more in (
        [Endpoint(SERVICE.endpoint or "")],
        [Endpoint("https://b.example/"), Endpoint("https://b.example/", Environment.SANDBOX)],
        [Endpoint(f"https://b.example/{n}") for n in range(MOST_ENDPOINTS)],
    ):
        with pytest.raises(BadService):
            with_endpoints(SERVICE, SERVICE.endpoint, more)
    with pytest.raises(BadService):
        with_endpoints(TOPIC, "https://b.example/", [])


def test_a_document_is_of_the_protocols_kind() -> None:
    fits(SERVICE, "openapi")
    fits(SOAP, "wsdl")
    for service, kind in ((SERVICE, "wsdl"), (SOAP, "openapi"), (TOPIC, "openapi")):
        with pytest.raises(WrongKind) as refused:
            fits(service, kind)
        assert refused.value.rule == changes.KINDS.get(service.protocol, "none")


@pytest.mark.parametrize(
    ("told", "refusal"),
    [
        ((), BadService),
        (tuple(Operation(f"o{n}", "GET", "/") for n in range(MOST_OPERATIONS + 1)), BadService),
        ((Operation("", "GET", "/"),), BadOperation),
        ((Operation("a\x00", "GET", "/"),), BadOperation),
        ((Operation("a", "GET", "/\n"),), BadOperation),
        ((Operation("a", "GET", "/" * 1_001),), BadOperation),
        ((Operation("a", "GET", "/"), Operation("a", "POST", "/")), BadOperation),
    ],
    ids=["none", "too many", "no name", "NUL", "two lines", "long", "twice"],
)
def test_operations_that_cannot_be_kept_are_refused(
    told: tuple[Operation, ...], refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        with_interface(SERVICE, DIGEST, told)


def test_only_soap_has_a_login() -> None:
    assert with_login(SOAP, b"sealed").login == b"sealed"
    assert with_login(replace(SOAP, login=b"sealed"), None) == SOAP
    for service in (SERVICE, TOPIC):
        with pytest.raises(WrongKind):
            with_login(service, b"sealed")


@pytest.mark.parametrize("service", HUBS, ids=[one.name for one in HUBS])
def test_where_the_hub_itself_answers_stays_its_own_affair(service: Service) -> None:
    assert lifecycle.complete(service) is service
    with pytest.raises(OfTheHub):
        with_endpoints(service, "https://a.example/", [])
    with pytest.raises(OfTheHub):
        fits(service, "openapi")
    with pytest.raises(OfTheHub):
        with_login(service, None)
    if service.callable:
        assert with_mode(service, Mode.SHADOW).handling.mode is Mode.SHADOW


def test_a_service_is_published_when_a_call_of_it_has_all_that_it_needs() -> None:
    for draft, lacks in (
        (replace(SERVICE, endpoint=None), {"endpoint"}),
        (replace(SOAP, endpoint=None), {"endpoint", "interface"}),
        (SOAP, {"interface"}),
    ):
        with pytest.raises(ServiceIncomplete) as refused:
            lifecycle.changed(draft, Action.PUBLISH)
        told = {word for word in ("endpoint", "interface") if f"no {word}" in str(refused.value)}
        assert told == lacks
        assert refused.value.field in lacks
        # What cannot be published can be given up.
        assert lifecycle.changed(draft, Action.RETIRE).status is Status.RETIRED
    for draft in (SERVICE, replace(SOAP, interface_digest=DIGEST), TOPIC):
        assert lifecycle.changed(draft, Action.PUBLISH).status is Status.PUBLISHED


def test_a_repeat_is_compared_in_what_never_changes() -> None:
    known = replace(
        PUBLISHED,
        endpoint="https://moved.example/",
        more_endpoints=(Endpoint("https://b.example/"),),
        handling=Handling(timeout_s=1.0),
        login=b"sealed",
    )
    assert model.same_description(known, SERVICE)
    assert not model.same_description(known, replace(SERVICE, operations=()))
    described = replace(known, interface_digest=DIGEST, operations=(Operation("a", "GET", "/"),))
    assert model.same_description(described, SERVICE)
    assert SERVICE.handling == USUAL
    for other in (
        replace(SERVICE, description="other"),
        replace(SERVICE, category=Category.CORE),
        replace(SERVICE, tags=("other",)),
        replace(SERVICE, replaces=Version("parking", 7)),
        replace(SERVICE, documentation="other"),
        replace(SERVICE, protocol=Protocol.SOAP),
        replace(SERVICE, provider=HUB),
    ):
        assert not model.same_description(described, other)
