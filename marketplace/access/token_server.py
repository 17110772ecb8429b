"""OAuth 2 on authlib's server classes, with everything that waits already done.

authlib is synchronous. So the client is loaded and its secret checked before it is called here, and
what it wants to write (a used assertion, a revoked token) comes back as a value for the flow to
write. RFC 6749 (client credentials), RFC 7523 (private_key_jwt), RFC 7009, RFC 8705, RFC 9068.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from authlib.oauth2 import OAuth2Request
from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    ClientMixin,
    InvalidClientError,
    InvalidRequestError,
    OAuth2Error,
)
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from kit.access_token import (
    ALGORITHM,
    THUMBPRINT,
    TOKEN_TYPE,
    Identity,
    TokenRefused,
    Verifier,
)
from marketplace.access import model
from marketplace.access.keys import ASSERTION_ALGORITHMS, KeyRing, key_set
from marketplace.access.model import (
    CLOCK_SKEW,
    LONGEST_ASSERTION,
    READ_SCOPE,
    SCOPES,
    Client,
    GrantRequest,
    Method,
    OAuthAnswer,
)
from roaming.party import PartyId

TOKEN_PATH = "/oauth/token"
REVOCATION_PATH = "/oauth/revoke"
JWKS_PATH = "/.well-known/jwks.json"
METHODS = [method.value for method in Method]
BY_CERTIFICATE = (Method.TLS, Method.SELF_SIGNED_TLS)
# authlib refuses a request whose URI is not https. Whether this one came over TLS is for the edge
# to say, which may stand in front of this process; and a hub on loopback needs none.
_URI = "https://hub.invalid/oauth"
_LONGEST_JTI = 200


@dataclass(frozen=True, slots=True)
class UsedAssertion:
    jti: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer, and what must be written before it may be given."""

    answer: OAuthAnswer
    assertion: UsedAssertion | None = None
    revoked: Identity | None = None


