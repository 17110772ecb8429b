"""Signed calls as events: the log cannot be changed without being found out."""

from __future__ import annotations

import structlog

from gateway.signing.model import SignedCall
from gateway.usage.model import NotRecorded
from kit import actor
from kit.database import Database
from kit.event_log import NewEvent, append
from kit.server_away import AWAY
from roaming.events import EventType

log = structlog.get_logger(__name__)


class EvidenceLog:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, signed: SignedCall) -> None:
        try:
            async with self._database.hot() as connection:
                await append(connection, [_event(signed)])
        except AWAY as error:
            log.warning("signed call not kept", request_id=signed.request_id, error=repr(error))
            raise NotRecorded(
                "the signed call cannot be kept now", rule="try again shortly"
            ) from None


def _event(signed: SignedCall) -> NewEvent:
    return NewEvent(
        stream=f"signed-calls:{signed.caller}",
        type=EventType.CALL_SIGNED,
        party=signed.caller,
        body={
            "request_id": signed.request_id,
            "caller": signed.caller,
            "client_id": signed.client_id,
            "provider": signed.provider,
            "service": signed.service,
            "major": signed.major,
            "operation": signed.operation[:200],
            "contract_id": signed.contract_id,
            "sandbox": signed.sandbox,
            "status": signed.status,
            "request_sha256": signed.request.digest,
            "request_signature": signed.request.text,
            "request_key": dict(signed.request.key),
            "answer_sha256": signed.answer_digest,
            "answer_signature": signed.answer_signature,
        },
        occurred_at=signed.at,
        correlation_id=signed.request_id,
        actor=actor.client(signed.client_id),
    )
