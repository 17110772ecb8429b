"""Contractual clearing: may this customer charge here, and if not, why not?

The reasons stand in one published order, and the first that applies is given. The order is data
(`RULES`); `judge` walks it and does nothing else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from clearinghouse.customers.model import AuthorisationMode, CustomerContract, Status
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from roaming.identifier import BadIdentifier
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed, Unknown
from roaming.token import TokenUid

CHARGE_ID_LONGEST = 100
SERVICES_MOST = 20
_AUTHORISATION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


class BadQuestion(Malformed):
    """A question that breaks a rule of its own."""


class ChargeAskedDifferently(Clash):
    """The charge_id was used for another question."""


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
class Identification:
    """What the driver showed. `remote` may be either; where it reads as both, both are looked up,
    and a contract of that id goes before a token of that uid."""

    type: IdentificationType
    contract_id: ContractId | None
    token_uid: TokenUid | None

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
        )
        return hashlib.sha256("\n".join(parts).encode()).digest()


@dataclass(frozen=True, slots=True)
class Terms:
    """What an accepted charge costs whom: the roaming agreement, as far as it matters here."""

    contract_id: str
    currency: str
    tariff: Mapping[str, Any]
    vat_percent: Decimal | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an EVSP answered. A reason is None or one that an EVSP may give (`EVSP_REASONS`)."""

    decision: Decision
    reason: Reason | None = None


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
class Facts:
    """All that is known about one question. `agreement` covers the EVSE, or is None."""

    evse_operator: PartyId | None
    contract: CustomerContract | None
    agreement: Terms | None
    silence: Silence = Silence.REFUSE
    answer: Answer | NoAnswer = NOT_ASKED

    def evsp_says(self, reason: Reason) -> bool:
        answer = self.answer
        if not isinstance(answer, Answer) or answer.decision is not Decision.REFUSED:
            return False
        return (answer.reason or EVSP_REASONS[0]) is reason


