"""The contract as a document: one content, one spelling."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from marketplace.framework.document import (
    FORMAT,
    OnPaper,
    canonical,
    contract_document,
    digest,
)
from marketplace.framework.model import Clause
from roaming.party import PartyId

BEGINS = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLAUSE = Clause("liability", 1, "Liability", {"cap_months": 12}, "A party is liable …")
PROVIDER = OnPaper(
    PartyId("NL*FCS"), "Forecasts", "Forecasts B.V.", "Damrak 1", "1012 LG", "Amsterdam", "NL"
)
REQUESTER = OnPaper(PartyId("FR*PD1"))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def document(**other: Any) -> dict[str, Any]:
    said: dict[str, Any] = {
        "contract_id": "0195",
        "provider": PROVIDER,
        "requester": REQUESTER,
        "service": "load-forecast",
        "major": 1,
        "terms": {"price_per_call_minor": 1, "currency": "EUR"},
        "clauses": [CLAUSE],
        "valid_from": BEGINS,
        "valid_until": None,
    }
    return contract_document(**said | other)


def shuffled(value: Any) -> Any:
    """The same JSON with the members of its objects the other way round."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return [shuffled(one) for one in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text(max_size=5), PLAIN))
def test_the_same_content_is_the_same_bytes(terms: dict[str, Any]) -> None:
    made = document(terms=terms)
    assert canonical(shuffled(made)) == canonical(made)
    assert json.loads(canonical(made)) == made


def test_a_moment_is_one_text_whatever_its_offset() -> None:
    elsewhere = BEGINS.astimezone(timezone(timedelta(hours=9)))
    assert canonical(document(valid_from=elsewhere)) == canonical(document())
    assert document()["validity"] == {"from": "2026-03-01T12:00:00Z", "until": None}


def test_what_there_is_not_is_left_out() -> None:
    made = document()
    assert made["format"] == FORMAT
    assert made["parties"]["requester"] == {"party": "FR*PD1"}
    assert made["parties"]["provider"]["legal_name"] == "Forecasts B.V."
    assert not made.keys() & {"negotiation_id", "replaces", "agreed_at", "offering_id"}


def test_another_word_anywhere_is_another_digest() -> None:
    text = Clause("liability", 1, "Liability", {"cap_months": 12}, "A party is not liable …")
    others = [
        document(contract_id="0196"),
        document(replaces="0194"),
        document(clauses=[text]),
        document(environment="sandbox"),
        document(requester=OnPaper(PartyId("FR*PD1"), vat_id="FR00")),
        document(valid_until=BEGINS + timedelta(days=1)),
    ]
    assert len({digest(one) for one in [document(), *others]}) == 1 + len(others)
