"""Two who negotiate: what they send, and how they sign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from httpx import AsyncClient, Response
from joserfc.jwk import ECKey

from marketplace.access import detached
from roaming.party import PartyId
from tests.marketplace.fakes import HandClock, Member

NEGOTIATIONS = "/marketplace/negotiations"
SERVICE = "load-forecast"


@dataclass(slots=True)
class Negotiator:
    """A member with a key of its own to sign with."""

    member: Member
    key: ECKey

    @property
    def party(self) -> PartyId:
        return self.member.party

    @property
    def http(self) -> AsyncClient:
        return self.member.http

    async def log_in(self) -> None:
        """A token that is good at the time that it has become."""
        answer = await self.http.post(
            "/oauth/token",
            data={"grant_type": "client_credentials"},
            auth=(self.member.client_id, self.member.client_secret),
        )
        assert answer.status_code == 200, answer.text
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    async def post(self, path: str, body: Any = None, **headers: str) -> Response:
        return await self.http.post(f"{NEGOTIATIONS}{path}", json=body, headers=headers)

    async def good(self, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
        answer = await self.post(path, body, **headers)
        assert answer.status_code in (200, 201), answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def see(self, negotiation_id: str) -> dict[str, Any]:
        answer = await self.http.get(f"{NEGOTIATIONS}/{negotiation_id}")
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def document(self, negotiation_id: str) -> bytes:
        answer = await self.http.get(f"{NEGOTIATIONS}/{negotiation_id}/document")
        assert answer.status_code == 200, answer.text
        return answer.content

    async def jws(self, negotiation_id: str) -> str:
        body = await self.document(negotiation_id)
        return detached.sign({}, body, self.key.thumbprint(), self.key)

    async def sign(self, negotiation_id: str) -> Response:
        body = {"jws": await self.jws(negotiation_id)}
        return await self.post(f"/{negotiation_id}/signatures", body)


async def negotiator(member: Member) -> Negotiator:
    """The member, its key registered with a client of its own."""
    key = ECKey.generate_key("P-256")
    public = key.as_dict(private=False) | {"kid": key.thumbprint()}
    answer = await member.http.post(
        f"/marketplace/partners/{member.party}/clients", json={"jwks": {"keys": [public]}}
    )
    assert answer.status_code == 201, answer.text
    return Negotiator(member, key)


async def later(clock: HandClock, *sides: Negotiator, **parts: float) -> datetime:
    """Time passes, and everybody is still there."""
    clock.forward(**parts)
    for side in sides:
        await side.log_in()
    return clock.now


async def provides(provider: Member, name: str = SERVICE) -> None:
    """A published service of a partner's own."""
    answer = await provider.http.post(
        "/marketplace/services",
        json={
            "name": name,
            "category": "value-added",
            "description": "What a charge point will draw",
            "endpoint": "https://forecasts.example/live",
        },
    )
    assert answer.status_code == 201, answer.text
    answer = await provider.http.post(f"/marketplace/services/{name}/v1/publish")
    assert answer.status_code == 200, answer.text


def terms(price: int = 10, **more: Any) -> dict[str, Any]:
    return {"price_per_call_minor": price, "currency": "EUR", **more}


async def agree(one: Negotiator, other: Negotiator, begun: Mapping[str, Any]) -> dict[str, Any]:
    """The other accepts what one has proposed, and both sign: the negotiation at its end."""
    negotiation_id = begun["negotiation_id"]
    await other.good(f"/{negotiation_id}/accept", {"proposal": begun["proposals"][-1]["number"]})
    for side in (one, other):
        answer = await side.sign(negotiation_id)
        assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    assert told["state"] == "finalised"
    return told
