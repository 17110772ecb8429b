"""The frames of OCPP-J 1.6 (section 4): CALL, CALLRESULT and CALLERROR, and the types in them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any

import msgspec
from ocpp import exceptions

from kit.http import NOT_JSON

CALL, CALL_RESULT, CALL_ERROR = 2, 3, 4
LONGEST_UNIQUE_ID = 36
# A CALLERROR must name the call it answers; one that cannot be read has no name. OCPP 2.0.1 part 4
# section 4.2.3 settles on this one, which is no id that a charge point would use.
NO_ID = "-1"

FORMATION = exceptions.FormationViolationError.code
PROPERTY = exceptions.PropertyConstraintViolationError.code
# Spelt with one r on the wire: errata sheet OCPP-J 1.6, section 5.1 ("do not fix").
OCCURRENCE = exceptions.OccurenceConstraintViolationError.code
TYPE = exceptions.TypeConstraintViolationError.code
NOT_IMPLEMENTED = exceptions.NotImplementedError.code
NOT_SUPPORTED = exceptions.NotSupportedError.code
GENERIC = exceptions.GenericError.code
INTERNAL = exceptions.InternalError.code

_ID_AT_START = re.compile(r'\s*\[\s*2\s*,\s*"([^"\\]{1,36})"')
_SHOWN_MOST = 100


class CallRefused(Exception):
    """A call that is answered with a CALLERROR: which field, which value, and the rule it breaks.

    The value of a card's number is never shown: this is written to the log as well.
    """

    def __init__(
        self, code: str, rule: str, *, field: str, value: object = None, unique_id: str = NO_ID
    ) -> None:
        super().__init__(rule)
        self.code = code
        self.rule = rule
        self.field = field
        secret = field.lower().endswith(("idtag", "data"))
        self.value = None if value is None or secret else _shown(value)
        self.unique_id = unique_id

    @property
    def error(self) -> dict[str, Any]:
        """As the log keeps it. A description has at most 255 characters."""
        said = "" if self.value is None else f" is {self.value}"
        details = {"field": self.field, "value": self.value, "rule": self.rule}
        return {
            "code": self.code,
            "description": f"{self.field}{said}: {self.rule}"[:255],
            "details": {name: one for name, one in details.items() if one is not None},
        }


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_MOST else f"{text[:_SHOWN_MOST]}…"


@dataclass(frozen=True, slots=True)
class Heard:
    """A frame whose envelope is in order. `action` is None for what is no call."""

    kind: object
    unique_id: str
    action: str | None
    payload: Any


def read(text: str) -> Heard:
    """The frame. CallRefused says what its envelope lacks."""
    # PostgreSQL keeps no NUL in its texts, and no charge point has a use for one.
    if "\\u0000" in text:
        raise CallRefused(
            FORMATION, "texts without U+0000", field="message", unique_id=unique_id_of(text)
        )
    try:
        frame = msgspec.json.decode(text)
    except NOT_JSON as error:
        raise CallRefused(
            FORMATION, f"JSON (RFC 8259): {error}"[:200], field="message", value=text[:40]
        ) from None
    if not isinstance(frame, list) or not frame:
        raise CallRefused(
            FORMATION, 'an array [2, "<id>", "<action>", {…}]', field="message", value=frame
        )
    kind = frame[0]
    unique_id = frame[1] if len(frame) > 1 else None
    if kind != CALL or isinstance(kind, bool):
        return Heard(kind, unique_id if isinstance(unique_id, str) else NO_ID, None, frame[2:])
    if not isinstance(unique_id, str) or not 0 < len(unique_id) <= LONGEST_UNIQUE_ID:
        raise CallRefused(
            FORMATION,
            f"a text of 1 to {LONGEST_UNIQUE_ID} characters",
            field="UniqueId",
            value=unique_id,
            unique_id=unique_id if isinstance(unique_id, str) and unique_id else NO_ID,
        )
    if len(frame) != 4:
        raise CallRefused(
            FORMATION,
            'four elements: [2, "<id>", "<action>", {…}]',
            field="message",
            value=len(frame),
            unique_id=unique_id,
        )
    action, payload = frame[2], frame[3]
    if not isinstance(action, str):
        raise CallRefused(
            FORMATION, "the name of a message", field="Action", value=action, unique_id=unique_id
        )
    # Section 4.2.1: no payload may be written as null or as {}.
    payload = {} if payload is None else payload
    if not isinstance(payload, dict):
        raise CallRefused(
            FORMATION,
            "an object",
            field="Payload",
            value=type(payload).__name__,
            unique_id=unique_id,
        )
    return Heard(kind, unique_id, action, payload)


def unique_id_of(text: str) -> str:
    """The id of a call that is not read any further, or NO_ID."""
    found = _ID_AT_START.match(text)
    return NO_ID if found is None else found[1]


def call_result(unique_id: str, payload: Mapping[str, Any]) -> str:
    return msgspec.json.encode([CALL_RESULT, unique_id, payload]).decode()


def call_error(unique_id: str, error: Mapping[str, Any]) -> str:
    frame = [CALL_ERROR, unique_id, error["code"], error["description"], error["details"]]
    return msgspec.json.encode(frame).decode()


def moment(field: str, text: str) -> datetime:
    """A time in UTC. CallRefused when it is none.

    OCPP 1.6 section 3.15: ISO 8601, with fractions and offsets. One without an offset is taken for
    UTC, as section 3.14 recommends to send it.
    """
    try:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        at = None
    if at is None or not 1970 <= at.year <= 2200:
        raise CallRefused(PROPERTY, "ISO 8601 date and time, 1970 to 2200", field=field, value=text)
    return at


def shown_moment(at: datetime) -> str:
    """As charge points read it: UTC, `Z`, milliseconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def to_request(kind: Any, payload: Mapping[str, Any]) -> Any:
    """A payload that its schema has passed, as the `ocpp` package's dataclass."""
    names = _fields(kind)
    return kind(**{names[name]: value for name, value in payload.items()})


def to_payload(result: Any) -> dict[str, Any]:
    """The `ocpp` package's dataclass as it goes out; what is None stays at home."""
    payload = {}
    kind: Any = type(result)
    for name, field in _fields(kind).items():
        value = getattr(result, field)
        if value is None:
            continue
        if isinstance(value, Enum):
            value = value.value
        payload[name] = to_payload(value) if dataclasses.is_dataclass(value) else value
    return payload


@cache
def _fields(kind: Any) -> Mapping[str, str]:
    """The specification's name of each field, and Python's."""
    return {_camel(field.name): field.name for field in dataclasses.fields(kind)}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
