"""A roaming agreement from its offer to the price of a charge: which terms held when it began, and
which tariff at that charge point. The map is docs/flows/roaming_agreement.md.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from kit.clock import utc_now
from tests.flows.world import CARD, CONTRACT, EVSE, HALF_A_EURO, OTHER_EVSE, YEAR
from tests.hub import CLEARING_HOUSE, Hub, Partner

CDRS = f"{CLEARING_HOUSE}/cdrs"
NOW = utc_now().replace(microsecond=0)


def per_kwh(price: float, *more: dict[str, Any]) -> dict[str, Any]:
    energy = {"type": "ENERGY", "price": price, "step_size": 1}
    return {"elements": [{"price_components": [energy, *more]}]}


def per_hour(price: int) -> dict[str, Any]:
    return {"elements": [{"price_components": [{"type": "TIME", "price": price, "step_size": 1}]}]}


class Pair:
    """An operator with two charge points and an EVSP with one customer; nothing agreed yet."""

    def __init__(self, operator: Partner, evsp: Partner) -> None:
        self.operator = operator
        self.evsp = evsp
        self._charges = 0

    async def agreed(self, since: datetime | None, until: datetime | None, **terms: Any) -> str:
        validity = {"valid_from": since, "valid_until": until}
        given = {name: at for name, at in validity.items() if at is not None}
        offering = await self.operator.offers(self.evsp, HALF_A_EURO | terms, **given)
        return await self.evsp.accepts(offering)

    async def charged(
        self, start: datetime, end: datetime, *, evse: str = EVSE, wh: int = 10_000, **more: Any
    ) -> dict[str, Any]:
        self._charges += 1
        told = {
            "cdr_id": f"cdr-{self._charges}",
            "evse_id": evse,
            "token_uid": CARD,
            "start": start.isoformat(),
            "end": end.isoformat(),
            "energy_wh": wh,
        }
        answer: dict[str, Any] = await self.operator.post(CDRS, told | more)
        return answer

    async def kept(self, cdr_id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.operator.get(f"{CDRS}/{self.operator.party}/{cdr_id}")
        return found


@pytest.fixture
async def pair(hub: Hub) -> Pair:
    operator = await hub.partner("FR*PD1", "evse-operator")
    evsp = await hub.partner("FR*XYZ", "evsp")
    await operator.provides(EVSE, OTHER_EVSE)
    await evsp.keeps(CONTRACT, CARD)
    return Pair(operator, evsp)


async def test_a_group_of_charge_points_has_a_tariff_of_its_own(pair: Pair) -> None:
    motorway = {
        "name": "motorway",
        "evses": ["FR*PD1*E2*"],
        "tariff": per_kwh(0.79, {"type": "FLAT", "price": 1}),
        "vat_percent": 5.5,
    }
    await pair.agreed(NOW - YEAR, None, tariff_groups=[motorway])
    operator = pair.operator
    here, there = [(await operator.asks(one, CARD))["price"] for one in (EVSE, OTHER_EVSE)]
    assert (here["components"][0]["price"], here["vat_percent"]) == ("0.5", "20")
    assert "tariff_group" not in here
    assert [one["price"] for one in there["components"]] == ["0.79", "1"]
    assert (there["tariff_group"], there["vat_percent"]) == ("motorway", "5.5")

    start, end = NOW - timedelta(hours=3), NOW - timedelta(hours=2)
    plain = await pair.charged(start, end, wh=12_345)
    # 12.345 kWh at 0.50 are 6.1725, so 6.17; 20 % of that are 1.234, so 1.23.
    price = {"currency": "EUR", "excl_vat": "6.17", "vat": "1.23", "incl_vat": "7.40"}
    assert plain["price"] == price
    dear = await pair.charged(start, end, evse=OTHER_EVSE, wh=12_345)
    # 12.345 kWh at 0.79 are 9.75255, and 1.00: 10.75; 5.5 % of that are 0.59125, so 0.59.
    dearer = {"currency": "EUR", "excl_vat": "10.75", "vat": "0.59", "incl_vat": "11.34"}
    assert dear["price"] == dearer
    kept = await pair.kept(dear["cdr_id"])
    assert {line["tariff_group"] for line in kept["price_lines"]} == {"motorway"}
    assert kept["vat"]["percent"] == "5.5"

    # Taken back to the cent; what is told instead is priced by the same group again.
    credit = {"credit_reference_id": dear["cdr_id"], "credit": True}
    back = await pair.charged(start, end, evse=OTHER_EVSE, wh=12_345, **credit)
    assert back["price"] == {
        "currency": "EUR", "excl_vat": "-10.75", "vat": "-0.59", "incl_vat": "-11.34",
    }  # fmt: skip
    again = await pair.charged(start, end, evse=OTHER_EVSE, replaces=dear["cdr_id"])
    # 10 kWh: 7.90 and 1.00; 5.5 % of 8.90 are 0.4895, so 0.49.
    assert again["price"] == {
        "currency": "EUR", "excl_vat": "8.90", "vat": "0.49", "incl_vat": "9.39",
    }  # fmt: skip


async def test_the_agreement_in_force_when_a_charge_began_prices_all_of_it(pair: Pair) -> None:
    """At midnight, on a leap day, and also where the agreement ended while the car was charging."""
    leap_day = datetime.fromisoformat("2024-02-29T00:00:00+01:00")
    march = datetime.fromisoformat("2024-03-01T00:00:00+01:00")
    second, hour = timedelta(seconds=1), timedelta(hours=1)
    first = await pair.agreed(leap_day - YEAR, leap_day, tariff=per_kwh(0.10))
    on_leap_day = await pair.agreed(leap_day, march, tariff=per_kwh(0.20))
    last = await pair.agreed(march, None, tariff=per_kwh(0.30))
    for start, end, agreement, amount in (
        (leap_day - hour, leap_day - second, first, "1.00"),
        # It ends in the next agreement, and in the one after that.
        (leap_day - second, leap_day + hour, first, "1.00"),
        (leap_day - 2 * second, march + second, first, "1.00"),
        (leap_day, leap_day + hour, on_leap_day, "2.00"),
        (march - second, march + hour, on_leap_day, "2.00"),
        (march, march + hour, last, "3.00"),
    ):
        told = await pair.charged(start, end)
        assert told["price"]["excl_vat"] == amount, (start, told)
        assert (await pair.kept(told["cdr_id"]))["agreement_id"] == agreement
    before = await pair.charged(leap_day - YEAR - second, leap_day - YEAR + hour)
    assert (before["state"], before["price"]) == ("rejected", None)


async def test_an_agreement_ends_at_a_moment_and_not_at_a_time_on_the_clock(pair: Pair) -> None:
    """On the days on which the clock is put forward and back, by 3 EUR an hour, then 6."""
    # 02:30 comes twice on that night; the agreement ends when it comes for the second time.
    forward = datetime.fromisoformat("2024-03-31T03:00:00+02:00")
    back = datetime.fromisoformat("2024-10-27T02:30:00+01:00")
    await pair.agreed(forward - YEAR, forward, tariff=per_hour(2))
    await pair.agreed(forward, back, tariff=per_hour(3))
    await pair.agreed(back, None, tariff=per_hour(6))
    for start, end, amount in (
        # From 01:30 to 03:30 on the clock is one hour.
        ("2024-03-31T01:30:00+01:00", "2024-03-31T03:30:00+02:00", "2.00"),
        ("2024-03-31T01:59:59+01:00", "2024-03-31T04:59:59+02:00", "4.00"),
        ("2024-03-31T03:00:00+02:00", "2024-03-31T04:00:00+02:00", "3.00"),
        # From 02:30 to 02:30 is an hour, too, and from the second 02:30 on the dear one holds.
        ("2024-10-27T02:30:00+02:00", "2024-10-27T02:30:00+01:00", "3.00"),
        ("2024-10-27T01:30:00+02:00", "2024-10-27T02:29:59+01:00", "6.00"),
        ("2024-10-27T02:30:00+01:00", "2024-10-27T03:30:00+01:00", "6.00"),
    ):
        told = await pair.charged(datetime.fromisoformat(start), datetime.fromisoformat(end))
        assert told["price"]["excl_vat"] == amount, (start, told)


async def test_what_is_agreed_ended_or_held_meanwhile_changes_no_charge_that_had_begun(
    pair: Pair,
) -> None:
    """The record comes late, as records do: other terms are in force by then, or none."""
    old = await pair.agreed(NOW - YEAR, None, tariff=per_kwh(0.10))
    begun, over = NOW - timedelta(hours=2), NOW - timedelta(hours=1)
    await pair.evsp.post(f"/marketplace/contracts/{old}/terminate", {"reason": "too dear"})
    late = await pair.charged(begun, over)
    assert late["price"]["excl_vat"] == "1.00"

    new = await pair.agreed(None, None, tariff=per_kwh(0.30))
    amended = await pair.charged(begun, over, evse=OTHER_EVSE)
    assert amended["price"]["excl_vat"] == "1.00"
    assert (await pair.kept(amended["cdr_id"]))["agreement_id"] == old
    now = await pair.operator.asks(EVSE, CARD)
    assert now["price"]["agreement_id"] == new

    await pair.operator.post(f"/marketplace/contracts/{new}/suspend", {"reason": "unpaid"})
    refused = await pair.operator.asks(EVSE, CARD)
    assert refused["reason"] == "no-roaming-agreement"
    earlier = await pair.charged(begun - timedelta(hours=2), over - timedelta(hours=2))
    assert earlier["price"]["excl_vat"] == "1.00"
    validated = (
        f"/services/contract-validation/validate?requester={pair.evsp.party}"
        f"&provider={pair.operator.party}&service=roaming&at="
    )
    at = begun.isoformat().replace("+", "%2B")
    assert (await pair.evsp.get(validated + at))["contract_id"] == old
