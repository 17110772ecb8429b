"""The world that the stories play in: an operator and an EVSP that have agreed on roaming."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from clearinghouse.periods.model import Month
from clearinghouse.settling import flows as settling_flows
from clearinghouse.settling.flows import Settled
from gridroam import clearing, office_books
from kit.clock import utc_now
from tests.hub import Hub, Partner

EVSE = "FR*PD1*E1"
OTHER_EVSE = "FR*PD1*E2"
STRANGERS_EVSE = "NL*STR*E1"
CONTRACT = "FR-XYZ-123456789-2"
CARD = "04A1B2C3D4E5F6"

YEAR = timedelta(days=365)
# Before every charge that has a date of its own in a story, whenever it is played.
SINCE = datetime(2025, 1, 1, tzinfo=UTC)
# 0.50 EUR a kWh: a price that anybody can check in the head.
HALF_A_EURO: dict[str, Any] = {
    "currency": "EUR",
    "tariff": {
        "elements": [{"price_components": [{"type": "ENERGY", "price": 0.50, "step_size": 1}]}]
    },
    "vat_percent": 20,
    "time_zone": "Europe/Paris",
}


@dataclass(frozen=True, slots=True)
class World:
    """`agreement` is the contract id of the roaming agreement between operator and EVSP."""

    hub: Hub
    operator: Partner
    evsp: Partner
    agreement: str


async def agreed(operator: Partner, evsp: Partner, **terms: Any) -> str:
    """The two have agreed on roaming since SINCE, for a year to come."""
    offering = await operator.offers(
        evsp, HALF_A_EURO | terms, valid_from=SINCE, valid_until=utc_now() + YEAR
    )
    return await evsp.accepts(offering)


async def settled(hub: Hub, month: str) -> Settled:
    """The hub closes a month and settles it."""
    await office_books.close(hub.parts, Month.parse(month))
    return await settling_flows.settle(Month.parse(month), house=clearing.settling(hub.parts))


async def world(hub: Hub) -> World:
    """FR*PD1 runs two charge points, FR*XYZ has one customer with one card."""
    operator = await hub.partner("FR*PD1", "evse-operator")
    evsp = await hub.partner("FR*XYZ", "evsp")
    await operator.provides(EVSE, OTHER_EVSE)
    await evsp.keeps(CONTRACT, CARD)
    return World(hub, operator, evsp, await agreed(operator, evsp))
