"""Partners: a party with roles in this market, and the endpoints at which the hub calls it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from marketplace.partners.standing import UNTROUBLED, PartnerStatus, Standing
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed, NotYours, Unknown

LONGEST_NAME = 200
MOST_HEADERS = 10
LONGEST_HEADER = 4_000


class Role(StrEnum):
    """What a partner is in this market. One may hold several roles at once."""

    EVSE_OPERATOR = "evse-operator"
    EVSP = "evsp"
    DSO = "dso"
    SERVICE_PROVIDER = "service-provider"


class Purpose(StrEnum):
    """What the hub calls a partner for."""

    CDRS = "cdrs"
    AUTHORISATION = "authorisation"
    CONTRACTS = "contracts"


class BadPartner(Malformed):
    """A registration that breaks a rule."""


class BadEndpoint(Malformed):
    """An address that the hub will not call."""


class UnknownPartner(Unknown):
    """No such party is registered here."""


class NotYourEndpoint(NotYours):
    """Only a party itself says, and sees, where it is called."""


class NotYourStanding(NotYours):
    """A partner sees its own standing, and may leave; all else is for the hub's operator."""


class RoleNotHeld(Unknown):
    """The partner does not hold this role."""


class PartnerAbsent(Clash):
    """A partner that is suspended or has left makes no contracts and no offers."""


@dataclass(frozen=True, slots=True)
class Partner:
    """A party of the market. `roles` are those approved, of which some may be suspended.

    A partner may have several party ids; `main` is the one by which it is known, and for all of
    them a suspension and a leaving count alike.
    """

    party: PartyId
    name: str
    roles: frozenset[Role]
    registered_at: datetime
    standing: Standing = UNTROUBLED
    main: PartyId | None = None

    @property
    def belongs_to(self) -> PartyId:
        return self.main or self.party

    def status_at(self, at: datetime) -> PartnerStatus:
        return self.standing.at(at)

    def roles_at(self, at: datetime) -> frozenset[Role]:
        """The roles that it may act in at a moment."""
        return roles_in_force(self.roles, self.standing, at)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the hub calls `party` for `purpose`. `headers` go along, and may hold secrets."""

    party: PartyId
    purpose: Purpose
    url: str
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Endpoint({self.party!s}, {self.purpose!s}, {self.url!r}, {sorted(self.headers)})"


def roles_of(names: Iterable[str]) -> frozenset[Role]:
    """At least one role; BadPartner names the one that does not exist."""
    roles = set()
    for name in names:
        if name not in set(Role):
            raise BadPartner(
                f"there is no role {name!r}", field="role", value=name, rule=", ".join(Role)
            )
        roles.add(Role(name))
    if not roles:
        raise BadPartner("a partner has at least one role", field="role", rule=", ".join(Role))
    return frozenset(roles)


def roles_in_force(roles: frozenset[Role], standing: Standing, at: datetime) -> frozenset[Role]:
    """Those of `roles` that a partner of this standing may act in at a moment."""
    if standing is UNTROUBLED:
        return roles
    return frozenset(role for role in roles if standing.absent(role, at) is None)


def check_present(party: PartyId, standing: Standing, at: datetime, field: str) -> None:
    """PartnerAbsent for a partner with whom nothing is agreed now."""
    status = standing.absent(None, at)
    if status is not None:
        raise PartnerAbsent(
            f"{party} is {status} and neither agrees nor offers anything",
            field=field,
            value=party,
            rule="a partner that is active: GET /marketplace/partners",
        )


def registered(
    known: Partner | None, party: PartyId, roles: frozenset[Role], name: str, now: datetime
) -> Partner:
    """The partner as it is after a registration, the first or a later one."""
    name = name.strip()
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise BadPartner(
            "a partner has a name",
            field="name",
            value=name,
            rule=f"1 to {LONGEST_NAME} printable characters",
        )
    if known is None:
        return Partner(party, name, roles, now)
    return replace(known, name=name, roles=roles)


# What the connection itself says, not its user.
_RESERVED_HEADERS = frozenset(
    [
        "host",
        "connection",
        "content-length",
        "content-type",
        "transfer-encoding",
        "upgrade",
        "te",
        "trailer",
        "keep-alive",
        "proxy-authorization",
        "expect",
    ]
)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")


def endpoint(party: PartyId, purpose: Purpose, url: str, headers: Mapping[str, str]) -> Endpoint:
    """An endpoint with headers that may be sent along; BadEndpoint otherwise.

    Whether the hub calls the URL at all is for kit/outside_url.py to say.
    """
    if len(headers) > MOST_HEADERS:
        raise BadEndpoint("too many headers", field="headers", rule=f"at most {MOST_HEADERS}")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _RESERVED_HEADERS:
            raise BadEndpoint(
                "this header is not for partners to set",
                field=f"headers.{name[:100]}",
                value=name[:100],
                rule="a header name of RFC 9110 that is not about the connection itself",
            )
        if len(value) > LONGEST_HEADER or not _HEADER_VALUE.fullmatch(value):
            # The value is a secret as a rule, and is not told again.
            raise BadEndpoint(
                "the header's value cannot be sent",
                field=f"headers.{name}",
                rule=f"1 to {LONGEST_HEADER} printable ASCII characters",
            )
    return Endpoint(party, purpose, url, dict(headers))
