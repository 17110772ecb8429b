"""The month that docs/money.md tells of, played in a whole hub, and what the page shows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from clearinghouse.fees import flows as fee_flows
from clearinghouse.fees.model import Payer, Schedule
from clearinghouse.fees.store import SqlBooks as Fees
from clearinghouse.netting.model import Strategy
from clearinghouse.periods import flows as period_flows
from clearinghouse.periods.model import Month
from clearinghouse.settling import flows as settling_flows
from clearinghouse.settling.flows import Settled
from clearinghouse.settling.model import Settlement
from gridroam import clearing, office_books
from kit.clock import utc_now
from marketplace.business import flows as business_flows
from marketplace.business.model import BusinessDetails
from tests.flows.world import SINCE, agreed
from tests.hub import CLEARING_HOUSE, Hub, Partner

MARCH = Month(2026, 3)
CLOSED_ON = datetime(2026, 4, 2, 9, tzinfo=UTC)
NAMES = {
    "FR*ALP": "Alpha",
    "DE*RHE": "Rhein",
    "NL*NOO": "Noord",
    "NL*MOB": "Mobiel",
    "DE*FAH": "Fahrgut",
    "EU*GRD": "Hub",
}
ON_PAPER: Mapping[str, Mapping[str, Any]] = {
    "FR*ALP": {"legal_name": "Alpha Recharge SAS", "city": "Lyon", "vat_id": "FR40303265045"},
    "DE*RHE": {"legal_name": "Rhein Ladestrom GmbH", "city": "Köln", "vat_id": "DE136695976"},
    "NL*NOO": {"legal_name": "Noord Laden BV", "city": "Groningen", "vat_id": "NL4495445B01"},
    "NL*MOB": {"legal_name": "Mobiel BV", "city": "Utrecht", "vat_id": "NL123456782B90"},
    "DE*FAH": {"legal_name": "Fahrgut AG", "city": "Berlin", "vat_id": "DE129274202"},
}
# Operator, EVSP, kWh: at 0.50 EUR a kWh.
CHARGES = (
    ("FR*ALP", "DE*FAH", 44),
    ("FR*ALP", "NL*NOO", 60),
    ("FR*ALP", "NL*MOB", 24),
    ("DE*RHE", "NL*MOB", 50),
    ("DE*RHE", "NL*NOO", 20),
    ("DE*RHE", "DE*FAH", 10),
    ("DE*RHE", "NL*MOB", 8),
    ("NL*NOO", "NL*MOB", 30),
    ("NL*NOO", "DE*FAH", 80),
)
CORRECTED = 0
MULTILATERAL = Strategy.MULTILATERAL


@dataclass(frozen=True, slots=True)
class Played:
    """What came of the month."""

    closed: Any
    settled: Settled
    invoices: Sequence[Mapping[str, Any]]
    cdrs: Sequence[Mapping[str, Any]]
    april_minor: int

    @property
    def settlement(self) -> Settlement:
        """Of the charges; the hub's fees are settled apart."""
        return next(one for one in self.settled.settlements if one.strategy is MULTILATERAL)

    @property
    def fees(self) -> Settlement:
        return next(one for one in self.settled.settlements if one.strategy is not MULTILATERAL)


async def play(hub: Hub) -> Played:
    partners = await _partners(hub)
    await _fees(hub)
    for number, (operator, evsp, kwh) in enumerate(CHARGES):
        await _hand_in(partners[operator], f"{operator[3:]}-{number + 1}", evsp, number, kwh)
    alpha, rhein, mobiel = (partners[one] for one in ("FR*ALP", "DE*RHE", "NL*MOB"))
    # Four kWh too many: taken back, and told anew.
    credit = {"credit": True, "credit_reference_id": "ALP-1"}
    await _hand_in(alpha, "ALP-1-C", "DE*FAH", CORRECTED, 44, **credit)
    await _hand_in(alpha, "ALP-1-R", "DE*FAH", CORRECTED, 40, replaces="ALP-1")
    await mobiel.post(
        f"{CLEARING_HOUSE}/disputes",
        {"operator": rhein.party, "cdr_id": "RHE-7", "reason": "did-not-take-place"},
    )
    in_april = replace(hub.parts, clock=lambda: CLOSED_ON)
    closed = await office_books.close(in_april, MARCH)
    # Told after March was closed: of April.
    await _hand_in(partners["NL*NOO"], "NOO-10", "DE*FAH", 9, 10)
    settled = await settling_flows.settle(MARCH, house=clearing.settling(in_april))
    invoices = {
        one["number"]: one
        for partner in partners.values()
        for one in (await partner.get(f"{CLEARING_HOUSE}/invoices?period={MARCH}"))["invoices"]
    }
    cdrs = {
        (one["operator"], one["cdr_id"]): one
        for partner in partners.values()
        for one in (await partner.get(f"{CLEARING_HOUSE}/cdrs"))["cdrs"]
    }
    april = await period_flows.show(MARCH.next, books=clearing.periods(hub.parts))
    return Played(
        closed,
        settled,
        [invoices[number] for number in sorted(invoices)],
        list(cdrs.values()),
        april.totals[0].charges_minor,
    )


