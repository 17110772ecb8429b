"""How a request to charge is answered. Every door to an authorisation ends up here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from clearinghouse.authorisation import account, decision, model, rules, services
from clearinghouse.authorisation.account import Account, Step
from clearinghouse.authorisation.model import (
    Answer,
    Asked,
    Authorisation,
    Decision,
    Facts,
    Identification,
    NoAnswer,
    Policy,
    Question,
    Terms,
    Voucher,
)
from clearinghouse.authorisation.ports import (
    Agreements,
    Certificates,
    Customers,
    Decisions,
    Evses,
    Evsps,
    Policies,
    Spending,
)
from clearinghouse.authorisation.services import Consumable
from clearinghouse.certificates.model import Checked, Presented, check
from kit.actor import actor_now
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
    policies: Policies,
    certificates: Certificates,
    decisions: Decisions,
    clock: Clock,
    ask_timeout_s: float = ASK_TIMEOUT_S,
) -> Authorisation:
    """Decide about one question, durably. A refusal is a decision, too.

    Raises ChargeAskedDifferently where the charge_id stands for another question.
    """
    began = clock()
    authorisation_id = model.authorisation_id(began, os.urandom(10))
    facts = await _known(
        question,
        evses=evses,
        customers=customers,
        agreements=agreements,
        certificates=certificates,
    )
    asks, may_ask_around = rules.must_ask(question, facts), rules.may_ask_around(question, facts)
    if asks or may_ask_around:
        if question.charge_id is not None:
            known = await decisions.of_charge(question.operator, question.charge_id)
            if known is not None:
                return decision.repeated(known, question)
        asking = _Asking(question, authorisation_id, evsps, ask_timeout_s)
        if asks:
            facts = await asking.the_evsp(facts)
        else:
            facts = await _asked_around(
                asking, facts, agreements=agreements, policies=policies, now=began
            )

    # Within limits it is decided by whoever writes for many.
    actor = actor_now()

    def decide(facts: Facts) -> tuple[Authorisation, NewEvent]:
        decided = decision.decide(
            question, facts, authorisation_id=authorisation_id, now=clock(), began=began
        )
        return decided, _told(decided, actor)

    # All else is known, and nothing is on record: now what may still be owed decides.
    claim = rules.claim_of(question, facts, authorisation_id)
    if claim is not None:
        kept = await decisions.record_within_limits(
            claim, lambda hold: decide(replace(facts, hold=hold))
        )
        return decision.repeated(kept, question)
    decided, event = decide(facts)
    kept = await decisions.record(decided, event)
    return kept if kept is decided else decision.repeated(kept, question)


async def services_here(
    question: Question,
    *,
    evses: Evses,
    customers: Customers,
    agreements: Agreements,
    certificates: Certificates,
    spending: Spending,
) -> Consumable:
    """What the one who shows an identification may have at an EVSE; nobody is asked, and no
    decision is made or recorded.
    """
    facts = await _known(
        question,
        evses=evses,
        customers=customers,
        agreements=agreements,
        certificates=certificates,
    )
    found = services.consumable(question, facts)
    if facts.contract is None or found.reason is not None:
        return found
    return replace(found, left=await spending.left(facts.contract, question.at))


async def services_of(
    authorisation_id: str,
    *,
    caller: PartyId,
    decisions: Decisions,
    evses: Evses,
    customers: Customers,
    agreements: Agreements,
    certificates: Certificates,
    spending: Spending,
    clock: Clock,
) -> Consumable:
    """What the customer of a decision may have at its EVSE now, for its operator or its EVSP.

    Raises UnknownAuthorisation for everybody else, and for an EVSP that was asked in vain.
    """
    found, account, _ = await explain(authorisation_id, caller=caller, decisions=decisions)
    if not account.outcome_told:
        raise model.unknown(authorisation_id)
    return await services_here(
        replace(found.question, at=clock(), at_given=False),
        evses=evses,
        customers=customers,
        agreements=agreements,
        certificates=certificates,
        spending=spending,
    )


async def explain(
    authorisation_id: str, *, caller: PartyId, decisions: Decisions
) -> tuple[Authorisation, Account, tuple[Step, ...]]:
    """A decision, how it came to it and each step of it, for its operator or the EVSP concerned;
    of it an EVSP that was asked in vain sees its own part alone.
    """
    if not model.known_shape(authorisation_id):
        raise model.unknown(authorisation_id)
    found = await decisions.find(authorisation_id, caller)
    if found is None:
        raise model.unknown(authorisation_id)
    return found, account.account(found, caller), account.explain(found, caller)


async def choose_policy(
    policy: Policy, *, caller: PartyId, policies: Policies, clock: Clock
) -> None:
    """Keep what the caller wants to hold when it is asked."""
    now = clock()
    most = policy.accept_up_to
    event = NewEvent(
        stream=f"customers:{caller}",
        type=EventType.EVSP_POLICY_CHANGED,
        party=str(caller),
        body={
            "on_silence": policy.on_silence.value,
            "accept_up_to_minor": None if most is None else most.minor,
            "currency": None if most is None else most.currency,
            "asks_unknown": policy.asks_unknown,
            "ask_timeout_ms": policy.ask_timeout_ms,
        },
        occurred_at=now,
    )
    await policies.keep(caller, policy, event)


async def _known(
    question: Question,
    *,
    evses: Evses,
    customers: Customers,
    agreements: Agreements,
    certificates: Certificates,
) -> Facts:
    """What can be known without asking the EVSP."""
    evse = await evses.find(question.evse_id)
    customer = await customers.find(question.identification)
    evse_operator = None if evse is None else evse[0]
    if customer is None:
        facts = Facts(evse_operator, contract=None, agreement=None)
    else:
        contract, policy, limited = customer
        terms = _terms(question, contract.evsp, agreements)
        facts = Facts(evse_operator, contract, terms, policy, limited=limited)
    if question.identification.presented is not None:
        return replace(
            facts, certificate=await _checked(question.identification, question.at, certificates)
        )
    return facts


async def _checked(
    identification: Identification, at: datetime, certificates: Certificates
) -> Checked:
    """What the EVSP that the contract id names thinks of the certificates presented."""
    presented, contract_id = identification.presented, identification.contract_id
    assert presented is not None
    assert contract_id is not None
    authorities = await certificates.find(contract_id.provider, presented.serial_numbers())
    return check(presented, contract_id, authorities, at)


def _terms(question: Question, evsp: PartyId, agreements: Agreements) -> Terms | None:
    found = agreements.between(question.operator, evsp, question.at)
    if found is None or not found.covers(question.evse_id):
        return None
    here = found.at(question.evse_id)
    return Terms(here.contract_id, here.currency, here.tariff, here.vat_percent, here.tariff_group)


class _Asking:
    """One question on its way to EVSPs. No transaction is open meanwhile."""

    def __init__(
        self, question: Question, authorisation_id: str, evsps: Evsps, timeout_s: float
    ) -> None:
        self.question = question
        self.evsps = evsps
        self._timeout_s = timeout_s
        self._began = asyncio.get_running_loop().time()
        self._asked: dict[str, Any] = {
            "authorisation_id": authorisation_id,
            "evse_id": question.evse_id.display,
            "contract_id": question.identification.contract_id,
            "identification": {
                "type": str(question.identification.type),
                "value": question.identification.value,
                **_shown(question.identification.presented),
            },
            "services": list(question.services),
            "operator": str(question.operator),
            "at": question.at,
        }

    async def the_evsp(self, facts: Facts) -> Facts:
        """The facts with the answer of the contract's EVSP among them."""
        contract = facts.contract
        assert contract is not None
        asked = self._asked | {"contract_id": str(contract.contract_id)}
        one = await self._ask(contract.evsp, asked, facts.policy.ask_timeout_ms / 1000)
        return replace(facts, answer=one.said, asked=(one,))

    async def the_first_of(
        self, evsps: Collection[PartyId]
    ) -> tuple[tuple[Asked, ...], Voucher | None]:
        """Ask all at once; the first yes ends it, and whoever has not answered is let go."""
        order = {
            asyncio.create_task(self._ask(evsp, self._asked, self._timeout_s)): evsp
            for evsp in evsps
        }
        voucher: Voucher | None = None
        waiting = set(order)
        try:
            while waiting and voucher is None:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                # In the order in which they were asked, where several answered at one moment.
                for task in (task for task in order if task in done):
                    said = task.result().said
                    if isinstance(said, Answer) and said.decision is Decision.ACCEPTED:
                        voucher = voucher or Voucher.of(
                            order[task], said, self.question.identification.contract_id
                        )
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        return tuple(
            self._let_go(evsp) if task in waiting else task.result() for task, evsp in order.items()
        ), voucher

    async def _ask(self, evsp: PartyId, asked: Mapping[str, Any], timeout_s: float) -> Asked:
        deadline = self._began + min(timeout_s, self._timeout_s)
        said = await self.evsps.ask(evsp, asked, deadline)
        return Asked(evsp, said, self._took_ms())

    def _let_go(self, evsp: PartyId) -> Asked:
        return Asked(evsp, NoAnswer("not waited for: another EVSP said yes"), self._took_ms())

    def _took_ms(self) -> int:
        return round(1000 * (asyncio.get_running_loop().time() - self._began))


