"""Which URLs the hub may be sent to."""

from __future__ import annotations

import pytest

from kit.outside_url import BadUrl, check_url, is_inside, is_loopback

LOOPBACK = [
    "http://127.0.0.1:9000/cdrs",
    "http://localhost/cdrs",
    "http://LOCALHOST./cdrs",
    "http://evsp.localhost:81/",
    "http://127.1/",
    "http://0x7f.0.0.1/",
    "http://2130706433/",
    "http://[::1]:80/",
    "http://[::ffff:127.0.0.1]/",
]
INSIDE = [
    "http://10.0.0.8/",
    "http://192.168.1.1/",
    "http://172.16.0.1/",
    "http://169.254.169.254/latest/meta-data",
    "http://0.0.0.0/",
    "http://100.64.0.1/",
    "http://224.0.0.1/",
    "http://[fe80::1%25eth0]/",
    "http://[fd00::1]/",
    "http://[::ffff:10.0.0.1]/",
]
NO_URLS = [
    "",
    "cdrs",
    "ftp://evsp.example/cdrs",
    "file:///etc/passwd",
    "http://",
    "http:///cdrs",
    "http://user:pass@evsp.example/",
    "http://evsp.example/#there",
    "http://evsp.example/a b",
    "http://evsp.example/\r\nHost: other",
    "http://evsp.example:99999/",
    "http://[::1/",
    "http://évsp.example/",
    "https://evsp.example/" + "a" * 2_000,
]


@pytest.mark.parametrize("url", ["https://evsp.example/cdrs", "http://93.184.215.14:8080/a?b=c"])
def test_an_outside_url_may_be_called(url: str) -> None:
    assert check_url(url, allow_loopback=False) == url


@pytest.mark.parametrize("url", LOOPBACK)
def test_loopback_may_be_called_only_where_it_is_allowed(url: str) -> None:
    assert check_url(url, allow_loopback=True) == url
    with pytest.raises(BadUrl):
        check_url(url, allow_loopback=False)


@pytest.mark.parametrize("url", INSIDE)
def test_an_inside_address_is_never_called(url: str) -> None:
    for allow_loopback in (True, False):
        with pytest.raises(BadUrl):
            check_url(url, allow_loopback=allow_loopback)


@pytest.mark.parametrize("url", NO_URLS)
def test_what_is_no_url_to_call_is_refused_and_named(url: str) -> None:
    with pytest.raises(BadUrl) as refused:
        check_url(url, allow_loopback=True, field="endpoint")
    assert refused.value.field == "endpoint"


def test_a_password_is_not_told_again() -> None:
    with pytest.raises(BadUrl) as refused:
        check_url("http://user:secret@evsp.example/", allow_loopback=True)
    assert "secret" not in str(refused.value.value)


def test_an_address_tells_where_it_is() -> None:
    assert is_loopback("127.8.8.8")
    assert is_inside("10.1.1.1")
    assert not is_inside("evsp.example")
    assert not is_inside("8.8.8.8")
