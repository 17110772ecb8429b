"""What reports are told of contracts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gridroam.reports import agreement
from marketplace.contracts.model import agreed
from marketplace.offerings.model import Audience, Offering, ServiceTerms, Status
from marketplace.services.model import Environment
from roaming.party import PartyId

BEGINS = datetime(2026, 5, 1, tzinfo=UTC)
REQUESTER = PartyId("FR*PD1")
PLAN = {"recurring": {"price": "31", "every": "month"}}


@pytest.mark.parametrize("environment", list(Environment))
def test_what_is_tried_out_has_no_price_in_reports_as_it_has_none_on_bills(
    environment: Environment,
) -> None:
    offering = Offering(
        offering_id="O-1",
        service="load-forecast",
        major=1,
        provider=PartyId("NL*FCS"),
        terms=ServiceTerms.parse({"plan": PLAN, "currency": "EUR"}),
        audience=Audience.of_parties([REQUESTER]),
        valid_from=BEGINS,
        valid_until=None,
        status=Status.PUBLISHED,
        published_at=BEGINS,
        environment=environment,
    )
    found = agreement(agreed("C-1", offering, REQUESTER, BEGINS), None)
    assert (found is not None) == (environment is Environment.LIVE)
