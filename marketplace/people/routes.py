"""People over HTTP: those of a party, and each person's own way in and out.

What is told once (an invitation, a secret, recovery codes, a token) is kept nowhere in clear, so
these answers are not kept for an Idempotency-Key either, and say `no-store`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Cookie, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from kit.access_token import Identity
from kit.clock import Clock
from kit.database import Database
from kit.http import Caller, caller_of, json_response
from kit.idempotency import once
from marketplace.access.model import FailedAttempts, person_holder
from marketplace.access.token_server import TokenServer
from marketplace.people import entry, flows
from marketplace.people.entry import Session, Shown
from marketplace.people.flows import Invited
from marketplace.people.model import (
    LOGIN_AT_PROVIDER,
    LONGEST_PASSWORD,
    Duty,
    Person,
    PersonStatus,
)
from marketplace.people.oidc import CALLBACK_PATH
from marketplace.people.ports import Box, Checker, People, Provider
from roaming.party import PartyId

Calling = Annotated[Caller, Depends(caller_of)]
OF_A_PARTY = "/marketplace/partners/{party}/people"
LOGIN = "/marketplace/people"
# Without a token: this is how people get one.
PUBLIC = tuple(
    f"{LOGIN}/{step}" for step in ("accept", "confirm", "login", "oidc/login", "oidc/callback")
)
COOKIE = "gridroam-login"
_NO_STORE = {"Cache-Control": "no-store"}
_WITHOUT_TOKEN: dict[str, Any] = {"security": []}
# A password in any spelling; longer ones are refused by the rules, with a reason.
_Password = Annotated[SecretStr, Field(max_length=4 * LONGEST_PASSWORD)]
_Code = Annotated[str, Field(max_length=20, description="six digits of the authenticator")]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PersonAsked(_Asked):
    """Whom to invite."""

    email: str = Field(max_length=300)
    name: str = Field(max_length=300)
    duties: list[Duty]


class PersonChanged(_Asked):
    """The name and all duties, as they are to be."""

    name: str = Field(max_length=300)
    duties: list[Duty]


class PersonShown(BaseModel):
    """`oidc`: it logs in at the OpenID provider."""

    person_id: str
    party: str
    email: str
    name: str
    duties: list[Duty]
    status: PersonStatus
    invited_at: datetime
    joined_at: datetime | None
    last_login_at: datetime | None
    oidc: bool

    @classmethod
    def of(cls, person: Person) -> PersonShown:
        return cls(
            person_id=person.person_id,
            party=person.party,
            email=person.email,
            name=person.name,
            duties=sorted(person.duties),
            status=person.status,
            invited_at=person.invited_at,
            joined_at=person.joined_at,
            last_login_at=person.last_login_at,
            oidc=person.subject is not None,
        )


class InvitationShown(BaseModel):
    """The token is told this once: bring it to the person by a way that others cannot read."""

    person: PersonShown
    token: str
    until: datetime

    @classmethod
    def of(cls, invited: Invited) -> InvitationShown:
        return cls(person=PersonShown.of(invited.person), token=invited.token, until=invited.until)


class AcceptAsked(_Asked):
    token: str = Field(max_length=200)
    password: _Password


class EnrolmentShown(BaseModel):
    """For an authenticator: the URI as a QR code, or the secret typed by hand."""

    person_id: str
    secret: str
    provisioning_uri: str


class ConfirmAsked(_Asked):
    token: str = Field(max_length=200)
    code: _Code


class LoginAsked(_Asked):
    """With a code, or with one of the recovery codes where the authenticator is lost."""

    party: str
    email: str = Field(max_length=300)
    password: _Password
    code: _Code | None = None
    recovery_code: str | None = Field(default=None, max_length=100)


class PasswordAsked(_Asked):
    password: _Password
    code: _Code
    new_password: _Password


class SessionShown(BaseModel):
    """As /oauth/token answers, and whose it is."""

    access_token: str
    token_type: str = "Bearer"
    expires_in: int
    person: PersonShown
    recovery_codes: list[str] | None = None


def router(
    people: People,
    server: TokenServer,
    checker: Checker,
    box: Box,
    database: Database,
    clock: Clock,
    *,
    hub: PartyId,
    provider: Provider | None = None,
) -> APIRouter:
    """`provider`: None where the hub knows no OpenID provider."""
    routes = APIRouter(tags=["people"])
    failures = FailedAttempts()

    def answered(session: Session, codes: list[str] | None = None) -> Response:
        shown = SessionShown(
            access_token=session.token,
            expires_in=int(server.lifetime.total_seconds()),
            person=PersonShown.of(session.person),
            recovery_codes=codes,
        )
        return json_response(shown.model_dump(mode="json", exclude_none=True), 200, _NO_STORE)

    def identity_of(request: Request) -> Identity:
        """The door has looked at the token; what it says beside the caller is read here."""
        return server.verifier.verify(request.headers["authorization"][7:])

    def ended(person_id: str, before: datetime) -> None:
        """In this process at once; in the others as soon as they hear of it."""
        server.verifier.revoke_client(person_holder(person_id), before)

    @routes.get(OF_A_PARTY, summary="The people of the calling party")
    async def list_people(party: str, caller: Calling) -> list[PersonShown]:
        found = await flows.people_of(people, caller.party, PartyId(party), hub=hub)
        return [PersonShown.of(person) for person in found]

    @routes.post(
        OF_A_PARTY,
        summary="Invite a person of the party",
        description="The first admin is invited by a client of the party, or by the hub's operator;"
        " further people by an admin. The token is told once.",
        response_model=InvitationShown,
        status_code=201,
    )
    async def invite_person(party: str, asked: PersonAsked, caller: Calling) -> Response:
        invited = await flows.invite(
            people,
            caller.party,
            PartyId(party),
            hub=hub,
            email=asked.email,
            name=asked.name,
            duties=asked.duties,
            now=clock(),
        )
        return json_response(InvitationShown.of(invited).model_dump(mode="json"), 201, _NO_STORE)

    @routes.get(OF_A_PARTY + "/{person_id}", summary="One person of the calling party")
    async def show_person(party: str, person_id: str, caller: Calling) -> PersonShown:
        found = await flows.find(people, caller.party, PartyId(party), person_id, hub=hub)
        return PersonShown.of(found)

    @routes.put(
        OF_A_PARTY + "/{person_id}",
        summary="Give a person another name, or other duties",
        response_model=PersonShown,
    )
    async def change_person(
        request: Request, party: str, person_id: str, asked: PersonChanged, caller: Calling
    ) -> Response:
        async def run() -> Response:
            now = clock()
            person, changed = await flows.change(
                people,
                caller.party,
                PartyId(party),
                person_id,
                hub=hub,
                name=asked.name,
                duties=asked.duties,
                now=now,
            )
            if changed:
                ended(person_id, now)
            return json_response(PersonShown.of(person).model_dump(mode="json"))

        return await once(request, run, database=database, party=caller.party, clock=clock)

    @routes.delete(
        OF_A_PARTY + "/{person_id}",
        summary="Remove a person; its tokens end",
        status_code=204,
    )
    async def remove_person(party: str, person_id: str, caller: Calling) -> Response:
        now = clock()
        await flows.remove(people, caller.party, PartyId(party), person_id, hub=hub, now=now)
        ended(person_id, now)
        return Response(status_code=204)

    @routes.post(
        OF_A_PARTY + "/{person_id}/invitation",
        summary="Invite a person again",
        description="Its first invitation has ended, or it has lost its password or authenticator.",
        response_model=InvitationShown,
        status_code=201,
    )
    async def invite_person_again(party: str, person_id: str, caller: Calling) -> Response:
        invited = await flows.invite_again(
            people, caller.party, PartyId(party), person_id, hub=hub, now=clock()
        )
        return json_response(InvitationShown.of(invited).model_dump(mode="json"), 201, _NO_STORE)

    @routes.post(
        LOGIN + "/accept",
        summary="Accept an invitation: choose a password, get the secret of the codes",
        response_model=EnrolmentShown,
        openapi_extra=_WITHOUT_TOKEN,
    )
    async def accept_invitation(asked: AcceptAsked) -> Response:
        enrolled = await flows.accept(
            people,
            asked.token,
            asked.password.get_secret_value(),
            checker=checker,
            box=box,
            now=clock(),
        )
        shown = EnrolmentShown(
            person_id=enrolled.person.person_id,
            secret=enrolled.secret,
            provisioning_uri=enrolled.uri,
        )
        return json_response(shown.model_dump(mode="json"), 200, _NO_STORE)

    @routes.post(
        LOGIN + "/confirm",
        summary="Join: a first code shows that the authenticator has the secret",
        response_model=SessionShown,
        response_model_exclude_none=True,
        openapi_extra=_WITHOUT_TOKEN,
    )
    async def confirm_invitation(asked: ConfirmAsked) -> Response:
        now = clock()
        joined = await flows.confirm(people, asked.token, asked.code, box=box, now=now)
        ended(joined.standing.person.person_id, now)
        session = entry.session_of(joined.standing, server, logged_in_at=now, now=now)
        return answered(session, list(joined.recovery_codes))

    @routes.post(
        LOGIN + "/login",
        summary="An access token for a person, by password and code",
        response_model=SessionShown,
        response_model_exclude_none=True,
        openapi_extra=_WITHOUT_TOKEN,
    )
    async def log_in(request: Request, asked: LoginAsked) -> Response:
        shown = Shown(
            PartyId(asked.party),
            asked.email,
            asked.password.get_secret_value(),
            code=asked.code,
            recovery_code=asked.recovery_code,
            address=_address_of(request),
        )
        return answered(
            await entry.log_in(
                people,
                shown,
                tokens=server,
                checker=checker,
                box=box,
                failures=failures,
                now=clock(),
            )
        )

    @routes.post(
        LOGIN + "/renew",
        summary="A new token before the last one ends, for a working day after the log-in",
        response_model=SessionShown,
        response_model_exclude_none=True,
    )
    async def renew(request: Request, caller: Calling) -> Response:
        identity = identity_of(request)
        return answered(await entry.renew(people, identity, tokens=server, now=clock()))

    @routes.post(
        LOGIN + "/logout", summary="End the token that this is asked with", status_code=204
    )
    async def log_out(request: Request, caller: Calling) -> Response:
        identity = identity_of(request)
        await entry.log_out(people, identity, now=clock())
        server.verifier.revoke_jti(identity.token_id, identity.expires_at)
        return Response(status_code=204)

    @routes.post(
        LOGIN + "/password",
        summary="Change the password; all other tokens of the person end",
        response_model=SessionShown,
        response_model_exclude_none=True,
    )
    async def change_password(request: Request, asked: PasswordAsked, caller: Calling) -> Response:
        now = clock()
        session = await entry.change_password(
            people,
            identity_of(request),
            password=asked.password.get_secret_value(),
            code=asked.code,
            new_password=asked.new_password.get_secret_value(),
            tokens=server,
            checker=checker,
            box=box,
            now=now,
        )
        ended(session.person.person_id, now)
        return answered(session)

    @routes.get(LOGIN + "/me", summary="The person who calls")
    async def me(request: Request, caller: Calling) -> PersonShown:
        person_id, _ = entry.logged_in(identity_of(request))
        found = await flows.find(people, caller.party, caller.party, person_id, hub=hub)
        return PersonShown.of(found)

    if provider is not None:
        _at_provider(routes, people, server, provider, answered, clock)
    return routes


def _address_of(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def _at_provider(
    routes: APIRouter,
    people: People,
    server: TokenServer,
    provider: Provider,
    answered: Callable[[Session], Response],
    clock: Clock,
) -> None:
    """The way in by an OpenID provider, of a hub that knows one."""
    attempts = FailedAttempts(per_client=entry.MOST_AT_PROVIDER)

    @routes.get(
        LOGIN + "/oidc/login",
        summary="Log in at the OpenID provider: a redirect to it",
        response_class=RedirectResponse,
        status_code=303,
        openapi_extra=_WITHOUT_TOKEN,
    )
    async def begin_at_provider(request: Request, party: Annotated[str, Query()]) -> Response:
        begun = await entry.begin_at_provider(
            people,
            PartyId(party),
            _address_of(request),
            provider=provider,
            attempts=attempts,
            now=clock(),
        )
        answer = RedirectResponse(begun.url, status_code=303, headers=_NO_STORE)
        answer.set_cookie(
            COOKIE,
            begun.binding,
            max_age=int(LOGIN_AT_PROVIDER.total_seconds()),
            path=CALLBACK_PATH,
            secure=server.issuer.startswith("https:"),
            httponly=True,
            samesite="lax",
        )
        return answer

    @routes.get(
        CALLBACK_PATH,
        summary="Where the OpenID provider sends the person back to",
        response_model=SessionShown,
        response_model_exclude_none=True,
        openapi_extra=_WITHOUT_TOKEN,
    )
    async def come_from_provider(
        request: Request,
        state: Annotated[str, Query(max_length=200)] = "",
        code: Annotated[str, Query(max_length=4_000)] = "",
        binding: Annotated[str, Cookie(alias=COOKIE, max_length=200)] = "",
    ) -> Response:
        session = await entry.come_from_provider(
            people,
            state=state,
            code=code,
            binding=binding,
            address=_address_of(request),
            provider=provider,
            attempts=attempts,
            tokens=server,
            now=clock(),
        )
        answer = answered(session)
        answer.delete_cookie(COOKIE, path=CALLBACK_PATH)
        return answer
