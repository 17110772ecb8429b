"""What happens to business details: a party tells them, and its contract partners read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from marketplace.business.model import BusinessDetails, NotYourDetails, UnknownDetails
from marketplace.business.ports import File, Files, Memory
from marketplace.partners.model import UnknownPartner
from roaming.party import PartyId


async def tell(
    files: Files,
    caller: PartyId,
    details: BusinessDetails,
    *,
    hub: PartyId,
    memory: Memory,
    now: datetime,
) -> BusinessDetails:
    """A party, or the hub for it, says who it is on paper from a moment on.

    What holds there already is not recorded again. NotYourDetails, UnknownPartner.
    """
    _own(caller, details.party, hub)
    async with files.open() as file:
        await _must_be_known(file, details.party, hub)
        await file.lock(details.party)
        standing = await file.find(details.party, details.valid_from)
        if standing is not None and details.same_as(standing):
            return standing
        await file.add(details, caller, now)
    await memory.refresh()
    return details


async def read(
    files: Files, caller: PartyId, party: PartyId, at: datetime, *, hub: PartyId
) -> BusinessDetails:
    """What holds at a moment: for the party, the hub, and whoever has or had a contract with it,
    since that is who gets its invoices. NotYourDetails, UnknownPartner, UnknownDetails.
    """
    async with files.open() as file:
        await _must_be_known(file, party, hub)
        if caller not in (party, hub) and not await file.have_a_contract(caller, party):
            raise NotYourDetails(
                "business details are told to contract partners only",
                field="party",
                value=party,
                rule="a contract between the two, in force or past",
            )
        found = await file.find(party, at)
    if found is None:
        raise UnknownDetails(
            f"{party} has told no business details for that time", field="party", value=party
        )
    return found


async def history(
    files: Files, caller: PartyId, party: PartyId, *, hub: PartyId
) -> Sequence[BusinessDetails]:
    """All that was ever told, for the party and the hub. NotYourDetails."""
    _own(caller, party, hub)
    async with files.open() as file:
        return await file.history(party)


async def _must_be_known(file: File, party: PartyId, hub: PartyId) -> None:
    # The hub sends invoices without being its own partner.
    if party != hub and not await file.is_registered(party):
        raise UnknownPartner(f"{party} is not registered here", field="party", value=party)


def _own(caller: PartyId, party: PartyId, hub: PartyId) -> None:
    if caller not in (party, hub):
        raise NotYourDetails(
            "a party tells its own business details only", field="party", value=party
        )
