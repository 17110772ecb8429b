"""A message goes on until its party has it: down for a day, killed in between, asked again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from marketplace.messages import flows
from marketplace.messages.flows import Post
from marketplace.messages.model import (
    BackOff,
    Fact,
    Message,
    NotADeadLetter,
    Reply,
    State,
    UnknownMessage,
    Way,
)
from marketplace.messages.ports import Endpoint
from marketplace.messages.store import SqlOutbox, tell
from marketplace.partners.flows import endpoint_to_call
from marketplace.partners.model import Purpose
from roaming.events import EventType
from roaming.party import PartyId
from tests.marketplace.fakes import EVSP, OPERATOR, HandClock, Member
from tests.marketplace.whole import Marketplace

URL = "https://evl.example/contracts"


@dataclass
class Peer:
    """An endpoint that takes what it is asked to, and the headers that it wants."""

    replies: list[int | None] = field(default_factory=list)
    came: list[Message] = field(default_factory=list)

    async def send(self, endpoint: Endpoint, message: Message) -> Reply:
        assert (endpoint.url, dict(endpoint.headers)) == (URL, {"X-Key": "mine"})
        self.came.append(message)
        return Reply(self.replies.pop(0) if self.replies else 204, "so")


@dataclass
class Places:
    market: Marketplace

    async def of(self, party: PartyId, purpose: str) -> Endpoint | None:
        return await endpoint_to_call(self.market.core.partners, party, Purpose(purpose))


@pytest.fixture
def peer() -> Peer:
    return Peer()


@pytest.fixture
async def post(market: Marketplace, operator: Member, evsp: Member, peer: Peer) -> Post:
    path = f"/marketplace/partners/{EVSP}/endpoints/contracts"
    told = await evsp.http.put(path, json={"url": URL, "headers": {"X-Key": "mine"}})
    assert told.status_code == 200, told.text
    made = Post(SqlOutbox(market.database), Places(market), peer, market.clock, "here/1", BackOff())
    # What joining brought about is told, too.
    while await flows.send_next(EVSP, post=made, chance=0):
        pass
    peer.came.clear()
    return made


async def happened(market: Marketplace, subject: str, *numbers: int) -> None:
    facts = [
        Fact(
            subject,
            EventType.CONTRACT_STATUS_CHANGED,
            OPERATOR,
            (OPERATOR, EVSP),
            {"number": number},
            market.clock(),
        )
        for number in numbers
    ]
    async with market.database.begin() as connection:
        await tell(connection, facts)


async def drained(post: Post) -> None:
    while await flows.send_next(EVSP, post=post, chance=0):
        pass


def numbers(messages: Sequence[Message]) -> list[Any]:
    return [message.body["number"] for message in messages]


async def waiting(post: Post, party: PartyId = EVSP) -> list[Message]:
    return list(
        await post.outbox.page(party, state=State.MUST_BE_SENT, subject=None, after=0, limit=100)
    )


async def test_a_message_that_was_taken_is_acknowledged_and_never_sent_again(
    market: Marketplace, post: Post, peer: Peer
) -> None:
    await happened(market, "contract:1", 1, 2)
    assert numbers(await waiting(post)) == [1, 2]
    assert await post.outbox.parties(market.clock()) == [EVSP]
    await drained(post)
    assert numbers(peer.came) == [1, 2]
    assert await waiting(post) == []
    assert await post.outbox.parties(market.clock()) == []
    [first, _] = await post.outbox.page(EVSP, state=None, subject="contract:1", after=0, limit=9)
    assert (first.state, first.way) == (State.ACKNOWLEDGED, Way.ENDPOINT)


async def test_a_peer_that_is_down_for_a_day_gets_all_in_order(
    market: Marketplace, clock: HandClock, post: Post, peer: Peer
) -> None:
    peer.replies = [None, 503, 429, 404]
    began = clock.now
    await happened(market, "contract:1", 1, 2)
    await happened(market, "contract:2", 3)
    for _ in range(4):
        await drained(post)
        # Nothing is tried before its time, not even what has not been tried yet.
        before = len(peer.came)
        await drained(post)
        assert len(peer.came) == before
        [oldest, *_] = await waiting(post)
        assert oldest.next_attempt_at is not None
        clock.now = max(oldest.next_attempt_at, clock.now + timedelta(hours=6))
    assert clock.now - began >= timedelta(days=1)
    await drained(post)
    assert await waiting(post) == []
    assert numbers(peer.came)[-3:] == [1, 2, 3]
    assert {one.message_id for one in peer.came[:5]} == {peer.came[0].message_id}


async def test_a_message_is_given_up_after_a_week_and_seen_and_sent_again_when_asked(
    market: Marketplace, clock: HandClock, post: Post, peer: Peer
) -> None:
    await happened(market, "contract:1", 1)
    for _ in range(2):
        peer.replies = [None]
        await drained(post)
        clock.forward(days=7)
    [dead] = await flows.page(
        post.outbox, EVSP, state=State.DEAD_LETTER, subject=None, after=0, limit=9
    )
    assert dead.says == "so"
    await happened(market, "contract:1", 2)
    await drained(post)
    assert numbers(peer.came) == [1, 1, 2]
    again = await flows.send_again(post.outbox, EVSP, dead.message_id, clock.now)
    assert again.state is State.MUST_BE_SENT
    await drained(post)
    assert peer.came[-1].message_id == dead.message_id
    with pytest.raises(NotADeadLetter):
        await flows.send_again(post.outbox, EVSP, dead.message_id, clock.now)


async def test_what_a_peer_refuses_does_not_hold_up_what_comes_after(
    market: Marketplace, post: Post, peer: Peer
) -> None:
    peer.replies = [422]
    await happened(market, "contract:1", 1, 2)
    await drained(post)
    assert numbers(peer.came) == [1, 2]
    assert await waiting(post) == []


async def test_killed_between_sending_and_keeping_it_sends_the_same_again(
    market: Marketplace, post: Post, peer: Peer
) -> None:
    await happened(market, "contract:1", 1, 2)
    dying = replace(post, holder="gone/1")
    sent = await dying.outbox.next(EVSP, holder=dying.holder, now=market.clock())
    assert sent is not None
    # No connection of that process is there any more; another takes over at once.
    await drained(post)
    assert [peer.came[0].message_id, *numbers(peer.came)] == [sent.message_id, 1, 2]
    # Should it live after all, its word comes too late to matter.
    await dying.outbox.wait(
        sent, Reply(500, ""), market.clock(), holder=dying.holder, now=market.clock()
    )
    assert await waiting(post) == []


async def test_of_two_processes_one_sends(
    market: Marketplace, second: Marketplace, post: Post, peer: Peer
) -> None:
    await happened(market, "contract:1", 1, 2)
    alive = f"{market.database.session}/1"
    first = await post.outbox.next(EVSP, holder=alive, now=market.clock())
    assert first is not None
    elsewhere = SqlOutbox(second.database)
    other = f"{second.database.session}/2"
    # The second of the same contract waits for the first one's end.
    assert await elsewhere.next(EVSP, holder=other, now=market.clock()) is None
    await post.outbox.acknowledged(first, holder=alive, now=market.clock())
    follower = await elsewhere.next(EVSP, holder=other, now=market.clock())
    assert follower is not None
    assert follower.body["number"] == 2


async def test_a_party_acknowledges_by_a_call_and_by_no_other_partys(
    market: Marketplace, post: Post
) -> None:
    await happened(market, "contract:1", 1)
    *_, message = await waiting(post, OPERATOR)
    assert message.subject == "contract:1"
    with pytest.raises(UnknownMessage):
        await flows.acknowledge(post.outbox, EVSP, message.message_id, market.clock())
    for _ in range(2):
        done = await flows.acknowledge(post.outbox, OPERATOR, message.message_id, market.clock())
        assert (done.state, done.way) == (State.ACKNOWLEDGED, Way.CALL)
    assert message not in await waiting(post, OPERATOR)
    assert not message.has_endpoint
