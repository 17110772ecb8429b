"""Applications over HTTP: a door without a token for who is not a partner yet, and the desk of the
hub's operator behind it.

The applicant shows who it is by HTTP Basic: the application's id, and the secret told with it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kit.clock import Clock
from kit.database import Database
from kit.http import CALLER, Caller, caller_of, json_response, page_link, read_body
from kit.idempotency import once
from kit.sortable_id import sortable_id
from marketplace.access.model import FailedAttempts
from marketplace.applications import flows, model
from marketplace.applications.flows import Receipt, Seen
from marketplace.applications.model import (
    Application,
    BadApplication,
    Contact,
    ContactPurpose,
    Decision,
    RoleStatus,
    TooManyApplications,
)
from marketplace.applications.ports import Applications, Checker, Memory, Secrets
from marketplace.business.model import business_details
from marketplace.partners.model import Role, roles_of
from roaming.party import PartyId

PATH = "/marketplace/applications"
LONGEST_BODY = 64 * 1024
# Short keys are guessed, and whoever comes with a key and the same words is told the secret.
SHORTEST_KEY, LONGEST_KEY = 16, 255
Calling = Annotated[Caller, Depends(caller_of)]
_OPEN: dict[str, Any] = {"security": []}
_BY_BASIC: dict[str, Any] = {"security": [{"basic": []}]}
_BY_EITHER: dict[str, Any] = {"security": [{"basic": []}, {"oauth2": []}]}


class ContactTold(BaseModel):
    """Somebody to write to, and what for."""

    model_config = ConfigDict(extra="forbid")
    name: str
    email: str
    purpose: ContactPurpose

    def of(self) -> Contact:
        return model.contact(self.name, self.email, self.purpose)


class ApplicationTold(BaseModel):
    """Who wants to take part. `parties` are the party ids claimed, the main one first. What each
    role needs besides is in docs/partners.md."""

    model_config = ConfigDict(extra="forbid")
    parties: list[str] = Field(min_length=1, max_length=model.MOST_PARTIES)
    roles: list[str] = Field(min_length=1, max_length=len(Role))
    legal_name: str
    street: str
    city: str
    postal_code: str
    country: str
    vat_id: str | None = None
    tax_id: str | None = None
    taxable_dealer: bool = False
    iban: str | None = None
    bic: str | None = None
    invoice_email: str | None = None
    contacts: list[ContactTold] = Field(default_factory=list, max_length=model.MOST_CONTACTS)

    def of(self, now: datetime) -> Application:
        """Held to all rules; BadApplication, BadDetails, BadPartner, RoleIncomplete."""
        parties = [PartyId(one) for one in self.parties]
        told = self.model_dump(exclude={"parties", "roles", "contacts"})
        details = business_details(parties[0], **told, valid_from=now)
        contacts = [one.of() for one in self.contacts]
        return model.application(
            sortable_id(now), parties, roles_of(self.roles), details, contacts, now
        )


class RolesAsked(BaseModel):
    """The further roles that a partner asks for, and whom to write to about them."""

    model_config = ConfigDict(extra="forbid")
    roles: list[str] = Field(min_length=1, max_length=len(Role))
    contacts: list[ContactTold] = Field(default_factory=list, max_length=model.MOST_CONTACTS)


class ReasonTold(BaseModel):
    """Why; the applicant reads it. Who refuses says why."""

    model_config = ConfigDict(extra="forbid")
    reason: str | None = None


class CredentialsAsked(BaseModel):
    """Of which of the application's party ids; the main one where none is named."""

    model_config = ConfigDict(extra="forbid")
    party: str | None = None


class RoleShown(BaseModel):
    """A role asked for, and the last word on it."""

    role: str
    status: str
    decided_at: datetime | None
    reason: str | None