async def _partners(hub: Hub) -> dict[str, Partner]:
    roles = {
        "FR*ALP": ["evse-operator"],
        "DE*RHE": ["evse-operator"],
        "NL*NOO": ["evse-operator", "evsp"],
        "NL*MOB": ["evsp"],
        "DE*FAH": ["evsp"],
    }
    partners = {party: await hub.partner(party, *held) for party, held in roles.items()}
    for number, (party, partner) in enumerate(partners.items()):
        details = {
            "street": "1",
            "postal_code": "10000",
            "country": party[:2],
            "taxable_dealer": True,
            "valid_from": SINCE.isoformat(),
            **ON_PAPER[party],
        }
        await partner.put(f"/marketplace/partners/{party}/business-details", details)
        if "evse-operator" in roles[party]:
            await partner.provides(f"{party}*E1")
        if "evsp" in roles[party]:
            await partner.keeps(f"{party.replace('*', '-')}-12345678{number}", card(party))
    for operator, evsp in sorted({(one, other) for one, other, _ in CHARGES}):
        await agreed(partners[operator], partners[evsp])
    await business_flows.tell(
        hub.parts.business_files,
        hub.parts.hub,
        BusinessDetails(
            party=hub.parts.hub,
            legal_name="Gridroam Hub SA",
            street="1",
            city="Luxembourg",
            postal_code="10000",
            country="LU",
            vat_id="LU15027442",
            tax_id=None,
            taxable_dealer=False,
            iban=None,
            bic=None,
            invoice_email=None,
            valid_from=SINCE,
        ),
        hub=hub.parts.hub,
        memory=hub.parts.businesses,
        now=utc_now(),
    )
    return partners


async def _fees(hub: Hub) -> None:
    """One cent a record from each EVSP, told in time."""
    await fee_flows.set_schedule(
        Schedule(Payer.EVSP, None, MARCH, "EUR", Decimal("0.01"), Decimal(0)),
        hub=hub.parts.hub,
        books=Fees(hub.parts.database),
        now=datetime(2026, 1, 15, tzinfo=UTC),
    )


async def _hand_in(
    operator: Partner, cdr_id: str, evsp: str, day: int, kwh: int, **more: Any
) -> None:
    start = datetime(2026, 3, 2 + 2 * day, 8, tzinfo=UTC)
    answer = await operator.post(
        f"{CLEARING_HOUSE}/cdrs",
        {
            "cdr_id": cdr_id,
            "evse_id": f"{operator.party}*E1",
            "token_uid": card(evsp),
            "start": start.isoformat(),
            "end": (start + timedelta(hours=2)).isoformat(),
            "energy_wh": kwh * 1_000,
            **more,
        },
    )
    assert answer["state"] == "accepted", answer


def card(party: str) -> str:
    return "04" + party.encode().hex().upper()[:12]


