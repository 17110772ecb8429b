"""`gridroam people`: a partner's people, when the partner cannot help itself."""

from __future__ import annotations

from typing import Annotated

import typer

from gridroam import exits
from gridroam.cli_options import DEFAULT_HOME, DatabaseUrl, HomeFolder, print_json
from roaming.party import PartyId

people = typer.Typer(
    help="The people of partners: who there is, and how they get in again.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_Party = Annotated[str, typer.Argument(help="The party id, as FR*PD1.")]


@people.command("list")
def people_list(
    party: _Party, home: HomeFolder = DEFAULT_HOME, database_url: DatabaseUrl = None
) -> None:
    """A partner's people, one JSON object a line."""
    from gridroam import office_people

    for one in exits.run(lambda: office_people.people_of(home, database_url, PartyId(party))):
        print_json(one)


@people.command("invite")
def people_invite(
    party: _Party,
    email: Annotated[str, typer.Option(help="Its address: it logs in by it.")],
    name: Annotated[str, typer.Option(help="The person's name.")],
    duty: Annotated[
        list[str],
        typer.Option(help="admin, contracts, finance, operations or read-only; repeatable."),
    ],
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Invite a person; prints the invitation's token for the only time.

    \b
    Example:
      gridroam people invite 'FR*PD1' --email ada@pdj.example --name 'Ada Martin' --duty admin
    """
    from gridroam import office_people

    print_json(
        exits.run(
            lambda: office_people.invite(
                *(home, database_url, PartyId(party)), email=email, name=name, duties=duty
            )
        )
    )


@people.command("reset")
def people_reset(
    party: _Party,
    person_id: Annotated[str, typer.Argument(help="As `people list` tells it.")],
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """For a lost authenticator: end all that a person logs in with, and print a new invitation.

    Its password, codes and log-in at the provider are good no more, its tokens end, also in a hub
    that runs. Its duties stay.

    \b
    Example:
      gridroam people reset 'FR*PD1' 01997a2e-5c1b-7c3e-9a0d-2f6b1c4d8e90
    """
    from gridroam import office_people

    print_json(
        exits.run(lambda: office_people.start_anew(home, database_url, PartyId(party), person_id))
    )


@people.command("log-out")
def people_log_out(
    party: _Party,
    person_id: Annotated[
        str | None, typer.Argument(help="As `people list` tells it; else all of them.")
    ] = None,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """End all log-ins of a partner's people, or of one: each logs in again. Prints whose.

    \b
    Example:
      gridroam people log-out 'FR*PD1'
    """
    from gridroam import office_people

    for one in exits.run(
        lambda: office_people.log_out(home, database_url, PartyId(party), person_id)
    ):
        print_json(one)
