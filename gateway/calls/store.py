"""The door's books: how much of each quota is used, and the log of refused calls."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import cast

import structlog
from sqlalchemy import BigInteger, Column, Table, Text

from gateway.calls.model import Allowance, Lease, Left, Period, Quota, RefusedCall
from gateway.calls.refusals import PackUsedUp, QuotaExceeded, QuotaUnreadable
from gateway.packs import store as packs
from kit.database import Database, Hot, metadata
from kit.event_log import NewEvent, append
from kit.server_away import AWAY
from kit.worker import Worker
from roaming.events import EventType
from roaming.party import PartyId

log = structlog.get_logger(__name__)

quotas = Table(
    "quota",
    metadata,
    Column("contract_id", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("period_start", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("granted", BigInteger, nullable=False),
    schema="gateway",
)

# One row for each contract and period; one statement, so that the row's lock is all that is needed.
# Every expression sees the row as it was. Whoever is first in a new window begins it; a process
# whose clock is behind counts in the newer window, never in one that is over.
# $4 calls are waited for; $6 more are wanted to spare, of what lies before the last $7.
_TAKE = """
INSERT INTO gateway.quota AS q (contract_id, period, period_start, used, granted)
SELECT $1, $2, $3, granted, granted
FROM (SELECT least($4::bigint + greatest(0, least($6::bigint, $5::bigint - $7::bigint)), $5::bigint)
  AS granted) AS first
