"""`gridroam period`, `ledger` and `dispute`: what the hub's operator does with the books."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gridroam import exits
from gridroam.cli_options import DEFAULT_HOME, DatabaseUrl, HomeFolder, print_json
from roaming.money import Money
from roaming.party import PartyId

period = typer.Typer(
    help="Accounting periods: calendar months (UTC) that are open, closed, settled.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
ledger = typer.Typer(help="The ledger itself.", no_args_is_help=True, rich_markup_mode=None)


@period.command("list")
def period_list(home: HomeFolder = DEFAULT_HOME, database_url: DatabaseUrl = None) -> None:
    """Every month that anything was posted to, one JSON object a line."""
    from gridroam import office_books

    for one in exits.run(lambda: office_books.list_periods(home, database_url)):
        print_json(one)


@period.command("show")
def period_show(
    period_id: Annotated[str, typer.Argument(help="As 2025-01.")],
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """What a month has come to by now."""
    from gridroam import office_books

    print_json(exits.run(lambda: office_books.show_period(home, database_url, period_id)))


@period.command("close")
def period_close(
    period_id: Annotated[str, typer.Argument(help="As 2025-01.")],
    early: Annotated[
        bool,
        typer.Option("--early", help="Also while it runs; what comes yet goes to the next month."),
    ] = False,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Close a month for good, and print what it came to. Calls go on meanwhile.

    Records that come later are priced by the time of their charge and belong to the next open
    month. Asked again, it goes on where it was broken off.

    \b
    Examples:
      gridroam period close 2025-01
      gridroam period close 2025-02 --early
    """
    from gridroam import office_books

    print_json(exits.run(lambda: office_books.close_period(home, database_url, period_id, early)))


