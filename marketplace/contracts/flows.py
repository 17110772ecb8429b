"""What happens to contracts: offerings are accepted, contracts change status."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kit.sortable_id import sortable_id
from marketplace.contracts import life, model
from marketplace.contracts.model import (
    Action,
    Contract,
    ContractsOverlap,
    UnknownContract,
)
from marketplace.contracts.ports import Contracts, Desk, Memory
from marketplace.offerings.model import (
    Offering,
    OfferingWithdrawn,
    Status,
    UnknownOffering,
    check_published,
)
from marketplace.offerings.model import check_going_on as check_service
from marketplace.partners.model import check_present
from marketplace.partners.standing import UNTROUBLED, Standing
from marketplace.services.model import Environment, Service
from roaming.party import PartyId
from roaming.refusal import Malformed, Refusal

MOST_AT_ONCE = 1_000
TENDED_AT_ONCE = 100


async def accept(
    contracts: Contracts,
    requester: PartyId,
    roles: Collection[str],
    offering_ids: Sequence[str],
    *,
    memory: Memory,
    now: datetime,
) -> list[Contract]:
    """Accept offerings, all or none; one accepted before gives the contract there is.

    UnknownOffering, OfferingWithdrawn, OfferingOver, OwnOffering, ContractsOverlap, PartnerAbsent,
    ServiceEnding,
    ServiceNotPublished.
    """
    async with contracts.open() as desk:
        await desk.lock(requester)
        found = await desk.offerings(offering_ids)
        wanted = [_made_to(requester, roles, one, found.get(one)) for one in offering_ids]
        agreed = await _agree(desk, requester, wanted, now)
    await memory.refresh()
    return agreed


async def accept_each(
    contracts: Contracts,
    requester: PartyId,
    roles: Collection[str],
    offering_ids: Sequence[str],
    *,
    memory: Memory,
    now: datetime,
) -> list[Contract | Refusal]:
    """Accept those of the offerings that can be, in order; of each other one, why not."""
    told: list[Contract | Refusal] = []
    async with contracts.open() as desk:
        await desk.lock(requester)
        found = await desk.offerings(offering_ids)
        hand = await _Hand.open(desk, requester, list(found.values()), now)
        for offering_id in offering_ids:
            try:
                offering = _made_to(requester, roles, offering_id, found.get(offering_id))
                told.append(hand.agree(offering))
            except Refusal as refusal:
                told.append(refusal)
        await desk.add(hand.new, now)
    await memory.refresh()
    return told


def _made_to(
    requester: PartyId, roles: Collection[str], offering_id: str, offering: Offering | None
) -> Offering:
    """UnknownOffering unless it is made to this party, or is its own."""
    if offering is None or not (
        offering.audience.includes(requester, roles) or offering.provider == requester
    ):
        raise UnknownOffering(
            "no such offering is made to you", field="offering_id", value=offering_id[:100]
        )
    return offering


async def accept_public(
    desk: Desk,
    hub: PartyId,
    party: PartyId,
    roles: Collection[str],
    now: datetime,
    *,
    services: Collection[str] | None = None,
) -> list[str]:
    """A newcomer's contracts on the hub's own services, inside the transaction of its joining;
    later, those on `services` that are new.

    What it has already is left as it is, whatever became of it but a termination.
    """
    await desk.lock(party)
    offered = [
        one
        for one in await desk.public_offerings(hub, roles)
        if one.provider != party
        and (services is None or one.service in services)
        and (one.valid_until is None or one.valid_until > now)
    ]
    held = [one for one in await desk.between(party, offered) if one.ends is None or one.ends > now]
    free = [
        one
        for one in offered
        if not any((one.service, one.major) == (old.service, old.major) for old in held)
    ]
    return [contract.contract_id for contract in await _agree(desk, party, free, now)]


async def _agree(
    desk: Desk, requester: PartyId, offerings: Sequence[Offering], now: datetime
) -> list[Contract]:
    hand = await _Hand.open(desk, requester, offerings, now)
    agreed = [hand.agree(offering) for offering in offerings]
    await desk.add(hand.new, now)
    return agreed


@dataclass(slots=True)
class _Hand:
    """A requester that accepts offerings one after the other; `new` are the contracts to add."""

    requester: PartyId
    standing: list[Contract]
    stand: Mapping[PartyId, Standing]
    services: Mapping[tuple[str, int], Service]
    now: datetime
    new: list[Contract]

    @classmethod
    async def open(
        cls, desk: Desk, requester: PartyId, offerings: Sequence[Offering], now: datetime
    ) -> _Hand:
        standing = list(await desk.between(requester, offerings))
        stand = await desk.standings({requester, *(one.provider for one in offerings)})
        found = await desk.services({(one.service, one.major) for one in offerings})
        services = {(one.name, one.major): one for one in found}
        return cls(requester, standing, stand, services, now, [])

    def agree(self, offering: Offering) -> Contract:
        """The contract there is, or a new one. OfferingWithdrawn, OfferingOver, ContractsOverlap
        and others."""
        known = next((one for one in self.standing if _same(one, offering, self.now)), None)
        if known is not None:
            return known
        if offering.status is not Status.PUBLISHED:
            raise OfferingWithdrawn(
                "the offering is no longer made", field="offering_id", value=offering.offering_id
            )
        model.check_time(offering, self.now)
        for party in (offering.provider, self.requester):
            check_present(party, self.stand.get(party, UNTROUBLED), self.now, "offering_id")
        service = self.services[offering.service, offering.major]
        check_service(service)
        check_published(service, sandbox=offering.sandbox)
        contract = model.agreed(sortable_id(self.now), offering, self.requester, self.now)
        _check_overlap(contract, self.standing)
        self.standing.append(contract)
        self.new.append(contract)
        return contract


async def _check_going_on(desk: Desk, contract: Contract) -> None:
    """ServiceEnding where what it is about comes to its end. While this transaction
    lasts no service does."""
    for service in await desk.services({(contract.service, contract.major)}):
        check_service(service)


def _same(contract: Contract, offering: Offering, now: datetime) -> bool:
    """Whether accepting again would only say what this contract says already."""
    if contract.offering_id != offering.offering_id:
        return False
    return contract.status_at(now) is not model.Status.TERMINATED


def _check_overlap(contract: Contract, standing: Sequence[Contract]) -> None:
    for other in standing:
        if _subject(contract) != _subject(other):
            continue
        if model.overlap(contract.valid_from, contract.valid_until, other.valid_from, other.ends):
            came_of = "offering_id" if contract.negotiation_id is None else "negotiation_id"
            raise ContractsOverlap(
                "another contract on this service would be in force at the same time",
                field=came_of,
                value=contract.negotiation_id or contract.offering_id,
                rule=f"a validity apart from that of contract {other.contract_id}",
            )


def _subject(contract: Contract) -> tuple[PartyId, str, int, Environment]:
    return contract.provider, contract.service, contract.major, contract.environment


async def last_end(desk: Desk, service: Service, now: datetime) -> datetime | None:
    """When the last of a service's running live contracts can have ended, notice being given now;
    None: none runs."""
    running = await desk.running(service, now)
    return max((life.end_by_notice(one, now) for one in running if not one.sandbox), default=None)


async def end_with_service(
    desk: Desk,
    service: Service,
    by: PartyId,
    now: datetime,
    *,
    sunset: datetime,
    own_notice: bool,
    reason: str | None,
) -> None:
    """What runs on a service ends with it at its sunset; live contracts after their own notice
    where `own_notice`. Both sides of each are told. Nothing of it is offered any more.
    """
    why = reason or f"{service.name} v{service.major} ends"
    ended = []
    for one in await desk.running(service, now):
        end = sunset
        if own_notice and not one.sandbox:
            end = min(sunset, life.end_by_notice(one, now))
        after = life.ended(one, end, by, now, why)
        if after is not one:
            ended.append(after)
    await desk.save_ended(ended, by, now)
    await desk.withdraw_service(service, now)


async def change(
    contracts: Contracts,
    by: PartyId,
    contract_id: str,
    action: Action,
    *,
    memory: Memory,
    now: datetime,
    reason: str | None = None,
) -> Contract:
    """Suspend, resume or end a contract of one's own; repeating it changes nothing.

    UnknownContract, ContractCannot, NotYoursToResume, NothingToRenew, NoticeTooLate. Every process
    of the hub hears of it.
    """
    if reason is not None and (len(reason) > model.LONGEST_REASON or "\x00" in reason):
        raise Malformed(
            "the reason cannot be kept",
            field="reason",
            rule=f"at most {model.LONGEST_REASON} characters and no NUL",
        )
    async with contracts.open() as desk:
        contract = await desk.find_to_change(contract_id, by)
        if contract is None:
            raise _unknown(contract_id)
        now = model.in_order(contract.history, now)
        if action is Action.DO_NOT_RENEW:
            life.check_notice(contract, now)
        changed = model.changed(contract, action, by, now, reason)
        if changed is not contract:
            await desk.save(changed, action, by, now)
    await memory.refresh()
    return changed


async def notice_days(desk: Desk, party: PartyId, now: datetime) -> int:
    """The longest notice that a contract of a party's asks for; 0 where none does."""
    lasting = await desk.all_to_end(party, now)
    return max((one.terms.notice_days for one in lasting), default=0)