ON CONFLICT (contract_id, period) DO UPDATE SET (period_start, used, granted) = (
  SELECT greatest(q.period_start, excluded.period_start), base + granted, granted
  FROM (SELECT CASE WHEN q.period_start < excluded.period_start THEN 0 ELSE q.used END AS base)
    AS window_so_far,
  LATERAL (SELECT greatest(0,
    least($4::bigint + greatest(0, least($6::bigint, $5::bigint - base - $7::bigint)),
      $5::bigint - base)) AS granted) AS now
)
RETURNING period_start, used, granted
"""
_GIVE_BACK = """
UPDATE gateway.quota SET used = used - $4
WHERE contract_id = $1 AND period = $2 AND period_start = $3
"""

# What a process takes to spare is what a contract's calls use up within BUSY_S, at most so many:
# who calls now and then has each call counted in the row itself.
BUSY_S = 0.05
LARGEST_BLOCK = 500
# Of a second, it is this share: what is left over is worth nothing when the second is over.
BLOCKS_IN_A_SECOND = 200
# The last calls of a day or month go one by one, so that none is refused while another process has
# some to spare: whatever was taken before is used or given back until then, and before the first
# call is refused there is time for that once more.
LAST_CALLS = 10_000
# What a process holds and did not use since it looked last goes back this often.
GIVE_BACK_S = 0.1
# So many looks at a block of which nothing is used, and it is forgotten: later than a call that
# came to nothing gives its quota back, as a rule.
FORGET_AFTER = 300
# After an empty answer the row is not asked again for this long: refusals must be cheap.
ASK_AGAIN_S = 0.05
# A database that hangs is one that is away.
ANSWER_WITHIN_S = 3.0
BACK_OFF_MOST_S = 1.0


class _Block:
    """Calls of one limit that this process has taken and not used, and who waits for more.

    `limit` and `used` are of all processes, as of the last look; `served` counts what went out of
    the block since it was last looked through for what is idle.
    """

    __slots__ = (
        *("asking", "doubted", "empty_until_s", "filled_s", "free", "idle", "limit", "served"),
        *("spare", "used", "waiting", "window"),
    )

    def __init__(self, limit: int) -> None:
        self.window = -1
        self.limit = limit
        self.free = 0
        self.used = 0
        self.spare = 0
        self.served = 0
        self.idle = 0
        self.doubted = -1
        self.waiting: deque[asyncio.Future[int | None]] = deque()
        self.asking: asyncio.Task[None] | None = None
        self.empty_until_s = 0.0
        self.filled_s = 0.0

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used + self.free)

    def begin(self, window: int) -> None:
        """In a new window what was free in the one before is worth nothing."""
        if self.window < window:
            self.window, self.free, self.used, self.empty_until_s = window, 0, 0, 0.0

    def wanted(self, period: Period, now_s: float) -> tuple[int, int]:
        """How many calls to take beside those that are waited for, and how many to leave."""
        if period is Period.PACK:
            return 0, 0
        if period is Period.SECOND:
            return min(LARGEST_BLOCK, self.limit // BLOCKS_IN_A_SECOND), 0
        busy = now_s - self.filled_s < BUSY_S
        self.spare = min(LARGEST_BLOCK, 2 * self.spare + 1) if busy else self.spare // 2
        return self.spare, LAST_CALLS

    def doubts(self, period: Period) -> bool:
        """Whether another process may have some to spare where the row has none: asked once in each
        window, and not where nobody takes any to spare.
        """
        if period in (Period.SECOND, Period.PACK) or self.limit <= LAST_CALLS:
            return False
        first, self.doubted = self.doubted < self.window, self.window
        return first

    def serve(self, *, all_of_them: bool) -> None:
        """Those who wait get what is free; all of them an answer, where nothing more will come."""
        while self.waiting and (self.free or all_of_them):
            turn = self.waiting.popleft()
            if turn.done():
                continue
            if self.free:
                self.free -= 1
                self.served += 1
                turn.set_result(self.window)
            else:
                turn.set_result(None)

    def fail(self) -> None:
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_exception(
                    QuotaUnreadable("the quota cannot be read now", rule="try again shortly")
                )


class SqlQuotas:
    """Counts that are exact over all processes: of a limit of N calls, N pass.

    A process that is killed takes with it the calls that were under way, and what it would have
    used within BUSY_S; of a pack nothing but the former. Then fewer pass, never more.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._blocks: dict[tuple[str, Period], _Block] = {}
        self._returns = Worker(
            "quota-returns",
            self._give_back_idle,
            idle_s=GIVE_BACK_S,
            back_off_most_s=BACK_OFF_MOST_S,
        )
        self._returns.start()

    async def reserve(self, contract_id: str, quota: Quota, at: datetime) -> Allowance:
        """One call from each of the quota's limits, or from none."""
        taken: list[Lease] = []
        lefts: list[Left] = []
        try:
            for period, limit in quota.limits:
                block = self._block(contract_id, period, limit)
                current, reset_s = period.moment(at)
                block.begin(current)
                window: int | None = block.window
                if block.free:
                    block.free -= 1
                    block.served += 1
                else:
                    window = await self._wait(contract_id, period, block)
                lefts.append(Left(period, block.limit, block.remaining, reset_s))
                if window is None:
                    raise _used_up(contract_id, lefts)
                taken.append(Lease(contract_id, period, window))
        except BaseException:
            self.release(taken)
            raise
        return Allowance(tuple(taken), tuple(lefts))

    def release(self, leases: Sequence[Lease]) -> None:
        """Back into this process's own block, and soon into the row; what is over by now is worth
        nothing.
        """
        for lease in leases:
            block = self._block(lease.contract_id, lease.period, 0)
            block.begin(lease.window)
            if block.window == lease.window:
                block.free += 1
                block.empty_until_s = 0.0

    async def close(self) -> None:
        """Give back all that is held, once what is being asked for has come."""
        await self._returns.close()
        asking = [block.asking for block in self._blocks.values() if block.asking is not None]
        await asyncio.gather(*asking)
        for (contract_id, period), block in list(self._blocks.items()):
            with suppress(*AWAY):
                await self._give_back(contract_id, period, block, block.free)
        self._blocks.clear()

    def _block(self, contract_id: str, period: Period, limit: int) -> _Block:
        block = self._blocks.get((contract_id, period))
        if block is None:
            block = self._blocks[contract_id, period] = _Block(limit)
        elif limit and period is not Period.PACK:
            # Of a pack it is what was bought, which the row alone knows.
            block.limit = limit
        return block

    async def _wait(self, contract_id: str, period: Period, block: _Block) -> int | None:
        """The window that the call counts in, or None where nothing is left."""
        loop = asyncio.get_running_loop()
        if block.empty_until_s > loop.time():
            return None
        turn: asyncio.Future[int | None] = loop.create_future()
        block.waiting.append(turn)
        if block.asking is None:
            block.asking = loop.create_task(self._ask(contract_id, period, block))
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                window = turn.result()
                if window is not None:
                    self.release([Lease(contract_id, period, window)])
            raise

    async def _ask(self, contract_id: str, period: Period, block: _Block) -> None:
        """Take calls from the row for all who wait, in one statement at a time."""
        loop = asyncio.get_running_loop()
        try:
            while block.waiting:
                asked = block.window
                window, used, granted = await self._take(contract_id, period, block, loop.time())
                if window < block.window:
                    # A newer window has begun meanwhile: what was taken in the old one is over.
                    assert asked < block.window, "a row never goes back"
                    continue
                block.begin(window)
                block.used = used
                block.free += granted
                block.filled_s = loop.time()
                if granted == 0:
                    if block.doubts(period):
                        await asyncio.sleep(2 * GIVE_BACK_S)
                        continue
                    block.empty_until_s = block.filled_s + ASK_AGAIN_S
                block.serve(all_of_them=granted == 0)
        except AWAY as error:
            log.warning("quota not read", contract_id=contract_id, error=repr(error))
        finally:
            # None, but for a failure: whatever it was, nobody waits for what no longer comes.
            block.fail()
            block.asking = None

    async def _take(
        self, contract_id: str, period: Period, block: _Block, now_s: float
    ) -> tuple[int, int, int]:
        """The window, how much of it is used, and how many calls of it are ours now."""
        waiting = len(block.waiting)
        spare, last = block.wanted(period, now_s)
        async with self._connection() as connection:
            if period is Period.PACK:
                block.limit, used, granted = await packs.take(connection, contract_id, waiting)
                return block.window, used, granted
            row = await connection.fetchrow(
                *(_TAKE, contract_id, period.value, block.window, waiting),
                *(block.limit, spare, last),
            )
        assert row is not None
        return row["period_start"], row["used"], row["granted"]

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Hot]:
        """No transaction: each use is one statement."""
        async with self._database.pool.acquire(timeout=ANSWER_WITHIN_S) as connection:
            try:
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    yield cast(Hot, connection)
            except TimeoutError:
                # To be given back in order it would wait for word from who does not answer.
                connection.terminate()
                raise

    async def _give_back_idle(self) -> bool:
        """Of each block what is more than was used since the last look."""
        for (contract_id, period), block in list(self._blocks.items()):
            if block.asking is not None:
                continue
            served, block.served = block.served, 0
            if block.free > served:
                await self._give_back(contract_id, period, block, block.free - served)
            block.idle = 0 if served else block.idle + 1
            if block.idle > FORGET_AFTER and not block.free and block.asking is None:
                del self._blocks[contract_id, period]
        return False

    async def _give_back(self, contract_id: str, period: Period, block: _Block, calls: int) -> None:
        if not calls:
            return
        window = block.window
        block.free -= calls
        try:
            async with self._connection() as connection:
                if period is Period.PACK:
                    await packs.give_back(connection, contract_id, calls)
                else:
                    await connection.execute(_GIVE_BACK, contract_id, period.value, window, calls)
        except BaseException:
            # Not known whether it was given back: never count it as ours again.
            log.warning("quota not given back", contract_id=contract_id, calls=calls)
            raise
        if block.window == window:
            block.used -= calls


