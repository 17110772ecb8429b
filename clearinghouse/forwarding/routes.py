"""HTTP for forwarding: how and when an EVSP wants its records, where they are, what proves it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, status
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from clearinghouse.forwarding import flows, model
from clearinghouse.forwarding.model import (
    BadPreference,
    Cadence,
    Carried,
    Channel,
    DeadLetter,
    DeliveryState,
    Place,
    Preference,
    Trace,
    Weekday,
    Whereabouts,
)
from clearinghouse.forwarding.ports import Outbox, Preferences
from kit.clock import Clock
from kit.database import Database
from kit.event_log import Cursor
from kit.http import Caller, caller_of, json_response, page_link
from kit.idempotency import once
from roaming.party import PartyId

_LARGEST = 2**63 - 1


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
        list[Annotated[int, Field(ge=0, le=_LARGEST)]], Field(max_length=flows.MOST_REPLAYED)
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


def router(
    outbox: Outbox,
    preferences: Preferences,
    *,
    database: Database,
    clock: Clock,
    allow_loopback: bool,
) -> APIRouter:
    """Each EVSP has its own preferences, deliveries and dead letters."""
    routes = APIRouter(tags=["clearing-house: forwarding"])
    _add_preferences(routes, preferences, database, clock, allow_loopback=allow_loopback)
    _add_proofs(routes, outbox, preferences, database, clock)
    _add_dead_letters(routes, outbox, database, clock)
    return routes


def _add_preferences(
    routes: APIRouter,
    preferences: Preferences,
    database: Database,
    clock: Clock,
    *,
    allow_loopback: bool,
) -> None:
    @routes.get("/delivery-preferences", operation_id="show-delivery-preferences")
    async def show_preferences(
        caller: Annotated[Caller, Depends(caller_of)],
    ) -> PreferencesShown:
        """How and when the caller gets its records; at once over HTTP where it has not said."""
        caller.must_be("evsp")
        return _preference_shown(
            *await flows.show_preference(caller.party, preferences=preferences), clock()
        )

    @routes.put(
        "/delivery-preferences",
        response_model=PreferencesShown,
        operation_id="choose-delivery-preferences",
    )
    async def choose(
        request: Request,
        asked: PreferencesAsked,
        caller: Annotated[Caller, Depends(caller_of)],
    ) -> Response:
        """Say how and when the caller gets its records: all at once, or in runs on its own clock.

        With `sftp`, authorise the `sftp_public_key` of the answer at the host.
        """
        caller.must_be("evsp")
        place = asked.sftp
        wish = Preference(
            channel=asked.channel,
            schedule=model.schedule(
                asked.cadence,
                time_zone=asked.time_zone,
                at=asked.at,
                weekday=asked.weekday,
                day_of_month=asked.day_of_month,
            ),
            sftp=None if place is None else model.sftp_place(**place.model_dump()),
        )

        async def run() -> Response:
            kept = await flows.choose(
                caller.party, wish, preferences=preferences, allow_loopback=allow_loopback
            )
            return json_response(_preference_shown(*kept, clock()).model_dump(mode="json"))

        return await once(request, run, database=database, party=caller.party, clock=clock)


def _add_proofs(
    routes: APIRouter,
    outbox: Outbox,
    preferences: Preferences,
    database: Database,
    clock: Clock,
) -> None:
    @routes.post(
        "/cdrs/acknowledgements",
        response_model=AcknowledgementShown,
        operation_id="acknowledge-cdrs",
    )
    async def acknowledge(
        request: Request,
        asked: AcknowledgementAsked,
        caller: Annotated[Caller, Depends(caller_of)],
    ) -> Response:
        """Confirm that the caller has received all its CDRs up to a cursor of GET /cdrs."""
        caller.must_be("evsp")
        up_to = _place(asked.cursor)

        async def run() -> Response:
            done = await flows.acknowledge(caller.party, up_to, outbox=outbox, clock=clock)
            shown = AcknowledgementShown(
                cursor=None if done.up_to is None else str(done.up_to),
                cdrs=done.cdrs,
                acknowledged_at=done.at,
            )
            return json_response(shown.model_dump(mode="json"))

        return await once(request, run, database=database, party=caller.party, clock=clock)

    @routes.get("/deliveries", response_model=DeliveryPage, operation_id="list-deliveries")
    async def list_deliveries(
        request: Request,
        caller: Annotated[Caller, Depends(caller_of)],
        cursor: str = "0-0",
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
        role: Annotated[Literal["evsp", "evse-operator"] | None, Query()] = None,
    ) -> Response:
        """Deliveries that have arrived, with what proves it: to an EVSP its own, and for an
        operator those with CDRs of its own in them. `role` is for a caller that is both."""
        caller.must_be(*([role] if role else ["evsp", "evse-operator"]))
        is_evsp = role != "evse-operator" and "evsp" in caller.roles
        after = _place(cursor)
        found, reached = await outbox.carried(
            evsp=caller.party if is_evsp else None,
            operator=None if is_evsp else caller.party,
            after=after,
            limit=limit,
        )
        page = DeliveryPage(
            deliveries=[_carried_shown(one, to_evsp=is_evsp) for one in found],
            next_cursor=str(reached),
        )
        more = str(reached) if reached != after else None
        return json_response(page.model_dump(mode="json"), headers=page_link(request, more))

    @routes.post("/deliveries/look-up", operation_id="look-up-deliveries")
    async def look_up(
        asked: LookUpAsked, caller: Annotated[Caller, Depends(caller_of)]
    ) -> LookUpShown:
        """Where are these CDRs? Of the caller's own, as operator or as EVSP; up to 1,000."""
        caller.must_be("evsp", "evse-operator")
        keys = [
            (caller.party if one.operator is None else PartyId(one.operator), one.cdr_id)
            for one in asked.cdrs
        ]
        for _, cdr_id in keys:
            if "\0" in cdr_id:
                raise BadPreference("a NUL character", field="cdrs", rule="texts without U+0000")
        traces = await flows.look_up(caller.party, keys, outbox=outbox)
        wishes = {
            evsp: await preferences.of(evsp)
            for evsp in {one.evsp for one in traces if one.whereabouts is Whereabouts.WAITING}
            if evsp is not None
        }
        return LookUpShown(
            cdrs=[
                _trace_shown(one, wishes.get(one.evsp) if one.evsp else None, caller)
                for one in traces
            ]
        )

    @routes.get("/delivery-state", operation_id="show-delivery-state")
    async def show_state(caller: Annotated[Caller, Depends(caller_of)]) -> DeliveryStateShown:
        """How the line to the caller stands: what waits, since when, and why."""
        caller.must_be("evsp")
        state = await outbox.state(caller.party)
        return _state_shown(state, await preferences.of(caller.party))


