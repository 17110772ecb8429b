"""People's rules: who may be removed, what is a password, and how long a guesser waits."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.people import model
from marketplace.people.model import (
    FREE_ATTEMPTS,
    LEAST_PASSWORD,
    LONGEST_PASSWORD,
    LONGEST_PAUSE_S,
    BadPassword,
    BadPerson,
    Credentials,
    Duty,
    LastAdmin,
    Person,
    PersonStatus,
)
from roaming.party import PartyId

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
duties = st.frozensets(st.sampled_from(Duty), min_size=1)
people = st.lists(st.tuples(duties, st.sampled_from([PersonStatus.ACTIVE, PersonStatus.INVITED])))


def person(n: int, has: frozenset[Duty], status: PersonStatus) -> Person:
    return Person(str(n), PartyId("FR*PD1"), f"p{n}@x.example", f"P {n}", has, status, NOON)


@given(people, st.integers(0, 5), st.none() | duties)
def test_a_party_that_has_an_admin_keeps_one(
    some: list[tuple[frozenset[Duty], PersonStatus]], which: int, wanted: frozenset[Duty] | None
) -> None:
    party = [person(n, *told) for n, told in enumerate(some)]
    if which >= len(party):
        return
    gone = party[which]
    left = [one for one in party if one is not gone]
    left += [] if wanted is None else [replace(gone, duties=wanted)]
    try:
        model.without(party, gone, wanted)
    except LastAdmin:
        assert gone.is_admin
        assert not any(one.is_admin for one in left)
    else:
        assert any(one.is_admin for one in left) or not any(one.is_admin for one in party)


@given(st.integers(0, 500))
def test_whoever_fails_waits_longer_each_time_and_never_for_ever(times: int) -> None:
    shown = Credentials()
    before = 0
    for n in range(min(times, 40)):
        shown = shown.after_failure(NOON)
        pause_s = shown.pause_s(NOON)
        assert pause_s >= before
        assert (pause_s == 0) == (n + 1 < FREE_ATTEMPTS)
        assert shown.pause_s(NOON + timedelta(seconds=LONGEST_PAUSE_S)) == 0
        before = pause_s
    assert shown.after_success(7, None).pause_s(NOON) == 0


def test_a_day_of_guessing_is_fewer_attempts_than_a_password_withstands() -> None:
    shown, now, tried = Credentials(), NOON, 0
    while now < NOON + timedelta(days=1):
        shown = shown.after_failure(now)
        tried += 1
        now += timedelta(seconds=max(1, shown.pause_s(now)))
    assert tried < 130


def test_half_a_character_is_in_no_password() -> None:
    with pytest.raises(BadPassword) as refused:
        model.checked_password("grasshopper \ud800 lantern", about=())
    assert refused.value.value is None


@given(st.text(min_size=LEAST_PASSWORD, max_size=LONGEST_PASSWORD))
def test_a_password_that_is_taken_is_taken_again_as_it_was_kept(text: str) -> None:
    told: BadPassword | None = None
    try:
        kept = model.checked_password(text, about=())
    except BadPassword as refusal:
        told = refusal
    if told is None:
        assert model.normal(text) == kept == model.normal(kept)
        return
    assert told.value is None, "a refusal never tells the password"
    assert text not in str(told.rule)


@pytest.mark.parametrize(
    "text",
    [
        *("short", "x" * 129, "aaaaaaaaaaaa", "1212121212", "1234567890", "01.02.1990!"),
        *("Password123!", "P a s s w o r d 1", "qwertzuiop", "zaq12wsxcde3", "Gridroam2026"),
        *("ada.martin-2026", "MARTIN 12345", "pointdujour99"),
    ],
)
def test_what_is_tried_first_is_no_password(text: str) -> None:
    about = ("ada.martin", "Martin", "pointdujour")
    with pytest.raises(BadPassword):
        model.checked_password(text, about=about)


@pytest.mark.parametrize(
    "text", ["grasshopper tuba", "пароль длинный", "🦔 hedgehogs at night", "x7!pQ2#mZ9"]
)
def test_what_nobody_tries_first_is_one(text: str) -> None:
    assert model.checked_password(text, about=("ada", "Martin"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "ada@",
        "@x.example",
        "a b@x.example",
        "ada@x..y",
        "a" * 65 + "@x.org",
        "ada@x.example\n@y",
        "ada@x.example,eve@y.example",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadPerson):
        model.email_of(text)


def test_an_address_is_one_however_it_is_written() -> None:
    assert model.email_of("  Ada@PointDuJour.Example ") == "ada@pointdujour.example"


def test_a_recovery_code_is_one_however_it_is_written() -> None:
    spelt = {"abcd-efgh-jkmn-pqrs", "ABCD EFGH JKMN PQRS", "abcdefghjkmnpqrs"}
    assert len({model.recovery_hash(one) for one in spelt}) == 1


@pytest.mark.parametrize("names", [[], ["owner"], ["admin", "Admin"]])
def test_a_person_has_duties_and_those_that_there_are(names: list[str]) -> None:
    with pytest.raises(BadPerson):
        model.duties_of(names)
