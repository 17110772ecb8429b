"""`gridroam dead-letters`: records that their EVSPs refused, and having them sent again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gridroam import exits
from gridroam.cli_options import DEFAULT_HOME, DatabaseUrl, HomeFolder, print_json
from roaming.party import PartyId

dead_letters = typer.Typer(
    help="Records that their EVSPs refused.", no_args_is_help=True, rich_markup_mode=None
)


@dead_letters.command("list")
def dead_letters_list(
    evsp: Annotated[str | None, typer.Option(help="The EVSP, as FR*XYZ; else all.")] = None,
    delivered: Annotated[
        bool, typer.Option("--delivered", help="Also those that have arrived since.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """What EVSPs refused, oldest first, with their own words.

    \b
    Examples:
      gridroam dead-letters list
      gridroam dead-letters list --evsp 'FR*XYZ' --json
    """
    from gridroam import office_deliveries

    party = None if evsp is None else PartyId(evsp)
    found = exits.run(
        lambda: office_deliveries.list_dead_letters(
            home, database_url, party, also_delivered=delivered
        )
    )
    if json:
        for one in found:
            print_json(asdict(one))
        return
    table = Table("id", "EVSP", "operator", "CDR", "refused", "status", "it says", "now")
    for one in found:
        now = "sent again" if one.replay_requested_at else "waits for somebody"
        if one.delivered_at:
            now = f"delivered {one.delivered_at:%Y-%m-%d %H:%M}"
        table.add_row(
            *(str(one.dead_letter_id), one.evsp, one.operator, one.cdr_id),
            *(f"{one.refused_at:%Y-%m-%d %H:%M}", str(one.status), one.says, now),
        )
    if found:
        Console().print(table)
    typer.echo(f"{len(found)} dead letters")


@dead_letters.command("replay")
def dead_letters_replay(
    evsp: Annotated[str, typer.Option(help="The EVSP, as FR*XYZ.")],
    ids: Annotated[
        list[int] | None, typer.Option("--id", min=0, help="As `list` shows it; repeatable.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="All of this EVSP's.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Have dead letters sent again. A hub that runs does it at once, else at its next start.

    \b
    Examples:
      gridroam dead-letters replay --evsp 'FR*XYZ' --id 4711
      gridroam dead-letters replay --evsp 'FR*XYZ' --all
    """
    from gridroam import office_deliveries

    if bool(ids) == all_:
        raise typer.BadParameter("either --id, or --all", param_hint="--id")
    chosen = None if all_ else ids
    asked = exits.run(
        lambda: office_deliveries.replay_dead_letters(home, database_url, PartyId(evsp), chosen)
    )
    if json:
        print_json({"asked": asked})
    else:
        typer.echo(f"{asked} will be sent again")
