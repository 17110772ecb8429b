"""What the hub's operator decides; read once, passed down as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from roaming.party import PartyId
from roaming.refusal import Malformed

PARTS = ("gateway", "marketplace", "clearinghouse", "search-evse", "central-system", "console")


def parts_of(names: str | None) -> frozenset[str]:
    """The parts named in `--only`, by commas; Malformed names one that does not exist."""
    if names is None:
        return frozenset(PARTS)
    asked = {name.strip() for name in names.split(",") if name.strip()}
    for name in sorted(asked - set(PARTS)):
        raise Malformed(
            f"there is no part {name!r}", field="--only", value=name, rule=", ".join(PARTS)
        )
    if not asked:
        raise Malformed(
            "no part is named", field="--only", value=names, rule="some of " + ", ".join(PARTS)
        )
    return frozenset(asked)


@dataclass(frozen=True, slots=True)
class Tls:
    """The hub's certificate with its chain, its key, and whose certificates callers may show."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Oidc:
    """The OpenID provider at which people may log in, and the hub as that one knows it."""

    issuer: str
    client_id: str
    secret_file: Path


def oidc_of(issuer: str | None, client_id: str | None, secret_file: Path | None) -> Oidc | None:
    """What the three options come to; Malformed where one of them is missing, or the file."""
    if issuer is None and client_id is None and secret_file is None:
        return None
    if issuer is None or client_id is None or secret_file is None:
        raise Malformed(
            "an OpenID provider takes an issuer, a client id and a secret",
            field="--oidc-issuer" if issuer is None else "--oidc-client-id",
            rule="--oidc-issuer URL --oidc-client-id ID --oidc-secret-file FILE",
        )
    if not secret_file.is_file() or not secret_file.read_text().strip():
        raise Malformed(
            "the file holds no secret",
            field="--oidc-secret-file",
            value=str(secret_file),
            rule="a file with the secret that the provider gave this hub",
        )
    return Oidc(issuer, client_id, secret_file)


@dataclass(frozen=True, slots=True)
class Settings:
    """One hub process. `only` names the parts it runs."""

    home: Path
    host: str = "127.0.0.1"
    port: int = 8080
    database_url: str | None = None
    only: frozenset[str] = frozenset(PARTS)
    hub_party: PartyId = field(default_factory=lambda: PartyId("EU*GRD"))
    public_url: str | None = None
    # The hub calls its partners' endpoints. On a developer's machine those are on loopback; a hub
    # on the internet must not be sent to its own back doors.
    allow_loopback_endpoints: bool = True
    # In a rehearsal the clock of the day that is played is the station's: see docs/replay.md.
    trust_station_time: bool = False
    # Where the central system finds its hub when that is not this process.
    hub_url: str | None = None
    # The gateway goes by contracts that were last known to be current so long ago, and no longer.
    oldest_contracts_s: float = 30.0
    # Timed and queued work (forwarding, outboxes) runs in one process of several.
    runs_tasks: bool = True
    # From this day of a month on the month before is billed; none: when the operator says so.
    billing_day: int | None = None
    # What one client may ask of one process, so that it leaves room for others.
    client_rate: float = 2_000.0
    # Where spans of calls go (OTLP over HTTP), and how many of the traces that begin here.
    otlp_endpoint: str | None = None
    trace_ratio: float = 1.0
    # TLS ends here where there is a certificate; else, where it must, in a proxy in front.
    tls: Tls | None = None
    # Ranges of addresses whose word on who calls is believed: see gridroam/proxies.py.
    trusted_proxies: tuple[str, ...] = ()
    oidc: Oidc | None = None
    log_format: str = "text"
    log_level: str = "info"
    # A pipe that whoever started this process holds: when it closes, however they ended, we end.
    lifeline_fd: int | None = None

    @property
    def sees_certificates(self) -> bool:
        """Whether a caller can show one (mutual TLS), here or at a proxy."""
        return bool(self.trusted_proxies) or (
            self.tls is not None and self.tls.client_ca is not None
        )
