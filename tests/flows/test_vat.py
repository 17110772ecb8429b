"""A charge is sold across a border: who the two are on paper decides its VAT, from that day on."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from clearinghouse.fees import flows
from clearinghouse.fees.model import Payer, Schedule
from clearinghouse.fees.store import SqlBooks
from clearinghouse.ledger.store import SqlLedger
from clearinghouse.periods.model import Month
from gridroam import office_books
from kit.clock import utc_now
from tests.flows.world import CARD, EVSE, YEAR, world
from tests.hub import CLEARING_HOUSE, Hub, Partner

ENDED = utc_now().replace(microsecond=0) - timedelta(hours=2)
LYON: dict[str, Any] = {
    "legal_name": "Point du Jour SAS",
    "street": "1 rue de la République",
    "city": "Lyon",
    "postal_code": "69001",
    "country": "FR",
    "vat_id": "FR40303265045",
    "valid_from": (ENDED - YEAR / 2).isoformat(),
}
BERLIN = LYON | {
    "legal_name": "EVL Mobility GmbH",
    "street": "Unter den Linden 1",
    "city": "Berlin",
    "postal_code": "10117",
    "country": "DE",
    "vat_id": "DE136695976",
}


async def tells(partner: Partner, details: dict[str, Any]) -> None:
    await partner.put(f"/marketplace/partners/{partner.party}/business-details", details)


async def charged(operator: Partner, cdr_id: str, *, days_ago: int = 0) -> dict[str, Any]:
    """10 kWh at 0.50 EUR."""
    end = ENDED - timedelta(days=days_ago)
    told = {
        "cdr_id": cdr_id,
        "evse_id": EVSE,
        "token_uid": CARD,
        "start": (end - timedelta(hours=1)).isoformat(),
        "end": end.isoformat(),
        "energy_wh": 10_000,
    }
    answer = await operator.post(f"{CLEARING_HOUSE}/cdrs", told)
    assert answer["state"] != "rejected", answer
    shown: dict[str, Any] = await operator.get(f"{CLEARING_HOUSE}/cdrs/{operator.party}/{cdr_id}")
    return shown


async def test_details_decide_the_vat_of_each_charge(hub: Hub) -> None:
    found = await world(hub)
    operator, evsp = found.operator, found.evsp
    plain = await charged(operator, "agreed")
    assert plain["vat"] == {"rule": "agreed-rate", "category": "S", "percent": "20"}
    assert plain["price"]["vat"] == "1.00"

    await tells(operator, LYON)
    half = await charged(operator, "one side", days_ago=1)
    assert half["vat"]["rule"] == "agreed-rate"

    # A dealer elsewhere in the EU accounts for it itself.
    await tells(evsp, BERLIN | {"taxable_dealer": True})
    reverse = await charged(operator, "reverse", days_ago=2)
    assert reverse["vat"] == {"rule": "reverse-charge-dealer", "category": "AE", "percent": "0"}
    assert reverse["price"] == {
        "currency": "EUR",
        "excl_vat": "5.00",
        "vat": "0.00",
        "incl_vat": "5.00",
    }
    assert [line["vat_rule"] for line in reverse["price_lines"]] == ["reverse-charge-dealer"]
    theirs = await evsp.get(f"{CLEARING_HOUSE}/cdrs/{operator.party}/reverse")
    assert theirs == reverse

    # What is told of the day before yesterday holds for charges since then, and not for others.
    since = (ENDED - timedelta(days=3, hours=12)).isoformat()
    await tells(evsp, BERLIN | {"taxable_dealer": False, "valid_from": since})
    consumed = await charged(operator, "consumed", days_ago=3)
    assert consumed["vat"] == {"rule": "consumption", "category": "S", "percent": "20"}
    late = await charged(operator, "late", days_ago=4)
    assert late["vat"]["rule"] == "reverse-charge-dealer"
    # A year ago nobody had told anything.
    assert (await charged(operator, "before", days_ago=200))["vat"]["rule"] == "agreed-rate"

    # What was decided stays decided.
    assert await operator.get(f"{CLEARING_HOUSE}/cdrs/{operator.party}/reverse") == reverse
    total = await SqlLedger(hub.parts.database).ledger_sum("EUR")
    assert total.minor == 0


async def test_the_hub_charges_a_month_as_it_closes(hub: Hub) -> None:
    found = await world(hub)
    parts = hub.parts
    await flows.set_schedule(
        Schedule(
            Payer.EVSP, None, Month.of(ENDED), "EUR", per_cdr=Decimal("0.015"), per_kwh=Decimal(0)
        ),
        hub=parts.hub,
        books=SqlBooks(parts.database),
        now=ENDED - YEAR,
    )
    await charged(found.operator, "one")
    closed = await office_books.close(parts, Month.of(ENDED), early=True)
    assert [(one.charges_minor, one.fees_minor) for one in closed.totals] == [(500, 2)]
    mine = await found.evsp.get(f"{CLEARING_HOUSE}/hub-fees?period={Month.of(ENDED)}")
    assert [one["per_cdr"] for one in mine["schedules"]] == ["0.015"]
    assert [(one["net"], one["vat_rule"]) for one in mine["charged"]] == [("0.02", "agreed-rate")]
    theirs = await found.operator.get(f"{CLEARING_HOUSE}/hub-fees?period={Month.of(ENDED)}")
    assert theirs["charged"] == []