@ledger.command("verify")
def ledger_verify(
    json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Hold every line of the ledger against its laws: sums, balances, hash chains.

    Exit code 1 where a fault is found; each is told with its place.
    """
    from gridroam import office_books

    console = Console(stderr=True)
    with console.status("looking at every line of the ledger"):
        audit = exits.run(lambda: office_books.verify_ledger(home, database_url))
    if json:
        print_json(audit)
    else:
        faults = Table("law", "where", "what is wrong", title="Faults in the ledger")
        for fault in audit.faults:
            faults.add_row(fault.law, fault.where, fault.says)
        if audit.faults:
            console.print(faults)
        typer.echo(
            f"{audit.postings} postings, {audit.entries} entries, {audit.books} books,"
            f" {audit.balances} balances: "
            + (f"{len(audit.faults)} faults" if audit.faults else "sound")
        )
    if audit.faults:
        raise typer.Exit(1)


dispute = typer.Typer(
    help="Disputes about records, and what the hub decides in them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@dispute.command("list")
def dispute_list(
    state: Annotated[str | None, typer.Option(help="As escalated: what waits for the hub.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead.")] = False,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Every dispute, oldest first.

    \b
    Examples:
      gridroam dispute list --state escalated
      gridroam dispute list --json
    """
    from gridroam import office_books

    found = exits.run(lambda: office_books.list_disputes(home, database_url, state))
    if json:
        for one in found:
            print_json(one)
        return
    table = Table("dispute", "operator", "record", "EVSP", "amount", "reason", "state", "due")
    for one in found:
        table.add_row(
            one["dispute_id"],
            one["operator"],
            one["cdr_id"],
            one["evsp"],
            f"{one['excl_vat']} + {one['vat']} {one['currency']}",
            one["reason"],
            one["state"],
            (one["due_at"] or "")[:10],
        )
    Console().print(table)


@dispute.command("uphold")
def dispute_uphold(
    dispute_id: Annotated[str, typer.Argument()],
    says: Annotated[str, typer.Option(help="Why; both sides read it.")],
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Find for the EVSP: the record is credited. Only what was escalated."""
    _decide(home, database_url, dispute_id, "uphold", says)


@dispute.command("dismiss")
def dispute_dismiss(
    dispute_id: Annotated[str, typer.Argument()],
    says: Annotated[str, typer.Option(help="Why; both sides read it.")],
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Find for the operator: the record is owed as it was. Only what was escalated."""
    _decide(home, database_url, dispute_id, "dismiss", says)


def _decide(home: Path, database_url: str | None, dispute_id: str, action: str, says: str) -> None:
    from gridroam import office_books

    print_json(
        exits.run(lambda: office_books.decide_dispute(home, database_url, dispute_id, action, says))
    )


def settle(
    period: Annotated[str, typer.Option(help="A closed month, as 2025-01.")],
    currency: Annotated[
        str | None, typer.Option(help="Settle all currencies of a group in this one.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would come to.")
    ] = False,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Make payments of what a closed month leaves owing, for good.

    Each clearing group and currency by its own strategy. Asked again, it tells what it came to.

    \b
    Examples:
      gridroam settle --period 2025-01 --dry-run
      gridroam settle --period 2025-01
    """
    from gridroam import office_books

    print_json(
        exits.run(
            lambda: office_books.settle_period(
                home, database_url, period, currency, dry_run=dry_run
            )
        )
    )


def default(
    party: Annotated[str, typer.Argument(help="Who does not pay, as FR*PD1.")],
    period: Annotated[str, typer.Option(help="A settled month, as 2025-01.")],
    unwind: Annotated[
        bool, typer.Option("--unwind", help="Clear the others anew, as if it had not taken part.")
    ] = False,
    clearing_vector: Annotated[
        bool,
        typer.Option("--clearing-vector", help="Share what it has among those it has to pay."),
    ] = False,
    means: Annotated[
        list[str] | None,
        typer.Option(help="What a party has: 'FR*PD1=118.81 EUR'; repeatable."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show who loses what; this is the default.")
    ] = False,
    confirm: Annotated[bool, typer.Option("--confirm", help="Post it.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Who loses what when a partner does not pay its part of a settled month.

    What the hub holds of it in collateral goes first. Nothing is posted without --confirm.

    \b
    Examples:
      gridroam default 'FR*PD1' --period 2025-01 --unwind
      gridroam default 'FR*PD1' --period 2025-01 --clearing-vector --means 'FR*PD1=118.81 EUR'
      gridroam default 'FR*PD1' --period 2025-01 --clearing-vector --confirm
    """
    from clearinghouse.settling.default import Rule
    from gridroam import office_books

    if unwind == clearing_vector:
        raise typer.BadParameter("one of --unwind and --clearing-vector", param_hint="--unwind")
    if dry_run and confirm:
        raise typer.BadParameter("either a dry run or --confirm", param_hint="--confirm")
    has = {}
    for said in means or []:
        name, _, amount = said.partition("=")
        has[PartyId(name)] = Money.parse(amount)
    shown = exits.run(
        lambda: office_books.default(
            home,
            database_url,
            PartyId(party),
            period,
            Rule.UNWIND if unwind else Rule.CLEARING_VECTOR,
            has,
            confirm=confirm,
        )
    )
    if json:
        print_json(shown.model_dump(mode="json"))
        return
    table = Table(title=f"When {shown.party} does not pay for {shown.period_id} ({shown.rule})")
    for column in ("clearing group", "party", "expects", "gets", "loses", "currency"):
        table.add_column(column, justify="left" if column in ("party", "currency") else "right")
    for one in shown.corrections:
        for loss in one.losses:
            table.add_row(
                *(one.clearing_group, loss.party, loss.expected, loss.gets, loss.loses),
                one.currency,
            )
    console = Console()
    console.print(table)
    for one in shown.corrections:
        console.print(
            f"{one.clearing_group}: {one.collateral} {one.currency} of collateral;"
            f" {len(one.failed)} payments fail, {len(one.taken_back)} are taken back,"
            f" {len(one.instead)} stand instead"
        )
    console.print("Posted." if confirm else "Nothing is posted; --confirm would.")
