"""Paths, traces, operations and lanes: the rules of the door that need nothing but themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calls.model import (
    BadPath,
    ContentMap,
    Lane,
    Limits,
    OperationPaths,
    Operations,
    Period,
    Quota,
    Reason,
    Service,
    Speaks,
    continue_trace,
    covers,
    split_path,
)
from roaming.party import PartyId


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"/services/weather", ("weather", 1, "/")),
        (b"/services/weather/", ("weather", 1, "/")),
        (b"/services/weather/a/b", ("weather", 1, "/a/b")),
        (b"/services/weather/v2", ("weather", 2, "/")),
        (b"/services/weather/v2/a", ("weather", 2, "/a")),
        (b"/services/weather/v12/a", ("weather", 12, "/a")),
        (b"/services/weather/v1/a", ("weather", 1, "/v1/a")),
        (b"/services/weather/v2x/a", ("weather", 1, "/v2x/a")),
        (b"/services/w/FR*PD1*E1", ("w", 1, "/FR*PD1*E1")),
        (b"/services/w/caf%C3%A9", ("w", 1, "/caf%C3%A9")),
        (b"/services/w/.well-known/x..y", ("w", 1, "/.well-known/x..y")),
    ],
)
def test_a_path_names_service_version_and_rest(path: bytes, found: tuple[str, int, str]) -> None:
    assert split_path(path) == found


@pytest.mark.parametrize(
    "path",
    [
        b"/services/",
        b"/services/Weather/a",
        b"/services/-w/a",
        b"/services/w_x/a",
        b"/services/" + b"w" * 64,
        b"/other/w/a",
        b"/services/w/..",
        b"/services/w/../x",
        b"/services/w/a/./b",
        b"/services/w/%2e%2e/x",
        b"/services/w/.%2E/x",
        b"/services/w/a%2Fb",
        b"/services/w/a%5cb",
        b"/services/w/a\\b",
        b"/services/w//evil.example/x",
        b"/services/w/a%00",
        b"/services/w/a%0d%0aHost:x",
        b"/services/w/a%7f",
        b"/services/w/%252e%252e",
        b"/services/w/%zz",
        b"/services/w/%4",
        b"/services/w/%",
        b"/services/w/a b",
        b"/services/w/a\r\nb",
        b"/services/w/a?b",
        b"/services/w/\xff",
        b"/services/w@evil.example/x",
    ],
)
def test_a_path_that_can_be_read_in_two_ways_is_refused(path: bytes) -> None:
    with pytest.raises(BadPath) as refused:
        split_path(path)
    assert refused.value.rule


@given(st.text("ab./%2eEfF5cC0\\*~", max_size=12))
def test_whatever_passes_stays_below_its_service(text: str) -> None:
    tail = text.encode()
    try:
        _, _, rest = split_path(b"/services/w/" + tail)
    except BadPath:
        return
    decoded = unquote(rest, encoding="latin-1")
    assert rest.startswith("/")
    assert rest.count("/") == decoded.count("/")
    assert not {".", "..", "\\"} & set(decoded.split("/"))
    assert all(letter >= " " for letter in decoded)
    assert rest[1:].encode() in b"/services/w/" + tail + b"/"


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
OURS, OUR_SPAN = "a" * 32, "b" * 16


def test_a_trace_is_continued_under_a_span_of_our_own() -> None:
    incoming = f"00-{TRACE}-{SPAN}-01".encode()
    assert continue_trace(incoming, OURS, OUR_SPAN) == f"00-{TRACE}-{OUR_SPAN}-01"


@pytest.mark.parametrize(
    "incoming",
    [
        None,
        b"",
        b"nonsense",
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE.upper()}-{SPAN}-01".encode(),
        f"ff-{TRACE}-{SPAN}-01".encode(),
        f"00-{TRACE}-{SPAN}-01-more".encode(),
    ],
)
def test_what_is_no_trace_begins_a_new_one(incoming: bytes | None) -> None:
    assert continue_trace(incoming, OURS, OUR_SPAN) == f"00-{OURS}-{OUR_SPAN}-01"


def test_an_operation_is_found_by_method_and_template() -> None:
    operations = Operations(
        [
            ("GET", "/evses", "search"),
            ("GET", "/evses/{id}", "read"),
            ("PUT", "/a.b/{id}/c/{other}", "change"),
        ]
    )
    assert operations.name("GET", "/evses") == "search"
    assert operations.name("HEAD", "/evses") == "search"
    assert operations.name("GET", "/evses/FR*1") == "read"
    assert operations.name("PUT", "/a.b/1/c/2") == "change"
    for method, path in (
        ("POST", "/evses"),
        ("GET", "/evses/"),
        ("GET", "/evses/1/2"),
        ("PUT", "/aXb/1/c/2"),
        ("GET", ""),
    ):
        assert operations.name(method, path) is None


@pytest.mark.parametrize("path", ["/users/%6De", "/users/me;x=1", "/%75sers;y/m%65"])
def test_a_path_is_the_operation_that_any_server_may_take_it_for(path: str) -> None:
    """A contract that covers reading one user does not cover, spelled otherwise, what lies there
    by name: servers decode a path, and many leave out what follows a semicolon.
    """
    operations = Operations(
        [
            ("GET", "/users/{id}", "read"),
            ("GET", "/users/me", "own"),
            ("GET", "/users/{id}/keys", "keys"),
            ("GET", "/users/{id}/{part}", "part"),
            ("GET", "/caf\u00e9s/{id}", "cafe"),
            ("GET", "/maps;kind=road", "map"),
        ]
    )
    assert operations.name("GET", path) == "own"
    assert operations.name("GET", "/users/7;v=2") == "read"
    assert operations.name("GET", "/users/;id=7") == "read"
    assert operations.name("GET", "/users/7/k%65ys") == "keys"
    assert operations.name("GET", "/caf%C3%A9s/1") == "cafe"
    assert operations.name("GET", "/maps;kind=road") == "map"


def test_a_lane_refills_with_time_and_never_beyond_its_rate() -> None:
    limits = Limits(calls_per_second=10.0)
    lane = Lane(10.0, 0.0)

    def burst(now_s: float) -> int:
        passed = 0
        while lane.take(now_s, limits) is None:
            lane.leave()
            passed += 1
        return passed

    assert burst(0.0) == 10
    assert burst(0.5) == 5
    assert burst(100.0) == 10


def test_a_call_refused_for_want_of_a_place_takes_none() -> None:
    limits = Limits(calls_at_once=2)
    lane = Lane(2000.0, 0.0)
    assert [lane.take(0.0, limits) for _ in range(3)] == [None, None, Reason.TOO_MANY_AT_ONCE]
    lane.leave()
    assert lane.take(0.0, limits) is None
    assert lane.under_way == 2


def test_a_contract_covers_the_operations_that_it_names_and_no_others() -> None:
    assert covers(["*"], "search")
    assert covers(["annotate", "search"], "search")
    assert covers(["GET /sites/*"], "GET /sites/1/evses")
    for patterns, operation in (
        ([], "search"),
        (["searching"], "search"),
        (["GET /sites/*"], "POST /sites/1"),
        (["GET /sites/*"], "GET /sites"),
        (["get /sites/*"], "GET /sites/1"),
        (["GET /sites"], "GET /sites/1"),
    ):
        assert not covers(patterns, operation)


def test_a_path_that_streams_may_have_one_step_below_it_and_no_more() -> None:
    limits = Limits(body_bytes=1, stream_bytes=2, streams=frozenset({"/a/bulk", "/a/files/"}))
    sizes = [
        limits.body_of(path) for path in ("/a/bulk", "/a/bulk/x", "/a/files/x", "/a/files/x/y")
    ]
    assert sizes == [2, 1, 2, 1]
    assert limits.body_of("/a/files") == 1


def test_the_operations_of_a_soap_service_are_called_by_their_names() -> None:
    names = OperationPaths()
    assert names.name("POST", "/GetStatus") == "GetStatus"
    for method, path in (("GET", "/GetStatus"), ("POST", "/"), ("POST", "/GetStatus/7")):
        assert names.name(method, path) is None


@pytest.mark.parametrize(
    ("changes", "turned"),
    [
        ({}, False),
        ({"interface": b"digest"}, False),
        ({"speaks": Speaks.SOAP}, False),
        ({"speaks": Speaks.SOAP, "interface": b"digest"}, True),
        ({"maps": {"search": ContentMap("evses", None)}}, True),
    ],
    ids=["plain", "described", "undescribed soap", "soap", "mapped"],
)
def test_what_is_said_is_turned_where_the_provider_speaks_otherwise(
    changes: dict[str, Any], turned: bool
) -> None:
    assert Service("a", 1, PartyId("NL*ABC"), **changes).turned is turned


@given(
    st.integers(946_684_800, 4_102_444_800),
    st.sampled_from([Period.SECOND, Period.DAY, Period.MONTH]),
)
def test_a_period_ends_when_it_says_and_the_next_one_begins_then(
    seconds: int, period: Period
) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    reset_s = period.reset_s(at)
    assert reset_s is not None
    assert reset_s >= 1
    ends = at + timedelta(seconds=reset_s)
    assert period.window(ends) == period.window(at) + 1
    assert period.window(ends - timedelta(seconds=1)) == period.window(at)


def test_a_month_is_as_long_as_it_is() -> None:
    at = datetime(2028, 2, 28, 23, 59, 59, tzinfo=UTC)
    assert Period.MONTH.reset_s(at) == 86_401
    assert Period.MONTH.window(datetime(2028, 12, 31, tzinfo=UTC)) + 1 == Period.MONTH.window(
        datetime(2029, 1, 1, tzinfo=UTC)
    )


def test_a_pack_has_no_end_but_its_last_call() -> None:
    at = datetime(2028, 2, 28, tzinfo=UTC)
    assert (Period.PACK.window(at), Period.PACK.reset_s(at)) == (0, None)


def test_a_quota_has_the_limits_that_were_agreed_the_shortest_first() -> None:
    assert not Quota()
    quota = Quota(per_day=5, per_second=1, per_month=9, pack=100)
    assert quota.limits == (
        (Period.SECOND, 1),
        (Period.DAY, 5),
        (Period.MONTH, 9),
        (Period.PACK, 100),
    )
