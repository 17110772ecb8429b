"""Sending to an EVSP: what a partner's name leads to is looked at when it is called."""

from __future__ import annotations

import pytest

from clearinghouse.forwarding.client import HttpSender
from clearinghouse.forwarding.model import Delivery, Place
from roaming.party import PartyId
from tests.clearinghouse.forwarding.fakes import Address, EvspServer


@pytest.mark.parametrize("allow_loopback", [False, True])
async def test_a_name_is_sent_to_only_where_it_may_lead(allow_loopback: bool) -> None:
    evsp = EvspServer()
    await evsp.start()
    sender = HttpSender.open(allow_loopback=allow_loopback)
    delivery = Delivery("FRXYZ-1", PartyId("FR*XYZ"), Place(0, 0), Place(1, 1), [])
    try:
        named = Address(evsp.url.replace("127.0.0.1", "localhost"))
        reply = await sender.send(named, delivery)
    finally:
        await sender.close()
        await evsp.stop()
    assert reply.status == (200 if allow_loopback else None)
    assert len(evsp.calls) == (1 if allow_loopback else 0)
