"""What a path says: one service and one operation, to every server that reads it."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calls.paths import OperationPaths, Operations, continue_trace, covers, split_path
from gateway.calls.refusals import BadPath


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


def test_the_operations_of_a_soap_service_are_called_by_their_names() -> None:
    names = OperationPaths()
    assert names.name("POST", "/GetStatus") == "GetStatus"
    for method, path in (("GET", "/GetStatus"), ("POST", "/"), ("POST", "/GetStatus/7")):
        assert names.name(method, path) is None
