"""Which URLs the hub may be sent to by a partner: outside ones, so that no call leads back inside.

Whoever gives the hub a URL to call borrows the hub's place in the network. So loopback, private,
link-local and reserved addresses are refused. `allow_loopback` (rehearsals on one machine) lets
loopback pass, and nothing more. A name is held only to its look here: whoever makes the call must
look with `is_inside` at the address that the name resolves to.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from roaming.refusal import Malformed

LONGEST_URL = 2_000
_PLAIN = re.compile(r"[\x21-\x7e]+")
_RULE = "an absolute http or https URL without user, password and fragment"


class BadUrl(Malformed):
    """A URL that the hub will not call."""


def check_url(url: str, *, allow_loopback: bool, field: str = "url") -> str:
    """The URL itself where the hub may call it; BadUrl otherwise."""
    if len(url) > LONGEST_URL or not _PLAIN.fullmatch(url):
        raise BadUrl("this is no URL", field=field, value=url[:200], rule=_RULE)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadUrl(f"this is no URL: {error}", field=field, value=url, rule=_RULE) from None
    if parts.scheme not in ("http", "https") or not host:
        raise BadUrl("this is no URL to call", field=field, value=url, rule=_RULE)
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise BadUrl("this URL says too much", field=field, value=parts.hostname, rule=_RULE)
    if is_inside(host) and not (allow_loopback and is_loopback(host)):
        raise BadUrl(
            "the hub does not call addresses inside its own network",
            field=field,
            value=url,
            rule="a public host" + (" or loopback" if allow_loopback else ""),
        )
    return url


def is_loopback(host: str) -> bool:
    """`localhost`, any name under it, 127.0.0.0/8 in any spelling, ::1."""
    address = _address(host)
    if address is not None:
        return address.is_loopback
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")


def is_inside(host: str) -> bool:
    """Whether a host is written as one that only this machine or its own network knows."""
    address = _address(host)
    if address is None:
        return is_loopback(host)
    return not address.is_global or address.is_multicast


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a host is, also as `127.1`, `0x7f000001` or `::ffff:127.0.0.1`."""
    text = host.strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        try:
            # The resolver takes every spelling that inet_aton takes.
            return ipaddress.IPv4Address(socket.inet_aton(text.rstrip(".")))
        except OSError:
            return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
