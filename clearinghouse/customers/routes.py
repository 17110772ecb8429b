"""HTTP for customer contracts: one by its id, many by NDJSON. Only for EVSPs, only their own."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from clearinghouse.customers import flows, model
from clearinghouse.customers.model import (
    AuthorisationMode,
    CustomerContract,
    Limits,
    Line,
    Mode,
    Removal,
    Status,
    Upload,
    UploadState,
)
from clearinghouse.customers.ports import Customers
from kit.clock import Clock
from kit.database import Database
from kit.http import NOT_JSON, Caller, caller_with, decode, json_response, page_link
from kit.idempotency import once
from roaming.contract_id import ContractId
from roaming.refusal import Malformed, Refusal

LINE_LONGEST_BYTES = 64 * 1024
# So many bytes of lines are parsed in one go; then other callers get their turn.
_SLICE_BYTES = 32 * 1024


class LimitsAsked(BaseModel):
    """What the customer may spend, excluding VAT; what is left out is open."""

    model_config = ConfigDict(extra="forbid")

    currency: str
    per_charge_minor: int | None = None
    per_day_minor: int | None = None
    per_month_minor: int | None = None


class CustomerContractAsked(BaseModel):
    """Members that are left out take their default: open validity, active, charging, by list."""

    model_config = ConfigDict(extra="forbid")

    contract_id: str | None = None
    token_uids: list[str] = []
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None
    status: Status = Status.ACTIVE
    services: list[str] = ["charging"]
    authorisation: AuthorisationMode = AuthorisationMode.LIST
    display_name: str | None = None
    limits: LimitsAsked | None = None

    def to_contract(self, contract_id: ContractId) -> CustomerContract:
        if self.contract_id is not None and ContractId(self.contract_id) != contract_id:
            raise model.BadCustomerContract(
                "the body names another contract than the path",
                field="contract_id",
                value=self.contract_id,
                rule=f"{contract_id}, or left out",
            )
        return model.draw_up(
            contract_id,
            token_uids=self.token_uids,
            valid_from=self.valid_from,
            valid_until=self.valid_until,
            status=self.status,
            services=self.services,
            authorisation=self.authorisation,
            display_name=self.display_name,
            limits=None if self.limits is None else Limits(**self.limits.model_dump()),
        )


class CustomerContractShown(BaseModel):
    contract_id: str
    evsp: str
    token_uids: list[str]
    valid_from: datetime | None
    valid_until: datetime | None
    status: Status
    services: list[str]
    authorisation: AuthorisationMode
    display_name: str | None
    limits: LimitsAsked | None

    @classmethod
    def of(cls, contract: CustomerContract) -> CustomerContractShown:
        return cls(
            contract_id=str(contract.contract_id),
            evsp=str(contract.evsp),
            token_uids=[str(uid) for uid in contract.token_uids],
            valid_from=contract.valid_from,
            valid_until=contract.valid_until,
            status=contract.status,
            services=list(contract.services),
            authorisation=contract.authorisation,
            display_name=contract.display_name,
            limits=None if contract.limits is None else LimitsAsked(**asdict(contract.limits)),
        )


class RejectionShown(BaseModel):
    line: int
    contract_id: str | None
    field: str | None
    value: str | None
    rule: str


class BulkShown(BaseModel):
    """`read` = `created` + `changed` + `unchanged` + `rejected`; the first rejections are told."""

    read: int
    created: int
    changed: int
    unchanged: int
    rejected: int
    rejections: list[RejectionShown]

    @classmethod
    def of(cls, report: model.BulkReport, shown: int = model.REJECTIONS_MOST) -> BulkShown:
        return cls(**_report(report, shown))


class UploadShown(BulkShown):
    """`lines` of the upload are kept, whatever happens now: go on with `from_line` = `lines` + 1.

    `ended`: how many contracts a full list has blocked, since it did not name them.
    """

    upload: str
    mode: Mode
    state: UploadState
    lines: int
    ended: int
    began_at: datetime
    changed_at: datetime

    @classmethod
    def of_upload(cls, upload: Upload, shown: int = model.REJECTIONS_MOST) -> UploadShown:
        return cls(
            **_report(upload.report, shown),
            upload=upload.upload_id,
            mode=upload.mode,
            state=upload.state,
            lines=upload.lines,
            ended=upload.ended,
            began_at=upload.began_at,
            changed_at=upload.changed_at,
        )


def _report(report: model.BulkReport, shown: int) -> dict[str, Any]:
    return {
        "read": report.read,
        "created": report.kept.created,
        "changed": report.kept.changed,
        "unchanged": report.unchanged,
        "rejected": report.rejected,
        "rejections": [RejectionShown(**asdict(one)) for one in report.rejections[:shown]],
    }


class CompletionAsked(BaseModel):
    """`lines`: how many the whole list has. `confirm`: how many contracts a full list may end."""

    model_config = ConfigDict(extra="forbid")

    lines: Annotated[int, Field(ge=0)]
    confirm: Annotated[int, Field(ge=0)] | None = None


class LineAsked(msgspec.Struct, forbid_unknown_fields=True):
    """One line of a bulk: the body of a single contract, and its id; or that it is removed."""

    contract_id: str
    token_uids: tuple[str, ...] = ()
    valid_from: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    valid_until: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    status: Status = Status.ACTIVE
    services: tuple[str, ...] = model.CHARGING
    authorisation: AuthorisationMode = AuthorisationMode.LIST
    display_name: str | None = None
    limits: Limits | None = None
    removed: bool = False


_decoder = msgspec.json.Decoder(LineAsked)


Evsp = Annotated[Caller, Depends(caller_with("evsp"))]
_BULK_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "One JSON object a line: the body of a single contract, and contract_id.",
        "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
    }
}


def router(customers: Customers, database: Database, clock: Clock) -> APIRouter:
    """Routes under `/customer-contracts`."""
    routes = APIRouter(prefix="/customer-contracts", tags=["clearing house: customers"])

    @routes.post("/bulk", openapi_extra=_BULK_BODY)
    async def keep_customer_contracts(
        request: Request,
        caller: Evsp,
        rejections: Annotated[int, Query(ge=0, le=1000)] = model.REJECTIONS_SHOWN,
        upload: Annotated[str | None, Query(description="a name for it, to go on by")] = None,
        mode: Annotated[Mode, Query(description="full needs an upload")] = Mode.DELTA,
        from_line: Annotated[int, Query(ge=1, description="of the whole upload")] = 1,
        lines: Annotated[int | None, Query(ge=0, description="of the whole upload")] = None,
        confirm: Annotated[int | None, Query(ge=0, description="how many may end")] = None,
    ) -> UploadShown | BulkShown:
        """Keep many contracts: one JSON object a line, of any number. A bad line stops no other.

        Sending the same lines again changes nothing; an Idempotency-Key has no effect here. With
        `upload` a broken connection costs nothing: what is kept is told, and the rest follows.
        """
        slices = _parsed(_slices(request.stream()), from_line)
        if upload is None:
            if mode is Mode.FULL:
                raise model.BadUpload(
                    "a full list ends what it does not name, so it must be known to be whole",
                    field="upload",
                    rule="a name for the upload",
                )
            report = await flows.keep_many(
                slices, caller=caller.party, customers=customers, clock=clock
            )
            return BulkShown.of(report, rejections)
        kept = await flows.upload(
            slices,
            flows.Asked(upload, mode, from_line, lines, confirm),
            caller=caller.party,
            customers=customers,
            clock=clock,
        )
        return UploadShown.of_upload(kept, rejections)

    @routes.get("/uploads/{upload}")
    async def show_customer_upload(
        upload: str,
        caller: Evsp,
        rejections: Annotated[int, Query(ge=0, le=1000)] = model.REJECTIONS_SHOWN,
    ) -> UploadShown:
        """How many lines of an upload are kept, and what became of them."""
        known = await flows.show_upload(upload, caller=caller.party, customers=customers)
        return UploadShown.of_upload(known, rejections)

    @routes.post("/uploads/{upload}/complete", response_model=UploadShown)
    async def complete_customer_upload(
        request: Request, upload: str, asked: CompletionAsked, caller: Evsp
    ) -> Response:
        """The whole list has come. A full one now blocks every contract that it did not name.

        Refused while lines are missing, and where more contracts would end than is likely to be
        meant, unless `confirm` names their number.
        """

        async def complete() -> Response:
            done = await flows.complete(
                upload,
                lines=asked.lines,
                confirmed=asked.confirm,
                caller=caller.party,
                customers=customers,
                clock=clock,
            )
            return json_response(UploadShown.of_upload(done).model_dump(mode="json"))

        return await once(request, complete, database=database, party=caller.party, clock=clock)

    @routes.put(
        "/{contract_id}",
        response_model=CustomerContractShown,
        responses={201: {"model": CustomerContractShown, "description": "New"}},
    )
    async def keep_customer_contract(
        request: Request, contract_id: str, asked: CustomerContractAsked, caller: Evsp
    ) -> Response:
        """Keep a contract: 201 when it is new, 200 when it was known. In effect at once."""

        async def keep() -> Response:
            contract = asked.to_contract(model.owned(ContractId(contract_id), caller.party))
            kept = await flows.keep(contract, caller=caller.party, customers=customers, clock=clock)
            return _shown(contract, 201 if kept.created else 200)

        return await once(request, keep, database=database, party=caller.party, clock=clock)

    @routes.get("/{contract_id}")
    async def show_customer_contract(contract_id: str, caller: Evsp) -> CustomerContractShown:
        """One of the caller's contracts."""
        return CustomerContractShown.of(
            await flows.show(ContractId(contract_id), caller=caller.party, customers=customers)
        )

    @routes.delete("/{contract_id}", response_model=CustomerContractShown)
    async def block_customer_contract(request: Request, contract_id: str, caller: Evsp) -> Response:
        """Block a contract at once. It stays known, so that its past charges stay explained."""

        async def block() -> Response:
            contract_to_block = ContractId(contract_id)
            return _shown(
                await flows.block(
                    contract_to_block, caller=caller.party, customers=customers, clock=clock
                )
            )

        return await once(request, block, database=database, party=caller.party, clock=clock)

    @routes.get("")
    async def list_customer_contracts(
        request: Request,
        response: Response,
        caller: Evsp,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: str | None = None,
    ) -> list[CustomerContractShown]:
        """The caller's contracts in order of their id; `Link` names the next page."""
        after = None if cursor is None else ContractId(cursor)
        found = await customers.page(caller.party, after=after, limit=limit + 1)
        shown = found[:limit]
        if len(found) > limit:
            response.headers.update(page_link(request, shown[-1].contract_id))
        return [CustomerContractShown.of(one) for one in shown]

    return routes


