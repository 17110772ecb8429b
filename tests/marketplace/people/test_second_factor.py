"""Codes are good once, around their time, and for nobody who does not have the secret."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.people import second_factor
from marketplace.people.model import RECOVERY_CODES

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@given(st.integers(-5, 5), st.integers(0, 29))
def test_a_code_is_good_in_its_step_and_one_on_either_side(steps: int, seconds: int) -> None:
    now = NOON + timedelta(seconds=seconds)
    code = pyotp.TOTP(SECRET).at(now, counter_offset=steps)
    found = second_factor.step_of(SECRET, code, after=0, now=now)
    assert (found is not None) == (abs(steps) <= second_factor.WINDOW)


@given(st.lists(st.integers(-1, 1), max_size=8))
def test_no_code_is_taken_twice_nor_one_from_before_it(order: list[int]) -> None:
    totp, last, taken = pyotp.TOTP(SECRET), 0, []
    for steps in order:
        code = totp.at(NOON, counter_offset=steps)
        step = second_factor.step_of(SECRET, code, after=last, now=NOON)
        if step is not None:
            last = step
            taken.append(step)
    assert taken == sorted(set(taken))


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "12 345", "-12345"])
def test_what_is_no_code_is_none(code: str) -> None:
    assert second_factor.step_of(SECRET, code, after=0, now=NOON) is None


def test_an_authenticator_reads_the_uri() -> None:
    secret = second_factor.new_secret()
    uri = urlsplit(second_factor.provisioning_uri(secret, "ada@x.example (FR*PD1)"))
    asked = parse_qs(uri.query)
    assert (uri.scheme, uri.netloc, asked["secret"], asked["issuer"]) == (
        *("otpauth", "totp", [secret], ["Gridroam"]),
    )
    parsed = pyotp.parse_uri(uri.geturl())
    assert isinstance(parsed, pyotp.TOTP)
    assert second_factor.step_of(secret, parsed.at(NOON), after=0, now=NOON) is not None


def test_recovery_codes_are_many_and_no_two_alike() -> None:
    codes = second_factor.recovery_codes() + second_factor.recovery_codes()
    assert len(set(codes)) == len(codes) == 2 * RECOVERY_CODES
