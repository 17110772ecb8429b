"""May this customer charge here, and if not, why not?

The reasons stand in one published order, and the first that applies is given. The order is data
(`RULES`); `judge` walks it and does nothing else. Before it is walked, the rules also tell whether
an EVSP is worth asking, and what the charge may come to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from clearinghouse.authorisation.model import (
    EVSP_REASONS,
    Answer,
    Decision,
    Facts,
    IdentificationType,
    Policy,
    Question,
    Reason,
    Silence,
    Terms,
    members_of,
    per_charge,
)
from clearinghouse.certificates.model import Outcome
from clearinghouse.customers.model import AuthorisationMode, Status
from clearinghouse.exposure.model import Claim
from roaming.party import PartyId

ASKED_AROUND_MOST = 50


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
    own = None if facts.contract is None else per_charge(facts.contract)
    if own is None or facts.agreement is None or facts.agreement.currency != own.currency:
        return True
    return least_price(facts.agreement.tariff) <= own.decimal


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
    for element in members_of(tariff, "elements"):
        fees = [
            Decimal(str(component["price"]))
            for component in members_of(element, "price_components")
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
