"""Contractual clearing: may this customer charge here, and if not, why not?

The reasons stand in one published order, and the first that applies is given. The order is data
(`RULES`); `judge` walks it and does nothing else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from clearinghouse.certificates.model import Checked, Outcome, Presented
from clearinghouse.customers.model import AuthorisationMode, CustomerContract, Status
from clearinghouse.exposure.model import Claim, Weighed
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
ASKED_AROUND_MOST = 50
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
    """What an accepted charge costs whom: the roaming agreement, as far as it matters here."""

    contract_id: str
    currency: str
    tariff: Mapping[str, Any]
    vat_percent: Decimal | None


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
        own = None if self.contract is None else _per_charge(self.contract)
        if silence is None or own is None:
            return silence or own
        return min(silence, own) if silence.currency == own.currency else silence

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
    if facts.certificate_is(Outcome.UNTRUSTED):
        return False
    return facts.contract is not None or facts.voucher is not None


def _agreement_covers(_: Question, facts: Facts) -> bool:
    return facts.agreement is not None


def _contract_is_active(_: Question, facts: Facts) -> bool:
    if facts.certificate_is(Outcome.REVOKED):
        return False
    return facts.contract is None or facts.contract.status is Status.ACTIVE


def _contract_is_in_force(question: Question, facts: Facts) -> bool:
    if facts.certificate_is(Outcome.EXPIRED):
        return False
    return facts.contract is None or facts.contract.in_force(question.at)


def _services_are_covered(question: Question, facts: Facts) -> bool:
    # Who vouches for a customer was asked for these very services.
    if facts.contract is None:
        return True
    return all(service in facts.contract.services for service in question.services)


def _within_limits(_: Question, facts: Facts) -> bool:
    """What only the EVSP knows of a customer's limits, it says when it is asked."""
    if facts.hold is not None and not facts.hold.granted:
        return False
    own = None if facts.contract is None else _per_charge(facts.contract)
    if own is None or facts.agreement is None or facts.agreement.currency != own.currency:
        return True
    return least_price(facts.agreement.tariff) <= own.decimal


def _per_charge(contract: CustomerContract) -> Money | None:
    limits = contract.limits
    if limits is None or limits.per_charge_minor is None:
        return None
    return Money(limits.per_charge_minor, limits.currency)


def _evsp_is_not_silent(_: Question, facts: Facts) -> bool:
    return not facts.silence_decides or silence_accepts(facts.policy, facts.agreement)


def silence_accepts(policy: Policy, agreement: Terms | None) -> bool:
    """Whether the EVSP's silence is a yes, and one that this tariff does not exceed by itself.

    An amount in another currency than the agreement's is none that anybody could keep to.
    """
    if policy.on_silence is not Silence.ACCEPT:
        return False
    most = policy.accept_up_to
    if most is None:
        return True
    if agreement is None or agreement.currency != most.currency:
        return False
    return least_price(agreement.tariff) <= most.decimal


def least_price(tariff: Mapping[str, Any]) -> Decimal:
    """What any charge costs at the least, without VAT: its minimum price, its flat fee.

    Of the elements with a flat fee the first that is active counts, so that it is one of those up
    to the first without restrictions, and where there is no such one, perhaps none.
    """
    flats: list[Decimal] = []
    for element in _members(tariff, "elements"):
        fees = [
            Decimal(str(component["price"]))
            for component in _members(element, "price_components")
            if component.get("type") == "FLAT" and component.get("price") is not None
        ]
        flats += fees[:1]
        if fees and not element.get("restrictions"):
            break
    else:
        flats.append(Decimal(0))
    minimum = tariff.get("min_price")
    least = minimum.get("excl_vat") if isinstance(minimum, Mapping) else None
    return max(min(flats), Decimal(str(least)) if least is not None else Decimal(0))


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
    _rule(
        Reason.OVER_LIMIT,
        "the charge is within the limits of the customer and of the EVSP",
        _within_limits,
    ),
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


