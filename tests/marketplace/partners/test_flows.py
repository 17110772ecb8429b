"""Registration: one transaction for the partner, its secret and its first contracts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kit import event_log
from kit.event_log import START
from marketplace.partners import flows
from marketplace.partners.model import BadPartner, UnknownPartner
from marketplace.partners.standing import Action, PartnerStatus
from marketplace.services.model import HUB_SERVICES
from tests.marketplace.fakes import EVSP, HUB, OPERATOR, HandClock
from tests.marketplace.whole import Marketplace


async def test_a_partner_joins_with_a_secret_and_contracts(market: Marketplace) -> None:
    joined = await market.add_partner(OPERATOR, ["evse-operator"], "Operator")
    assert (joined.partner.party, joined.partner.name) == (OPERATOR, "Operator")
    assert joined.client_id.startswith("frpd1-")
    assert len(joined.client_secret) == 43
    assert joined.client_secret not in repr(joined)
    assert len(joined.contract_ids) == len(HUB_SERVICES)
    async with market.database.begin() as connection:
        told = await event_log.read(connection, START, stream=f"partner:{OPERATOR}")
    assert [event.type for event in told] == ["partner-registered", "client-registered"]
    assert not any(joined.client_secret in str(event.body) for event in told)


async def test_joining_again_gives_a_further_secret_of_the_same_client(
    market: Marketplace, clock: HandClock
) -> None:
    first = await market.add_partner(OPERATOR, ["evse-operator"], "Operator")
    clock.forward(minutes=1)
    again = await market.add_partner(OPERATOR, ["evse-operator"], "Operator")
    assert (again.client_id, again.contract_ids) == (first.client_id, ())
    assert again.client_secret != first.client_secret
    async with market.access.open() as book:
        client = await book.client(first.client_id, clock())
        assert client is not None
        assert len(client.secret_hashes) == 2
        # The first one ends when the overlap has run.
        later = await book.client(first.client_id, clock.forward(days=7))
        assert later is not None
        assert await market.core.checker.matches(again.client_secret, later.secret_hashes)
        assert not await market.core.checker.matches(first.client_secret, later.secret_hashes)


async def test_a_registration_that_fails_leaves_nothing_behind(market: Marketplace) -> None:
    for roles, name in ((["boss"], "Name"), (["evsp"], "")):
        with pytest.raises(BadPartner):
            await market.add_partner(EVSP, roles, name)
    with pytest.raises(UnknownPartner):
        await flows.find(market.core.partners, EVSP)


async def test_a_suspension_that_waited_for_a_restoration_is_not_lost(
    market: Marketplace, clock: HandClock
) -> None:
    """Whoever looked at the clock first may have had to wait for the other."""
    await market.add_partner(EVSP, ["evsp"], "Cards")

    async def turn(action: Action, seconds: int) -> None:
        await flows.change_standing(
            market.core.partners,
            *(HUB, EVSP, action),
            hub=HUB,
            memory=market.book,
            now=clock() + timedelta(seconds=seconds),
        )

    await turn(Action.SUSPEND, 0)
    await turn(Action.RESTORE, 2)
    await turn(Action.SUSPEND, 1)
    found = await flows.find(market.core.partners, EVSP)
    assert found.status_at(clock() + timedelta(seconds=3)) is PartnerStatus.SUSPENDED


async def test_secrets_are_kept_as_hashes_alone(market: Marketplace) -> None:
    joined = await market.add_partner(EVSP, ["evsp"], "Cards")
    async with market.database.begin() as connection:
        rows = await connection.exec_driver_sql("SELECT hash FROM marketplace.client_secret")
        hashes = [row.hash for row in rows]
    assert len(hashes) == 1
    assert hashes[0].startswith("$argon2id$")
    assert joined.client_secret not in hashes[0]
