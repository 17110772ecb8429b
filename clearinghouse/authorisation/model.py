"""Contractual clearing: who asks what about whom, what the house knows of it, what it decided.

Whether a customer may charge is told by rules.py, what it may have by services.py; decision.py says
how a decision is recorded, and account.py how it is explained.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from clearinghouse.certificates.model import Checked, Outcome, Presented
from clearinghouse.customers.model import AuthorisationMode, CustomerContract
from clearinghouse.exposure.model import Weighed
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from roaming.identifier import BadIdentifier
from roaming.money import Money
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed, Unknown
from roaming.token import TokenUid

CHARGE_ID_LONGEST = 100
SERVICES_MOST = 20
ASK_TIMEOUT_MOST_MS = 3_000
ASK_TIMEOUT_LEAST_MS = 100
_AUTHORISATION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


class BadQuestion(Malformed):
    """A question that breaks a rule of its own."""


class ChargeAskedDifferently(Clash):
    """The charge_id was used for another question."""


class BadPolicy(Malformed):
    """A policy of an EVSP that contradicts itself or a rule."""


class UnknownAuthorisation(Unknown):
    """There is no such authorisation, or none that the caller has part in."""


class Decision(StrEnum):
    ACCEPTED = "accepted"
    REFUSED = "refused"


class Reason(StrEnum):
    """Why not, in the order in which they are given."""

    EVSE_UNKNOWN = "evse-unknown"
    UNKNOWN_CONTRACT = "unknown-contract"
    NO_ROAMING_AGREEMENT = "no-roaming-agreement"
    CONTRACT_BLOCKED = "contract-blocked"
    CONTRACT_EXPIRED = "contract-expired"
    SERVICE_NOT_COVERED = "service-not-covered"
    OVER_LIMIT = "over-limit"
    EVSP_SILENT = "evsp-silent"


class IdentificationType(StrEnum):
    RFID = "rfid"
    CONTRACT_ID = "contract-id"
    PLUG_AND_CHARGE = "plug-and-charge"
    REMOTE = "remote"


class Silence(StrEnum):
    """What an EVSP wants when it is asked and does not answer."""

    REFUSE = "refuse"
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True)
class Policy:
    """What an EVSP wants to hold when it is asked.

    `accept_up_to`: its silence accepts a charge up to this amount without VAT; None is any amount.
    `asks_unknown`: whether cards that nobody here knows are shown to it.
    """

    on_silence: Silence = Silence.REFUSE
    accept_up_to: Money | None = None
    asks_unknown: bool = False
    ask_timeout_ms: int = ASK_TIMEOUT_MOST_MS


USUAL = Policy()


def policy_of(
    on_silence: Silence,
    *,
    accept_up_to_minor: int | None = None,
    currency: str | None = None,
    asks_unknown: bool = False,
    ask_timeout_ms: int = ASK_TIMEOUT_MOST_MS,
) -> Policy:
    """A policy in its one spelling, or BadPolicy or BadMoney."""
    if (accept_up_to_minor is None) != (currency is None):
        missing = "currency" if currency is None else "accept_up_to_minor"
        raise BadPolicy(
            "an amount has a currency",
            field=missing,
            value=None,
            rule="accept_up_to_minor and currency, both or neither",
        )
    if accept_up_to_minor is not None:
        if on_silence is not Silence.ACCEPT:
            raise BadPolicy(
                "a silence that refuses accepts no amount",
                field="accept_up_to_minor",
                value=accept_up_to_minor,
                rule="only with on_silence: accept",
            )
        if not 0 < accept_up_to_minor < 10**15:
            raise BadPolicy(
                f"accept_up_to_minor {accept_up_to_minor}: above 0",
                field="accept_up_to_minor",
                value=accept_up_to_minor,
                rule="whole minor units, above 0 and below 10^15",
            )
    if not ASK_TIMEOUT_LEAST_MS <= ask_timeout_ms <= ASK_TIMEOUT_MOST_MS:
        rule = f"{ASK_TIMEOUT_LEAST_MS} to {ASK_TIMEOUT_MOST_MS} ms"
        raise BadPolicy(
            f"ask_timeout_ms {ask_timeout_ms}: {rule}",
            field="ask_timeout_ms",
            value=ask_timeout_ms,
            rule=rule,
        )
    amount = None
    if accept_up_to_minor is not None and currency is not None:
        amount = Money(accept_up_to_minor, currency)
    return Policy(on_silence, amount, asks_unknown, ask_timeout_ms)


@dataclass(frozen=True, slots=True)
class Identification:
    """What the driver showed. `remote` may be either; where it reads as both, both are looked up,
    and a contract of that id goes before a token of that uid. Of the certificates that a vehicle
    presented only their digest is kept."""

    type: IdentificationType
    contract_id: ContractId | None
    token_uid: TokenUid | None
    presented: Presented | None = None
    certificate_digest: str | None = None

    @property
    def value(self) -> str:
        return str(self.token_uid if self.contract_id is None else self.contract_id)


@dataclass(frozen=True, slots=True)
class Question:
    """May the one who showed `identification` have `services` at `evse_id`, at the time `at`?

    `at_given` says whether the operator named the time; else it is the time of asking, and no part
    of the question when it comes again.
    """

    operator: PartyId
    evse_id: EvseId
    identification: Identification
    services: tuple[str, ...]
    at: datetime
    at_given: bool
    charge_id: str | None

    def digest(self) -> bytes:
        """The same for the same question of the same operator, however it is spelt."""
        parts = (
            self.evse_id,
            self.identification.type,
            self.identification.value,
            "\t".join(sorted(self.services)),
            self.at.isoformat() if self.at_given else "",
            self.identification.certificate_digest or "",
        )
        return hashlib.sha256("\n".join(parts).encode()).digest()


@dataclass(frozen=True, slots=True)
class Terms:
    """What an accepted charge costs whom: the roaming agreement, as far as it matters here.

    `tariff_group`: the charge point has a tariff of its own, by this name.
    """

    contract_id: str
    currency: str
    tariff: Mapping[str, Any]
    vat_percent: Decimal | None
    tariff_group: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an EVSP answered. A reason is None or one that an EVSP may give (`EVSP_REASONS`).

    `contract_id` is what it said of a customer that it alone knows; it may be anybody's.
    """

    decision: Decision
    reason: Reason | None = None
    contract_id: ContractId | None = None


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """That an EVSP did not answer, and what happened instead, in a few words."""

    cause: str


