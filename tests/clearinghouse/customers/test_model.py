"""Customer contracts: what may be kept, and how it is spelt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as some

from clearinghouse.customers import model
from clearinghouse.customers.model import CustomerContract, Limits, Line, Status, draw_up
from roaming.contract_id import ContractId
from roaming.identifier import BadIdentifier
from roaming.party import PartyId
from roaming.refusal import Refusal
from roaming.token import TokenUid

XYZ = PartyId("FR*XYZ")
NOON = datetime(2025, 1, 7, 12, tzinfo=UTC)


def refused(**members: object) -> Refusal:
    with pytest.raises(model.BadCustomerContract) as caught:
        draw_up("FRXYZ123456789", **members)  # type: ignore[arg-type]
    return caught.value


def test_what_is_left_out_takes_its_default() -> None:
    assert draw_up("fr-xyz-123456789") == CustomerContract(
        contract_id=ContractId("FRXYZ123456789"),
        token_uids=(),
        valid_from=None,
        valid_until=None,
        status=Status.ACTIVE,
        services=("charging",),
        authorisation=model.AuthorisationMode.LIST,
        display_name=None,
    )


def test_a_uid_named_twice_is_held_once_in_its_one_spelling() -> None:
    contract = draw_up("FRXYZ123456789", token_uids=["04a1b2c3", " 04A1B2C3 ", "AB"])
    assert contract.token_uids == (TokenUid("04A1B2C3"), TokenUid("AB"))


def test_times_are_kept_in_utc() -> None:
    paris = timezone(timedelta(hours=1))
    contract = draw_up("FRXYZ123456789", valid_from=datetime(2025, 1, 1, tzinfo=paris))
    assert contract.valid_from == datetime(2024, 12, 31, 23, tzinfo=UTC)
    assert contract.valid_from.tzinfo is UTC


def test_a_validity_that_ends_before_it_begins_is_refused() -> None:
    refusal = refused(valid_from=NOON, valid_until=NOON)
    assert (refusal.field, refusal.rule) == ("valid_until", "later than valid_from")


@pytest.mark.parametrize("field", ["valid_from", "valid_until"])
@pytest.mark.parametrize(
    "at",
    [
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))),
        datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5))),
        datetime(1969, 12, 31, tzinfo=UTC),
    ],
)
def test_a_time_that_the_calendar_of_utc_does_not_have_is_refused(field: str, at: datetime) -> None:
    assert refused(**{field: at}).field == field


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"services": []}, "services"),
        ({"services": ["charging", "Car Wash"]}, "services[1]"),
        ({"services": ["a\x00b"]}, "services[0]"),
        ({"services": [f"s{n}" for n in range(21)]}, "services"),
        ({"token_uids": [f"T{n}" for n in range(101)]}, "token_uids"),
        ({"display_name": "x" * 101}, "display_name"),
        ({"display_name": "a\x00b"}, "display_name"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(members: dict[str, object], field: str) -> None:
    refusal = refused(**members)
    assert refusal.field == field
    assert refusal.rule


def test_a_bad_identifier_is_refused_as_such() -> None:
    with pytest.raises(BadIdentifier):
        draw_up("FRXYZ123456789A")
    with pytest.raises(BadIdentifier):
        draw_up("FRXYZ123456789", token_uids=["x" * 37])


def test_the_first_instant_is_in_force_and_the_last_is_not() -> None:
    contract = draw_up("FRXYZ123456789", valid_from=NOON, valid_until=NOON + timedelta(hours=1))
    assert contract.in_force(NOON)
    assert not contract.in_force(NOON - timedelta(microseconds=1))
    assert not contract.in_force(NOON + timedelta(hours=1))


seconds = some.integers(0, 10**10)
instants = some.builds(lambda after: datetime.fromtimestamp(after, UTC), seconds)


@given(instants, some.none() | instants, some.none() | instants)
def test_open_ends_never_exclude(
    at: datetime, first: datetime | None, last: datetime | None
) -> None:
    if first is not None and last is not None and first >= last:
        first, last = None, None
    contract = draw_up("FRXYZ123456789", valid_from=first, valid_until=last)
    too_early = first is not None and at < first
    too_late = last is not None and at >= last
    assert contract.in_force(at) == (not too_early and not too_late)


def test_a_contract_belongs_to_the_provider_in_its_id() -> None:
    mine = ContractId("FRXYZ123456789")
    assert model.owned(mine, XYZ) == mine
    with pytest.raises(model.NotYourCustomer):
        model.owned(ContractId("FRABC123456789"), XYZ)


def test_a_held_uid_is_told_by_its_place_and_not_in_clear() -> None:
    contract = draw_up("FRXYZ123456789", token_uids=["FREE1", "SECRET123"])
    refusal = model.token_refusal(contract, {TokenUid("SECRET123")})
    assert isinstance(refusal, model.TokenHeldElsewhere)
    assert refusal.field == "token_uids[1]"
    assert "SECRET123" not in f"{refusal.detail} {refusal.value} {refusal.rule}"
    assert model.token_refusal(contract, {TokenUid("OTHER")}) is None


def test_a_rejection_tells_line_field_value_and_rule() -> None:
    refusal = refused(display_name="x" * 200)
    line = Line(7, refusal, "FRXYZ1234567892")
    told = model.rejection(line, refusal)
    assert (told.line, told.contract_id, told.field) == (7, "FRXYZ1234567892", "display_name")
    assert told.value is not None
    assert len(told.value) <= 60
    assert "printable" in told.rule


def test_limits_are_kept_as_they_were_given() -> None:
    limits = Limits("EUR", per_charge_minor=5_000, per_month_minor=0)
    assert draw_up("FRXYZ123456789", limits=limits).limits == limits


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        (Limits("EUX", per_day_minor=1), "limits.currency"),
        (Limits("EUR"), "limits"),
        (Limits("EUR", per_day_minor=-1), "limits.per_day_minor"),
        (Limits("EUR", per_charge_minor=model.LIMIT_MOST_MINOR + 1), "limits.per_charge_minor"),
    ],
)
def test_limits_that_limit_nothing_or_cannot_be_are_refused(limits: Limits, field: str) -> None:
    assert refused(limits=limits).field == field
