"""What a replay tells at its end: the JSON report of INTERFACES, and the same on the screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

from gridroam.rehearsal.inputs import BadLine
from roaming.party import PartyId

CDR_STATES = ("accepted", "flagged", "rejected", "delivered")


@dataclass(slots=True)
class Report:
    """Counts are of charges; amounts are decimal texts, excluding VAT unless named `vat`."""

    charges: int = 0
    accepted: int = 0
    duplicates: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    cdrs: Counter[str] = field(default_factory=Counter)
    energy_wh: int = 0
    gross: list[dict[str, Any]] = field(default_factory=list)
    bilateral: list[dict[str, Any]] = field(default_factory=list)
    multilateral: list[dict[str, Any]] = field(default_factory=list)
    cycles: list[dict[str, Any]] = field(default_factory=list)
    multilateral_methods: dict[str, str] = field(default_factory=dict)
    ledger_sum: str = "0.00"
    seconds: dict[str, float] = field(default_factory=dict)
    imported: dict[str, Any] = field(default_factory=dict)
    bad_lines: list[BadLine] = field(default_factory=list)
    hub_peak_memory_mb: float = 0.0
    notes: list[str] = field(default_factory=list)
    # What people call the parties; the JSON report speaks of party ids alone.
    names: Mapping[PartyId, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "charges": self.charges,
            "accepted": self.accepted,
            "refused": dict(sorted(self.refused.items())),
            "duplicates": self.duplicates,
            "cdrs": {state: self.cdrs[state] for state in CDR_STATES},
            "energy_wh": self.energy_wh,
            "gross": self.gross,
            "bilateral": self.bilateral,
            "multilateral": self.multilateral,
            "cycles": self.cycles,
            "multilateral_method": self.multilateral_methods,
            "ledger_sum": self.ledger_sum,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "hub_peak_memory_mb": round(self.hub_peak_memory_mb, 1),
            "imported": self.imported,
            "unreadable_lines": [
                {"file": bad.file, "line": bad.line, "reason": bad.reason} for bad in self.bad_lines
            ],
            "notes": self.notes,
        }


def show(report: Report, console: Console) -> None:
    """The clearing statement, for people."""
    delivered = report.cdrs["delivered"]
    console.print(
        f"\n[bold]{report.charges:,} charges[/]: {report.accepted:,} accepted,"
        f" {sum(report.refused.values()):,} refused; {report.energy_wh / 1e6:,.1f} MWh;"
        f" {delivered:,} CDRs delivered"
    )
    for reason, count in sorted(report.refused.items()):
        console.print(f"  refused {count:>6,}  {reason}")
    if report.duplicates:
        console.print(f"  {report.duplicates:,} charges were in the file twice and are billed once")
    if report.bad_lines:
        first = report.bad_lines[0]
        console.print(
            f"  {len(report.bad_lines):,} lines could not be read; the first:"
            f" {first.file}:{first.line}: {first.reason}"
        )
    console.print(_payments("Who pays whom, netted among all", report))
    totals = Table(title="What netting saves", title_justify="left")
    totals.add_column("strategy")
    totals.add_column("payments", justify="right")
    totals.add_column("amount excl. VAT", justify="right")
    for name, rows in (
        ("gross (strategy 1)", report.gross),
        ("bilateral (strategy 2)", report.bilateral),
        ("cycles only", report.cycles),
        ("multilateral", report.multilateral),
    ):
        totals.add_row(name, f"{len(rows):,}", _sums(rows))
    console.print(totals)
    console.print(f"Ledger sum: [bold]{report.ledger_sum}[/]")


def _payments(title: str, report: Report) -> Table:
    def named(party: str) -> str:
        name = report.names.get(PartyId(party))
        return f"{party}  {name}" if name else party

    table = Table(title=title, title_justify="left")
    for column in ("payer", "payee"):
        table.add_column(column)
    table.add_column("amount", justify="right")
    for row in report.multilateral:
        amount = f"{Decimal(row['amount']):,} {row['currency']}"
        table.add_row(named(row["payer"]), named(row["payee"]), amount)
    return table


def _sums(rows: Sequence[dict[str, Any]]) -> str:
    sums: dict[str, Decimal] = {}
    for row in rows:
        sums[row["currency"]] = sums.get(row["currency"], Decimal(0)) + Decimal(row["amount"])
    return ", ".join(f"{amount:,} {currency}" for currency, amount in sorted(sums.items())) or "0"