def _used_up(contract_id: str, lefts: Sequence[Left]) -> PackUsedUp | QuotaExceeded:
    kind = PackUsedUp if lefts[-1].period is Period.PACK else QuotaExceeded
    *others, last = lefts
    return kind(contract_id=contract_id, lefts=(*others, last._replace(remaining=0)))


# A flood of refusals becomes one event a second for each caller and reason; past this many of those
# in one second the rest are counted together.
MOST_KINDS = 1_000
LOG_EVERY_S = 1.0


class _Sum:
    __slots__ = ("count", "first")

    def __init__(self, first: RefusedCall) -> None:
        self.first = first
        self.count = 0


class RefusalLog:
    """Refused calls as events, added up by caller, reason and service while they gather."""

    def __init__(self, database: Database, *, hub: PartyId) -> None:
        self._database = database
        self._hub = hub
        self._sums: dict[tuple[str | None, ...], _Sum] = {}
        self._worker = Worker(
            "refusal-log", self._write, idle_s=LOG_EVERY_S, back_off_most_s=BACK_OFF_MOST_S
        )
        self._worker.start()

    def note(self, refused: RefusedCall) -> None:
        shadow = "shadow" if refused.shadow else None
        sandbox = "sandbox" if refused.sandbox else None
        key = (refused.caller, refused.reason.value, refused.service, shadow, sandbox)
        found = self._sums.get(key)
        if found is None:
            if len(self._sums) >= MOST_KINDS:
                key = (None, refused.reason.value, None, shadow, sandbox)
            found = self._sums.setdefault(key, _Sum(refused))
        found.count += 1

    async def close(self) -> None:
        await self._worker.close()
        await self._write()

    async def _write(self) -> bool:
        if not self._sums:
            return False
        sums, self._sums = self._sums, {}
        events = [self._event(key[0], one) for key, one in sums.items()]
        try:
            async with self._database.hot() as connection:
                await append(connection, events)
        except BaseException:
            # Back to the others, so that the next turn tells of them.
            for key, one in sums.items():
                later = self._sums.get(key)
                one.count += 0 if later is None else later.count
                self._sums[key] = one
            raise
        return False

    def _event(self, caller: str | None, summed: _Sum) -> NewEvent:
        first = summed.first
        party = caller or self._hub
        return NewEvent(
            stream=f"refusals:{party}",
            type=EventType.CALL_REFUSED,
            party=party,
            body={
                "caller": caller,
                "client_id": first.client_id,
                "reason": first.reason.value,
                "service": first.service,
                "operation": None if first.operation is None else first.operation[:200],
                "contract_id": first.contract_id,
                "request_id": first.request_id,
                "shadow": first.shadow,
                "sandbox": first.sandbox,
                "count": summed.count,
            },
            occurred_at=first.at,
            correlation_id=first.request_id,
        )