async def end_all(desk: Desk, party: PartyId, ends: datetime, now: datetime) -> None:
    """All contracts of a party that leaves the market end with it, in the transaction in which it
    gives notice."""
    lasting = await desk.all_to_end(party, now)
    why = "the partner leaves the market"
    ended = [(one, life.ended(one, ends, party, now, why)) for one in lasting]
    await desk.save_ended([after for one, after in ended if after is not one], party, now)


async def check_sides(desk: Desk, contract: Contract, now: datetime) -> None:
    """PartnerAbsent, ServiceEnding; in this transaction neither becomes so any more. Asked before
    any contract is held, as whoever ends a service or leaves holds its contracts last.
    """
    await _check_going_on(desk, contract)
    stand = await desk.standings({contract.provider, contract.requester})
    for party in (contract.provider, contract.requester):
        check_present(party, stand.get(party, UNTROUBLED), now, "negotiation_id")


async def conclude(
    desk: Desk, contract: Contract, now: datetime, *, replaced: Contract | None = None
) -> None:
    """A contract that two have signed comes into force by its validity, in their transaction; the
    one that it replaces ends where it begins. Whoever calls has locked the requester's contracts,
    and checked the sides. ContractsOverlap.
    """
    if replaced is not None:
        before = replaced
        by = contract.history[0].by
        replaced = life.replaced(before, contract.contract_id, contract.valid_from, by, now)
        if replaced is not before:
            await desk.save(replaced, Action.TERMINATE, by, now)
    check_room(contract, await desk.standing_beside(contract), replaced)
    await desk.add([contract], now)


