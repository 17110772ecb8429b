"""`gridroam bill`: a month's invoices for services, and the marketplace's fee on them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from typer.core import TyperGroup

from gridroam import exits
from gridroam.cli_options import DEFAULT_HOME, DatabaseUrl, HomeFolder, print_json

if TYPE_CHECKING:
    from marketplace.billing.model import Run


class _MonthOrCommand(TyperGroup):
    """`gridroam bill 2026-10` is `gridroam bill run 2026-10`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            args = ["run", *args]
        return super().resolve_command(ctx, args)


bill = typer.Typer(
    cls=_MonthOrCommand,
    help="Bills for services: `gridroam bill 2026-10`, and the marketplace's fee.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
fee = typer.Typer(
    help="What the marketplace asks of what is sold on it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
bill.add_typer(fee, name="fee")


@bill.command("run")
def bill_run(
    month: Annotated[str, typer.Argument(help="As 2026-10, in UTC.")],
    up_to: Annotated[
        str | None,
        typer.Option(help="Bill what there is until then, as 2026-10-15T00:00:00Z; else all."),
    ] = None,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Bill a month, and print what it came to. Calls go on meanwhile.

    Asked again, it goes on where it was broken off, and bills only what is not billed yet.

    \b
    Examples:
      gridroam bill 2026-10
      gridroam bill 2026-11 --up-to 2026-11-15T00:00:00Z
    """
    from gridroam import office_billing
    from roaming.month import Month

    asked = Month.parse(month, "month")
    until = None if up_to is None else _moment(up_to)
    with Progress(transient=True, console=Console(stderr=True)) as progress:
        total = exits.run(lambda: office_billing.contracts(home, database_url))
        task = progress.add_task("adding up what was used", total=None)

        def told(run: Run) -> None:
            if run.summed:
                what = f"{run.state}: {run.tally.invoices} invoices"
                progress.update(task, description=what, completed=run.tally.contracts, total=total)

        shown = exits.run(lambda: office_billing.bill(home, database_url, asked, until, told))
    print_json(shown)


@fee.command("set")
def fee_set(
    valid_from: Annotated[str, typer.Option(help="A month not billed yet, as 2026-12.")],
    percent: Annotated[str, typer.Option(help="Of what is sold, before VAT, as 2.5.")],
    per_invoice: Annotated[str, typer.Option(help="For each invoice, as 0.30.")] = "0",
    currency: Annotated[str | None, typer.Option(help="Of sales in it alone, as EUR.")] = None,
    provider: Annotated[str | None, typer.Option(help="Of this provider alone, as FR*PD1.")] = None,
    category: Annotated[str | None, typer.Option(help="Of services of it alone.")] = None,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Set what the marketplace asks of sales, from a month on. The most special fee holds.

    \b
    Examples:
      gridroam bill fee set --valid-from 2026-12 --percent 2.5
      gridroam bill fee set --valid-from 2026-12 --percent 1 --per-invoice 0.30 --currency EUR
    """
    from gridroam import office_billing
    from marketplace.billing.routes import FeeAsked

    asked = FeeAsked(
        valid_from=valid_from,
        percent=percent,
        per_invoice=per_invoice,
        currency=currency,
        provider=provider,
        category=category,
    )
    print_json(exits.run(lambda: office_billing.set_fee(home, database_url, asked)))


@fee.command("list")
def fee_list(home: HomeFolder = DEFAULT_HOME, database_url: DatabaseUrl = None) -> None:
    """Every fee that was ever set, one JSON object a line, in the order of telling."""
    from gridroam import office_billing

    for one in exits.run(lambda: office_billing.list_fees(home, database_url)):
        print_json(one)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no moment", param_hint="--up-to") from None
    if moment.tzinfo is None:
        raise typer.BadParameter("a moment has its offset, as Z", param_hint="--up-to")
    return moment