class ApplicationShown(BaseModel):
    """An application. `taken`: those of its party ids that are another partner's by now."""

    application_id: str
    status: str
    applicant: str | None
    parties: list[str]
    taken: list[str]
    roles: list[RoleShown]
    legal_name: str
    street: str
    city: str
    postal_code: str
    country: str
    vat_id: str | None
    tax_id: str | None
    taxable_dealer: bool
    iban: str | None
    bic: str | None
    invoice_email: str | None
    contacts: list[ContactTold]
    submitted_at: datetime
    secret: str | None = None

    @classmethod
    def of(
        cls, asked: Application, taken: Sequence[PartyId] = (), secret: str | None = None
    ) -> ApplicationShown:
        details = asked.details
        return cls(
            application_id=asked.application_id,
            status=asked.status,
            applicant=asked.applicant,
            parties=list(asked.parties),
            taken=list(taken),
            roles=[
                RoleShown(
                    role=one.role, status=one.status, decided_at=one.decided_at, reason=one.reason
                )
                for one in asked.roles
            ],
            legal_name=details.legal_name,
            street=details.street,
            city=details.city,
            postal_code=details.postal_code,
            country=details.country,
            vat_id=details.vat_id,
            tax_id=details.tax_id,
            taxable_dealer=details.taxable_dealer,
            iban=details.iban,
            bic=details.bic,
            invoice_email=details.invoice_email,
            contacts=[
                ContactTold(name=one.name, email=one.email, purpose=one.purpose)
                for one in asked.contacts
            ],
            submitted_at=asked.submitted_at,
            secret=secret,
        )

    @classmethod
    def seen(cls, seen: Seen) -> ApplicationShown:
        return cls.of(seen.application, seen.taken)

    def told(self) -> dict[str, Any]:
        left_out = {"secret"} if self.secret is None else set()
        return self.model_dump(mode="json", exclude=left_out)


class CredentialsShown(BaseModel):
    """A client. Its secret is told now, and by nobody ever again."""

    party: str
    client_id: str
    client_secret: str


def router(
    applications: Applications,
    database: Database,
    clock: Clock,
    *,
    hub: PartyId,
    checker: Checker,
    secrets: Secrets,
    memory: Sequence[Memory],
) -> APIRouter:
    """`memory`: what this process remembers of partners, refreshed after an approval."""
    routes = APIRouter(tags=["applications"])
    # Each application costs the operator's time and 19 MiB of ours; each wrong secret the latter.
    came = FailedAttempts(per_client=20, per_address=20, window=timedelta(hours=1))
    failed = FailedAttempts()

    @routes.post(
        PATH,
        summary="Apply to take part; without an access token",
        status_code=201,
        response_model=ApplicationShown,
        response_model_exclude_none=True,
        openapi_extra=_OPEN | {"requestBody": _described(ApplicationTold)},
    )
    async def apply(request: Request) -> Response:
        now, address = clock(), _address(request)
        _wait(came.wait_s("applying", address, now), "applications")
        told = _told(await read_body(request, LONGEST_BODY))
        key = _key(request)
        receipt = await flows.submit(
            applications,
            told.of(now),
            key=key,
            secrets=secrets,
            checker=checker,
            hub=hub,
            now=now,
        )
        came.note("applying", address, now)
        return _receipt(receipt)

    @routes.get(PATH, summary="The caller's applications; all, for the hub's operator")
    async def list_applications(
        request: Request,
        caller: Calling,
        response: Response,
        status: RoleStatus | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Annotated[str | None, Query(pattern="^[0-9a-f-]{1,36}$")] = None,
    ) -> list[ApplicationShown]:
        found = await flows.page(
            applications,
            caller.party,
            hub=hub,
            status=status,
            after=cursor,
            limit=limit + 1,
        )
        more = found[limit - 1].application.application_id if len(found) > limit else None
        response.headers.update(page_link(request, more))
        return [ApplicationShown.seen(one) for one in found[:limit]]

    @routes.get(
        f"{PATH}/{{application_id}}",
        summary="How far an application is: for who made it and the hub's operator",
        response_model=ApplicationShown,
        openapi_extra=_BY_EITHER,
    )
    async def show_application(request: Request, application_id: str) -> Response:
        secret = _secret(request, application_id, failed, clock())
        try:
            seen = await flows.find(
                applications,
                application_id,
                caller=_caller(request),
                secret=secret,
                checker=checker,
                hub=hub,
            )
        except model.ApplicantUnknown:
            failed.note(application_id[:100], _address(request), clock())
            raise
        return json_response(ApplicationShown.seen(seen).told())

    @routes.post(
        f"{PATH}/{{application_id}}/credentials",
        summary="The first client of an applicant that was approved, or a further secret of it",
        status_code=201,
        response_model=CredentialsShown,
        openapi_extra=_BY_BASIC,
    )
    async def fetch_credentials(
        request: Request, application_id: str, asked: CredentialsAsked | None = None
    ) -> Response:
        # Told once and kept nowhere: so a repeat gives one more secret, whatever key it comes with.
        secret = _secret(request, application_id, failed, clock())
        party = None if asked is None or asked.party is None else PartyId(asked.party)
        try:
            whose, client_id, client_secret = await flows.fetch_credentials(
                applications,
                application_id,
                secret,
                party,
                caller=_caller(request),
                checker=checker,
                now=clock(),
            )
        except model.ApplicantUnknown:
            failed.note(application_id[:100], _address(request), clock())
            raise
        shown = CredentialsShown(party=whose, client_id=client_id, client_secret=client_secret)
        return json_response(shown.model_dump(), 201, {"Cache-Control": "no-store"})

    async def decided(
        request: Request,
        application_id: str,
        decision: Decision,
        caller: Caller,
        told: ReasonTold | None,
        role: Role | None = None,
    ) -> Response:
        async def run() -> Response:
            seen = await flows.decide(
                applications,
                caller.party,
                application_id,
                decision,
                role=role,
                reason=None if told is None else told.reason,
                hub=hub,
                memory=memory,
                now=clock(),
            )
            return json_response(ApplicationShown.seen(seen).told())

        return await once(request, run, database=database, party=caller.party, clock=clock)

    @routes.post(
        f"{PATH}/{{application_id}}/{{decision}}",
        summary="Approve or refuse all roles of an application that wait (the hub's operator)",
        response_model=ApplicationShown,
    )
    async def decide_application(
        request: Request,
        application_id: str,
        decision: Decision,
        caller: Calling,
        told: ReasonTold | None = None,
    ) -> Response:
        return await decided(request, application_id, decision, caller, told)

    @routes.post(
        f"{PATH}/{{application_id}}/roles/{{role}}/{{decision}}",
        summary="Approve or refuse one role of an application (the hub's operator)",
        response_model=ApplicationShown,
    )
    async def decide_role(
        request: Request,
        application_id: str,
        role: Role,
        decision: Decision,
        caller: Calling,
        told: ReasonTold | None = None,
    ) -> Response:
        return await decided(request, application_id, decision, caller, told, role)

    @routes.post(
        "/marketplace/partners/{party}/role-requests",
        summary="Ask for further roles",
        status_code=201,
        response_model=ApplicationShown,
    )
    async def ask_for_roles(
        request: Request, party: str, asked: RolesAsked, caller: Calling
    ) -> Response:
        async def run() -> Response:
            made = await flows.ask_for_roles(
                applications,
                caller.party,
                PartyId(party),
                roles_of(asked.roles),
                [one.of() for one in asked.contacts],
                now=clock(),
            )
            return json_response(ApplicationShown.of(made).told(), 201)

        return await once(request, run, database=database, party=caller.party, clock=clock)

    return routes


