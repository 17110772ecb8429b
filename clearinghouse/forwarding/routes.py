"""HTTP for forwarding: how and when an EVSP wants its records, where they are, what proves it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, status
from starlette.requests import Request
from starlette.responses import Response

from clearinghouse.forwarding import flows, model
from clearinghouse.forwarding.model import (
    BadPreference,
    Place,
    Preference,
    Whereabouts,
)
from clearinghouse.forwarding.ports import Outbox, Preferences
from clearinghouse.forwarding.shapes import (
    LARGEST,
    AcknowledgementAsked,
    AcknowledgementShown,
    DeadLetterPage,
    DeadLetterShown,
    DeliveryPage,
    DeliveryStateShown,
    LookUpAsked,
    LookUpShown,
    PreferencesAsked,
    PreferencesShown,
    ReplaysAsked,
    ReplaysShown,
    carried_shown,
    letter_shown,
    preference_shown,
    state_shown,
    trace_shown,
)
from kit.clock import Clock
from kit.database import Database
from kit.event_log import Cursor
from kit.http import Caller, caller_of, json_response, page_link
from kit.idempotency import once
from roaming.party import PartyId


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
        return preference_shown(
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
            return json_response(preference_shown(*kept, clock()).model_dump(mode="json"))

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
            deliveries=[carried_shown(one, to_evsp=is_evsp) for one in found],
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
                trace_shown(one, wishes.get(one.evsp) if one.evsp else None, caller)
                for one in traces
            ]
        )

    @routes.get("/delivery-state", operation_id="show-delivery-state")
    async def show_state(caller: Annotated[Caller, Depends(caller_of)]) -> DeliveryStateShown:
        """How the line to the caller stands: what waits, since when, and why."""
        caller.must_be("evsp")
        state = await outbox.state(caller.party)
        return state_shown(state, await preferences.of(caller.party))


def _add_dead_letters(routes: APIRouter, outbox: Outbox, database: Database, clock: Clock) -> None:

    @routes.get("/dead-letters", response_model=DeadLetterPage, operation_id="list-dead-letters")
    async def list_dead_letters(
        request: Request,
        caller: Annotated[Caller, Depends(caller_of)],
        cursor: Annotated[int, Query(ge=0, le=LARGEST)] = 0,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    ) -> Response:
        """CDRs that the caller's endpoint refused, oldest first, also those delivered since."""
        caller.must_be("evsp")
        found = await flows.list_dead_letters(
            caller.party, after=cursor, limit=limit, outbox=outbox
        )
        page = DeadLetterPage(dead_letters=[letter_shown(one) for one in found])
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
        dead_letter_id: Annotated[int, Path(ge=0, le=LARGEST)],
        caller: Annotated[Caller, Depends(caller_of)],
    ) -> DeadLetterShown:
        """Have it sent again, under a new delivery id. Asking twice is asking once."""
        caller.must_be("evsp")
        return letter_shown(
            await flows.replay(caller.party, dead_letter_id, outbox=outbox, clock=clock)
        )


def _place(cursor: str) -> Place:
    try:
        place = Place(*Cursor.parse(cursor))
        if not all(0 <= number <= LARGEST for number in place):
            raise ValueError(cursor)
    except ValueError:
        raise BadPreference(
            "this is no cursor", field="cursor", value=cursor, rule="a cursor of an earlier page"
        ) from None
    return place
