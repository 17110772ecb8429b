"""Customer contracts: who may charge on which EVSP's account, as that EVSP has told us.

A token uid belongs to one contract at a time. Among an EVSP's own contracts the last one that names
it has it, as with a card that is handed on; a uid that another EVSP's contract holds is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from roaming.contract_id import ContractId
from roaming.money import BadMoney, places_of
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed, NotYours, Refusal, Unavailable, Unknown
from roaming.token import TokenUid

TOKENS_MOST = 100
SERVICES_MOST = 20
DISPLAY_NAME_LONGEST = 100
REJECTIONS_SHOWN = 100
LIMIT_MOST_MINOR = 10**12
_SERVICE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_SERVICE_RULE = "a lower case word of letters, digits and -, at most 64 characters"
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


class BadCustomerContract(Malformed):
    """A customer contract that breaks a rule of its own."""


class NotYourCustomer(NotYours):
    """The contract id names another EVSP as its provider."""


class UnknownCustomerContract(Unknown):
    """The EVSP keeps no contract of this id here."""


class TokenHeldElsewhere(Clash):
    """A token uid of the contract is held by a contract of another EVSP."""


class TokensRaced(Unavailable):
    """Another EVSP wrote one of the token uids at the same moment; nothing was kept."""


class Status(StrEnum):
    ACTIVE = "active"
    BLOCKED = "blocked"


class AuthorisationMode(StrEnum):
    """Who decides when the customer wants to charge: this list, the EVSP asked each time, or both.

    Both: what the list refuses is refused at once; else the EVSP is asked as well, and where it
    stays silent the list's yes holds.
    """

    LIST = "list"
    ASK = "ask"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a customer may spend, excluding VAT, in minor units of one currency; None is open.

    Days and months are those of the hub, in UTC. Kept here, enforced where charges are authorised.
    """

    currency: str
    per_charge_minor: int | None = None
    per_day_minor: int | None = None
    per_month_minor: int | None = None


@dataclass(frozen=True, slots=True)
class CustomerContract:
    """One customer's contract. In force in [valid_from, valid_until); None is open on that side."""

    contract_id: ContractId
    token_uids: tuple[TokenUid, ...]
    valid_from: datetime | None
    valid_until: datetime | None
    status: Status
    services: tuple[str, ...]
    authorisation: AuthorisationMode
    display_name: str | None
    limits: Limits | None = None

    @property
    def evsp(self) -> PartyId:
        return self.contract_id.provider

    def in_force(self, at: datetime) -> bool:
        """Whether `at` falls into the validity; the first instant does, the last does not."""
        if self.valid_from is not None and at < self.valid_from:
            return False
        return self.valid_until is None or at < self.valid_until

    def blocked(self) -> CustomerContract:
        return replace(self, status=Status.BLOCKED)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bulk: its number from 1, and the contract in it or why there is none."""

    number: int
    content: CustomerContract | Refusal
    contract_id: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """How many contracts were new, and how many were known and are now different."""

    created: int
    changed: int

    def __add__(self, other: Kept) -> Kept:
        return Kept(self.created + other.created, self.changed + other.changed)


NOTHING_KEPT = Kept(0, 0)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one line of a bulk was left out."""

    line: int
    contract_id: str | None
    field: str | None
    value: str | None
    rule: str


@dataclass(frozen=True, slots=True)
class BulkReport:
    """What became of a bulk: read = created + changed + unchanged + rejected."""

    read: int
    kept: Kept
    rejected: int
    rejections: tuple[Rejection, ...]

    @property
    def unchanged(self) -> int:
        return self.read - self.rejected - self.kept.created - self.kept.changed


