"""`gridroam documents`: every document of a month as files. `gridroam bank`: what a bank told."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from gridroam import exits
from gridroam.cli_options import DEFAULT_HOME, DatabaseUrl, HomeFolder, print_json

bank = typer.Typer(help="What banks tell.", no_args_is_help=True, rich_markup_mode=None)


def documents(
    period: Annotated[str, typer.Option(help="A month, as 2025-01.")],
    out: Annotated[Path, typer.Option(help="The folder to write to; made if it is not there.")],
    items: Annotated[
        bool, typer.Option("--items", help="Also every charge of every partner, as CSV.")
    ] = False,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Write every partner's statement (JSON, CSV, PDF) and invoices (XML, PDF) of a month.

    Invoices are there once the month is closed, set-off statements once it is settled; see
    `gridroam period`. Written again, the files are the same.

    \b
    Example:
      gridroam documents --period 2025-01 --out /srv/documents
    """
    from gridroam import documents as writing

    bars: dict[str, TaskID] = {}
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as shown:

        def progress(kind: str, done: int, total: int) -> None:
            if kind not in bars:
                bars[kind] = shown.add_task(kind, total=total)
            shown.update(bars[kind], completed=done)

        written = exits.run(
            lambda: writing.write_month(
                home, database_url, period, out, items=items, progress=progress
            )
        )
    print_json(asdict(written))


@bank.command("import")
def bank_import(
    file: Annotated[Path, typer.Argument(help="A bank statement: ISO 20022 camt.053.")],
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Match the entries of a bank statement to payments, and tell the ledger what came.

    Whose statement it is, its account says. An entry counts once, however often its file is read.
    What is not clear is listed for a person, with the likeliest payments.

    \b
    Example:
      gridroam bank import camt053-2025-03-04.xml
    """
    from gridroam import documents as writing

    print_json(exits.run(lambda: writing.import_bank_file(home, database_url, file)))