def claim_of(question: Question, facts: Facts, authorisation_id: str) -> Claim | None:
    """The claim on what the customer and its EVSP may still owe; None where nobody limits that, or
    where the charge is refused anyway, and for an earlier reason.

    Whether somebody limits an EVSP that vouches for an unknown card, is looked up with the claim.
    """
    evsp, contract = facts.evsp, facts.contract
    limits = None if contract is None else contract.limits
    if evsp is None or not (facts.limited or limits or facts.voucher):
        return None
    reason = judge(question, facts)
    if reason not in (None, Reason.EVSP_SILENT):
        return None
    return Claim(
        authorisation_id=authorisation_id,
        operator=question.operator,
        charge_id=question.charge_id,
        evsp=evsp,
        contract_id=facts.contract_id,
        evse_id=question.evse_id,
        charge_at=question.at,
        most=facts.most,
        limits=limits,
        takes=reason is None,
    )


def may_ask_around(question: Question, facts: Facts) -> bool:
    """Whether EVSPs may be asked about a customer of whom nothing is kept here: about a card, or
    about a contract id, which names the only one to ask; at a charge point of the asker's own, and
    where nothing that the vehicle presented speaks against it.
    """
    identification = question.identification
    return (
        facts.contract is None
        and (
            identification.type is IdentificationType.RFID or identification.contract_id is not None
        )
        and _evse_is_the_callers(question, facts)
        and (facts.certificate is None or facts.certificate.outcome in _HARMLESS)
    )


_HARMLESS = (Outcome.VERIFIED, Outcome.NOT_CHECKED)


def in_turn(question: Question, evsps: Iterable[PartyId]) -> list[PartyId]:
    """Those of many EVSPs that are asked about one card: the same for the same card each time, and
    others for another card, so that nobody is left out because of its name.
    """

    def place(evsp: PartyId) -> bytes:
        return hashlib.sha256(f"{evsp}\n{question.identification.value}".encode()).digest()

    return sorted(evsps, key=place)[:ASKED_AROUND_MOST]


@dataclass(frozen=True, slots=True)
class Left:
    """What a customer may still spend, without VAT, in minor units; None is open."""

    currency: str
    this_charge_minor: int | None = None
    today_minor: int | None = None
    this_month_minor: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceHere:
    """One service of a customer at one EVSE. `allowed` None: its EVSP says so when it is asked."""

    service: str
    allowed: bool | None
    reason: Reason | None
    price_components: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Consumable:
    """What a customer may have at an EVSE. `reason`: why there is nothing to tell, if there is."""

    evse_id: EvseId
    evsp: PartyId | None
    contract_id: ContractId | None
    reason: Reason | None
    agreement: Terms | None
    services: tuple[ServiceHere, ...]
    left: Left | None = None


# Before these hold, whose customer it is and what it has bought is nobody's business.
_UNTOLD = (Reason.EVSE_UNKNOWN, Reason.UNKNOWN_CONTRACT, Reason.NO_ROAMING_AGREEMENT)


def consumable(question: Question, facts: Facts) -> Consumable:
    """Each service of the contract with what authorising it would say, as far as that is known.

    Nobody is asked and nothing is decided: where the EVSP has the last word, it is left open.
    """
    reason = judge(question, facts)
    if reason in _UNTOLD or facts.contract is None or facts.agreement is None:
        known_evsp = facts.evsp if reason is Reason.NO_ROAMING_AGREEMENT else None
        return Consumable(question.evse_id, known_evsp, None, reason, None, ())
    return Consumable(
        question.evse_id,
        facts.evsp,
        facts.contract_id,
        None,
        facts.agreement,
        tuple(_service_here(question, facts, service) for service in facts.contract.services),
    )


def _service_here(question: Question, facts: Facts, service: str) -> ServiceHere:
    one = replace(question, services=(service,))
    assert facts.agreement is not None
    components = _components_for(facts.agreement, service)
    if must_ask(one, facts):
        return ServiceHere(service, None, None, components)
    reason = judge(one, facts)
    return ServiceHere(service, reason is None, reason, components)


