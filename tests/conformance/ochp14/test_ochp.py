"""OCHP 1.4, whole, as a partner's service: every operation both ways, and zeep as second opinion.

What an operation takes and answers is made by hypothesis from what its schema allows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from lxml import etree

from bridge.payload import read_json, write_json
from bridge.soap_messages import MessageCodec
from tests.bridge.payloads import payloads
from tests.bridge.wsdls import OCHP, ochp, ochp_document
from tests.bridge.zeep_client import ZeepClient

OPERATIONS = sorted(ochp().operations)
# They hold a type of inherited attributes alone, of which zeep writes "NotSet" for each.
NOT_WRITTEN_BY_ZEEP = {"SetChargepointList", "UpdateChargePointList"}
LIVE = {"GetStatus", "UpdateStatus"}
# Not made smaller when they fail: payloads of this size take minutes for that.
few = settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@cache
def described() -> dict[str, Any]:
    return ochp().openapi(title="OCHP", version="1.4", server_url="https://hub.example/ochp")


@cache
def schema_of(operation: str, asked: bool) -> jsonschema_rs.Draft202012Validator:
    post = described()["paths"][f"/{operation}"]["post"]
    message = post["requestBody"] if asked else post["responses"]["200"]
    schema = message["content"]["application/json"]["schema"]
    return jsonschema_rs.Draft202012Validator({**schema, "components": described()["components"]})


@cache
def libxml2() -> etree.XMLSchema:
    folder = OCHP / "types"
    return etree.XMLSchema(etree.parse(str(folder / "message-elements.xsd")))


@pytest.fixture(scope="module")
def zeep() -> Iterator[ZeepClient]:
    files = ochp_document().files
    client = ZeepClient(files["ochp.wsdl"], files)
    yield client
    client.close()


def drawn(data: st.DataObject, message: MessageCodec | None, derived: bool = True) -> Any:
    assert message is not None
    assert message.body is not None
    return data.draw(payloads(message.body.codec, derived))


def body_of(envelope: bytes) -> etree._Element:
    [body] = etree.fromstring(envelope).findall(".//{*}Body")
    return body[0]


@pytest.mark.parametrize("operation", OPERATIONS)
@given(data=st.data())
@few
def test_what_is_asked_arrives(operation: str, data: st.DataObject) -> None:
    payload = drawn(data, ochp().operation(operation).request)
    sent = ochp().request(operation, payload)
    question = ochp().question(sent.content, sent.soap_action)
    assert (question.operation, question.payload) == (operation, payload)
    libxml2().assertValid(body_of(sent.content))
    in_json = write_json(payload)
    schema_of(operation, True).validate(json.loads(in_json))
    again = ochp().question(ochp().request(operation, read_json(in_json)).content)
    assert write_json(again.payload) == in_json


@pytest.mark.parametrize("operation", OPERATIONS)
@given(data=st.data(), version=st.sampled_from(["1.1", "1.2"]))
@few
def test_what_is_answered_arrives(operation: str, data: st.DataObject, version: str) -> None:
    payload = drawn(data, ochp().operation(operation).answer)
    content = ochp().envelope(operation, payload, version)
    assert ochp().answer(operation, content) == payload
    libxml2().assertValid(body_of(content))
    schema_of(operation, False).validate(json.loads(write_json(payload)))


# --- zeep ---


def port_of(operation: str) -> tuple[str, str]:
    return "e-clearing.net", "eCHS_P-System-live" if operation in LIVE else "eCHS_P-System"


def as_zeep_has_it(payload: Any) -> Any:
    """Attributes without their sign, and decimals; what is not there is not compared."""
    if isinstance(payload, dict):
        return {
            "_value_1" if key == "value" else key.lstrip("@"): as_zeep_has_it(value)
            for key, value in payload.items()
        }
    if isinstance(payload, list):
        return [as_zeep_has_it(one) for one in payload]
    return payload


def that_zeep_can(payload: Any) -> Any:
    """Without what holds a choice of which zeep loses a false."""
    for points in payload.values():
        for point in points if isinstance(points, list) else ():
            if isinstance(point, dict):
                point.pop("openingTimes", None)
    return payload


def comparable(told: Any) -> Any:
    """zeep has one None for what is absent, empty or nil, Python's own infinity, and fills in the
    one default that OCHP has."""
    if isinstance(told, dict):
        told = {key: one for key, one in told.items() if (key, one) != ("representation", "plain")}
        told = {key: one for key, one in told.items() if (key, one) != ("@representation", "plain")}
        kept = {key: comparable(value) for key, value in told.items()}
        return {key: value for key, value in kept.items() if value is not None} or None
    if isinstance(told, list):
        return [comparable(one) for one in told] or None
    if isinstance(told, datetime):
        return told.strftime("%Y-%m-%dT%H:%M:%SZ")
    if told in ("INF", "-INF"):
        return float(told)
    return float(told) if isinstance(told, Decimal) else told or (told if told == 0 else None)


@pytest.mark.parametrize("operation", OPERATIONS)
@given(data=st.data())
@few
def test_zeep_reads_the_same_of_what_we_answer(
    zeep: ZeepClient, operation: str, data: st.DataObject
) -> None:
    payload = that_zeep_can(drawn(data, ochp().operation(operation).answer, derived=False))
    read = zeep.reads(*port_of(operation), operation, ochp().envelope(operation, payload))
    ours = comparable(as_zeep_has_it(payload))
    theirs = comparable(read)
    if ours is not None and set(ours) == {"result"} and "result" not in theirs:
        ours = ours["result"]  # zeep unwraps what has but one member.
    assert theirs == ours


@pytest.mark.parametrize("operation", sorted(set(OPERATIONS) - NOT_WRITTEN_BY_ZEEP))
@given(data=st.data())
@few
def test_we_read_the_same_of_what_zeep_asks(
    zeep: ZeepClient, operation: str, data: st.DataObject
) -> None:
    payload = that_zeep_can(drawn(data, ochp().operation(operation).request, derived=False))
    content = zeep.asks(*port_of(operation), operation, **as_zeep_has_it(payload))
    question = ochp().question(content)
    assert question.operation == operation
    assert comparable(question.payload) == comparable(payload)
