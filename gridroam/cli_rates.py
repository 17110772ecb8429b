"""`gridroam rates` and `gridroam fees`: what currencies are worth, and what the hub asks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gridroam import exits
from gridroam.cli_options import DEFAULT_HOME, DatabaseUrl, HomeFolder, print_json

rates = typer.Typer(
    help="Exchange rates, as others published them.", no_args_is_help=True, rich_markup_mode=None
)
fees = typer.Typer(
    help="What the hub asks for its work.", no_args_is_help=True, rich_markup_mode=None
)


@fees.command("set")
def fees_set(
    payer: Annotated[str, typer.Option(help="operator or evsp: which side of a charge pays.")],
    valid_from: Annotated[str, typer.Option(help="A month to come, as 2027-01.")],
    currency: Annotated[str, typer.Option(help="ISO 4217, as EUR.")],
    per_cdr: Annotated[str, typer.Option(help="For each record, as 0.015.")] = "0",
    per_kwh: Annotated[str, typer.Option(help="For each kWh, as 0.0005.")] = "0",
    party: Annotated[str | None, typer.Option(help="A special price for this partner.")] = None,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Set what the hub asks from a month on; what held before stays on record.

    \b
    Examples:
      gridroam fees set --payer evsp --valid-from 2027-01 --currency EUR --per-cdr 0.02
      gridroam fees set --payer operator --valid-from 2027-01 --currency EUR --per-kwh 0.0005 \\
        --party 'FR*PD1'
    """
    from gridroam import office_rates

    asked = office_rates.fee_schedule(payer, valid_from, currency, per_cdr, per_kwh, party)
    print_json(exits.run(lambda: office_rates.set_fees(home, database_url, asked)))


@fees.command("list")
def fees_list(home: HomeFolder = DEFAULT_HOME, database_url: DatabaseUrl = None) -> None:
    """Every schedule there ever was, in the order of telling, one JSON object a line."""
    from gridroam import office_rates

    for one in exits.run(lambda: office_rates.list_fees(home, database_url)):
        print_json(one)


@rates.command("import")
def rates_import(
    file: Annotated[Path, typer.Argument(help="As eurofxref-hist.csv of the ECB, zipped or not.")],
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Bring in reference rates. A rate that is kept stays; another for its day is rejected.

    \b
    Example:
      gridroam rates import eurofxref-hist.zip
    """
    from gridroam import office_rates

    print_json(exits.run(lambda: office_rates.import_rates(home, database_url, file)))


@rates.command("show")
def rates_show(home: HomeFolder = DEFAULT_HOME, database_url: DatabaseUrl = None) -> None:
    """The last rate of each pair of currencies, one JSON object a line."""
    from gridroam import office_rates

    for one in exits.run(lambda: office_rates.latest_rates(home, database_url)):
        print_json(one)
