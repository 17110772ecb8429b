"""A program shows a certificate, and its tokens are good for nobody who cannot (RFC 8705).

TLS ends in a proxy here, which tells the certificate in a header; `gridroam serve` itself speaks it
in tests/gridroam/test_serve.py.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from authlib.oauth2.rfc7523 import private_key_jwt_sign
from httpx import BasicAuth, Response
from joserfc.jwk import ECKey

from kit.client_certificate import from_pem
from kit.event_log import START, read
from roaming.events import EventType
from tests.certificates import Made, authority, caller
from tests.hub import URL, Hub, Partner, running, until

PARTNERS = authority("Partners")
OWN, OTHER = caller("Own", PARTNERS), caller("Other", PARTNERS)
SEARCH = "/services/search-evse/evses"
GRANT = {"grant_type": "client_credentials"}


@pytest.fixture
async def hub(database_url: str, tmp_path: Path) -> AsyncIterator[Hub]:
    proxies = ("127.0.0.1/32",)
    async with running(database_url, tmp_path / "home", trusted_proxies=proxies) as hub:
        yield hub


@pytest.fixture
async def operator(hub: Hub) -> Partner:
    return await hub.partner("FR*PD1", "evse-operator")


def shows(made: Made | None) -> dict[str, str]:
    """What the proxy adds."""
    return {} if made is None else {"Client-Cert": f":{base64.b64encode(made.der).decode()}:"}


async def registered(partner: Partner, *certificates: Made, **asked: Any) -> Any:
    pems = [made.pem for made in certificates]
    return await partner.post(
        f"/marketplace/partners/{partner.party}/clients", {"certificates": pems, **asked}
    )


async def token(hub: Hub, made: Made | None, **form: str) -> Response:
    return await hub.http.post("/oauth/token", data=GRANT | form, headers=shows(made))


def claims_of(text: str) -> Any:
    payload = text.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


async def test_a_client_is_known_by_its_certificate_and_its_token_is_bound_to_it(
    hub: Hub, operator: Partner
) -> None:
    client = await registered(operator, OWN)
    assert client["methods"] == ["tls_client_auth"]
    assert client["certificates"] == [from_pem(OWN.pem).thumbprint]
    told = await token(hub, OWN, client_id=client["client_id"])
    assert told.status_code == 200, told.text
    operator.token = told.json()["access_token"]
    claims = claims_of(operator.token)
    assert claims["cnf"] == {"x5t#S256": from_pem(OWN.pem).thumbprint}
    assert claims["party"] == "FR*PD1"
    for path in (SEARCH, "/marketplace/contracts"):
        assert (await operator.call("GET", path, headers=shows(OWN))).status == 200
        # Stolen, it is worth nothing: neither alone nor with a certificate of the thief's.
        for made in (None, OTHER):
            answer = await operator.call("GET", path, headers=shows(made))
            assert (answer.status, answer.problem) == (401, "certificate-mismatch")
            assert answer.body["value"] == "certificate-mismatch"
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_a_stolen_token_is_told_of_in_the_log(hub: Hub, operator: Partner) -> None:
    client = await registered(operator, OWN)
    told = await token(hub, OWN, client_id=client["client_id"])
    operator.token = told.json()["access_token"]
    await operator.call("GET", SEARCH, headers=shows(OTHER))
    found: list[Any] = []

    async def logged() -> bool:
        async with hub.parts.database.hot() as connection:
            found[:] = await read(connection, START, types=[EventType.CALL_REFUSED])
        return bool(found)

    await until(logged)
    [event] = found
    assert (event.party, event.body["reason"]) == ("FR*PD1", "certificate-mismatch")
    assert operator.token not in json.dumps(event.body)


async def test_without_its_certificate_a_client_gets_no_token(hub: Hub, operator: Partner) -> None:
    client = await registered(operator, OWN)
    for made in (None, OTHER, caller("Own", PARTNERS), caller("Own", None)):
        told = await token(hub, made, client_id=client["client_id"])
        assert (told.status_code, told.json()["error"]) == (401, "invalid_client")
    for client_id in (operator.client_id, "frpd1-tls-0", ""):
        told = await token(hub, OWN, client_id=client_id)
        assert (told.status_code, told.json()["error"]) in (
            (400, "invalid_client"),
            (401, "invalid_client"),
        )
    # Nor with one way of authentication that is not its own.
    told = await hub.http.post(
        "/oauth/token",
        data=GRANT,
        headers=shows(OWN),
        auth=BasicAuth(client["client_id"], "secret"),
    )
    assert told.status_code == 401


async def test_a_certificate_of_ones_own_making_is_as_good(hub: Hub, operator: Partner) -> None:
    own = caller("Own", None)
    client = await registered(operator, own, OTHER)
    assert client["methods"] == ["self_signed_tls_client_auth", "tls_client_auth"]
    for made in (own, OTHER):
        told = await token(hub, made, client_id=client["client_id"])
        thumbprint = claims_of(told.json()["access_token"])["cnf"]["x5t#S256"]
        assert thumbprint == from_pem(made.pem).thumbprint


async def test_a_certificate_counts_from_its_beginning_on(hub: Hub, operator: Partner) -> None:
    early = caller("Early", None, days_ago=-1)
    client = await registered(operator, early, OWN)
    for made, status in ((early, 401), (OWN, 200)):
        assert (await token(hub, made, client_id=client["client_id"])).status_code == status


async def test_a_client_that_signs_may_bind_its_tokens_to_a_certificate(
    hub: Hub, operator: Partner
) -> None:
    key = ECKey.generate_key("P-256")
    client = await registered(operator, OWN, jwks={"keys": [key.as_dict(private=False)]})
    assert client["methods"] == ["private_key_jwt"]

    async def ask(made: Made | None) -> Response:
        signed = private_key_jwt_sign(
            key, client["client_id"], f"{URL}/oauth/token", alg="ES256", header={"alg": "ES256"}
        )
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        return await token(hub, made, client_assertion=signed, client_assertion_type=kind)

    told = await ask(OWN)
    assert claims_of(told.json()["access_token"])["cnf"]
    for made in (None, OTHER):
        told = await ask(made)
        assert (told.status_code, told.json()["error"]) == (401, "invalid_client")
    # The certificate alone is not how this client shows who it is.
    assert (await token(hub, OWN, client_id=client["client_id"])).status_code == 401


async def test_a_client_without_certificates_is_bound_to_none(hub: Hub, operator: Partner) -> None:
    told = await hub.http.post(
        "/oauth/token",
        data=GRANT,
        headers=shows(OWN),
        auth=BasicAuth(operator.client_id, operator.client_secret),
    )
    operator.token = told.json()["access_token"]
    assert "cnf" not in claims_of(operator.token)
    for made in (OWN, OTHER, None):
        assert (await operator.call("GET", SEARCH, headers=shows(made))).status == 200


async def test_a_bound_token_is_given_back_by_its_client(hub: Hub, operator: Partner) -> None:
    client = await registered(operator, OWN)
    form = {"client_id": client["client_id"]}
    operator.token = (await token(hub, OWN, **form)).json()["access_token"]
    for made, status in ((OTHER, 401), (OWN, 200)):
        told = await hub.http.post(
            "/oauth/revoke", data={"token": operator.token, **form}, headers=shows(made)
        )
        assert told.status_code == status
    assert (await operator.call("GET", SEARCH, headers=shows(OWN))).status == 401


async def test_the_same_certificates_are_the_same_client_but_for_the_sandbox(
    hub: Hub, operator: Partner
) -> None:
    first = await registered(operator, OWN, OTHER)
    assert (await registered(operator, OTHER, OWN))["client_id"] == first["client_id"]
    assert (await registered(operator, OWN))["client_id"] != first["client_id"]
    sandbox = await registered(operator, OWN, OTHER, environment="sandbox")
    assert sandbox["client_id"] != first["client_id"]
    told = await token(hub, OWN, client_id=sandbox["client_id"])
    assert claims_of(told.json()["access_token"])["env"] == "sandbox"
    # A further secret is still one of the client that has secrets.
    secret = await operator.post(f"/marketplace/partners/{operator.party}/clients", {})
    assert secret["client_id"] == operator.client_id


@pytest.mark.parametrize(
    "pems",
    [
        [OWN.key_pem],
        [OWN.pem + OWN.key_pem],
        ["no certificate"],
        [OWN.pem * 2],
        [OWN.pem, ""],
        [caller("Expired", None, days_ago=40).pem],
        [caller(f"Number {number}", None).pem for number in range(11)],
    ],
    ids=["key", "both", "text", "two", "empty", "expired", "many"],
)
async def test_certificates_that_cannot_be_trusted_are_not_taken(
    operator: Partner, pems: list[str]
) -> None:
    path = f"/marketplace/partners/{operator.party}/clients"
    answer = await operator.call("POST", path, {"certificates": pems})
    assert answer.status == 422
    assert answer.body["field"].startswith("certificates")
    assert "PRIVATE KEY" not in json.dumps(answer.body)
    assert len(await operator.get(path)) == 1


async def test_what_the_hub_can_do_is_told(hub: Hub) -> None:
    told = (await hub.http.get("/.well-known/oauth-authorization-server")).json()
    assert told["tls_client_certificate_bound_access_tokens"] is True
    for endpoint in ("token", "revocation"):
        methods = told[f"{endpoint}_endpoint_auth_methods_supported"]
        assert {"tls_client_auth", "self_signed_tls_client_auth"} < set(methods)