def shown(played: Played) -> dict[str, str]:
    """The tables of the page, by their names."""
    settlement = played.settlement
    total = played.closed.totals[0]
    nets: dict[str, int] = {}
    for pair in settlement.pairs:
        nets[pair.creditor] = nets.get(pair.creditor, 0) + pair.total_minor
        nets[pair.debtor] = nets.get(pair.debtor, 0) - pair.total_minor
    records = sorted(played.cdrs, key=lambda one: (one["start"], one["recorded_at"]))
    return {
        "records": _table(
            ("record", "of", "for", "kWh", "EUR", "VAT", "rule", "state", "month"),
            [
                (
                    one["cdr_id"],
                    NAMES[one["operator"]],
                    NAMES[one["evsp"]],
                    str(one["energy_wh"] // 1_000),
                    one["price"]["excl_vat"],
                    one["price"]["vat"],
                    one["vat"]["rule"],
                    one["state"],
                    one["period_id"],
                )
                for one in records
            ],
        ),
        "debts": _table(
            ("who owes", "whom", "charges", "VAT", "together"),
            [
                (
                    NAMES[pair.debtor],
                    NAMES[pair.creditor],
                    _euros(pair.charge_minor),
                    _euros(pair.vat_minor),
                    _euros(pair.total_minor),
                )
                for pair in settlement.pairs
            ]
            + [
                (
                    "**all**",
                    "",
                    _euros(total.charges_minor),
                    _euros(total.vat_minor),
                    _euros(settlement.total_minor),
                )
            ],
        ),
        "positions": _table(
            ("", "position"),
            [(NAMES[party], f"{nets[party] / 100:+.2f}") for party in sorted(nets)],
        ),
        "payments": _table(
            ("who pays", "whom", "EUR", "by"),
            [
                (NAMES[one.payer], NAMES[one.payee], _euros(one.amount_minor), str(one.due_on))
                for one in settlement.payments
            ]
            + [("**all**", "", _euros(settlement.paid_minor), "")],
        ),
        "invoices": _table(
            ("invoice", "seller", "buyer", "net", "VAT", "total"),
            [
                (
                    one["number"],
                    NAMES[one["seller"]],
                    NAMES[one["buyer"]],
                    *(one["net"], one["vat"], one["total"]),
                )
                for one in played.invoices
                if NAMES[one["seller"]] != "Hub"
            ]
            + [("**all**", "", "", "", "", _euros(_invoiced(played)))],
        ),
        "fees": _table(
            ("who owes the hub", "records", "EUR"),
            [
                (NAMES[pair.debtor], str(pair.fee_minor), _euros(pair.fee_minor))
                for pair in played.fees.pairs
            ],
        ),
        "sums": _table(
            ("", "EUR"),
            [
                ("all invoices", _euros(_invoiced(played))),
                ("what all pairs owe by the ledger", _euros(settlement.total_minor)),
                ("set off, paid by nobody", _euros(settlement.netted_minor)),
                ("to be paid", _euros(settlement.paid_minor)),
                (
                    "set off and to be paid, together",
                    _euros(settlement.netted_minor + settlement.paid_minor),
                ),
            ],
        ),
    }


def _invoiced(played: Played) -> int:
    return sum(
        int(Decimal(one["total"]) * 100) for one in played.invoices if NAMES[one["seller"]] != "Hub"
    )


def _euros(minor: int) -> str:
    return f"{Decimal(minor) / 100:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_PLACES = {
    "FR*ALP": (130, 75),
    "DE*RHE": (430, 75),
    "NL*MOB": (500, 220),
    "NL*NOO": (280, 310),
    "DE*FAH": (60, 220),
}


def drawn(title: str, arrows: Sequence[tuple[str, str, int]]) -> str:
    """Who pays whom, as a picture: an arrow for each debt, its amount beside it."""
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 560 350" width="560" height="350"'
        f' font-family="sans-serif" role="img" aria-label="{title}">',
        '<rect width="560" height="350" fill="#fff"/>',
        '<defs><marker id="end" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7"'
        ' markerHeight="7" orient="auto"><path d="M0 0 10 5 0 10z" fill="#46566b"/>'
        "</marker></defs>",
        f'<text x="280" y="22" font-size="15" text-anchor="middle" fill="#1c2733">{title}</text>',
    ]
    for payer, payee, minor in arrows:
        (x1, y1), (x2, y2) = _PLACES[payer], _PLACES[payee]
        length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
        dx, dy = (x2 - x1) / length, (y2 - y1) / length
        # Beside the straight line, so that two debts between two parties do not cover each other.
        sx, sy = -dy * 7, dx * 7
        from_x, from_y = x1 + dx * 44 + sx, y1 + dy * 26 + sy
        to_x, to_y = x2 - dx * 48 + sx, y2 - dy * 30 + sy
        text_x = x1 + (x2 - x1) * 0.36 + sx * 1.6
        text_y = y1 + (y2 - y1) * 0.36 + sy * 1.6
        parts += [
            f'<line x1="{from_x:.0f}" y1="{from_y:.0f}" x2="{to_x:.0f}" y2="{to_y:.0f}"'
            ' stroke="#46566b" stroke-width="1.6" marker-end="url(#end)"/>',
            f'<text x="{text_x:.0f}" y="{text_y:.0f}" font-size="12" text-anchor="middle"'
            ' fill="#0b5fa5" stroke="#fff" stroke-width="4" paint-order="stroke">'
            f"{_euros(minor)}</text>",
        ]
    for party, (x, y) in _PLACES.items():
        parts += [
            f'<rect x="{x - 42}" y="{y - 17}" width="84" height="34" rx="8" fill="#e8f0f8"'
            ' stroke="#46566b"/>',
            f'<text x="{x}" y="{y + 5}" font-size="14" text-anchor="middle" fill="#1c2733">'
            f"{NAMES[party]}</text>",
        ]
    return "\n".join([*parts, "</svg>\n"])


def pictures(played: Played) -> dict[str, str]:
    """The page's two pictures, by their file names."""
    settlement = played.settlement
    debts = [(one.debtor, one.creditor, one.total_minor) for one in settlement.pairs]
    payments = [(one.payer, one.payee, one.amount_minor) for one in settlement.payments]
    return {
        "debts.svg": drawn(
            f"What is owed: {len(debts)} debts, {_euros(settlement.total_minor)} EUR", debts
        ),
        "payments.svg": drawn(
            f"What is paid: {len(payments)} payments, {_euros(settlement.paid_minor)} EUR", payments
        ),
    }
