"""`gridroam framework`: the modules that contracts are put together from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gridroam import exits
from gridroam.cli_options import DEFAULT_HOME, DatabaseUrl, HomeFolder, print_json

framework = typer.Typer(
    help="The contract framework: modules of contracts, each published once and never changed.",
    epilog="""Contracts and offerings keep the versions they were made with. A new version, and what
it says of being required, holds for what is offered from then on.

\b
Examples:
  gridroam framework list
  gridroam framework show liability > liability.json
  gridroam framework check liability.json
  gridroam framework publish liability.json""",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(help="The module, as liability.")]
File = Annotated[Path, typer.Argument(help="A module, as JSON or TOML.")]


@framework.command("list")
def framework_list(
    json: Annotated[bool, typer.Option("--json", help="JSON, one object a line.")] = False,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Each module in its current version, in the order in which a contract has them.

    \b
    Examples:
      gridroam framework list
      gridroam framework list --json
    """
    from gridroam import office_framework

    found = exits.run(lambda: office_framework.list_all(home, database_url))
    if json:
        for one in found:
            print_json(one)
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("module", no_wrap=True)
    for heading in ("version", "required for", "optional for", "standard form"):
        table.add_column(heading, overflow="fold")
    for one in found:
        kinds = one["kinds"]
        table.add_row(
            one["name"],
            str(one["version"]),
            ", ".join(kind for kind, need in kinds.items() if need == "required"),
            ", ".join(kind for kind, need in kinds.items() if need == "optional"),
            "the terms" if one["from_terms"] else "no" if one["standard"] is None else "yes",
        )
    Console().print(table)


@framework.command("show")
def framework_show(
    name: Name,
    version: Annotated[
        int | None, typer.Option(min=1, help="Which version; else the current one.")
    ] = None,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """A module as JSON, as `publish` takes it.

    \b
    Examples:
      gridroam framework show service-level
      gridroam framework show liability --version 1
    """
    from gridroam import office_framework

    print_json(exits.run(lambda: office_framework.show(home, database_url, name, version)))


@framework.command("check")
def framework_check(file: File) -> None:
    """Say whether a module could be published, and what its standard form reads like.

    \b
    Examples:
      gridroam framework check liability.toml
    """
    from gridroam import office_framework

    print_json(exits.run(lambda: office_framework.check(file)))


@framework.command("publish")
def framework_publish(
    file: File, home: HomeFolder = DEFAULT_HOME, database_url: DatabaseUrl = None
) -> None:
    """Publish a module's next version: its text, its parameters, and where it is required.

    The same as its current version is that one.

    \b
    Examples:
      gridroam framework publish liability.toml
    """
    from gridroam import office_framework

    print_json(exits.run(lambda: office_framework.publish(home, database_url, file)))