def _components_for(agreement: Terms, service: str) -> list[dict[str, Any]]:
    """The prices that a service can come to; none where the tariff does not price it by itself."""
    reserving = service == "reservation"
    types = {
        "charging": {"ENERGY", "TIME", "FLAT"},
        "parking": {"PARKING_TIME"},
        "reservation": {"TIME", "FLAT"},
    }.get(service, set())
    return [
        _component_told(component, element)
        for element in _members(agreement.tariff, "elements")
        if ("reservation" in (element.get("restrictions") or {})) == reserving
        for component in _members(element, "price_components")
        if component.get("type") in types
    ]


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


def decide(
    question: Question,
    facts: Facts,
    *,
    authorisation_id: str,
    now: datetime,
    began: datetime | None = None,
) -> Authorisation:
    """The decision about a question that was put at `began`, with what explains it later."""
    reason = judge(question, facts)
    contract, agreement = facts.contract, facts.agreement
    accepted = reason is None
    return Authorisation(
        authorisation_id=authorisation_id,
        question=question,
        decided_at=now,
        reason=reason,
        contract_id=facts.contract_id,
        evsp=facts.evsp,
        valid_until=contract.valid_until if accepted and contract is not None else None,
        agreement_id=None if agreement is None else agreement.contract_id,
        price=price_of(agreement) if accepted and agreement is not None else None,
        details=_details(facts) | _asking(facts, now - (began or now)) | _checked(facts),
        max_amount=facts.most if accepted else None,
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
        _component_told(component, element)
        for element in _members(agreement.tariff, "elements")
        for component in _members(element, "price_components")
    ]
    return {
        "agreement_id": agreement.contract_id,
        "currency": agreement.currency,
        "vat_percent": None if agreement.vat_percent is None else str(agreement.vat_percent),
        "components": components,
    }


def _component_told(component: Mapping[str, Any], element: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": component.get("type"),
        "price": str(component.get("price")),
        "step_size": component.get("step_size"),
        "restricted": bool(element.get("restrictions")),
    }


@dataclass(frozen=True, slots=True)
class Step:
    """One rule of a decision: passed, failed, or not reached. Details are for the EVSP alone."""

    reason: Reason
    must_be: str
    outcome: str
    detail: str | None


@dataclass(frozen=True, slots=True)
class AskedShown:
    """What one EVSP said, and after how long."""

    evsp: PartyId
    said: str
    took_ms: int


@dataclass(frozen=True, slots=True)
class Account:
    """How it came to a decision, as far as one side may know.

    `outcome_told` is False for an EVSP that was asked in vain: it sees its own part alone.
    `evsps_asked` and `took_ms` are for the operator, `policy` is for the EVSP concerned.
    """

    outcome_told: bool
    decided_by: str | None
    evsps_asked: int | None
    asked: tuple[AskedShown, ...]
    took_ms: int | None
    policy: Mapping[str, Any] | None
    certificate: Mapping[str, Any] | None = None


def account(authorisation: Authorisation, caller: PartyId) -> Account:
    """How it came to a decision, for one side.

    Raises UnknownAuthorisation for whom it is no affair of, as if there were none."""
    details = authorisation.details
    asked = [
        AskedShown(PartyId(one["evsp"]), one["said"], one["took_ms"]) for one in _asked(details)
    ]
    own = tuple(one for one in asked if one.evsp == caller)
    decided_by = details.get("decided_by", None if authorisation.evsp is None else "list")
    certificate = details.get("certificate")
    if caller == authorisation.evsp:
        return Account(True, decided_by, None, own, None, details.get("policy"), certificate)
    if caller == authorisation.question.operator:
        took_ms = details.get("took_ms")
        return Account(True, decided_by, len(asked), (), took_ms, None, certificate)
    if own:
        return Account(False, None, None, own, None, None)
    raise unknown(authorisation.authorisation_id)


