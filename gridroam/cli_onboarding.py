"""`gridroam operator` and the part of `gridroam partner` that lets partners in, and out."""

from __future__ import annotations

from typing import Annotated

import typer

from gridroam import exits
from gridroam.cli_options import DEFAULT_HOME, DatabaseUrl, HomeFolder, print_json
from gridroam.cli_partners import partner
from marketplace.applications.model import Decision, RoleStatus
from marketplace.partners.standing import Action
from roaming.party import PartyId

operator = typer.Typer(
    help="The hub's own operator, as a caller of its API.",
    epilog="""What it may do there: decide applications, suspend and restore partners, close
periods, settle them, and read what the hub reads.

\b
Example:
  gridroam operator add --name 'Gridroam GmbH'""",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ApplicationId = Annotated[str, typer.Argument(help="As `gridroam partner applications` says.")]
Party = Annotated[str, typer.Argument(help="The party id, as FR*PD1.")]
OfRole = Annotated[
    str | None,
    typer.Option("--role", help="evse-operator, evsp, dso or service-provider alone; else all."),
]
Why = Annotated[str | None, typer.Option("--reason", help="Told to the partner, and kept.")]


@operator.command("add")
def operator_add(
    name: Annotated[str, typer.Option(help="The name of the hub's operator.")],
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """A client by which the hub's operator calls the API as the hub itself.

    Prints its client id and secret, the secret for the only time. Once more: a further secret; the
    earlier ones stay good for a week.

    \b
    Example:
      gridroam operator add --name 'Gridroam GmbH'
    """
    from gridroam import office_onboarding

    added = exits.run(lambda: office_onboarding.add_operator(home, database_url, name))
    print_json(
        {
            "party": added.partner.party,
            "client_id": added.client_id,
            "client_secret": added.client_secret,
        }
    )


@partner.command("applications")
def partner_applications(
    status: Annotated[
        RoleStatus | None, typer.Option(help="Only these; else all that ever came.")
    ] = None,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Who has applied to take part, or for further roles: one JSON object a line, oldest first.

    \b
    Example:
      gridroam partner applications --status requested
    """
    from gridroam import office_onboarding

    for one in exits.run(lambda: office_onboarding.applications(home, database_url, status)):
        print_json(one)


@partner.command("approve")
def partner_approve(
    application: ApplicationId,
    role: OfRole = None,
    reason: Why = None,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Approve the roles of an application that wait, or one of them.

    With the first, its party ids are bound to the partner, it takes part, and the applicant may
    fetch its client. A party id that is another partner's by now is refused by name. A role that
    was refused may be approved after all, by --role.

    \b
    Examples:
      gridroam partner approve 0199f3a0-7c1e-7a52-9d0b-2f6f3a1c5e77
      gridroam partner approve 0199f3a0-7c1e-7a52-9d0b-2f6f3a1c5e77 --role evsp
    """
    _decide(application, Decision.APPROVE, role, reason, home, database_url)


@partner.command("refuse")
def partner_refuse(
    application: ApplicationId,
    reason: Annotated[str, typer.Option(help="Told to the applicant, and kept.")],
    role: OfRole = None,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Refuse the roles of an application that wait, or one of them. The applicant reads why.

    \b
    Example:
      gridroam partner refuse 0199f3a0-7c1e-7a52-9d0b-2f6f3a1c5e77 --role dso --reason 'no grid'
    """
    _decide(application, Decision.REFUSE, role, reason, home, database_url)


@partner.command("standing")
def partner_standing(
    party: Party, home: HomeFolder = DEFAULT_HOME, database_url: DatabaseUrl = None
) -> None:
    """How a partner stands, in each of its roles, and how it came to that, as JSON.

    \b
    Example:
      gridroam partner standing 'FR*PD1'
    """
    from gridroam import office_onboarding

    print_json(exits.run(lambda: office_onboarding.standing(home, database_url, PartyId(party))))


@partner.command("suspend")
def partner_suspend(
    party: Party,
    role: OfRole = None,
    reason: Why = None,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Suspend a partner, or one of its roles, from now on.

    Its tokens end, and its contracts say no to both sides: calls, charges and new contracts are
    refused with `partner-suspended`. What began before stays as it was agreed. All of its party ids
    are suspended alike. Once more changes nothing.

    \b
    Examples:
      gridroam partner suspend 'FR*PD1' --reason 'two invoices overdue'
      gridroam partner suspend 'FR*PD1' --role evse-operator
    """
    _change(party, Action.SUSPEND, role, reason, home, database_url)


@partner.command("restore")
def partner_restore(
    party: Party,
    role: OfRole = None,
    reason: Why = None,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """End a suspension, or take a partner in again that had left.

    Contracts that did not end meanwhile are in force again. One that had left agrees new ones.

    \b
    Examples:
      gridroam partner restore 'FR*PD1'
      gridroam partner restore 'FR*PD1' --role evse-operator
    """
    _change(party, Action.RESTORE, role, reason, home, database_url)


@partner.command("leave")
def partner_leave(
    party: Party,
    reason: Why = None,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Give notice for a partner that leaves the market; it can do so itself over the API.

    The notice is the longest that a contract of its asks for, and all of them end with it. From
    that day on it makes no contracts, offers nothing and calls nothing; its clients still read
    /marketplace, where its invoices are. Its counterparties are told today and on the day.

    \b
    Example:
      gridroam partner leave 'FR*PD1'
    """
    _change(party, Action.LEAVE, None, reason, home, database_url)


def _decide(
    application: str,
    decision: Decision,
    role: str | None,
    reason: str | None,
    home: HomeFolder,
    database_url: DatabaseUrl,
) -> None:
    from gridroam import office_onboarding

    print_json(
        exits.run(
            lambda: office_onboarding.decide(
                home, database_url, application, decision, role, reason
            )
        )
    )


def _change(
    party: str,
    action: Action,
    role: str | None,
    reason: str | None,
    home: HomeFolder,
    database_url: DatabaseUrl,
) -> None:
    from gridroam import office_onboarding

    print_json(
        exits.run(
            lambda: office_onboarding.change_standing(
                home, database_url, PartyId(party), action, role, reason
            )
        )
    )
