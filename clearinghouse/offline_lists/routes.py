"""HTTP for offline lists: an EVSP says who may have its list, an operator reads what it may use."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from clearinghouse.offline_lists import flows, model
from clearinghouse.offline_lists.model import Consent, Page, Place, Stage, UpdateType
from clearinghouse.offline_lists.ports import Agreements, OfflineLists
from kit.clock import Clock
from kit.database import Database
from kit.encoding import encode_json
from kit.http import NOT_JSON, Caller, caller_of, json_response, page_link
from kit.idempotency import once
from roaming.identifier import BadIdentifier
from roaming.party import PartyId

NDJSON = "application/x-ndjson"
EVERY_OPERATOR = "all"


class Format(StrEnum):
    GRIDROAM = "gridroam"
    OCPP16 = "ocpp1.6"


class ConsentAsked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    consent: bool


class ConsentShown(BaseModel):
    """`operator` is `all` where it is about each that has an agreement and no word of its own."""

    operator: str
    consent: bool

    @classmethod
    def of(cls, consent: Consent) -> ConsentShown:
        return cls(operator=consent.operator or EVERY_OPERATOR, consent=consent.given)


class EntryShown(BaseModel):
    token_uid: str
    contract_id: str
    evsp: str
    valid_until: datetime | None


class OfflineListShown(BaseModel):
    """`entries` are new or different, or all there are; `removed` are to be forgotten."""

    version: int
    update_type: UpdateType
    made_at: datetime
    entries: list[EntryShown]
    removed: list[str]


class Ocpp16ListShown(BaseModel):
    """`send_local_list` is a SendLocalList.req of OCPP 1.6; its cards are of 20 characters at most.

    `left_out`: how many longer ones this page would have had.
    """

    version: int
    update_type: UpdateType
    send_local_list: dict[str, Any]
    left_out: int


_VERSION_MOST = 2**63 - 1
_Version = Annotated[int, msgspec.Meta(ge=0, le=_VERSION_MOST)]


class _Cursor(msgspec.Struct, array_like=True):
    version: _Version
    since: _Version | None
    evsp: str
    stage: Stage
    key: tuple[str, str] | None


def _holding(role: str) -> Callable[[Request], Caller]:
    def holding(request: Request) -> Caller:
        caller = caller_of(request)
        caller.must_be(role)
        return caller

    return holding


Evsp = Annotated[Caller, Depends(_holding("evsp"))]
Operator = Annotated[Caller, Depends(_holding("evse-operator"))]


def router(
    lists: OfflineLists, agreements: Agreements, database: Database, clock: Clock
) -> APIRouter:
    """`/offline-consents` and `/offline-list`."""
    routes = APIRouter(tags=["clearing house: offline lists"])

    @routes.get("/offline-consents")
    async def list_offline_consents(caller: Evsp) -> list[ConsentShown]:
        """Which operators may have the caller's list. Whoever is not named may not."""
        found = await flows.consents(caller=caller.party, lists=lists)
        return [ConsentShown.of(one) for one in found]

    @routes.put("/offline-consents/{operator}", response_model=ConsentShown)
    async def choose_offline_consent(
        request: Request, operator: str, asked: ConsentAsked, caller: Evsp
    ) -> Response:
        """Let an operator, or `all`, have the caller's list for its charge points, or no longer.

        What is withdrawn shows as removals the next time that the operator asks.
        """

        async def choose() -> Response:
            whom = None if operator == EVERY_OPERATOR else PartyId(operator)
            given = await flows.consent(
                Consent(whom, asked.consent), caller=caller.party, lists=lists, clock=clock
            )
            return json_response(ConsentShown.of(given).model_dump(mode="json"))

        return await once(request, choose, database=database, party=caller.party, clock=clock)

    @routes.get("/offline-list", response_model=OfflineListShown | Ocpp16ListShown)
    async def read_offline_list(
        request: Request,
        caller: Operator,
        since_version: Annotated[int | None, Query(ge=0, le=_VERSION_MOST)] = None,
        form: Annotated[Format, Query(alias="format")] = Format.GRIDROAM,
        limit: Annotated[int, Query(ge=1, le=1000, description="contracts a page")] = 500,
        cursor: str | None = None,
    ) -> Response:
        """The cards that the caller's charge points may accept while they cannot ask.

        Since a version: what differs from it; the full list where that version is too old. `Link`
        names the next page; a page may be short. With `Accept: application/x-ndjson` all pages come
        as one stream, an object a line, the last of them `{"complete": true, …}`.
        """
        known: dict[str, Any] = {
            "caller": caller.party,
            "lists": lists,
            "agreements": agreements,
            "clock": clock,
            "limit": limit,
        }
        if cursor is None:
            page = await flows.read(since_version, **known)
        else:
            asked = _cursor(cursor)
            place = Place(PartyId(asked.evsp), asked.stage, asked.key)
            page = await flows.read_on(asked.version, asked.since, place, **known)
        if form is Format.GRIDROAM and NDJSON in request.headers.get("accept", ""):
            return StreamingResponse(_lines(flows.whole(page, **known)), media_type=NDJSON)
        link = {} if page.after is None else page_link(request, _to_cursor(page, page.after))
        shown = _ocpp16(page) if form is Format.OCPP16 else _shown(page)
        return json_response(shown.model_dump(mode="json"), headers=link)

    return routes


