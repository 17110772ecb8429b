"""How EVSPs keep their customer contracts here: one at a time, or by the hundred thousand."""

from __future__ import annotations

from collections.abc import AsyncIterable, Sequence
from datetime import datetime

from clearinghouse.customers import model
from clearinghouse.customers.model import BulkReport, CustomerContract, Kept, Line, Rejection
from clearinghouse.customers.ports import Customers
from kit.clock import Clock
from kit.event_log import NewEvent
from roaming.contract_id import ContractId
from roaming.events import EventType
from roaming.party import PartyId
from roaming.refusal import Refusal

# Handing a batch to the database holds up everybody else in the process for some milliseconds, and
# larger ones measured no faster.
BATCH = 2_000
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


async def keep_many(
    lines: AsyncIterable[Line],
    *,
    caller: PartyId,
    customers: Customers,
    clock: Clock,
    batch: int = BATCH,
    shown: int = model.REJECTIONS_SHOWN,
) -> BulkReport:
    """Keep the contracts of many lines, as if each came by itself and in order.

    A line that is refused is counted and told (the first `shown` of them); the others are kept.
    Each batch is a transaction, so what was read before a broken connection stays.
    """
    read = rejected = 0
    kept = model.NOTHING_KEPT
    rejections: list[Rejection] = []
    gathered: dict[ContractId, tuple[Line, CustomerContract]] = {}

    def reject(line: Line, refusal: Refusal) -> None:
        nonlocal rejected
        rejected += 1
        if len(rejections) < shown:
            rejections.append(model.rejection(line, refusal))

    async def flush() -> None:
        nonlocal kept
        contracts = [contract for _, contract in gathered.values()]
        written, refused = await _keep(caller, contracts, customers, clock())
        kept += written
        for contract, refusal in refused:
            reject(gathered[contract.contract_id][0], refusal)
        gathered.clear()

    async for line in lines:
        read += 1
        contract = line.content
        if isinstance(contract, Refusal):
            reject(line, contract)
            continue
        try:
            model.owned(contract.contract_id, caller)
        except model.NotYourCustomer as refusal:
            reject(line, refusal)
            continue
        # A second line of one contract takes effect after the first: in the next batch.
        if contract.contract_id in gathered or len(gathered) >= batch:
            await flush()
        gathered[contract.contract_id] = line, contract
    if gathered:
        await flush()
    rejections.sort(key=lambda one: one.line)
    return BulkReport(read=read, kept=kept, rejected=rejected, rejections=tuple(rejections))


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
    accepted: list[CustomerContract] = []
    refused: list[tuple[CustomerContract, Refusal]] = []
    async with customers.write(evsp) as book:
        uids = [uid for contract in contracts for uid in contract.token_uids]
        held = await book.held_elsewhere(uids)
        for contract in contracts:
            refusal = model.token_refusal(contract, held)
            if refusal is None:
                accepted.append(contract)
            else:
                refused.append((contract, refusal))
        kept = await book.keep(accepted, now)
        if kept != model.NOTHING_KEPT:
            await book.tell(_told(evsp, accepted, kept, now))
    return kept, refused


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
    return NewEvent(
        stream=f"customers:{evsp}",
        type=EventType.CUSTOMER_CONTRACT_CHANGED,
        party=str(evsp),
        body=body,
        occurred_at=now,
    )


def _unknown(contract_id: ContractId) -> model.UnknownCustomerContract:
    return model.UnknownCustomerContract(
        f"no customer contract {contract_id} is kept here", field="contract_id", value=contract_id
    )
