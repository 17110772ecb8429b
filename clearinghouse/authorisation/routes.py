"""HTTP for authorisations. Asking is hot and has no framework around it; the rest is plain."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from clearinghouse.authorisation import flows, model
from clearinghouse.authorisation.account import Account, Step
from clearinghouse.authorisation.model import (
    ASK_TIMEOUT_MOST_MS,
    Authorisation,
    Decision,
    Identification,
    IdentificationType,
    Policy,
    Reason,
    Silence,
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
from clearinghouse.certificates.model import HashAlgorithm, HashData, Outcome, present
from kit.clock import Clock
from kit.database import Database
from kit.http import Caller, HotRoute, caller_of, caller_with, decode, json_response, read_body
from kit.idempotency import once
from roaming.money import Money

LONGEST_BODY_BYTES = 64 * 1024


class HashDataAsked(msgspec.Struct, forbid_unknown_fields=True):
    """OCPP 2.0.1, OCSPRequestDataType."""

    hash_algorithm: HashAlgorithm
    issuer_name_hash: str
    issuer_key_hash: str
    serial_number: str
    responder_url: str = ""


class IdentificationAsked(msgspec.Struct, forbid_unknown_fields=True):
    """For plug and charge also what the vehicle presented: hash data, or its chain in PEM from its
    own certificate upwards, or both.
    """

    type: IdentificationType
    value: str
    certificate_hash_data: tuple[HashDataAsked, ...] = ()
    contract_certificate_chain: str | None = None

    def to_identification(self) -> Identification:
        if not self.certificate_hash_data and self.contract_certificate_chain is None:
            return model.identify(self.type, self.value)
        hash_data = [HashData(**msgspec.structs.asdict(one)) for one in self.certificate_hash_data]
        presented = present(hash_data, self.contract_certificate_chain)
        return model.identify(self.type, self.value, presented)


class AuthorisationAsked(msgspec.Struct, forbid_unknown_fields=True):
    """`at` is the time of the fact, if that is not now. `charge_id` makes asking again harmless."""

    evse_id: str
    identification: IdentificationAsked
    services: tuple[str, ...] = ("charging",)
    charge_id: str | None = None
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class AmountAnswered(msgspec.Struct):
    """`amount` in the currency's own unit, without VAT."""

    currency: str
    amount: str

    @classmethod
    def of(cls, money: Money) -> AmountAnswered:
        return cls(money.currency, money.figure)


class AuthorisationAnswered(msgspec.Struct):
    """`contract_id` is told where there is an agreement, `evsp` wherever the customer is known.

    `max_amount`: only a charge up to this is accepted, since the EVSP's silence accepts no more.
    """

    authorisation_id: str
    decision: Decision
    reason: Reason | None
    contract_id: str | None
    evsp: str | None
    services: tuple[str, ...]
    valid_until: datetime | None
    price: Mapping[str, Any] | None
    max_amount: AmountAnswered | None

    @classmethod
    def of(cls, decided: Authorisation) -> AuthorisationAnswered:
        contract_id = decided.contract_shown
        return cls(
            authorisation_id=decided.authorisation_id,
            decision=decided.decision,
            reason=decided.reason,
            contract_id=None if contract_id is None else str(contract_id),
            evsp=None if decided.evsp is None else str(decided.evsp),
            services=decided.question.services if decided.reason is None else (),
            valid_until=decided.valid_until,
            price=decided.price,
            max_amount=None
            if decided.max_amount is None
            else AmountAnswered.of(decided.max_amount),
        )


class AskedShown(BaseModel):
    """What an EVSP said when it was asked, and after how long."""

    evsp: str
    said: str
    took_ms: int


class CertificateShown(BaseModel):
    """How the certificates presented were found to be."""

    outcome: Outcome
    detail: str


class Amount(BaseModel):
    """`amount` in the currency's own unit, without VAT."""

    currency: str
    amount: str


class StepShown(BaseModel):
    """`outcome`: passed, failed or not-reached. `detail` is for the EVSP concerned alone."""

    reason: Reason
    must_be: str
    outcome: str
    detail: str | None

    @classmethod
    def of(cls, step: Step) -> StepShown:
        return cls(
            reason=step.reason, must_be=step.must_be, outcome=step.outcome, detail=step.detail
        )


