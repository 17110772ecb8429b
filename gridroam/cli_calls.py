"""`gridroam calls`: how the services fare, as numbers and as a picture."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gateway.monitoring.model import By, Every
from gridroam import exits
from gridroam.cli_options import DEFAULT_HOME, DatabaseUrl, HomeFolder, print_json
from roaming.party import PartyId

_LENGTH = re.compile(r"([1-9][0-9]{0,3})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_BARS = "▁▂▃▄▅▆▇█"


def calls(
    last: Annotated[str, typer.Option(help="How far back, as 90m, 24h or 7d.")] = "1h",
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%dT%H:%M:%S%z"], help="RFC 3339 with offset; else now."),
    ] = None,
    by: Annotated[By, typer.Option(help="How finely calls are told apart.")] = By.SERVICE,
    every: Annotated[
        Every, typer.Option(help="In steps of so long: the table gets a picture of each row.")
    ] = Every.WHOLE,
    service: Annotated[str | None, typer.Option(help="One service alone.")] = None,
    party: Annotated[
        str | None, typer.Option(help="What this party calls or provides, as FR*PD1.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON, one object a line.")] = False,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """How services fare: calls, errors, and how long they took.

    Errors are answers that the provider failed (500 and above); 400 to 499 are the caller's own.

    \b
    Examples:
      gridroam calls
      gridroam calls --last 24h --every hour
      gridroam calls --last 7d --by contract --party 'FR*PD1'
      gridroam calls --service search-evse --by operation --json
    """
    from gridroam import office_calls

    length = _length(last)
    whose = None if party is None else PartyId(party)
    found = exits.run(
        lambda: office_calls.figures(
            home,
            database_url,
            party=whose,
            until=until,
            length=length,
            by=by,
            every=every,
            service=service,
        )
    )
    if json:
        for one in found:
            print_json(one)
        return
    if not found:
        typer.echo(f"No calls within {last}. A longer time: --last 7d")
        return
    table = _table(found, by, every)
    console = Console()
    # An id that is broken off cannot be looked for: rather long lines than narrow columns.
    console.width = max(console.width, console.measure(table).maximum)
    console.print(table)


def _length(last: str) -> timedelta:
    match = _LENGTH.fullmatch(last)
    if match is None:
        raise typer.BadParameter("a number and m, h or d, as 24h", param_hint="--last")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _table(found: list[dict[str, Any]], by: By, every: Every) -> Table:
    """A row for each service, contract and operation; steps of it side by side as a picture."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("service", no_wrap=True)
    if by is not By.SERVICE:
        table.add_column("contract", no_wrap=True)
    if by is By.OPERATION:
        table.add_column("operation", no_wrap=True)
    for name in ("calls", "a second", "failed", "theirs", "p50 ms", "p95 ms", "p99 ms"):
        table.add_column(name, justify="right")
    rows: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for one in found:
        key = (one["service"], one["major"], one["contract_id"], one["operation"])
        rows.setdefault(key, []).append(one)
    if every is not Every.WHOLE:
        table.add_column(f"calls by {every}")
    steps = sorted({one["begins_at"] for one in found})
    for key, several in rows.items():
        table.add_row(*_cells(key, several, by), *_picture(several, steps, every))
    return table


def _cells(key: tuple[Any, ...], several: list[dict[str, Any]], by: By) -> list[str]:
    service, major, contract_id, operation = key
    cells = [service if major == 1 else f"{service} v{major}"]
    if by is not By.SERVICE:
        cells.append(contract_id or "none")
    if by is By.OPERATION:
        cells.append(operation)
    total = sum(one["calls"] for one in several)
    cells += [
        str(total),
        f"{sum(one['per_second'] for one in several) / len(several):.3g}",
        str(sum(one["provider_errors"] for one in several)),
        str(sum(one["caller_errors"] for one in several)),
    ]
    # Of several steps the worst: percentiles cannot be added up.
    cells += [f"{max(one[name] for one in several):.1f}" for name in ("p50_ms", "p95_ms", "p99_ms")]
    return cells


def _picture(several: list[dict[str, Any]], steps: list[str], every: Every) -> list[str]:
    if every is Every.WHOLE:
        return []
    counted = {one["begins_at"]: one["calls"] for one in several}
    most = max(counted.values())
    bars = [_bar(counted.get(step, 0), most) for step in steps[-60:]]
    return ["".join(bars)]


def _bar(calls: int, most: int) -> str:
    return " " if calls == 0 else _BARS[(calls * len(_BARS) - 1) // most]
