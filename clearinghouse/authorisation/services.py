"""What a customer may have at an EVSE, and at which prices, without a decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clearinghouse.authorisation.decision import component_told
from clearinghouse.authorisation.model import Facts, Question, Reason, Terms, members_of
from clearinghouse.authorisation.rules import judge, must_ask
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from roaming.party import PartyId


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
        component_told(component, element)
        for element in members_of(agreement.tariff, "elements")
        if ("reservation" in (element.get("restrictions") or {})) == reserving
        for component in members_of(element, "price_components")
        if component.get("type") in types
    ]
