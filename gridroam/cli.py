"""The command line. Exit codes: 0 done; 1 the work failed; 2 wrong arguments or input."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from gridroam import (
    cli_audit,
    cli_billing,
    cli_books,
    cli_calls,
    cli_contracts,
    cli_deliveries,
    cli_documents,
    cli_exposure,
    cli_framework,
    cli_onboarding,
    cli_partners,
    cli_people,
    cli_rates,
    cli_reports,
    cli_roaming,
    cli_services,
    exits,
)
from gridroam.cli_options import DEFAULT_HOME, DatabaseUrl, HomeFolder, print_json
from kit import garbage
from kit.encoding import encode_json
from roaming.party import PartyId

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
imports = typer.Typer(help="Bring master data in.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(cli_partners.partner, name="partner")
app.add_typer(cli_people.people, name="people")
app.add_typer(cli_onboarding.operator, name="operator")
app.add_typer(cli_services.service, name="service")
app.add_typer(cli_framework.framework, name="framework")
app.add_typer(cli_contracts.contract, name="contract")
app.add_typer(cli_contracts.key, name="key")
app.command()(cli_contracts.sign)
app.add_typer(imports, name="import")
app.add_typer(cli_rates.rates, name="rates")
app.add_typer(cli_roaming.roaming, name="roaming")
app.add_typer(cli_rates.fees, name="fees")
app.add_typer(cli_books.period, name="period")
app.add_typer(cli_books.ledger, name="ledger")
app.command()(cli_audit.audit)
app.command("documents")(cli_documents.documents)
app.add_typer(cli_documents.bank, name="bank")
app.add_typer(cli_deliveries.dead_letters, name="dead-letters")
app.add_typer(cli_books.dispute, name="dispute")
app.add_typer(cli_exposure.exposure, name="exposure")
app.add_typer(cli_billing.bill, name="bill")
app.command("deposit")(cli_exposure.deposit)
app.command("withdraw")(cli_exposure.withdraw)
app.command()(cli_calls.calls)
app.command()(cli_reports.report)
app.command()(cli_books.settle)
app.command()(cli_books.default)

Lifeline = Annotated[
    int | None,
    typer.Option(hidden=True, help="A pipe: when its other end closes, the hub ends in order."),
]
ClientRate = Annotated[
    float, typer.Option(min=1.0, help="Calls a second that one client may make in one process.")
]
BillingDay = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=28,
        help="From this day of a month on the month before is billed; else by `gridroam bill`.",
    ),
]
OldestContracts = Annotated[
    float,
    typer.Option(
        "--oldest-contracts-s",
        min=1.0,
        help="Seconds for which calls pass by contracts that could not be read anew.",
    ),
]
OtlpEndpoint = Annotated[
    str | None,
    typer.Option(help="An OpenTelemetry collector for spans of calls, as http://127.0.0.1:4318."),
]
TraceRatio = Annotated[
    float,
    typer.Option(min=0.0, max=1.0, help="How many of the traces that begin here are told."),
]
TlsCertificate = Annotated[
    Path | None, typer.Option(help="The hub's certificate with its chain (PEM): it speaks TLS.")
]
TlsKey = Annotated[Path | None, typer.Option(help="The key of the certificate (PEM).")]
ClientCa = Annotated[
    Path | None,
    typer.Option(help="Whose certificates callers may show (PEM): mutual TLS, docs/security.md."),
]
TrustedProxy = Annotated[
    list[str] | None,
    typer.Option(
        help="An address or range: its Client-Cert and X-Forwarded-… are believed; repeatable."
    ),
]

OidcIssuer = Annotated[
    str | None,
    typer.Option(help="The OpenID provider at which people may log in, by its issuer's URL."),
]
OidcClientId = Annotated[
    str | None, typer.Option(help="What that provider calls this hub; see docs/people.md.")
]
OidcSecretFile = Annotated[
    Path | None, typer.Option(help="A file with the secret that it gave this hub.")
]


def main() -> NoReturn:
    """Run a command; whatever goes wrong is one line on standard error and an exit code."""
    if not __debug__:
        sys.stderr.write("gridroam does not run under python -O: its assertions guard money\n")
        raise SystemExit(2)
    garbage.look_rarely()
    exits.keep_libraries_quiet()
    try:
        code = app(prog_name="gridroam", standalone_mode=False)
        sys.stdout.flush()
    except Exception as error:  # noqa: BLE001  told in one line, or whole when asked
        exits.leave(error)
    except KeyboardInterrupt as error:
        exits.leave(error)
    raise SystemExit(code)


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
    log_level: Annotated[str, typer.Option(help="info, warning or error.")] = "info",
    refuse_loopback_endpoints: Annotated[
        bool, typer.Option(help="Do not call partners on this machine's own addresses.")
    ] = False,
    trust_station_time: Annotated[
        bool,
        typer.Option(
            help="Rehearsals only: an authorisation is judged at the station's time, not ours."
        ),
    ] = False,
    hub_url: Annotated[
        str | None,
        typer.Option(help="The hub of a central system that runs alone; see `operator-key`."),
    ] = None,
    billing_day: BillingDay = None,
    client_rate: ClientRate = 2_000.0,
    oldest_contracts_s: OldestContracts = 30.0,
    otlp_endpoint: OtlpEndpoint = None,
    trace_ratio: TraceRatio = 1.0,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    client_ca: ClientCa = None,
    trusted_proxy: TrustedProxy = None,
    oidc_issuer: OidcIssuer = None,
    oidc_client_id: OidcClientId = None,
    oidc_secret_file: OidcSecretFile = None,
    lifeline_fd: Lifeline = None,
) -> None:
    """Run a hub. Prints `ready http://host:port` once it answers.

    SIGTERM or Ctrl-C: takes no more calls, finishes those under way, ends with 0.

    With a certificate it speaks TLS (`ready https://…`); behind a proxy that does, name that one.

    \b
    Examples:
      gridroam serve
      gridroam serve --port 0 --home /srv/hub --log-format json
      gridroam serve --database-url postgresql://hub:secret@db/gridroam --workers 4
      gridroam serve --only gateway,clearinghouse
      gridroam serve --only central-system --hub-url https://hub.example
      gridroam serve --tls-certificate hub.pem --tls-key hub.key --client-ca partners.pem
      gridroam serve --oidc-issuer https://login.example --oidc-client-id gridroam \\
        --oidc-secret-file oidc.secret
    """
    garbage.look_when_ready()
    from gridroam import serve as serving
    from gridroam.logging import LEVELS
    from gridroam.proxies import networks_of
    from gridroam.settings import Settings, oidc_of, parts_of
    from gridroam.tls import tls_of

    if log_format not in {"text", "json"}:
        raise typer.BadParameter("text or json", param_hint="--log-format")
    if log_level not in LEVELS:
        raise typer.BadParameter(", ".join(LEVELS), param_hint="--log-level")
    settings = Settings(
        home=home,
        host=host,
        port=port,
        database_url=database_url,
        only=parts_of(only),
        public_url=public_url,
        allow_loopback_endpoints=not refuse_loopback_endpoints,
        trust_station_time=trust_station_time,
        hub_url=hub_url,
        log_format=log_format,
        log_level=log_level,
        billing_day=billing_day,
        client_rate=client_rate,
        oldest_contracts_s=oldest_contracts_s,
        otlp_endpoint=otlp_endpoint,
        trace_ratio=trace_ratio,
        tls=tls_of(tls_certificate, tls_key, client_ca),
        trusted_proxies=networks_of(trusted_proxy or []),
        oidc=oidc_of(oidc_issuer, oidc_client_id, oidc_secret_file),
        lifeline_fd=lifeline_fd,
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
    log_level: Annotated[str, typer.Option()] = "info",
    no_tasks: Annotated[bool, typer.Option("--no-tasks")] = False,
    refuse_loopback_endpoints: Annotated[bool, typer.Option()] = False,
    trust_station_time: Annotated[bool, typer.Option()] = False,
    hub_url: Annotated[str | None, typer.Option()] = None,
    billing_day: BillingDay = None,
    client_rate: ClientRate = 2_000.0,
    oldest_contracts_s: OldestContracts = 30.0,
    otlp_endpoint: OtlpEndpoint = None,
    trace_ratio: TraceRatio = 1.0,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    client_ca: ClientCa = None,
    trusted_proxy: TrustedProxy = None,
    oidc_issuer: OidcIssuer = None,
    oidc_client_id: OidcClientId = None,
    oidc_secret_file: OidcSecretFile = None,
    lifeline_fd: Lifeline = None,
) -> None:
    """One process of `serve --workers N`; started by it alone."""
    garbage.look_when_ready()
    from gridroam import serve as serving
    from gridroam.proxies import networks_of
    from gridroam.settings import Settings, oidc_of, parts_of
    from gridroam.tls import tls_of

    settings = Settings(
        home=home,
        host=host,
        database_url=os.environ["GRIDROAM_WORKER_DATABASE_URL"],
        only=parts_of(only),
        public_url=public_url,
        allow_loopback_endpoints=not refuse_loopback_endpoints,
        trust_station_time=trust_station_time,
        hub_url=hub_url,
        runs_tasks=not no_tasks,
        log_format=log_format,
        log_level=log_level,
        billing_day=billing_day,
        client_rate=client_rate,
        oldest_contracts_s=oldest_contracts_s,
        otlp_endpoint=otlp_endpoint,
        trace_ratio=trace_ratio,
        tls=tls_of(tls_certificate, tls_key, client_ca),
        trusted_proxies=networks_of(trusted_proxy or []),
        oidc=oidc_of(oidc_issuer, oidc_client_id, oidc_secret_file),
        lifeline_fd=lifeline_fd,
    )
    serving.run_worker(settings, listening_fd)


@app.command("operator-key")
def operator_key(
    operator: Annotated[str, typer.Argument(help="The operator's party id, as FR*PD1.")],
    client_id: Annotated[
        str | None, typer.Option(help="What the hub calls the key, once it is registered there.")
    ] = None,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """The key of a central system that runs alone, with `serve --hub-url`.

    \b
    1. gridroam operator-key 'FR*PD1' prints {"jwks": …}
    2. register that at the hub: POST /marketplace/partners/FR*PD1/clients {"jwks": …}
    3. gridroam operator-key 'FR*PD1' --client-id ID keeps the client id that it answered
    """
    from gridroam import office_keys

    print_json(
        exits.run(
            lambda: office_keys.operator_key(home, database_url, PartyId(operator), client_id)
        )
    )


@imports.command("evses")
def import_evses(
    file: Annotated[Path, typer.Argument(help="OCPI 2.2.1 Locations (JSON, lines) or IRVE CSV.")],
    operator: Annotated[
        str | None, typer.Option(help="Whose they are; else as the file says.")
    ] = None,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Import charge points. One bad row never stops the rest; the reasons are counted and told.

    \b
    Examples:
      gridroam import evses consolidation-irve-statique.csv
      gridroam import evses locations.jsonl.gz --operator 'NL*ABC'
    """
    from gridroam import office

    owner = None if operator is None else PartyId(operator)
    print_json(exits.run(lambda: office.import_evses(home, database_url, file, owner)))


