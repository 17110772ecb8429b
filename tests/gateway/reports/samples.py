"""Calls of a few days, between a few parties."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from gateway.reports.model import Agreement, Question
from gateway.usage.model import UsageRecord
from gateway.usage.store import SqlMeter
from kit.database import Database
from marketplace.offerings.price import PricePlan
from roaming.party import PartyId

OPERATOR, STRANGER, PROVIDER = PartyId("FR*PD1"), PartyId("DE*XYZ"), PartyId("NL*ABC")
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
MAY = Question(OPERATOR, date(2026, 5, 1), date(2026, 5, 31))
DAY = timedelta(days=1)


def record(number: int, **changes: Any) -> UsageRecord:
    return UsageRecord(
        request_id=f"{number:032x}",
        at=NOON,
        contract_id="C-1",
        requester=OPERATOR,
        provider=PROVIDER,
        service="weather",
        major=1,
        operation="GET /",
        method="GET",
        status=200,
        duration_us=1_500,
        bytes_in=10,
        bytes_out=100,
        billable=True,
    )._replace(**changes)


def agreed(contract_id: str = "C-1", **changes: Any) -> Agreement:
    plan = changes.pop("plan", {"per_call": "0.01"})
    return Agreement(
        **{
            "contract_id": contract_id,
            "service": "weather",
            "major": 1,
            "provider": PROVIDER,
            "requester": OPERATOR,
            "begins_at": datetime(2026, 1, 1, tzinfo=UTC),
            "ends_at": None,
            "currency": "EUR",
            "plan": None if plan is None else PricePlan.parse(plan),
            **changes,
        }
    )


async def filled(database: Database, *records: UsageRecord) -> None:
    meter = SqlMeter(database)
    for one in records:
        meter.note(one)
    await meter.close()
