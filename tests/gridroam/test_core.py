"""What a hub does to its market at every start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from gridroam import office
from gridroam.core import Core
from gridroam.office import open_core
from marketplace.contracts import flows as contract_flows
from marketplace.contracts.model import Action, Contract
from marketplace.partners.model import roles_of
from marketplace.services.model import HUB_SERVICES
from roaming.party import PartyId

PARTY = PartyId("FR*XYZ")


async def held(parts: Core, service: str) -> Sequence[Contract]:
    return await contract_flows.page(
        parts.contracts, PARTY, service=service, other=None, after=None, limit=10
    )


async def test_a_service_that_is_new_to_the_hub_is_agreed_with_all_who_joined_before(
    hub_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.delitem(HUB_SERVICES, "evse-status")
        async with open_core(tmp_path, hub_database_url) as parts:
            await office.register(parts, PARTY, roles_of(["evsp"]), "Bet")
            assert await held(parts, "evse-status") == []
            (ended,) = await held(parts, "evse-data")
            await contract_flows.change(
                parts.contracts,
                PARTY,
                ended.contract_id,
                Action.TERMINATE,
                memory=parts.book,
                now=parts.clock(),
            )
    for _ in range(2):
        async with open_core(tmp_path, hub_database_url) as parts:
            await parts.open_the_market()
            (agreed,) = await held(parts, "evse-status")
            assert agreed.provider == parts.hub
            # What a partner has ended stays ended.
            assert [one.contract_id for one in await held(parts, "evse-data")] == [
                ended.contract_id
            ]
