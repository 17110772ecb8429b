"""Two partners with true-looking business details, and invoices between them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

from documents.invoice import Business, Category, Counted, Invoice, Kind, Line, Unit, Vat
from roaming.party import PartyId

SELLER = Business(
    party=PartyId("FR*PD1"),
    legal_name="Point du Jour SAS",
    street="12 rue du Port",
    postcode="69001",
    city="Lyon",
    country="FR",
    vat_id="FR40303265045",
    registration_id="303265045",
    iban="FR1420041010050500013M02606",
    bic="PSSTFRPPPAR",
    email="factures@pointdujour.example",
)
BUYER = Business(
    party=PartyId("DE*XYZ"),
    legal_name="XYZ Mobilität GmbH",
    street="Hauptstraße 1",
    postcode="10115",
    city="Berlin",
    country="DE",
    vat_id="DE129273398",
    iban="DE89370400440532013000",
    bic="COBADEFFXXX",
    email="rechnungen@xyz.example",
)

REVERSE_CHARGE = Vat(Category.REVERSE_CHARGE, Decimal(0), "eu-services-b2b")
OUTSIDE_SCOPE = Vat(Category.OUTSIDE_SCOPE, Decimal(0), "seller-outside-eu")
STANDARD_19 = Vat(Category.STANDARD, Decimal("19"), "domestic")
STANDARD_20 = Vat(Category.STANDARD, Decimal("20.0"), "domestic")
STANDARD_5_5 = Vat(Category.STANDARD, Decimal("5.5"), "domestic-reduced")


def line(vat: Vat = REVERSE_CHARGE, amount_minor: int = 123_456, **changes: Any) -> Line:
    told: dict[str, Any] = {
        "description": "Charging, January 2025",
        "agreement_id": "agreement-1",
        "vat": vat,
        "amount_minor": amount_minor,
        "vat_minor": 0,
        "charges": 412,
        "energy_wh": 3_456_789,
    }
    return Line(**(told | changes))


def counted(
    quantity: str = "100", unit: Unit = Unit.ONE, named: str = "call", **changes: Any
) -> Line:
    """A line about a service that was called."""
    told: dict[str, Any] = {
        "description": "Calls, tariff-info v1, January 2025",
        "agreement_id": "contract-1",
        "vat": STANDARD_20,
        "amount_minor": 50,
        "vat_minor": 10,
        "counted": Counted(Decimal(quantity), unit, named),
    }
    return Line(**(told | changes))


def invoice(*lines: Line, **changes: Any) -> Invoice:
    made = Invoice(
        number="FRPD1-2025-000042",
        kind=Kind.INVOICE,
        issued_on=date(2025, 2, 3),
        due_on=date(2025, 3, 5),
        first_day=date(2025, 1, 1),
        last_day=date(2025, 1, 31),
        seller=SELLER,
        buyer=BUYER,
        currency="EUR",
        lines=lines or (line(),),
        notes=("Issued by Gridroam in the name and on behalf of the seller.",),
    )
    return replace(made, **changes)
