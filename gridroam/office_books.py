"""What the hub's operator does with the books, beside a running hub or without one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clearinghouse.disputes import flows as dispute_flows
from clearinghouse.disputes.model import Action
from clearinghouse.disputes.model import State as DisputeState
from clearinghouse.disputes.routes import shown as dispute_shown
from clearinghouse.disputes.store import SqlBooks as Disputes
from clearinghouse.ledger.model import Audit
from clearinghouse.ledger.store import SqlLedger
from clearinghouse.periods import flows as period_flows
from clearinghouse.periods.model import Month, Overview
from clearinghouse.periods.routes import head, shown
from clearinghouse.settling import flows as settling_flows
from clearinghouse.settling.default import Rule
from clearinghouse.settling.routes import DefaultShown, default_shown, settled_shown
from gridroam import clearing
from gridroam.core import Core
from gridroam.office import open_core
from roaming.money import Money
from roaming.party import PartyId
from roaming.refusal import Malformed


async def list_periods(home: Path, database_url: str | None) -> list[dict[str, Any]]:
    async with open_core(home, database_url) as parts:
        found = await period_flows.known(books=clearing.periods(parts))
    return [head(one).model_dump(mode="json") for one in found]


async def show_period(home: Path, database_url: str | None, period_id: str) -> dict[str, Any]:
    async with open_core(home, database_url) as parts:
        found = await period_flows.show(Month.parse(period_id), books=clearing.periods(parts))
    return shown(found, whole=True).model_dump(mode="json")


async def close_period(
    home: Path, database_url: str | None, period_id: str, early: bool
) -> dict[str, Any]:
    """Close a month; what it came to, in the shape in which its route shows it."""
    async with open_core(home, database_url) as parts:
        closed = await close(parts, Month.parse(period_id), early=early)
    return shown(closed, whole=True).model_dump(mode="json")


async def close(parts: Core, month: Month, *, early: bool = False) -> Overview:
    # Who everybody is on paper: it stands on the invoices.
    await parts.businesses.load()
    return await period_flows.close(
        month, early=early, hub=parts.hub, books=clearing.periods(parts), clock=parts.clock
    )


async def settle_period(
    home: Path, database_url: str | None, period_id: str, currency: str | None, *, dry_run: bool
) -> dict[str, Any]:
    """Settle a month, or say what it would come to, in the shape in which its route shows it."""
    month = Month.parse(period_id)
    async with open_core(home, database_url) as parts:
        await parts.book.load()
        step = settling_flows.plan if dry_run else settling_flows.settle
        found = await step(month, into=currency, house=clearing.settling(parts))
    return settled_shown(found).model_dump(mode="json")


async def default(
    home: Path,
    database_url: str | None,
    party: PartyId,
    period_id: str,
    rule: Rule,
    means: Mapping[PartyId, Money],
    *,
    confirm: bool,
) -> DefaultShown:
    """Who loses what when a party does not pay; with `confirm`, it is posted."""
    month = Month.parse(period_id)
    async with open_core(home, database_url) as parts:
        found = await settling_flows.default(
            party,
            month,
            rule,
            means=means,
            confirm=confirm,
            house=clearing.settling(parts),
        )
    return default_shown(found, confirmed=confirm)


async def verify_ledger(home: Path, database_url: str | None) -> Audit:
    async with open_core(home, database_url) as parts:
        return await SqlLedger(parts.database).audit()


async def list_disputes(
    home: Path, database_url: str | None, state: str | None
) -> list[dict[str, Any]]:
    """Every dispute, oldest first, in the shape in which its route shows it."""
    if state is not None and state not in set(DisputeState):
        raise Malformed(
            f"there is no state {state!r}",
            field="--state",
            value=state,
            rule=", ".join(DisputeState),
        )
    wanted = None if state is None else DisputeState(state)
    told: list[dict[str, Any]] = []
    async with open_core(home, database_url) as parts:
        books, after = Disputes(parts.database), ""
        while page := await books.page(None, state=wanted, after=after, limit=1_000):
            told += [dispute_shown(one).model_dump(mode="json") for one in page]
            after = page[-1].dispute_id
    return told


async def decide_dispute(
    home: Path, database_url: str | None, dispute_id: str, action: str, says: str
) -> dict[str, Any]:
    """The hub's own action in a dispute, and what it came to."""
    async with open_core(home, database_url) as parts:
        decided = await dispute_flows.act(
            dispute_id,
            Action(action),
            says,
            caller=parts.hub,
            hub=parts.hub,
            books=Disputes(parts.database),
            clock=parts.clock,
        )
    return dispute_shown(decided).model_dump(mode="json")
