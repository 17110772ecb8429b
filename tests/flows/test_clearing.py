"""A period is over: many debts become few payments, and everybody sees its own, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from clearinghouse.netting.model import ClearingRun, Period, Strategy
from gridroam import office_clearing
from kit.clock import utc_now
from tests.flows.world import agreed
from tests.hub import CLEARING_HOUSE, Hub, Partner

RUNS = f"{CLEARING_HOUSE}/clearing-runs"
ENDED = utc_now().replace(microsecond=0) - timedelta(hours=2)
PERIOD = {
    "from": (ENDED - timedelta(days=1)).isoformat(),
    "to": (ENDED + timedelta(days=1)).isoformat(),
}


@dataclass(frozen=True, slots=True)
class Ring:
    """Three that are operator and EVSP at once, each with a customer, and one that is neither's."""

    hub: Hub
    alfa: Partner
    beta: Partner
    gama: Partner
    stranger: Partner


@pytest.fixture
async def ring(hub: Hub) -> Ring:
    """alfa owes beta 10.00, beta owes gama 6.00, gama owes alfa 4.00, beta owes alfa 3.00."""
    alfa = await hub.partner("NL*ALF", "evse-operator", "evsp")
    beta = await hub.partner("DE*BET", "evse-operator", "evsp")
    gama = await hub.partner("FR*GAM", "evse-operator", "evsp")
    for number, partner in enumerate((alfa, beta, gama)):
        await partner.provides(f"{partner.party}*E1")
        await partner.keeps(f"{partner.party.dashed}-123456789", card(number))
    customers = {alfa.party: card(0), beta.party: card(1), gama.party: card(2)}
    for debtor, creditor, kwh in (
        (alfa, beta, 20),
        (beta, gama, 12),
        (gama, alfa, 8),
        (beta, alfa, 6),
    ):
        await agreed(creditor, debtor)
        await charged(creditor, customers[debtor.party], kwh)
    return Ring(hub, alfa, beta, gama, await hub.partner("BE*STR", "evse-operator", "evsp"))


def card(number: int) -> str:
    return f"04AAAAAAAAAA0{number}"


async def charged(operator: Partner, token_uid: str, kwh: int) -> None:
    """At 0.50 EUR a kWh."""
    answer = await operator.post(
        f"{CLEARING_HOUSE}/cdrs",
        {
            "cdr_id": f"{token_uid}-{kwh}",
            "evse_id": f"{operator.party}*E1",
            "token_uid": token_uid,
            "start": (ENDED - timedelta(hours=1)).isoformat(),
            "end": ENDED.isoformat(),
            "energy_wh": kwh * 1_000,
        },
    )
    assert answer["state"] == "accepted", answer


async def cleared(by: Partner, strategy: str) -> Any:
    asked = {"period": PERIOD, "currency": "EUR", "strategy": strategy}
    return await by.post(RUNS, asked)


def payments(run: Any) -> list[tuple[str, str, str]]:
    return sorted((one["payer"], one["payee"], one["amount"]) for one in run["payments"])


def debts(run: Any) -> list[tuple[str, str, str]]:
    return sorted((one["debtor"], one["creditor"], one["amount"]) for one in run["obligations"])


async def cleared_by_the_hub(hub: Hub, strategy: Strategy) -> ClearingRun:
    period = Period(ENDED - timedelta(days=1), ENDED + timedelta(days=1))
    return await office_clearing.clear(hub.parts, period, "EUR", strategy)


async def test_the_hub_clears_for_all_by_each_strategy(ring: Ring) -> None:
    paid = {
        strategy: sorted(
            (str(one.payer), str(one.payee), one.amount_minor)
            for one in (await cleared_by_the_hub(ring.hub, strategy)).clearing.payments
        )
        for strategy in Strategy
    }
    assert paid == {
        Strategy.GROSS: [
            ("DE*BET", "FR*GAM", 600),
            ("DE*BET", "NL*ALF", 300),
            ("FR*GAM", "NL*ALF", 400),
            ("NL*ALF", "DE*BET", 1000),
        ],
        Strategy.BILATERAL: [
            ("DE*BET", "FR*GAM", 600),
            ("FR*GAM", "NL*ALF", 400),
            ("NL*ALF", "DE*BET", 700),
        ],
        # alfa -3.00, beta +1.00, gama +2.00: two payments are the fewest.
        Strategy.MULTILATERAL: [("NL*ALF", "DE*BET", 100), ("NL*ALF", "FR*GAM", 200)],
        # alfa owes gama nothing, so it pays beta, who owes gama.
        Strategy.CYCLES: [("DE*BET", "FR*GAM", 200), ("NL*ALF", "DE*BET", 300)],
    }


