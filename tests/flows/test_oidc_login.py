"""A person logs in at an OpenID provider: a real one on a socket, with signatures of its own."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlsplit

import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey

from gridroam.settings import Oidc
from kit.clock import utc_now
from marketplace.people.entry import MOST_AT_PROVIDER
from tests.flows.people import LOGIN, invited, joined
from tests.hub import Answer, Came, Hub, Partner, Server, running, server

DISCOVERY = "/.well-known/openid-configuration"
CLIENT_ID, CLIENT_SECRET = "gridroam", "s3cret of the hub's"


@dataclass(slots=True)
class Provider:
    """An OpenID provider. `user` is who is logged in there; `changed` spoils its ID tokens, and
    `instead` is what it answers at a path in place of what it should."""

    place: Server
    url: str = ""
    user: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, Any] = field(default_factory=dict)
    signs: ECKey = field(default_factory=lambda: _key("k1"))
    shows: list[ECKey] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    instead: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path in self.instead:
            status, body = self.instead[request.path]
            return web.Response(status=status, body=body)
        if request.path == DISCOVERY:
            return web.json_response(self.tells())
        if request.path == "/keys":
            keys = self.shows or [self.signs]
            return web.json_response({"keys": [one.as_dict(private=False) for one in keys]})
        if request.path == "/token":
            return self._token(self.place.came[-1])
        return web.Response(status=404)

    def tells(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        }

    def consents(self, url: str) -> tuple[str, str]:
        """What its page does when the user agrees: (state, code) for the way back."""
        asked = {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}
        assert asked["client_id"] == CLIENT_ID
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert asked["redirect_uri"] == f"http://hub.test{LOGIN}/oidc/callback"
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        return asked["state"], code

    def _token(self, came: Came) -> web.Response:
        form = {name: value for name, (value,) in parse_qs(came.content.decode()).items()}
        told = base64.b64decode(came.headers["Authorization"].removeprefix("Basic ")).decode()
        asked = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != challenge:
            return web.json_response({"error": "invalid_grant"}, status=400)
        if unquote_plus(told) != f"{CLIENT_ID}:{CLIENT_SECRET}":
            return web.json_response({"error": "invalid_client"}, status=401)
        now = int(utc_now().timestamp())
        claims = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.user,
            **self.changed,
        }
        header = {"alg": "ES256", "kid": self.signs.kid}
        token = jwt.encode(header, claims, self.signs, algorithms=["ES256"])
        return web.json_response({"access_token": "x", "token_type": "Bearer", "id_token": token})


def _key(kid: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": "ES256"})


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with server() as place:
        found = Provider(place, place.url)
        place.behaviour = found
        yield found


@pytest.fixture
async def hub(provider: Provider, database_url: str, tmp_path: Path) -> AsyncIterator[Hub]:
    secret = tmp_path / "oidc-secret"
    secret.write_text(f"{CLIENT_SECRET}\n")
    oidc = Oidc(provider.url, CLIENT_ID, secret)
    async with running(database_url, tmp_path / "home", oidc=oidc) as found:
        yield found


@pytest.fixture
async def partner(hub: Hub) -> Partner:
    return await hub.partner("FR*PD1", "evse-operator")


def browser(partner: Partner) -> Partner:
    """Somebody without a token; cookies are the client's."""
    return Partner(partner.party, "", "", partner.http)


async def begins(partner: Partner) -> str:
    """Where the browser is sent."""
    answer = await browser(partner).call("GET", f"{LOGIN}/oidc/login?party=FR*PD1")
    assert answer.status == 303
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    return answer.headers["location"]


async def comes_back(partner: Partner, state: str, code: str) -> Answer:
    return await browser(partner).call("GET", f"{LOGIN}/oidc/callback?state={state}&code={code}")


async def logs_in(partner: Partner, provider: Provider) -> Answer:
    return await comes_back(partner, *provider.consents(await begins(partner)))


