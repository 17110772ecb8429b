"""`gridroam audit`: who did what, when and for whom."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from gridroam import exits
from gridroam.cli_options import DEFAULT_HOME, DatabaseUrl, HomeFolder, print_json
from roaming.party import PartyId

_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]


def audit(
    party: Annotated[
        str | None, typer.Option(help="What concerns this party, as it sees it itself.")
    ] = None,
    actor: Annotated[
        str | None, typer.Option(help="As client:frpd1-…, person:…, office or task:….")
    ] = None,
    type_: Annotated[
        list[str] | None, typer.Option("--type", help="As contract-agreed; repeatable.")
    ] = None,
    stream: Annotated[str | None, typer.Option(help="As contract:… or service:forecast:1.")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=_FORMATS, help="From then on, in UTC.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=_FORMATS, help="Before then, in UTC.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many at most.")] = 100,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Who did what, when and for whom: the log backwards, one JSON object a line.

    `actor` is null for events from before actors were kept.

    \b
    Examples:
      gridroam audit --party 'FR*PD1' --since 2026-03-01
      gridroam audit --actor office --limit 20
      gridroam audit --stream service:parking:1 --type service-status-changed
    """
    from gridroam import office_audit, office_events
    from marketplace.audit.model import Question

    asked = Question(
        party=None if party is None else PartyId(party),
        reader=None,
        since=None if since is None else since.replace(tzinfo=UTC),
        until=None if until is None else until.replace(tzinfo=UTC),
        types=tuple(office_events.types_named(type_ or [])),
        actor=actor,
        stream=stream,
        limit=limit,
    )
    exits.run(lambda: office_audit.tell(home, database_url, asked, print_json))
