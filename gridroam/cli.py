"""The command line. Exit codes: 0 done; 1 the work failed; 2 wrong arguments or input."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from gridroam import exits
from kit.encoding import encode_json
from roaming.party import PartyId
from roaming.refusal import Malformed

DEFAULT_HOME = Path(os.environ.get("GRIDROAM_HOME", "~/.local/share/gridroam")).expanduser()

ROOT = Path(__file__).parent.parent
SHIPPED_DAY = ROOT / "examples" / "roaming_day"

app = typer.Typer(
    name="gridroam",
    help="An open roaming marketplace and clearing house for electric-vehicle charging.",
    epilog="""Exit codes: 0 done; 1 the work failed; 2 wrong arguments or input.

\b
Examples:
  gridroam serve --port 8080
  gridroam partner add 'FR*PD1' --role evse-operator --name 'Point du Jour'
  gridroam import evses evses.csv.gz
  gridroam clear --period 2025-01 --currency EUR --strategy multilateral
  gridroam day --exit""",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
partner = typer.Typer(
    help="The business partners of this hub.", no_args_is_help=True, rich_markup_mode=None
)
imports = typer.Typer(help="Bring master data in.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(partner, name="partner")
app.add_typer(imports, name="import")

HomeFolder = Annotated[
    Path, typer.Option("--home", help="The hub's home folder.", envvar="GRIDROAM_HOME")
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        help="A PostgreSQL to use instead of the embedded one.",
        envvar="GRIDROAM_DATABASE_URL",
    ),
]


def main() -> NoReturn:
    """Run a command; whatever goes wrong is one line on standard error and an exit code."""
    if not __debug__:
        sys.stderr.write("gridroam does not run under python -O: its assertions guard money\n")
        raise SystemExit(2)
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except Exception as error:  # noqa: BLE001  told in one line, or whole when asked
        exits.leave(error)
    except KeyboardInterrupt as error:
        exits.leave(error)
    raise SystemExit(code)


def _print_json(value: Any) -> None:
    sys.stdout.write(encode_json(value).decode() + "\n")


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free port.")] = 8080,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
    only: Annotated[
        str | None, typer.Option(help="Parts to run, by commas; all when not given.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes to serve with.")] = 1,
    public_url: Annotated[
        str | None, typer.Option(help="The address that partners know; the issuer of tokens.")
    ] = None,
    log_format: Annotated[str, typer.Option(help="text or json.")] = "text",
    refuse_loopback_endpoints: Annotated[
        bool, typer.Option(help="Do not call partners on this machine's own addresses.")
    ] = False,
    trust_station_time: Annotated[
        bool,
        typer.Option(
            help="Rehearsals only: an authorisation is judged at the station's time, not ours."
        ),
    ] = False,
) -> None:
    """Run a hub. Prints `ready http://host:port` once it answers; Ctrl-C ends it in order."""
    from gridroam import serve as serving
    from gridroam.settings import Settings, parts_of

    if log_format not in {"text", "json"}:
        raise typer.BadParameter("text or json", param_hint="--log-format")
    settings = Settings(
        home=home,
        host=host,
        port=port,
        database_url=database_url,
        only=parts_of(only),
        public_url=public_url,
        allow_loopback_endpoints=not refuse_loopback_endpoints,
        trust_station_time=trust_station_time,
        log_format=log_format,
    )
    serving.run(settings, workers=workers)


@app.command("serve-worker", hidden=True)
def serve_worker(
    listening_fd: int,
    home: HomeFolder,
    host: Annotated[str, typer.Option()],
    only: Annotated[str, typer.Option()],
    public_url: Annotated[str, typer.Option()],
    log_format: Annotated[str, typer.Option()] = "text",
    no_tasks: Annotated[bool, typer.Option("--no-tasks")] = False,
    refuse_loopback_endpoints: Annotated[bool, typer.Option()] = False,
    trust_station_time: Annotated[bool, typer.Option()] = False,
) -> None:
    """One process of `serve --workers N`; started by it alone."""
    from gridroam import serve as serving
    from gridroam.settings import Settings, parts_of

    settings = Settings(
        home=home,
        host=host,
        database_url=os.environ["GRIDROAM_WORKER_DATABASE_URL"],
        only=parts_of(only),
        public_url=public_url,
        allow_loopback_endpoints=not refuse_loopback_endpoints,
        trust_station_time=trust_station_time,
        runs_tasks=not no_tasks,
        log_format=log_format,
    )
    serving.run_worker(settings, listening_fd)


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
    """Register a partner; prints its client id and secret, the secret for the only time."""
    from gridroam import office

    added = exits.run(lambda: office.add_partner(home, database_url, PartyId(party), role, name))
    _print_json(
        {
            "party": added.partner.party,
            "client_id": added.client_id,
            "client_secret": added.client_secret,
        }
    )


@partner.command("list")
def partner_list(home: HomeFolder = DEFAULT_HOME, database_url: DatabaseUrl = None) -> None:
    """Every partner, one JSON object a line."""
    from gridroam import office

    for one in exits.run(lambda: office.list_partners(home, database_url)):
        _print_json(one)


@imports.command("evses")
def import_evses(
    file: Annotated[Path, typer.Argument(help="OCPI 2.2.1 Locations (JSON, lines) or IRVE CSV.")],
    operator: Annotated[
        str | None, typer.Option(help="Whose they are; else as the file says.")
    ] = None,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Import charge points. One bad row never stops the rest; the reasons are counted and told."""
    from gridroam import office

    owner = None if operator is None else PartyId(operator)
    _print_json(exits.run(lambda: office.import_evses(home, database_url, file, owner)))


