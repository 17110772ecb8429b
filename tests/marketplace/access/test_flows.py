"""Keys rotate and revocations last: across processes and restarts."""

from __future__ import annotations

import pytest

from kit.access_token import TokenRefused
from kit.database import Database
from kit.secrets import SealBroken
from marketplace.access import flows
from tests.marketplace.conftest import HUB_KEY
from tests.marketplace.fakes import HUB, ISSUER, HandClock, Member, join, until
from tests.marketplace.whole import Marketplace, build


async def rotate(market: Marketplace, *, on_demand: bool = False) -> bool:
    return await flows.rotate_keys(
        market.access,
        ring=market.ring,
        verifier=market.verifier,
        box=market.core.box,
        now=market.clock(),
        on_demand=on_demand,
    )


def token_of(member: Member) -> str:
    return member.http.headers["Authorization"].removeprefix("Bearer ")


async def test_a_rotated_key_still_verifies_and_the_new_one_signs(
    market: Marketplace, second: Marketplace, operator: Member, clock: HandClock
) -> None:
    first_kid, _ = market.ring.current(clock())
    clock.forward(seconds=1)
    assert await rotate(market, on_demand=True)
    kid, _ = market.ring.current(clock())
    assert kid != first_kid
    market.verifier.verify(token_of(operator))
    young = await join(market, operator.party, "evse-operator")
    await until(lambda: kid in {key["kid"] for key in second.ring.public(clock())})
    second.verifier.verify(token_of(young))
    second.verifier.verify(token_of(operator))
    await young.http.aclose()


async def test_keys_rotate_by_themselves_and_the_dead_are_dropped(
    market: Marketplace, clock: HandClock
) -> None:
    first_kid, _ = market.ring.current(clock())
    assert not await rotate(market)
    clock.forward(hours=24, minutes=-1)
    assert await rotate(market)
    assert not await rotate(market)
    # Published before it signs.
    assert market.ring.current(clock())[0] == first_kid
    assert len(market.ring.public(clock())) == 2
    clock.forward(minutes=1)
    assert market.ring.current(clock())[0] != first_kid
    clock.forward(minutes=17)
    await rotate(market)
    assert [key["kid"] for key in market.ring.public(clock())] == [market.ring.current(clock())[0]]
    async with market.access.open() as book:
        assert len(await book.keys()) == 1


async def test_two_processes_that_start_at_once_make_one_key(
    market: Marketplace, second: Marketplace
) -> None:
    async with market.access.open() as book:
        assert len(await book.keys()) == 1
    assert market.ring.current(market.clock())[0] == second.ring.current(market.clock())[0]


async def test_a_revocation_outlives_the_process(database: Database, clock: HandClock) -> None:
    def start() -> Marketplace:
        return build(database, clock=clock, hub=HUB, issuer=ISSUER, secret=HUB_KEY)

    before = start()
    async with before.running():
        member = await join(before, HUB, "service-provider")
        identity = before.verifier.verify(token_of(member))
        async with before.access.open() as book:
            await book.revoke_token(
                identity.token_id,
                identity.client_id,
                identity.party,
                identity.expires_at,
                clock(),
            )
        await member.http.aclose()
    after = start()
    async with after.running():
        with pytest.raises(TokenRefused):
            after.verifier.verify(token_of(member))


async def test_another_hub_key_opens_nothing(
    market: Marketplace, database: Database, clock: HandClock
) -> None:
    stranger = build(database, clock=clock, hub=HUB, issuer=ISSUER, secret=b"x" * 32)
    with pytest.raises(SealBroken):
        await flows.refresh(
            stranger.access, ring=stranger.ring, verifier=stranger.verifier, now=clock()
        )


async def test_what_no_longer_matters_is_forgotten(
    market: Marketplace, operator: Member, clock: HandClock
) -> None:
    async with market.access.open() as book:
        assert await book.use_assertion(operator.client_id, "j", clock.now)
        assert not await book.use_assertion(operator.client_id, "j", clock.now)
    await flows.forget_expired(market.access, clock.forward(seconds=1))
    async with market.access.open() as book:
        assert await book.use_assertion(operator.client_id, "j", clock.now)