class TokenServer:
    """Answers for one issuer. Holds no state of its own but the keys.

    `mutual_tls`: callers can show certificates, here or at a proxy in front.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        ring: KeyRing,
        verifier: Verifier,
        *,
        mutual_tls: bool = False,
    ) -> None:
        self.mutual_tls = mutual_tls
        self.issuer = issuer
        self.audience = audience
        self.ring = ring
        self.verifier = verifier

    @property
    def lifetime(self) -> timedelta:
        return self.ring.rules.token_lifetime

    def grant(
        self, request: GrantRequest, client: Client | None, secret_ok: bool, now: datetime
    ) -> Outcome:
        """A token, or OAuth's word for why not. `secret_ok`: the secret sent is the client's."""
        server = _Server(self, client, secret_ok, now, request.certificate)
        answer = server.create_token_response(_Request(request))
        return Outcome(answer, assertion=server.assertion)

    def revoke(
        self, request: GrantRequest, client: Client | None, secret_ok: bool, now: datetime
    ) -> Outcome:
        """The token named is to end; a token that is not ours ends nothing (RFC 7009, 2.2)."""
        server = _Server(self, client, secret_ok, now, request.certificate)
        answer = server.create_endpoint_response("revocation", _Request(request))
        return Outcome(answer, assertion=server.assertion, revoked=server.revoked)

    def mint(
        self, client: Client, scope: str, now: datetime, certificate: str | None = None
    ) -> str:
        """An access token of the profile RFC 9068, with the party and its roles in it.

        `env` is told where it is not the live one. With a certificate (its thumbprint) the token is
        good for nobody who does not show that (RFC 8705, section 3).
        """
        return self._signed(
            now,
            {
                "sub": client.client_id,
                "iat": int(now.timestamp()),
                "client_id": client.client_id,
                "scope": scope,
                "party": str(client.party),
                "roles": sorted(client.roles),
                # None outlives its client.
                **({} if client.expires_at is None else {"exp": self._end(client.expires_at, now)}),
                **({"env": client.environment.value} if client.sandbox else {}),
                **({} if certificate is None else {"cnf": {THUMBPRINT: certificate}}),
            },
        )

    def _end(self, last: datetime, now: datetime) -> int:
        return int(min(now + self.lifetime, last).timestamp())

    def mint_for_person(
        self,
        person_id: str,
        party: PartyId,
        roles: frozenset[str],
        duties: frozenset[str],
        *,
        logged_in_at: datetime,
        now: datetime,
    ) -> str:
        """As for a client, with the person and its duties at the party."""
        holder = model.person_holder(person_id)
        return self._signed(
            now,
            {
                "sub": holder,
                # To the microsecond: who has just ended its tokens gets a new one within a second.
                "iat": now.timestamp(),
                "client_id": holder,
                "scope": " ".join(SCOPES),
                "party": str(party),
                "roles": sorted(roles),
                "person": person_id,
                "duties": sorted(duties),
                "auth_time": logged_in_at.timestamp(),
            },
        )

    def _signed(self, now: datetime, claims: Mapping[str, Any]) -> str:
        kid, key = self.ring.current(now)
        return jwt.encode(
            {"alg": ALGORITHM, "typ": TOKEN_TYPE, "kid": kid},
            {
                "iss": self.issuer,
                "aud": [self.audience],
                "exp": int((now + self.lifetime).timestamp()),
                "jti": secrets.token_urlsafe(16),
                **claims,
            },
            key,
            algorithms=[ALGORITHM],
        )

    def metadata(self) -> dict[str, Any]:
        """What RFC 8414 tells of this server."""
        methods = [
            method.value for method in Method if self.mutual_tls or method not in BY_CERTIFICATE
        ]
        return {
            "issuer": self.issuer,
            "token_endpoint": self.issuer + TOKEN_PATH,
            "revocation_endpoint": self.issuer + REVOCATION_PATH,
            "jwks_uri": self.issuer + JWKS_PATH,
            "scopes_supported": [*SCOPES, READ_SCOPE],
            "response_types_supported": [],
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": methods,
            "token_endpoint_auth_signing_alg_values_supported": list(ASSERTION_ALGORITHMS),
            "revocation_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_signing_alg_values_supported": list(ASSERTION_ALGORITHMS),
            "tls_client_certificate_bound_access_tokens": self.mutual_tls,
        }


class _Request(OAuth2Request):  # type: ignore[misc]  # authlib is not typed
    def __init__(self, request: GrantRequest) -> None:
        headers = {} if request.authorization is None else {"Authorization": request.authorization}
        super().__init__("POST", _URI, headers=headers)
        self._form = dict(request.form)
        self.payload = BasicOAuth2Payload(self._form)

    @property
    def form(self) -> Mapping[str, str]:
        return self._form


class _Client(ClientMixin):  # type: ignore[misc]  # authlib is not typed
    """Our client as authlib asks about it."""

    def __init__(self, client: Client, secret_ok: bool) -> None:
        self.client = client
        self._secret_ok = secret_ok

    def get_client_id(self) -> str:
        return self.client.client_id

    def get_allowed_scope(self, scope: str | None) -> str:
        allowed = self.client.scopes
        asked = set(allowed if not scope else scope.split())
        return " ".join(name for name in allowed if name in asked)

    def check_client_secret(self, _: str) -> bool:
        return self._secret_ok

    def check_endpoint_auth_method(self, method: str, _: str) -> bool:
        return method in self.client.methods

    def check_grant_type(self, grant_type: str) -> bool:
        return bool(grant_type == _Grant.GRANT_TYPE)


class _Grant(ClientCredentialsGrant):  # type: ignore[misc]  # authlib is not typed
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS


class _Assertion(JWTBearerClientAssertion):  # type: ignore[misc]  # authlib is not typed
    CLIENT_AUTH_METHOD = Method.KEY_JWT.value

    def __init__(self, server: _Server) -> None:
        super().__init__(leeway=int(CLOCK_SKEW.total_seconds()))
        self._server = server

    def get_audiences(self) -> list[str]:
        """RFC 7523, section 3: the issuer or the token endpoint."""
        issuer = self._server.tokens.issuer
        return [issuer, issuer + TOKEN_PATH, issuer + REVOCATION_PATH]

    def resolve_client_public_key(self, client: _Client) -> KeySet:
        return key_set(client.client.public_keys)

    def process_assertion_claims(self, assertion: str, resolve_key: KeySet) -> jwt.Claims:
        """As authlib's, but the algorithms are ours to say, and so is the time."""
        try:
            token = _decoded(assertion, resolve_key)
            jwt.JWTClaimsRegistry(
                now=int(self._server.now.timestamp()),
                leeway=self.leeway,
                iss={"essential": True},
                sub={"essential": True},
                aud={"essential": True, "values": self.get_audiences()},
                exp={"essential": True},
                jti={"essential": True},
            ).validate(token.claims)
        except (JoseError, ValueError, TypeError) as error:
            raise _ClientRefused(
                description=f"The assertion does not hold: {type(error).__name__}."
            ) from None
        claims = token.claims
        if claims["sub"] != claims["iss"]:
            raise _ClientRefused(description="Issuer and subject of the assertion differ.")
        self._note_use(claims)
        return claims

    def _note_use(self, claims: jwt.Claims) -> None:
        until = datetime.fromtimestamp(claims["exp"], UTC) + CLOCK_SKEW
        if until > self._server.now + LONGEST_ASSERTION + 2 * CLOCK_SKEW:
            raise _ClientRefused(description="The assertion lives for more than an hour.")
        jti = claims["jti"]
        if not 0 < len(jti) <= _LONGEST_JTI or not jti.isprintable():
            raise _ClientRefused(description="The jti is no short printable text.")
        self._server.assertion = UsedAssertion(jti, until)


