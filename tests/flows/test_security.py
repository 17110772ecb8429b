"""A call is passed on safely: what its provider is shown, and how it knows that it is true.

The examples are those of docs/security.md, as they stand there.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from gateway.calls.assertion import TYPE
from gridroam.signatures import KeysForGateway
from kit.clock import utc_now
from marketplace.access.keys import KeyRing
from marketplace.access.model import KeyRules
from tests.hub import URL, Hub, Partner, Server, answering, server

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
SERVICE = "/services/load-forecast"


def example(name: str) -> Callable[..., Any]:
    """A function of the page, by its name."""
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        if f"def {name}(" in block:
            found: dict[str, Any] = {}
            exec(block, found)
            made: Callable[..., Any] = found[name]
            return made
    raise AssertionError(f"docs/security.md has no {name}")


@pytest.fixture
async def provider(hub: Hub) -> Partner:
    return await hub.partner("NL*FCS", "service-provider")


@pytest.fixture
async def requester(hub: Hub) -> Partner:
    return await hub.partner("FR*PD1", "evse-operator")


@pytest.fixture
async def own() -> AsyncIterator[Server]:
    """The provider's own server."""
    async with server(answering({"kw": 7})) as found:
        yield found


@pytest.fixture
async def contract(provider: Partner, requester: Partner, own: Server) -> str:
    await provider.post(
        "/marketplace/services",
        {
            "name": "load-forecast",
            "category": "value-added",
            "description": "What a charge point will draw tomorrow",
            "endpoint": f"{own.url}/api",
            "operations": [{"name": "forecast", "method": "GET", "path": "/points/{id}"}],
        },
    )
    await provider.post("/marketplace/services/load-forecast/v1/publish")
    offering = await provider.post("/marketplace/offerings", {"service": "load-forecast"})
    return await requester.accepts(offering["offering_id"])


async def keys_of(hub: Hub) -> Any:
    return (await hub.http.get("/.well-known/jwks.json")).json()


async def signing(hub: Hub) -> KeysForGateway:
    ring = KeyRing(hub.parts.box, KeyRules())
    async with hub.parts.access.open() as book:
        ring.replace(await book.keys())
    return KeysForGateway(ring)


async def test_a_provider_verifies_who_calls_what_under_which_contract(
    hub: Hub, requester: Partner, contract: str, own: Server
) -> None:
    answer = await requester.call("GET", f"{SERVICE}/points/7")
    assert answer.status == 200
    [came] = own.came
    told = example("caller_of")(came.headers["Authorization"], await keys_of(hub), URL, "NL*FCS")
    assert (told["sub"], told["contract_id"]) == ("FR*PD1", contract)
    assert (told["service"], told["major"], told["operation"]) == ("load-forecast", 1, "forecast")
    assert told["sandbox"] is False
    assert 0 < told["exp"] - told["iat"] <= 60
    # Nothing of the caller's own went with it.
    assert requester.token not in str(came.headers)
    assert requester.client_id not in str(told)


async def test_a_body_that_streams_goes_with_an_assertion_too(
    hub: Hub, requester: Partner, contract: str, own: Server
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 1024

    answer = await requester.http.post(
        f"{SERVICE}/points/7",
        content=pieces(),
        headers={"Authorization": f"Bearer {requester.token}"},
    )
    assert answer.status_code == 200
    [came] = own.came
    assert len(came.content) == 100 * 1024
    told = example("caller_of")(came.headers["Authorization"], await keys_of(hub), URL, "NL*FCS")
    assert told["operation"] == "POST /points/7"


async def test_the_hub_takes_no_assertion_of_its_own_for_a_token(
    requester: Partner, contract: str, own: Server
) -> None:
    await requester.call("GET", f"{SERVICE}/points/7")
    requester.token = own.came[0].headers["Authorization"].removeprefix("Bearer ")
    assert (await requester.call("GET", f"{SERVICE}/points/7")).status == 401
    assert (await requester.call("GET", "/marketplace/usage")).status == 401


async def test_what_is_forged_expired_or_meant_for_another_is_refused_by_its_provider(
    hub: Hub, requester: Partner, contract: str, own: Server
) -> None:
    await requester.call("GET", f"{SERVICE}/points/7")
    good = own.came[0].headers["Authorization"].removeprefix("Bearer ")
    keys = await keys_of(hub)
    caller_of = example("caller_of")
    claims = dict(caller_of(f"Bearer {good}", keys, URL, "NL*FCS"))
    hubs, now = await signing(hub), utc_now()
    thief = ECKey.generate_key("P-256", {"kid": keys["keys"][-1]["kid"]})
    header = {"alg": "ES256", "typ": TYPE, "kid": thief.kid or ""}
    past = {"iat": claims["iat"] - 600, "exp": claims["exp"] - 600}

    def signed(kind: str = TYPE, **changes: Any) -> str:
        return hubs.sign_jwt(kind, claims | changes, now)

    assert caller_of(f"Bearer {signed()}", keys, URL, "NL*FCS")["sub"] == "FR*PD1"
    for bad in (
        jwt.encode(header, claims, thief, algorithms=["ES256"]),
        signed(**past),
        signed(aud="DE*OTH"),
        signed(iss="https://elsewhere.example"),
        signed(kind="at+jwt"),
        requester.token,
        good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"),
        good.split(".")[0] + "." + good.split(".")[1] + ".",
        "",
    ):
        with pytest.raises((JoseError, ValueError)):
            caller_of(f"Bearer {bad}", keys, URL, "NL*FCS")
    with pytest.raises(ValueError, match="assertion"):
        caller_of(f"Basic {good}", keys, URL, "NL*FCS")