@app.command()
def clear(
    currency: Annotated[str, typer.Option(help="ISO 4217, as EUR.")],
    strategy: Annotated[str, typer.Option(help="gross, bilateral, multilateral or cycles.")],
    period: Annotated[str | None, typer.Option(help="A month, as 2025-01.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="RFC 3339 with offset, or a day; with --to.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="The first moment that is not cleared any more.")
    ] = None,
    time_zone: Annotated[
        str, typer.Option(help="By which months and days begin; an IANA name.")
    ] = "UTC",
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """Clear a period for everybody, record the run, and print it.

    A CDR belongs to the month in which its charge ended or, told when that was closed, to the
    first open one. Nothing is settled by this: see `gridroam settle`.

    \b
    Examples:
      gridroam clear --period 2025-01 --currency EUR --strategy multilateral
      gridroam clear --from 2025-01-01 --to 2025-01-08 --time-zone Europe/Paris \\
        --currency EUR --strategy bilateral
    """
    from gridroam import office_clearing

    chosen = office_clearing.period_of(period, start, end, time_zone)
    cleared = exits.run(
        lambda: office_clearing.clear_period(
            home, database_url, chosen, currency, office_clearing.strategy_named(strategy)
        )
    )
    print_json(cleared)


@app.command()
def events(
    after: Annotated[
        str | None, typer.Option(help="A cursor, as an event shows it; else from the start.")
    ] = None,
    type_: Annotated[
        list[str] | None, typer.Option("--type", help="As cdr-accepted; repeatable.")
    ] = None,
    party: Annotated[str | None, typer.Option(help="Events that concern this party.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="So many at most; else all.")] = None,
    home: HomeFolder = DEFAULT_HOME,
    database_url: DatabaseUrl = None,
) -> None:
    """The log of all that happened, oldest first, one JSON object a line.

    \b
    Examples:
      gridroam events --type cdr-accepted --party 'FR*PD1' --limit 10
      gridroam events --after 7431-1024
    """
    from gridroam import office_events

    asked = office_events.EventsAsked(
        after=office_events.cursor_of(after),
        types=office_events.types_named(type_ or []),
        party=None if party is None else PartyId(party),
        limit=limit,
    )
    exits.run(lambda: office_events.tell_events(home, database_url, asked, print_json))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def bench(context: typer.Context) -> None:
    """Side-by-side benchmarks; arguments go to them as they are.

    \b
    Examples:
      gridroam bench
      gridroam bench --help
    """
    script = ROOT / "bench" / "run.py"
    if not script.exists():
        raise exits.WorkFailed(f"{script} is not there: benchmarks come with the source tree only")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    sys.stdout.flush()
    os.execve(
        sys.executable,
        [sys.executable, "-m", "bench.run", *context.args],
        {**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


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
    """Play real charges the whole way, from the card to the clearing statement.

    On an empty home, or with --home on one that stays; the same replay again on that home bills
    nothing twice. `ocpp` plays through virtual charge points, `api` as operators' central systems.

    \b
    Example:
      gridroam replay --evses evses.csv.gz --customers customers.jsonl \\
        --agreements agreements.json --charges charges.jsonl --report report.json
    """
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
    """Play the roaming day that ships with the project; then stay up with the console.

    \b
    Examples:
      gridroam day
      gridroam day --exit --through api --report report.json
    """
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
