"""What forwarding is asked and shows over HTTP, as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from clearinghouse.forwarding import flows
from clearinghouse.forwarding.model import (
    Cadence,
    Carried,
    Channel,
    DeadLetter,
    DeliveryState,
    Preference,
    Trace,
    Weekday,
    Whereabouts,
)
from kit.http import Caller

LARGEST = 2**63 - 1


class SftpAsked(BaseModel):
    """Where files go: `host_key` is the host's own, as a known_hosts file has it."""

    model_config = ConfigDict(extra="forbid")
    host: str
    port: int = 22
    user: str
    directory: str = "."
    host_key: str


class PreferencesAsked(BaseModel):
    """How and when the caller wants its records.

    `at` is a time of day in `time_zone`; hourly, its minute. `weekday` is for weekly and
    `day_of_month` for monthly deliveries, where a month that is too short has its last day.
    """

    model_config = ConfigDict(extra="forbid")
    channel: Channel = Channel.HTTP
    cadence: Cadence = Cadence.AT_ONCE
    time_zone: str = "UTC"
    at: str = "00:00"
    weekday: Weekday = Weekday.MONDAY
    day_of_month: int = 1
    sftp: SftpAsked | None = None


class PreferencesShown(PreferencesAsked):
    """`next_due`: when a record that is booked now would go, unless it is at once."""

    next_due: datetime | None
    sftp_public_key: str | None
    changed_at: datetime | None


class AcknowledgementAsked(BaseModel):
    """A `next_cursor` of GET /cdrs."""

    model_config = ConfigDict(extra="forbid")
    cursor: str


class AcknowledgementShown(BaseModel):
    """Everything up to `cursor` is confirmed; `cdrs` of it by this call."""

    cursor: str | None
    cdrs: int
    acknowledged_at: datetime


class KeyAsked(BaseModel):
    """`operator` is the caller where it is left out."""

    model_config = ConfigDict(extra="forbid")
    cdr_id: Annotated[str, Field(min_length=1, max_length=64)]
    operator: str | None = None


class LookUpAsked(BaseModel):
    model_config = ConfigDict(extra="forbid")
    cdrs: Annotated[list[KeyAsked], Field(max_length=flows.MOST_LOOKED_UP)]


class TraceShown(BaseModel):
    """Where a record is; what does not apply is null. Errors are for its EVSP alone to see."""

    operator: str
    cdr_id: str
    state: Whereabouts
    evsp: str | None = None
    booked_at: datetime | None = None
    next_due: datetime | None = None
    delivery_id: str | None = None
    delivered_at: datetime | None = None
    body_sha256: str | None = None
    attempts: int | None = None
    next_attempt_at: datetime | None = None
    last_error: str | None = None
    dead_lettered_at: datetime | None = None
    acknowledged_at: datetime | None = None


class LookUpShown(BaseModel):
    """In the order in which was asked."""

    cdrs: list[TraceShown]


class CarriedKey(BaseModel):
    operator: str
    cdr_id: str


class DeliveryShown(BaseModel):
    """A delivery that has arrived. What was said to whom is for its EVSP alone to see.

    `cdrs` are the caller's own: to an EVSP all that were in it. `log_position` is that of its event
    in the hub's hash chain.
    """

    delivery_id: str
    evsp: str
    channel: Channel
    cdrs: list[CarriedKey]
    delivered_at: datetime
    attempts: int
    body_sha256: str | None
    log_position: int
    host: str | None = None
    answer_status: int | None = None
    answer_says: str | None = None
    answer_sha256: str | None = None
    receipt: Any = None


class DeliveryPage(BaseModel):
    """`next_cursor` goes on from here, also tomorrow. An operator's page may hold few: go on."""

    deliveries: list[DeliveryShown]
    next_cursor: str


class DeliveryStateShown(BaseModel):
    """How the caller's line stands. `next_due`: when what waits will be sent at the earliest."""

    undelivered: int
    oldest_booked_at: datetime | None
    next_due: datetime | None
    under_way: str | None
    attempts: int
    last_error: str | None
    next_attempt_at: datetime | None
    dead_letters: int


class ReplaysAsked(BaseModel):
    """Either `ids` or `all`."""

    model_config = ConfigDict(extra="forbid")
    ids: Annotated[
        list[Annotated[int, Field(ge=0, le=LARGEST)]], Field(max_length=flows.MOST_REPLAYED)
    ] = []
    all: bool = False


