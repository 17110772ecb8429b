"""How EVSPs keep their customer contracts here: one at a time, or by the hundred thousand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from clearinghouse.customers import model
from clearinghouse.customers.model import (
    BulkReport,
    CustomerContract,
    Kept,
    Line,
    Mode,
    Removal,
    Upload,
    UploadState,
)
from clearinghouse.customers.ports import Book, Customers, NotAllNew
from kit.clock import Clock
from kit.event_log import NewEvent
from roaming.contract_id import ContractId
from roaming.events import EventType
from roaming.identifier import BadIdentifier
from roaming.party import PartyId
from roaming.refusal import Refusal

# Handing a batch to the database holds up everybody else in the process for some milliseconds, and
# larger ones measured hardly faster.
BATCH = 5_000
_TRIES = 5


async def keep(
    contract: CustomerContract, *, caller: PartyId, customers: Customers, clock: Clock
) -> Kept:
    """Keep one contract of the caller's. Raises NotYourCustomer, TokenHeldElsewhere."""
    model.owned(contract.contract_id, caller)
    kept, refused = await _keep(caller, [contract], customers, clock())
    if refused:
        raise refused[0][1]
    return kept


async def block(
    contract_id: ContractId, *, caller: PartyId, customers: Customers, clock: Clock
) -> CustomerContract:
    """Block one contract of the caller's, at once and until it is kept as active again."""
    model.owned(contract_id, caller)
    now = clock()
    async with customers.write(caller) as book:
        known = await book.find(contract_id)
        if known is None:
            raise _unknown(contract_id)
        blocked = known.blocked()
        kept = await book.keep([blocked], now)
        if kept.changed:
            await book.tell(_told(caller, [blocked], kept, now))
    return blocked


async def show(
    contract_id: ContractId, *, caller: PartyId, customers: Customers
) -> CustomerContract:
    """One contract of the caller's. Raises NotYourCustomer, UnknownCustomerContract."""
    model.owned(contract_id, caller)
    known = await customers.find(caller, contract_id)
    if known is None:
        raise _unknown(contract_id)
    return known


@dataclass(frozen=True, slots=True)
class Asked:
    """A bulk that goes on after a broken connection: which one, and where these lines stand in it.

    With `lines` it is complete as soon as so many are kept.
    """

    upload_id: str
    mode: Mode = Mode.DELTA
    from_line: int = 1
    lines: int | None = None
    confirmed: int | None = None


async def keep_many(
    slices: AsyncIterable[Sequence[Line]],
    *,
    caller: PartyId,
    customers: Customers,
    clock: Clock,
    batch: int = BATCH,
) -> BulkReport:
    """Keep the contracts of many lines, as if each came by itself and in order.

    A line that is refused is counted and told; the others are kept. Each batch is a transaction, so
    what was read before a broken connection stays.
    """
    bulk = _Bulk(caller, customers, clock, batch)
    await bulk.take(slices)
    return bulk.report


async def upload(
    slices: AsyncIterable[Sequence[Line]],
    asked: Asked,
    *,
    caller: PartyId,
    customers: Customers,
    clock: Clock,
    batch: int = BATCH,
) -> Upload:
    """The same, and how many lines are kept is kept with them: lines that come again are skipped.

    Raises UploadDiffers, LinesMissing, UploadElsewhere; EndsTooMany with all lines kept.
    """
    name = model.upload_id(asked.upload_id)
    async with customers.write(caller) as book:
        begun = await book.upload(name)
        if begun is None:
            begun = await book.begin_upload(name, asked.mode, clock())
        model.goes_on(begun, asked.mode, asked.from_line)
    bulk = _Bulk(caller, customers, clock, batch, begun)
    await bulk.take(slices)
    assert bulk.upload is not None
    if asked.lines is not None and bulk.upload.lines == asked.lines:
        return await complete(
            name,
            lines=asked.lines,
            confirmed=asked.confirmed,
            caller=caller,
            customers=customers,
            clock=clock,
        )
    return bulk.upload