class AuthorisationShown(BaseModel):
    """`decision` is null for an EVSP that was asked in vain whose card it is: it sees its own part,
    `asked`, and no more. `evsps_asked` and `took_ms` are for the operator; `policy`, what the EVSP
    had chosen then, is for that EVSP alone. `decided_by`: list, evsp, or policy (of its silence).
    """

    authorisation_id: str
    decision: Decision | None
    reason: Reason | None
    operator: str
    evsp: str | None
    evse_id: str
    contract_id: str | None
    identification_type: IdentificationType
    services: list[str]
    charge_id: str | None
    at: datetime
    decided_at: datetime
    valid_until: datetime | None
    price: dict[str, Any] | None
    max_amount: Amount | None
    decided_by: str | None
    evsps_asked: int | None
    took_ms: int | None
    asked: list[AskedShown]
    policy: dict[str, Any] | None
    certificate: CertificateShown | None
    steps: list[StepShown]

    @classmethod
    def of(
        cls, decided: Authorisation, account: Account, steps: tuple[Step, ...], caller: Caller
    ) -> AuthorisationShown:
        question = decided.question
        told = account.outcome_told
        known_to_caller = (
            decided.contract_id if caller.party == decided.evsp else decided.contract_shown
        )
        contract_id = known_to_caller if told else None
        most = decided.max_amount if told else None
        return cls(
            authorisation_id=decided.authorisation_id,
            decision=decided.decision if told else None,
            reason=decided.reason if told else None,
            operator=str(question.operator),
            evsp=None if decided.evsp is None or not told else str(decided.evsp),
            evse_id=question.evse_id.display,
            contract_id=None if contract_id is None else str(contract_id),
            identification_type=question.identification.type,
            services=list(question.services),
            charge_id=question.charge_id if told else None,
            at=question.at,
            decided_at=decided.decided_at,
            valid_until=decided.valid_until if told else None,
            price=None if decided.price is None or not told else dict(decided.price),
            max_amount=None if most is None else Amount(currency=most.currency, amount=most.figure),
            decided_by=account.decided_by,
            evsps_asked=account.evsps_asked,
            took_ms=account.took_ms,
            asked=[
                AskedShown(evsp=one.evsp, said=one.said, took_ms=one.took_ms)
                for one in account.asked
            ],
            policy=None if account.policy is None else dict(account.policy),
            certificate=None
            if account.certificate is None
            else CertificateShown(**account.certificate),
            steps=[StepShown.of(step) for step in steps],
        )


