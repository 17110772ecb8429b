"""Charge points: what may be enrolled, what a password is worth, what a status means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ocpp.v16.enums import ChargePointStatus

from central_system.stations.model import (
    BadStation,
    PasswordHash,
    enrolment,
    evse_status,
    new_password,
    ocpi_status,
    without_doubles,
)
from roaming.identifier import BadIdentifier

EVSE = "FR*PD1*E1"


def test_an_enrolment_knows_its_evses_by_connector() -> None:
    one = enrolment("RDAM 123", {"1": EVSE, "2": "FR-PD1-E2"}, None)
    assert dict(one.connectors) == {1: "FRPD1E1", 2: "FRPD1E2"}


@pytest.mark.parametrize(
    "name", ["", " CP1", "CP1 ", "CP:1", "CP/1", "CP\n", "CP\u00e9", "x" * 49, "CP1\0"]
)
def test_what_is_no_identity_of_a_charge_point_is_refused(name: str) -> None:
    with pytest.raises(BadStation) as refused:
        enrolment(name, {"1": EVSE}, None)
    assert refused.value.field == "charge_point"


@pytest.mark.parametrize("numbers", [(), ("0",), ("01",), ("-1",), ("x",), ("100",), ("\u0661",)])
def test_connectors_are_numbered_from_1(numbers: tuple[str, ...]) -> None:
    with pytest.raises(BadStation) as refused:
        enrolment("CP1", dict.fromkeys(numbers, EVSE), None)
    assert refused.value.field == "connectors"


def test_a_connector_has_an_evse_id() -> None:
    with pytest.raises(BadIdentifier):
        enrolment("CP1", {"1": "not an evse"}, None)


@pytest.mark.parametrize(
    "password", ["fifteen letters", "x" * 41, "tab\tin a password", "\u00e9" * 20]
)
def test_a_weak_password_is_refused_and_not_repeated(password: str) -> None:
    with pytest.raises(BadStation) as refused:
        enrolment("CP1", {"1": EVSE}, password)
    assert password not in refused.value.detail
    assert password not in repr(enrolment("CP1", {"1": EVSE}, "a good long password"))


def test_one_call_names_a_charge_point_and_an_evse_once() -> None:
    one = enrolment("CP1", {"1": EVSE, "2": EVSE}, None)
    without_doubles([one])
    with pytest.raises(BadStation, match="once in a call"):
        without_doubles([one, one])
    with pytest.raises(BadStation, match="not at CP1 as well"):
        without_doubles([one, enrolment("CP2", {"1": EVSE}, None)])


@given(st.text(min_size=1), st.binary())
def test_only_the_password_matches(password: str, other: bytes) -> None:
    hashed = PasswordHash.of(password)
    assert hashed.matches(password.encode())
    assert hashed.matches(other) == (other == password.encode())
    assert PasswordHash.of(password).digest != hashed.digest


def test_a_password_of_ours_fits_the_key_of_a_charge_point() -> None:
    made = {new_password() for _ in range(50)}
    assert len(made) == 50
    assert {len(one) for one in made} == {20}


def test_every_status_of_ocpp_has_a_meaning_to_drivers() -> None:
    meanings = {status.value: ocpi_status(status.value) for status in ChargePointStatus}
    assert meanings["Available"] == "AVAILABLE"
    assert [name for name, told in meanings.items() if told == "AVAILABLE"] == ["Available"]


@given(st.lists(st.sampled_from(["CHARGING", "RESERVED", "AVAILABLE", "INOPERATIVE"])))
def test_an_evse_is_as_busy_as_its_busiest_connector(statuses: list[str]) -> None:
    told = evse_status(statuses)
    assert told in statuses or (told == "UNKNOWN" and not statuses)
    assert (told == "CHARGING") == ("CHARGING" in statuses)
    assert evse_status(reversed(statuses)) == told
