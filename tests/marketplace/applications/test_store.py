"""Applications as they are kept: found again by what repeats are known by, and never half."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from kit.sortable_id import sortable_id
from marketplace.applications import model
from marketplace.applications.model import Application, Decision, RoleStatus
from marketplace.partners.flows import admit
from marketplace.partners.model import Role, registered
from tests.marketplace.applications.test_model import asked
from tests.marketplace.fakes import EVSP, HUB, NOW, OPERATOR, OTHER
from tests.marketplace.whole import Marketplace


def came(minutes: int, *roles: Role) -> Application:
    at = NOW + timedelta(minutes=minutes)
    return replace(asked(*roles), application_id=sortable_id(at), submitted_at=at)


async def test_what_is_kept_comes_back_as_it_was(market: Marketplace) -> None:
    one = came(0, Role.EVSP, Role.DSO)
    async with market.core.applications.open() as desk:
        await desk.add(one, b"content", key=b"key", secret_hash="hash")
    async with market.core.applications.open() as desk:
        kept = await desk.find(one.application_id)
        assert kept is not None
        assert (kept.application, kept.content, kept.secret_hash) == (one, b"content", "hash")
        assert "hash" not in repr(kept)
        assert await desk.known_by_key(b"key") == kept
        assert await desk.known_by_key(b"content") is None
        assert await desk.find("no-such") is None
        assert await desk.find_to_change("no-such") is None
        decided = model.decided(one, Role.DSO, Decision.REFUSE, HUB, NOW, "no grid")
        decided = model.decided(decided, Role.EVSP, Decision.APPROVE, HUB, NOW)
        await desk.save(decided, NOW)
    async with market.core.applications.open() as desk:
        assert await desk.find_to_change(one.application_id) == decided


async def test_of_those_that_say_the_same_the_latest_is_found(market: Marketplace) -> None:
    first, second = came(0), came(1)
    async with market.core.applications.open() as desk:
        for one in (second, first):
            await desk.add(one, b"content", key=None, secret_hash=None)
        kept = await desk.known_by_content(b"content")
        assert kept is not None
        assert kept.application == second
        assert await desk.known_by_content(b"other") is None


async def test_pages_go_by_the_order_in_which_they_came(market: Marketplace) -> None:
    every = [came(minutes) for minutes in range(5)]
    every[3] = replace(every[3], applicant=EVSP)
    async with market.core.applications.open() as desk:
        for one in every:
            await desk.add(one, b"", key=None, secret_hash=None)
        await desk.save(model.decided(every[1], Role.EVSP, Decision.APPROVE, HUB, NOW), NOW)

        async def page(
            status: RoleStatus | None = None,
            applicant: object = None,
            after: Application | None = None,
            limit: int = 10,
        ) -> list[int]:
            found = await desk.page(
                status=status,
                applicant=EVSP if applicant else None,
                after=None if after is None else after.application_id,
                limit=limit,
            )
            ids = [one.application_id for one in every]
            return [ids.index(one.application_id) for one in found]

        assert await page(limit=2) == [0, 1]
        assert await page(after=every[1]) == [2, 3, 4]
        assert await page(RoleStatus.APPROVED) == [1]
        assert await page(RoleStatus.REQUESTED, limit=2, after=every[0]) == [2, 3]
        assert await page(applicant=EVSP) == [3]
        assert await desk.waiting() == 4


async def test_party_ids_are_known_by_the_partner_that_they_are_bound_to(
    market: Marketplace,
) -> None:
    await market.add_partner(OPERATOR, ["evse-operator"], "Operator")
    async with market.core.applications.open() as desk:
        partner = await desk.register.find(OPERATOR)
        assert partner is not None
        further = replace(partner, party=OTHER, main=OPERATOR)
        await desk.register.save(further, NOW, changed=True)
        assert await desk.owners([OPERATOR, OTHER, EVSP]) == {OPERATOR: OPERATOR, OTHER: OPERATOR}
        assert sorted(await desk.register.ids_of(OPERATOR)) == sorted([OPERATOR, OTHER])
        assert await desk.register.find(OTHER) == further


async def test_an_approval_that_fails_binds_nothing(market: Marketplace) -> None:
    one = came(0)
    async with market.core.applications.open() as desk:
        await desk.add(one, b"", key=None, secret_hash=None)

    async def broken_off() -> None:
        async with market.core.applications.open() as desk:
            approved = model.decided(one, Role.EVSP, Decision.APPROVE, HUB, NOW)
            await desk.save(approved, NOW)
            joined = registered(None, EVSP, frozenset({Role.EVSP}), "Cards", NOW)
            await admit(desk.register, None, joined, NOW)
            raise RuntimeError("the lights went out")

    with pytest.raises(RuntimeError):
        await broken_off()
    async with market.core.applications.open() as desk:
        kept = await desk.find(one.application_id)
        assert kept is not None
        assert kept.application.status is RoleStatus.REQUESTED
        assert await desk.owners([EVSP]) == {}


async def test_who_decides_waits_for_who_decides_already(market: Marketplace) -> None:
    one = came(0)
    async with market.core.applications.open() as desk:
        await desk.add(one, b"", key=None, secret_hash=None)

    async def read() -> Application | None:
        async with market.core.applications.open() as desk:
            return await desk.find_to_change(one.application_id)

    async with market.core.applications.open() as desk:
        await desk.find_to_change(one.application_id)
        second = asyncio.create_task(read())
        decided = model.decided(one, Role.EVSP, Decision.APPROVE, HUB, NOW)
        await desk.save(decided, NOW)
        assert not second.done()
    assert await second == decided