@app.command()
def replay(
    evses: Annotated[Path, typer.Option(help="As for `import evses`.")],
    customers: Annotated[Path, typer.Option(help="JSON lines.")],
    agreements: Annotated[Path, typer.Option(help="A JSON array.")],
    charges: Annotated[Path, typer.Option(help="JSON lines.")],
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="Charges a second at most; else at full speed.")
    ] = None,
    through: Annotated[str, typer.Option(help="ocpp or api.")] = "ocpp",
    report: Annotated[Path | None, typer.Option(help="Where to write the report (JSON).")] = None,
    home: Annotated[
        Path | None, typer.Option("--home", help="Play on this home; else on an empty one.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The hub's port; 0 is any.")] = 0,
) -> None:
    """Play real charges the whole way, from the card to the clearing statement."""
    from gridroam.rehearsal import replay as rehearsal

    if through not in {"ocpp", "api"}:
        raise typer.BadParameter("ocpp or api", param_hint="--through")
    plan = rehearsal.Plan(
        evses=evses,
        customers=customers,
        agreements=agreements,
        charges=charges,
        rate=rate,
        through=through,
        home=home,
        port=port,
    )
    played = exits.run(lambda: rehearsal.replay(plan, Console(stderr=True)))
    told = encode_json(played.to_json())
    if report is None:
        sys.stdout.write(told.decode() + "\n")
    else:
        report.write_bytes(told)


@app.command()
def day(
    exit_: Annotated[bool, typer.Option("--exit", help="End after the statement.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8080,
    rate: Annotated[float | None, typer.Option(min=0.01, help="Charges a second.")] = None,
    through: Annotated[str, typer.Option(help="ocpp or api.")] = "ocpp",
    report: Annotated[Path | None, typer.Option(help="Where to write the report (JSON).")] = None,
) -> None:
    """Play the roaming day that ships with the project; then stay up with the console."""
    from gridroam.rehearsal import replay as rehearsal

    folder = SHIPPED_DAY
    plan = rehearsal.Plan(
        evses=folder / "evses.csv.gz",
        customers=folder / "customers.jsonl",
        agreements=folder / "agreements.json",
        charges=folder / "charges.jsonl",
        rate=rate,
        through=through,
        home=None,
        port=port,
        names=rehearsal.names_in(folder / "parties.json"),
    )
    exits.run(lambda: rehearsal.day(plan, Console(), stay=not exit_, report=report))


if __name__ == "__main__":
    main()