async def test_who_was_invited_joins_by_its_verified_address_and_is_known_by_its_subject_then(
    hub: Hub, partner: Partner, provider: Provider
) -> None:
    told = await invited(partner, "ada@pointdujour.example", "contracts")
    provider.user = {"sub": "u-1", "email": "Ada@PointDuJour.example", "email_verified": True}
    session = await logs_in(partner, provider)
    assert session.status == 200
    person = session.body["person"]
    assert person["person_id"] == told["person"]["person_id"]
    assert (person["status"], person["duties"]) == ("active", ["contracts"])
    ada = browser(partner)
    ada.token = session.body["access_token"]
    assert (await ada.get(f"{LOGIN}/me"))["oidc"] is True
    # The address may change there; who it is does not.
    provider.user = {"sub": "u-1"}
    again = await logs_in(partner, provider)
    assert again.body["person"]["person_id"] == person["person_id"]
    # And whoever gets the address later is not the one who had it.
    provider.user = {"sub": "u-2", "email": "ada@pointdujour.example", "email_verified": True}
    no = await logs_in(partner, provider)
    assert (no.status, no.problem) == (401, "login-refused")
    # The invitation was used up with it.
    taken = {"token": told["token"], "password": "grasshopper tuba lantern"}
    assert (await ada.call("POST", f"{LOGIN}/accept", taken)).status == 401


async def test_an_address_that_nobody_has_verified_or_invited_opens_nothing(
    hub: Hub, partner: Partner, provider: Provider
) -> None:
    await invited(partner, "ada@pointdujour.example", "admin")
    for user in (
        {"sub": "u-1", "email": "ada@pointdujour.example"},
        {"sub": "u-1", "email": "ada@pointdujour.example", "email_verified": False},
        {"sub": "u-1", "email": "ada@pointdujour.example", "email_verified": "true"},
        {"sub": "u-1", "email": "eve@pointdujour.example", "email_verified": True},
        {"sub": "u-1", "email_verified": True},
    ):
        provider.user = user
        assert (await logs_in(partner, provider)).status == 401, user


async def test_an_id_token_that_does_not_hold_opens_nothing(
    hub: Hub, partner: Partner, provider: Provider
) -> None:
    await invited(partner, "ada@pointdujour.example", "admin")
    provider.user = {"sub": "u-1", "email": "ada@pointdujour.example", "email_verified": True}
    past = int(utc_now().timestamp()) - 3600
    for changed in (
        {"iss": "https://elsewhere.example"},
        {"aud": "another-client"},
        {"aud": ["another-client", CLIENT_ID]},
        {"aud": [CLIENT_ID, "another-client"], "azp": "another-client"},
        {"nonce": "of another log-in"},
        {"exp": past},
        {"exp": 1e400},
        {"sub": {"a": "dictionary"}},
        {"sub": "nobody\0"},
        {"sub": "u" * 256},
    ):
        provider.changed = changed
        no = await logs_in(partner, provider)
        assert (no.status, no.problem) == (401, "login-refused"), changed
    provider.changed = {}
    honest = provider.signs
    provider.signs, provider.shows = _key("k1"), [honest]
    assert (await logs_in(partner, provider)).status == 401, "signed by a key that is not theirs"
    # A key that is new since the hub looked is found by looking again.
    provider.signs = _key("k2")
    provider.shows = [honest, provider.signs]
    assert (await logs_in(partner, provider)).status == 200


async def test_the_way_back_is_gone_once_by_the_browser_that_began_it(
    hub: Hub, partner: Partner, provider: Provider
) -> None:
    await invited(partner, "ada@pointdujour.example", "admin")
    provider.user = {"sub": "u-1", "email": "ada@pointdujour.example", "email_verified": True}
    state, code = provider.consents(await begins(partner))
    assert (await comes_back(partner, "guessed", code)).status == 401
    # Somebody is sent by another to finish the other's log-in: without the cookie it is nobody's.
    hub.http.cookies.clear()
    assert (await comes_back(partner, state, code)).status == 401
    assert (await logs_in(partner, provider)).status == 200
    state, code = provider.consents(await begins(partner))
    assert (await comes_back(partner, state, code)).status == 200
    assert (await comes_back(partner, state, code)).status == 401


async def test_one_with_a_password_may_come_either_way(
    hub: Hub, partner: Partner, provider: Provider
) -> None:
    ada = await joined(partner, "ada@pointdujour.example", "admin")
    provider.user = {"sub": "u-1", "email": "ada@pointdujour.example", "email_verified": True}
    assert (await logs_in(partner, provider)).body["person"]["person_id"] == ada.person_id
    assert (await ada.log_in()).status == 200


