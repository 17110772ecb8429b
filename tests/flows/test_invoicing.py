"""A month is closed: its invoices are there for both sides, and one who told no details is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import facturx

from clearinghouse.ledger.store import SqlLedger
from clearinghouse.periods.model import Month
from gridroam import office_books
from kit.clock import utc_now
from tests.documents.norm import broken_rules
from tests.flows.test_vat import BERLIN, LYON, tells
from tests.flows.world import CARD, EVSE, OTHER_EVSE, world
from tests.hub import CLEARING_HOUSE, Hub

LAST_MONTH = Month.of(utc_now().replace(day=1) - timedelta(days=1))
ENDED = datetime(LAST_MONTH.year, LAST_MONTH.number, 20, 12, tzinfo=UTC)


def cdr(cdr_id: str, evse_id: str = EVSE) -> dict[str, object]:
    """0.26 kWh at 0.50 EUR: 0.13, and VAT of 20 % on it is 0.026."""
    return {
        "cdr_id": cdr_id,
        "evse_id": evse_id,
        "token_uid": CARD,
        "start": (ENDED - timedelta(hours=1)).isoformat(),
        "end": ENDED.isoformat(),
        "energy_wh": 260,
    }


async def test_a_month_is_closed_and_its_invoice_read_by_both_sides(hub: Hub) -> None:
    found = await world(hub)
    operator, evsp = found.operator, found.evsp
    for number, evse_id in enumerate((EVSE, OTHER_EVSE)):
        await operator.post(f"{CLEARING_HOUSE}/cdrs", cdr(f"A-{number}", evse_id))
    # Their VAT was decided as agreed; who stands on the invoice may be told until it is made.
    await tells(operator, LYON)
    await tells(evsp, BERLIN)
    await office_books.close(hub.parts, LAST_MONTH)

    (listed,) = (await evsp.get(f"{CLEARING_HOUSE}/invoices"))["invoices"]
    assert listed == (await operator.get(f"{CLEARING_HOUSE}/invoices"))["invoices"][0]
    assert (listed["net"], listed["vat"], listed["total"]) == ("0.26", "0.05", "0.31")
    at = f"{CLEARING_HOUSE}/invoices/{listed['number']}"
    shown = await evsp.get(at)
    assert shown["seller_details"]["legal_name"] == LYON["legal_name"]
    # Two charges have 0.03 of VAT each: the cent is on the invoice and in the ledger.
    assert shown["vat_rounding"] == "-0.01"
    balances = await SqlLedger(hub.parts.database).balances(operator.party)
    assert sum(one.amount.minor for one in balances) == 31
    xml = (await hub.http.get(f"{at}?format=xml", headers=bearer(evsp.token))).content
    pdf = (await hub.http.get(f"{at}?format=pdf", headers=bearer(evsp.token))).content
    assert broken_rules(xml) == []
    assert facturx.get_facturx_xml_from_pdf(pdf)[1] == xml


async def test_who_told_no_business_details_gets_a_statement_and_is_told_what_is_wanted(
    hub: Hub,
) -> None:
    found = await world(hub)
    await found.operator.post(f"{CLEARING_HOUSE}/cdrs", cdr("A-1"))
    await office_books.close(hub.parts, LAST_MONTH)
    page = await found.evsp.get(f"{CLEARING_HOUSE}/invoices?period={LAST_MONTH}")
    assert page["invoices"] == []
    assert page["not_invoiced"][0]["wanted"] == [
        "seller: business details",
        "buyer: business details",
    ]
    statement = await found.evsp.get(f"{CLEARING_HOUSE}/statements/{LAST_MONTH}")
    assert statement["owing"]["amount"] == "0.13"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
