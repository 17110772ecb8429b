"""A file is staged, checked whole, and booked in batches; a crash at any point loses nothing."""

from __future__ import annotations

from collections.abc import AsyncIterable
from datetime import timedelta
from typing import Any

import msgspec

from clearinghouse.cdr_files import model
from clearinghouse.cdr_files.model import (
    File,
    Header,
    LineOutcome,
    Reckoning,
    State,
    Trailer,
    UnknownFile,
)
from clearinghouse.cdr_files.ports import Files, Intake
from kit.clock import Clock
from roaming.party import PartyId

LONGEST_LINE_BYTES = 256 * 1024
STAGED_AT_ONCE = 1_000
BOOKED_AT_ONCE = 500
BROKEN_AFTER = timedelta(hours=1)


class HeaderLine(msgspec.Struct, forbid_unknown_fields=True):
    """The first line of a file."""

    header: Header


class TrailerTold(msgspec.Struct, forbid_unknown_fields=True):
    records: int
    energy_wh: int
    totals: dict[str, str] | None = None


class TrailerLine(msgspec.Struct, forbid_unknown_fields=True):
    """The last line of a file."""

    trailer: TrailerTold


class _Loose(msgspec.Struct):
    """As much of a record as the sums need; whether it is one is for the intake to say."""

    energy_wh: Any = None
    total_cost: Any = None
    header: Any = None
    trailer: Any = None


_header, _trailer = msgspec.json.Decoder(HeaderLine), msgspec.json.Decoder(TrailerLine)
_loose = msgspec.json.Decoder(_Loose)
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


async def receive(
    file_id: str,
    numbered: AsyncIterable[tuple[int, bytes]],
    *,
    caller: PartyId,
    files: Files,
    clock: Clock,
) -> File:
    """Take a file in: to be booked, or the same as before. Raises FileRefused or FileIdTaken.

    Lines are kept outside any transaction while they come; the file's own begins when they are in.
    """
    upload_id = await files.begin(caller, file_id, clock())
    try:
        reckoned = await _stage(upload_id, numbered, Reckoning(file_id, caller), files, clock)
        file = await files.close(upload_id, reckoned, clock())
    except BaseException:
        await files.forget(upload_id)
        raise
    if file.state is State.REFUSED:
        raise model.refusal_of(file.faults, file_id)
    return file


async def _stage(
    upload_id: str,
    numbered: AsyncIterable[tuple[int, bytes]],
    reckoned: Reckoning,
    files: Files,
    clock: Clock,
) -> Reckoning:
    staged: list[tuple[int, bytes]] = []
    first, last = True, 1
    trailer: tuple[int, Trailer] | None = None
    async for number, line in numbered:
        last = number
        reckoned.saw(line)
        if first:
            first = False
            _open(reckoned, line)
            continue
        if trailer is not None:
            reckoned.fault("no-trailer", "lines come after the trailer", number)
            trailer = None
        told = _read(line)
        if told is None:
            reckoned.fault("line-unreadable", "not a JSON object, or too long", number)
        elif told.trailer is not None:
            trailer = _closing(reckoned, line, number)
        else:
            cost = told.total_cost if isinstance(told.total_cost, dict) else {}
            reckoned.add(told.energy_wh, cost.get("currency"), cost.get("excl_vat"))
            staged.append((number, line))
        # A file that is refused already is heard to its end, so that its sender hears the answer.
        if len(staged) >= STAGED_AT_ONCE:
            if not reckoned.faults:
                await files.stage(upload_id, staged, clock())
            staged = []
    if first:
        reckoned.fault("no-header", "the file is empty", 1)
    if trailer is not None:
        reckoned.closes(trailer[1], trailer[0])
    elif not any(one.name == "no-trailer" for one in reckoned.faults):
        reckoned.fault("no-trailer", "the file ends without one", last)
    if staged and not reckoned.faults:
        await files.stage(upload_id, staged, clock())
    return reckoned


def _open(reckoned: Reckoning, line: bytes) -> None:
    try:
        reckoned.opens(_header.decode(line).header)
    except _NOT_JSON as error:
        reckoned.fault("no-header", str(error)[:200], 1)


def _read(line: bytes) -> _Loose | None:
    if len(line) > LONGEST_LINE_BYTES:
        return None
    try:
        return _loose.decode(line)
    except _NOT_JSON:
        return None


def _closing(reckoned: Reckoning, line: bytes, number: int) -> tuple[int, Trailer] | None:
    try:
        told = _trailer.decode(line).trailer
    except _NOT_JSON as error:
        reckoned.fault("no-trailer", str(error)[:200], number)
        return None
    return number, Trailer(told.records, told.energy_wh, told.totals)


async def book_some(*, files: Files, intake: Intake, clock: Clock) -> bool:
    """Book some records of a file that waits; whether there was one.

    The intake knows what it has booked, and a line is counted when it is settled. So what a crash
    left half done is done again and comes to the same; as it does where two processes meet.
    """
    file = await files.next_to_book(clock())
    if file is None:
        await files.forget_broken(clock() - BROKEN_AFTER)
        return False
    waiting = await files.to_book(file.upload_id, BOOKED_AT_ONCE)
    if not waiting:
        await files.finish(file, clock())
        return True
    answers = await intake.take(file.operator, [line for _, line in waiting])
    await files.settle(
        file.upload_id,
        [
            LineOutcome(
                number,
                answer.cdr_id,
                answer.state,
                [(one.reason, one.says) for one in answer.details],
            )
            for (number, _), (answer, _known) in zip(waiting, answers, strict=True)
        ],
    )
    return True


async def show(file_id: str, *, caller: PartyId, files: Files) -> File:
    found = await files.find(caller, file_id)
    if found is None:
        raise UnknownFile(f"no file {file_id} of {caller}", field="file_id", value=file_id)
    return found
