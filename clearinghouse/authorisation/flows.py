"""How a request to charge is answered. Every door to an authorisation ends up here."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from clearinghouse.authorisation import model
from clearinghouse.authorisation.model import Authorisation, Facts, Question, Silence, Step, Terms
from clearinghouse.authorisation.ports import (
    Agreements,
    Customers,
    Decisions,
    Evses,
    Evsps,
    Policies,
)
from kit.clock import Clock
from kit.event_log import NewEvent
from roaming.events import EventType
from roaming.party import PartyId

ASK_TIMEOUT_S = 3.0


async def authorise(
    question: Question,
    *,
    evses: Evses,
    customers: Customers,
    agreements: Agreements,
    evsps: Evsps,
    decisions: Decisions,
    clock: Clock,
    ask_timeout_s: float = ASK_TIMEOUT_S,
) -> Authorisation:
    """Decide about one question, durably. A refusal is a decision, too.

    Raises ChargeAskedDifferently where the charge_id stands for another question.
    """
    facts = await _known(question, evses=evses, customers=customers, agreements=agreements)
    if model.must_ask(question, facts):
        if question.charge_id is not None:
            known = await decisions.of_charge(question.operator, question.charge_id)
            if known is not None:
                return model.repeated(known, question)
        facts = await _asked(question, facts, evsps, ask_timeout_s)
    now = clock()
    decided = model.decide(
        question,
        facts,
        authorisation_id=model.authorisation_id(now, os.urandom(10)),
        now=now,
    )
    kept = await decisions.record(decided, _told(decided))
    return kept if kept is decided else model.repeated(kept, question)


async def explain(
    authorisation_id: str, *, caller: PartyId, decisions: Decisions
) -> tuple[Authorisation, tuple[Step, ...]]:
    """A decision and each step of it, for its operator or the EVSP concerned."""
    if not model.known_shape(authorisation_id):
        raise model.unknown(authorisation_id)
    found = await decisions.find(authorisation_id, caller)
    if found is None:
        raise model.unknown(authorisation_id)
    return found, model.explain(found, caller)


async def choose_on_silence(
    silence: Silence, *, caller: PartyId, policies: Policies, clock: Clock
) -> None:
    """Keep what the caller wants to hold when it is asked and stays silent."""
    now = clock()
    event = NewEvent(
        stream=f"customers:{caller}",
        type=EventType.EVSP_POLICY_CHANGED,
        party=str(caller),
        body={"on_silence": silence.value},
        occurred_at=now,
    )
    await policies.keep(caller, silence, event)


async def _known(
    question: Question, *, evses: Evses, customers: Customers, agreements: Agreements
) -> Facts:
    """What can be known without asking the EVSP."""
    evse = await evses.find(question.evse_id)
    customer = await customers.find(question.identification)
    evse_operator = None if evse is None else evse[0]
    if customer is None:
        return Facts(evse_operator, contract=None, agreement=None)
    contract, silence = customer
    terms = _terms(question, contract.evsp, agreements)
    return Facts(evse_operator, contract, terms, silence)


def _terms(question: Question, evsp: PartyId, agreements: Agreements) -> Terms | None:
    found = agreements.between(question.operator, evsp, question.at)
    if found is None or not found.covers(question.evse_id):
        return None
    return Terms(found.contract_id, found.currency, found.tariff, found.vat_percent)


async def _asked(question: Question, facts: Facts, evsps: Evsps, timeout_s: float) -> Facts:
    """The facts with the EVSP's answer among them. No transaction is open meanwhile."""
    contract = facts.contract
    assert contract is not None
    asked: dict[str, Any] = {
        "evse_id": question.evse_id.display,
        "contract_id": str(contract.contract_id),
        "identification": {
            "type": str(question.identification.type),
            "value": question.identification.value,
        },
        "services": list(question.services),
        "operator": str(question.operator),
        "at": question.at,
    }
    deadline = asyncio.get_running_loop().time() + timeout_s
    answer = await evsps.ask(contract.evsp, asked, deadline)
    return Facts(facts.evse_operator, contract, facts.agreement, facts.silence, answer)


def _told(decided: Authorisation) -> NewEvent:
    """The event of a decision; the token uid stays out of it."""
    question = decided.question
    contract_id = decided.contract_shown
    return NewEvent(
        stream=f"authorisations:{question.operator}",
        type=EventType.AUTHORISATION_DECIDED,
        party=str(question.operator),
        body={
            "authorisation_id": decided.authorisation_id,
            "evse_id": str(question.evse_id),
            "identification_type": question.identification.type.value,
            "services": question.services,
            "decision": decided.decision.value,
            "reason": None if decided.reason is None else decided.reason.value,
            "contract_id": None if contract_id is None else str(contract_id),
            "evsp": None if decided.evsp is None else str(decided.evsp),
            "agreement_id": decided.agreement_id,
        },
        occurred_at=question.at,
    )
