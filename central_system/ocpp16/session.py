"""One connection with a charge point: each message in its turn, each answer after its commit."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from central_system.ocpp16 import wire
from central_system.ocpp16.conversation import Conversation, Desk, Work
from central_system.ocpp16.ports import Entry, Journal
from central_system.ocpp16.routing import route_of
from central_system.ocpp16.wire import CallRefused, Heard
from central_system.stations.model import Station
from central_system.stations.ports import Stations
from kit.encoding import encode_json

log = structlog.get_logger(__name__)

SIGN_OF_LIFE_EVERY_S = 30.0
# In a message that was refused anything may stand anywhere.
_PERSONAL = frozenset({"idtag", "parentidtag", "data"})
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Limits:
    """What one charge point may ask of us, and one operator.

    Messages above `messages_per_s`, once `messages_burst` are used up, get a CALLERROR and nothing
    else; of them only the first is logged, since a flood must not become a flood of commits.
    """

    message_bytes: int = 64 * 1024
    messages_per_s: float = 100.0
    messages_burst: int = 200
    connections_of_operator: int = 20_000


class Session:
    """Turns texts into answers. One caller at a time: a station's messages keep their order."""

    def __init__(
        self, station: Station, *, stations: Stations, desk: Desk, journal: Journal, limits: Limits
    ) -> None:
        self.ref = station.ref
        # Set from outside when the operator has enrolled the station anew.
        self.outdated = False
        self._conversation = Conversation.with_station(station)
        self._stations = stations
        self._desk = desk
        self._journal = journal
        self._limits = limits
        self._allowance = float(limits.messages_burst)
        self._refilled_at = time.monotonic()
        self._flooding = False
        self._alive_told_at = 0.0

    async def answer(self, message: str | bytes) -> str | None:
        """The answer to a message, or None where none is due."""
        received_at = self._desk.clock()
        if not self._take_allowance():
            return self._flooded(message)
        try:
            text = self._text_of(message)
            heard = wire.read(text)
        except CallRefused as refused:
            return await self._refuse(received_at, refused, refused.unique_id, _unread(message))
        if heard.action is None:
            await self._take_note(received_at, heard)
            return None
        logged = {"action": heard.action, "unique_id": heard.unique_id, "payload": heard.payload}
        try:
            work = await self._work(heard)
        except CallRefused as refused:
            return await self._refuse(received_at, refused, heard.unique_id, _loggable(logged))
        except Exception as error:  # noqa: BLE001  the station is told, the log has it all
            return self._failed(heard, error)
        entry = Entry(
            ref=self.ref,
            received_at=received_at,
            unique_id=heard.unique_id,
            heard=logged,
            effect=work.effect,
            answer=lambda kept: {"payload": wire.to_payload(work.reply(kept))},
            personal=work.personal,
            alive=self._is_news(),
        )
        try:
            answer = await self._journal.write(entry)
        except Exception as error:  # noqa: BLE001  not on disk: the station shall send it again
            return self._failed(heard, error)
        assert answer is not None
        return wire.call_result(heard.unique_id, answer["payload"])

    async def _work(self, heard: Heard) -> Work:
        assert heard.action is not None
        route = route_of(heard.action)
        request = route.check(heard.payload)
        if self.outdated:
            self.outdated = False
            station = await self._stations.find(self.ref)
            if station is not None:
                self._conversation.learn(station)
        return await route.handle(request, self._conversation, self._desk)

    def _text_of(self, message: str | bytes) -> str:
        # A character has at least one byte, so the count of bytes is only made near the limit.
        most = self._limits.message_bytes
        size = len(message)
        if size <= most and isinstance(message, str) and size * 4 > most:
            size = len(message.encode())
        if size > most:
            start = message[:100]
            start = start if isinstance(start, str) else start.decode("utf-8", "replace")
            raise CallRefused(
                wire.FORMATION,
                f"at most {most} bytes",
                field="message",
                value=size,
                unique_id=wire.unique_id_of(start),
            )
        if isinstance(message, str):
            return message
        # OCPP-J 1.6 section 4.1.2 wants UTF-8; that it comes in a text frame, WebSocket implies.
        try:
            return message.decode()
        except UnicodeDecodeError:
            raise CallRefused(wire.FORMATION, "UTF-8", field="message") from None

    def _take_allowance(self) -> bool:
        now = time.monotonic()
        self._allowance = min(
            float(self._limits.messages_burst),
            self._allowance + (now - self._refilled_at) * self._limits.messages_per_s,
        )
        self._refilled_at = now
        if self._allowance < 1.0:
            return False
        self._allowance -= 1.0
        self._flooding = False
        return True

    def _flooded(self, message: str | bytes) -> str:
        if not self._flooding:
            self._flooding = True
            log.warning("too many messages", **self._who)
        start = message[:100]
        text = start if isinstance(start, str) else start.decode("utf-8", "replace")
        refused = CallRefused(
            wire.GENERIC,
            f"at most {self._limits.messages_per_s:g} messages a second; send it again later",
            field="message",
        )
        return wire.call_error(wire.unique_id_of(text), refused.error)

    def _failed(self, heard: Heard, error: Exception) -> str:
        log.error("message failed", action=heard.action, **self._who, exc_info=error)
        return wire.call_error(
            heard.unique_id,
            {"code": wire.INTERNAL, "description": "send it again later", "details": {}},
        )

    async def _refuse(
        self,
        received_at: datetime,
        refused: CallRefused,
        unique_id: str,
        heard: Mapping[str, Any],
    ) -> str:
        error = refused.error
        log.info("message refused", code=refused.code, field=refused.field, **self._who)
        entry = Entry(
            ref=self.ref,
            received_at=received_at,
            # A text that is not sealed, so no longer than an id may be.
            unique_id=unique_id[: wire.LONGEST_UNIQUE_ID],
            heard=heard,
            effect=None,
            answer=lambda _: {"error": error},
            personal=_PERSONAL,
            alive=self._is_news(),
        )
        try:
            await self._journal.write(entry)
        except Exception as failure:
            log.error("refusal not logged", **self._who, exc_info=failure)
        return wire.call_error(unique_id, error)

    async def _take_note(self, received_at: datetime, heard: Heard) -> None:
        """A result of a call that we never made, or a message type that OCPP-J 1.6 does not know:
        section 4.1.3 has its payload ignored. It is in the log, and that is all."""
        kind = heard.kind if isinstance(heard.kind, int | str) else type(heard.kind).__name__
        note = {
            "action": None,
            "unique_id": heard.unique_id[: wire.LONGEST_UNIQUE_ID],
            "message_type": kind,
            "payload": heard.payload,
        }
        entry = Entry(
            ref=self.ref,
            received_at=received_at,
            unique_id=heard.unique_id[: wire.LONGEST_UNIQUE_ID],
            heard=_loggable(note),
            effect=None,
            answer=None,
            personal=_PERSONAL,
            alive=self._is_news(),
        )
        try:
            await self._journal.write(entry)
        except Exception as failure:
            log.error("message not logged", **self._who, exc_info=failure)

    def _is_news(self) -> bool:
        now = time.monotonic()
        if now - self._alive_told_at < SIGN_OF_LIFE_EVERY_S:
            return False
        self._alive_told_at = now
        return True

    @property
    def _who(self) -> dict[str, str]:
        return {"operator": self.ref.operator, "charge_point": self.ref.charge_point}


def _unread(message: str | bytes) -> dict[str, Any]:
    """What the log keeps of a message that cannot be read: it may name a card, so not its text."""
    raw = message if isinstance(message, bytes) else message.encode("utf-8", "replace")
    return {
        "action": None,
        "unique_id": None,
        "unread": {"size_bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()},
    }


def _loggable(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body, or what can be kept of one that holds a number beyond our JSON."""
    try:
        encode_json(body)
    except (OverflowError, ValueError, TypeError):
        return {**body, "payload": {"unread": repr(type(body.get("payload")).__name__)}}
    return body
