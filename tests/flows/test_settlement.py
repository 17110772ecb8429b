"""A month from its charges to its last payment, in a whole hub: closed, settled, paid, or not."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from clearinghouse.ledger.store import SqlLedger
from clearinghouse.settling import flows
from clearinghouse.settling.default import Rule
from clearinghouse.settling.model import due_on
from gridroam import clearing
from kit import event_log
from kit.event_log import START
from roaming.events import EventType
from roaming.money import Money
from tests.flows.test_vat import BERLIN, LYON, tells
from tests.flows.world import agreed, settled
from tests.hub import CLEARING_HOUSE, Hub, Partner

MONTH = "2026-03"
ENDED = datetime(2026, 3, 17, 11, tzinfo=UTC)
PAYMENTS = f"{CLEARING_HOUSE}/settlement-payments"


@pytest.fixture
async def ring(hub: Hub) -> list[Partner]:
    """With VAT, alfa owes beta 12.00 and beta owes gama 7.20; gama owes alfa 4.80."""
    names = ("NL*ALF", "DE*BET", "FR*GAM")
    alfa, beta, gama = [await hub.partner(name, "evse-operator", "evsp") for name in names]
    for number, partner in enumerate((alfa, beta, gama)):
        await partner.provides(f"{partner.party}*E1")
        await partner.keeps(f"{partner.party.dashed}-123456789", card(number))
    for number, (debtor, creditor, kwh) in enumerate(
        ((alfa, beta, 20), (beta, gama, 12), (gama, alfa, 8))
    ):
        await agreed(
            creditor, debtor, clearing_strategy="cycles", payment_terms_days=10 + 10 * number
        )
        answer = await creditor.post(f"{CLEARING_HOUSE}/cdrs", cdr(creditor, number, kwh))
        assert answer["state"] == "accepted", answer
    return [alfa, beta, gama]


def card(number: int) -> str:
    return f"04BBBBBBBBBB0{number}"


def cdr(operator: Partner, customer: int, kwh: int) -> dict[str, Any]:
    """At 0.50 EUR a kWh, and 20 % VAT."""
    return {
        "cdr_id": f"c-{customer}",
        "evse_id": f"{operator.party}*E1",
        "token_uid": card(customer),
        "start": ENDED.replace(hour=9).isoformat(),
        "end": ENDED.isoformat(),
        "energy_wh": kwh * 1_000,
    }


async def standing(partner: Partner) -> list[tuple[str, str, str, str]]:
    found = (await partner.get(PAYMENTS))["payments"]
    return sorted((one["payer"], one["payee"], one["open"], one["state"]) for one in found)


async def test_a_month_is_closed_settled_and_paid(hub: Hub, ring: list[Partner]) -> None:
    alfa, beta, gama = ring
    done = await settled(hub, MONTH)
    [one] = done.settlements
    # 4.80 of each went round: 24.00 in all = 14.40 cancelled + 9.60 to pay.
    assert (one.clearing_group, one.total_minor, one.netted_minor, one.paid_minor) == (
        *("cycles", 2_400, 1_440, 960),
    )
    assert await standing(alfa) == [("NL*ALF", "DE*BET", "7.20", "due")]
    assert await standing(beta) == [
        ("DE*BET", "FR*GAM", "2.40", "due"),
        ("NL*ALF", "DE*BET", "7.20", "due"),
    ]
    statement = await gama.get(f"{CLEARING_HOUSE}/set-off-statements/{MONTH}")
    [group] = statement["groups"]
    assert (group["owing"], group["owed"], group["net"]) == ("4.80", "7.20", "2.40")
    assert [payment["settles"] for payment in group["payments"]] == [[["DE*BET", "FR*GAM"]]]
    # The longest of 10, 20 and 30 days.
    [payment] = (await alfa.get(PAYMENTS))["payments"]
    assert done.period.settled_at is not None
    assert payment["due_on"] == due_on(done.period.settled_at, [30]).isoformat()

    for payee, payments in ((beta, await beta.get(PAYMENTS)), (gama, await gama.get(PAYMENTS))):
        for due in payments["payments"]:
            if due["payee"] == payee.party:
                told = {
                    "amount": due["amount"],
                    "currency": "EUR",
                    "paid_at": ENDED.isoformat(),
                    "source": f"bank/{due['reference']}",
                }
                await payee.post(f"{PAYMENTS}/{due['payment_id']}/receipts", told)
    assert {one[3] for partner in ring for one in await standing(partner)} == {"paid"}
    ledger = SqlLedger(hub.parts.database)
    for partner in ring:
        assert not any(one.amount.minor for one in await ledger.balances(partner.party))
    audit = await ledger.audit()
    assert audit.faults == []
    assert await settled(hub, MONTH) == await flows.plan(
        done.period.month, house=clearing.settling(hub.parts)
    )


async def test_invoices_pair_totals_and_payments_come_to_the_same(
    hub: Hub, ring: list[Partner]
) -> None:
    for partner, details in zip(ring, (LYON, BERLIN, LYON), strict=True):
        await tells(partner, details)
    [one] = (await settled(hub, MONTH)).settlements
    invoiced = set()
    for partner in ring:
        statement = await partner.get(f"{CLEARING_HOUSE}/set-off-statements/{MONTH}")
        [group] = statement["groups"]
        for pair in group["pairs"]:
            [invoice] = pair["invoices"]
            assert invoice["amount"] == pair["settled"]
            shown = await partner.get(f"{CLEARING_HOUSE}/invoices/{invoice['number']}")
            assert (shown["seller"], shown["total"]) == (pair["creditor"], invoice["amount"])
            invoiced.add((invoice["number"], Decimal(invoice["amount"]) * 100))
    assert len(invoiced) == 3
    assert sum(amount for _, amount in invoiced) == one.total_minor
    assert one.total_minor == one.paid_minor + one.netted_minor


async def test_what_comes_after_belongs_to_the_next_month(hub: Hub, ring: list[Partner]) -> None:
    alfa, beta, _ = ring
    await settled(hub, MONTH)
    before = await standing(beta)
    late = {**cdr(beta, 0, 4), "cdr_id": "late", "start": ENDED.replace(hour=10).isoformat()}
    answer = await beta.post(f"{CLEARING_HOUSE}/cdrs", late)
    assert answer["state"] in ("accepted", "flagged")
    assert await standing(beta) == before
    [one] = (await settled(hub, "2026-04")).settlements
    assert (one.total_minor, [payment.payer for payment in one.payments]) == (240, [alfa.party])


async def test_a_partner_that_does_not_pay_is_taken_out_and_all_are_told(
    hub: Hub, ring: list[Partner]
) -> None:
    alfa, beta, gama = ring
    done = await settled(hub, MONTH)
    month, house = done.period.month, clearing.settling(hub.parts)
    told = await flows.default(alfa.party, month, Rule.UNWIND, confirm=False, house=house)
    [correction] = told.corrections
    assert [(one.party, one.loses_minor) for one in correction.losses] == [
        ("DE*BET", 1_200),
        ("FR*GAM", 0),
    ]
    await flows.default(alfa.party, month, Rule.UNWIND, confirm=True, house=house)
    assert await standing(beta) == [
        ("DE*BET", "FR*GAM", "2.40", "unwound"),
        ("DE*BET", "FR*GAM", "7.20", "due"),
        ("NL*ALF", "DE*BET", "12.00", "failed"),
        ("NL*ALF", "DE*BET", "7.20", "unwound"),
    ]
    # gama owed alfa 4.80, and owes it still: its set-off against beta's debt is gone.
    assert ("FR*GAM", "NL*ALF", "4.80", "due") in await standing(gama)
    async with hub.parts.database.hot() as connection:
        events = await event_log.read(connection, START, types=[EventType.PARTNER_DEFAULTED])
    assert {event.party for event in events} == {alfa.party, beta.party, gama.party}
    assert (await SqlLedger(hub.parts.database).audit()).faults == []


async def test_a_creditor_gets_its_part_of_what_the_defaulter_has(
    hub: Hub, ring: list[Partner]
) -> None:
    alfa, beta, _ = ring
    month = (await settled(hub, MONTH)).period.month
    told = await flows.default(
        alfa.party,
        month,
        Rule.CLEARING_VECTOR,
        means={alfa.party: Money(100, "EUR")},
        confirm=True,
        house=clearing.settling(hub.parts),
    )
    assert [(one.party, one.loses_minor) for one in told.corrections[0].losses] == [
        (beta.party, 620)
    ]
    assert ("NL*ALF", "DE*BET", "7.20", "failed") in await standing(beta)
    [failed] = (await beta.get(f"{PAYMENTS}?state=failed"))["payments"]
    part = {
        "amount": "1.00",
        "currency": "EUR",
        "paid_at": ENDED.isoformat(),
        "source": "liquidator",
    }
    shown = await beta.post(f"{PAYMENTS}/{failed['payment_id']}/receipts", part)
    assert (shown["state"], shown["open"]) == ("failed", "6.20")