class IdentificationShown(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: IdentificationType
    value: str


class ServicesAsked(BaseModel):
    """What a customer shows at an EVSE; certificates play no part in a look."""

    model_config = ConfigDict(extra="forbid")

    evse_id: str
    identification: IdentificationShown


class ServiceShown(BaseModel):
    """`allowed` is null where the EVSP has the last word, when it is asked."""

    service: str
    allowed: bool | None
    reason: Reason | None
    price_components: list[dict[str, Any]]


class LeftShown(BaseModel):
    """What the customer may still spend, without VAT, in minor units; null is open."""

    currency: str
    this_charge_minor: int | None
    today_minor: int | None
    this_month_minor: int | None


class ServicesShown(BaseModel):
    """As of now. `reason`: why nothing is told of the customer's services, if so. `left`: null
    where no limit is kept here.
    """

    evse_id: str
    evsp: str | None
    contract_id: str | None
    reason: Reason | None
    agreement_id: str | None
    currency: str | None
    services: list[ServiceShown]
    left: LeftShown | None

    @classmethod
    def of(cls, found: Consumable) -> ServicesShown:
        terms, left = found.agreement, found.left
        return cls(
            evse_id=found.evse_id.display,
            evsp=None if found.evsp is None else str(found.evsp),
            contract_id=None if found.contract_id is None else str(found.contract_id),
            reason=found.reason,
            agreement_id=None if terms is None else terms.contract_id,
            currency=None if terms is None else terms.currency,
            services=[
                ServiceShown(
                    service=one.service,
                    allowed=one.allowed,
                    reason=one.reason,
                    price_components=[dict(component) for component in one.price_components],
                )
                for one in found.services
            ],
            left=None
            if left is None
            else LeftShown(
                currency=left.currency,
                this_charge_minor=left.this_charge_minor,
                today_minor=left.today_minor,
                this_month_minor=left.this_month_minor,
            ),
        )


class EvspPolicy(BaseModel):
    """What holds when the EVSP is asked.

    `on_silence`: what holds when it does not answer in `ask_timeout_ms`. With `accept_up_to_minor`
    and `currency` its silence accepts a charge up to that amount without VAT. `asks_unknown`: cards
    that nobody here knows are shown to it, where it has a roaming agreement for the EVSE.
    """

    model_config = ConfigDict(extra="forbid")

    on_silence: Silence
    accept_up_to_minor: int | None = Field(default=None, strict=True)
    currency: str | None = None
    asks_unknown: bool = False
    ask_timeout_ms: int = Field(default=ASK_TIMEOUT_MOST_MS, strict=True)

    @classmethod
    def of(cls, policy: Policy) -> EvspPolicy:
        most = policy.accept_up_to
        return cls(
            on_silence=policy.on_silence,
            accept_up_to_minor=None if most is None else most.minor,
            currency=None if most is None else most.currency,
            asks_unknown=policy.asks_unknown,
            ask_timeout_ms=policy.ask_timeout_ms,
        )

    def to_policy(self) -> Policy:
        return model.policy_of(
            self.on_silence,
            accept_up_to_minor=self.accept_up_to_minor,
            currency=self.currency,
            asks_unknown=self.asks_unknown,
            ask_timeout_ms=self.ask_timeout_ms,
        )


Evsp = Annotated[Caller, Depends(caller_with("evsp"))]
Operator = Annotated[Caller, Depends(caller_with("evse-operator"))]
OperatorOrEvsp = Annotated[Caller, Depends(caller_with("evse-operator", "evsp"))]


def hot_routes(
    *,
    evses: Evses,
    customers: Customers,
    agreements: Agreements,
    evsps: Evsps,
    policies: Policies,
    certificates: Certificates,
    decisions: Decisions,
    database: Database,
    clock: Clock,
    ask_timeout_s: float = flows.ASK_TIMEOUT_S,
) -> list[HotRoute]:
    """`POST /authorisations`: may this customer charge here?"""

    async def authorise(request: Request) -> Response:
        caller = caller_of(request)
        caller.must_be("evse-operator")
        asked = decode(await read_body(request, LONGEST_BODY_BYTES), AuthorisationAsked)
        question = model.question_of(
            caller.party,
            evse_id=asked.evse_id,
            identification=asked.identification.to_identification(),
            services=asked.services,
            charge_id=asked.charge_id,
            at=asked.at,
            now=clock(),
        )
        decided = await flows.authorise(
            question,
            evses=evses,
            customers=customers,
            agreements=agreements,
            evsps=evsps,
            policies=policies,
            certificates=certificates,
            decisions=decisions,
            clock=clock,
            ask_timeout_s=ask_timeout_s,
        )
        return json_response(AuthorisationAnswered.of(decided))

    async def handle(request: Request) -> Response:
        if "idempotency-key" not in request.headers:
            return await authorise(request)
        party = caller_of(request).party
        return await once(
            request, lambda: authorise(request), database=database, party=party, clock=clock
        )

    return [
        HotRoute(
            method="POST",
            path="/authorisations",
            handler=handle,
            operation="authorise",
            summary="May this customer charge here? The decision is on record before the answer.",
            request_type=AuthorisationAsked,
            response_type=AuthorisationAnswered,
        )
    ]


def router(
    *,
    evses: Evses,
    customers: Customers,
    agreements: Agreements,
    certificates: Certificates,
    spending: Spending,
    decisions: Decisions,
    policies: Policies,
    database: Database,
    clock: Clock,
) -> APIRouter:
    """What explains a decision, what a customer may have, and `/evsp-policy`."""
    routes = APIRouter(tags=["clearing house: authorisation"])

    @routes.get("/authorisations/{authorisation_id}")
    async def explain_authorisation(
        authorisation_id: str, caller: OperatorOrEvsp
    ) -> AuthorisationShown:
        """A decision and each step of it, for its operator or the EVSP concerned; for an EVSP that
        was asked in vain whose card it is, its own part alone.
        """
        decided, account, steps = await flows.explain(
            authorisation_id, caller=caller.party, decisions=decisions
        )
        return AuthorisationShown.of(decided, account, steps, caller)

    @routes.get("/authorisations/{authorisation_id}/services")
    async def show_services_of_authorisation(
        authorisation_id: str, caller: OperatorOrEvsp
    ) -> ServicesShown:
        """What the customer of a decision may have at its EVSE now, and what of it costs what."""
        found = await flows.services_of(
            authorisation_id,
            caller=caller.party,
            decisions=decisions,
            evses=evses,
            customers=customers,
            agreements=agreements,
            certificates=certificates,
            spending=spending,
            clock=clock,
        )
        return ServicesShown.of(found)

    @routes.post("/customer-services")
    async def show_services_of_customer(asked: ServicesAsked, caller: Operator) -> ServicesShown:
        """What a customer may have here, now. A look: nobody is asked, and nothing is decided."""
        shown = asked.identification
        question = model.question_of(
            caller.party,
            evse_id=asked.evse_id,
            identification=model.identify(shown.type, shown.value),
            services=("charging",),
            charge_id=None,
            at=None,
            now=clock(),
        )
        found = await flows.services_here(
            question,
            evses=evses,
            customers=customers,
            agreements=agreements,
            certificates=certificates,
            spending=spending,
        )
        return ServicesShown.of(found)

    @routes.get("/evsp-policy")
    async def show_evsp_policy(caller: Evsp) -> EvspPolicy:
        """The caller's own policy; `refuse` where it has chosen none."""
        return EvspPolicy.of(await policies.of(caller.party))

    @routes.put("/evsp-policy", response_model=EvspPolicy)
    async def choose_evsp_policy(request: Request, asked: EvspPolicy, caller: Evsp) -> Response:
        """What is to hold when the caller is asked; members left out take their default."""

        async def choose() -> Response:
            policy = asked.to_policy()
            await flows.choose_policy(policy, caller=caller.party, policies=policies, clock=clock)
            return json_response(EvspPolicy.of(policy).model_dump(mode="json"))

        return await once(request, choose, database=database, party=caller.party, clock=clock)

    return routes