async def complete(
    upload_id: str,
    *,
    lines: int,
    confirmed: int | None,
    caller: PartyId,
    customers: Customers,
    clock: Clock,
) -> Upload:
    """An upload has come to its end. A full list ends what it has not named, now and not before.

    Raises UnknownUpload, UploadDiffers, LinesMissing, EndsTooMany; then nobody is ended.
    """
    now = clock()
    async with customers.write(caller) as book:
        known = await book.upload(upload_id)
        if known is None:
            raise _unknown_upload(upload_id)
        model.may_complete(known, lines)
        if known.state is UploadState.COMPLETE:
            return known
        ended = 0
        if known.mode is Mode.FULL:
            ended = await book.count_unlisted(known)
            model.may_end(known, ended, confirmed)
            await book.end_unlisted(known, now)
        done = known.completed(ended, now)
        await book.save_upload(done)
        body = {"upload": upload_id, "mode": str(done.mode), "lines": lines, "ended": ended}
        await book.tell(_event(caller, EventType.CUSTOMER_LIST_COMPLETED, body, now))
    return done


async def show_upload(upload_id: str, *, caller: PartyId, customers: Customers) -> Upload:
    """How much of an upload is kept. Raises UnknownUpload."""
    known = await customers.find_upload(caller, upload_id)
    if known is None:
        raise _unknown_upload(upload_id)
    return known


@dataclass(slots=True)
class _Batch:
    """What one transaction is to write: each contract at most once."""

    contracts: dict[ContractId, CustomerContract] = field(default_factory=dict)
    removals: dict[ContractId, None] = field(default_factory=dict)
    lines: dict[ContractId, Line] = field(default_factory=dict)
    refused: list[tuple[Line, Refusal]] = field(default_factory=list)
    read: int = 0
    last_line: int = 0


