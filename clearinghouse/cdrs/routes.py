"""HTTP for records: operators hand them in, both sides read what is theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from datetime import datetime
from tempfile import SpooledTemporaryFile

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from clearinghouse.cdrs import flows, wire
from clearinghouse.cdrs.batch import Outcome
from clearinghouse.cdrs.flows import Intake
from clearinghouse.cdrs.life import CannotBecome, State
from clearinghouse.cdrs.model import BadCdr, CdrIdReused, Key, Submission, UnknownCdr
from kit.actor import actor_now
from kit.batching import Batcher
from kit.database import Database
from kit.encoding import encode_json
from kit.event_log import START, Cursor
from kit.http import HotRoute, caller_of, decode, json_response, page_link, read_body
from kit.idempotency import once
from kit.ndjson import PIECE_BYTES, decompressed, lines
from roaming.party import PartyId
from roaming.refusal import Malformed, Refusal

MOST_BYTES = 16 * 1024 * 1024
DEFAULT_PAGE, LARGEST_PAGE = 100, 1_000
_BATCH = 500
_HandedIn = tuple[Submission, str | None]
# Reading a thousand records takes tens of milliseconds; others get their turn in between.
_SLICE = 100
NDJSON = "application/x-ndjson"
_SPOOL_BYTES = 1024 * 1024


class CdrPage(msgspec.Struct, frozen=True):
    """Records in the order of the log. `next_cursor` goes on from here, also tomorrow."""

    cdrs: list[wire.CdrShown]
    next_cursor: str


class Routes:
    """The routes of one process; `close` waits for what it has taken in."""

    def __init__(self, intake: Intake, database: Database) -> None:
        self._intake = intake
        self._database = database
        self._batcher: Batcher[_HandedIn, Outcome] = Batcher(self._write, most=_BATCH)

    async def _write(self, handed_in: Sequence[_HandedIn]) -> Sequence[Outcome]:
        return await flows.receive(
            [one for one, _ in handed_in],
            intake=self._intake,
            actors={(one.operator, one.cdr_id): actor for one, actor in reversed(handed_in)},
        )

    async def close(self) -> None:
        await self._batcher.close()

    def hot_routes(self) -> list[HotRoute]:
        return [
            HotRoute(
                "POST",
                "/cdrs",
                self.receive,
                operation="receive-cdrs",
                summary=(
                    "Hand in one CDR, or a list of up to 1,000. One: 201, or 200 when it was known;"
                    " 409 when its cdr_id was booked with other content. A list: 200 and the same"
                    " answers in the same order, each with its state."
                ),
                request_type=wire.CdrTold | list[wire.CdrTold],
                response_type=wire.CdrAnswer | list[wire.CdrAnswer],
            ),
            HotRoute(
                "GET",
                "/cdrs",
                self.list,
                operation="list-cdrs",
                summary=(
                    "The caller's own CDRs, as operator or as EVSP, in the order of the log."
                    " since: a cursor of an earlier page, or RFC 3339 time of record; state; limit."
                ),
                response_type=CdrPage,
            ),
            HotRoute(
                "GET",
                "/cdrs/{operator}/{cdr_id:path}",
                self.show,
                operation="show-cdr",
                summary="One of the caller's own CDRs, with the lines of its price.",
                response_type=wire.CdrShown,
            ),
            HotRoute(
                "POST",
                "/cdrs/stream",
                self.stream,
                operation="stream-cdrs",
                summary=(
                    "Hand in any number of CDRs, one JSON object a line; gzip if Content-Encoding"
                    " says so. Answered when all are booked: by a report with the first rejections"
                    " (?rejections=100), or with `Accept: application/x-ndjson` by every answer in"
                    " order. Sending again is safe, and so is going on after a break."
                ),
                request_type=wire.CdrTold,
                response_type=wire.StreamShown,
            ),
            HotRoute(
                "POST",
                "/cdrs/approvals",
                self.approve_many,
                operation="approve-cdrs",
                summary=(
                    "By the EVSP: agree with up to 1,000 CDRs. 200 with the state of each, or why"
                    " it cannot be approved; the others are, all in one transaction."
                ),
                request_type=wire.ApprovalsTold,
                response_type=wire.ApprovalsShown,
            ),
            HotRoute(
                "POST",
                "/cdrs/{operator}/{cdr_id:path}/approve",
                self.approve,
                operation="approve-cdr",
                summary="By the EVSP: agree with a CDR. 200 also when it was approved already.",
                response_type=wire.ApprovalShown,
            ),
        ]

    async def receive(self, request: Request) -> Response:
        caller = caller_of(request)
        caller.must_be("evse-operator")
        if "idempotency-key" not in request.headers:
            return await self._receive(request, caller.party)
        return await once(
            request,
            lambda: self._receive(request, caller.party),
            database=self._database,
            party=caller.party,
            clock=self._intake.clock,
        )

    async def _receive(self, request: Request, operator: PartyId) -> Response:
        told = wire.read_one(await read_body(request, MOST_BYTES))
        if isinstance(told, wire.CdrTold):
            outcome = await self._batcher.put((wire.submission_of(operator, told), actor_now()))
            if outcome.reused:
                raise CdrIdReused(
                    wire.reused_says(outcome.cdr),
                    field="cdr_id",
                    value=told.cdr_id,
                    rule="one record under one cdr_id; a correction has an id of its own",
                )
            return json_response(wire.answer_of(outcome), 200 if outcome.known else 201)
        return json_response(await self._receive_many(operator, told))

    async def _receive_many(
        self, operator: PartyId, raws: Sequence[msgspec.Raw]
    ) -> list[wire.CdrAnswer]:
        return [answer for answer, _ in await self.take(operator, raws)]

    async def take(
        self, operator: PartyId, raws: Sequence[bytes | msgspec.Raw]
    ) -> list[tuple[wire.CdrAnswer, bool]]:
        """Take in an operator's records; each one's answer, and whether it was known already."""
        answers: list[wire.CdrAnswer | None] = []
        submissions: list[Submission] = []
        for index, raw in enumerate(raws):
            if index % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            try:
                submissions.append(wire.submission_of(operator, wire.decode_cdr(raw)))
                answers.append(None)
            except Malformed as refusal:
                answers.append(wire.malformed_answer(wire.cdr_id_of(raw), refusal))
        actor = actor_now()
        outcomes = await asyncio.gather(*(self._batcher.put((one, actor)) for one in submissions))
        booked = iter(outcomes)
        return [
            (one, False)
            if one is not None
            else (wire.answer_of(outcome := next(booked)), outcome.known)
            for one in answers
        ]

    async def stream(self, request: Request) -> Response:
        """Lines are read only as fast as they are booked, and nothing of them stays in memory.

        A client that sends all before it reads must not wait for us while we wait for it. So no
        answer goes out before the last line has come in: they wait in a file, or in a report.
        """
        caller = caller_of(request)
        caller.must_be("evse-operator")
        began = self._intake.clock()
        shown = _whole(request.query_params.get("rejections"), "rejections", 0, LARGEST_PAGE)
        report = wire.StreamReport(DEFAULT_PAGE if shown is None else shown)
        answers = _Spool() if _wants_lines(request) else None
        body = decompressed(request.stream(), request.headers.get("content-encoding"))
        try:
            async for some in _by(_BATCH, lines(body, wire.MOST_CDR_BYTES)):
                told = await self.take(caller.party, [line for _, line in some])
                for (number, _), (answer, known) in zip(some, told, strict=True):
                    report.add(number, answer, known)
                if answers is not None:
                    answers.add([answer for answer, _ in told])
        except BaseException:
            if answers is not None:
                answers.close()
            raise
        if answers is not None:
            return StreamingResponse(answers.read(), media_type=NDJSON)
        return json_response(report.shown(began))

    async def list(self, request: Request) -> Response:
        caller = caller_of(request)
        caller.must_be("evse-operator", "evsp")
        query = request.query_params
        after, since = _since(query.get("cursor") or query.get("since"))
        limit = _limit(query.get("limit"))
        page = await self._intake.books.page(
            caller.party, after=after, since=since, state=_state(query.get("state")), limit=limit
        )
        cursor = page[-1][0] if page else after
        return json_response(
            CdrPage([wire.shown(cdr) for _, cdr in page], str(cursor)),
            headers=page_link(request, str(cursor) if len(page) == limit else None),
        )

    async def approve_many(self, request: Request) -> Response:
        caller = caller_of(request)
        caller.must_be("evsp")

        async def approve() -> Response:
            told = decode(await read_body(request, MOST_BYTES), wire.ApprovalsTold)
            keys = [(PartyId(one.operator), one.cdr_id) for one in told.cdrs]
            outcomes = await self._approve(keys, caller.party)
            return json_response(
                wire.ApprovalsShown([wire.approval_of(*key, outcomes[key]) for key in keys])
            )

        return await once(
            request,
            approve,
            database=self._database,
            party=caller.party,
            clock=self._intake.clock,
        )

    async def approve(self, request: Request) -> Response:
        caller = caller_of(request)
        caller.must_be("evsp")
        operator = PartyId(request.path_params["operator"])
        key = operator, request.path_params["cdr_id"]

        async def approve() -> Response:
            if "\0" in key[1]:
                raise UnknownCdr(f"no such cdr of {operator}", field="cdr_id")
            outcome = (await self._approve([key], caller.party))[key]
            if isinstance(outcome, Refusal):
                raise outcome
            return json_response(wire.approval_of(*key, outcome))

        return await once(
            request,
            approve,
            database=self._database,
            party=caller.party,
            clock=self._intake.clock,
        )

    async def _approve(
        self, keys: Sequence[Key], evsp: PartyId
    ) -> dict[Key, State | CannotBecome | UnknownCdr]:
        intake = self._intake
        return await flows.approve(keys, evsp=evsp, books=intake.books, clock=intake.clock)

    async def show(self, request: Request) -> Response:
        caller = caller_of(request)
        operator = PartyId(request.path_params["operator"])
        cdr_id = request.path_params["cdr_id"]
        # PostgreSQL has no NUL in texts, and so no record of such a name.
        found = (
            None
            if "\0" in cdr_id
            else await self._intake.books.find(caller.party, operator, cdr_id)
        )
        if found is None:
            raise UnknownCdr(f"no cdr {cdr_id} of {operator}", field="cdr_id", value=cdr_id)
        return json_response(wire.shown(found))


class _Spool:
    """Answers in a file of no name, until they may go out."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115  closed by `read`

    def add(self, answers: Sequence[wire.CdrAnswer]) -> None:
        self._file.write(b"".join(encode_json(one) + b"\n" for one in answers))

    def close(self) -> None:
        self._file.close()

    async def read(self) -> AsyncIterator[bytes]:
        with self._file as file:
            file.seek(0)
            while piece := file.read(PIECE_BYTES):
                yield piece


