"""`gridroam service`: what is in the catalogue, and the hub's word on each of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gridroam import exits
from gridroam.cli_options import DEFAULT_HOME, DatabaseUrl, HomeFolder, print_json
from marketplace.services.handling import Mode
from marketplace.services.lifecycle import Action, Wish, sunset_of

service = typer.Typer(
    help="The catalogue: the hub's own services, and those of its partners.",
    epilog="""A change is in force within a second in every process of the hub, and told in the log.

\b
Examples:
  gridroam service list
  gridroam service health parking
  gridroam service mode parking shadow
  gridroam service suspend parking
  gridroam service retire parking""",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(help="The service, as search-evse.")]
Major = Annotated[int, typer.Option(min=1, max=9_999, help="Its major version.")]


@service.command("list")
def service_list(
    json: Annotated[bool, typer.Option("--json", help="JSON, one object a line.")] = False,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Every version of every service, drafts and retired ones too. Held: suspended by the hub.
    Ends: the day (UTC) on which it is retired.

    \b
    Examples:
      gridroam service list
      gridroam service list --json
    """
    from gridroam import office_services

    found = exits.run(lambda: office_services.list_all(home, database_url))
    if json:
        for one in found:
            print_json(one)
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("service", no_wrap=True)
    headings = ("provider", "category", "protocol", "status", "ends", "contracts", "document")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for one in found:
        table.add_row(
            one["name"] if one["major"] == 1 else f"{one['name']} v{one['major']}",
            one["provider"],
            one["category"],
            one["protocol"],
            "held" if one["held"] else one["status"],
            (one["sunset"] or "")[:10],
            one["handling"]["mode"],
            "yes" if one["interface"] else "",
        )
    Console().print(table)


@service.command("show")
def service_show(
    name: Name,
    major: Major = 1,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """One service as its provider sees it, as JSON: where it is answered, and how.

    \b
    Examples:
      gridroam service show search-evse
      gridroam service show parking --major 2
    """
    from gridroam import office_services

    print_json(exits.run(lambda: office_services.show(home, database_url, name, major)))


@service.command("versions")
def service_versions(
    name: Name,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """All versions of a service, the newest first: one JSON object a line.

    \b
    Examples:
      gridroam service versions parking
    """
    from gridroam import office_services

    for one in exits.run(lambda: office_services.versions(home, database_url, name)):
        print_json(one)


@service.command("health")
def service_health(
    name: Name,
    major: Major = 1,
    json: Annotated[bool, typer.Option("--json", help="All of it, as one JSON object.")] = False,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """How the endpoints of a partner's service are, as the processes of the hub together see them.

    closed: calls go there. open: it failed again and again, and is let alone for a while by so many
    of the processes. half-open: it has rested, and is tried. unknown: no process has called it, or
    asked how it is, within the last minute. Figures are those since these processes began.

    \b
    Examples:
      gridroam service health parking
      gridroam service health parking --major 2 --json
    """
    from gridroam import office_services

    found = exits.run(lambda: office_services.health(home, database_url, name, major))
    if json:
        print_json(found)
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("for", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for heading in ("calls", "failed", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    table.add_column("last failure", no_wrap=True)
    table.add_column("endpoint", overflow="fold")
    for one in found["endpoints"]:
        table.add_row(*_health(one))
    Console().print(table)


def _health(one: dict[str, Any]) -> list[str]:
    """An endpoint's row."""
    state, failure = one["state"], one["last_failure"]
    if not one["processes"]:
        state = "unknown"
    elif one["resting_in"]:
        state += f" {one['resting_in']}/{one['processes']}"
    return [
        one["environment"],
        state,
        str(one["calls"]),
        str(one["failures"]),
        *("" if one[name] is None else f"{one[name]:.1f}" for name in ("p50_ms", "p99_ms")),
        "" if failure is None else f"{failure['kind']}\n{failure['at'][:19]}Z",
        one["url"],
    ]


@service.command("mode")
def service_mode(
    name: Name,
    mode: Annotated[Mode, typer.Argument(help="How the contract of a call is minded.")],
    major: Major = 1,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Say how contracts are minded for a service, the hub's own or a partner's.

    enforce: nothing passes without one, which is how it begins. shadow: everything passes, and the
    log tells what would have been refused; to see whom `enforce` would hit. off: nobody looks.
    Its provider may say otherwise later.

    \b
    Examples:
      gridroam service mode search-evse shadow
      gridroam service mode parking enforce --major 2
    """
    from gridroam import office_services

    print_json(exits.run(lambda: office_services.set_mode(home, database_url, name, major, mode)))


@service.command("suspend")
def service_suspend(
    name: Name,
    major: Major = 1,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Let no more calls through to a service, whatever contracts say, until it is published again.

    Its provider cannot publish it then: only `gridroam service publish` can.

    \b
    Examples:
      gridroam service suspend parking
    """
    _change(name, major, Action.SUSPEND, home, database_url)


@service.command("publish")
def service_publish(
    name: Name,
    major: Major = 1,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Let calls through again to a service that was suspended, or publish a draft that is complete.

    \b
    Examples:
      gridroam service publish parking
    """
    _change(name, major, Action.PUBLISH, home, database_url)


Sunset = Annotated[
    str | None,
    typer.Option(
        help="A day, as 2028-02-29, or a time with its offset; not before notices have run."
    ),
]
TimeZone = Annotated[str, typer.Option(help="Where that day begins.")]
Reason = Annotated[str | None, typer.Option(help="Told to those whose contracts end.")]


@service.command("deprecate")
def service_deprecate(
    name: Name,
    major: Major = 1,
    sunset: Sunset = None,
    time_zone: TimeZone = "UTC",
    reason: Reason = None,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Say on which day a service ends. Until then it is called under the contracts there are, which
    end with it; new ones are not made, and each answer of it tells the day.

    \b
    Examples:
      gridroam service deprecate parking --sunset 2027-06-30 --time-zone Europe/Paris
    """
    _end(name, major, Action.DEPRECATE, (sunset, time_zone, reason), home, database_url)


@service.command("retire")
def service_retire(
    name: Name,
    major: Major = 1,
    sunset: Sunset = None,
    time_zone: TimeZone = "UTC",
    reason: Reason = None,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Give notice to all who have a contract on a service, and end it when the last notice has run:
    at once where nobody has. A service that is retired is so for good.

    \b
    Examples:
      gridroam service retire parking --reason "Nobody asks for it any more."
    """
    _end(name, major, Action.RETIRE, (sunset, time_zone, reason), home, database_url)


def _end(
    name: str,
    major: int,
    action: Action,
    told: tuple[str | None, str, str | None],
    home: HomeFolder,
    database_url: DatabaseUrl,
) -> None:
    from gridroam import office_services

    async def run() -> dict[str, Any]:
        sunset, time_zone, reason = told
        wish = Wish(sunset=None if sunset is None else sunset_of(sunset, time_zone), reason=reason)
        return await office_services.change(home, database_url, name, major, action, wish)

    print_json(exits.run(run))


def _change(
    name: str, major: int, action: Action, home: HomeFolder, database_url: DatabaseUrl
) -> None:
    from gridroam import office_services

    print_json(exits.run(lambda: office_services.change(home, database_url, name, major, action)))
