"""`gridroam contract`: what partners have agreed, for the hub's operator; `gridroam key` and
`gridroam sign`: for whoever signs a contract and has no other tool for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gridroam import exits
from gridroam.cli_options import DEFAULT_HOME, DatabaseUrl, HomeFolder, print_json
from roaming.party import PartyId

contract = typer.Typer(
    help="What partners have agreed with each other, and what became of it.",
    epilog="""\b
Examples:
  gridroam contract list --party 'FR*PD1'
  gridroam contract show 019ca945-0a00-795d-b526-c3388d629dc3
  gridroam contract history 019ca945-0a00-795d-b526-c3388d629dc3""",
    no_args_is_help=True,
    rich_markup_mode=None,
)
key = typer.Typer(help="Keys to sign contracts with.", no_args_is_help=True, rich_markup_mode=None)

ContractId = Annotated[str, typer.Argument(help="The contract's id.")]


@contract.command("list")
def contract_list(
    party: Annotated[str | None, typer.Option(help="Those of this party alone.")] = None,
    service: Annotated[str | None, typer.Option(help="Those on this service alone.")] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON, one object a line.")] = False,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """All contracts, oldest first.

    \b
    Examples:
      gridroam contract list --service roaming
      gridroam contract list --party 'FR*PD1' --json
    """
    from gridroam import office_contracts

    asked = None if party is None else PartyId(party)
    found = exits.run(lambda: office_contracts.list_all(home, database_url, asked, service))
    if json:
        for one in found:
            print_json(one)
        return
    Console().print(table_of(found))


def table_of(found: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    # An id is copied: it stands in one line.
    table.add_column("contract", no_wrap=True)
    for heading in ("service", "provider", "requester", "status", "from", "until"):
        table.add_column(heading, overflow="fold")
    for one in found:
        table.add_row(
            one["contract_id"],
            one["service"] if one["major"] == 1 else f"{one['service']} v{one['major']}",
            one["provider"],
            one["requester"],
            one["absence"] or one["status"],
            one["valid_from"][:10],
            (one["ends"] or "")[:10],
        )
    return table


@contract.command("show")
def contract_show(
    contract_id: ContractId, home: HomeFolder = DEFAULT_HOME, database_url: DatabaseUrl = None
) -> None:
    """One contract as its two parties see it, as JSON.

    \b
    Examples:
      gridroam contract show 019ca945-0a00-795d-b526-c3388d629dc3
    """
    from gridroam import office_contracts

    print_json(exits.run(lambda: office_contracts.show(home, database_url, contract_id)))


@contract.command("history")
def contract_history(
    contract_id: ContractId,
    json: Annotated[bool, typer.Option("--json", help="All of it, as one JSON object.")] = False,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """All that has happened to a contract: its negotiation, its agreement, what became of it.

    \b
    Examples:
      gridroam contract history 019ca945-0a00-795d-b526-c3388d629dc3
    """
    from gridroam import office_contracts

    found = exits.run(lambda: office_contracts.history(home, database_url, contract_id))
    if json:
        print_json(found)
        return
    Console().print(history_of(found["entries"]))


def history_of(entries: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("when", "what", "by", "then", "why"):
        table.add_column(heading, overflow="fold")
    for one in entries:
        data = one["data"]
        ends = data.get("ends") or data.get("valid_until")
        then = [data.get("state") or data.get("status"), ends and f"until {ends[:10]}"]
        table.add_row(
            one["occurred_at"][:19] + "Z",
            data.get("action") or one["type"],
            data.get("by", ""),
            ", ".join(told for told in then if told),
            data.get("says") or data.get("reason") or data.get("because") or "",
        )
    return table


@key.command("new")
def key_new(
    file: Annotated[Path, typer.Argument(help="Where the private key goes; not there yet.")],
) -> None:
    """Make a key to sign contracts with, and print its public half.

    The file is the private key (JWK), for its owner alone to read. What is printed is the body of
    POST /marketplace/partners/{party}/clients, which registers the public key. Works offline.

    \b
    Examples:
      gridroam key new contracts.jwk
    """
    from gridroam import signing

    print_json(signing.new_key(file))


def sign(
    document: Annotated[Path, typer.Argument(help="The document, byte for byte as it was got.")],
    key: Annotated[Path, typer.Option("--key", help="The private key (JWK, or PEM).")],
) -> None:
    """Sign a contract's document, and print the signature (a detached JWS). Works offline.

    What is printed is the body of POST /marketplace/negotiations/{id}/signatures.

    \b
    Examples:
      gridroam sign document.json --key contracts.jwk
    """
    from gridroam import signing

    print_json(signing.sign(document, key))
