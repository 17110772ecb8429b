"""JSON as this house writes it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from kit.encoding import encode_json
from roaming.party import PartyId


def test_identifiers_and_decimals_are_texts() -> None:
    told = {"party": PartyId("FR*PD1"), "rate": Decimal("1.10")}
    assert encode_json(told) == b'{"party":"FR*PD1","rate":"1.10"}'


def test_half_a_surrogate_pair_is_told_back_as_something_that_utf_8_has() -> None:
    told = {"\ud800": ["a\udfffb", ("c", 1, None)], "party": PartyId("FR*PD1")}
    assert encode_json(told) == b'{"?":["a?b",["c",1,null]],"party":"FR*PD1"}'


def test_what_is_no_json_is_a_bug() -> None:
    with pytest.raises(TypeError):
        encode_json({"what": object()})
