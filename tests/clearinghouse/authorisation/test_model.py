"""What can be asked, and by what a decision is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as some

from clearinghouse.authorisation import model
from clearinghouse.authorisation.model import (
    IdentificationType,
    Silence,
    identify,
)
from roaming.contract_id import ContractId
from roaming.refusal import Malformed
from roaming.token import TokenUid
from tests.clearinghouse.authorisation.questions import CONTRACT, HOUR, NOON, PD1, XYZ, YES


def test_a_policy_is_the_usual_one_unless_chosen_otherwise() -> None:
    assert model.policy_of(Silence.REFUSE) == model.USUAL
    assert not model.USUAL.asks_unknown


def test_who_vouches_for_a_customer_names_none_of_anothers() -> None:
    own, others = CONTRACT.contract_id, ContractId("DEABC000000001")
    assert model.Voucher.of(XYZ, replace(YES, contract_id=own)).contract_id == own
    assert model.Voucher.of(XYZ, replace(YES, contract_id=others)).contract_id is None
    assert model.Voucher.of(XYZ, YES).contract_id is None


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