def check_room(contract: Contract, standing: Sequence[Contract], replaced: Contract | None) -> None:
    """ContractsOverlap, unless it can be in force beside all others; of the one that it replaces
    its end as it will be counts."""
    if replaced is not None:
        standing = [
            replaced if one.contract_id == replaced.contract_id else one for one in standing
        ]
    _check_overlap(contract, standing)


async def tend(
    contracts: Contracts, *, memory: Memory, now: datetime, limit: int = TENDED_AT_ONCE
) -> int:
    """See to the contracts whose time has come: reminders, renewals, ends. How many there were.

    Each is a transaction of its own, and of several processes one does it.
    """
    due = await contracts.due(now, limit)
    for contract_id, requester in due:
        async with contracts.open() as desk:
            await desk.lock(requester)
            try:
                contract, since = await desk.find_to_tend(contract_id, now)
            except LookupError:
                continue
            await desk.tend(
                life.tended(contract, since, now, free=await _free(desk, contract)), now
            )
    if due:
        await memory.refresh()
    return len(due)


async def _free(desk: Desk, contract: Contract) -> bool:
    """Whether no other contract is in the way of its renewal."""
    if not life.renews(contract):
        return True
    assert contract.valid_until is not None, "what renews has an end"
    ends = life.renewed(contract).ends
    return not any(
        _subject(contract) == _subject(other)
        and model.overlap(contract.valid_until, ends, other.valid_from, other.ends)
        for other in await desk.standing_beside(contract)
    )


async def find(contracts: Contracts, party: PartyId, contract_id: str) -> Contract:
    """A contract of one's own; UnknownContract, also for one between others."""
    async with contracts.open() as desk:
        contract = await desk.find(contract_id, party)
    if contract is None:
        raise _unknown(contract_id)
    return contract


async def everything(contracts: Contracts, after: str | None, limit: int) -> Sequence[Contract]:
    """All contracts, oldest first. For the hub's operator alone."""
    return await contracts.everything(after, limit)


async def whosever(contracts: Contracts, contract_id: str) -> Contract:
    """A contract of any two; UnknownContract. For the hub's operator alone."""
    contract = await contracts.whosever(contract_id)
    if contract is None:
        raise UnknownContract(
            "there is no such contract", field="contract_id", value=contract_id[:100]
        )
    return contract


async def page(
    contracts: Contracts,
    party: PartyId,
    *,
    service: str | None,
    other: PartyId | None,
    environment: Environment | None = None,
    after: str | None,
    limit: int,
) -> Sequence[Contract]:
    """One's own contracts, on either side, oldest first."""
    async with contracts.open() as desk:
        return await desk.page(
            party,
            service=service,
            other=other,
            environment=environment,
            after=after,
            limit=limit,
        )


def _unknown(contract_id: str) -> UnknownContract:
    return UnknownContract(
        "no such contract is yours", field="contract_id", value=contract_id[:100]
    )
