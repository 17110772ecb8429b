"""`gridroam roaming`: who roams with whom, drawn in the terminal; and offers out of a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gridroam import exits
from gridroam.cli_options import DEFAULT_HOME, DatabaseUrl, HomeFolder, print_json
from marketplace.roaming.model import Cell, Status
from roaming.party import PartyId

roaming = typer.Typer(
    help="Roaming agreements: who has one with whom, and offers by the hundred.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

SIGNS = {
    Status.IN_FORCE: ("●", "green"),
    Status.SUSPENDED: ("◐", "yellow"),
    Status.AGREED: ("◷", "cyan"),
    Status.OFFERED: ("○", "blue"),
    Status.ASKED: ("?", "magenta"),
    Status.ENDED: ("✕", "red"),
}
MEANS = {
    Status.IN_FORCE: "in force",
    Status.SUSPENDED: "suspended",
    Status.AGREED: "agreed, begins later",
    Status.OFFERED: "offered, not accepted",
    Status.ASKED: "asked for",
    Status.ENDED: "ended",
}
_COLUMN, _HEAD = 8, 10


@roaming.command("matrix")
def roaming_matrix(
    operator: Annotated[str | None, typer.Option(help="Only this row.")] = None,
    evsp: Annotated[str | None, typer.Option(help="Only this column.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="CSV, a line for each pair.")] = False,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Operators by EVSPs: what the two have agreed, offered or asked for, as of now.

    \b
    Examples:
      gridroam roaming matrix
      gridroam roaming matrix --operator 'FR*PD1'
      gridroam roaming matrix --csv > matrix.csv
    """
    from gridroam import office_roaming
    from marketplace.roaming.routes import matrix_csv

    row = None if operator is None else PartyId(operator)
    column = None if evsp is None else PartyId(evsp)
    found = exits.run(lambda: office_roaming.matrix(home, database_url, row, column))
    if csv:
        rows: dict[PartyId, list[Cell]] = {}
        for cell in found:
            rows.setdefault(cell.operator, []).append(cell)
        sys.stdout.write(matrix_csv(rows))
        return
    console = Console()
    _draw(console, found)
    console.print(_legend(found), highlight=False)


def _draw(console: Console, found: Sequence[Cell]) -> None:
    """As many columns beside each other as the terminal is wide; the rest below."""
    evsps = sorted({cell.evsp for cell in found})
    beside = max(1, (console.width - _HEAD) // _COLUMN)
    by_pair = {(cell.operator, cell.evsp): cell for cell in found}
    for first in range(0, len(evsps), beside):
        columns = evsps[first : first + beside]
        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("operator", no_wrap=True)
        for evsp in columns:
            table.add_column(evsp, justify="center", no_wrap=True)
        for operator in sorted({cell.operator for cell in found if cell.evsp in columns}):
            table.add_row(operator, *(_sign(by_pair.get((operator, evsp))) for evsp in columns))
        console.print(table)


def _sign(cell: Cell | None) -> str:
    if cell is None:
        return "[dim]·[/dim]"
    sign, colour = SIGNS[cell.status]
    # A further offer beside what there is.
    more = "+" if cell.offers and cell.status is not Status.OFFERED else ""
    return f"[{colour}]{sign}{more}[/{colour}]"


def _legend(found: Sequence[Cell]) -> str:
    """Every sign, and how many pairs have it."""
    counted = {status: sum(cell.status is status for cell in found) for status in Status}
    lines = [
        f"[{colour}]{sign}[/{colour}] {MEANS[status]}: {counted[status]}"
        for status, (sign, colour) in SIGNS.items()
    ]
    return "\n".join([*lines, "+ a further offer, not accepted; · nothing between the two"])


@roaming.command("offer")
def roaming_offer(
    file: Annotated[
        Path, typer.Argument(help="JSON array of offerings: terms, audience, validity.")
    ],
    operator: Annotated[str, typer.Option(help="Whose offers they are, as FR*PD1.")],
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Make an operator's roaming offers out of a file: to all EVSPs, or each on terms of its own.

    All are made or none; the one that is wrong is named by its place, the first being 1. What is
    offered already is not doubled. Each is printed as a JSON line.

    \b
    Examples:
      gridroam roaming offer offers.json --operator 'FR*PD1'
    """
    from gridroam import office_roaming

    whose = PartyId(operator)
    for one in exits.run(lambda: office_roaming.offer(home, database_url, whose, file)):
        print_json(one)
