"""`gridroam key`, `gridroam sign`: what a partner signs contracts with, where it has no tool of its
own for it. Both run without a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gridroam import exits
from gridroam.cli_options import print_json

key = typer.Typer(
    help="Keys of a partner, made and kept on its own machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@key.command("new")
def key_new(
    file: Annotated[
        Path, typer.Argument(help="Where the private key is to be kept, as contracts.pem.")
    ],
) -> None:
    """Make a key (EC, P-256). The private half stays in FILE, readable by you alone.

    FILE.jwks holds the public half as POST /marketplace/partners/{party}/clients takes it, and it
    is printed, too. A file that is there already is never written over.

    \b
    Examples:
      gridroam key new contracts.pem
    """
    from gridroam import office_keys

    print_json(exits.run(lambda: office_keys.new_key(file)))


def sign(
    file: Annotated[Path, typer.Argument(help="What is to be signed, byte for byte.")],
    key_file: Annotated[
        Path, typer.Option("--key", help="The private key, as `gridroam key new` made it.")
    ],
) -> None:
    """Sign a file: a detached JWS (RFC 7797) on one line, as negotiations take it.

    \b
    Examples:
      gridroam sign contract.json --key contracts.pem
    """
    from gridroam import office_keys

    typer.echo(exits.run(lambda: office_keys.sign(file, key_file)))
