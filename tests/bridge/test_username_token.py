"""Credentials in a SOAP header are those that other programs write, and read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from lxml import etree
from zeep import wsse

from bridge import username_token
from bridge.username_token import (
    SECURITY,
    WSSE,
    WSU,
    BadUsernameToken,
    StaleUsernameToken,
    UsernameToken,
    Window,
)

SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"
ZEEP: Any = wsse.UsernameToken
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
# What can stand in XML and in a header that people type.
TEXT = some.text(some.characters(min_codepoint=33, max_codepoint=0xFFF), min_size=1, max_size=30)


def envelope(soap: str = SOAP_11) -> etree._Element:
    return etree.fromstring(f'<s:Envelope xmlns:s="{soap}"><s:Body/></s:Envelope>')


def security_of(whole: etree._Element) -> etree._Element:
    [found] = whole.iter(SECURITY)
    return found


def security(inner: str, attributes: str = "") -> etree._Element:
    return etree.fromstring(
        f'<o:Security xmlns:o="{WSSE}" xmlns:u="{WSU}" xmlns:s="{SOAP_11}" {attributes}>'
        f"{inner}</o:Security>"
    )


def refused(inner: str, attributes: str = "") -> BadUsernameToken:
    with pytest.raises(BadUsernameToken) as error:
        username_token.read(security(inner, attributes))
    return error.value


def token(inner: str) -> str:
    return f"<o:UsernameToken><o:Username>u</o:Username>{inner}</o:UsernameToken>"


@pytest.mark.parametrize("soap", [SOAP_11, SOAP_12])
@given(username=TEXT, password=TEXT)
def test_what_zeep_writes_is_read(soap: str, username: str, password: str) -> None:
    written, _ = ZEEP(username, password).apply(envelope(soap), {})
    assert username_token.read(security_of(written)) == UsernameToken(username, password)


@pytest.mark.parametrize("soap", [SOAP_11, SOAP_12])
@given(username=TEXT, password=TEXT)
def test_what_is_written_is_read(soap: str, username: str, password: str) -> None:
    written = username_token.header(username_token.text_token(username, password), soap)
    found = etree.fromstring(written)
    assert username_token.read(found) == UsernameToken(username, password)
    assert found.get(f"{{{soap}}}mustUnderstand") == "1"


def same(one: etree._Element, other: etree._Element) -> bool:
    return (one.tag, one.text, one.items()) == (other.tag, other.text, other.items())


@pytest.mark.parametrize("use_digest", [True, False])
def test_zeep_writes_the_same_token_element_by_element(use_digest: bool) -> None:
    theirs, _ = ZEEP(
        "u", "pässword", use_digest=use_digest, nonce="0123456789abcdef", created=NOW,
        zulu_timestamp=True,
    ).apply(envelope(), {})  # fmt: skip
    ours = (
        username_token.digest_token("u", "pässword", nonce=b"0123456789abcdef", now=NOW)
        if use_digest
        else username_token.text_token("u", "pässword")
    )
    [told] = security_of(theirs)
    assert len(told) == len(ours)
    assert all(map(same, told, ours))


def test_the_example_of_the_digest_is_worked_out_as_by_hand() -> None:
    # printf 'abc2026-03-01T12:00:00Zsecret' | openssl sha1 -binary | base64
    assert username_token.digest(b"abc", "2026-03-01T12:00:00Z", "secret") == DIGEST


DIGEST = "i+IYM2CmOjvaNuMX4nL2SrbU/Fg="


def test_a_digest_is_refused_with_its_reason() -> None:
    written, _ = ZEEP("u", "p", use_digest=True).apply(envelope(), {})
    with pytest.raises(BadUsernameToken) as error:
        username_token.read(security_of(written))
    assert error.value.value == "PasswordDigest"
    assert "hash" in str(error.value.rule)


@pytest.mark.parametrize(
    ("inner", "field"),
    [
        ("", "wsse:Security"),
        (token("") * 2, "wsse:Security"),
        (token(""), "wsse:Password"),
        (token("<o:Password/>"), "wsse:Password"),
        (token('<o:Password Type="x#Other">p</o:Password>'), "wsse:Password"),
        (token("<o:Password>p</o:Password><o:Password>q</o:Password>"), "wsse:Password"),
        (token(f"<o:Password>{'p' * 2000}</o:Password>"), "wsse:Password"),
        (token("<o:Password>p</o:Password><o:Nonce>!</o:Nonce>"), "wsse:Nonce"),
        (token("<o:Password>p</o:Password><u:Created>today</u:Created>"), "wsu:Created"),
        ("<o:UsernameToken><o:Password>p</o:Password></o:UsernameToken>", "wsse:Username"),
    ],
    ids=lambda one: None,
)
def test_a_token_that_cannot_be_checked_is_refused(inner: str, field: str) -> None:
    error = refused(inner)
    assert error.field == field
    assert error.rule


def test_what_must_be_understood_and_is_not_is_refused() -> None:
    inner = token("<o:Password>p</o:Password>") + "<o:BinarySecurityToken/>"
    assert refused(inner, 's:mustUnderstand="1"').value == "BinarySecurityToken"
    assert username_token.read(security(inner)).password == "p"
    stamp = token("<o:Password>p</o:Password>") + "<u:Timestamp/>"
    assert username_token.read(security(stamp, 's:mustUnderstand="1"')).username == "u"


def test_a_password_is_not_shown() -> None:
    assert "hush" not in repr(UsernameToken("u", "hush"))


def test_nonce_and_times_are_read() -> None:
    inner = token(
        "<o:Password>p</o:Password><o:Nonce>YWJj</o:Nonce>"
        "<u:Created>2026-03-01T12:00:00.5Z</u:Created>"
    )
    stamp = "<u:Timestamp><u:Expires>2026-03-01T12:05:00</u:Expires></u:Timestamp>"
    found = username_token.read(security(inner + stamp))
    assert found.nonce == b"abc"
    assert found.created == NOW + timedelta(seconds=0.5)
    assert found.expires == NOW + timedelta(minutes=5)


@given(some.integers(-1000, 1000))
def test_a_token_is_good_for_a_while(seconds: int) -> None:
    made = UsernameToken("u", "p", created=NOW + timedelta(seconds=seconds))
    window = Window(oldest=timedelta(seconds=300), skew=timedelta(seconds=60))
    if -300 <= seconds <= 60:
        window.check(made, NOW)
    else:
        with pytest.raises(StaleUsernameToken) as error:
            window.check(made, NOW)
        assert error.value.field == "wsu:Created"


def test_a_token_that_has_expired_is_refused() -> None:
    with pytest.raises(StaleUsernameToken):
        Window().check(UsernameToken("u", "p", expires=NOW - timedelta(minutes=2)), NOW)


def test_a_nonce_is_good_once_for_its_user() -> None:
    window = Window()
    window.check(UsernameToken("u", "p", nonce=b"1"), NOW)
    window.check(UsernameToken("v", "p", nonce=b"1"), NOW)
    window.check(UsernameToken("u", "p", nonce=b"2"), NOW)
    with pytest.raises(StaleUsernameToken):
        window.check(UsernameToken("u", "p", nonce=b"1"), NOW)
    window.check(UsernameToken("u", "p", nonce=b"1"), NOW + timedelta(hours=1))


def test_no_number_of_nonces_fills_the_memory() -> None:
    window = Window(most_nonces=10)
    for number in range(100):
        window.check(UsernameToken("u", "p", nonce=bytes([number])), NOW)
    assert len(window._seen) == 10


def test_a_token_without_nonce_and_time_is_good() -> None:
    window = Window()
    window.check(UsernameToken("u", "p"), NOW)
    window.check(UsernameToken("u", "p"), NOW)
