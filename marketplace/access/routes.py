"""OAuth 2 over HTTP, and the clients of a party."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from kit import client_certificate
from kit.clock import Clock
from kit.encoding import encode_json
from kit.http import Caller, Instant, caller_of, json_response, read_body
from marketplace.access import flows, model
from marketplace.access.model import (
    ADMIN,
    LONGEST_BODY,
    AdminNeeded,
    BadGrantRequest,
    Client,
    FailedAttempts,
    GrantRequest,
    OAuthAnswer,
)
from marketplace.access.ports import Access, Checker
from marketplace.access.token_server import (
    JWKS_PATH,
    REVOCATION_PATH,
    TOKEN_PATH,
    TokenServer,
)
from marketplace.services.model import Environment
from roaming.party import PartyId

Calling = Annotated[Caller, Depends(caller_of)]
_FORM = "application/x-www-form-urlencoded"
_WITHOUT_TOKEN: dict[str, Any] = {"security": []}


class ClientAsked(BaseModel):
    """The public keys (RFC 7517) of a client that signs assertions, or the certificates (PEM) by
    one of which its connections are authenticated; neither: it wants a secret.

    Access tokens of a client with certificates are bound to the one that it showed (RFC 8705).
    `environment` sandbox: what this client calls is tried out. Its tokens call services, at the
    endpoints that their providers keep for that, and do nothing else.
    """

    model_config = ConfigDict(extra="forbid")
    jwks: dict[str, Any] | None = None
    certificates: list[str] = Field(default_factory=list)
    environment: Environment = Environment.LIVE


class ClientChanged(BaseModel):
    """What a client is called, and when it ends; null: it has no name, or no end."""

    model_config = ConfigDict(extra="forbid")
    name: str | None
    expires_at: Instant | None


class KeysAsked(BaseModel):
    """All public keys (RFC 7517) that the client signs with from now on."""

    model_config = ConfigDict(extra="forbid")
    jwks: dict[str, Any]


class SecretShown(BaseModel):
    """A secret in force, by its number; `expires_at` null: until it is replaced."""

    secret_id: int
    created_at: datetime
    expires_at: datetime | None


class KeyShown(BaseModel):
    """A key in force; `until` null: until it is replaced."""

    jwk: dict[str, Any]
    until: datetime | None


class ClientShown(BaseModel):
    """A client. `client_secret` is told once, when it is made; `certificates` are `x5t#S256`."""

    client_id: str
    party: str
    methods: list[str]
    environment: Environment
    certificates: list[str] = Field(default_factory=list)
    created_at: datetime | None = None
    client_secret: str | None = None
    name: str | None = None
    expires_at: datetime | None = None
    secrets: list[SecretShown] = Field(default_factory=list)
    keys: list[KeyShown] = Field(default_factory=list)

    @classmethod
    def of(cls, client: Client) -> ClientShown:
        # Those that have a successor stand last.
        first = len(client.public_keys) - len(client.retiring)
        leaving = {first + n: one.until for n, one in enumerate(client.retiring)}
        return cls(
            client_id=client.client_id,
            party=client.party,
            methods=sorted(client.methods),
            environment=client.environment,
            certificates=[one.thumbprint for one in client.certificates],
            created_at=client.created_at,
            name=client.name,
            expires_at=client.expires_at,
            secrets=[
                SecretShown(
                    secret_id=one.secret_id, created_at=one.created_at, expires_at=one.expires_at
                )
                for one in client.secrets
            ],
            keys=[
                KeyShown(jwk=dict(key), until=leaving.get(n))
                for n, key in enumerate(client.public_keys)
            ],
        )


def router(access: Access, server: TokenServer, checker: Checker, clock: Clock) -> APIRouter:
    """The OAuth endpoints (no access token needed) and the clients of the calling party."""
    routes = APIRouter()
    failures = FailedAttempts()

    async def answered(request: Request, flow: Callable[..., Awaitable[OAuthAnswer]]) -> Response:
        try:
            asked = await _asked(request, clock())
        except BadGrantRequest as error:
            return _shown(flows.refusal_of(error))
        answer = await flow(
            asked,
            access=access,
            server=server,
            checker=checker,
            failures=failures,
            now=clock(),
        )
        return _shown(answer)

    @routes.post(
        TOKEN_PATH,
        tags=["access"],
        summary="An access token for client credentials (RFC 6749, RFC 7523)",
        openapi_extra=_described("grant_type", "scope", "client_id", "client_secret"),
    )
    async def token(request: Request) -> Response:
        return await answered(request, flows.issue_token)

    @routes.post(
        REVOCATION_PATH,
        tags=["access"],
        summary="Give an access token back (RFC 7009)",
        openapi_extra=_described("token", "token_type_hint", "client_id", "client_secret"),
    )
    async def revoke(request: Request) -> Response:
        return await answered(request, flows.revoke_token)

    @routes.get(
        "/.well-known/oauth-authorization-server",
        tags=["access"],
        summary="What this authorisation server can do (RFC 8414)",
        openapi_extra=_WITHOUT_TOKEN,
    )
    async def metadata() -> dict[str, Any]:
        return server.metadata()

    @routes.get(
        JWKS_PATH,
        tags=["access"],
        summary="The keys that verify our tokens (RFC 7517)",
        openapi_extra=_WITHOUT_TOKEN,
    )
    async def jwks() -> Response:
        # A key is published a minute before it signs, so a minute may be cached.
        lead_s = int(server.ring.rules.lead.total_seconds())
        return Response(
            encode_json({"keys": server.ring.public(clock())}),
            media_type="application/jwk-set+json",
            headers={"Cache-Control": f"public, max-age={lead_s}"},
        )

    @routes.get(
        "/marketplace/partners/{party}/clients", tags=["access"], summary="The caller's clients"
    )
    async def list_clients(party: str, caller: Calling) -> list[ClientShown]:
        found = await flows.clients_of(access, caller.party, PartyId(party), clock())
        return [ClientShown.of(client) for client in found]

    @routes.post(
        "/marketplace/partners/{party}/clients",
        tags=["access"],
        summary="A client with keys or certificates of its own, or a further secret",
        response_model=ClientShown,
        response_model_exclude_none=True,
        status_code=201,
    )
    async def add_client(party: str, asked: ClientAsked, caller: Calling) -> Response:
        # The same keys and certificates are the same client, so a repeat does no harm. A secret is
        # told once and kept nowhere, so its answer cannot be kept for an Idempotency-Key either: a
        # repeat gives one more, and both are good.
        whose = PartyId(party)
        live = asked.environment is Environment.LIVE
        if live and caller.person is not None and ADMIN not in caller.duties:
            raise AdminNeeded(
                "a client that counts is an admin's to make",
                field="duties",
                value=", ".join(sorted(caller.duties)),
                rule=f"needed: {ADMIN}; or a client of the sandbox",
            )
        if asked.jwks is not None or asked.certificates:
            client = await flows.add_key_client(
                access,
                caller.party,
                whose,
                asked.jwks,
                clock(),
                asked.environment,
                asked.certificates,
            )
            return json_response(ClientShown.of(client).model_dump(mode="json"), 201)
        client_id, secret = await flows.add_secret(
            access,
            caller.party,
            whose,
            checker=checker,
            now=clock(),
            environment=asked.environment,
        )
        shown = ClientShown(
            client_id=client_id,
            party=whose,
            methods=sorted([model.Method.SECRET_BASIC, model.Method.SECRET_POST]),
            environment=asked.environment,
            client_secret=secret,
        )
        return json_response(
            shown.model_dump(mode="json", exclude_none=True), 201, {"Cache-Control": "no-store"}
        )

    @routes.put(
        "/marketplace/partners/{party}/clients/{client_id}",
        tags=["access"],
        summary="Say what a client is called, and when it ends",
    )
    async def describe_client(
        party: str, client_id: str, asked: ClientChanged, caller: Calling
    ) -> ClientShown:
        changed = await flows.describe_client(
            access,
            caller.party,
            PartyId(party),
            client_id,
            name=asked.name,
            expires_at=asked.expires_at,
            now=clock(),
        )
        return ClientShown.of(changed)

    @routes.put(
        "/marketplace/partners/{party}/clients/{client_id}/keys",
        tags=["access"],
        summary="Other keys for a client that signs; those before stay good for 7 days",
    )
    async def replace_keys(
        party: str, client_id: str, asked: KeysAsked, caller: Calling
    ) -> ClientShown:
        changed = await flows.replace_keys(
            access, caller.party, PartyId(party), client_id, asked.jwks, clock()
        )
        return ClientShown.of(changed)

    @routes.delete(
        "/marketplace/partners/{party}/clients/{client_id}/secrets/{secret_id}",
        tags=["access"],
        summary="End one secret of a client that has another",
        status_code=204,
    )
    async def end_secret(
        party: str,
        client_id: str,
        secret_id: Annotated[int, Path(ge=0, lt=1 << 63)],
        caller: Calling,
    ) -> Response:
        await flows.end_secret(access, caller.party, PartyId(party), client_id, secret_id, clock())
        return Response(status_code=204)

    @routes.delete(
        "/marketplace/partners/{party}/clients/{client_id}",
        tags=["access"],
        summary="End a client and every token that it holds",
        status_code=204,
    )
    async def revoke_client(party: str, client_id: str, caller: Calling) -> Response:
        await flows.revoke_client(
            access,
            caller.party,
            PartyId(party),
            client_id,
            verifier=server.verifier,
            now=clock(),
        )
        return Response(status_code=204)

    return routes


async def _asked(request: Request, now: datetime) -> GrantRequest:
    body = await read_body(request, LONGEST_BODY)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise BadGrantRequest("invalid_request", f"The content type must be {_FORM}.")
    shown = client_certificate.of_scope(request.scope)
    return GrantRequest(
        form=model.form_of(body),
        authorization=request.headers.get("authorization"),
        address=request.client.host if request.client is not None else "",
        certificate=shown.thumbprint if shown is not None and shown.holds_at(now) else None,
    )


def _shown(answer: OAuthAnswer) -> Response:
    return json_response(dict(answer.body), answer.status, answer.headers)


def _described(*fields: str) -> dict[str, Any]:
    """The form of an endpoint in the OpenAPI document; it is read by hand, for RFC 6749's sake."""
    properties = {name: {"type": "string"} for name in fields}
    schema = {"type": "object", "properties": properties, "required": [fields[0]]}
    body = {"required": True, "content": {_FORM: {"schema": schema}}}
    return {**_WITHOUT_TOKEN, "requestBody": body}
