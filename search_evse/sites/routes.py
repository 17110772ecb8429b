"""Master data over HTTP: an operator provides the sites that it runs (ProvideEVSEMasterData)."""

from __future__ import annotations

import io

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from kit.clock import Clock
from kit.database import Database
from kit.http import caller_of, json_response, read_body
from kit.idempotency import once
from roaming.refusal import Malformed
from search_evse.sites import flows
from search_evse.sites.model import ImportReport
from search_evse.sites.ports import Books
from search_evse.sites.reading import Kind

BODY_MOST_BYTES = 16 << 20


class RejectionShown(BaseModel):
    line: int
    field: str
    value: str
    rule: str


class ReportShown(BaseModel):
    """Counted in EVSEs: read = created + updated + unchanged + rejected."""

    read: int
    created: int
    updated: int
    unchanged: int
    rejected: int
    reasons: dict[str, int]
    warnings: dict[str, int]
    examples: list[RejectionShown]

    @classmethod
    def of(cls, report: ImportReport) -> ReportShown:
        return cls(
            read=report.read,
            created=report.created,
            updated=report.updated,
            unchanged=report.unchanged,
            rejected=report.rejected,
            reasons=report.reasons,
            warnings=report.warnings,
            examples=[
                RejectionShown(line=one.line, field=one.field, value=one.value, rule=one.rule)
                for one in report.examples
            ],
        )


_LOCATIONS = {"application/json": {"schema": {"type": "array", "items": {"type": "object"}}}}


def router(books: Books, clock: Clock, database: Database) -> APIRouter:
    """The master data's routes, relative to the service's root."""
    routes = APIRouter(tags=["search-evse: sites"])

    @routes.post(
        "/locations",
        response_model=ReportShown,
        openapi_extra={"requestBody": {"required": True, "content": _LOCATIONS}},
    )
    async def provide_locations(request: Request) -> Response:
        """Provide OCPI 2.2.1 Location objects: an array, one object, or one a line.

        Only EVSEs of the caller are taken; each that is not taken is reported with its reason.
        """
        caller = caller_of(request)
        caller.must_be("evse-operator")

        async def run() -> Response:
            body = await read_body(request, BODY_MOST_BYTES)
            if body[:2] == b"\x1f\x8b":
                # A small one can unfold into more than we would take in the open.
                raise Malformed("the body is gzip", field="body", rule="plain JSON")
            report = await flows.import_evses(
                io.BytesIO(body), books=books, clock=clock, kind=Kind.OCPI, provider=caller.party
            )
            return json_response(ReportShown.of(report).model_dump())

        return await once(request, run, database=database, party=caller.party, clock=clock)

    return routes
