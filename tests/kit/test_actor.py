"""Whoever acts is told by those who know, and by nobody else."""

from __future__ import annotations

import asyncio

from kit import actor
from kit.actor import acting_as, actor_now


async def test_nobody_acts_where_nobody_has_said_so() -> None:
    assert actor_now() is None


async def test_what_is_begun_in_the_block_is_done_by_its_actor_and_what_comes_after_is_not() -> (
    None
):
    async def ask() -> str | None:
        await asyncio.sleep(0)
        return actor_now()

    with acting_as(actor.client("frpd1-1")):
        begun = asyncio.create_task(ask())
        with acting_as(actor.OFFICE):
            assert actor_now() == "office"
        assert actor_now() == "client:frpd1-1"
    assert (actor_now(), await begun) == (None, "client:frpd1-1")


async def test_two_requests_at_once_keep_their_actors_apart() -> None:
    async def request(name: str) -> str | None:
        with acting_as(actor.person(name)):
            await asyncio.sleep(0)
            return actor_now()

    told = await asyncio.gather(*(request(f"p{n}") for n in range(20)))
    assert told == [f"person:p{n}" for n in range(20)]


def test_workers_of_one_kind_are_one_actor() -> None:
    assert actor.task("forwarding: DE*BET") == actor.task("forwarding: FR*PD1") == "task:forwarding"