def _shown(page: Page) -> OfflineListShown:
    return OfflineListShown(
        version=page.version.number,
        update_type=page.update_type,
        made_at=page.version.made_at,
        entries=[
            EntryShown(
                token_uid=str(one.token_uid),
                contract_id=str(one.contract_id),
                evsp=str(one.evsp),
                valid_until=one.valid_until,
            )
            for one in page.entries
        ],
        removed=[str(uid) for uid in page.removed],
    )


def _ocpp16(page: Page) -> Ocpp16ListShown:
    fitting = [one for one in page.entries if model.fits_ocpp16(one.token_uid)]
    authorised: list[dict[str, Any]] = []
    for one in fitting:
        info = {"status": "Accepted", "parentIdTag": str(one.contract_id)}
        if one.valid_until is not None:
            info["expiryDate"] = one.valid_until.strftime("%Y-%m-%dT%H:%M:%SZ")
        authorised.append({"idTag": str(one.token_uid), "idTagInfo": info})
    authorised += [{"idTag": str(uid)} for uid in page.removed if model.fits_ocpp16(uid)]
    return Ocpp16ListShown(
        version=page.version.number,
        update_type=page.update_type,
        send_local_list={
            "listVersion": page.version.number,
            "updateType": page.update_type.capitalize(),
            "localAuthorizationList": authorised,
        },
        left_out=len(page.entries) - len(fitting),
    )


async def _lines(pages: AsyncIterator[Page]) -> AsyncIterator[bytes]:
    entries = removed = 0
    async for page in pages:
        if not (entries or removed):
            yield _line(version=page.version.number, update_type=page.update_type)
        shown = _shown(page).model_dump(mode="json")
        yield b"".join(_line(**one) for one in shown["entries"])
        yield b"".join(_line(token_uid=one, removed=True) for one in shown["removed"])
        entries += len(page.entries)
        removed += len(page.removed)
    yield _line(complete=True, entries=entries, removed=removed)


def _line(**members: Any) -> bytes:
    return encode_json(members) + b"\n"


def _to_cursor(page: Page, after: Place) -> str:
    since = None if page.since is None else page.since.number
    cursor = _Cursor(page.version.number, since, str(after.evsp), after.stage, after.key)
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode()


def _cursor(text: str) -> _Cursor:
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(text), type=_Cursor)
        PartyId(found.evsp)
        if found.key is not None and found.stage in (Stage.CHANGED, Stage.GIVEN_UP):
            msgspec.convert(int(found.key[0]), _Version)
        elif found.key is not None and found.stage is Stage.BEGUN:
            datetime.fromisoformat(found.key[0]).astimezone(UTC)
    except (*NOT_JSON, binascii.Error, BadIdentifier, ValueError, OverflowError):
        raise model.BadCursor(
            "this is no cursor of this list", field="cursor", value=text[:60], rule="a Link's own"
        ) from None
    return found
