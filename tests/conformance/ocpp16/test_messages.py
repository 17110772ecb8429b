"""OCPP 1.6 JSON against its specification: each message as it stands there, and each error."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import jsonschema_rs
import ocpp.v16
import pytest
from websockets.asyncio.client import ClientConnection

from kit.database import Database
from tests.central_system.fakes import ACCEPTED, Central, FakeHub, assemble, listening
from tests.central_system.virtual_station import exchange, open_socket

SCHEMAS = Path(ocpp.v16.__file__).with_name("schemas")
AT = "2013-02-01T20:53:32.486Z"


@pytest.fixture
async def central(database: Database) -> AsyncIterator[Central]:
    central = assemble(database, FakeHub(decisions={"B4F62CEF": ACCEPTED}))
    await central.enrol("CP1")
    async with listening(central):
        yield central


@pytest.fixture
async def socket(central: Central) -> AsyncIterator[ClientConnection]:
    socket = await open_socket(central)
    yield socket
    await socket.close()


SAMPLES = [
    {"value": "0", "unit": "Wh", "context": "Transaction.Begin", "location": "Outlet"},
    {"value": "16", "unit": "A", "measurand": "Current.Import", "phase": "L1"},
    {"value": "21.4", "unit": "Celsius", "measurand": "Temperature", "location": "Body"},
    {"value": "21.4", "unit": "Celcius", "measurand": "Temperature", "location": "Body"},
    {"value": "aa==", "format": "SignedData"},
]
VALID = [
    ("Authorize", {"idTag": "B4F62CEF"}),
    ("Authorize", {"idTag": "12345678901234567890"}),
    # OCPP-J 1.6, section 4.2.1.
    (
        "BootNotification",
        {"chargePointVendor": "VendorX", "chargePointModel": "SingleSocketCharger"},
    ),
    (
        "BootNotification",
        {
            "chargePointVendor": "VendorX",
            "chargePointModel": "M",
            "chargePointSerialNumber": "1",
            "chargeBoxSerialNumber": "2",
            "firmwareVersion": "1.0",
            "iccid": "3",
            "imsi": "4",
            "meterType": "5",
            "meterSerialNumber": "6",
        },
    ),
    ("DataTransfer", {"vendorId": "com.example"}),
    ("DataTransfer", {"vendorId": "com.example", "messageId": "x", "data": "idTag"}),
    ("Heartbeat", {}),
    # OCPP-J 1.6, section 4.2.1: no payload may be null.
    ("Heartbeat", None),
    ("MeterValues", {"connectorId": 0, "meterValue": [{"timestamp": AT, "sampledValue": SAMPLES}]}),
    (
        "MeterValues",
        {
            "connectorId": 1,
            "transactionId": 5,
            "meterValue": [{"timestamp": AT, "sampledValue": [{"value": "no number"}]}],
        },
    ),
    (
        "StartTransaction",
        {"connectorId": 1, "idTag": "B4F62CEF", "meterStart": 0, "timestamp": AT},
    ),
    (
        "StartTransaction",
        {
            "connectorId": 9,
            "idTag": "b4f62cef",
            "meterStart": -5,
            # Section 3.15: fractions and offsets; section 3.14: else it is UTC.
            "timestamp": "2013-02-01T21:53:32.4860001+01:00",
            "reservationId": 7,
        },
    ),
    ("StatusNotification", {"connectorId": 0, "errorCode": "NoError", "status": "Available"}),
    (
        "StatusNotification",
        {
            "connectorId": 1,
            "errorCode": "GroundFailure",
            "status": "Faulted",
            "timestamp": "2013-02-01T20:53:32",
            "info": "x" * 50,
            "vendorId": "y" * 255,
            "vendorErrorCode": "z" * 50,
        },
    ),
    # Errata sheet OCPP-J 1.6, section 2.6: the reason may be left out.
    ("StopTransaction", {"meterStop": 1, "timestamp": AT, "transactionId": 99}),
    # Errata sheet OCPP 1.6, 6.46: a start that never arrived is stopped as -1.
    (
        "StopTransaction",
        {
            "idTag": "B4F62CEF",
            "meterStop": 1,
            "timestamp": AT,
            "transactionId": -1,
            "reason": "PowerLoss",
            "transactionData": [{"timestamp": AT, "sampledValue": SAMPLES}],
        },
    ),
]


# The cases of a kind go over one connection, one after the other: none may end it for the next.
async def test_a_valid_call_gets_a_result_of_its_schema(socket: ClientConnection) -> None:
    for action, payload in VALID:
        answer = await exchange(socket, [2, "19223201", action, payload])
        assert answer[:2] == [3, "19223201"], (action, payload, answer)
        schema = json.loads((SCHEMAS / f"{action}Response.json").read_text("utf-8-sig"))
        jsonschema_rs.Draft4Validator(schema).validate(answer[2])


START = {"connectorId": 1, "idTag": "B4F62CEF", "meterStart": 0, "timestamp": AT}
METER = {"connectorId": 1, "meterValue": [{"timestamp": AT, "sampledValue": [{"value": "1"}]}]}
INVALID = [
    ("Authorize", {"idTag": 5}, "TypeConstraintViolation", "idTag"),
    ("Authorize", {"idTag": "1" * 21}, "TypeConstraintViolation", "idTag"),
    # Spelt so on the wire: errata sheet OCPP-J 1.6, section 5.1.
    ("Authorize", {}, "OccurenceConstraintViolation", "idTag"),
    ("Authorize", {"idTag": "1", "extra": 1}, "FormationViolation", "extra"),
    ("Heartbeat", {"extra": 1}, "FormationViolation", "extra"),
    (
        "BootNotification",
        {"chargePointVendor": "v"},
        "OccurenceConstraintViolation",
        "chargePointModel",
    ),
    (
        "StatusNotification",
        {"connectorId": 1, "errorCode": "NoError", "status": "Occupied"},
        "PropertyConstraintViolation",
        "status",
    ),
    (
        "StatusNotification",
        {"connectorId": -1, "errorCode": "NoError", "status": "Available"},
        "PropertyConstraintViolation",
        "connectorId",
    ),
    ("StartTransaction", {**START, "connectorId": 0}, "PropertyConstraintViolation", "connectorId"),
    ("StartTransaction", {**START, "timestamp": "now"}, "PropertyConstraintViolation", "timestamp"),
    (
        "StartTransaction",
        {**START, "timestamp": "0001-01-01T00:00:00+23:00"},
        "PropertyConstraintViolation",
        "timestamp",
    ),
    ("StartTransaction", {**START, "meterStart": 1.5}, "TypeConstraintViolation", "meterStart"),
    (
        "StartTransaction",
        {**START, "meterStart": 10**30},
        "PropertyConstraintViolation",
        "meterStart",
    ),
    (
        "StartTransaction",
        {**START, "reservationId": 2**31},
        "PropertyConstraintViolation",
        "reservationId",
    ),
    ("MeterValues", {**METER, "meterValue": []}, "OccurenceConstraintViolation", "meterValue"),
    (
        "MeterValues",
        {**METER, "meterValue": [{"timestamp": AT, "sampledValue": [{"value": 1}]}]},
        "TypeConstraintViolation",
        "meterValue.0.sampledValue.0.value",
    ),
    (
        "MeterValues",
        {**METER, "meterValue": [{"timestamp": "x", "sampledValue": [{"value": "1"}]}]},
        "PropertyConstraintViolation",
        "meterValue.timestamp",
    ),
    (
        "StopTransaction",
        {"meterStop": 1, "timestamp": AT, "transactionId": 1, "reason": "Boredom"},
        "PropertyConstraintViolation",
        "reason",
    ),
    (
        "StopTransaction",
        {"meterStop": 1, "timestamp": AT, "transactionId": 2**40},
        "PropertyConstraintViolation",
        "transactionId",
    ),
    ("DataTransfer", {"data": "x"}, "OccurenceConstraintViolation", "vendorId"),
    # OCPP-J 1.6, table 7: known elsewhere in OCPP 1.6, and not known at all.
    ("FirmwareStatusNotification", {"status": "Idle"}, "NotSupported", "Action"),
    ("Reset", {"type": "Soft"}, "NotSupported", "Action"),
    ("authorize", {"idTag": "1"}, "NotImplemented", "Action"),
    ("TransactionEvent", {}, "NotImplemented", "Action"),
]


async def test_an_invalid_call_gets_the_error_that_names_its_field(
    socket: ClientConnection,
) -> None:
    for action, payload, code, field in INVALID:
        answer = await exchange(socket, [2, "abc", action, payload])
        assert answer[:3] == [4, "abc", code], (action, payload, answer)
        description, details = answer[3:]
        assert details["field"] == field, (action, payload, answer)
        assert description.startswith(field)
        assert details["rule"]


MALFORMED = [
    ("{", "-1", "message"),
    ("", "-1", "message"),
    ('"text"', "-1", "message"),
    ("{}", "-1", "message"),
    ("[]", "-1", "message"),
    ('[2, "abc", "Heartbeat"]', "abc", "message"),
    ('[2, "abc", "Heartbeat", {}, {}]', "abc", "message"),
    ('[2, 5, "Heartbeat", {}]', "-1", "UniqueId"),
    ('[2, "", "Heartbeat", {}]', "-1", "UniqueId"),
    (f'[2, "{"x" * 37}", "Heartbeat", {{}}]', "x" * 37, "UniqueId"),
    ('[2, "abc", 5, {}]', "abc", "Action"),
    ('[2, "abc", "Heartbeat", []]', "abc", "Payload"),
    ('[2, "abc", "DataTransfer", {"vendorId": "\\u0000"}]', "abc", "message"),
    (f'[2, "abc", "DataTransfer", {{"vendorId": "{"x" * 70_000}"}}]', "abc", "message"),
    (f'[2, "abc", "DataTransfer", {"[" * 20_000}', "-1", "message"),
    (b'[2, "abc", "DataTransfer", {"vendorId": "\xff"}]', "-1", "message"),
]


async def test_a_broken_frame_is_a_formation_violation(socket: ClientConnection) -> None:
    for text, unique_id, field in MALFORMED:
        answer = await exchange(socket, text)
        assert answer[:3] == [4, unique_id, "FormationViolation"], (text[:60], answer)
        assert answer[4]["field"] == field, (text[:60], answer)
    assert (await exchange(socket, [2, "abd", "Heartbeat", {}]))[0] == 3


NO_CALLS = [
    [1, "abc", "Heartbeat", {}],
    [True, "abc", "Heartbeat", {}],
    [5, "abc"],
    ["2", "abc", "Heartbeat", {}],
    [3, "never-asked", {}],
    [4, "never-asked", "GenericError", "", {}],
    [None],
    [{"idTag": "SECRET"}],
]


async def test_what_is_no_call_is_taken_down_and_not_answered(
    central: Central, socket: ClientConnection
) -> None:
    for frame in NO_CALLS:
        await socket.send(json.dumps(frame))
    assert (await exchange(socket, [2, "next", "Heartbeat", {}]))[:2] == [3, "next"]
    messages = await central.messages()
    assert [one["direction"] for one in messages] == ["in"] * len(NO_CALLS) + ["in", "out"]
    assert "SECRET" not in await central.all_text_of_log()


async def test_refused_messages_are_in_the_log_with_their_error(
    central: Central, socket: ClientConnection
) -> None:
    await exchange(socket, [2, "a", "Authorize", {"idTag": "TOO-LONG-TO-BE-A-CARD"}])
    await exchange(socket, "{")
    heard, said, unread, refused = await central.messages()
    assert heard["payload"]["idTag"].startswith("sealed:")
    assert said["error"]["code"] == "TypeConstraintViolation"
    assert unread["unread"]["size_bytes"] == 1
    assert refused["error"]["code"] == "FormationViolation"
    assert "TOO-LONG" not in await central.all_text_of_log()
