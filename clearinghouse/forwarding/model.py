"""Forwarding: every record to its EVSP, once by its delivery id, however long that takes."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from clearinghouse.cdrs.model import Cdr
from clearinghouse.rating.model import zone_named, zone_of
from roaming.party import PartyId
from roaming.refusal import Malformed, Unknown


class UnknownDeadLetter(Unknown):
    """No dead letter by this id that is the caller's."""


class BadPreference(Malformed):
    """A wish about deliveries that cannot be fulfilled."""


class Place(NamedTuple):
    """A place in the log: transaction, position."""

    xid: int
    position: int

    def __str__(self) -> str:
        return f"{self.xid}-{self.position}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """Records that go to an EVSP in one call: those behind `after`, up to `up_to`.

    The same records under the same `delivery_id` as often as it takes. `dead_letter` is the id of
    the dead letter that is sent again, else None. `attempts` counts those that failed.
    """

    delivery_id: str
    evsp: PartyId
    after: Place
    up_to: Place
    cdrs: Sequence[Cdr]
    attempts: int = 0
    dead_letter: int | None = None


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing to deliver now.

    `unfinished`: an older transaction still runs before what is next. `until`: records wait for the
    moment that their EVSP has asked for.
    """

    unfinished: bool = False
    until: datetime | None = None


class Verdict(StrEnum):
    DELIVERED = "delivered"
    REFUSED = "refused"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Proof:
    """What was sent, and what was said to it: enough to show later that it arrived.

    `host` is all that is kept of the address, whose rest may hold a secret. `receipt` is what the
    EVSP itself signed or counted, as it said it.
    """

    body_sha256: bytes
    host: str
    answer_sha256: bytes | None = None
    receipt: Any = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back from an EVSP: an HTTP status, or None where none came; and a few words.

    `means` is set where a channel says more than a status does.
    """

    status: int | None
    says: str
    means: Verdict | None = field(default=None, compare=False)
    proof: Proof | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that its EVSP refuses. It keeps its place here until the EVSP asks for it again."""

    dead_letter_id: int
    evsp: PartyId
    operator: PartyId
    cdr_id: str
    status: int
    says: str
    refused_at: datetime
    replay_requested_at: datetime | None
    delivered_at: datetime | None


# These speak of the address, the access or the moment, not of the records: nothing is wrong with
# what was sent, and a mended address must find all of it.
_NOT_ABOUT_CONTENT = frozenset({401, 402, 403, 404, 405, 407, 408, 410, 421, 423, 425, 426, 429})


def verdict(reply: Reply) -> Verdict:
    """Whether the records have arrived, are refused for what they say, or must be sent again."""
    if reply.means is not None:
        return reply.means
    if reply.status is None:
        return Verdict.RETRY
    if 200 <= reply.status < 300:
        return Verdict.DELIVERED
    if 400 <= reply.status < 500 and reply.status not in _NOT_ABOUT_CONTENT:
        return Verdict.REFUSED
    return Verdict.RETRY


def delivery_id(evsp: PartyId, after: Place, up_to: Place) -> str:
    """The same for the same records, also in another process after a crash."""
    return f"{evsp.compact}-{after}-{up_to}"


def replay_id(evsp: PartyId, dead_letter_id: int, replays: int) -> str:
    """A new one for each time that the EVSP asks: it would answer the old one as before."""
    return f"{evsp.compact}-again-{dead_letter_id}-{replays}"


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long to wait after failures in a row: doubling from `first_s` to `most_s`."""

    first_s: float = 0.2
    most_s: float = 60.0

    def pause_s(self, failures: int, chance: float) -> float:
        """Between half and all of the doubled time; `chance` in [0, 1) spreads the herd."""
        full = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 32))
        return full * (0.5 + chance / 2)


class Channel(StrEnum):
    """How records reach an EVSP; with `pull` it fetches them itself."""

    HTTP = "http"
    SOAP = "soap"
    SFTP = "sftp"
    PULL = "pull"


class Cadence(StrEnum):
    AT_ONCE = "at-once"
    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


class Weekday(StrEnum):
    """In the order of `date.weekday`."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


