"""The rules of intake: each has a record that breaks it, and nothing else does."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from clearinghouse.cdrs.life import State
from clearinghouse.cdrs.model import Authorisation, Customer, Evse
from clearinghouse.cdrs.rules import RULES, Facts, Severity, examine, home, notices
from clearinghouse.meter_values.model import Check, Outcome
from roaming.money import Money
from tests.clearinghouse.cdrs.fakes import (
    CONTRACT,
    DOCS,
    EVSE,
    EVSP,
    NOON,
    NOW,
    OPERATOR,
    OTHER_CONTRACT,
    OTHER_EVSE,
    OTHER_OPERATOR,
    period,
    submission,
)

CUSTOMER = Customer(CONTRACT, EVSP, blocked=False, valid_from=None, valid_until=None)
AUTHORISATION = Authorisation("auth-1", OPERATOR, EVSE, EVSP, CONTRACT, NOON, accepted=True)
SOUND = Facts(
    now=NOW,
    evse=Evse(OPERATOR, None),
    authorisation=None,
    customer=CUSTOMER,
    agreed=True,
)


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
    (
        "currency-differs",
        {"total_cost": {"currency": "CHF", "excl_vat": "5.00"}},
        {"price": Money(500, "EUR")},
    ),
    (
        "total-cost-differs",
        {"total_cost": {"currency": "EUR", "excl_vat": "5.02"}},
        {"price": Money(500, "EUR")},
    ),
    ("meter-signature-invalid", {}, {"meter": Check(Outcome.INVALID, "")}),
    ("meter-values-differ", {}, {"meter": Check(Outcome.VERIFIED, "", 9_989)}),
    (
        "meter-values-of-another-time",
        {},
        {"meter": Check(Outcome.VERIFIED, "", 10_000, NOON - timedelta(minutes=6))},
    ),
]
NOTED: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    # 11 kW for an hour and a minute, and a tenth more, are 12,301 Wh.
    (
        "energy-over-power",
        {"energy_wh": 12_302},
        {"evse": Evse(OPERATOR, None, 11_000)},
        "12302 Wh in 3600 s, at an EVSE of 11000 W",
    ),
    ("gap-before-periods", {"periods": [period(1, 10_000)]}, {}, "belongs to none"),
    ("late", {}, {"now": NOON + timedelta(days=4)}, "told 3 days after"),
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
    assert (state is State.REJECTED) == (severity is Severity.SEVERE)


def test_every_rule_has_its_breach() -> None:
    noted = {name for name, _, _, _ in NOTED} | {"overlap"}
    assert noted == {rule.name for rule in RULES if rule.severity is Severity.NOTICE}
    assert {name for name, _, _ in BREACHES} | noted == {rule.name for rule in RULES}


@pytest.mark.parametrize(("name", "told", "known", "says"), NOTED)
def test_what_is_noted_leaves_the_state_alone(
    name: str, told: dict[str, Any], known: dict[str, Any], says: str
) -> None:
    facts = replace(SOUND, now=NOON + timedelta(hours=1), **known) if "now" not in known else None
    facts = facts or replace(SOUND, **known)
    cdr = submission(**told)
    assert examine(cdr, facts) == (State.ACCEPTED, ())
    [notice] = notices(cdr, facts)
    assert notice.name == name
    assert says in notice.says


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ({"energy_wh": 12_301}, {"evse": Evse(OPERATOR, None, 11_000)}),
        ({"energy_wh": 10**9}, {"evse": Evse(OPERATOR, None, None)}),
        ({"energy_wh": 10**9}, {"evse": None}),
        ({"end": "2025-01-15T11:00:00Z"}, {"evse": Evse(OPERATOR, None, 1)}),
        ({"periods": [period(0, 10_000)]}, {}),
        ({}, {"now": NOON + timedelta(days=3, hours=1)}),
    ],
)
def test_within_bounds_nothing_is_noted(told: dict[str, Any], known: dict[str, Any]) -> None:
    facts = replace(SOUND, **({"now": NOON + timedelta(hours=1)} | known))
    assert notices(submission(**told), facts) == ()


def test_a_cost_that_was_rounded_in_another_order_is_the_same() -> None:
    for told in ("4.99", "5.00", "5.01"):
        cdr = submission(total_cost={"currency": "EUR", "excl_vat": told})
        assert examine(cdr, replace(SOUND, price=Money(500, "EUR"))) == (State.ACCEPTED, ())


def test_both_figures_are_told_where_the_cost_differs() -> None:
    cdr = submission(total_cost={"currency": "EUR", "excl_vat": "6.00"})
    _, [reason] = examine(cdr, replace(SOUND, price=Money(500, "EUR")))
    assert "6.00 EUR" in reason.says
    assert "5.00 EUR" in reason.says


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
        ({}, {"meter": Check(Outcome.VERIFIED, "", 10_010, NOON - timedelta(minutes=5))}),
        ({}, {"meter": Check(Outcome.UNSUPPORTED, "")}),
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
        # One yes of some day is no word for all charges that come after it, nor before.
        {"at": NOON - timedelta(days=2, seconds=1)},
        {"at": NOON + timedelta(days=2, hours=1)},
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


def test_the_page_for_operators_tells_every_rule_as_it_is() -> None:
    told = re.findall(
        r"^\| `([a-z0-9-]+)` \| (notice|warning|severe) \| (.*) \|$", DOCS.read_text(), re.M
    )
    assert told == [(rule.name, str(rule.severity), rule.says) for rule in RULES]