def explain(authorisation: Authorisation, caller: PartyId) -> tuple[Step, ...]:
    """Each rule in order, for the operator that asked or the EVSP whose customer it is about; none
    for an EVSP that was asked in vain.

    Raises UnknownAuthorisation for everybody else, as if there were none.
    """
    if not account(authorisation, caller).outcome_told:
        return ()
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


def _members(source: object, name: str) -> list[Mapping[str, Any]]:
    found = source.get(name) if isinstance(source, Mapping) else None
    return [one for one in found or () if isinstance(one, Mapping)]


def _details(facts: Facts) -> dict[str, str]:
    """What each rule looked at, in a few words; kept with the decision."""
    contract = facts.contract
    details: dict[str, str] = {}
    if contract is None:
        if facts.agreement is not None:
            details[Reason.NO_ROAMING_AGREEMENT] = f"agreement {facts.agreement.contract_id}"
        if facts.hold is not None and facts.hold.says is not None:
            details[Reason.OVER_LIMIT] = facts.hold.says
        return details
    if facts.agreement is not None:
        details[Reason.NO_ROAMING_AGREEMENT] = f"agreement {facts.agreement.contract_id}"
    details[Reason.CONTRACT_BLOCKED] = f"status {contract.status}"
    if contract.valid_from or contract.valid_until:
        first = "open" if contract.valid_from is None else contract.valid_from.isoformat()
        last = "open" if contract.valid_until is None else contract.valid_until.isoformat()
        details[Reason.CONTRACT_EXPIRED] = f"valid from {first} until {last}"
    details[Reason.SERVICE_NOT_COVERED] = f"covers {', '.join(contract.services)}"
    if facts.hold is not None and facts.hold.says is not None:
        details[Reason.OVER_LIMIT] = facts.hold.says
    match facts.answer:
        case Answer(Decision.ACCEPTED):
            details[Reason.EVSP_SILENT] = "the EVSP accepted"
        case Answer(_, reason):
            meant = reason or EVSP_REASONS[0]
            known = f"{details[meant]}; " if meant in details else ""
            details[meant] = f"{known}the EVSP refused: {reason or 'no reason given'}"
        case NoAnswer(cause) if facts.answer is not NOT_ASKED:
            details[Reason.EVSP_SILENT] = f"{cause}; {_on_silence(facts)}"
    return details


def _on_silence(facts: Facts) -> str:
    if not facts.silence_decides:
        return "the list decides"
    most = facts.policy.accept_up_to
    return f"on silence: {facts.policy.on_silence}" + ("" if most is None else f" up to {most}")


def _asking(facts: Facts, took: timedelta) -> dict[str, Any]:
    """Who was asked, what they said and how long it took; nothing where the list decided alone."""
    if not facts.asked:
        return {}
    decided_by: str | None
    if facts.contract is None:
        decided_by = None if facts.voucher is None else "evsp"
    elif isinstance(facts.answer, Answer):
        decided_by = "evsp"
    else:
        decided_by = "policy" if facts.silence_decides else "list"
    found: dict[str, Any] = {
        "asked": [
            {"evsp": str(one.evsp), "said": one.words, "took_ms": one.took_ms}
            for one in facts.asked
        ],
        "took_ms": took // timedelta(milliseconds=1),
        "decided_by": decided_by,
    }
    if facts.contract is not None:
        policy = facts.policy
        found["policy"] = {
            "on_silence": policy.on_silence.value,
            "accept_up_to": None if policy.accept_up_to is None else str(policy.accept_up_to),
            "ask_timeout_ms": policy.ask_timeout_ms,
        }
    return found


def _checked(facts: Facts) -> dict[str, Any]:
    if facts.certificate is None:
        return {}
    checked = facts.certificate
    return {"certificate": {"outcome": checked.outcome.value, "detail": checked.detail}}


def _asked(details: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = details.get("asked", ())
    return found


def _bad(field: str, value: object, rule: str) -> BadQuestion:
    return BadQuestion(f"{field} {value!r}: {rule}", field=field, value=value, rule=rule)
