"""Every name of JSON has a name in XML, and no two share one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some
from lxml import etree

from bridge import xml_names

NAMES = some.text(min_size=1, max_size=8) | some.from_regex(
    r"[a_]?(_x00[0-9A-F]{2}_)?", fullmatch=True
).filter(bool)


@given(NAMES.filter(lambda name: all(ord(one) < 0xD800 or ord(one) > 0xDFFF for one in name)))
def test_a_name_is_one_that_xml_takes(name: str) -> None:
    for made in (xml_names.xml_name(name), xml_names.plain_name(name)):
        assert xml_names.is_name(made)
        assert etree.Element(made).tag == made


@given(NAMES, NAMES)
def test_no_two_names_become_one(one: str, other: str) -> None:
    assert (xml_names.xml_name(one) == xml_names.xml_name(other)) == (one == other)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("EvseID", "EvseID"),
        ("$ref", "_x0024_ref"),
        ("3phase", "_x0033_phase"),
        ("a b", "a_x0020_b"),
        ("_x0020_", "_x005F_x0020_"),
        ("xml:lang", "xml_x003A_lang"),
    ],
)
def test_names_are_spelled_as_others_spell_them(name: str, made: str) -> None:
    assert xml_names.xml_name(name) == made


@given(some.text())
def test_text_is_cleaned_of_what_xml_cannot_carry(text: str) -> None:
    made = etree.Element("a")
    made.text = xml_names.clean(text)
    assert xml_names.clean(made.text) == made.text
