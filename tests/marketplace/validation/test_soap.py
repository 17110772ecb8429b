"""What a SOAP caller asks about contracts is what a REST caller would; zeep is the caller."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest

from marketplace.validation import soap
from tests.bridge.zeep_client import ZeepClient

WHOLE = ("ContractValidation", "ContractValidationSoap", "ValidateContract")
AT = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("told", "read"),
    [
        (
            {"valid": True, "contract_id": "C-1", "reason": None},
            {"valid": True, "contractId": "C-1", "reason": None},
        ),
        (
            {"valid": False, "contract_id": None, "reason": "no-contract"},
            {"valid": False, "contractId": None, "reason": "no-contract"},
        ),
    ],
    ids=["valid", "invalid"],
)
def test_a_contract_is_asked_about_and_answered_as_in_rest(
    told: dict[str, object], read: dict[str, object]
) -> None:
    face = soap.face()
    zeep = ZeepClient(face.wsdl("http://hub.test/services/contract-validation/soap"))
    asked = face.request(
        zeep.asks(*WHOLE, requester="FR*PD1", provider="FR*XYZ", service="roaming", at=AT), None
    )
    assert (asked.method, asked.path) == ("GET", "/validate")
    query = dict(parse_qsl(asked.query))
    assert datetime.fromisoformat(query.pop("at")) == AT
    assert query == {"requester": "FR*PD1", "provider": "FR*XYZ", "service": "roaming"}
    whole = {"requester": "FR*PD1", "provider": "FR*XYZ", "service": "parking"}
    more = {"operation": "GET /spots/7", "environment": "sandbox"}
    asked = face.request(zeep.asks(*WHOLE, **whole, **more), None)
    assert dict(parse_qsl(asked.query)) == whole | more
    said = face.answer("validate", "1.1", 200, "application/json", json.dumps(told).encode())
    assert zeep.reads(*WHOLE, said.content) == read
    zeep.close()
