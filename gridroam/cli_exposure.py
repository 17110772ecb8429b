"""`gridroam exposure`, `deposit` and `withdraw`: what an EVSP may owe, and what it has paid in."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from clearinghouse.exposure.model import HOLD_DAYS, Deposit
from gridroam import exits
from gridroam.cli_options import DEFAULT_HOME, DatabaseUrl, HomeFolder, print_json
from roaming.money import Money
from roaming.party import PartyId

exposure = typer.Typer(
    help="What an EVSP may owe: a cap on its debts and on charges that are not billed yet.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Evsp = Annotated[str, typer.Argument(help="The EVSP, as FR*XYZ.")]
AmountAndCurrency = Annotated[
    tuple[str, str] | None, typer.Option(metavar="AMOUNT CURRENCY", help="As 1000.00 EUR.")
]
Reference = Annotated[
    str, typer.Option(help="What names this movement, once: as on the bank statement.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, one object a line.")]


@exposure.command("set")
def exposure_set(
    evsp: Evsp,
    cap: Annotated[str, typer.Option(help="The most that it may owe, as 5000.00.")],
    currency: Annotated[str, typer.Option(help="As EUR.")],
    hold: Annotated[
        str, typer.Option(help="What a charge holds that names no amount itself.")
    ] = "50.00",
    hold_days: Annotated[
        int, typer.Option(help="After so many days without a record a hold ends.")
    ] = HOLD_DAYS,
    by: Annotated[str, typer.Option(help="Who sets it; kept with it.")] = "operator",
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Cap what an EVSP may owe, from now on; print its exposure. Calls go on meanwhile.

    \b
    Examples:
      gridroam exposure set 'FR*XYZ' --cap 5000.00 --currency EUR
      gridroam exposure set 'FR*XYZ' --cap 5000.00 --currency EUR --hold 80.00 --hold-days 3
    """
    from gridroam import office_exposure

    most, each = _money(cap, currency), _money(hold, currency)
    print_json(
        exits.run(
            lambda: office_exposure.set_limit(
                home, database_url, PartyId(evsp), most, each, hold_days=hold_days, by=by
            )
        )
    )


@exposure.command("lift")
def exposure_lift(
    evsp: Evsp,
    by: Annotated[str, typer.Option(help="Who lifts it; kept in the log.")] = "operator",
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Take an EVSP's cap away.

    \b
    Examples:
      gridroam exposure lift 'FR*XYZ'
    """
    from gridroam import office_exposure

    print_json(
        exits.run(lambda: office_exposure.lift_limit(home, database_url, PartyId(evsp), by=by))
    )


@exposure.command("show")
def exposure_show(
    evsp: Annotated[str | None, typer.Argument(help="The EVSP; all with a cap if none.")] = None,
    json: AsJson = False,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """What EVSPs may owe, and what counts against it.

    \b
    Examples:
      gridroam exposure show
      gridroam exposure show 'FR*XYZ' --json
    """
    from gridroam import office_exposure

    party = None if evsp is None else PartyId(evsp)
    found = exits.run(lambda: office_exposure.show(home, database_url, party))
    if json:
        for one in found:
            print_json(one)
        return
    names = ("cap", "prepaid", "collateral", "owed", "held", "left")
    table = Table("EVSP", "", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in names:
        # An amount is never cut short.
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("%", justify="right")
    table.add_column("level")
    for one in found:
        if one["limited"]:
            amounts = [one[name] for name in names]
            table.add_row(one["evsp"], one["currency"], *amounts, str(one["percent"]), one["level"])
        else:
            table.add_row(one["evsp"], "", "no cap")
    if found:
        Console().print(table)


def deposit(
    evsp: Evsp,
    reference: Reference,
    prepayment: AmountAndCurrency = None,
    collateral: AmountAndCurrency = None,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Book what an EVSP has paid in; it may owe so much more at once. The same reference again
    changes nothing.

    \b
    Examples:
      gridroam deposit 'FR*XYZ' --prepayment 1000.00 EUR --reference 2025-01-17/42
      gridroam deposit 'FR*XYZ' --collateral 2500.00 EUR --reference 2025-01-18/7
    """
    from gridroam import office_exposure

    kind, amount = _which(prepayment, collateral)
    print_json(
        exits.run(
            lambda: office_exposure.move(
                home, database_url, PartyId(evsp), kind, amount, reference, back=False
            )
        )
    )


def withdraw(
    evsp: Evsp,
    reference: Reference,
    prepayment: AmountAndCurrency = None,
    collateral: AmountAndCurrency = None,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Book what goes back to an EVSP: not more than is there, nor what its debts need.

    \b
    Examples:
      gridroam withdraw 'FR*XYZ' --prepayment 250.00 EUR --reference 2025-02-03/9
    """
    from gridroam import office_exposure

    kind, amount = _which(prepayment, collateral)
    print_json(
        exits.run(
            lambda: office_exposure.move(
                home, database_url, PartyId(evsp), kind, amount, reference, back=True
            )
        )
    )


def _which(
    prepayment: tuple[str, str] | None, collateral: tuple[str, str] | None
) -> tuple[Deposit, Money]:
    if (prepayment is None) == (collateral is None):
        raise typer.BadParameter("one of the two", param_hint="--prepayment, --collateral")
    if prepayment is not None:
        return Deposit.PREPAYMENT, _money(*prepayment)
    assert collateral is not None
    return Deposit.COLLATERAL, _money(*collateral)


def _money(amount: str, currency: str) -> Money:
    """A positive amount with no more places than its currency has; Refusal or a usage error."""
    try:
        decimal = Decimal(amount)
    except InvalidOperation:
        raise typer.BadParameter(f"{amount!r} is no amount; as 1000.00") from None
    money = Money.of(decimal, currency)
    if money.minor < 0 or money.decimal != decimal:
        raise typer.BadParameter(f"{amount} {currency} is not an amount that can be paid")
    return money
