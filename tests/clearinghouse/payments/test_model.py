"""Which line of a bank statement is which payment, and who is reminded when."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearinghouse.payments.model import (
    BankEntry,
    EntryKey,
    Level,
    Outcome,
    match,
    remind,
    reminder_due,
)
from tests.clearinghouse.payments.samples import EVSP, OPERATOR, OTHER, due, entry

OWNER = OPERATOR.party


def test_money_with_its_reference_and_amount_is_matched() -> None:
    (found,) = match(OWNER, [entry(10_000, end_to_end_id="GR-2025-01-A")], [due()])
    assert (found.outcome, found.reference, found.paid_minor) == (
        Outcome.MATCHED,
        "GR-2025-01-A",
        10_000,
    )


@pytest.mark.parametrize(
    ("amount", "outcome"),
    [(9_999, Outcome.PART), (10_001, Outcome.OVER), (10_000, Outcome.MATCHED)],
)
def test_too_little_and_too_much_are_told_apart(amount: int, outcome: Outcome) -> None:
    (found,) = match(OWNER, [entry(amount, end_to_end_id="GR-2025-01-A")], [due()])
    assert (found.outcome, found.paid_minor) == (outcome, amount)


def test_two_parts_make_the_whole() -> None:
    parts = [entry(4_000, 0, end_to_end_id="GR-2025-01-A"), entry(6_000, 1, text="GR 2025 01 a")]
    assert [one.outcome for one in match(OWNER, parts, [due()])] == [Outcome.PART, Outcome.MATCHED]


def test_a_reference_that_a_bank_has_mangled_is_found_in_the_text() -> None:
    (found,) = match(OWNER, [entry(10_000, text="/INV/gr 202501 a thanks")], [due()])
    assert found.outcome is Outcome.MATCHED
    assert found.because == "reference in the text"


def test_of_references_that_begin_alike_the_longer_is_meant() -> None:
    dues = [due("GR-1"), due("GR-12")]
    (found,) = match(OWNER, [entry(10_000, text="GR-12")], dues)
    assert found.reference == "GR-12"


def test_a_text_with_two_references_is_left_to_a_person() -> None:
    dues = [due("GR-A"), due("GR-B")]
    (found,) = match(OWNER, [entry(20_000, text="GR-A and GR-B")], dues)
    assert found.outcome is Outcome.UNMATCHED


def test_without_a_reference_the_account_and_the_amount_say_it_where_only_one_can_be_meant() -> (
    None
):
    came = entry(10_000, counterparty_iban="DE89 3704 0044 0532 0130 00")
    (found,) = match(OWNER, [came], [due(), due("GR-B", 5_000)])
    assert (found.outcome, found.because) == (Outcome.MATCHED, "account and amount")
    (found,) = match(OWNER, [came], [due(), due("GR-B")])
    assert found.outcome is Outcome.UNMATCHED
    assert found.guesses == ("GR-2025-01-A", "GR-B")


def test_guesses_are_the_likeliest_first_and_three_at_most() -> None:
    dues = [due(f"GR-{n}", 500 + n) for n in range(5)]
    dues += [due("GR-X", 777, payer=OTHER.party, payer_account=OTHER), due("GR-Y", 777)]
    dues += [due("GR-Z", 777)]
    (found,) = match(OWNER, [entry(777, counterparty_iban=EVSP.iban)], dues)
    assert (found.outcome, found.guesses) == (Outcome.UNMATCHED, ("GR-Y", "GR-Z", "GR-X"))


def test_another_currency_matches_nothing() -> None:
    came = entry(10_000, currency="CHF", end_to_end_id="GR-2025-01-A")
    (found,) = match(OWNER, [came], [due()])
    assert (found.outcome, found.paid_minor) == (Outcome.UNMATCHED, 0)
    assert "due in EUR, not in CHF" in found.because


def test_money_that_comes_back_opens_its_payment_again() -> None:
    paid = entry(10_000, 0, end_to_end_id="GR-2025-01-A")
    back = entry(-10_000, 1, end_to_end_id="GR-2025-01-A", returned=True, reason="AC04")
    again = entry(10_000, 2, end_to_end_id="GR-2025-01-A")
    found = match(OWNER, [paid, back, again], [due()])
    assert [one.outcome for one in found] == [Outcome.MATCHED, Outcome.RETURNED, Outcome.MATCHED]
    assert sum(one.paid_minor for one in found) == 10_000
    assert "AC04" in found[1].because


def test_the_payer_s_own_bank_tells_of_the_same_payment_with_the_other_sign() -> None:
    left = entry(-10_000, end_to_end_id="GR-2025-01-A")
    (found,) = match(EVSP.party, [left], [due()])
    assert (found.outcome, found.paid_minor) == (Outcome.MATCHED, 10_000)


def test_payments_of_others_are_not_touched() -> None:
    foreign = due(payer=EVSP.party, payee=OTHER.party)
    (found,) = match(OWNER, [entry(10_000, end_to_end_id=foreign.reference)], [foreign])
    assert (found.outcome, found.guesses) == (Outcome.UNMATCHED, ())


@st.composite
def histories(draw: st.DrawFn) -> list[BankEntry]:
    references = st.sampled_from(["GR-A", "GR-B", "GR-C", "nothing", None])
    return [
        entry(
            draw(st.integers(-12_000, 12_000).filter(bool)),
            key=EntryKey("account", "S", draw(st.sampled_from("123456")), 0),
            end_to_end_id=draw(references),
            counterparty_iban=draw(st.sampled_from([EVSP.iban, OTHER.iban, None])),
            returned=draw(st.booleans()),
        )
        for _ in range(draw(st.integers(0, 12)))
    ]


@given(histories())
def test_each_line_counts_once_and_a_file_read_again_counts_nothing(
    entries: list[BankEntry],
) -> None:
    dues = [due("GR-A"), due("GR-B", 5_000), due("GR-C", 12_000)]
    found = match(OWNER, [*entries, *entries], dues)
    assert len(found) == len({one.key for one in entries}) == len({one.entry.key for one in found})
    seen = [one.entry.key for one in found]
    assert match(OWNER, entries, dues, seen=seen) == []
    for one in found:
        assert (one.paid_minor != 0) == (one.outcome is not Outcome.UNMATCHED)
        assert one.outcome is Outcome.UNMATCHED or abs(one.paid_minor) == abs(
            one.entry.amount_minor
        )


DUE_ON = date(2025, 3, 5)


@pytest.mark.parametrize(
    ("days", "sent", "level"),
    [
        (0, [], None),
        (6, [], None),
        (7, [], Level.FIRST),
        (7, [Level.FIRST], None),
        (20, [Level.FIRST], None),
        (21, [Level.FIRST], Level.SECOND),
        (21, [], Level.SECOND),
        (35, [Level.FIRST, Level.SECOND], Level.FINAL),
        (400, [Level.FINAL], None),
        (400, [], Level.FINAL),
    ],
)
def test_a_level_is_sent_when_its_day_has_come_and_once(
    days: int, sent: list[Level], level: Level | None
) -> None:
    assert reminder_due(DUE_ON, DUE_ON + timedelta(days), sent) is level


@given(st.lists(st.integers(0, 60), max_size=60))
def test_whenever_it_is_looked_no_level_is_sent_twice_nor_a_lower_one_later(
    days: list[int],
) -> None:
    sent: list[Level] = []
    for day in sorted(days):
        level = reminder_due(DUE_ON, DUE_ON + timedelta(day), sent)
        if level is not None:
            assert not sent or list(Level).index(level) > list(Level).index(sent[-1])
            sent.append(level)


def test_only_what_is_open_is_reminded_of_and_the_next_day_is_named() -> None:
    today = DUE_ON + timedelta(7)
    dues = [due(), due("GR-PAID", paid_minor=10_000), due("GR-SENT")]
    (reminder,) = remind(dues, {"GR-SENT": [Level.FIRST]}, today)
    assert (reminder.due.reference, reminder.level) == ("GR-2025-01-A", Level.FIRST)
    assert reminder.next_on == DUE_ON + timedelta(21)
