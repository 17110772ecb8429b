"""Two partners negotiate a price, sign, call by it, change it by consent and part: both are told of
each move, and both read the same history. Played as docs/flows/negotiation.md tells it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from gridroam import signing
from kit.clock import utc_now
from marketplace.access import detached
from tests.flows.test_topics import documented_verifier
from tests.hub import Answer, Hub, Partner, Server, answering, server, until

NEGOTIATIONS = "/marketplace/negotiations"
SERVICE = "load-forecast"


@dataclass(frozen=True, slots=True)
class Side:
    """A partner, the file with its key, and where it is told of its contracts."""

    partner: Partner
    key: Path
    hears: Server

    async def sign(self, negotiation_id: str, folder: Path) -> Any:
        """As somebody without tooling does it: get the document, sign it with our command, send."""
        path = f"{NEGOTIATIONS}/{negotiation_id}"
        token = {"Authorization": f"Bearer {self.partner.token}"}
        got = await self.partner.http.get(f"{path}/document", headers=token)
        document = folder / "document.json"
        document.write_bytes(got.content)
        return await self.partner.post(f"{path}/signatures", signing.sign(document, self.key))

    def states(self, subject: str) -> list[str]:
        """What it was told about a negotiation, in the order in which it came."""
        return [
            came.json["data"]["state"]
            for came in self.hears.came
            if came.json["subject"] == subject
        ]


@asynccontextmanager
async def side(hub: Hub, party: str, role: str, folder: Path) -> AsyncIterator[Side]:
    partner = await hub.partner(party, role)
    key = folder / f"{partner.party}.jwk"
    await partner.post(f"/marketplace/partners/{partner.party}/clients", signing.new_key(key))
    async with server() as hears:
        await partner.listens_at("contracts", hears.url)
        yield Side(partner, key, hears)


def terms(price: int, calls: int = 2) -> dict[str, Any]:
    return {
        "quota": {"calls_per_day": calls},
        "price_per_call_minor": price,
        "currency": "EUR",
        "notice_days": 30,
    }


async def call(requester: Side) -> Answer:
    return await requester.partner.call("GET", f"/services/{SERVICE}/points/1")


def types(history: Any) -> Sequence[str]:
    return [one["type"] for one in history["entries"]]


async def test_two_negotiate_sign_call_change_the_price_by_consent_and_part(
    hub: Hub, tmp_path: Path
) -> None:
    async with (
        side(hub, "NL*FCS", "service-provider", tmp_path) as provider,
        side(hub, "FR*PD1", "evse-operator", tmp_path) as requester,
        server(answering({"watts": 7_000})) as forecasts,
    ):
        described = {"name": SERVICE, "category": "value-added", "description": "What it draws"}
        await provider.partner.post(
            "/marketplace/services", described | {"endpoint": forecasts.url}
        )
        await provider.partner.post(f"/marketplace/services/{SERVICE}/v1/publish")
        assert (await call(requester)).problem == "not-covered"

        begun = await requester.partner.post(
            NEGOTIATIONS, {"service": SERVICE, "terms": terms(4), "says": "We call a lot"}
        )
        negotiation_id = begun["negotiation_id"]
        path, subject = f"{NEGOTIATIONS}/{negotiation_id}", f"negotiation:{negotiation_id}"
        await provider.partner.post(f"{path}/proposals", {"answers": 1, "terms": terms(6)})
        # What was answered meanwhile is not accepted by who has not seen the answer.
        late = await provider.partner.call("POST", f"{path}/accept", {"proposal": 1})
        assert (late.status, late.problem) == (409, "proposal-superseded")
        await requester.partner.post(f"{path}/accept", {"proposal": 2})
        assert (await call(requester)).problem == "not-covered"
        assert (await provider.sign(negotiation_id, tmp_path))["state"] == "agreed"
        final = await requester.sign(negotiation_id, tmp_path)
        assert final["state"] == "finalised"
        contract = f"/marketplace/contracts/{final['contract_id']}"

        # In force at once, with what was agreed, and for who agreed it.
        for _ in range(2):
            answer = await call(requester)
            assert (answer.status, answer.headers["X-Contract-Id"]) == (200, final["contract_id"])
        assert (await call(requester)).status == 429

        # Both are told of each move, signed by the hub, in order and each once.
        every = ["requested", "offered", "accepted", "agreed", "verified", "finalised"]
        await until(lambda: provider.states(subject) == requester.states(subject) == every)
        keys = (await hub.http.get("/.well-known/jwks.json")).json()
        verify = documented_verifier()
        for came in [*provider.hears.came, *requester.hears.came]:
            verify(f"http://{came.headers['Host']}{came.path}", came.headers, came.content, keys)
            assert came.json["specversion"] == "1.0"
            assert came.headers["Idempotency-Key"] == came.json["id"]

        async def told() -> bool:
            moves = (await provider.partner.get(path))["moves"]
            return all(set(move["told"].values()) == {"acknowledged"} for move in moves)

        await until(told)

        # The document is the one that was signed, for both and for good, also on paper.
        token = {"Authorization": f"Bearer {provider.partner.token}"}
        document = await hub.http.get(f"{contract}/document", headers=token)
        assert json.loads(document.content)["terms"]["price_per_call_minor"] == 6
        for one in final["signatures"]:
            assert detached.verify(one["jws"], document.content, [one["public_key"]])
        paper = await hub.http.get(f"{contract}/document.pdf", headers=token)
        assert paper.content.startswith(b"%PDF")

        # A price is changed by consent: another contract, from a moment on that both have signed.
        at = utc_now() + timedelta(days=10)
        changed = await provider.partner.post(
            NEGOTIATIONS,
            {
                "replaces": final["contract_id"],
                "terms": terms(9, 5),
                "validity": {"from": at.isoformat()},
            },
        )
        again = f"{NEGOTIATIONS}/{changed['negotiation_id']}"
        await requester.partner.post(f"{again}/accept", {"proposal": 1})
        await requester.sign(changed["negotiation_id"], tmp_path)
        new = await provider.sign(changed["negotiation_id"], tmp_path)
        validate = (
            f"/services/contract-validation/validate?requester={requester.partner.party}"
            f"&provider={provider.partner.party}&service={SERVICE}&at="
        )
        for moment, expected in (
            (at - timedelta(seconds=1), final["contract_id"]),
            (at + timedelta(seconds=1), new["contract_id"]),
        ):
            when = moment.isoformat().replace("+00:00", "Z")
            answer = await requester.partner.get(validate + when)
            assert (answer["valid"], answer["contract_id"]) == (True, expected)

        # They part, and both read the same of it.
        await requester.partner.post(
            f"/marketplace/contracts/{new['contract_id']}/terminate", {"reason": "built our own"}
        )
        for contract_id in (final["contract_id"], new["contract_id"]):
            history = f"/marketplace/contracts/{contract_id}/history"
            shown = [
                await hub.http.get(
                    history, headers={"Authorization": f"Bearer {one.partner.token}"}
                )
                for one in (provider, requester)
            ]
            assert shown[0].content == shown[1].content
        assert types(shown[0].json())[-3:] == [
            *("negotiation-finalised", "contract-agreed", "contract-status-changed")
        ]
        await until(
            lambda: all(
                one.hears.came[-1].json["data"].get("reason") == "built our own"
                for one in (provider, requester)
            )
        )
