"""The rules of intake: each has a record that breaks it, and nothing else does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from clearinghouse.cdrs.model import (
    RULES,
    Authorisation,
    Customer,
    Evse,
    Facts,
    Severity,
    State,
    examine,
    fingerprint,
    home,
)
from tests.clearinghouse.cdrs.fakes import (
    CONTRACT,
    EVSE,
    EVSP,
    NOON,
    NOW,
    OPERATOR,
    OTHER_CONTRACT,
    OTHER_EVSE,
    OTHER_OPERATOR,
    submission,
)

CUSTOMER = Customer(CONTRACT, EVSP, blocked=False, valid_from=None, valid_until=None)
AUTHORISATION = Authorisation("auth-1", OPERATOR, EVSE, EVSP, CONTRACT, accepted=True)
SOUND = Facts(
    now=NOW,
    evse=Evse(OPERATOR, None),
    authorisation=None,
    customer=CUSTOMER,
    agreed=True,
)


def period(minutes: int, energy_wh: int) -> dict[str, Any]:
    return {"start": (NOON + timedelta(minutes=minutes)).isoformat(), "energy_wh": energy_wh}


def test_a_sound_record_breaks_no_rule() -> None:
    assert examine(submission(), SOUND) == (State.ACCEPTED, ())


BREACHES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("evse-unknown", {}, {"evse": None}),
    ("evse-of-another-operator", {}, {"evse": Evse(OTHER_OPERATOR, None)}),
    ("unknown-contract", {}, {"customer": None}),
    ("no-roaming-agreement", {}, {"agreed": False}),
    ("contract-blocked", {}, {"customer": replace(CUSTOMER, blocked=True)}),
    ("contract-expired", {}, {"customer": replace(CUSTOMER, valid_until=NOON)}),
    (
        "contract-expired",
        {},
        {"customer": replace(CUSTOMER, valid_from=NOON + timedelta(seconds=1))},
    ),
    ("end-before-start", {"end": "2025-01-15T11:59:59Z"}, {}),
    ("in-the-future", {}, {"now": NOON + timedelta(minutes=54)}),
    (
        "longer-than-a-year",
        {"start": "2024-01-01T00:00:00Z", "end": "2025-01-01T00:00:01Z"},
        {},
    ),
    ("negative-energy", {"energy_wh": -1}, {}),
    ("negative-energy", {"periods": [period(0, 10_001), period(30, -1)]}, {}),
    ("periods-out-of-order", {"periods": [period(30, 5_000), period(0, 5_000)]}, {}),
    ("periods-outside-charge", {"periods": [period(-1, 10_000)]}, {}),
    ("periods-outside-charge", {"periods": [period(61, 10_000)]}, {}),
    ("energy-mismatch", {"periods": [period(0, 5_000), period(30, 4_997)]}, {}),
    ("tariff-unreadable", {}, {"rateable": False}),
    ("authorisation-mismatch", {"authorisation_id": "auth-2"}, {}),
    ("energy-rounded", {"periods": [period(0, 5_000), period(30, 4_998)]}, {}),
    ("zero-energy", {"energy_wh": 0}, {}),
    ("zero-duration", {"end": "2025-01-15T12:00:00Z"}, {}),
    ("longer-than-24h", {"end": "2025-01-16T12:00:01Z"}, {}),
]


@pytest.mark.parametrize(("name", "told", "known"), BREACHES)
def test_each_rule_is_broken_by_its_own_breach(
    name: str, told: dict[str, Any], known: dict[str, Any]
) -> None:
    state, reasons = examine(submission(**told), replace(SOUND, **known))
    severity = next(rule.severity for rule in RULES if rule.name == name)
    assert name in [reason.name for reason in reasons]
    others = {reason.name for reason in reasons} - {name}
    assert others <= {"longer-than-24h"}, "one breach, one reason"
    assert (state is State.REJECTED) == (severity is Severity.REJECT)


def test_every_rule_has_its_breach() -> None:
    assert {name for name, _, _ in BREACHES} == {rule.name for rule in RULES}


def test_the_reasons_come_in_the_published_order() -> None:
    published = [
        "evse-unknown",
        "unknown-contract",
        "no-roaming-agreement",
        "contract-blocked",
        "contract-expired",
    ]
    assert [rule.name for rule in RULES if rule.name in published] == published


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ({}, {"now": NOON + timedelta(minutes=55)}),
        ({"end": "2025-01-16T12:00:00Z"}, {}),
        ({"periods": [period(0, 5_000), period(30, 5_000), period(60, 0)]}, {}),
        ({"periods": [period(10, 10_000)]}, {}),
        ({}, {"customer": replace(CUSTOMER, valid_from=NOON)}),
    ],
)
def test_the_bounds_of_the_rules_are_allowed(told: dict[str, Any], known: dict[str, Any]) -> None:
    assert examine(submission(**told), replace(SOUND, **known))[0] is State.ACCEPTED


def test_what_was_authorised_is_owed_even_if_the_contract_is_blocked_since() -> None:
    blocked = replace(SOUND, customer=replace(CUSTOMER, blocked=True, valid_until=NOON))
    told = submission(authorisation_id="auth-1")
    assert examine(told, replace(blocked, authorisation=AUTHORISATION))[0] is State.ACCEPTED


@pytest.mark.parametrize(
    "change",
    [
        {"accepted": False},
        {"operator": OTHER_OPERATOR},
        {"evse_id": OTHER_EVSE},
        {"contract_id": OTHER_CONTRACT},
        {"evsp": None},
    ],
)
def test_an_authorisation_of_another_charge_helps_nobody(change: dict[str, Any]) -> None:
    told = submission(authorisation_id="auth-1")
    facts = replace(
        SOUND,
        authorisation=replace(AUTHORISATION, **change),
        customer=replace(CUSTOMER, blocked=True),
    )
    state, reasons = examine(told, facts)
    assert state is State.REJECTED
    assert [reason.name for reason in reasons] == ["contract-blocked", "authorisation-mismatch"]


def test_the_evsp_that_said_yes_is_the_one_that_owes() -> None:
    told = submission(authorisation_id="auth-1", contract_id=None, token_uid="04AABBCC")
    asked = replace(SOUND, authorisation=replace(AUTHORISATION, contract_id=None), customer=None)
    assert home(told, asked) == (EVSP, None)
    assert home(submission(), SOUND) == (EVSP, CONTRACT)


def test_one_charge_has_one_fingerprint_whatever_it_is_called() -> None:
    one = submission("A-1")
    copy = submission("A-2", start="2025-01-15T13:00:00+01:00", periods=[period(0, 10_000)])
    assert fingerprint(one, CONTRACT) == fingerprint(copy, CONTRACT)
    for told in ({"energy_wh": 10_001}, {"end": "2025-01-15T13:00:01Z"}, {"evse_id": "FR*PD1*E2"}):
        assert fingerprint(one, CONTRACT) != fingerprint(submission(**told), CONTRACT)
    assert fingerprint(one, CONTRACT) != fingerprint(one, OTHER_CONTRACT)
