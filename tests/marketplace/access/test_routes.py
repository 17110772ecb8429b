"""OAuth 2 over HTTP: every way of authentication, and every way to be refused."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from authlib.oauth2.rfc7523 import private_key_jwt_sign
from httpx import AsyncClient, Response
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from kit.access_token import TokenRefused
from tests.marketplace.fakes import EVSP, ISSUER, NOW, OPERATOR, HandClock, Member, join, until
from tests.marketplace.whole import Marketplace

GRANT = {"grant_type": "client_credentials"}
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TOKEN_URL = f"{ISSUER}/oauth/token"


def assertion(key: Any, client_id: str, *, alg: str = "ES256", **other: Any) -> str:
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": TOKEN_URL,
        "exp": int((NOW + timedelta(minutes=5)).timestamp()),
        "jti": "one",
    } | other
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({"alg": alg}, claims, key, algorithms=[alg])


async def ask(client: AsyncClient, signed: str, **other: str) -> Response:
    form = GRANT | {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed}
    return await client.post("/oauth/token", data=form | other)


async def key_client(member: Member, key: ECKey | RSAKey | OKPKey) -> str:
    answer = await member.http.post(
        f"/marketplace/partners/{member.party}/clients",
        json={"jwks": {"keys": [key.as_dict(private=False)]}},
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["client_id"])


async def test_a_secret_in_the_header_gets_a_token_that_says_who_calls(
    market: Marketplace, operator: Member, client: AsyncClient
) -> None:
    answer = await client.post(
        "/oauth/token", data=GRANT, auth=(operator.client_id, operator.client_secret)
    )
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert (told["token_type"], told["expires_in"]) == ("Bearer", 900)
    identity = market.verifier.verify(told["access_token"])
    assert identity.party == OPERATOR
    assert identity.roles == {"evse-operator"}
    assert identity.scopes == {"events", "marketplace", "services"}
    header = json.loads(base64.urlsafe_b64decode(told["access_token"].split(".")[0] + "=="))
    assert (header["alg"], header["typ"]) == ("ES256", "at+jwt")


async def test_a_secret_in_the_body_gets_a_token(operator: Member, client: AsyncClient) -> None:
    form = GRANT | {"client_id": operator.client_id, "client_secret": operator.client_secret}
    answer = await client.post("/oauth/token", data=form | {"scope": "services"})
    assert answer.status_code == 200
    assert answer.json()["scope"] == "services"


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        (ECKey.generate_key("P-256"), "ES256"),
        (ECKey.generate_key("P-384"), "ES384"),
        (RSAKey.generate_key(2048), "RS256"),
        (RSAKey.generate_key(2048), "PS256"),
        (OKPKey.generate_key("Ed25519"), "Ed25519"),
    ],
    ids=["ES256", "ES384", "RS256", "PS256", "Ed25519"],
)
async def test_a_key_of_the_clients_own_gets_a_token(
    key: Any, alg: str, market: Marketplace, operator: Member, client: AsyncClient
) -> None:
    client_id = await key_client(operator, key)
    answer = await ask(client, assertion(key, client_id, alg=alg))
    assert answer.status_code == 200, answer.text
    assert market.verifier.verify(answer.json()["access_token"]).client_id == client_id


async def test_authlibs_own_client_is_understood(
    operator: Member, client: AsyncClient, clock: HandClock
) -> None:
    key = ECKey.generate_key("P-256", {"kid": "mine"})
    client_id = await key_client(operator, key)
    signed = private_key_jwt_sign(
        key,
        client_id,
        TOKEN_URL,
        alg="ES256",
        header={"alg": "ES256", "kid": "mine"},
        issued_at=int(NOW.timestamp()),
        expires_in=300,
    )
    assert (await ask(client, signed)).status_code == 200


async def test_a_wrong_secret_and_an_unknown_client_are_told_the_same(
    operator: Member, client: AsyncClient
) -> None:
    known = await client.post("/oauth/token", data=GRANT, auth=(operator.client_id, "guess"))
    unknown = await client.post("/oauth/token", data=GRANT, auth=("nobody", "guess"))
    assert known.json() == unknown.json()
    assert "its secret" in known.json()["error_description"]


async def test_an_assertion_is_good_once(operator: Member, client: AsyncClient) -> None:
    key = ECKey.generate_key("P-256")
    client_id = await key_client(operator, key)
    signed = assertion(key, client_id)
    assert (await ask(client, signed)).status_code == 200
    again = await ask(client, signed)
    assert (again.status_code, again.json()["error"]) == (401, "invalid_client")
    assert (await ask(client, assertion(key, client_id, jti="two"))).status_code == 200


WRONG_CLAIMS: list[dict[str, Any]] = [
    {"aud": "https://other.example/token"},
    {"iss": "somebody-else"},
    {"exp": int((NOW - timedelta(minutes=2)).timestamp())},
    {"exp": int((NOW + timedelta(days=2)).timestamp())},
    {"exp": None},
    {"jti": None},
    {"jti": ""},
    {"jti": "x" * 300},
    {"jti": "\x00"},
    {"sub": None},
    {"sub": 7},
    {"nbf": int((NOW + timedelta(minutes=10)).timestamp())},
]


async def test_an_assertion_that_does_not_hold_is_refused(
    operator: Member, client: AsyncClient
) -> None:
    key = ECKey.generate_key("P-256")
    client_id = await key_client(operator, key)
    for wrong in WRONG_CLAIMS:
        answer = await ask(client, assertion(key, client_id, **wrong))
        assert answer.status_code in (400, 401, 429), wrong
        assert "access_token" not in answer.json(), wrong
    good = assertion(key, client_id, jti="good")
    assert "access_token" not in (await ask(client, good + "x")).json()


async def test_an_assertion_signed_with_another_key_is_refused(
    operator: Member, client: AsyncClient
) -> None:
    client_id = await key_client(operator, ECKey.generate_key("P-256"))
    answer = await ask(client, assertion(ECKey.generate_key("P-256"), client_id))
    assert answer.json()["error"] == "invalid_client"


async def test_an_assertion_without_a_signature_is_refused(
    operator: Member, client: AsyncClient
) -> None:
    key = ECKey.generate_key("P-256")
    client_id = await key_client(operator, key)
    _, payload, _ = assertion(key, client_id).split(".")
    header = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    assert (await ask(client, f"{header}.{payload}.")).json()["error"] == "invalid_client"


async def test_a_client_uses_the_way_that_it_registered(
    operator: Member, client: AsyncClient
) -> None:
    client_id = await key_client(operator, ECKey.generate_key("P-256"))
    answer = await client.post("/oauth/token", data=GRANT, auth=(client_id, "anything"))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    key = ECKey.generate_key("P-256")
    by_key = await ask(client, assertion(key, operator.client_id))
    assert by_key.json()["error"] == "invalid_client"


async def test_a_wrong_client_or_secret_is_refused(operator: Member, client: AsyncClient) -> None:
    mine = operator.client_id
    wrongs = [("", "x"), ("nobody", "x"), ("frpd1-\x00", "x"), ("é", "x"), (mine, "no"), (mine, "")]
    for who, secret in wrongs:
        answer = await client.post("/oauth/token", data=GRANT, auth=(who, secret))
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), who
        assert answer.headers["www-authenticate"].startswith("Basic")
        in_body = GRANT | {"client_id": who, "client_secret": secret}
        answer = await client.post("/oauth/token", data=in_body)
        assert answer.json()["error"] == "invalid_client", who


UNREADABLE: list[tuple[dict[str, str], dict[str, str], str]] = [
    ({}, {}, "invalid_client"),
    (GRANT, {}, "invalid_client"),
    (GRANT, {"Authorization": "Basic !!!"}, "invalid_client"),
    (GRANT, {"Authorization": "Basic //79"}, "invalid_client"),
    (GRANT, {"Authorization": "Bearer abc"}, "invalid_client"),
    (GRANT | {"client_assertion": "a.b.c"}, {}, "invalid_client"),
    (GRANT | {"client_assertion_type": ASSERTION_TYPE}, {}, "invalid_client"),
    (
        GRANT | {"client_assertion_type": ASSERTION_TYPE, "client_assertion": "."},
        {},
        "invalid_client",
    ),
    (
        GRANT | {"client_id": "a", "client_secret": "b"},
        {"Authorization": "Basic YTpi"},
        "invalid_request",
    ),
]


async def test_what_cannot_be_read_is_refused_in_oauths_words(client: AsyncClient) -> None:
    for form, headers, error in UNREADABLE:
        answer = await client.post("/oauth/token", data=form, headers=headers)
        assert answer.status_code in (400, 401), (form, headers)
        assert answer.json()["error"] in (error, "invalid_request"), (form, headers)


async def test_a_form_is_a_form(client: AsyncClient) -> None:
    for content, kind in (
        (b'{"grant_type":"client_credentials"}', "application/json"),
        (b"grant_type=a&grant_type=b", "application/x-www-form-urlencoded"),
        (b"grant_type=%ff", "application/x-www-form-urlencoded"),
        (b"\xff", "application/x-www-form-urlencoded"),
    ):
        answer = await client.post("/oauth/token", content=content, headers={"content-type": kind})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_other_grants_and_scopes_are_refused(operator: Member, client: AsyncClient) -> None:
    who = (operator.client_id, operator.client_secret)
    for form, error in (
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"scope": "services"}, "unsupported_grant_type"),
        (GRANT | {"scope": "everything"}, "invalid_scope"),
        (GRANT | {"scope": '"\\é'}, "invalid_scope"),
    ):
        answer = await client.post("/oauth/token", data=form, auth=who)
        assert (answer.status_code, answer.json()["error"]) == (400, error)


async def test_too_many_failures_are_told_to_wait_and_lock_nobody_else_out(
    operator: Member, evsp: Member, client: AsyncClient, clock: HandClock
) -> None:
    for _ in range(10):
        await client.post("/oauth/token", data=GRANT, auth=(operator.client_id, "wrong"))
    held = await client.post(
        "/oauth/token", data=GRANT, auth=(operator.client_id, operator.client_secret)
    )
    assert held.status_code == 429
    assert 0 < int(held.headers["retry-after"]) <= 61
    other = await client.post("/oauth/token", data=GRANT, auth=(evsp.client_id, evsp.client_secret))
    assert other.status_code == 200
    clock.forward(seconds=61)
    again = await client.post(
        "/oauth/token", data=GRANT, auth=(operator.client_id, operator.client_secret)
    )
    assert again.status_code == 200


async def test_a_token_given_back_is_refused_in_every_process(
    market: Marketplace, second: Marketplace, operator: Member, client: AsyncClient
) -> None:
    token = operator.http.headers["Authorization"].removeprefix("Bearer ")
    second.verifier.verify(token)
    answer = await client.post(
        "/oauth/revoke", data={"token": token}, auth=(operator.client_id, operator.client_secret)
    )
    assert (answer.status_code, answer.json()) == (200, {})
    with pytest.raises(TokenRefused):
        market.verifier.verify(token)
    await until_refused(second, token)
    assert (await operator.http.get("/marketplace/partners")).status_code == 401


async def test_only_its_own_client_gives_a_token_back(
    market: Marketplace, operator: Member, evsp: Member, client: AsyncClient
) -> None:
    token = operator.http.headers["Authorization"].removeprefix("Bearer ")
    answer = await client.post(
        "/oauth/revoke", data={"token": token}, auth=(evsp.client_id, evsp.client_secret)
    )
    assert answer.status_code == 400
    market.verifier.verify(token)
    nothing = await client.post(
        "/oauth/revoke", data={"token": "x.y.z"}, auth=(evsp.client_id, evsp.client_secret)
    )
    assert nothing.status_code == 200
    assert (await client.post("/oauth/revoke", data={"token": token})).status_code == 401


async def test_a_revoked_client_is_out_with_all_its_tokens(
    market: Marketplace,
    second: Marketplace,
    operator: Member,
    client: AsyncClient,
    clock: HandClock,
) -> None:
    key = ECKey.generate_key("P-256")
    client_id = await key_client(operator, key)
    token = (await ask(client, assertion(key, client_id))).json()["access_token"]
    clients = f"/marketplace/partners/{OPERATOR}/clients"
    assert client_id in [c["client_id"] for c in (await operator.http.get(clients)).json()]
    # A moment later: what was issued in the same second as the revocation is refused too.
    clock.forward(seconds=1)
    assert (await operator.http.delete(f"{clients}/{client_id}")).status_code == 204
    with pytest.raises(TokenRefused):
        market.verifier.verify(token)
    await until_refused(second, token)
    refused = await ask(client, assertion(key, client_id, jti="two"))
    assert refused.json()["error"] == "invalid_client"
    again = await operator.http.post(clients, json={"jwks": {"keys": [key.as_dict(private=False)]}})
    assert again.status_code == 404
    assert (await operator.http.delete(f"{clients}/nobody")).status_code == 404
    assert (await operator.http.delete(f"{clients}/a%00b")).status_code == 404


async def test_the_same_keys_are_the_same_client(operator: Member) -> None:
    key = ECKey.generate_key("P-256")
    assert await key_client(operator, key) == await key_client(operator, key)


KEYS_THAT_PROVE_NOTHING: list[Any] = [
    {},
    {"keys": []},
    {"keys": ["x"]},
    {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]},
    {"keys": [{"kty": []}]},
    {"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]},
    {"keys": [{"kty": "EC"}]},
    {"keys": [ECKey.generate_key("P-256").as_dict(private=True)]},
    {"keys": [{"kty": "RSA", "e": "AQAB", "n": base64.urlsafe_b64encode(b"x" * 128).decode()}]},
]


async def test_keys_that_prove_nothing_are_refused(operator: Member) -> None:
    for jwks in KEYS_THAT_PROVE_NOTHING:
        answer = await operator.http.post(
            f"/marketplace/partners/{OPERATOR}/clients", json={"jwks": jwks}
        )
        assert answer.status_code == 422, jwks
        assert answer.json()["field"].startswith("jwks.keys"), jwks


async def test_a_party_sees_and_changes_its_own_clients_only(
    operator: Member, evsp: Member, client: AsyncClient
) -> None:
    theirs = f"/marketplace/partners/{EVSP}/clients"
    assert (await operator.http.get(theirs)).status_code == 403
    assert (await operator.http.post(theirs, json={})).status_code == 403
    assert (await operator.http.delete(f"{theirs}/{evsp.client_id}")).status_code == 403
    assert (await client.get(theirs)).status_code == 401


async def test_a_further_secret_works_beside_the_first(
    operator: Member, client: AsyncClient
) -> None:
    answer = await operator.http.post(f"/marketplace/partners/{OPERATOR}/clients", json={})
    told = answer.json()
    assert told["client_id"] == operator.client_id
    for secret in (operator.client_secret, told["client_secret"]):
        got = await client.post("/oauth/token", data=GRANT, auth=(operator.client_id, secret))
        assert got.status_code == 200


async def test_the_server_describes_itself(client: AsyncClient) -> None:
    told = (await client.get("/.well-known/oauth-authorization-server")).json()
    assert told["issuer"] == ISSUER
    assert told["token_endpoint"] == TOKEN_URL
    assert "private_key_jwt" in told["token_endpoint_auth_methods_supported"]
    keys = (await client.get("/.well-known/jwks.json")).json()["keys"]
    assert [(key["kty"], key["crv"], "d" in key) for key in keys] == [("EC", "P-256", False)]


async def test_anybody_can_verify_a_token_with_the_published_keys(
    operator: Member, client: AsyncClient
) -> None:
    token = operator.http.headers["Authorization"].removeprefix("Bearer ")
    [published] = (await client.get("/.well-known/jwks.json")).json()["keys"]
    claims = jwt.decode(token, ECKey.import_key(published), algorithms=["ES256"]).claims
    assert claims["iss"] == ISSUER
    assert claims["party"] == OPERATOR
    assert datetime.fromtimestamp(claims["exp"], NOW.tzinfo) == NOW + timedelta(minutes=15)


async def test_losing_a_role_ends_the_tokens_that_claim_it(
    market: Marketplace, evsp: Member, clock: HandClock
) -> None:
    both = await join(market, OPERATOR, "evse-operator", "evsp")
    token = both.http.headers["Authorization"].removeprefix("Bearer ")
    clock.forward(seconds=1)
    await market.add_partner(OPERATOR, ["evsp"], "Narrower")
    await until_refused(market, token)
    await both.http.aclose()


async def until_refused(market: Marketplace, token: str) -> None:
    """Wait until a process has heard that a token ended."""

    def refused() -> bool:
        try:
            market.verifier.verify(token)
        except TokenRefused:
            return True
        return False

    await until(refused)


async def clients_asked(member: Member, **asked: Any) -> Any:
    answer = await member.http.post(f"/marketplace/partners/{member.party}/clients", json=asked)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_sandbox_client_stands_beside_the_live_one_and_calls_services_alone(
    market: Marketplace, operator: Member, client: AsyncClient
) -> None:
    made = await clients_asked(operator, environment="sandbox")
    assert made["environment"] == "sandbox"
    assert made["client_id"].startswith("frpd1-sandbox-")
    secret = (made["client_id"], made["client_secret"])
    told = (await client.post("/oauth/token", data=GRANT, auth=secret)).json()
    assert told["scope"] == "services"
    identity = market.verifier.verify(told["access_token"])
    assert (identity.party, identity.client_id) == (OPERATOR, made["client_id"])
    assert identity.sandbox
    assert identity.scopes == {"services"}
    # What is not there to be had is not given, and the live client is what it was.
    asked = GRANT | {"scope": "marketplace services events"}
    assert (await client.post("/oauth/token", data=asked, auth=secret)).json()["scope"] == (
        "services"
    )
    live = (operator.client_id, operator.client_secret)
    told = (await client.post("/oauth/token", data=GRANT, auth=live)).json()
    assert not market.verifier.verify(told["access_token"]).sandbox
    listed = (await operator.http.get(f"/marketplace/partners/{OPERATOR}/clients")).json()
    assert {one["client_id"]: one["environment"] for one in listed} == {
        operator.client_id: "live",
        made["client_id"]: "sandbox",
    }


async def test_a_further_secret_is_one_of_the_same_environment(
    operator: Member, client: AsyncClient
) -> None:
    first = await clients_asked(operator, environment="sandbox")
    second = await clients_asked(operator, environment="sandbox")
    assert first["client_id"] == second["client_id"]
    third = await clients_asked(operator)
    assert third["client_id"] == operator.client_id
    for made in (first, second, third):
        secret = (made["client_id"], made["client_secret"])
        assert (await client.post("/oauth/token", data=GRANT, auth=secret)).status_code == 200
    crossed = (third["client_id"], first["client_secret"])
    assert (await client.post("/oauth/token", data=GRANT, auth=crossed)).status_code == 401


async def test_one_key_in_two_environments_is_two_clients(
    market: Marketplace, operator: Member, client: AsyncClient
) -> None:
    key = ECKey.generate_key("P-256")
    jwks = {"keys": [key.as_dict(private=False)]}
    live = await clients_asked(operator, jwks=jwks)
    sandbox = await clients_asked(operator, jwks=jwks, environment="sandbox")
    assert live["client_id"] != sandbox["client_id"]
    for made in (live, sandbox):
        told = (await ask(client, assertion(key, made["client_id"]))).json()
        identity = market.verifier.verify(told["access_token"])
        assert identity.sandbox == (made is sandbox)


async def test_there_are_two_environments(operator: Member) -> None:
    answer = await operator.http.post(
        f"/marketplace/partners/{OPERATOR}/clients", json={"environment": "test"}
    )
    assert (answer.status_code, answer.json()["field"]) == (422, "body.environment")


async def test_a_client_is_listed_with_the_ages_of_its_secrets_and_one_can_be_ended(
    operator: Member, client: AsyncClient
) -> None:
    mine = f"/marketplace/partners/{operator.party}/clients"
    added = (await operator.http.post(mine, json={})).json()["client_secret"]
    [told] = (await operator.http.get(mine)).json()
    older, newer = told["secrets"]
    assert datetime.fromisoformat(older["expires_at"]) == NOW + timedelta(days=7)
    assert newer["expires_at"] is None
    secrets = f"{mine}/{told['client_id']}/secrets"
    assert (await operator.http.delete(f"{secrets}/{older['secret_id']}")).status_code == 204
    for secret, status in ((operator.client_secret, 401), (added, 200)):
        got = await client.post("/oauth/token", data=GRANT, auth=(operator.client_id, secret))
        assert got.status_code == status
    last = await operator.http.delete(f"{secrets}/{newer['secret_id']}")
    assert (last.status_code, last.json()["type"].rpartition("/")[2]) == (409, "last-secret")
    assert (await operator.http.delete(f"{secrets}/{older['secret_id']}")).status_code == 404


async def test_replaced_keys_are_good_beside_the_new_ones_for_a_week(
    operator: Member, client: AsyncClient, clock: HandClock
) -> None:
    old, new = ECKey.generate_key("P-256"), ECKey.generate_key("P-256")
    client_id = await key_client(operator, old)
    keys = f"/marketplace/partners/{operator.party}/clients/{client_id}/keys"
    jwks = {"keys": [new.as_dict(private=False)]}
    for _ in range(2):
        told = (await operator.http.put(keys, json={"jwks": jwks})).json()
        assert [one["until"] is None for one in told["keys"]] == [True, False]
        assert datetime.fromisoformat(told["keys"][1]["until"]) == NOW + timedelta(days=7)
    for n, key in enumerate((old, new)):
        answer = await ask(client, assertion(key, client_id, jti=f"early-{n}"))
        assert answer.status_code == 200, answer.text
    clock.now += timedelta(days=7)
    later = int((clock.now + timedelta(minutes=5)).timestamp())
    for n, (key, status) in enumerate(((old, 400), (new, 200))):
        answer = await ask(client, assertion(key, client_id, jti=f"late-{n}", exp=later))
        assert answer.status_code == status, answer.text


async def test_a_client_that_signs_with_nothing_gets_no_keys(operator: Member) -> None:
    keys = f"/marketplace/partners/{operator.party}/clients/{operator.client_id}/keys"
    jwks = {"keys": [ECKey.generate_key("P-256").as_dict(private=False)]}
    no = await operator.http.put(keys, json={"jwks": jwks})
    assert (no.status_code, no.json()["field"]) == (422, "client_id")


async def test_a_client_has_a_name_and_an_end_and_no_token_outlives_it(
    operator: Member, client: AsyncClient, market: Marketplace, clock: HandClock
) -> None:
    path = f"/marketplace/partners/{operator.party}/clients/{operator.client_id}"
    end = NOW + timedelta(minutes=5)
    asked = {"name": "Ticket office, north", "expires_at": end.isoformat()}
    told = (await operator.http.put(path, json=asked)).json()
    assert (told["name"], datetime.fromisoformat(told["expires_at"])) == (asked["name"], end)
    auth = (operator.client_id, operator.client_secret)
    got = (await client.post("/oauth/token", data=GRANT, auth=auth)).json()
    assert market.verifier.verify(got["access_token"]).expires_at == end
    for wrong in ({"name": "", "expires_at": None}, {"name": "x", "expires_at": NOW.isoformat()}):
        assert (await operator.http.put(path, json=wrong)).status_code == 422
    clock.now = end
    assert (await client.post("/oauth/token", data=GRANT, auth=auth)).status_code == 401
