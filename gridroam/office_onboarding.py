"""What the hub's operator does about partners, beside a running hub or without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gridroam.office import open_core
from marketplace.applications import flows as application_flows
from marketplace.applications.model import Decision, RoleStatus
from marketplace.applications.routes import ApplicationShown
from marketplace.partners import flows as partner_flows
from marketplace.partners.flows import Registration
from marketplace.partners.model import Role, roles_of
from marketplace.partners.routes import StandingShown
from marketplace.partners.standing import Action
from roaming.party import PartyId

AT_ONCE = 1_000


async def add_operator(home: Path, database_url: str | None, name: str) -> Registration:
    """A client by which the hub's operator calls the hub's own API, as the hub."""
    async with open_core(home, database_url) as parts:
        return await partner_flows.register_hub(
            parts.partners, parts.hub, name, hasher=parts.checker, now=parts.clock()
        )


async def standing(home: Path, database_url: str | None, party: PartyId) -> dict[str, Any]:
    async with open_core(home, database_url) as parts:
        found = await partner_flows.find(parts.partners, party)
        return StandingShown.of(found, parts.clock()).model_dump(mode="json")


async def change_standing(
    home: Path,
    database_url: str | None,
    party: PartyId,
    action: Action,
    role: str | None,
    reason: str | None,
) -> dict[str, Any]:
    """Suspend, restore or let go a partner, or one of its roles."""
    chosen = None if role is None else _role(role)
    async with open_core(home, database_url) as parts:
        now = parts.clock()
        partner = await partner_flows.change_standing(
            parts.partners,
            parts.hub,
            party,
            action,
            hub=parts.hub,
            memory=parts.book,
            now=now,
            role=chosen,
            reason=reason,
        )
        return StandingShown.of(partner, now).model_dump(mode="json")


async def applications(
    home: Path, database_url: str | None, status: RoleStatus | None
) -> list[dict[str, Any]]:
    """Applications in the order in which they came."""
    found: list[dict[str, Any]] = []
    async with open_core(home, database_url) as parts:
        after: str | None = None
        while page := await application_flows.page(
            parts.applications, parts.hub, hub=parts.hub, status=status, after=after, limit=AT_ONCE
        ):
            found += [ApplicationShown.seen(one).told() for one in page]
            after = page[-1].application.application_id
    return found


async def decide(
    home: Path,
    database_url: str | None,
    application_id: str,
    decision: Decision,
    role: str | None,
    reason: str | None,
) -> dict[str, Any]:
    """Approve or refuse one role of an application, or all that wait."""
    chosen = None if role is None else _role(role)
    async with open_core(home, database_url) as parts:
        seen = await application_flows.decide(
            parts.applications,
            parts.hub,
            application_id,
            decision,
            role=chosen,
            reason=reason,
            hub=parts.hub,
            memory=[parts.book, parts.businesses],
            now=parts.clock(),
        )
        return ApplicationShown.seen(seen).told()


def _role(name: str) -> Role:
    (role,) = roles_of([name])
    return role
