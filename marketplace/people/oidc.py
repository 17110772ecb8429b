"""An OpenID provider as its client sees it: discovery, authorisation code, ID token (OpenID Connect
Core 1.0, sections 3.1.2 and 3.1.3)."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote_plus, urlencode

import aiohttp
import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from kit.outside_url import check_url
from marketplace.people.model import LoginRefused, ProviderAway

ALGORITHMS = ("RS256", "PS256", "ES256", "ES384", "Ed25519")
CALLBACK_PATH = "/marketplace/people/oidc/callback"
LONGEST_ANSWER = 256 * 1024
TIMEOUT_S = 10.0
# Keys and addresses of a provider change; so often they are looked up anew.
LOOK_AGAIN_S = 600.0
_LEEWAY_S = 60


@dataclass(frozen=True, slots=True)
class Registration:
    """The hub as the provider knows it."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)


def _basic(registered: Registration) -> str:
    """Both parts form-encoded first, so that a colon in one does no harm (RFC 6749, 2.3.1)."""
    pair = f"{quote_plus(registered.client_id)}:{quote_plus(registered.client_secret)}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


class OpenIdProvider:
    """Make it with `open`, in a running loop; then `close`."""

    def __init__(
        self, registered: Registration, redirect_uri: str, session: aiohttp.ClientSession
    ) -> None:
        self._registered = registered
        self._redirect_uri = redirect_uri
        self._session = session
        self._configuration: Mapping[str, Any] = {}
        self._keys: KeySet | None = None
        self._looked_s = 0.0

    @classmethod
    def open(cls, registered: Registration, public_url: str) -> OpenIdProvider:
        """The hub's operator has named the provider: it may be inside the operator's own network.
        BadUrl for an issuer that is none."""
        check_url(registered.issuer, allow_loopback=True, field="--oidc-issuer")
        session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), cookie_jar=aiohttp.DummyCookieJar()
        )
        return cls(registered, public_url + CALLBACK_PATH, session)

    async def close(self) -> None:
        await self._session.close()

    @property
    def issuer(self) -> str:
        return self._registered.issuer

    async def authorization_url(self, *, state: str, nonce: str, challenge: str) -> str:
        configuration = await self._configured()
        endpoint = str(configuration["authorization_endpoint"])
        asked = {
            "response_type": "code",
            "client_id": self._registered.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": "openid email",
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    async def claims(
        self, code: str, *, verifier: str, nonce: str, now: datetime
    ) -> Mapping[str, Any]:
        configuration = await self._configured()
        registered = self._registered
        answer = await self._ask(
            "POST",
            str(configuration["token_endpoint"]),
            data={
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": self._redirect_uri,
                "code_verifier": verifier,
            },
            headers={"Authorization": _basic(registered)},
        )
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise LoginRefused("the provider gave no ID token", rule="begin again")
        return await self._checked(token, nonce, now)

    async def _checked(self, token: str, nonce: str, now: datetime) -> Mapping[str, Any]:
        try:
            decoded = await self._decoded(token)
            jwt.JWTClaimsRegistry(
                now=int(now.timestamp()),
                leeway=_LEEWAY_S,
                iss={"essential": True, "value": self.issuer},
                aud={"essential": True, "value": self._registered.client_id},
                exp={"essential": True},
                iat={"essential": True},
                sub={"essential": True},
                nonce={"essential": True, "value": nonce},
            ).validate(decoded.claims)
        except (JoseError, ValueError, TypeError) as error:
            raise LoginRefused(
                f"the provider's ID token does not hold: {type(error).__name__}",
                field="id_token",
                rule="begin again",
            ) from None
        claims: Mapping[str, Any] = decoded.claims
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else self._registered.client_id) != (
            self._registered.client_id
        ):
            raise LoginRefused("the ID token was made for another client", field="azp")
        return claims

    async def _decoded(self, token: str) -> jwt.Token:
        if self._keys is not None:
            try:
                return jwt.decode(token, self._keys, algorithms=list(ALGORITHMS))
            except (JoseError, ValueError):
                # A key that is new since we looked, or no key of theirs at all.
                self._looked_s = 0.0
        configuration = await self._configured()
        self._keys = KeySet.import_key_set(
            {"keys": (await self._ask("GET", str(configuration["jwks_uri"])))["keys"]}
        )
        return jwt.decode(token, self._keys, algorithms=list(ALGORITHMS))

    async def _configured(self) -> Mapping[str, Any]:
        """What the provider tells of itself (OpenID Connect Discovery 1.0)."""
        if self._configuration and time.monotonic() - self._looked_s < LOOK_AGAIN_S:
            return self._configuration
        told = await self._ask("GET", self.issuer.rstrip("/") + "/.well-known/openid-configuration")
        needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        if told.get("issuer") != self.issuer or any(
            not isinstance(told.get(name), str) for name in needed
        ):
            raise ProviderAway(
                "the OpenID provider does not tell what it should",
                field="issuer",
                rule=f"an issuer {self.issuer} with {', '.join(needed)}",
            )
        self._configuration, self._looked_s = told, time.monotonic()
        return told

    async def _ask(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        try:
            async with self._session.request(
                method, url, allow_redirects=False, **more
            ) as response:
                content = await response.content.read(LONGEST_ANSWER)
                status = response.status
            told = msgspec.json.decode(content)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise ProviderAway(
                f"the OpenID provider does not answer: {type(error).__name__}",
                rule="try again shortly, or log in by password and code",
            ) from None
        if status == 400 or (status == 401 and method == "POST"):
            raise LoginRefused("the provider refuses this log-in", rule="begin again")
        if status != 200 or not isinstance(told, dict):
            raise ProviderAway(f"the OpenID provider answers {status}", rule="try again shortly")
        return told
