"""What reports are told of contracts."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from gateway.reports.model import Question
from gridroam.reports import AgreementsForReports, agreement
from kit.clock import utc_now
from kit.database import Database
from marketplace.contracts.model import agreed
from marketplace.contracts.register import SqlRegister
from marketplace.offerings.model import Audience, Offering, ServiceTerms, Status
from marketplace.offerings.price import PricePlan
from marketplace.services.model import Environment
from roaming.party import PartyId
from tests.marketplace.billing.market import REQUESTER as REQUESTER_THERE
from tests.marketplace.billing.market import Market, day, plan

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


async def test_a_contract_in_anothers_place_is_asked_in_reports_as_on_its_bill(
    database: Database,
) -> None:
    market = Market(database)
    old = await market.contract(plan(one_time="25"), begins=BEGINS, ends=day(1))
    new = await market.contract(plan(one_time="40"), begins=day(1), replaces=old)
    agreements = AgreementsForReports(SqlRegister(database), utc_now)
    asked = Question(REQUESTER_THERE, BEGINS.date(), day(31).date())
    found = {one.contract_id: one.plan for one in await agreements.concerning(asked)}
    assert found == {
        old.contract_id: PricePlan(one_time=Decimal(25)),
        new.contract_id: PricePlan(one_time=Decimal(15)),
    }
