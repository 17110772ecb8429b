"""What a path says: which service, which operation; and whose trace a call is part of. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from urllib.parse import unquote

from gateway.calls.refusals import BadPath

_CALL_PATH = re.compile(
    rb"/services/([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)"
    rb"(?:/v([2-9]|[1-9][0-9]{1,3}))?"
    rb"(/[A-Za-z0-9\-._~!$&'()*+,;=:@%/]*)?"
)
# Encoded separators, dots, control characters and broken escapes are read differently by different
# servers: what one counts as a name, the next takes for a way up.
_UNSAFE = re.compile(
    rb"%(?:2[efEF]|5[cC]|25|[01]|7[fF]|[^0-9A-Fa-f]|.[^0-9A-Fa-f]|.?\Z)|/\.\.?(?:/|\Z)|//"
)


def split_path(raw_path: bytes) -> tuple[str, int, str]:
    """`/services/{service}/v2/rest` -> (service, 2, "/rest"). The rest stays percent-encoded.

    Raises BadPath for anything that two servers could read in two ways (RFC 3986, section 7.3).
    """
    match = _CALL_PATH.fullmatch(raw_path)
    if match is None:
        raise BadPath(
            "this is not the path of a service call",
            field="path",
            value=raw_path[:200].decode("latin-1"),
            rule="/services/{service}/{path}, or /services/{service}/v2/{path}",
        )
    service, major, rest = match.groups()
    rest = rest or b"/"
    check_path(rest)
    return service.decode(), int(major) if major else 1, rest.decode("ascii")


def check_path(path: bytes) -> None:
    """Raises BadPath for a path that two servers could read in two ways."""
    if (b"%" in path or b"/." in path or b"//" in path) and _UNSAFE.search(path):
        raise BadPath(
            "the path can be read in more than one way",
            field="path",
            value=path[:200].decode("latin-1"),
            rule="no dot segments, empty segments, encoded slashes, dots, percents or controls",
        )


_TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def continue_trace(
    incoming: bytes | None,
    request_id: str,
    span_id: str,
    begins: Callable[[str], bool] | None = None,
) -> str:
    """The caller's trace with a span of our own, or a new one (W3C Trace Context, section 3.2).

    `request_id` has 32 hexadecimal digits and becomes the trace id of a new trace; `begins` says
    whether that one is told to anybody.
    """
    if incoming is not None:
        match = _TRACEPARENT.fullmatch(incoming)
        if match is not None and match[1].strip(b"0") and match[2].strip(b"0"):
            return f"00-{match[1].decode()}-{span_id}-{match[3].decode()}"
    sampled = begins is None or begins(request_id)
    return f"00-{request_id}-{span_id}-{'01' if sampled else '00'}"


class Operations:
    """Which operation of a service a call is: (method, path template) -> name."""

    def __init__(self, table: Iterable[tuple[str, str, str]]) -> None:
        self._exact: dict[tuple[str, str], str] = {}
        self._templates: dict[str, list[tuple[re.Pattern[str], str]]] = {}
        for method, template, name in table:
            if "{" in template:
                pattern = re.sub(r"\\\{[^/]*?\\\}", "[^/]+", re.escape(template))
                self._templates.setdefault(method, []).append((re.compile(pattern), name))
            else:
                self._exact[method, template] = name

    def name(self, method: str, path: str) -> str | None:
        """None: the service has no such operation. HEAD is asked as GET."""
        if method == "HEAD":
            method = "GET"
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact
        if "%" in path or ";" in path:
            # As servers read it, so that nothing is called by another operation's name.
            plain = self._at(method, unquote(_PARAMETERS.sub("", path)))
            if plain is not None:
                return plain
        return self._at(method, path)

    def _at(self, method: str, path: str) -> str | None:
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact
        for pattern, name in self._templates.get(method, ()):
            if pattern.fullmatch(path):
                return name
        return None


_PARAMETERS = re.compile(";[^/]*")


class OperationPaths:
    """The operations of a SOAP service are called at `POST /{Operation}`."""

    def name(self, method: str, path: str) -> str | None:
        name = path[1:]
        return name if method == "POST" and name and "/" not in name else None


def covers(patterns: Sequence[str], operation: str) -> bool:
    """Whether a contract's operations, names or `METHOD path` patterns (fnmatch), allow one."""
    return "*" in patterns or any(
        pattern == operation or fnmatchcase(operation, pattern) for pattern in patterns
    )
