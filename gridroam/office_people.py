"""What the hub's operator does about partners' people, beside a running hub or without one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gridroam.core import Core
from gridroam.office import open_core
from marketplace.people import flows
from marketplace.people.routes import InvitationShown, PersonShown
from marketplace.people.store import SqlPeople
from roaming.party import PartyId


def _people(parts: Core) -> SqlPeople:
    return SqlPeople(parts.database, parts.box)


async def people_of(home: Path, database_url: str | None, party: PartyId) -> list[dict[str, Any]]:
    """A partner's people, as its route shows them."""
    async with open_core(home, database_url) as parts:
        found = await flows.people_of(_people(parts), parts.hub, party, hub=parts.hub)
    return [PersonShown.of(one).model_dump(mode="json") for one in found]


async def invite(
    home: Path,
    database_url: str | None,
    party: PartyId,
    *,
    email: str,
    name: str,
    duties: Sequence[str],
) -> dict[str, Any]:
    """Invite a person of a partner: the first admin, as a rule."""
    async with open_core(home, database_url) as parts:
        invited = await flows.invite(
            *(_people(parts), parts.hub, party),
            hub=parts.hub,
            email=email,
            name=name,
            duties=duties,
            now=parts.clock(),
        )
    return InvitationShown.of(invited).model_dump(mode="json")


async def start_anew(
    home: Path, database_url: str | None, party: PartyId, person_id: str
) -> dict[str, Any]:
    """End all that a person logs in with, and invite it again."""
    async with open_core(home, database_url) as parts:
        invited = await flows.start_anew(
            *(_people(parts), parts.hub, party, person_id), hub=parts.hub, now=parts.clock()
        )
    return InvitationShown.of(invited).model_dump(mode="json")


async def log_out(
    home: Path, database_url: str | None, party: PartyId, person_id: str | None
) -> list[dict[str, Any]]:
    """End all log-ins of a partner's people, or of one; whose were ended."""
    async with open_core(home, database_url) as parts:
        ended = await flows.end_log_ins(
            *(_people(parts), parts.hub, party, person_id), hub=parts.hub, now=parts.clock()
        )
    return [PersonShown.of(one).model_dump(mode="json") for one in ended]
