"""Which headers partners may have passed on to each other: all but those that mean something here.

What tells who is calling, what belongs to one hop or to the connection, and what a browser goes by
is the hub's own affair, whoever asks for it.
"""

from __future__ import annotations

import re

LONGEST_NAME = 64
_NAME = re.compile(rf"[-!#$%&'*+.^_`|~0-9A-Za-z]{{1,{LONGEST_NAME}}}")
_OURS = frozenset(
    (
        # Who is calling, and what the hub vouches for.
        *("authorization", "cookie", "set-cookie", "www-authenticate", "x-jws-signature"),
        *("x-caller-party", "x-contract-id", "x-request-id", "traceparent", "tracestate"),
        # One hop's (RFC 9110, section 7.6), and what is reckoned for each message.
        *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
        *("content-length", "date", "expect", "forwarded", "host", "server", "via"),
        # Another method than the one that the contract was looked up for.
        *("x-http-method", "x-http-method-override", "x-method-override"),
        # Orders to a browser that takes the hub for where its pages come from.
        *("clear-site-data", "content-security-policy", "strict-transport-security"),
        *("refresh", "x-content-type-options"),
    )
)
_OUR_BEGINNINGS = (
    *("access-control-", "client-cert", "gridroam-", "proxy-", "ratelimit", "sec-"),
    *("x-forwarded-", "x-real-ip"),
)


def may_be_passed_on(name: str) -> bool:
    """Whether a header of this name may go from one partner to another as it is."""
    lower = name.lower()
    return (
        _NAME.fullmatch(name) is not None
        and lower not in _OURS
        and not lower.startswith(_OUR_BEGINNINGS)
    )