async def test_a_discovery_document_that_is_none_is_the_providers_fault_and_says_what_is_wrong(
    hub: Hub, partner: Partner, provider: Provider
) -> None:
    honest = provider.tells()
    deep = b"[" * 200_000
    for told, member, rule in (
        (honest | {"issuer": "https://elsewhere.example"}, "issuer", f"issuer {provider.url}"),
        (honest | {"authorization_endpoint": None}, "authorization_endpoint", "http or https"),
        (honest | {"authorization_endpoint": "javascript:1"}, "authorization_endpoint", "https"),
        (honest | {"token_endpoint": ["/token"]}, "token_endpoint", "absolute"),
        (honest | {"jwks_uri": "keys"}, "jwks_uri", "absolute"),
        ([honest], "issuer", "a JSON object"),
        (deep, "issuer", "a JSON object"),
        (b"\xff", "issuer", "a JSON object"),
        (b'{"issuer": "' + b"x" * 300_000, "issuer", "at most 262144 bytes"),
    ):
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        provider.instead = {DISCOVERY: (200, body)}
        no = await browser(partner).call("GET", f"{LOGIN}/oidc/login?party=FR*PD1")
        assert (no.status, no.problem) == (503, "provider-away"), told
        assert (no.body["field"], no.body["value"]) == (member, provider.url)
        assert rule in no.body["rule"]
    for status in (302, 400, 401, 500):
        provider.instead = {DISCOVERY: (status, b"{}")}
        no = await browser(partner).call("GET", f"{LOGIN}/oidc/login?party=FR*PD1")
        assert (no.status, no.problem) == (503, "provider-away")
        assert str(status) in no.body["detail"]
    provider.instead = {}
    assert await begins(partner)


async def test_keys_and_answers_that_are_none_are_the_providers_fault(
    hub: Hub, partner: Partner, provider: Provider
) -> None:
    await invited(partner, "ada@pointdujour.example", "admin")
    provider.user = {"sub": "u-1", "email": "ada@pointdujour.example", "email_verified": True}
    broken: tuple[dict[str, Any], ...] = (
        *({}, {"keys": None}, {"keys": {}}, {"keys": []}, {"keys": ["k1"]}),
        {"keys": [{"kty": ["RSA"]}, {"kty": "EC", "crv": "nope", "x": "AA", "y": "AA"}]},
        {"keys": [{"kty": "RSA", "n": "", "e": ""}, {"kty": "later", "pub": "AA"}]},
    )
    for told in broken:
        provider.instead = {"/keys": (200, json.dumps(told).encode())}
        no = await logs_in(partner, provider)
        assert (no.status, no.problem) == (503, "provider-away"), told
        assert (no.body["field"], no.body["value"]) == ("jwks_uri", provider.url)
        assert "a JWK set" in no.body["rule"]
    for answer, member in ((b"{}", "id_token"), (b'{"id_token": 7}', "id_token"), (b"", "issuer")):
        provider.instead = {"/token": (200, answer)}
        no = await logs_in(partner, provider)
        assert (no.status, no.problem) == (503, "provider-away")
        assert (no.body["field"], no.body["value"]) == (member, provider.url)
    # Of an ID token that is none nobody knows whose fault it is.
    for token in ("", "a.b.c", "é", "eyJhbGciOiJub25lIn0.e30."):
        provider.instead = {"/token": (200, json.dumps({"id_token": token}).encode())}
        no = await logs_in(partner, provider)
        assert (no.status, no.problem) == (401, "login-refused"), token
    # One key that nobody understands does no harm to the others.
    keys = [*broken[-2]["keys"], provider.signs.as_dict(private=False)]
    provider.instead = {"/keys": (200, json.dumps({"keys": keys}).encode())}
    assert (await logs_in(partner, provider)).status == 200


async def test_an_address_that_begins_again_and_again_waits(
    hub: Hub, partner: Partner, provider: Provider
) -> None:
    state, code = provider.consents(await begins(partner))
    first = len(provider.place.came)
    answers = [
        await browser(partner).call("GET", f"{LOGIN}/oidc/login?party=FR*PD1")
        for _ in range(MOST_AT_PROVIDER + 1)
    ]
    assert [one.status for one in answers] == [303] * (MOST_AT_PROVIDER - 1) + [429] * 2
    assert answers[-1].problem == "too-many-attempts"
    assert answers[-1].body["rule"].startswith("again in ")
    # Nor is anything taken up, or asked of the provider, for a way back meanwhile.
    assert (await comes_back(partner, state, code)).status == 429
    assert len(provider.place.came) == first


async def test_a_way_back_that_is_guessed_is_counted(hub: Hub, partner: Partner) -> None:
    answers = [await comes_back(partner, f"guess-{n}", "x") for n in range(MOST_AT_PROVIDER + 1)]
    assert [one.status for one in answers] == [401] * MOST_AT_PROVIDER + [429]
