"""Applications: what roles need, and how they are decided, by example and by law."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from marketplace.applications import model
from marketplace.applications.model import (
    MOST_PARTIES,
    REQUIREMENTS,
    SECRET_HOLDS,
    TRANSITIONS,
    Application,
    BadApplication,
    Contact,
    ContactPurpose,
    Decision,
    DecisionStands,
    Need,
    NotApproved,
    RoleIncomplete,
    RoleStatus,
    SecretExpired,
)
from marketplace.business.model import BusinessDetails, business_details
from marketplace.partners.model import Role
from roaming.party import PartyId
from roaming.refusal import Refusal
from tests.marketplace.fakes import EVSP, HUB, NOW, OTHER

EVERY_CONTACT = [Contact("Ada", "ada@cards.example", purpose) for purpose in ContactPurpose]


def details(party: PartyId = EVSP, **changed: str | None) -> BusinessDetails:
    told: dict[str, str | None] = {
        "vat_id": "DE136695976",
        "tax_id": None,
        "iban": "DE89370400440532013000",
        "bic": "COBADEFFXXX",
        "invoice_email": "invoices@cards.example",
    }
    return business_details(
        party,
        legal_name="Cards GmbH",
        street="Unter den Linden 1",
        city="Berlin",
        postal_code="10117",
        country="DE",
        valid_from=NOW,
        **(told | changed),  # type: ignore[arg-type]
    )


def asked(*roles: Role, parties: tuple[PartyId, ...] = (EVSP,)) -> Application:
    return model.application(
        "a1", parties, roles or (Role.EVSP,), details(parties[0]), EVERY_CONTACT, NOW
    )


def without(need: Need) -> tuple[BusinessDetails, list[Contact]]:
    """All that any role needs, but for this."""
    told, contacts = details(), list(EVERY_CONTACT)
    if need is Need.IBAN:
        return details(iban=None, bic=None), contacts
    if need is Need.TAX:
        return details(vat_id=None), contacts
    if need is Need.INVOICE_EMAIL:
        return details(invoice_email=None), contacts
    purpose = {
        Need.CONTRACTS_CONTACT: ContactPurpose.CONTRACTS,
        Need.OPERATIONS_CONTACT: ContactPurpose.OPERATIONS,
    }[need]
    return told, [one for one in contacts if one.purpose is not purpose]


@pytest.mark.parametrize("role", [*Role])
@pytest.mark.parametrize("need", [*Need])
def test_a_role_needs_what_the_table_says_and_names_what_is_missing(role: Role, need: Need) -> None:
    told, contacts = without(need)
    assert model.missing(role, details(), EVERY_CONTACT) == []
    if need not in REQUIREMENTS[role]:
        assert model.missing(role, told, contacts) == []
        return
    assert model.missing(role, told, contacts) == [need]
    with pytest.raises(RoleIncomplete) as refused:
        model.application("a1", [EVSP], [role], told, contacts, NOW)
    assert (refused.value.value, refused.value.rule) == (role, f"with {need}")


def test_a_tax_id_does_where_there_is_no_vat_id() -> None:
    assert model.missing(Role.EVSP, details(vat_id=None, tax_id="29/123"), EVERY_CONTACT) == []


@pytest.mark.parametrize(
    "parties",
    [(), (EVSP, EVSP), tuple(PartyId(f"DE*{n:03}") for n in range(MOST_PARTIES + 1))],
    ids=["none", "one twice", "too many"],
)
def test_party_ids_are_some_and_each_is_claimed_once(parties: tuple[PartyId, ...]) -> None:
    with pytest.raises(BadApplication) as refused:
        model.application("a1", parties, [Role.DSO], details(), EVERY_CONTACT, NOW)
    assert refused.value.field == "parties"


@pytest.mark.parametrize(
    ("name", "email", "field"),
    [
        ("", "a@b.example", "name"),
        ("a\nb", "a@b.example", "name"),
        ("Ada", "nobody", "email"),
        ("Ada", "a b@c.example", "email"),
        ("Ada", "a@b", "email"),
    ],
)
def test_a_contact_can_be_written_to(name: str, email: str, field: str) -> None:
    with pytest.raises(BadApplication) as refused:
        model.contact(name, email, ContactPurpose.FINANCE)
    assert refused.value.field == f"contacts.{field}"


def test_nobody_reads_a_contact_out_of_a_log() -> None:
    assert "ada" not in repr(EVERY_CONTACT[0]).lower()


steps = some.lists(
    some.tuples(
        some.sampled_from([Role.EVSP, Role.DSO]), some.sampled_from(Decision), some.booleans()
    ),
    max_size=8,
)


@given(steps)
def test_roles_are_decided_each_by_itself_as_the_table_says(
    decisions: list[tuple[Role, Decision, bool]],
) -> None:
    one, now = asked(Role.EVSP, Role.DSO), NOW
    expected = dict.fromkeys((Role.EVSP, Role.DSO), RoleStatus.REQUESTED)
    for role, decision, with_reason in decisions:
        now += timedelta(hours=1)
        before = one
        reason = "papers" if with_reason else None
        with suppress(Refusal):
            one = model.decided(one, role, decision, HUB, now, reason)
            said = RoleStatus.APPROVED if decision is Decision.APPROVE else RoleStatus.REFUSED
            assert said in (expected[role], TRANSITIONS[expected[role]].get(decision))
            # Once more changes nothing.
            assert model.decided(one, role, decision, HUB, now, reason) is one
            expected[role] = said
        assert {told.role: told.status for told in one.roles} == expected
        if one is before:
            continue
        assert decision is Decision.APPROVE or with_reason
    assert set(one.waiting) == {
        role for role, status in expected.items() if status is RoleStatus.REQUESTED
    }
    assert (one.approved_at is not None) is (RoleStatus.APPROVED in expected.values())
    if RoleStatus.REQUESTED in expected.values():
        assert one.status is RoleStatus.REQUESTED
    else:
        assert (one.status is RoleStatus.APPROVED) is (RoleStatus.APPROVED in expected.values())


def test_what_was_approved_is_suspended_and_not_refused_afterwards() -> None:
    one = model.decided(asked(), Role.EVSP, Decision.APPROVE, HUB, NOW)
    with pytest.raises(DecisionStands):
        model.decided(one, Role.EVSP, Decision.REFUSE, HUB, NOW, "late")
    with pytest.raises(BadApplication):
        model.decided(one, Role.DSO, Decision.APPROVE, HUB, NOW)
    for reason in (None, "  "):
        with pytest.raises(BadApplication):
            model.decided(asked(), Role.EVSP, Decision.REFUSE, HUB, NOW, reason)
    for reason in ("x" * 1_001, "a\x00b"):
        with pytest.raises(BadApplication):
            model.decided(asked(), Role.EVSP, Decision.APPROVE, HUB, NOW, reason)


def test_what_a_role_needs_is_looked_at_once_more_when_it_is_approved() -> None:
    one = replace(asked(), details=details(invoice_email=None))
    with pytest.raises(RoleIncomplete):
        model.decided(one, Role.EVSP, Decision.APPROVE, HUB, NOW)


@pytest.mark.parametrize(
    ("after", "refusal"), [(timedelta(), None), (SECRET_HOLDS, SecretExpired)], ids=str
)
def test_the_secret_fetches_a_client_for_so_long_after_an_approval(
    after: timedelta, refusal: type[Refusal] | None
) -> None:
    with pytest.raises(NotApproved):
        model.check_fetchable(asked(), NOW)
    one = model.decided(asked(), Role.EVSP, Decision.APPROVE, HUB, NOW)
    if refusal is None:
        model.check_fetchable(one, NOW + after)
        return
    with pytest.raises(refusal):
        model.check_fetchable(one, NOW + after)


def test_two_applications_are_the_same_when_they_say_the_same_whenever_they_came() -> None:
    def later(one: Application, at: datetime) -> Application:
        return replace(
            one,
            application_id="a2",
            submitted_at=at,
            details=replace(one.details, valid_from=at),
        )

    one = asked(Role.EVSP)
    assert model.content_of(one) == model.content_of(later(one, NOW + timedelta(days=1)))
    for other in (
        asked(Role.EVSP, Role.DSO),
        asked(Role.EVSP, parties=(EVSP, OTHER)),
        replace(one, contacts=one.contacts[1:]),
        replace(one, applicant=EVSP),
        replace(one, details=details(tax_id="29/123")),
    ):
        assert model.content_of(one) != model.content_of(other)
