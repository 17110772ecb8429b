"""`gridroam report`: calls, errors and money by day or month, as a picture or a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.bar import Bar
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gateway.reports.model import By, Every
from gridroam import exits
from gridroam.cli_options import DEFAULT_HOME, DatabaseUrl, HomeFolder, print_json
from roaming.money import Money
from roaming.party import PartyId

_LENGTH = re.compile(r"([1-9][0-9]{0,2})d")
_WIDTH = 24


def report(
    last: Annotated[str, typer.Option(help="How many days back, today included, as 30d.")] = "30d",
    by: Annotated[By, typer.Option(help="How finely calls are told apart.")] = By.TOTAL,
    every: Annotated[Every, typer.Option(help="In steps of so long.")] = Every.DAY,
    service: Annotated[str | None, typer.Option(help="One service alone.")] = None,
    party: Annotated[
        str | None, typer.Option(help="What this party calls or provides, as FR*PD1.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A file in .csv or .parquet, by contract.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON, one object a line.")] = False,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """What became of calls, day by day: how many, how many failed, and what was turned over.

    \b
    Examples:
      gridroam report
      gridroam report --last 365d --every month --by service
      gridroam report --party 'FR*PD1' --out figures.parquet
    """
    from gridroam import office_reports

    days = _days(last)
    whose = None if party is None else PartyId(party)
    if out is not None:
        size = exits.run(
            lambda: office_reports.save(
                home, database_url, out, days=days, every=every, service=service, party=whose
            )
        )
        typer.echo(f"{out}: {size} bytes")
        return
    found = exits.run(
        lambda: office_reports.rows(
            home, database_url, days=days, by=by, every=every, service=service, party=whose
        )
    )
    if json:
        for one in found:
            print_json(one)
        return
    if not found:
        typer.echo(f"Nothing within {last}. A longer time: --last 365d")
        return
    table = _table(found)
    console = Console()
    # An id that is broken off cannot be looked for: rather long lines than narrow columns.
    wide = console.options.update_width(1_000)
    console.width = max(console.width, console.measure(table, options=wide).maximum)
    console.print(table)


def _days(last: str) -> int:
    match = _LENGTH.fullmatch(last)
    if match is None:
        raise typer.BadParameter("a number of days and d, as 30d", param_hint="--last")
    return int(match[1])


def _table(found: list[dict[str, Any]]) -> Table:
    """A row for each step and what is told apart in it, with a bar of its calls."""
    named = [name for name in _NAMES if any(one[name] is not None for one in found)]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("from", no_wrap=True)
    for name in named:
        table.add_column(name.removesuffix("_id"), no_wrap=True)
    for name in ("calls", "failed", "p95 ms", "turned over"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("calls", width=_WIDTH)
    most = max(one["calls"] for one in found) or 1
    for one in found:
        p95_ms = one["p95_ms"]
        table.add_row(
            one["begins_on"],
            *(str(one[name] or "") for name in named),
            str(one["calls"]),
            f"{100 * (one['error_share'] or 0):.2f} %",
            "" if p95_ms is None else f"{p95_ms:.1f}",
            _turned_over(one),
            Bar(most, 0, one["calls"], width=_WIDTH),
        )
    return table


_NAMES = ("service", "contract_id", "provider", "requester")


def _turned_over(row: dict[str, Any]) -> str:
    """What one side owes the other: of a party's own, the greater of the two is not nothing."""
    return ", ".join(
        str(Money(max(one["revenue_minor"], one["cost_minor"]), one["currency"]))
        for one in row["amounts"]
    )
