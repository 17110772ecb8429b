"""Which message goes where: read this table, and you have read what is spoken here."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema_rs
import ocpp.v16
from ocpp.v16 import call

from central_system.ocpp16 import (
    authorize,
    boot_notification,
    data_transfer,
    heartbeat,
    meter_values,
    start_transaction,
    status_notification,
    stop_transaction,
)
from central_system.ocpp16.conversation import Conversation, Desk, Work
from central_system.ocpp16.wire import (
    FORMATION,
    NOT_IMPLEMENTED,
    NOT_SUPPORTED,
    OCCURRENCE,
    PROPERTY,
    TYPE,
    CallRefused,
    to_request,
)
from central_system.transactions.model import METER_MOST_WH

_SCHEMAS = Path(ocpp.v16.__file__).with_name("schemas")
# An integer of OCPP has 32 bits (xsd:int in OCPP-S 1.6); a register may be beyond that.
_INTEGER_MOST = 2**31 - 1

# The error for a rule of the schema that is broken (OCPP-J 1.6, table 7).
_CODES = {
    "type": TYPE,
    "maxLength": TYPE,
    "required": OCCURRENCE,
    "minItems": OCCURRENCE,
    "additionalProperties": FORMATION,
}


@dataclass(frozen=True, slots=True)
class Route:
    """One message: its type and schema from the `ocpp` package, and our handler."""

    request: Any
    schema: jsonschema_rs.Draft4Validator
    handle: Callable[[Any, Conversation, Desk], Awaitable[Work]]
    least: Mapping[str, int]

    def check(self, payload: Mapping[str, Any]) -> Any:
        """The request that this payload is. CallRefused names field, value and rule."""
        if not self.schema.is_valid(payload):
            raise _refusal(next(iter(self.schema.iter_errors(payload))))
        for name, value in payload.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                most = METER_MOST_WH if name.startswith("meter") else _INTEGER_MOST
                least = self.least.get(name, -most)
                if not least <= value <= most:
                    rule = f"an integer from {least} to {most}"
                    raise CallRefused(PROPERTY, rule, field=name, value=value)
        return to_request(self.request, payload)


def _route(
    request: Any, handle: Callable[[Any, Conversation, Desk], Awaitable[Work]], **least: int
) -> Route:
    schema = json.loads((_SCHEMAS / f"{request.__name__}.json").read_text("utf-8-sig"))
    # Times are read by wire.moment: `date-time` of the schema would refuse one without an offset.
    validator = jsonschema_rs.Draft4Validator(schema, validate_formats=False)
    return Route(request, validator, handle, least)


ROUTES: Mapping[str, Route] = {
    route.request.__name__: route
    for route in (
        _route(call.Authorize, authorize.handle),
        _route(call.BootNotification, boot_notification.handle),
        _route(call.DataTransfer, data_transfer.handle),
        _route(call.Heartbeat, heartbeat.handle),
        _route(call.MeterValues, meter_values.handle, connectorId=0),
        _route(call.StartTransaction, start_transaction.handle, connectorId=1),
        _route(call.StatusNotification, status_notification.handle, connectorId=0),
        _route(call.StopTransaction, stop_transaction.handle),
    )
}
# What OCPP 1.6 knows besides, here or at the other end.
KNOWN = frozenset(name for name, kind in vars(call).items() if dataclasses.is_dataclass(kind))


def route_of(action: str) -> Route:
    """Where a message goes. CallRefused: NotSupported if OCPP 1.6 knows it, else NotImplemented."""
    route = ROUTES.get(action)
    if route is not None:
        return route
    rule = f"one of {', '.join(ROUTES)}"
    code = NOT_SUPPORTED if action in KNOWN else NOT_IMPLEMENTED
    raise CallRefused(code, rule, field="Action", value=action)


def _refusal(error: jsonschema_rs.ValidationError) -> CallRefused:
    keyword = str(error.schema_path[-1])
    kind: Any = error.kind
    path = [str(part) for part in error.instance_path]
    rule, value = error.message, error.instance
    if keyword == "required":
        path.append(kind.property)
        rule, value = "must be there", None
    elif keyword == "additionalProperties":
        # A message without any members has another kind of error, which has their name in its path.
        path += getattr(kind, "unexpected", [])[:1]
        rule, value = "no member of this message", None
    elif keyword == "enum":
        rule = f"one of {', '.join(map(str, kind.options))}"
    elif keyword == "type":
        rule = f"of type {'/'.join(kind.types)}"
    elif keyword == "maxLength":
        rule = f"at most {kind.limit} characters"
    elif keyword == "minItems":
        rule = f"at least {kind.limit} of them"
    field = ".".join(path) or "Payload"
    return CallRefused(_CODES.get(keyword, PROPERTY), rule, field=field, value=value)