def _shown(contract: CustomerContract, status: int = 200) -> Response:
    return json_response(CustomerContractShown.of(contract).model_dump(mode="json"), status)


async def _slices(parts: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Whole lines out of a stream of parts, some at a time, without the last line's end.

    A line over its longest is cut there, and so is refused.
    """
    kept = b""
    async for part in parts:
        begins = 0
        while (ends := _end_of_slice(part, begins)) >= 0:
            yield kept + part[begins:ends]
            kept, begins = b"", ends + 1
        # What lies beyond the limit is not remembered: an endless line takes no memory.
        kept = (kept + part[begins:])[: LINE_LONGEST_BYTES + 1]
    if kept:
        yield kept


def _end_of_slice(part: bytes, begins: int) -> int:
    """Where the last line ends that still fits into a slice, or the first where none does; or -1"""
    last = part.rfind(b"\n", begins, begins + _SLICE_BYTES)
    return last if last >= 0 else part.find(b"\n", begins + _SLICE_BYTES)


async def _parsed(slices: AsyncIterable[bytes], from_line: int) -> AsyncIterator[Sequence[Line]]:
    number = from_line
    async for piece in slices:
        raws = piece.split(b"\n")
        if number == 1:
            raws[0] = raws[0].removeprefix(codecs.BOM_UTF8)
        yield [_line(n, raw) for n, raw in enumerate(raws, number) if raw and not raw.isspace()]
        number += len(raws)
        await asyncio.sleep(0)


def _line(number: int, raw: bytes) -> Line:
    if len(raw) > LINE_LONGEST_BYTES:
        rule = f"at most {LINE_LONGEST_BYTES} bytes a line"
        return Line(number, Malformed("the line is too long", field="line", rule=rule))
    try:
        asked = _decoder.decode(raw)
    except NOT_JSON:
        return _undecoded(number, raw)
    try:
        if asked.removed:
            return _removal(number, asked)
        contract = model.draw_up(
            asked.contract_id,
            token_uids=asked.token_uids,
            valid_from=asked.valid_from,
            valid_until=asked.valid_until,
            status=asked.status,
            services=asked.services,
            authorisation=asked.authorisation,
            display_name=asked.display_name,
            limits=asked.limits,
        )
    except Refusal as refusal:
        return Line(number, refusal, asked.contract_id[:60])
    return Line(number, contract, contract.contract_id)


def _removal(number: int, asked: LineAsked) -> Line:
    contract_id = ContractId(asked.contract_id)
    if asked != LineAsked(asked.contract_id, removed=True):
        rule = "nothing beside contract_id and removed"
        refusal = Malformed("a removal says nothing else", field="removed", value=True, rule=rule)
        return Line(number, refusal, contract_id)
    return Line(number, Removal(contract_id), contract_id)


def _undecoded(number: int, raw: bytes) -> Line:
    """The line that could not be read, with as much of its content as can be told."""
    try:
        decode(raw, LineAsked)
    except Malformed as malformed:
        refusal = malformed
    try:
        content = msgspec.json.decode(raw)
    except NOT_JSON:
        content = None
    if not isinstance(content, dict):
        return Line(number, Malformed(refusal.detail, field="line", rule=refusal.rule))
    field = refusal.field or "line"
    contract_id = content.get("contract_id")
    return Line(
        number,
        Malformed(
            refusal.detail,
            field=field,
            value=content.get(field.partition("[")[0]),
            rule=refusal.rule,
        ),
        contract_id[:60] if isinstance(contract_id, str) else None,
    )
