"""A decision as it is recorded: with the price, and with all that it was made out of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from clearinghouse.authorisation.model import (
    EVSP_REASONS,
    NOT_ASKED,
    Answer,
    Authorisation,
    ChargeAskedDifferently,
    Decision,
    Facts,
    NoAnswer,
    Question,
    Reason,
    Terms,
    members_of,
)
from clearinghouse.authorisation.rules import judge


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
        component_told(component, element)
        for element in members_of(agreement.tariff, "elements")
        for component in members_of(element, "price_components")
    ]
    told: dict[str, Any] = {
        "agreement_id": agreement.contract_id,
        "currency": agreement.currency,
        "vat_percent": None if agreement.vat_percent is None else str(agreement.vat_percent),
        "components": components,
    }
    if agreement.tariff_group is not None:
        told["tariff_group"] = agreement.tariff_group
    return told


def component_told(component: Mapping[str, Any], element: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": component.get("type"),
        "price": str(component.get("price")),
        "step_size": component.get("step_size"),
        "restricted": bool(element.get("restrictions")),
    }


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