NOT_ASKED = NoAnswer("not asked")

# What only the hub knows is not for an EVSP to say. A bare "refused" counts as the first of these.
EVSP_REASONS = (
    Reason.CONTRACT_BLOCKED,
    Reason.UNKNOWN_CONTRACT,
    Reason.CONTRACT_EXPIRED,
    Reason.SERVICE_NOT_COVERED,
    Reason.OVER_LIMIT,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One EVSP that was asked, what it said, and how long that took."""

    evsp: PartyId
    said: Answer | NoAnswer
    took_ms: int

    @property
    def words(self) -> str:
        if isinstance(self.said, NoAnswer):
            return self.said.cause
        if self.said.decision is Decision.ACCEPTED:
            return "accepted"
        return f"refused: {self.said.reason or 'no reason given'}"


@dataclass(frozen=True, slots=True)
class Voucher:
    """The EVSP that says yes to a customer of whom nothing is kept here."""

    evsp: PartyId
    contract_id: ContractId | None

    @classmethod
    def of(cls, evsp: PartyId, answer: Answer, asked_about: ContractId | None = None) -> Voucher:
        """No EVSP names a contract of another's; where it does, it has named none."""
        named = asked_about or answer.contract_id
        return cls(evsp, named if named is not None and named.provider == evsp else None)


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known about one question. `agreement` covers the EVSE, or is None.

    A customer is known by its `contract` here, or by an EVSP that vouches for it; never by both.
    `limited`: what the contract's EVSP may owe has a limit. `hold`: what became of the claim on
    that limit and the customer's own; None where there is none, or it was not asked yet.
    """

    evse_operator: PartyId | None
    contract: CustomerContract | None
    agreement: Terms | None
    policy: Policy = USUAL
    answer: Answer | NoAnswer = NOT_ASKED
    voucher: Voucher | None = None
    asked: tuple[Asked, ...] = ()
    certificate: Checked | None = None
    limited: bool = False
    hold: Weighed | None = None

    def certificate_is(self, outcome: Outcome) -> bool:
        return self.certificate is not None and self.certificate.outcome is outcome

    @property
    def evsp(self) -> PartyId | None:
        if self.contract is not None:
            return self.contract.evsp
        return None if self.voucher is None else self.voucher.evsp

    @property
    def contract_id(self) -> ContractId | None:
        if self.contract is not None:
            return self.contract.contract_id
        return None if self.voucher is None else self.voucher.contract_id

    @property
    def silence_decides(self) -> bool:
        """Whether the EVSP alone could say, and has not."""
        contract = self.contract
        return (
            contract is not None
            and contract.authorisation is AuthorisationMode.ASK
            and not isinstance(self.answer, Answer)
        )

    @property
    def most(self) -> Money | None:
        """What the charge may come to without VAT, if anybody has said so: the EVSP's silence, or
        the customer's contract."""
        silence = self.policy.accept_up_to if self.silence_decides else None
        own = None if self.contract is None else per_charge(self.contract)
        if silence is None or own is None:
            return silence or own
        return min(silence, own) if silence.currency == own.currency else silence

    def evsp_says(self, reason: Reason) -> bool:
        answer = self.answer
        if not isinstance(answer, Answer) or answer.decision is not Decision.REFUSED:
            return False
        return (answer.reason or EVSP_REASONS[0]) is reason


def per_charge(contract: CustomerContract) -> Money | None:
    limits = contract.limits
    if limits is None or limits.per_charge_minor is None:
        return None
    return Money(limits.per_charge_minor, limits.currency)


@dataclass(frozen=True, slots=True)
class Authorisation:
    """One decision, as it is kept. Without a decision on record nobody is told one."""

    authorisation_id: str
    question: Question
    decided_at: datetime
    reason: Reason | None
    contract_id: ContractId | None
    evsp: PartyId | None
    valid_until: datetime | None
    agreement_id: str | None
    price: Mapping[str, Any] | None
    details: Mapping[str, Any]
    max_amount: Money | None = None

    @property
    def decision(self) -> Decision:
        return Decision.ACCEPTED if self.reason is None else Decision.REFUSED

    @property
    def contract_shown(self) -> ContractId | None:
        """Whose contract it is, told only where operator and EVSP have agreed to trade."""
        return None if self.agreement_id is None else self.contract_id


def known_shape(authorisation_id: str) -> bool:
    """Whether it can be an id of ours at all; what cannot is not even looked up."""
    return _AUTHORISATION_ID.fullmatch(authorisation_id) is not None


def unknown(authorisation_id: str) -> UnknownAuthorisation:
    return UnknownAuthorisation(
        "no such authorisation of yours", field="authorisation_id", value=authorisation_id[:60]
    )


def authorisation_id(now: datetime, chance: bytes) -> str:
    """A UUID of version 7 (RFC 9562): in order of time, unique by the ten bytes of chance."""
    number = int(now.timestamp() * 1000) << 80 | int.from_bytes(chance)
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def identify(
    kind: IdentificationType, value: str, presented: Presented | None = None
) -> Identification:
    """What was shown, in its one spelling; BadQuestion where it cannot be what it is said to be."""
    if presented is not None and kind is not IdentificationType.PLUG_AND_CHARGE:
        raise _bad(
            "identification.type", kind.value, "plug-and-charge, where there is a certificate"
        )
    try:
        if kind is IdentificationType.RFID:
            return Identification(kind, None, TokenUid(value))
        if kind is IdentificationType.REMOTE:
            return Identification(kind, _contract_id_or_none(value), TokenUid(value))
        digest = None if presented is None else presented.digest()
        return Identification(kind, ContractId(value), None, presented, digest)
    except BadIdentifier as refusal:
        raise BadQuestion(
            refusal.detail,
            field="identification.value",
            value=refusal.value,
            rule=f"for {kind}: {refusal.rule}",
        ) from None


def _contract_id_or_none(value: str) -> ContractId | None:
    try:
        return ContractId(value)
    except BadIdentifier:
        return None


def question_of(
    operator: PartyId,
    *,
    evse_id: str,
    identification: Identification,
    services: Sequence[str],
    charge_id: str | None,
    at: datetime | None,
    now: datetime,
) -> Question:
    """A question in its one spelling, or BadIdentifier or BadQuestion."""
    if not 0 < len(services) <= SERVICES_MOST:
        raise _bad("services", len(services), f"1 to {SERVICES_MOST} services")
    for service in services:
        if not (0 < len(service) <= 64 and service.isprintable()):
            raise _bad("services", service[:60], "1 to 64 printable characters each")
    if charge_id is not None and not (
        0 < len(charge_id) <= CHARGE_ID_LONGEST and charge_id.isprintable()
    ):
        raise _bad("charge_id", charge_id[:60], f"1 to {CHARGE_ID_LONGEST} printable characters")
    return Question(
        operator=operator,
        evse_id=EvseId(evse_id),
        identification=identification,
        services=tuple(dict.fromkeys(services)),
        at=now if at is None else _instant(at),
        at_given=at is not None,
        charge_id=charge_id,
    )


def _instant(at: datetime) -> datetime:
    rule = "a time from 1970 to 9999 in UTC"
    try:
        instant = at.astimezone(UTC)
    except OverflowError:
        raise _bad("at", at.isoformat(), rule) from None
    if instant < _EARLIEST:
        raise _bad("at", at.isoformat(), rule)
    return instant


def members_of(source: object, name: str) -> list[Mapping[str, Any]]:
    found = source.get(name) if isinstance(source, Mapping) else None
    return [one for one in found or () if isinstance(one, Mapping)]


def _bad(field: str, value: object, rule: str) -> BadQuestion:
    return BadQuestion(f"{field} {value!r}: {rule}", field=field, value=value, rule=rule)
