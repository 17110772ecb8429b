"""Faults as their readers see them: zeep's and requests' eyes are kept for the stories."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some
from lxml import etree

from bridge.soap_envelope import ENVELOPES, content_type
from gateway.bridging import faults

MEMBERS = {"type": "https://x/problems/no", "status": 403, "detail": "not you", "request_id": "7"}


@pytest.mark.parametrize(
    ("version", "status", "told", "code"),
    [
        ("1.1", 403, 500, "Client"),
        ("1.1", 502, 500, "Server"),
        ("1.2", 403, 400, "Sender"),
        ("1.2", 502, 500, "Receiver"),
    ],
    ids=["1.1 their fault", "1.1 ours", "1.2 their fault", "1.2 ours"],
)
def test_a_problem_is_told_as_a_fault_of_the_callers_version(
    version: str, status: int, told: int, code: str
) -> None:
    found, told_type, content = faults.words(version)(status, MEMBERS | {"status": status})
    assert (found, told_type) == (told, content_type(version, ""))
    root = etree.fromstring(content)
    assert etree.QName(root).namespace == ENVELOPES[version]
    text = etree.tostring(root, encoding="unicode", method="text")
    assert code in text
    assert "not you" in text
    problem = root.find(f".//{{{faults.PROBLEM}}}problem")
    assert problem is not None
    assert {etree.QName(one).localname: one.text for one in problem} == {
        name: str(value) for name, value in (MEMBERS | {"status": status}).items()
    }


@given(some.text(alphabet=some.characters(exclude_characters="\r")))
def test_a_fault_can_be_read_whatever_it_quotes(said: str) -> None:
    _, _, content = faults.words("1.1")(422, {"detail": said, "value": said})
    told = etree.fromstring(content).findtext(f".//{{{faults.PROBLEM}}}value") or ""
    assert told == faults.sayable(said)
