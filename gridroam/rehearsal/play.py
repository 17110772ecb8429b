"""Playing the charges: each one from the card to the CDR, through charge points or the API alone.

Charges are played in the order of the day: at every moment those that charge are those that charged
then. One station's steps stay in order; the stations together keep `LANES` steps under way.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from gridroam.rehearsal.charge_point import VirtualChargePoint
from gridroam.rehearsal.client import Partner
from gridroam.rehearsal.inputs import PlayedCharge
from roaming.evse_id import EvseId
from roaming.identifier import BadIdentifier
from roaming.party import PartyId

LANES = 48
CDRS_AT_ONCE = 50

Told = Callable[[int, str], None]


@dataclass(slots=True)
class Outcome:
    """What became of the charges."""

    accepted: int = 0
    duplicates: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    cdr_states: Counter[str] = field(default_factory=Counter)


class Pace:
    """At most `rate` charges a second; None is as fast as the hub takes them."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._begun = time.monotonic()
        self._released = 0

    async def next(self) -> None:
        if self._rate is None:
            return
        due = self._begun + self._released / self._rate
        self._released += 1
        await asyncio.sleep(max(0.0, due - time.monotonic()))


class Lanes:
    """Steps of one key in order, of all keys side by side, at most `LANES` under way.

    The first failure ends the replay: a rehearsal that skips what fails would show wrong books.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(LANES)
        self._last: dict[str, asyncio.Task[None]] = {}
        self._failure: BaseException | None = None

    async def put(self, key: str, step: Callable[[], Awaitable[None]]) -> None:
        await self._free.acquire()
        if self._failure is not None:
            raise self._failure
        before = self._last.get(key)
        task = asyncio.create_task(self._run(before, step))
        self._last[key] = task
        task.add_done_callback(lambda ended: self._forget(key, ended))

    async def drain(self) -> None:
        while self._last:
            await asyncio.wait(list(self._last.values()))
        if self._failure is not None:
            raise self._failure

    def _forget(self, key: str, ended: asyncio.Task[None]) -> None:
        if self._last.get(key) is ended:
            del self._last[key]

    async def _run(
        self, before: asyncio.Task[None] | None, step: Callable[[], Awaitable[None]]
    ) -> None:
        try:
            if before is not None:
                await before
            if self._failure is None:
                await step()
        except Exception as error:  # noqa: BLE001  told by put and drain
            self._failure = self._failure or error
        finally:
            self._free.release()


def timeline(charges: Sequence[PlayedCharge]) -> Iterator[tuple[PlayedCharge, bool]]:
    """Starts (True) and stops (False) in the order of time; a charge stops after it has started."""
    running: list[tuple[float, int, PlayedCharge]] = []
    for charge in charges:
        while running and running[0][0] <= charge.start.timestamp():
            yield heapq.heappop(running)[2], False
        yield charge, True
        stops_at = max(charge.end, charge.start).timestamp()
        heapq.heappush(running, (stops_at, charge.line, charge))
    while running:
        yield heapq.heappop(running)[2], False


def repeats(charges: Sequence[PlayedCharge]) -> set[int]:
    """Lines that tell of a charge already told: same point, card, times and energy."""
    seen: set[tuple[object, ...]] = set()
    found = set()
    for charge in charges:
        key = (
            charge.evse_id,
            charge.token_uid,
            charge.start.timestamp(),
            charge.end.timestamp(),
            charge.energy_wh,
        )
        if key in seen:
            found.add(charge.line)
        seen.add(key)
    return found


def station_of(evse_id: str) -> tuple[PartyId, EvseId] | None:
    """The operator and the normal form of an EVSE id, or None when it is none."""
    try:
        evse = EvseId(evse_id)
    except BadIdentifier:
        return None
    return evse.party, evse


async def through_charge_points(
    charges: Sequence[PlayedCharge],
    *,
    hub_url: str,
    passwords: Mapping[EvseId, str],
    operators: Mapping[EvseId, PartyId],
    rate: float | None,
    told: Told,
) -> Outcome:
    """Play over OCPP 1.6 JSON: one charge point for each EVSE."""
    outcome = Outcome()
    twice = repeats(charges)
    points: dict[str, VirtualChargePoint] = {}
    lanes, pace = Lanes(), Pace(rate)

    async def begin(charge: PlayedCharge, evse: EvseId) -> None:
        point = points.get(evse)
        if point is None:
            url = f"{hub_url}/ocpp/{operators[evse].dashed}"
            point = points[evse] = VirtualChargePoint(evse, url, passwords[evse])
            await point.connect()
        reason = await point.start(charge)
        if charge.line in twice:
            outcome.duplicates += 1
        elif reason is None:
            outcome.accepted += 1
        else:
            outcome.refused[reason] += 1
        told(1, f"{charge.start:%d %b %H:%M}")

    async def end(charge: PlayedCharge, evse: EvseId) -> None:
        await points[evse].stop(charge)

    try:
        for charge, starts in timeline(charges):
            station = station_of(charge.evse_id)
            if station is None or station[1] not in passwords:
                if starts:
                    # No central system knows this point: its socket would be refused with 404.
                    outcome.refused["evse-unknown"] += 1
                    told(1, f"{charge.start:%d %b %H:%M}")
                continue
            _, evse = station
            if starts:
                await pace.next()
            step = begin if starts else end
            await lanes.put(evse, partial(step, charge, evse))
        await lanes.drain()
    finally:
        await asyncio.gather(*(point.close() for point in points.values()))
    return outcome


async def through_api(
    charges: Sequence[PlayedCharge],
    *,
    partners: Mapping[PartyId, Partner],
    operators: Mapping[EvseId, PartyId],
    rate: float | None,
    told: Told,
) -> Outcome:
    """Play over the operators' HTTP API: ask, and forward the CDR when the charge is over."""
    outcome = Outcome()
    twice = repeats(charges)
    lanes, pace = Lanes(), Pace(rate)
    ready: dict[PartyId, list[dict[str, object]]] = defaultdict(list)
    authorised: dict[int, str] = {}

    async def ask(charge: PlayedCharge, operator: PartyId) -> None:
        answer = await partners[operator].call(
            "POST",
            "/services/clearing-house/authorisations",
            {
                "evse_id": charge.evse_id,
                "identification": {"type": "rfid", "value": charge.token_uid},
                "services": ["charging"],
                "charge_id": _charge_id(charge),
                "at": charge.start.isoformat(),
            },
        )
        if answer["decision"] == "accepted":
            authorised[charge.line] = answer["authorisation_id"]
        if charge.line in twice:
            outcome.duplicates += 1
        elif answer["decision"] == "accepted":
            outcome.accepted += 1
        else:
            outcome.refused[answer["reason"]] += 1
        told(1, f"{charge.start:%d %b %H:%M}")

    async def forward(operator: PartyId, cdrs: list[dict[str, object]]) -> None:
        answers = await partners[operator].call("POST", "/services/clearing-house/cdrs", cdrs)
        outcome.cdr_states.update(answer["state"] for answer in answers)

    async def finish(charge: PlayedCharge, operator: PartyId) -> None:
        authorisation_id = authorised.pop(charge.line, None)
        if authorisation_id is None or charge.line in twice:
            return
        ready[operator].append(_cdr(charge, authorisation_id))
        if len(ready[operator]) >= CDRS_AT_ONCE:
            await forward(operator, ready.pop(operator))

    for charge, starts in timeline(charges):
        station = station_of(charge.evse_id)
        if station is None or operators.get(station[1], station[0]) not in partners:
            if starts:
                outcome.refused["evse-unknown"] += 1
                told(1, f"{charge.start:%d %b %H:%M}")
            continue
        operator = operators.get(station[1], station[0])
        if starts:
            await pace.next()
        step = ask if starts else finish
        await lanes.put(str(charge.line), partial(step, charge, operator))
    await lanes.drain()
    for operator, cdrs in ready.items():
        await forward(operator, cdrs)
    return outcome


def _charge_id(charge: PlayedCharge) -> str:
    """The same charge has the same id in every replay, so that nothing is billed twice."""
    content = "|".join(
        [
            charge.evse_id,
            charge.token_uid,
            charge.start.isoformat(),
            charge.end.isoformat(),
            str(charge.energy_wh),
        ]
    )
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _cdr(charge: PlayedCharge, authorisation_id: str) -> dict[str, object]:
    return {
        "cdr_id": _charge_id(charge),
        "evse_id": charge.evse_id,
        "authorisation_id": authorisation_id,
        "token_uid": charge.token_uid,
        "start": charge.start.isoformat(),
        "end": charge.end.isoformat(),
        "energy_wh": charge.energy_wh,
        "periods": [{"start": charge.start.isoformat(), "energy_wh": charge.energy_wh}],
    }
