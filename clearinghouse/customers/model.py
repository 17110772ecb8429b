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
REJECTIONS_MOST = 1_000
# A full list that ends more than this share of the contracts is asked about once more.
ENDED_AT_ONCE_PERCENT = 20
CHARGING = ("charging",)
LIMIT_MOST_MINOR = 10**12
_SERVICE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_SERVICE_RULE = "a lower case word of letters, digits and -, at most 64 characters"
_UPLOAD = re.compile(r"[A-Za-z0-9._-]{1,100}")
_UPLOAD_RULE = "1 to 100 letters, digits and . _ -"
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


class BadUpload(Malformed):
    """An upload that breaks a rule of its own."""


class UnknownUpload(Unknown):
    """The EVSP has begun no upload of this name."""


class UploadDiffers(Clash):
    """The upload is of another mode, or has its end already."""


class LinesMissing(Clash):
    """Lines before these, or after these, have not come."""


class UploadElsewhere(Clash):
    """The same upload is being written by another call at the same time."""


class EndsTooMany(Clash):
    """A full list that would end more contracts than is likely to be meant."""


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
class Removal:
    """That a contract is out of use: blocked, its token uids free for others."""

    contract_id: ContractId


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bulk: its number from 1, and what is in it, or why nothing can be made of it.

    `contract_id` is the one that it names, as far as that could be read, in whatever spelling.
    """

    number: int
    content: CustomerContract | Removal | Refusal
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
    """What became of a bulk: read = created + changed + unchanged + rejected.

    `unnamed` of the rejected do not tell which contract they are about.
    """

    read: int
    kept: Kept
    rejected: int
    rejections: tuple[Rejection, ...]
    unnamed: int = 0

    @property
    def unchanged(self) -> int:
        return self.read - self.rejected - self.kept.created - self.kept.changed

    def and_then(self, later: BulkReport) -> BulkReport:
        """Both together; of the rejections the first REJECTIONS_MOST are told."""
        rejections = (*self.rejections, *later.rejections)
        return BulkReport(
            read=self.read + later.read,
            kept=self.kept + later.kept,
            rejected=self.rejected + later.rejected,
            rejections=rejections[:REJECTIONS_MOST],
            unnamed=self.unnamed + later.unnamed,
        )


NOTHING_READ = BulkReport(read=0, kept=NOTHING_KEPT, rejected=0, rejections=())


class Mode(StrEnum):
    """What a bulk is: the changes since the last one, or the whole list, which ends all others."""

    DELTA = "delta"
    FULL = "full"


class UploadState(StrEnum):
    """An upload is open until its end is told; one full list is followed by a newer one."""

    OPEN = "open"
    COMPLETE = "complete"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class Upload:
    """A bulk that may come in parts. `lines` are kept, whatever happens to the connection.

    `active_before` and `ended` are about a full list: how many contracts were active as it began,
    and how many it has ended. What other calls have changed since `began_xid` is newer than it.
    """

    upload_id: str
    mode: Mode
    state: UploadState
    lines: int
    report: BulkReport
    active_before: int | None
    ended: int
    began_xid: int
    began_at: datetime
    changed_at: datetime

    def with_lines(self, last: int, report: BulkReport, now: datetime) -> Upload:
        return replace(self, lines=last, report=self.report.and_then(report), changed_at=now)

    def completed(self, ended: int, now: datetime) -> Upload:
        return replace(self, state=UploadState.COMPLETE, ended=ended, changed_at=now)


def upload_id(text: str) -> str:
    """An upload's name, chosen by the EVSP."""
    if _UPLOAD.fullmatch(text) is None:
        raise BadUpload(
            f"upload {text[:60]!r}: {_UPLOAD_RULE}",
            field="upload",
            value=text[:60],
            rule=_UPLOAD_RULE,
        )
    return text


def goes_on(upload: Upload, mode: Mode, from_line: int) -> Upload:
    """The upload, if lines from `from_line` on may follow; UploadDiffers, LinesMissing."""
    if upload.mode is not mode:
        raise UploadDiffers(
            f"upload {upload.upload_id} is {upload.mode}",
            field="mode",
            value=mode,
            rule=f"{upload.mode}, as it began; another list is another upload",
        )
    if upload.state is not UploadState.OPEN:
        raise UploadDiffers(
            f"upload {upload.upload_id} is {upload.state}",
            field="upload",
            value=upload.upload_id,
            rule="an upload that is open; another list is another upload",
        )
    if from_line > upload.lines + 1:
        raise LinesMissing(
            f"of upload {upload.upload_id} {upload.lines} lines are kept",
            field="from_line",
            value=from_line,
            rule=f"at most {upload.lines + 1}, so that no line is left out",
        )
    return upload


def may_complete(upload: Upload, lines: int) -> None:
    """Whether all lines have come; LinesMissing, UploadDiffers."""
    if upload.state is UploadState.REPLACED:
        raise UploadDiffers(
            f"upload {upload.upload_id} was followed by a newer full list",
            field="upload",
            value=upload.upload_id,
            rule="the newest full list",
        )
    if upload.lines != lines:
        raise LinesMissing(
            f"of upload {upload.upload_id} {upload.lines} lines are kept, not {lines}",
            field="lines",
            value=lines,
            rule="as many lines as the whole list has; what is missing is sent first",
        )


def may_end(upload: Upload, would_end: int, confirmed: int | None) -> None:
    """The safety stop of a full list: whether it may end so many contracts. EndsTooMany."""
    assert upload.active_before is not None, "only a full list ends contracts"
    few = would_end * 100 <= upload.active_before * ENDED_AT_ONCE_PERCENT
    if would_end == 0 or (few and not upload.report.unnamed):
        return
    if confirmed is not None and confirmed >= would_end:
        return
    why = (
        f"of {upload.active_before} contracts"
        if not few
        else f"and {upload.report.unnamed} of its lines do not tell which contract they name"
    )
    raise EndsTooMany(
        f"the list would end {would_end} contracts, {why}",
        field="confirm",
        value=confirmed,
        rule=f"confirm={would_end}, if that is meant",
    )


def draw_up(
    contract_id: str,
    *,
    token_uids: Sequence[str] = (),
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
    status: Status = Status.ACTIVE,
    services: Sequence[str] = CHARGING,
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
        token_uids=_uids(token_uids),
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
        raise not_yours(contract_id, caller)
    return contract_id


def not_yours(contract_id: ContractId, caller: PartyId) -> NotYourCustomer:
    return NotYourCustomer(
        f"{contract_id} is a contract id of {contract_id.provider}",
        field="contract_id",
        value=contract_id,
        rule=f"a contract id of {caller}",
    )


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


def _uids(uids: Sequence[str]) -> tuple[TokenUid, ...]:
    if len(uids) == 1:
        return (TokenUid(uids[0]),)
    return tuple(dict.fromkeys(map(TokenUid, uids)))


def _services(services: Sequence[str]) -> tuple[str, ...]:
    if services == CHARGING:
        return CHARGING
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
        instant = at if at.tzinfo is UTC else at.astimezone(UTC)
    except OverflowError:
        raise _bad(field, at.isoformat(), "a time from 1970 to 9999 in UTC") from None
    if instant < _EARLIEST:
        raise _bad(field, at.isoformat(), "a time from 1970 to 9999 in UTC")
    return instant


def _bad(field: str, value: object, rule: str) -> BadCustomerContract:
    return BadCustomerContract(f"{field} {value!r}: {rule}", field=field, value=value, rule=rule)
