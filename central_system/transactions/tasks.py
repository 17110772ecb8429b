"""Records to the clearing house: at least once, for ever, one operator's trouble its own.

The record of a charge is the same whenever it is sent, and the clearing house knows it by its id:
a record that is sent twice is booked once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from central_system.hub.model import HubAway, HubRefused
from central_system.transactions.model import CdrState
from central_system.transactions.ports import ClearingHouse, Outbox
from kit.encoding import encode_json
from kit.worker import Worker
from roaming.party import PartyId

log = structlog.get_logger(__name__)

MOST_AT_ONCE = 500
# A call may carry 16 MiB; records with many periods fill it before there are 500 of them.
MOST_BYTES = 4 * 1024 * 1024
BACK_OFF_MOST_S = 60.0

_Due = tuple[int, Mapping[str, Any]]


class CdrSender:
    """The one worker of a process that empties the outbox."""

    def __init__(
        self,
        outbox: Outbox,
        hub: ClearingHouse,
        *,
        idle_s: float = 1.0,
        back_off_least_s: float = 0.5,
    ) -> None:
        self._outbox = outbox
        self._back_off_least_s = back_off_least_s
        self._hub = hub
        self._worker = Worker("cdr-sender", self.step, idle_s=idle_s)
        # By operator: the pause after the last failure, and until when it lasts.
        self._pauses: dict[PartyId, tuple[float, float]] = {}

    def start(self) -> None:
        self._worker.start()

    def wake(self) -> None:
        self._worker.wake()

    async def close(self) -> None:
        await self._worker.close()

    async def step(self) -> bool:
        """One call for each operator that has records waiting; whether there may be more."""
        more = False
        for operator in await self._outbox.operators():
            if time.monotonic() < self._pauses.get(operator, (0.0, 0.0))[1]:
                continue
            try:
                more |= await self._send_for(operator)
                self._pauses.pop(operator, None)
            except (HubAway, HubRefused) as error:
                self._pause(operator, error.detail)
        return more

    async def _send_for(self, operator: PartyId) -> bool:
        waiting = await self._outbox.next(operator, MOST_AT_ONCE)
        due = _as_many_as_fit(waiting)
        if not due:
            return False
        answers = await self._hub.send(operator, [record for _, record in due])
        outcome = []
        for (number, _), answer in zip(due, answers, strict=True):
            state = CdrState(answer.state)
            outcome.append((number, state, answer.reasons))
            if state is CdrState.REJECTED:
                log.warning(
                    "cdr rejected",
                    operator=operator,
                    cdr_id=answer.cdr_id,
                    reasons=list(answer.reasons),
                )
        await self._outbox.answered(outcome)
        return len(due) < len(waiting) or len(waiting) == MOST_AT_ONCE

    def _pause(self, operator: PartyId, error: str) -> None:
        last_s, _ = self._pauses.get(operator, (0.0, 0.0))
        pause_s = min(max(self._back_off_least_s, last_s * 2), BACK_OFF_MOST_S)
        self._pauses[operator] = (pause_s, time.monotonic() + pause_s)
        log.warning("cdrs wait", operator=operator, error=error, again_in_s=pause_s)


def _as_many_as_fit(waiting: Sequence[_Due]) -> list[_Due]:
    """The first ones, at least one."""
    size = 0
    due: list[_Due] = []
    for one in waiting:
        size += len(encode_json(one[1]))
        if due and size > MOST_BYTES:
            break
        due.append(one)
    return due