_MINUTE = timedelta(minutes=1)
# No calendar month is longer, and two days make up for any zone's distance from the calendar.
_DAYS_AHEAD = 31 + 31 + 2


@dataclass(frozen=True, slots=True)
class Schedule:
    """When an EVSP wants its records, on its own clock.

    `at`: the local time of day; hourly, only its minute counts. Where the clock jumps over it, it
    is the moment that it would have been by the clock before the jump; where the clock shows it
    twice, it is the first. A `day_of_month` that a month does not have is the month's last day.
    """

    cadence: Cadence = Cadence.AT_ONCE
    time_zone: str = "UTC"
    at: time = time(0)
    weekday: Weekday = Weekday.MONDAY
    day_of_month: int = 1

    def due_after(self, booked_at: datetime) -> datetime:
        """The moment at which what was booked at `booked_at` is to be sent."""
        if self.cadence is Cadence.AT_ONCE:
            return booked_at
        if self.cadence is Cadence.HOURLY:
            return self._next_minute(booked_at)
        zone = zone_of(self.time_zone)
        first = booked_at.astimezone(zone).date() - timedelta(days=1)
        for ahead in range(_DAYS_AHEAD):
            day = first + timedelta(days=ahead)
            if self._falls_on(day):
                due = datetime.combine(day, self.at, tzinfo=zone).astimezone(UTC)
                if due > booked_at:
                    return due
        raise AssertionError("every schedule comes round within two months")

    def _falls_on(self, day: date) -> bool:
        if self.cadence is Cadence.WEEKLY:
            return list(Weekday)[day.weekday()] is self.weekday
        if self.cadence is Cadence.MONTHLY:
            return day.day == min(self.day_of_month, monthrange(day.year, day.month)[1])
        return True

    def _next_minute(self, after: datetime) -> datetime:
        # Looked at minute by minute: a zone may be half an hour off, or move by half an hour.
        zone = zone_of(self.time_zone)
        due = after.astimezone(UTC).replace(second=0, microsecond=0) + _MINUTE
        while due.astimezone(zone).minute != self.at.minute:
            due += _MINUTE
        return due