def _described(shape: type[BaseModel]) -> dict[str, Any]:
    """The body in the OpenAPI document; it is read by hand, with a bound on it."""
    schema = shape.model_json_schema(ref_template="#/components/schemas/{model}")
    # They are shapes of answers, too, and so are there.
    schema.pop("$defs", None)
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _receipt(receipt: Receipt) -> Response:
    shown = ApplicationShown.of(receipt.application, secret=receipt.secret)
    return json_response(shown.told(), 201 if receipt.new else 200, {"Cache-Control": "no-store"})


def _told(body: bytes) -> ApplicationTold:
    try:
        return ApplicationTold.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(["body", *(str(part) for part in first["loc"])])
        raise BadApplication(f"{field}: {first['msg']}", field=field, rule=first["type"]) from None


def _key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise BadApplication(
            "the key can be guessed, or is too long",
            field="Idempotency-Key",
            value=key[:100],
            rule=f"{SHORTEST_KEY} to {LONGEST_KEY} characters: a random UUID",
        )
    return key


def _secret(
    request: Request, application_id: str, failed: FailedAttempts, now: datetime
) -> str | None:
    """What came as the application's secret; None: nothing of the kind."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    _wait(failed.wait_s(application_id[:100], _address(request), now), "wrong secrets")
    try:
        user, _, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return ""
    return secret if user == application_id else ""


def _caller(request: Request) -> PartyId | None:
    caller = request.scope.get(CALLER)
    return caller.party if isinstance(caller, Caller) else None


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def _wait(seconds: int, what: str) -> None:
    if seconds > 0:
        raise TooManyApplications(
            f"too many {what} came from this address", rule=f"again in {seconds} seconds"
        )