def _decoded(assertion: str, keys: KeySet) -> jwt.Token:
    """By whichever of the client's keys it is signed with: one that had a single key named none,
    and goes on so while that is being replaced."""
    refused: Exception = ValueError("the client has no key")
    for key in keys.keys:
        try:
            return jwt.decode(assertion, key, algorithms=list(ASSERTION_ALGORITHMS))
        except (JoseError, ValueError, TypeError) as error:
            refused = error
    raise refused


class _ClientRefused(InvalidClientError):  # type: ignore[misc]  # authlib is not typed
    """A client that is told why in words of ours."""


class _Token:
    """One of our access tokens as authlib asks about it."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    def check_client(self, client: _Client) -> bool:
        return self.identity.client_id == client.client.client_id


class _Revocation(RevocationEndpoint):  # type: ignore[misc]  # authlib is not typed
    CLIENT_AUTH_METHODS = METHODS

    def check_params(self, request: _Request, client: _Client) -> None:
        if not request.form.get("token"):
            raise InvalidRequestError("Missing 'token' in request.")

    def query_token(self, token_string: str, _: str | None) -> _Token | None:
        try:
            return _Token(self.server.tokens.verifier.peek(token_string))
        except TokenRefused:
            return None

    def revoke_token(self, token: _Token, _: _Request) -> None:
        self.server.revoked = token.identity


class _Server(AuthorizationServer):  # type: ignore[misc]  # authlib is not typed
    """One request's server: it knows the one client that the request claims to come from."""

    def __init__(
        self,
        tokens: TokenServer,
        client: Client | None,
        secret_ok: bool,
        now: datetime,
        certificate: str | None,
    ) -> None:
        super().__init__(scopes_supported=(*SCOPES, READ_SCOPE))
        self.tokens = tokens
        self.now = now
        self.assertion: UsedAssertion | None = None
        self.revoked: Identity | None = None
        self._client = None if client is None else _Client(client, secret_ok)
        self._certificate = certificate
        self.register_client_auth_method(Method.KEY_JWT.value, _Assertion(self))
        for method in BY_CERTIFICATE:
            self.register_client_auth_method(method.value, self._by_certificate)
        self.register_grant(_Grant)
        self.register_endpoint(_Revocation)
        self.register_token_generator("default", self._token)

    def query_client(self, client_id: str) -> _Client | None:
        known = self._client
        return known if known is not None and known.get_client_id() == client_id else None

    def _by_certificate(self, query: Callable[[str], Any], request: _Request) -> _Client | None:
        """RFC 8705, section 2: the client that it says it is shows a certificate of that one's."""
        client: _Client | None = query(request.form.get("client_id", ""))
        shown = client is not None and client.client.shows(self._certificate)
        return client if shown else None

    def save_token(self, token: Mapping[str, Any], request: _Request) -> None:
        """A token is a signed text; nothing of it is kept."""

    def send_signal(self, name: str, *_: Any, **__: Any) -> None:
        """Nobody in this process listens to authlib's signals."""

    def handle_error_response(self, request: _Request, error: OAuth2Error) -> OAuthAnswer:
        if type(error) is InvalidClientError:
            error.description = (
                "There is no such client, or what it shows is not what is registered for it: "
                "its secret, an assertion signed with its key, or its certificate."
            )
        answer: OAuthAnswer = super().handle_error_response(request, error)
        return answer

    def create_oauth2_request(self, request: _Request) -> _Request:
        return request

    def handle_response(
        self, status: int, body: Mapping[str, Any], headers: list[tuple[str, str]]
    ) -> OAuthAnswer:
        return OAuthAnswer(status, body, dict(headers))

    def _token(self, *, client: _Client, scope: str | None, **_: Any) -> dict[str, Any]:
        granted = client.get_allowed_scope(scope)
        bound = self._certificate if client.client.certificates else None
        if client.client.certificates and not client.client.shows(bound):
            raise _ClientRefused(
                status_code=401,
                description="The connection shows no certificate of this client.",
            )
        return {
            "access_token": self.tokens.mint(client.client, granted, self.now, bound),
            "token_type": "Bearer",
            "expires_in": int(self.tokens.lifetime.total_seconds()),
            "scope": granted,
        }
