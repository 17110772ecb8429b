"""HTTP for files: an operator sends one, and reads what became of it. Nobody else sees it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from clearinghouse.cdr_files import flows
from clearinghouse.cdr_files.flows import LONGEST_LINE_BYTES
from clearinghouse.cdr_files.model import File, LineOutcome, State, UnknownFile
from clearinghouse.cdr_files.ports import Files
from kit.clock import Clock
from kit.http import Caller, caller_with, json_response, page_link
from kit.ndjson import decompressed, lines
from roaming.refusal import Malformed

LONGEST_FILE_ID = 64


class FaultShown(BaseModel):
    """Why a file was refused: `rule` in a word, `says` in a sentence."""

    rule: str
    says: str
    line: int | None


class ReasonShown(BaseModel):
    reason: str
    says: str


class FileShown(BaseModel):
    """`refused`: fatal, nothing is booked. While `booking` the counts grow; `booked` is the end."""

    file_id: str
    state: State
    records: int
    energy_wh: int
    totals: dict[str, str]
    accepted: int
    flagged: int
    rejected: int
    faults: list[FaultShown]
    begun_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, file: File) -> FileShown:
        return cls(
            file_id=file.file_id,
            state=file.state,
            records=file.records,
            energy_wh=file.energy_wh,
            totals=dict(file.totals),
            accepted=file.accepted,
            flagged=file.flagged,
            rejected=file.rejected,
            faults=[FaultShown(rule=one.name, says=one.says, line=one.line) for one in file.faults],
            begun_at=file.begun_at,
            finished_at=file.finished_at,
        )


class LineShown(BaseModel):
    """A record of a file; `state` is null until it is booked."""

    line: int
    cdr_id: str | None
    state: str | None
    reasons: list[ReasonShown]

    @classmethod
    def of(cls, outcome: LineOutcome) -> LineShown:
        return cls(
            line=outcome.line,
            cdr_id=outcome.cdr_id,
            state=outcome.state,
            reasons=[ReasonShown(reason=name, says=says) for name, says in outcome.reasons],
        )


Operator = Annotated[Caller, Depends(caller_with("evse-operator"))]
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": (
            'One JSON object a line. First {"header": {"file_id", "sender"}}, then the records,'
            ' last {"trailer": {"records", "energy_wh", "totals": {"EUR": "12.34"}}}.'
        ),
        "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
    }
}


def router(files: Files, clock: Clock, wake: Callable[[], None]) -> APIRouter:
    """Routes under `/cdr-files`. `wake` tells whoever books that there is something to book."""
    routes = APIRouter(prefix="/cdr-files", tags=["clearing house: files of CDRs"])

    @routes.post("/{file_id}", status_code=202, response_model=FileShown, openapi_extra=_BODY)
    async def send_cdr_file(request: Request, file_id: str, caller: Operator) -> Response:
        """Send a file of CDRs: all of it is taken, or none. 202: taken, and being booked.

        422 or 409 for a fatal fault: nothing of it is booked, and the file's report says why. The
        same file again is the same file; an Idempotency-Key has no effect here.
        """
        if not 0 < len(file_id) <= LONGEST_FILE_ID or not file_id.isprintable():
            raise Malformed(
                "not a file_id",
                field="file_id",
                value=file_id,
                rule=f"1 to {LONGEST_FILE_ID} printable characters",
            )
        body = decompressed(request.stream(), request.headers.get("content-encoding"))
        file = await flows.receive(
            file_id,
            lines(body, LONGEST_LINE_BYTES),
            caller=caller.party,
            files=files,
            clock=clock,
        )
        wake()
        return json_response(FileShown.of(file).model_dump(mode="json"), 202)

    @routes.get("/{file_id}")
    async def show_cdr_file(file_id: str, caller: Operator) -> FileShown:
        """What became of one of the caller's files: the one that was taken, else the last."""
        return FileShown.of(await _find(file_id, caller))

    @routes.get("/{file_id}/records")
    async def list_cdr_file_records(
        request: Request,
        response: Response,
        file_id: str,
        caller: Operator,
        state: Literal["accepted", "flagged", "rejected"] | None = None,
        cursor: Annotated[int, Query(ge=0, lt=2**31)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[LineShown]:
        """What became of each record of a file, by line; `?state=rejected`: those returned."""
        file = await _find(file_id, caller)
        found = await files.lines(file.upload_id, after=cursor, state=state, limit=limit + 1)
        if len(found) > limit:
            response.headers.update(page_link(request, str(found[limit - 1].line)))
        return [LineShown.of(one) for one in found[:limit]]

    async def _find(file_id: str, caller: Caller) -> File:
        if "\0" in file_id:
            raise UnknownFile("no such file", field="file_id")
        return await flows.show(file_id, caller=caller.party, files=files)

    return routes
