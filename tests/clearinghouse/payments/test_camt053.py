"""Bank statements: every kind of line is read for what it is, and a bad file is refused."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearinghouse.payments import camt053
from clearinghouse.payments.camt053 import BankStatement, read_statements
from clearinghouse.payments.model import BadBankFile, EntryKey, Outcome, match
from tests.clearinghouse.payments.samples import EVSP, OPERATOR, camt, due, ntry, tx


def only(file: bytes) -> BankStatement:
    (statement,) = read_statements(file)
    return statement


def test_money_that_came_is_read_with_whose_it_is() -> None:
    (entry,) = only(camt(ntry("100.00", tx("GR-A", "100.00", text="thanks")))).entries
    assert entry.key == EntryKey(str(OPERATOR.iban), "STMT-2025-03-04", "E1", 0)
    assert (entry.amount_minor, entry.currency) == (10_000, "EUR")
    assert entry.booked_on == date(2025, 3, 4)
    assert (entry.end_to_end_id, entry.counterparty_iban) == ("GR-A", EVSP.iban)
    assert entry.counterparty_name == "XYZ Mobilitaet GmbH"
    assert entry.text == "thanks"


def test_money_that_left_is_negative_and_its_other_party_the_creditor() -> None:
    (entry,) = only(camt(ntry("100.00", tx("GR-A", "100.00", sign="DBIT"), sign="DBIT"))).entries
    assert entry.amount_minor == -10_000
    assert entry.counterparty_iban is None


def test_entries_that_a_bank_gives_one_reference_are_still_two() -> None:
    file = camt(*(ntry(amount, ref="NOTPROVIDED") for amount in ("1.00", "1.00", "2.00")))
    entries = only(file).entries
    assert [one.key.entry_ref for one in entries] == [
        *("NOTPROVIDED", "NOTPROVIDED#2", "NOTPROVIDED#3"),
    ]
    assert len(match(OPERATOR.party, entries, [])) == 3


def test_a_batch_booked_in_one_sum_is_read_payment_by_payment() -> None:
    file = camt(ntry("300.00", tx("GR-A", "100.00"), tx("GR-B", "200.00")))
    entries = only(file).entries
    assert [(one.key.number, one.amount_minor) for one in entries] == [(0, 10_000), (1, 20_000)]
    found = match(OPERATOR.party, entries, [due("GR-A"), due("GR-B", 20_000)])
    assert {one.outcome for one in found} == {Outcome.MATCHED}


def test_a_batch_whose_parts_do_not_make_up_its_sum_is_one_line_for_a_person() -> None:
    (entry,) = only(camt(ntry("300.00", tx("GR-A", "100.00"), tx("GR-B", "100.00")))).entries
    assert (entry.amount_minor, entry.end_to_end_id) == (30_000, None)


def test_a_returned_payment_is_told_with_the_bank_s_reason() -> None:
    file = camt(
        ntry("100.00", tx("GR-A", "100.00"), ref="E1"),
        ntry("100.00", tx("GR-A", "100.00", sign="DBIT", returned="AC04"), ref="E2", sign="DBIT"),
    )
    _, back = entries = only(file).entries
    assert (back.returned, back.reason, back.amount_minor) == (True, "AC04", -10_000)
    found = match(OPERATOR.party, entries, [due("GR-A")])
    assert [one.outcome for one in found] == [Outcome.MATCHED, Outcome.RETURNED]
    assert sum(one.paid_minor for one in found) == 0


def test_a_reversal_is_a_return_too() -> None:
    (entry,) = only(camt(ntry("5.00", reversal=True, sign="DBIT"))).entries
    assert entry.returned


def test_what_is_pending_is_left_out_and_counted() -> None:
    statement = only(camt(ntry("1.00", status="PDNG"), ntry("2.00", ref="E2")))
    assert [one.amount_minor for one in statement.entries] == [200]
    assert statement.pending == 1


def test_no_reference_at_all_is_none() -> None:
    (entry,) = only(camt(ntry("1.00", tx("NOTPROVIDED", "1.00")))).entries
    assert entry.end_to_end_id is None


def test_older_files_are_read_too() -> None:
    old = camt(ntry("100.00", tx("GR-A", "100.00")), version="02")
    old = old.replace(b"<Sts><Cd>BOOK</Cd></Sts>", b"<Sts>BOOK</Sts>")
    old = old.replace(b"<Pty>", b"").replace(b"</Pty>", b"")
    assert only(old).entries == only(camt(ntry("100.00", tx("GR-A", "100.00")))).entries


def test_yen_have_no_places() -> None:
    (entry,) = only(camt(ntry("1500", currency="JPY"))).entries
    assert (entry.amount_minor, entry.currency) == (1_500, "JPY")


BOMB = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08">&b;</Document>"""
OUTSIDE = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08">&a;</Document>"""


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (b"", "not XML"),
        (b"\x00\x01", "not XML"),
        (b"<Document/>", "not a camt.053"),
        (camt().replace(b"camt.053", b"camt.052"), "not a camt.053"),
        (BOMB, "document type"),
        (OUTSIDE, "document type"),
        (camt(ntry("1.005")), "more places"),
        (camt(ntry("NaN")), "out of range"),
        (camt(ntry("1.00", currency="QQQ")), "QQQ"),
        (camt(ntry("1.00", sign="UP")), "credit or debit"),
        (camt(ntry("1.00")).replace(b"<BookgDt><Dt>2025-03-04", b"<BookgDt><Dt>soon"), "no day"),
        (camt(ntry("1.00")).replace(b"<Id>STMT-2025-03-04</Id>", b""), "no Id"),
    ],
)
def test_a_bad_file_is_refused_and_told_why(file: bytes, said: str) -> None:
    with pytest.raises(BadBankFile, match=said):
        read_statements(file)


def test_a_file_over_the_limit_is_not_even_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camt053, "LARGEST_BYTES", 10)
    with pytest.raises(BadBankFile, match="too large"):
        read_statements(camt())


@given(st.binary(max_size=400))
def test_whatever_comes_it_is_read_or_refused(junk: bytes) -> None:
    good = camt(ntry("1.00", tx("GR-A", "1.00")))
    for file in (junk, good[: len(good) // 2] + junk, good.replace(b"1.00", junk)):
        try:
            read_statements(file)
        except BadBankFile:
            continue