def draw_up(
    contract_id: str,
    *,
    token_uids: Sequence[str] = (),
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
    status: Status = Status.ACTIVE,
    services: Sequence[str] = ("charging",),
    authorisation: AuthorisationMode = AuthorisationMode.LIST,
    display_name: str | None = None,
    limits: Limits | None = None,
) -> CustomerContract:
    """A contract in its one spelling, or BadIdentifier or BadCustomerContract."""
    first, last = _instant("valid_from", valid_from), _instant("valid_until", valid_until)
    if first is not None and last is not None and first >= last:
        raise _bad("valid_until", last.isoformat(), "later than valid_from")
    if len(token_uids) > TOKENS_MOST:
        raise _bad("token_uids", len(token_uids), f"at most {TOKENS_MOST} token uids")
    if display_name is not None and not (
        len(display_name) <= DISPLAY_NAME_LONGEST and display_name.isprintable()
    ):
        raise _bad(
            "display_name",
            display_name[:60],
            f"at most {DISPLAY_NAME_LONGEST} printable characters",
        )
    return CustomerContract(
        contract_id=ContractId(contract_id),
        token_uids=tuple(dict.fromkeys(map(TokenUid, token_uids))),
        valid_from=first,
        valid_until=last,
        status=status,
        services=_services(services),
        authorisation=authorisation,
        display_name=display_name,
        limits=None if limits is None else _limits(limits),
    )


def owned(contract_id: ContractId, caller: PartyId) -> ContractId:
    """The id if the caller is its provider; else NotYourCustomer, whether it is known or not."""
    if contract_id.provider != caller:
        raise NotYourCustomer(
            f"{contract_id} is a contract id of {contract_id.provider}",
            field="contract_id",
            value=contract_id,
            rule=f"a contract id of {caller}",
        )
    return contract_id


def token_refusal(contract: CustomerContract, held: AbstractSet[TokenUid]) -> Refusal | None:
    """The refusal of a contract that names a uid which another EVSP holds. Not told: whose."""
    for index, uid in enumerate(contract.token_uids):
        if uid in held:
            return TokenHeldElsewhere(
                f"token uid {index + 1} of {contract.contract_id} is held by another EVSP",
                field=f"token_uids[{index}]",
                value=repr(uid),
                rule="a token uid belongs to one contract, and another EVSP's holds this one",
            )
    return None


def rejection(line: Line, refusal: Refusal) -> Rejection:
    """A refusal in the words of the bulk report."""
    return Rejection(
        line=line.number,
        contract_id=line.contract_id,
        field=refusal.field,
        value=None if refusal.value is None else str(refusal.value)[:60],
        rule=refusal.rule or refusal.detail,
    )


def _services(services: Sequence[str]) -> tuple[str, ...]:
    if tuple(services) == ("charging",):
        return ("charging",)
    if not 0 < len(services) <= SERVICES_MOST:
        raise _bad("services", len(services), f"1 to {SERVICES_MOST} services")
    for index, service in enumerate(services):
        if _SERVICE.fullmatch(service) is None:
            raise _bad(f"services[{index}]", service[:60], _SERVICE_RULE)
    return tuple(dict.fromkeys(services))


def _limits(limits: Limits) -> Limits:
    try:
        places_of(limits.currency)
    except BadMoney as refusal:
        rule = refusal.rule or "a currency of ISO 4217"
        raise _bad("limits.currency", limits.currency[:60], rule) from None
    amounts = {
        "per_charge_minor": limits.per_charge_minor,
        "per_day_minor": limits.per_day_minor,
        "per_month_minor": limits.per_month_minor,
    }
    for name, minor in amounts.items():
        if minor is not None and not 0 <= minor <= LIMIT_MOST_MINOR:
            raise _bad(f"limits.{name}", minor, f"0 to {LIMIT_MOST_MINOR} minor units")
    if all(minor is None for minor in amounts.values()):
        raise _bad("limits", "none of them", f"at least one of {', '.join(amounts)}")
    return limits


def _instant(field: str, at: datetime | None) -> datetime | None:
    """`at` in UTC; refused where the calendar has no such instant in UTC."""
    if at is None:
        return None
    try:
        instant = at.astimezone(UTC)
    except OverflowError:
        raise _bad(field, at.isoformat(), "a time from 1970 to 9999 in UTC") from None
    if instant < _EARLIEST:
        raise _bad(field, at.isoformat(), "a time from 1970 to 9999 in UTC")
    return instant


def _bad(field: str, value: object, rule: str) -> BadCustomerContract:
    return BadCustomerContract(f"{field} {value!r}: {rule}", field=field, value=value, rule=rule)