def _wants_lines(request: Request) -> bool:
    return NDJSON in request.headers.get("accept", "")


async def _by(
    most: int, numbered: AsyncIterable[tuple[int, bytes]]
) -> AsyncIterator[list[tuple[int, bytes]]]:
    some: list[tuple[int, bytes]] = []
    async for one in numbered:
        some.append(one)
        if len(some) == most:
            yield some
            some = []
    if some:
        yield some


def _since(said: str | None) -> tuple[Cursor, datetime | None]:
    if said is None:
        return START, None
    try:
        if "T" not in said:
            cursor = Cursor.parse(said)
            if not (0 <= cursor.xid < 2**63 and 0 <= cursor.position < 2**63):
                raise ValueError("no such cursor")
            return cursor, None
        # A plus sign that nobody escaped arrives as a blank.
        since = datetime.fromisoformat(said.replace(" ", "+"))
        if since.tzinfo is None or not 1900 < since.year < 3000:
            raise ValueError("no offset, or no time of this business")
        return START, since
    except ValueError as error:
        raise BadCdr(
            "neither a cursor nor a time",
            field="since",
            value=said,
            rule="a cursor of an earlier page, or RFC 3339 with offset",
        ) from error


def _limit(said: str | None) -> int:
    return _whole(said, "limit", 1, LARGEST_PAGE) or DEFAULT_PAGE


def _whole(said: str | None, field: str, least: int, most: int) -> int | None:
    if said is None:
        return None
    if not said.isascii() or not said.isdigit() or not least <= int(said[:9]) <= most:
        raise BadCdr("not such a number", field=field, value=said, rule=f"{least} to {most}")
    return int(said[:9])


def _state(said: str | None) -> State | None:
    if said is None:
        return None
    try:
        return State(said)
    except ValueError as error:
        raise BadCdr("no such state", field="state", value=said, rule=", ".join(State)) from error