async def test_a_partner_clears_what_concerns_it(ring: Ring) -> None:
    gross = await cleared(ring.gama, "gross")
    assert debts(gross) == [("DE*BET", "FR*GAM", "6.00"), ("FR*GAM", "NL*ALF", "4.00")]
    assert payments(gross) == debts(gross)
    bilateral = await cleared(ring.alfa, "bilateral")
    assert payments(bilateral) == [("FR*GAM", "NL*ALF", "4.00"), ("NL*ALF", "DE*BET", "7.00")]
    multilateral = await cleared(ring.beta, "multilateral")
    assert payments(multilateral) == [("NL*ALF", "DE*BET", "1.00")]
    [position] = multilateral["positions"]
    assert (position["party"], position["amount"]) == ("DE*BET", "1.00")


async def test_each_sees_what_was_cancelled_of_its_own_debts(ring: Ring) -> None:
    run = await cleared_by_the_hub(ring.hub, Strategy.CYCLES)
    seen = {
        partner.party: [
            (one["debtor"], one["creditor"], one["amount"])
            for one in (await partner.get(f"{RUNS}/{run.run_id}"))["cancelled"]
        ]
        for partner in (ring.gama, ring.stranger)
    }
    assert seen == {
        "FR*GAM": [("DE*BET", "FR*GAM", "4.00"), ("FR*GAM", "NL*ALF", "4.00")],
        "BE*STR": [],
    }
    own = await cleared(ring.gama, "cycles")
    assert payments(own) == [("DE*BET", "FR*GAM", "2.00")]


async def test_each_partner_sees_its_part_of_the_hubs_run_and_no_more(ring: Ring) -> None:
    run = await cleared_by_the_hub(ring.hub, Strategy.MULTILATERAL)
    seen = {}
    for partner in (ring.alfa, ring.beta, ring.gama, ring.stranger):
        shown = await partner.get(f"{RUNS}/{run.run_id}")
        for one in [*shown["payments"], *shown["obligations"]]:
            assert partner.party in one.values()
        assert {one["party"] for one in shown["positions"]} <= {partner.party}
        seen[partner.party] = payments(shown)
    assert seen == {
        "NL*ALF": [("NL*ALF", "DE*BET", "1.00"), ("NL*ALF", "FR*GAM", "2.00")],
        "DE*BET": [("NL*ALF", "DE*BET", "1.00")],
        "FR*GAM": [("NL*ALF", "FR*GAM", "2.00")],
        "BE*STR": [],
    }


async def test_a_partners_own_run_is_no_other_partners_business(ring: Ring) -> None:
    run = await cleared(ring.alfa, "bilateral")
    assert (await ring.beta.call("GET", f"{RUNS}/{run['run_id']}")).status == 404
    assert run["run_id"] not in str(await ring.beta.get(RUNS))
    assert await ring.alfa.get(f"{RUNS}/{run['run_id']}") == run


async def test_each_statement_says_what_its_party_pays_under_each_strategy(ring: Ring) -> None:
    first, last = ENDED.date() - timedelta(days=1), ENDED.date() + timedelta(days=2)
    told = await ring.beta.get(f"{CLEARING_HOUSE}/statements/{first}..{last}")
    assert (told["owing"]["amount"], told["owed"]["amount"]) == ("9.00", "10.00")
    assert {one["counterparty"]: one["net"] for one in told["counterparties"]} == {
        "NL*ALF": "7.00",
        "FR*GAM": "-6.00",
    }
    # Whatever the strategy, what it comes to is the same.
    assert {strategy: one["net"] for strategy, one in told["strategies"].items()} == {
        "gross": "1.00",
        "bilateral": "1.00",
        "multilateral": "1.00",
        "cycles": "1.00",
    }
    nothing = await ring.stranger.get(f"{CLEARING_HOUSE}/statements/{first}..{last}")
    assert nothing["counterparties"] == []
    assert nothing["owing"]["cdrs"] == nothing["owed"]["cdrs"] == 0


async def test_the_charges_behind_a_statement_are_its_own(ring: Ring) -> None:
    first, last = ENDED.date() - timedelta(days=1), ENDED.date() + timedelta(days=2)
    told = await ring.gama.get(f"{CLEARING_HOUSE}/statements/{first}..{last}/items")
    assert sorted((one["counterparty"], one["amount"]) for one in told["items"]) == [
        ("DE*BET", "6.00"),
        ("NL*ALF", "-4.00"),
    ]


async def test_clearing_again_comes_to_the_same(ring: Ring) -> None:
    once, again = await cleared(ring.alfa, "bilateral"), await cleared(ring.alfa, "bilateral")
    assert once["run_id"] != again["run_id"]
    assert payments(once) == payments(again)


async def test_a_period_without_charges_clears_to_nothing(ring: Ring) -> None:
    asked = {"period": "2020-01", "currency": "EUR", "strategy": "multilateral"}
    assert payments(await ring.alfa.post(RUNS, asked)) == []


async def test_who_neither_owes_nor_is_owed_by_trade_clears_nothing(ring: Ring) -> None:
    dso = await ring.hub.partner("FR*DSO", "dso")
    answer = await dso.call(
        "POST", RUNS, {"period": PERIOD, "currency": "EUR", "strategy": "gross"}
    )
    assert answer.status == 403
