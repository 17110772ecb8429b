"""HTTP for meters' keys: operators register them, whoever clears charges may read them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from clearinghouse.meter_values import flows
from clearinghouse.meter_values.model import MOST_KEYS
from clearinghouse.meter_values.ports import Evses, Keys
from kit.clock import Clock
from kit.database import Database
from kit.http import Caller, caller_with, json_response
from kit.idempotency import once
from roaming.evse_id import EvseId


class MeterKeysAsked(BaseModel):
    """SubjectPublicKeyInfo: DER in hex or base64, or PEM. An empty list trusts none any more."""

    model_config = ConfigDict(extra="forbid")

    public_keys: Annotated[list[str], Field(max_length=MOST_KEYS)]


class MeterKeysShown(BaseModel):
    """Keys in DER, as hex."""

    evse_id: str
    public_keys: list[str]


def router(keys: Keys, evses: Evses, database: Database, clock: Clock) -> APIRouter:
    """Routes under `/meter-keys`."""
    routes = APIRouter(prefix="/meter-keys", tags=["clearing house: meter values"])

    @routes.put("/{evse_id}", response_model=MeterKeysShown)
    async def register_meter_keys(
        request: Request,
        evse_id: str,
        asked: MeterKeysAsked,
        caller: Annotated[Caller, Depends(caller_with("evse-operator"))],
    ) -> Response:
        """The keys of an own EVSE's meter, all of them; from now on, only these are trusted."""

        async def register() -> Response:
            evse = EvseId(evse_id)
            registered = await flows.register(
                evse,
                asked.public_keys,
                operator=caller.party,
                keys=keys,
                evses=evses,
                clock=clock,
            )
            shown = MeterKeysShown(evse_id=evse.display, public_keys=list(registered))
            return json_response(shown.model_dump(mode="json"))

        return await once(request, register, database=database, party=caller.party, clock=clock)

    @routes.get("/{evse_id}")
    async def show_meter_keys(
        evse_id: str, _: Annotated[Caller, Depends(caller_with("evse-operator", "evsp"))]
    ) -> MeterKeysShown:
        """The keys of an EVSE's meter: public ones, for whoever is to pay by it."""
        evse = EvseId(evse_id)
        found = await flows.show(evse, keys)
        return MeterKeysShown(evse_id=evse.display, public_keys=list(found))

    return routes
