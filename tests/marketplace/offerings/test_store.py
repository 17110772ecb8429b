"""Offerings on PostgreSQL: a party finds in pages exactly what it may see and looks for."""

from __future__ import annotations

from collections.abc import Collection
from itertools import product

from kit.database import Database
from kit.sortable_id import sortable_id
from marketplace.offerings.model import (
    Audience,
    AudienceKind,
    Offering,
    RoamingTerms,
    ServiceTerms,
    Status,
    Terms,
    withdrawn,
)
from marketplace.offerings.ports import Search
from marketplace.offerings.store import SqlOfferings
from marketplace.services.model import ROAMING, Environment
from roaming.party import PartyId
from tests.marketplace.fakes import EVSP, NOW, OPERATOR, OTHER, ROAMING_TERMS

TERMS: dict[str, Terms] = {
    "parking": ServiceTerms(notice_days=30),
    "forecast": ServiceTerms(notice_days=30),
    ROAMING: RoamingTerms.parse(ROAMING_TERMS),
}
AUDIENCES = (
    Audience(AudienceKind.PUBLIC, frozenset()),
    Audience(AudienceKind.ROLES, frozenset({"evsp", "dso"})),
    Audience(AudienceKind.PARTIES, frozenset({EVSP, OTHER})),
)
SEARCHES = (
    Search(),
    Search(service="parking"),
    Search(service=ROAMING, major=1),
    Search(major=2),
    Search(provider=OPERATOR),
    Search(provider=EVSP, environment=Environment.SANDBOX),
    Search(environment=Environment.SANDBOX),
    Search(environment=Environment.LIVE),
)


VIEWERS: tuple[tuple[PartyId, Collection[str]], ...] = (
    (OPERATOR, {"evse-operator"}),
    (EVSP, {"evsp"}),
    (OTHER, {"dso", "evsp"}),
    (PartyId("IT*ABC"), ()),
)


def offerings() -> list[Offering]:
    kinds = product((OPERATOR, EVSP), TERMS, AUDIENCES, Environment)
    return [
        Offering(
            offering_id=sortable_id(NOW),
            service=service,
            major=1,
            provider=provider,
            terms=TERMS[service],
            audience=audience,
            valid_from=None,
            valid_until=None,
            status=Status.PUBLISHED,
            published_at=NOW,
            environment=environment,
        )
        for provider, service, audience, environment in kinds
    ]


def wanted(one: Offering, search: Search) -> bool:
    return (
        search.service in (None, one.service)
        and search.major in (None, one.major)
        and search.provider in (None, one.provider)
        and search.environment in (None, one.environment)
    )


async def test_a_party_finds_in_pages_exactly_what_it_may_see_and_looks_for(
    database: Database,
) -> None:
    early, late = offerings(), offerings()
    async with SqlOfferings(database).open() as stall:
        await stall.publish(early, NOW)
        for one in early:
            await stall.withdraw(withdrawn(one), NOW)
        await stall.publish(late, NOW)
    kept = sorted([*map(withdrawn, early), *late], key=lambda one: one.offering_id)
    for (viewer, roles), search in product(VIEWERS, SEARCHES):
        found: list[Offering] = []
        async with SqlOfferings(database).open() as stall:
            while page := await stall.page(
                viewer, roles, search, after=found[-1].offering_id if found else None, limit=7
            ):
                found += page
        expected = [one for one in kept if one.seen_by(viewer, roles) and wanted(one, search)]
        assert found == expected, (viewer, search)