class _Bulk:
    """A bulk on its way: while the database writes a batch, the next one is gathered."""

    def __init__(
        self,
        evsp: PartyId,
        customers: Customers,
        clock: Clock,
        most: int,
        upload: Upload | None = None,
    ) -> None:
        self._evsp = evsp
        self._own = evsp.compact
        self._customers = customers
        self._clock = clock
        self._most = most
        self._gathered = _Batch()
        self._writing: asyncio.Task[None] | None = None
        # Where all were new, the next ones are taken for new, too: faster, unless it proves wrong.
        self._new = False
        self._done_before = 0 if upload is None else upload.lines
        self.upload = upload
        self.report = model.NOTHING_READ

    async def take(self, slices: AsyncIterable[Sequence[Line]]) -> None:
        try:
            async for lines in slices:
                for line in lines:
                    if line.number > self._done_before and not self._gather(line):
                        await self._hand_over()
                        self._gather(line)
            await self._hand_over()
        finally:
            # What is being written when the connection breaks, is written.
            await self._written()

    def _gather(self, line: Line) -> bool:
        """Put a line into the batch; not when that is full, or names the same contract already: a
        second line of one contract takes effect after the first.
        """
        batch, content = self._gathered, line.content
        if batch.read >= self._most:
            return False
        if isinstance(content, Refusal):
            batch.refused.append((line, content))
        else:
            contract_id = content.contract_id
            if contract_id in batch.lines:
                return False
            if not contract_id.startswith(self._own):
                batch.refused.append((line, model.not_yours(contract_id, self._evsp)))
            else:
                batch.lines[contract_id] = line
                if isinstance(content, Removal):
                    batch.removals[contract_id] = None
                else:
                    batch.contracts[contract_id] = content
        batch.read += 1
        batch.last_line = line.number
        return True

    async def _hand_over(self) -> None:
        await self._written()
        if self._gathered.read:
            batch, self._gathered = self._gathered, _Batch()
            self._writing = asyncio.create_task(self._write(batch))

    async def _written(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await writing

    async def _write(self, batch: _Batch) -> None:
        now = self._clock()
        new = self._new and not batch.removals
        tries = _TRIES
        while True:
            tries -= 1
            try:
                report, upload = await self._write_once(batch, now, new=new)
                break
            except NotAllNew:
                new = False
            except model.TokensRaced:
                # The other EVSP's write is visible by now, so that the next look decides.
                if not tries:
                    raise
        self._new = report.kept.created + report.rejected == batch.read
        self.report = self.report.and_then(report)
        self.upload = upload

    async def _write_once(
        self, batch: _Batch, now: datetime, *, new: bool
    ) -> tuple[BulkReport, Upload | None]:
        contracts = list(batch.contracts.values())
        refused = list(batch.refused)
        async with self._customers.write(self._evsp) as book:
            if new:
                kept = await book.add(contracts, now)
            else:
                contracts, by_token = await _keepable(book, contracts)
                refused += [(batch.lines[one.contract_id], refusal) for one, refusal in by_token]
                kept = await book.keep(contracts, now)
                removed = await book.remove(list(batch.removals), now)
                kept += Kept(created=0, changed=removed)
            report = _report(batch.read, kept, refused)
            upload = self.upload
            if upload is not None:
                known = await book.upload(upload.upload_id)
                if known is None or (known.lines, known.state) != (upload.lines, upload.state):
                    raise _elsewhere(upload)
                if upload.mode is Mode.FULL and (refused or not new):
                    await book.list_named(upload, [*batch.lines, *_named(refused)])
                upload = upload.with_lines(batch.last_line, report, now)
                await book.save_upload(upload)
            if kept != model.NOTHING_KEPT:
                await book.tell(_told(self._evsp, contracts, kept, now))
        return report, upload


def _report(read: int, kept: Kept, refused: Sequence[tuple[Line, Refusal]]) -> BulkReport:
    in_order = sorted(refused, key=lambda one: one[0].number)
    return BulkReport(
        read=read,
        kept=kept,
        rejected=len(refused),
        rejections=tuple(model.rejection(*one) for one in in_order[: model.REJECTIONS_MOST]),
        unnamed=len(refused) - len(_named(refused)),
    )


def _named(refused: Sequence[tuple[Line, Refusal]]) -> list[ContractId]:
    """The contracts that refused lines are about, where they tell it."""
    found = []
    for line, _ in refused:
        with suppress(BadIdentifier):
            found.append(ContractId(line.contract_id or ""))
    return found


async def _keep(
    evsp: PartyId, contracts: Sequence[CustomerContract], customers: Customers, now: datetime
) -> tuple[Kept, list[tuple[CustomerContract, Refusal]]]:
    """One transaction: those that can be kept, and those that cannot with the reason."""
    tries = _TRIES
    while True:
        tries -= 1
        try:
            return await _keep_once(evsp, contracts, customers, now)
        except model.TokensRaced:
            # The other EVSP's write is visible by now, so that the next look decides.
            if not tries:
                raise


async def _keep_once(
    evsp: PartyId, contracts: Sequence[CustomerContract], customers: Customers, now: datetime
) -> tuple[Kept, list[tuple[CustomerContract, Refusal]]]:
    async with customers.write(evsp) as book:
        accepted, refused = await _keepable(book, contracts)
        kept = await book.keep(accepted, now)
        if kept != model.NOTHING_KEPT:
            await book.tell(_told(evsp, accepted, kept, now))
    return kept, refused


_Refused = list[tuple[CustomerContract, Refusal]]


async def _keepable(
    book: Book, contracts: Sequence[CustomerContract]
) -> tuple[list[CustomerContract], _Refused]:
    """Those whose token uids no other EVSP holds, and those that are refused for it."""
    accepted: list[CustomerContract] = []
    refused: _Refused = []
    held = await book.held_elsewhere([uid for one in contracts for uid in one.token_uids])
    for contract in contracts:
        refusal = model.token_refusal(contract, held)
        if refusal is None:
            accepted.append(contract)
        else:
            refused.append((contract, refusal))
    return accepted, refused


def _told(
    evsp: PartyId, contracts: Sequence[CustomerContract], kept: Kept, now: datetime
) -> NewEvent:
    """The event of one transaction. Token uids are personal data: they are counted, not told."""
    body: dict[str, object] = {"created": kept.created, "changed": kept.changed}
    if len(contracts) == 1:
        one = contracts[0]
        body |= {
            "contract_id": str(one.contract_id),
            "status": str(one.status),
            "authorisation": str(one.authorisation),
            "services": list(one.services),
            "valid_from": one.valid_from,
            "valid_until": one.valid_until,
            "tokens": len(one.token_uids),
        }
    return _event(evsp, EventType.CUSTOMER_CONTRACT_CHANGED, body, now)


def _event(evsp: PartyId, type_: EventType, body: Mapping[str, object], now: datetime) -> NewEvent:
    return NewEvent(
        stream=f"customers:{evsp}", type=type_, party=str(evsp), body=body, occurred_at=now
    )


def _elsewhere(upload: Upload) -> model.UploadElsewhere:
    return model.UploadElsewhere(
        f"upload {upload.upload_id} is being written by another call",
        field="upload",
        value=upload.upload_id,
        rule="one call at a time; ask for the upload, and go on behind its lines",
    )


def _unknown_upload(upload_id: str) -> model.UnknownUpload:
    return model.UnknownUpload(
        "no upload of this name was begun", field="upload", value=upload_id[:60]
    )


def _unknown(contract_id: ContractId) -> model.UnknownCustomerContract:
    return model.UnknownCustomerContract(
        f"no customer contract {contract_id} is kept here", field="contract_id", value=contract_id
    )