def _add_dead_letters(routes: APIRouter, outbox: Outbox, database: Database, clock: Clock) -> None:

    @routes.get("/dead-letters", response_model=DeadLetterPage, operation_id="list-dead-letters")
    async def list_dead_letters(
        request: Request,
        caller: Annotated[Caller, Depends(caller_of)],
        cursor: Annotated[int, Query(ge=0, le=_LARGEST)] = 0,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    ) -> Response:
        """CDRs that the caller's endpoint refused, oldest first, also those delivered since."""
        caller.must_be("evsp")
        found = await flows.list_dead_letters(
            caller.party, after=cursor, limit=limit, outbox=outbox
        )
        page = DeadLetterPage(dead_letters=[_shown(one) for one in found])
        more = str(found[-1].dead_letter_id) if len(found) == limit else None
        return json_response(page.model_dump(mode="json"), headers=page_link(request, more))

    @routes.post(
        "/dead-letters/replay",
        status_code=status.HTTP_202_ACCEPTED,
        response_model=ReplaysShown,
        operation_id="replay-dead-letters",
    )
    async def replay_many(
        request: Request,
        asked: ReplaysAsked,
        caller: Annotated[Caller, Depends(caller_of)],
    ) -> Response:
        """Have these sent again, or all; each under a new delivery id."""
        caller.must_be("evsp")
        if bool(asked.ids) == asked.all:
            raise BadPreference("which ones?", field="ids", rule="either ids, or all: true")

        async def run() -> Response:
            count = await flows.replay_many(
                caller.party, None if asked.all else asked.ids, outbox=outbox, clock=clock
            )
            return json_response(ReplaysShown(asked=count).model_dump(mode="json"), 202)

        return await once(request, run, database=database, party=caller.party, clock=clock)

    @routes.post(
        "/dead-letters/{dead_letter_id}/replay",
        status_code=status.HTTP_202_ACCEPTED,
        operation_id="replay-dead-letter",
    )
    async def replay(
        dead_letter_id: Annotated[int, Path(ge=0, le=_LARGEST)],
        caller: Annotated[Caller, Depends(caller_of)],
    ) -> DeadLetterShown:
        """Have it sent again, under a new delivery id. Asking twice is asking once."""
        caller.must_be("evsp")
        return _shown(await flows.replay(caller.party, dead_letter_id, outbox=outbox, clock=clock))


def _place(cursor: str) -> Place:
    try:
        place = Place(*Cursor.parse(cursor))
        if not all(0 <= number <= _LARGEST for number in place):
            raise ValueError(cursor)
    except ValueError:
        raise BadPreference(
            "this is no cursor", field="cursor", value=cursor, rule="a cursor of an earlier page"
        ) from None
    return place


def _preference_shown(wish: Preference, public_key: str | None, now: datetime) -> PreferencesShown:
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


def _trace_shown(trace: Trace, wish: Preference | None, caller: Caller) -> TraceShown:
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


def _carried_shown(one: Carried, *, to_evsp: bool) -> DeliveryShown:
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


def _state_shown(state: DeliveryState, wish: Preference) -> DeliveryStateShown:
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


def _shown(letter: DeadLetter) -> DeadLetterShown:
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