def _shown(presented: Presented | None) -> dict[str, Any]:
    """The certificates as they came, for the EVSP to make up its own mind."""
    if presented is None:
        return {}
    return {
        "certificate_hash_data": [asdict(one) for one in presented.hash_data],
        "contract_certificate_chain": presented.chain,
    }


async def _asked_around(
    asking: _Asking, facts: Facts, *, agreements: Agreements, policies: Policies, now: datetime
) -> Facts:
    """The facts with the EVSP that says yes to a customer whom nobody here knows, if one does.

    A card or contract id is shown only to those who want that, have a roaming agreement for this
    very EVSE, then and now, and can be asked.
    """
    question = asking.question
    named = question.identification.contract_id
    partners = [
        evsp
        for evsp in agreements.partners(question.operator, question.at)
        if named is None or evsp == named.provider
        if _terms(question, evsp, agreements) is not None
        and agreements.between(question.operator, evsp, now) is not None
    ]
    if not partners:
        return facts
    willing = await policies.asking_unknown(partners)
    evsps = rules.in_turn(question, await asking.evsps.listening(willing)) if willing else []
    if not evsps:
        return facts
    asked, voucher = await asking.the_first_of(evsps)
    if voucher is None:
        return replace(facts, asked=asked)
    terms = _terms(question, voucher.evsp, agreements)
    return replace(facts, asked=asked, voucher=voucher, agreement=terms)


def _told(decided: Authorisation, actor: str | None) -> NewEvent:
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
        actor=actor,
    )
