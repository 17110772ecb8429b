"""The door's books: how much of each quota is used, and the log of refused calls."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import datetime

import asyncpg
import structlog
from sqlalchemy import BigInteger, Column, Integer, Table, Text

from gateway.calls.model import Allowance, Lease, Period, Quota, QuotaExceeded, RefusedCall
from kit.database import Database, metadata
from kit.event_log import NewEvent, append
from kit.worker import Worker
from roaming.events import EventType
from roaming.party import PartyId
from roaming.refusal import Unavailable

log = structlog.get_logger(__name__)

quotas = Table(
    "quota",
    metadata,
    Column("contract_id", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("period_start", BigInteger, nullable=False),
    Column("used", Integer, nullable=False),
    Column("granted", Integer, nullable=False),
    schema="gateway",
)

# One row for each contract and period; one statement, so that the row's lock is all that is needed.
# Every expression sees the row as it was. Whoever is first in a new window begins it; a process
# whose clock is behind counts in the newer window, never in one that is over.
_TAKE = """
INSERT INTO gateway.quota AS q (contract_id, period, period_start, used, granted)
VALUES ($1, $2, $3, least($4::int, $5::int), least($4::int, $5::int))
ON CONFLICT (contract_id, period) DO UPDATE SET
  period_start = greatest(q.period_start, excluded.period_start),
  used = CASE WHEN q.period_start < excluded.period_start THEN excluded.used
    ELSE greatest(q.used, least(q.used + $4, $5)) END,
  granted = CASE WHEN q.period_start < excluded.period_start THEN excluded.granted
    ELSE greatest(0, least($4, $5 - q.used)) END
