"""How records reach their EVSP. No transaction is open while a partner is spoken to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import partial

from clearinghouse.forwarding.model import (
    Acknowledged,
    BackOff,
    BadPreference,
    Channel,
    DeadLetter,
    Delivery,
    Nothing,
    Place,
    Preference,
    Reply,
    Trace,
    UnknownDeadLetter,
    Verdict,
    verdict,
)
from clearinghouse.forwarding.ports import PURPOSE, Endpoints, Outbox, Preferences, Senders
from kit.clock import Clock
from kit.outside_url import check_url
from roaming.party import PartyId

MOST_IN_A_DELIVERY = 100
# A file is opened by a person or a nightly job: fewer and larger ones are easier to handle.
MOST_IN_A_FILE = 1_000
MOST_LOOKED_UP = 1_000
MOST_REPLAYED = 1_000


class Progress(Enum):
    """What one step came to, and so when the next one is due."""

    NOTHING_TO_DO = auto()
    UNFINISHED_BEFORE = auto()
    WENT_ON = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class Step:
    """`until`: when there will be something to do, as far as is known."""

    progress: Progress
    until: datetime | None = None


async def forward(
    evsp: PartyId,
    *,
    holder: str,
    outbox: Outbox,
    preferences: Preferences,
    endpoints: Endpoints,
    senders: Senders,
    clock: Clock,
    back_off: BackOff | None = None,
    chance: float = 0.0,
) -> Step:
    """Send an EVSP its next records, and keep what came of it.

    `chance` in [0, 1) spreads the pauses after failures. They go on from the attempts on record, so
    that a restart of ours makes nobody's bad day worse.
    """
    preference = await preferences.of(evsp)
    send = await _way(evsp, preference, preferences, endpoints, senders)
    if send is None:
        return Step(Progress.NOTHING_TO_DO)
    delivery = await outbox.next(
        evsp,
        holder=holder,
        most=MOST_IN_A_FILE if preference.channel is Channel.SFTP else MOST_IN_A_DELIVERY,
        now=clock(),
        preference=preference,
    )
    if isinstance(delivery, Nothing):
        unfinished = delivery.unfinished
        return Step(
            Progress.UNFINISHED_BEFORE if unfinished else Progress.NOTHING_TO_DO, delivery.until
        )
    reply = await send(delivery)
    match verdict(reply):
        case Verdict.DELIVERED:
            await outbox.delivered(delivery, clock(), reply, preference.channel)
        case Verdict.REFUSED if len(delivery.cdrs) > 1:
            await outbox.split(delivery)
        case Verdict.REFUSED:
            await outbox.bury(delivery, reply, clock())
        case Verdict.RETRY:
            pause_s = (back_off or BackOff()).pause_s(delivery.attempts + 1, chance)
            again_at = clock() + timedelta(seconds=pause_s)
            await outbox.failed(delivery, reply.says, again_at)
            return Step(Progress.FAILED, again_at)
    return Step(Progress.WENT_ON)


async def _way(
    evsp: PartyId,
    preference: Preference,
    preferences: Preferences,
    endpoints: Endpoints,
    senders: Senders,
) -> Callable[[Delivery], Awaitable[Reply]] | None:
    """How to send to an EVSP; None where it fetches its records itself."""
    if preference.channel is Channel.PULL:
        return None
    if preference.channel is Channel.SFTP:
        assert preference.sftp is not None, "checked when the wish was kept"
        key = await preferences.private_key(evsp)
        return partial(senders.sftp.send, preference.sftp, key)
    endpoint = await endpoints.of(evsp, PURPOSE)
    if endpoint is None:
        return None
    sender = senders.soap if preference.channel is Channel.SOAP else senders.http
    return partial(sender.send, endpoint)


async def show_preference(
    evsp: PartyId, *, preferences: Preferences
) -> tuple[Preference, str | None]:
    """What holds for an EVSP, and the hub's key for its files, if one was made."""
    return await preferences.of(evsp), await preferences.public_key(evsp)


async def choose(
    evsp: PartyId, preference: Preference, *, preferences: Preferences, allow_loopback: bool
) -> tuple[Preference, str | None]:
    """An EVSP says how and when it wants its records. Raises BadPreference, BadUrl."""
    place = preference.sftp
    if preference.channel is Channel.SFTP and place is None:
        raise BadPreference(
            "where do the files go?",
            field="sftp",
            rule="host, port, user, directory and host_key, with channel sftp",
        )
    if place is not None:
        shown = f"[{place.host}]" if ":" in place.host else place.host
        check_url(f"https://{shown}/", allow_loopback=allow_loopback, field="sftp.host")
    kept = await preferences.keep(evsp, preference)
    return kept, await preferences.public_key(evsp)


async def acknowledge(evsp: PartyId, up_to: Place, *, outbox: Outbox, clock: Clock) -> Acknowledged:
    """An EVSP that fetches its records says that it has them, up to a cursor."""
    return await outbox.acknowledge(evsp, up_to, clock())


async def look_up(
    caller: PartyId,
    keys: Sequence[tuple[PartyId, str]],
    *,
    outbox: Outbox,
) -> Sequence[Trace]:
    """Where records are, as far as it is the caller's affair; else it is as if there were none.

    What was rejected is its operator's alone.
    """
    found = []
    for trace in await outbox.traces(keys):
        mine = trace.operator == caller or (trace.evsp == caller and not trace.rejected)
        found.append(trace if mine else Trace(trace.operator, trace.cdr_id))
    return found


async def list_dead_letters(
    evsp: PartyId, *, after: int, limit: int, outbox: Outbox
) -> Sequence[DeadLetter]:
    return await outbox.dead_letters(evsp, after=after, limit=limit)


async def replay(evsp: PartyId, dead_letter_id: int, *, outbox: Outbox, clock: Clock) -> DeadLetter:
    """Have a dead letter of the caller's sent again. Raises UnknownDeadLetter."""
    found = await outbox.ask_replay(evsp, dead_letter_id, clock())
    if found is None:
        raise UnknownDeadLetter(
            f"no dead letter {dead_letter_id}", field="dead_letter_id", value=dead_letter_id
        )
    return found


async def replay_many(
    evsp: PartyId, dead_letter_ids: Sequence[int] | None, *, outbox: Outbox, clock: Clock
) -> int:
    """Have these dead letters sent again, or all that are left; how many it is."""
    return await outbox.ask_replays(evsp, dead_letter_ids, clock())
