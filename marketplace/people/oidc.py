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
from joserfc.jwk import JWKRegistry, KeySet

from kit.outside_client import beginning_of
from kit.outside_url import BadUrl, check_url
from marketplace.people.model import LoginRefused, ProviderAway

ALGORITHMS = ("RS256", "PS256", "ES256", "ES384", "Ed25519")
CALLBACK_PATH = "/marketplace/people/oidc/callback"
LONGEST_ANSWER = 256 * 1024
TIMEOUT_S = 10.0
# Keys and addresses of a provider change; so often they are looked up anew.
LOOK_AGAIN_S = 600.0
_LEEWAY_S = 60
_LATER = "try again shortly, or log in by password and code"
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
LONGEST_SUBJECT = 255
# What joserfc and what it builds on raise for documents that follow no rule.
_NO_SUCH_THING = (JoseError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError)


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
            raise self._away(
                "gives no ID token",
                field="id_token",
                rule="a token endpoint that answers the scope `openid` with an id_token",
            )
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
        except _NO_SUCH_THING as error:
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
        subject = claims["sub"]
        if not (isinstance(subject, str) and subject.isascii() and subject.isprintable()) or (
            len(subject) > LONGEST_SUBJECT
        ):
            raise LoginRefused(
                "the ID token names nobody",
                field="sub",
                rule=f"at most {LONGEST_SUBJECT} printable ASCII characters",
            )
        return claims

    async def _decoded(self, token: str) -> jwt.Token:
        if self._keys is not None:
            try:
                return jwt.decode(token, self._keys, algorithms=list(ALGORITHMS))
            except _NO_SUCH_THING:
                # A key that is new since we looked, or no key of theirs at all.
                self._looked_s = 0.0
        configuration = await self._configured()
        self._keys = self._keys_in(await self._ask("GET", str(configuration["jwks_uri"])))
        return jwt.decode(token, self._keys, algorithms=list(ALGORITHMS))

    async def _configured(self) -> Mapping[str, Any]:
        """What the provider tells of itself (OpenID Connect Discovery 1.0)."""
        if self._configuration and time.monotonic() - self._looked_s < LOOK_AGAIN_S:
            return self._configuration
        told = await self._ask("GET", self.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if told.get("issuer") != self.issuer:
            raise self._away("calls itself another", field="issuer", rule=f"issuer {self.issuer}")
        for name in _ENDPOINTS:
            try:
                check_url(str(told.get(name)), allow_loopback=True, field=name)
            except BadUrl as error:
                raise self._away(
                    f"does not tell where its {name} is", field=name, rule=error.rule
                ) from None
        self._configuration, self._looked_s = told, time.monotonic()
        return told

    def _keys_in(self, told: Mapping[str, Any]) -> KeySet:
        """The keys that can be used. A kind that is not understood is no reason to use none of them
        (RFC 7517, section 5)."""
        listed, usable = told.get("keys"), []
        for one in listed if isinstance(listed, list) else ():
            try:
                usable.append(JWKRegistry.import_key(one))
            except _NO_SUCH_THING:
                continue
        if not usable:
            raise self._away(
                "publishes no key by which its ID tokens could be checked",
                field="jwks_uri",
                rule=f"a JWK set with keys for one of {', '.join(ALGORITHMS)}",
            )
        return KeySet(usable)

    async def _ask(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        try:
            async with self._session.request(
                method, url, allow_redirects=False, **more
            ) as response:
                content = await beginning_of(response, LONGEST_ANSWER + 1, within_s=TIMEOUT_S)
                status = response.status
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise self._away(f"does not answer: {type(error).__name__}", rule=_LATER) from None
        if method == "POST" and status in (400, 401):
            raise LoginRefused("the provider refuses this log-in", rule="begin again")
        if status != 200:
            raise self._away(f"answers {status}", rule=_LATER)
        try:
            told = msgspec.json.decode(content)
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict):
            raise self._away(
                "answers with no JSON object",
                rule=f"a JSON object in UTF-8 of at most {LONGEST_ANSWER} bytes",
            )
        return told

    def _away(self, what: str, *, rule: str | None, field: str = "issuer") -> ProviderAway:
        """The provider by its name, for whoever runs it to find what is wrong there."""
        return ProviderAway(
            f"the OpenID provider {what}", field=field, value=self.issuer, rule=rule
        )
