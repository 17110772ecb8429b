"""What was asked and what was answered can be proven later: both signed, and the evidence kept.

The examples are those of docs/security.md, as they stand there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp import web
from authlib.oauth2.rfc7523 import private_key_jwt_sign
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from kit.event_log import START, Event, read
from marketplace.access.detached import sign, verify
from roaming.events import EventType
from tests.flows.test_security import example, keys_of
from tests.hub import URL, Answer, Hub, Partner, Server, answering, server, talking_nonsense

PATH = "/services/load-forecast/points/7"
BODY = b'{"of": "interest"}'
SIGNED = {"Prefer": "signed-answer"}


@dataclass(frozen=True, slots=True)
class Calling:
    """A requester whose client has a key, and the provider's server."""

    hub: Hub
    requester: Partner
    key: ECKey
    client_id: str
    own: Server
    contract: str

    async def post(self, body: bytes, signature: str | None, **headers: str) -> Answer:
        sent = {} if signature is None else {"X-JWS-Signature": signature}
        sent |= {"Content-Type": "application/json", **headers}
        return await self.requester.call("POST", PATH, body, headers=sent)

    async def evidence(self) -> list[Event]:
        async with self.hub.parts.database.hot() as connection:
            return await read(connection, START, types=[EventType.CALL_SIGNED])


async def signing_in(partner: Partner, key: ECKey) -> str:
    """The partner calls as a client with a key from here on; its client id."""
    jwks = {"keys": [key.as_dict(private=False)]}
    made = await partner.post(f"/marketplace/partners/{partner.party}/clients", {"jwks": jwks})
    client_id = str(made["client_id"])
    signed = private_key_jwt_sign(
        key, client_id, f"{URL}/oauth/token", alg="ES256", header={"alg": "ES256"}
    )
    told = await partner.http.post(
        "/oauth/token",
        data={
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": signed,
        },
    )
    partner.token = told.json()["access_token"]
    return client_id


@pytest.fixture
async def calling(hub: Hub) -> AsyncIterator[Calling]:
    provider = await hub.partner("NL*FCS", "service-provider")
    requester = await hub.partner("FR*PD1", "evse-operator")
    async with server(answering({"kw": 7})) as own:
        await provider.post(
            "/marketplace/services",
            {
                "name": "load-forecast",
                "category": "value-added",
                "description": "What a charge point will draw tomorrow",
                "endpoint": f"{own.url}/api",
            },
        )
        await provider.post("/marketplace/services/load-forecast/v1/publish")
        offering = await provider.post("/marketplace/offerings", {"service": "load-forecast"})
        contract = await requester.accepts(offering["offering_id"])
        key = ECKey.generate_key("P-256")
        client_id = await signing_in(requester, key)
        yield Calling(hub, requester, key, client_id, own, contract)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def test_a_signed_call_is_passed_on_and_its_signed_answer_comes_back_and_is_kept(
    calling: Calling,
) -> None:
    signature = example("signature_over")(BODY, calling.key)
    answer = await calling.post(BODY, signature, **SIGNED)
    assert answer.status == 200
    [came] = calling.own.came
    assert came.content == BODY
    assert verify(came.headers["X-JWS-Signature"], came.content, [calling.key.as_dict()])
    assert answer.headers["preference-applied"] == "signed-answer"
    content = b'{"kw": 7}'
    keys = await keys_of(calling.hub)
    theirs = answer.headers["x-jws-signature"]
    told = example("signed_answer")(content, theirs, keys)
    assert (told["iss"], told["aud"], told["status"]) == (URL, "FR*PD1", 200)
    assert told["request_id"] == answer.headers["x-request-id"]
    assert (told["contract_id"], told["service"]) == (calling.contract, "load-forecast")
    assert told["request_sha256"] == digest(BODY)
    [event] = await calling.evidence()
    kept = event.body
    assert (event.party, event.stream) == ("FR*PD1", "signed-calls:FR*PD1")
    assert (kept["client_id"], kept["provider"]) == (calling.client_id, "NL*FCS")
    assert (kept["status"], kept["contract_id"]) == (200, calling.contract)
    assert (kept["request_sha256"], kept["answer_sha256"]) == (digest(BODY), digest(content))
    # What is kept convinces a third, who has the bodies.
    assert verify(kept["request_signature"], BODY, [kept["request_key"]])
    assert verify(kept["answer_signature"], content, keys["keys"])
    assert "interest" not in json.dumps(kept)


async def test_a_body_that_was_tampered_with_goes_nowhere(calling: Calling) -> None:
    signature = example("signature_over")(BODY, calling.key)
    thief = example("signature_over")(BODY, ECKey.generate_key("P-256"))
    for body, made in (
        (BODY.replace(b"interest", b"internet"), signature),
        (BODY + b" ", signature),
        (b"", signature),
        (BODY, thief),
        (BODY, signature[:-4] + "AAAA"),
        (BODY, "no signature"),
    ):
        answer = await calling.post(body, made, **SIGNED)
        assert (answer.status, answer.problem) == (400, "signature-invalid")
        assert answer.body["field"] == "X-JWS-Signature"
        assert answer.body["rule"]
    assert calling.own.came == []
    assert await calling.evidence() == []