def schedule(
    cadence: Cadence,
    *,
    time_zone: str = "UTC",
    at: str = "00:00",
    weekday: Weekday = Weekday.MONDAY,
    day_of_month: int = 1,
) -> Schedule:
    """A schedule out of what an EVSP asked for. Raises BadPreference, BadTimeZone."""
    zone_named(time_zone)
    if not re.fullmatch(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", at):
        raise BadPreference("not a time of day", field="at", value=at, rule="HH:MM, 00:00 to 23:59")
    if not 1 <= day_of_month <= 31:
        raise BadPreference(
            "not a day of a month", field="day_of_month", value=day_of_month, rule="1 to 31"
        )
    return Schedule(cadence, time_zone, time.fromisoformat(at), weekday, day_of_month)


@dataclass(frozen=True, slots=True)
class SftpPlace:
    """Where files go. `host_key` is the one key that the host is believed by."""

    host: str
    port: int
    user: str
    directory: str
    host_key: str


_HOST = re.compile(r"(?!-)[A-Za-z0-9.:-]{1,253}")
_USER = re.compile(r"(?!-)[A-Za-z0-9._-]{1,64}")
_DIRECTORY = re.compile(r"(?!-)[A-Za-z0-9._/-]{1,200}")
_HOST_KEY = re.compile(
    r"(?:ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521)|ssh-rsa) [A-Za-z0-9+/]{40,1200}={0,2}"
)


def sftp_place(host: str, port: int, user: str, directory: str, host_key: str) -> SftpPlace:
    """A place whose every word may stand in a command to `sftp`; BadPreference otherwise."""
    parts = directory.split("/")
    for name, value, holds, rule in (
        ("host", host, bool(_HOST.fullmatch(host)), "a host name or an address"),
        ("port", port, 1 <= port <= 65_535, "1 to 65535"),
        ("user", user, bool(_USER.fullmatch(user)), "letters, digits, dot, dash, underscore"),
        (
            "directory",
            directory,
            bool(_DIRECTORY.fullmatch(directory)) and ".." not in parts,
            "letters, digits, dot, dash, underscore and slash, and no way up",
        ),
        (
            "host_key",
            host_key,
            bool(_HOST_KEY.fullmatch(host_key)),
            "type and key as in a known_hosts file: ssh-ed25519 AAAA…",
        ),
    ):
        if not holds:
            raise BadPreference(
                f"this is no {name} to send files to", field=f"sftp.{name}", value=value, rule=rule
            )
    return SftpPlace(host, port, user, directory, host_key)


@dataclass(frozen=True, slots=True)
class Preference:
    """How and when an EVSP wants its records; `changed_at` is None where it has not said."""

    channel: Channel = Channel.HTTP
    schedule: Schedule = field(default_factory=Schedule)
    sftp: SftpPlace | None = None
    changed_at: datetime | None = None

    def due(self, booked_at: datetime) -> datetime:
        """When a record goes; a wish is for what comes after it, or was waiting when it came."""
        since = booked_at if self.changed_at is None else max(booked_at, self.changed_at)
        return self.schedule.due_after(since)


AT_ONCE = Preference()
"""What holds where an EVSP has not said: everything, as it comes, over HTTP."""


class Whereabouts(StrEnum):
    """Where a record is on its way to its EVSP."""

    UNKNOWN = "unknown"
    REJECTED = "rejected"
    WAITING = "waiting"
    UNDER_WAY = "under-way"
    DELIVERED = "delivered"
    DEAD_LETTERED = "dead-lettered"
    ACKNOWLEDGED = "acknowledged"


@dataclass(frozen=True, slots=True)
class Trace:
    """What the books tell of one record's way."""

    operator: PartyId
    cdr_id: str
    evsp: PartyId | None = None
    rejected: bool = False
    booked_at: datetime | None = None
    delivery_id: str | None = None
    delivered_at: datetime | None = None
    body_sha256: bytes | None = None
    dead_lettered_at: datetime | None = None
    acknowledged_at: datetime | None = None
    open_delivery_id: str | None = None
    attempts: int = 0
    last_error: str | None = None
    next_attempt_at: datetime | None = None

    @property
    def whereabouts(self) -> Whereabouts:
        """The furthest that it has come: what has arrived once has arrived."""
        if self.delivered_at is not None:
            return Whereabouts.DELIVERED
        if self.acknowledged_at is not None:
            return Whereabouts.ACKNOWLEDGED
        if self.dead_lettered_at is not None:
            return Whereabouts.DEAD_LETTERED
        if self.open_delivery_id is not None:
            return Whereabouts.UNDER_WAY
        if self.booked_at is not None:
            return Whereabouts.WAITING
        return Whereabouts.REJECTED if self.rejected else Whereabouts.UNKNOWN


@dataclass(frozen=True, slots=True)
class Carried:
    """A delivery that has arrived, and those of its records that the reader may know of."""

    cursor: Place
    delivery_id: str
    evsp: PartyId
    channel: Channel
    cdrs: int
    keys: Sequence[tuple[PartyId, str]]
    delivered_at: datetime
    attempts: int
    proof: Proof | None
    status: int | None
    says: str | None


@dataclass(frozen=True, slots=True)
class DeliveryState:
    """How an EVSP's line stands."""

    undelivered: int
    oldest_booked_at: datetime | None
    under_way: str | None
    attempts: int
    last_error: str | None
    next_attempt_at: datetime | None
    dead_letters: int


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Everything up to `up_to` has been received; `cdrs` of it by this word. None: nothing yet."""

    up_to: Place | None
    cdrs: int
    at: datetime
