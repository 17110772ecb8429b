"""`gridroam partner`: who takes part, by which key, and who they are on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gridroam import exits
from gridroam.cli_options import DEFAULT_HOME, DatabaseUrl, HomeFolder, print_json
from roaming.party import PartyId

partner = typer.Typer(
    help="The business partners of this hub.", no_args_is_help=True, rich_markup_mode=None
)


@partner.command("add")
def partner_add(
    party: Annotated[str, typer.Argument(help="The party id, as FR*PD1.")],
    role: Annotated[
        list[str], typer.Option(help="evse-operator, evsp, dso or service-provider; repeatable.")
    ],
    name: Annotated[str, typer.Option(help="The partner's name.")],
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Register a partner; prints its client id and secret, the secret for the only time.

    For a partner that is registered already: a further secret, and the roles as named now.

    \b
    Examples:
      gridroam partner add 'FR*PD1' --role evse-operator --name 'Point du Jour'
      gridroam partner add DE-XYZ --role evsp --role service-provider --name 'XYZ Mobility'
    """
    from gridroam import office

    added = exits.run(lambda: office.add_partner(home, database_url, PartyId(party), role, name))
    print_json(
        {
            "party": added.partner.party,
            "client_id": added.client_id,
            "client_secret": added.client_secret,
        }
    )


@partner.command("list")
def partner_list(home: HomeFolder = DEFAULT_HOME, database_url: DatabaseUrl = None) -> None:
    """Every partner, one JSON object a line."""
    from gridroam import office_partners

    for one in exits.run(lambda: office_partners.list_partners(home, database_url)):
        print_json(one)


@partner.command("details")
def partner_details(
    party: Annotated[str, typer.Argument(help="The party id, as FR*PD1; the hub's own as well.")],
    file: Annotated[
        Path | None, typer.Option(help="JSON, as for PUT …/business-details; else they are shown.")
    ] = None,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Say who a partner, or the hub itself, is on paper: it stands on invoices and decides VAT.

    \b
    Examples:
      gridroam partner details 'FR*PD1' --file details.json
      gridroam partner details 'EU*GRD'
    """
    from gridroam import office_partners

    print_json(
        exits.run(lambda: office_partners.partner_details(home, database_url, PartyId(party), file))
    )