Check = Callable[[Question, Facts], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold; where it does not, the question is refused with `reason`.

    A rule may count on all that stand before it.
    """

    reason: Reason
    must_be: str
    holds: Check


def _evse_is_the_callers(question: Question, facts: Facts) -> bool:
    return facts.evse_operator is not None and facts.evse_operator == question.operator


def _contract_is_known(_: Question, facts: Facts) -> bool:
    return facts.contract is not None


def _agreement_covers(_: Question, facts: Facts) -> bool:
    return facts.agreement is not None


def _contract_is_active(_: Question, facts: Facts) -> bool:
    return facts.contract is not None and facts.contract.status is Status.ACTIVE


def _contract_is_in_force(question: Question, facts: Facts) -> bool:
    return facts.contract is not None and facts.contract.in_force(question.at)


def _services_are_covered(question: Question, facts: Facts) -> bool:
    covered = () if facts.contract is None else facts.contract.services
    return all(service in covered for service in question.services)


def _no_limit_is_kept_here(_question: Question, _facts: Facts) -> bool:
    """What a customer may spend is known to the EVSP alone, who says so when it is asked."""
    return True


def _evsp_is_not_silent(_: Question, facts: Facts) -> bool:
    if facts.contract is None or facts.contract.authorisation is AuthorisationMode.LIST:
        return True
    return isinstance(facts.answer, Answer) or facts.silence is Silence.ACCEPT


def _unless_the_evsp_says(reason: Reason, holds: Check) -> Check:
    def check(question: Question, facts: Facts) -> bool:
        return holds(question, facts) and not facts.evsp_says(reason)

    return check


def _rule(reason: Reason, must_be: str, holds: Check) -> Rule:
    if reason in EVSP_REASONS:
        holds = _unless_the_evsp_says(reason, holds)
    return Rule(reason, must_be, holds)


RULES = (
    _rule(
        Reason.EVSE_UNKNOWN,
        "the EVSE is known here as one of the asking operator's",
        _evse_is_the_callers,
    ),
    _rule(Reason.UNKNOWN_CONTRACT, "an EVSP knows the customer", _contract_is_known),
    _rule(
        Reason.NO_ROAMING_AGREEMENT,
        "operator and EVSP have a roaming agreement for this EVSE at this time",
        _agreement_covers,
    ),
    _rule(Reason.CONTRACT_BLOCKED, "the customer's contract is active", _contract_is_active),
    _rule(
        Reason.CONTRACT_EXPIRED,
        "the time lies within the validity of the customer's contract",
        _contract_is_in_force,
    ),
    _rule(
        Reason.SERVICE_NOT_COVERED,
        "the customer's contract covers every service asked for",
        _services_are_covered,
    ),
    _rule(Reason.OVER_LIMIT, "the customer is within its limits", _no_limit_is_kept_here),
    _rule(
        Reason.EVSP_SILENT,
        "the EVSP answers in time where it wants to be asked, or lets its silence accept",
        _evsp_is_not_silent,
    ),
)
assert [rule.reason for rule in RULES] == list(Reason)


def judge(question: Question, facts: Facts) -> Reason | None:
    """The first reason in the published order to refuse, or None: accepted."""
    for rule in RULES:
        if not rule.holds(question, facts):
            return rule.reason
    return None


def must_ask(question: Question, facts: Facts) -> bool:
    """Whether the EVSP is to be asked: it wants to be, and its answer could matter."""
    contract = facts.contract
    if contract is None or contract.authorisation is AuthorisationMode.LIST:
        return False
    yes = replace(facts, answer=Answer(Decision.ACCEPTED))
    return judge(question, yes) is None


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

    @property
    def decision(self) -> Decision:
        return Decision.ACCEPTED if self.reason is None else Decision.REFUSED

    @property
    def contract_shown(self) -> ContractId | None:
        """Whose contract it is, told only where operator and EVSP have agreed to trade."""
        return None if self.agreement_id is None else self.contract_id


def decide(
    question: Question, facts: Facts, *, authorisation_id: str, now: datetime
) -> Authorisation:
    """The decision about a question, with what explains it later."""
    reason = judge(question, facts)
    contract, agreement = facts.contract, facts.agreement
    accepted = reason is None
    return Authorisation(
        authorisation_id=authorisation_id,
        question=question,
        decided_at=now,
        reason=reason,
        contract_id=None if contract is None else contract.contract_id,
        evsp=None if contract is None else contract.evsp,
        valid_until=contract.valid_until if accepted and contract is not None else None,
        agreement_id=None if agreement is None else agreement.contract_id,
        price=price_of(agreement) if accepted and agreement is not None else None,
        details=_details(facts),
    )


def repeated(known: Authorisation, question: Question) -> Authorisation:
    """The decision on record for a charge_id, if the question is the same one."""
    if known.question.digest() != question.digest():
        raise ChargeAskedDifferently(
            "this charge_id stands for another question",
            field="charge_id",
            value=question.charge_id,
            rule="one charge_id for one EVSE, identification, services and time",
        )
    return known


def price_of(agreement: Terms) -> dict[str, Any]:
    """What the driver may be shown: each price of the tariff, and whether it holds always."""
    components = [
        {
            "type": component.get("type"),
            "price": str(component.get("price")),
            "step_size": component.get("step_size"),
            "restricted": bool(element.get("restrictions")),
        }
        for element in _members(agreement.tariff, "elements")
        for component in _members(element, "price_components")
    ]
    return {
        "agreement_id": agreement.contract_id,
        "currency": agreement.currency,
        "vat_percent": None if agreement.vat_percent is None else str(agreement.vat_percent),
        "components": components,
    }


@dataclass(frozen=True, slots=True)
class Step:
    """One rule of a decision: passed, failed, or not reached. Details are for the EVSP alone."""

    reason: Reason
    must_be: str
    outcome: str
    detail: str | None


def explain(authorisation: Authorisation, caller: PartyId) -> tuple[Step, ...]:
    """Each rule in order, for the operator that asked or the EVSP whose customer it is about.

    Raises UnknownAuthorisation for everybody else, as if there were none.
    """
    if caller not in (authorisation.question.operator, authorisation.evsp):
        raise unknown(authorisation.authorisation_id)
    details = authorisation.details if caller == authorisation.evsp else {}
    return tuple(_steps(authorisation, details))


def _steps(authorisation: Authorisation, details: Mapping[str, Any]) -> Iterator[Step]:
    outcome = "passed"
    for rule in RULES:
        if rule.reason is authorisation.reason:
            yield Step(rule.reason, rule.must_be, "failed", details.get(rule.reason))
            outcome = "not-reached"
        else:
            told = details.get(rule.reason) if outcome == "passed" else None
            yield Step(rule.reason, rule.must_be, outcome, told)


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


def identify(kind: IdentificationType, value: str) -> Identification:
    """What was shown, in its one spelling; BadQuestion where it cannot be what it is said to be."""
    try:
        if kind is IdentificationType.RFID:
            return Identification(kind, None, TokenUid(value))
        if kind is IdentificationType.REMOTE:
            return Identification(kind, _contract_id_or_none(value), TokenUid(value))
        return Identification(kind, ContractId(value), None)
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


def _members(source: object, name: str) -> list[Mapping[str, Any]]:
    found = source.get(name) if isinstance(source, Mapping) else None
    return [one for one in found or () if isinstance(one, Mapping)]


def _details(facts: Facts) -> dict[str, str]:
    """What each rule looked at, in a few words; kept with the decision."""
    contract = facts.contract
    details: dict[str, str] = {}
    if contract is None:
        return details
    if facts.agreement is not None:
        details[Reason.NO_ROAMING_AGREEMENT] = f"agreement {facts.agreement.contract_id}"
    details[Reason.CONTRACT_BLOCKED] = f"status {contract.status}"
    if contract.valid_from or contract.valid_until:
        first = "open" if contract.valid_from is None else contract.valid_from.isoformat()
        last = "open" if contract.valid_until is None else contract.valid_until.isoformat()
        details[Reason.CONTRACT_EXPIRED] = f"valid from {first} until {last}"
    details[Reason.SERVICE_NOT_COVERED] = f"covers {', '.join(contract.services)}"
    match facts.answer:
        case Answer(Decision.ACCEPTED):
            details[Reason.EVSP_SILENT] = "the EVSP accepted"
        case Answer(_, reason):
            meant = reason or EVSP_REASONS[0]
            known = f"{details[meant]}; " if meant in details else ""
            details[meant] = f"{known}the EVSP refused: {reason or 'no reason given'}"
        case NoAnswer(cause) if facts.answer is not NOT_ASKED:
            details[Reason.EVSP_SILENT] = f"{cause}; on silence: {facts.silence}"
    return details


def _bad(field: str, value: object, rule: str) -> BadQuestion:
    return BadQuestion(f"{field} {value!r}: {rule}", field=field, value=value, rule=rule)