RETURNING period_start, used, granted
"""
_GIVE_BACK = """
UPDATE gateway.quota SET used = used - $4
WHERE contract_id = $1 AND period = $2 AND period_start = $3
"""

_SECONDS = {Period.DAY: 86_400, Period.SECOND: 1}
# A process takes this share of a limit at once, at most LARGEST_BLOCK calls: small limits go one by
# one, so that what one process holds unused is never what another one lacks.
BLOCKS_IN_A_LIMIT = 200
LARGEST_BLOCK = 500
# What a process holds unused goes back this often.
GIVE_BACK_S = 1.0
# After an empty answer the row is not asked again for this long: refusals must be cheap.
ASK_AGAIN_S = 0.05


class _Block:
    """Calls of one quota that this process has taken and not used, and who waits for more."""

    __slots__ = ("asking", "empty_until_s", "free", "touched", "used", "waiting", "window")

    def __init__(self) -> None:
        self.window = -1
        self.free = 0
        self.used = 0
        self.waiting: deque[asyncio.Future[int | None]] = deque()
        self.asking: asyncio.Task[None] | None = None
        self.empty_until_s = 0.0
        self.touched = False


class SqlQuotas:
    """Counts that are exact over all processes: never do more calls pass than were agreed.

    A process that dies takes what it held unused with it; then fewer pass, never more.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._blocks: dict[tuple[str, Period], _Block] = {}
        self._returns = Worker("quota-returns", self._give_back_unused, idle_s=GIVE_BACK_S)
        self._returns.start()

    async def reserve(self, contract_id: str, quota: Quota, at: datetime) -> Allowance:
        """One call from each of the quota's limits; the tighter one is what the caller is told."""
        now_s = int(at.timestamp())
        taken: list[Lease] = []
        tightest: Allowance | None = None
        for period, limit in ((Period.SECOND, quota.per_second), (Period.DAY, quota.per_day)):
            if limit is None:
                continue
            length_s = _SECONDS[period]
            block = self._block(contract_id, period)
            window = await self._take(contract_id, period, block, now_s // length_s, limit)
            reset_s = length_s - now_s % length_s
            if window is None:
                self.release(taken)
                raise QuotaExceeded(
                    f"contract {contract_id} allows {limit} calls a {period}",
                    contract_id=contract_id,
                    limit=limit,
                    retry_after_s=reset_s,
                )
            taken.append(Lease(contract_id, period, window))
            remaining = max(0, limit - block.used + block.free)
            if tightest is None or remaining < tightest.remaining:
                tightest = Allowance((), limit, remaining, reset_s)
        assert tightest is not None, "a quota has at least one limit"
        return Allowance(tuple(taken), tightest.limit, tightest.remaining, tightest.reset_s)

    def release(self, leases: Sequence[Lease]) -> None:
        """Back into this process's own block; what is over by now is worth nothing."""
        for lease in leases:
            block = self._block(lease.contract_id, lease.period)
            if block.window < lease.window:
                block.window, block.free = lease.window, 0
            if block.window == lease.window:
                block.free += 1
                block.empty_until_s = 0.0

    async def close(self) -> None:
        """Give back all that is held."""
        await self._returns.close()
        for block in self._blocks.values():
            block.touched = False
        await self._give_back_unused()

    def _block(self, contract_id: str, period: Period) -> _Block:
        block = self._blocks.get((contract_id, period))
        if block is None:
            block = self._blocks[contract_id, period] = _Block()
        return block

    async def _take(
        self, contract_id: str, period: Period, block: _Block, window: int, limit: int
    ) -> int | None:
        """The window that the call counts in, or None where nothing is left."""
        block.touched = True
        if block.window < window:
            # The window is over, and what was free in it with it.
            block.window, block.free, block.empty_until_s = window, 0, 0.0
        if block.free > 0:
            block.free -= 1
            return block.window
        loop = asyncio.get_running_loop()
        if block.empty_until_s > loop.time():
            return None
        turn: asyncio.Future[int | None] = loop.create_future()
        block.waiting.append(turn)
        if block.asking is None:
            block.asking = loop.create_task(self._ask(contract_id, period, block, window, limit))
        return await turn

    async def _ask(
        self, contract_id: str, period: Period, block: _Block, window: int, limit: int
    ) -> None:
        """Take calls from the row for all who wait, in one statement at a time."""
        try:
            while block.waiting:
                spare = min(LARGEST_BLOCK, limit // BLOCKS_IN_A_LIMIT)
                wanted = max(1, len(block.waiting), spare)
                async with self._database.pool.acquire() as connection:
                    row = await connection.fetchrow(
                        _TAKE, contract_id, period.value, max(window, block.window), wanted, limit
                    )
                assert row is not None
                if row["period_start"] < block.window:
                    # A newer window has begun meanwhile: what was taken in the old one is over.
                    continue
                if row["period_start"] > block.window:
                    block.window, block.free = row["period_start"], 0
                block.used = row["used"]
                block.free += row["granted"]
                if row["granted"] == 0:
                    block.empty_until_s = asyncio.get_running_loop().time() + ASK_AGAIN_S
                self._serve(block, all_of_them=row["granted"] == 0)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("quota not read", contract_id=contract_id, error=repr(error))
            while block.waiting:
                _settle(
                    block.waiting.popleft(),
                    Unavailable("the quota cannot be read now", rule="try again shortly"),
                )
        finally:
            block.asking = None

    @staticmethod
    def _serve(block: _Block, *, all_of_them: bool) -> None:
        while block.waiting and (block.free or all_of_them):
            turn = block.waiting.popleft()
            if turn.done():
                continue
            if block.free:
                block.free -= 1
                turn.set_result(block.window)
            else:
                turn.set_result(None)

    async def _give_back_unused(self) -> bool:
        """Blocks that nobody touched for a while go back to the row, and are forgotten."""
        for (contract_id, period), block in list(self._blocks.items()):
            if block.touched or block.asking is not None:
                block.touched = False
                continue
            free, block.free = block.free, 0
            if free:
                try:
                    async with self._database.pool.acquire() as connection:
                        await connection.execute(
                            _GIVE_BACK, contract_id, period.value, block.window, free
                        )
                except BaseException:
                    # Not known whether it was given back: never count it as ours again.
                    log.warning("quota not given back", contract_id=contract_id, calls=free)
                    raise
                continue
            del self._blocks[contract_id, period]
        return False


def _settle(turn: asyncio.Future[int | None], refusal: Unavailable) -> None:
    if not turn.done():
        turn.set_exception(refusal)


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
        self._worker = Worker("refusal-log", self._write, idle_s=LOG_EVERY_S)
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