async def test_an_answer_that_was_tampered_with_is_found_out(calling: Calling) -> None:
    answer = await calling.post(BODY, None, **SIGNED)
    keys = await keys_of(calling.hub)
    made = answer.headers["x-jws-signature"]
    signed_answer = example("signed_answer")
    assert "request_sha256" not in signed_answer(b'{"kw": 7}', made, keys)
    header, _, rest = made.partition(".")
    forged = sign({"typ": "gridroam-answer+jws"}, b'{"kw": 9}', "k", calling.key)
    for content, signature in (
        (b'{"kw": 9}', made),
        (b"", made),
        (b'{"kw": 7}', header[:-2] + "AA." + rest),
        (b'{"kw": 9}', forged),
    ):
        with pytest.raises((JoseError, ValueError)):
            signed_answer(content, signature, keys)
    # Nothing of the caller's was signed, so there is nothing of it to keep.
    assert await calling.evidence() == []


async def test_who_asks_for_no_signature_gets_none(calling: Calling) -> None:
    for other in ("", "return=minimal", "x-signed-answer"):
        answer = await calling.post(BODY, None, Prefer=other)
        assert answer.status == 200
        assert "x-jws-signature" not in answer.headers
    for prefer in ("respond-async, signed-answer", "Signed-Answer;wait=1"):
        answer = await calling.post(BODY, None, Prefer=prefer)
        assert "x-jws-signature" in answer.headers


async def test_a_client_without_keys_cannot_sign(calling: Calling) -> None:
    await calling.requester.log_in()
    signature = example("signature_over")(BODY, calling.key)
    answer = await calling.post(BODY, signature)
    assert (answer.status, answer.problem) == (400, "signature-invalid")
    assert "jwks" in answer.body["rule"]
    assert calling.own.came == []


async def test_an_answer_is_signed_whatever_is_in_it(calling: Calling) -> None:
    for content in (b"", b"\x00\xff\xfe", b"plain", b"x" * (1024 * 1024)):

        async def tell(_: web.BaseRequest, content: bytes = content) -> web.StreamResponse:
            return web.Response(body=content, status=404)

        calling.own.behaviour = tell
        told = await calling.requester.http.get(
            PATH, headers={"Authorization": f"Bearer {calling.requester.token}", **SIGNED}
        )
        assert (told.status_code, told.content) == (404, content)
        made = told.headers["x-jws-signature"]
        keys = await keys_of(calling.hub)
        assert example("signed_answer")(content, made, keys)["status"] == 404


async def test_what_is_too_long_to_be_signed_is_told_or_comes_without(calling: Calling) -> None:
    long = b"x" * (1024 * 1024 + 1)

    async def tell(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=long)

    calling.own.behaviour = tell
    signature = example("signature_over")(BODY, calling.key)
    told = await calling.requester.http.post(
        PATH,
        content=BODY,
        headers={
            "Authorization": f"Bearer {calling.requester.token}",
            "X-JWS-Signature": signature,
            **SIGNED,
        },
    )
    assert (told.status_code, told.content) == (200, long)
    assert "x-jws-signature" not in told.headers
    assert "preference-applied" not in told.headers
    [event] = await calling.evidence()
    assert (event.body["request_sha256"], event.body["answer_sha256"]) == (digest(BODY), None)
    answer = await calling.post(long, example("signature_over")(long, calling.key))
    assert (answer.status, answer.problem) == (413, "body-too-large")
    assert len(calling.own.came) == 1


async def test_a_provider_that_fails_leaves_evidence_of_what_it_was_asked(
    calling: Calling,
) -> None:
    await calling.own.close()
    answer = await calling.post(BODY, example("signature_over")(BODY, calling.key), **SIGNED)
    assert (answer.status, answer.problem) == (502, "provider-unreachable")
    [event] = await calling.evidence()
    assert event.body["request_sha256"] == digest(BODY)
    assert (event.body["answer_sha256"], event.body["answer_signature"]) == (None, None)


async def test_while_nothing_can_be_kept_a_signed_call_is_not_answered(calling: Calling) -> None:
    calling.own.behaviour = talking_nonsense
    async with calling.hub.parts.database.hot() as connection:
        await connection.execute("ALTER TABLE kit.event RENAME TO away")
    try:
        answer = await calling.post(BODY, example("signature_over")(BODY, calling.key))
    finally:
        async with calling.hub.parts.database.hot() as connection:
            await connection.execute("ALTER TABLE kit.away RENAME TO event")
    assert (answer.status, answer.problem) == (503, "not-recorded")
    assert len(calling.own.came) == 1


async def test_the_hubs_own_services_sign_as_well(calling: Calling) -> None:
    told = await calling.requester.http.get(
        "/services/search-evse/evses?limit=1",
        headers={"Authorization": f"Bearer {calling.requester.token}", **SIGNED},
    )
    keys = await keys_of(calling.hub)
    found = example("signed_answer")(told.content, told.headers["x-jws-signature"], keys)
    assert (found["service"], found["status"]) == ("search-evse", 200)