class ReplaysShown(BaseModel):
    """How many were not on their way already."""

    asked: int


class DeadLetterShown(BaseModel):
    """A CDR that the caller's endpoint refused with `status`; `says` is how its answer began."""

    dead_letter_id: int
    operator: str
    cdr_id: str
    status: int
    says: str
    refused_at: datetime
    replay_requested_at: datetime | None
    delivered_at: datetime | None


class DeadLetterPage(BaseModel):
    dead_letters: list[DeadLetterShown]


def preference_shown(wish: Preference, public_key: str | None, now: datetime) -> PreferencesShown:
    schedule, place = wish.schedule, wish.sftp
    in_runs = wish.channel is not Channel.PULL and schedule.cadence is not Cadence.AT_ONCE
    return PreferencesShown(
        channel=wish.channel,
        cadence=schedule.cadence,
        time_zone=schedule.time_zone,
        at=schedule.at.isoformat("minutes"),
        weekday=schedule.weekday,
        day_of_month=schedule.day_of_month,
        sftp=None
        if place is None
        else SftpAsked(
            host=place.host,
            port=place.port,
            user=place.user,
            directory=place.directory,
            host_key=place.host_key,
        ),
        next_due=wish.due(now) if in_runs else None,
        sftp_public_key=public_key,
        changed_at=wish.changed_at,
    )


def trace_shown(trace: Trace, wish: Preference | None, caller: Caller) -> TraceShown:
    state = trace.whereabouts
    shown = TraceShown(operator=trace.operator, cdr_id=trace.cdr_id, state=state)
    if trace.booked_at is None:
        return shown
    shown.evsp, shown.booked_at = trace.evsp, trace.booked_at
    shown.acknowledged_at = trace.acknowledged_at
    match state:
        case Whereabouts.WAITING if wish is not None and wish.channel is not Channel.PULL:
            shown.next_due = wish.due(trace.booked_at)
        case Whereabouts.DELIVERED:
            shown.delivery_id, shown.delivered_at = trace.delivery_id, trace.delivered_at
            shown.body_sha256 = _hex(trace.body_sha256)
        case Whereabouts.UNDER_WAY:
            shown.delivery_id, shown.attempts = trace.open_delivery_id, trace.attempts
            shown.next_attempt_at = trace.next_attempt_at
            if caller.party == trace.evsp:
                shown.last_error = trace.last_error
        case Whereabouts.DEAD_LETTERED:
            shown.dead_lettered_at = trace.dead_lettered_at
    return shown


def carried_shown(one: Carried, *, to_evsp: bool) -> DeliveryShown:
    proof = one.proof
    shown = DeliveryShown(
        delivery_id=one.delivery_id,
        evsp=one.evsp,
        channel=one.channel,
        cdrs=[CarriedKey(operator=operator, cdr_id=cdr_id) for operator, cdr_id in one.keys],
        delivered_at=one.delivered_at,
        attempts=one.attempts,
        body_sha256=None if proof is None else proof.body_sha256.hex(),
        log_position=one.cursor.position,
    )
    if to_evsp:
        shown.answer_status, shown.answer_says = one.status, one.says
        if proof is not None:
            shown.host, shown.receipt = proof.host, proof.receipt
            shown.answer_sha256 = _hex(proof.answer_sha256)
    return shown


def state_shown(state: DeliveryState, wish: Preference) -> DeliveryStateShown:
    oldest = state.oldest_booked_at
    waits = oldest is not None and wish.channel is not Channel.PULL
    return DeliveryStateShown(
        undelivered=state.undelivered,
        oldest_booked_at=oldest,
        next_due=wish.due(oldest) if waits and oldest is not None else None,
        under_way=state.under_way,
        attempts=state.attempts,
        last_error=state.last_error,
        next_attempt_at=state.next_attempt_at,
        dead_letters=state.dead_letters,
    )


def _hex(digest: bytes | None) -> str | None:
    return None if digest is None else digest.hex()


def letter_shown(letter: DeadLetter) -> DeadLetterShown:
    return DeadLetterShown(
        dead_letter_id=letter.dead_letter_id,
        operator=letter.operator,
        cdr_id=letter.cdr_id,
        status=letter.status,
        says=letter.says,
        refused_at=letter.refused_at,
        replay_requested_at=letter.replay_requested_at,
        delivered_at=letter.delivered_at,
    )
