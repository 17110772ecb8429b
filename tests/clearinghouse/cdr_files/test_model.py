"""The sums of a file, and what is fatal."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from clearinghouse.cdr_files.model import (
    FATAL,
    MOST_FAULTS,
    Fault,
    FileIdTaken,
    FileRefused,
    Header,
    Reckoning,
    Trailer,
    refusal_of,
)
from tests.clearinghouse.cdrs.fakes import OPERATOR


def reckoned() -> Reckoning:
    """Two records: 30 Wh, 2.00 EUR and 5 JPY."""
    found = Reckoning("f", OPERATOR)
    found.opens(Header("f", "fr-pd1"))
    found.add(10, "EUR", "2.00")
    found.add(20, "JPY", "5")
    return found


SOUND = Trailer(2, 30, {"EUR": "2.0", "JPY": "5"})


def test_a_file_that_adds_up_has_no_fault() -> None:
    for trailer in (
        SOUND,
        Trailer(2, 30, None),
        Trailer(2, 30, {**(SOUND.totals or {}), "CHF": "0"}),
    ):
        found = reckoned()
        found.closes(trailer, 4)
        assert found.faults == []
    assert reckoned().totals == {"EUR": "2.00", "JPY": "5"}


@pytest.mark.parametrize(
    ("break_it", "name"),
    [
        (lambda it: it.opens(Header("g", OPERATOR)), "file-id-differs"),
        (lambda it: it.opens(Header("f", "NL*ALF")), "sender-is-not-the-caller"),
        (lambda it: it.opens(Header("f", "nobody")), "sender-is-not-the-caller"),
        (lambda it: it.closes(Trailer(3, 30, SOUND.totals), 4), "records-mismatch"),
        (lambda it: it.closes(Trailer(2, 31, SOUND.totals), 4), "energy-mismatch"),
        (lambda it: it.closes(Trailer(2, 30, {"EUR": "2.00"}), 4), "totals-mismatch"),
        (
            lambda it: it.closes(Trailer(2, 30, {**(SOUND.totals or {}), "CHF": "1"}), 4),
            "totals-mismatch",
        ),
        (lambda it: it.closes(Trailer(2, 30, {"EUR": "2.001", "JPY": "5"}), 4), "totals-mismatch"),
        (lambda it: it.closes(Trailer(2, 30, {"XXX": "1"}), 4), "totals-mismatch"),
    ],
)
def test_each_fatal_fault_has_its_breach(break_it: Callable[[Reckoning], None], name: str) -> None:
    found = reckoned()
    break_it(found)
    assert [one.name for one in found.faults] == [name]


def test_a_malformed_record_adds_what_it_tells() -> None:
    found = reckoned()
    for energy, currency, amount in (
        (None, 7, None),
        ("10", "EUR", "x"),
        (True, None, 2),
        (1.5, [], {}),
    ):
        found.add(energy, currency, amount)
    assert (found.records, found.energy_wh, found.totals) == (6, 30, {"EUR": "2.00", "JPY": "5"})


def test_files_are_told_apart_by_every_line() -> None:
    one, other = Reckoning("f", OPERATOR), Reckoning("f", OPERATOR)
    for it, lines in ((one, [b"a", b"b"]), (other, [b"ab", b""])):
        for line in lines:
            it.saw(line)
    assert one.digest != other.digest


def test_the_refusal_names_the_first_fault_and_its_rule() -> None:
    refusal = refusal_of([Fault("records-mismatch", "3, not 2", 9), Fault("no-trailer", "")], "f")
    assert isinstance(refusal, FileRefused)
    assert (refusal.field, refusal.rule) == ("line 9", FATAL["records-mismatch"])
    assert "1 more" in refusal.detail
    assert isinstance(refusal_of([Fault("file-id-taken", "")], "f"), FileIdTaken)


def test_a_file_of_nothing_but_faults_takes_no_memory() -> None:
    found = reckoned()
    for number in range(10_000):
        found.fault("line-unreadable", "", number)
    assert len(found.faults) == MOST_FAULTS


def test_the_page_for_operators_tells_every_fatal_fault() -> None:
    page = (Path(__file__).parents[3] / "docs" / "cdrs.md").read_text().partition("| fatal |")[2]
    told = re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", page.partition("\n\n")[0], re.M)
    assert dict(told) == FATAL
