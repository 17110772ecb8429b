"""Whom an access token stands for, told in microseconds once it has been verified.

A token is a JWT of the profile RFC 9068: `at+jwt`, ES256, and besides its claims `party` and
`roles`; `env` where it is for trying things out. The signature is checked once; after that the
token's text is looked up, and only what can change is looked at again: its expiry, its revocation,
and the revocation of its client.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from kit.clock import Clock
from roaming.party import PartyId
from roaming.refusal import Refusal, Unauthenticated

ALGORITHM = "ES256"
TOKEN_TYPE = "at+jwt"
LIVE, SANDBOX = "live", "sandbox"
THUMBPRINT = "x5t#S256"
"""By what a token names the certificate that it is bound to (RFC 8705, section 3.1)."""
LONGEST_TOKEN = 8 * 1024


_NEW_ONE = "a new token from /oauth/token"


class TokenRefused(Unauthenticated):
    """The access token is not ours, not whole, expired or revoked."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a token stands for, and until when.

    `sandbox`: what it calls is tried out. `certificate`: the thumbprint of the one that its bearer
    has to show; None: it is good for whoever has it. `person`: whose log-in it is, with what that
    one may do at the party, and since when it is logged in; None: it is a program's.
    """

    party: PartyId
    roles: frozenset[str]
    client_id: str
    scopes: frozenset[str]
    token_id: str
    issued_at: datetime
    expires_at: datetime
    sandbox: bool = False
    certificate: str | None = None
    person: str | None = None
    duties: frozenset[str] = frozenset()
    logged_in_at: datetime | None = None


class Verifier:
    """Verifies tokens of one issuer for one audience, against keys that others bring and renew."""

    def __init__(
        self, issuer: str, audience: str, clock: Clock, *, most_remembered: int = 20_000
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._most = most_remembered
        self._keys: dict[str, ECKey] = {}
        self._verified: dict[str, Identity] = {}
        self._revoked: dict[str, datetime] = {}
        self._clients: dict[str, datetime] = {}

    def set_keys(self, public_keys: Iterable[Mapping[str, Any]]) -> None:
        """Replace all keys by these public JWKs, each with its `kid`.

        Tokens of a key that is no longer among them are refused from now on.
        """
        keys: dict[str, ECKey] = {}
        for jwk in public_keys:
            kid = str(jwk["kid"])
            keys[kid] = self._keys.get(kid) or ECKey.import_key(dict(jwk))
        if self._keys.keys() - keys.keys():
            self._verified.clear()
        self._keys = keys

    def revoke_jti(self, jti: str, until: datetime) -> None:
        """Refuse the token with this `jti`; it may be forgotten when the token would expire."""
        self._revoked[jti] = until

    def revoke_client(self, client_id: str, issued_before: datetime) -> None:
        """Refuse every token that this client got before a moment."""
        known = self._clients.get(client_id)
        self._clients[client_id] = issued_before if known is None else max(known, issued_before)

    def forget_expired(self) -> None:
        """Drop what no longer matters; call it now and then."""
        now = self._clock()
        self._revoked = {jti: until for jti, until in self._revoked.items() if until > now}
        self._verified = {
            token: identity
            for token, identity in self._verified.items()
            if identity.expires_at > now
        }

    def verify(self, token: str) -> Identity:
        """The token's identity; TokenRefused (Unauthenticated) says why there is none."""
        identity = self._verified.get(token)
        if identity is None:
            identity = self._read(token, self._clock())
            self._remember(token, identity)
        elif identity.expires_at <= self._clock():
            del self._verified[token]
            raise TokenRefused("the access token has expired", rule=_NEW_ONE)
        if identity.token_id in self._revoked:
            raise TokenRefused("the access token was revoked", rule=_NEW_ONE)
        if self._clients:
            cut = self._clients.get(identity.client_id)
            if cut is not None and identity.issued_at < cut:
                raise TokenRefused("the client's tokens were revoked", rule=_NEW_ONE)
        return identity

    def peek(self, token: str) -> Identity:
        """As `verify`, but a revoked token counts too: for whoever revokes it once more."""
        return self._verified.get(token) or self._read(token, self._clock())

    def _read(self, token: str, now: datetime) -> Identity:
        if len(token) > LONGEST_TOKEN:
            raise TokenRefused("the access token is too long", rule=f"at most {LONGEST_TOKEN}")
        try:
            # The algorithm is ours to say, never the token's: no `none`, no HMAC with a public key.
            decoded = jwt.decode(token, self._key_of, algorithms=[ALGORITHM])
        except (JoseError, ValueError, TypeError) as error:
            raise TokenRefused(
                f"the access token is not one of ours: {_told(error)}", rule=_NEW_ONE
            ) from None
        if decoded.header.get("typ") not in (TOKEN_TYPE, f"application/{TOKEN_TYPE}"):
            raise TokenRefused("the token is no access token", field="typ", rule=TOKEN_TYPE)
        claims = jwt.JWTClaimsRegistry(
            now=int(now.timestamp()),
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._audience},
            exp={"essential": True},
            sub={"essential": True},
            jti={"essential": True},
        )
        try:
            # A token of another process may be "from the future" by its clock: expiry alone counts.
            claims.validate({k: v for k, v in decoded.claims.items() if k != "iat"})
            return _identity(decoded.claims)
        except (JoseError, Refusal, KeyError, TypeError, ValueError) as error:
            raise TokenRefused(
                f"the access token does not hold: {_told(error)}", rule=_NEW_ONE
            ) from None

    def _key_of(self, token: Any) -> ECKey:
        kid = token.headers().get("kid")
        key = self._keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise ValueError("signed with a key that we do not publish")
        return key

    def _remember(self, token: str, identity: Identity) -> None:
        if len(self._verified) >= self._most:
            self.forget_expired()
        while len(self._verified) >= self._most:
            del self._verified[next(iter(self._verified))]
        self._verified[token] = identity


def _identity(claims: Mapping[str, Any]) -> Identity:
    roles = claims["roles"]
    if not isinstance(roles, list):
        raise TypeError("roles must be a list")
    environment = claims.get("env", LIVE)
    if environment not in (LIVE, SANDBOX):
        raise ValueError("env is neither live nor sandbox")
    return Identity(
        party=PartyId(claims["party"]),
        roles=frozenset(str(role) for role in roles),
        client_id=str(claims["client_id"]),
        scopes=frozenset(str(claims.get("scope", "")).split()),
        token_id=claims["jti"],
        issued_at=datetime.fromtimestamp(claims["iat"], UTC),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        sandbox=environment == SANDBOX,
        certificate=_bound_to(claims["cnf"]) if "cnf" in claims else None,
        person=str(claims["person"]) if "person" in claims else None,
        duties=frozenset(str(duty) for duty in claims.get("duties", ())),
        logged_in_at=(
            datetime.fromtimestamp(claims["auth_time"], UTC) if "auth_time" in claims else None
        ),
    )


def _bound_to(confirmation: object) -> str:
    """A confirmation (RFC 7800) that we cannot check is not one to pass over."""
    if not isinstance(confirmation, dict) or confirmation.keys() != {THUMBPRINT}:
        raise ValueError(f"cnf is something else than {THUMBPRINT}")
    return str(confirmation[THUMBPRINT])


def _told(error: Exception) -> str:
    """What is wrong, without a word of the token itself."""
    return str(getattr(error, "description", "")) or type(error).__name__
