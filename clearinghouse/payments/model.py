"""Payments: what is due, what the bank says came, and what is said to those who do not pay.

Laws. A line of a bank statement counts once, however often its file is read. What is put down as
paid for all payments is the sum of the lines that were matched. A line that does not say clearly
which payment it is, is left to a person, with the best guesses.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date as Day
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from roaming.party import PartyId
from roaming.refusal import Clash, Malformed, Unknown

LONGEST_REFERENCE = 35
"""Of an EndToEndId (ISO 20022, Max35Text): what a bank brings back with the money."""


class UnknownReminder(Unknown):
    """No reminder of this payment and level that the caller may see."""


class UnknownPayment(Unknown):
    """No payment by this reference that the caller may see."""


class NoPaymentFile(Clash):
    """A payment file cannot be made of these payments; the rule says why."""


class BadBankFile(Malformed):
    """What was handed in is no bank statement that can be read."""


@dataclass(frozen=True, slots=True)
class BankAccount:
    """Whose account it is, and where."""

    party: PartyId
    name: str
    iban: str | None
    bic: str | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """A payment that somebody has to make. `paid_minor`: what has come of it so far."""

    reference: str
    payer: PartyId
    payee: PartyId
    currency: str
    amount_minor: int
    due_on: Day
    about: str = ""
    paid_minor: int = 0
    payer_account: BankAccount | None = None
    payee_account: BankAccount | None = None

    def __post_init__(self) -> None:
        assert self.amount_minor > 0
        assert 0 < len(self.reference) <= LONGEST_REFERENCE

    @property
    def open_minor(self) -> int:
        return self.amount_minor - self.paid_minor


class EntryKey(NamedTuple):
    """What makes a line of a bank statement this one and no other."""

    account: str
    statement_id: str
    entry_ref: str
    number: int


@dataclass(frozen=True, slots=True)
class BankEntry:
    """One booked line: money that came to the account (positive) or left it (negative).

    Of a batch that was booked in one sum, one for each payment in it. `returned`: money that had
    left comes back, or the other way round, with the bank's reason.
    """

    key: EntryKey
    booked_on: Day
    currency: str
    amount_minor: int
    end_to_end_id: str | None = None
    counterparty_iban: str | None = None
    counterparty_name: str | None = None
    text: str = ""
    returned: bool = False
    reason: str | None = None


class Outcome(StrEnum):
    MATCHED = "matched"
    PART = "part"
    OVER = "over"
    RETURNED = "returned"
    UNMATCHED = "unmatched"


@dataclass(frozen=True, slots=True)
class Match:
    """What a bank entry was found to be. `paid_minor`: by how much its payment is paid by it;
    `over_minor`: how much of that is more than was open, and goes back to who sent it."""

    entry: BankEntry
    outcome: Outcome
    reference: str | None = None
    paid_minor: int = 0
    over_minor: int = 0
    because: str = ""
    guesses: tuple[str, ...] = ()


@dataclass(slots=True)
class _Matching:
    """Payments as they stand while a file is gone through."""

    owner: PartyId
    dues: dict[str, Due]
    matches: list[Match] = field(default_factory=list)


MOST_GUESSES = 3


def match(
    owner: PartyId,
    entries: Iterable[BankEntry],
    dues: Iterable[Due],
    *,
    seen: Collection[EntryKey] = (),
) -> list[Match]:
    """What each entry of the owner's account is. Entries that were seen before are left out."""
    concerned = {due.reference: due for due in dues if owner in (due.payer, due.payee)}
    matching = _Matching(owner, concerned)
    done = set(seen)
    for entry in entries:
        if entry.key not in done:
            done.add(entry.key)
            matching.matches.append(_judge(matching, entry))
    return matching.matches


def _judge(matching: _Matching, entry: BankEntry) -> Match:
    named = _named(matching.dues, entry)
    if named is not None:
        due, because = named
        if entry.currency != due.currency:
            return Match(
                entry,
                Outcome.UNMATCHED,
                because=f"{due.reference} is due in {due.currency}, not in {entry.currency}",
                guesses=(due.reference,),
            )
        towards = entry.amount_minor if due.payee == matching.owner else -entry.amount_minor
        if entry.returned or towards < 0:
            return _returned(matching, entry, due, towards, because)
        return _paid(matching, entry, due, towards, because)
    if entry.returned:
        return Match(entry, Outcome.UNMATCHED, because="returned, and no payment named")
    alike = [
        due
        for due in matching.dues.values()
        if due.currency == entry.currency
        and _direction(matching.owner, due) * entry.amount_minor == due.open_minor
        and due.open_minor
    ]
    same_account = [due for due in alike if _other_iban(matching.owner, due) == _iban(entry)]
    if _iban(entry) is not None and len(same_account) == 1:
        (due,) = same_account
        return _paid(matching, entry, due, due.open_minor, "account and amount")
    return Match(
        entry,
        Outcome.UNMATCHED,
        because="no reference of a payment in it",
        guesses=_guesses(matching, entry),
    )


def _named(dues: Mapping[str, Due], entry: BankEntry) -> tuple[Due, str] | None:
    """The payment whose reference the entry carries, if it carries one and no other."""
    if entry.end_to_end_id in dues:
        return dues[str(entry.end_to_end_id)], "end-to-end id"
    text = _bare(f"{entry.end_to_end_id or ''} {entry.text}")
    found = [due for reference, due in dues.items() if _bare(reference) in text]
    # A reference that begins another one is in its text, too.
    longest = [one for one in found if not any(_within(one, other) for other in found)]
    return (longest[0], "reference in the text") if len(longest) == 1 else None


def _within(one: Due, other: Due) -> bool:
    mine, theirs = _bare(one.reference), _bare(other.reference)
    return mine != theirs and mine in theirs


def _paid(matching: _Matching, entry: BankEntry, due: Due, paid_minor: int, because: str) -> Match:
    left = due.open_minor
    matching.dues[due.reference] = replace(due, paid_minor=due.paid_minor + paid_minor)
    outcome = Outcome.MATCHED
    if paid_minor != left:
        outcome = Outcome.PART if paid_minor < left else Outcome.OVER
    over = max(0, paid_minor - max(left, 0))
    return Match(entry, outcome, due.reference, paid_minor, over, because)


def _returned(
    matching: _Matching, entry: BankEntry, due: Due, towards_minor: int, because: str
) -> Match:
    """Money that went the other way: what had been put down as paid is open again."""
    back = -abs(towards_minor)
    matching.dues[due.reference] = replace(due, paid_minor=due.paid_minor + back)
    why = f"{because}; {entry.reason}" if entry.reason else because
    return Match(entry, Outcome.RETURNED, due.reference, back, because=why)


def _guesses(matching: _Matching, entry: BankEntry) -> tuple[str, ...]:
    def likeness(due: Due) -> int:
        amount = _direction(matching.owner, due) * entry.amount_minor
        iban = _iban(entry)
        other = due.payer_account if matching.owner == due.payee else due.payee_account
        name = _bare(entry.counterparty_name or "")
        return (
            3 * (amount == due.open_minor)
            + 2 * (iban is not None and iban == _other_iban(matching.owner, due))
            + (bool(name) and other is not None and _bare(other.name) == name)
        )

    likely = [
        (-likeness(due), due.due_on, due.reference)
        for due in matching.dues.values()
        if due.open_minor > 0
        and due.currency == entry.currency
        and _direction(matching.owner, due) * entry.amount_minor > 0
        and likeness(due)
    ]
    return tuple(reference for _, _, reference in sorted(likely)[:MOST_GUESSES])


def _direction(owner: PartyId, due: Due) -> int:
    return 1 if due.payee == owner else -1


def _other_iban(owner: PartyId, due: Due) -> str | None:
    account = due.payer_account if due.payee == owner else due.payee_account
    return None if account is None or account.iban is None else _bare(account.iban)


def _iban(entry: BankEntry) -> str | None:
    return None if entry.counterparty_iban is None else _bare(entry.counterparty_iban)


def _bare(text: str) -> str:
    """Banks put blanks into references, change case and lose dashes."""
    return re.sub(r"[^A-Z0-9]", "", text.upper())


class Level(StrEnum):
    FIRST = "first"
    SECOND = "second"
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class ReminderRule:
    """How many days after the due day each level is sent."""

    first_days: int = 7
    second_days: int = 21
    final_days: int = 35

    def __post_init__(self) -> None:
        assert 0 < self.first_days < self.second_days < self.final_days

    @property
    def days(self) -> Mapping[Level, int]:
        return {
            Level.FIRST: self.first_days,
            Level.SECOND: self.second_days,
            Level.FINAL: self.final_days,
        }


DEFAULT_RULE = ReminderRule()


def reminder_due(
    due_on: Day, today: Day, sent: Collection[Level], rule: ReminderRule = DEFAULT_RULE
) -> Level | None:
    """The level that is to be sent today: the highest reached, unless it or a higher one was."""
    levels = list(Level)
    reached = [level for level in levels if today >= due_on + timedelta(rule.days[level])]
    if not reached:
        return None
    highest = reached[-1]
    if any(levels.index(one) >= levels.index(highest) for one in sent):
        return None
    return highest


@dataclass(frozen=True, slots=True)
class Reminder:
    """What is told to one who has not paid."""

    level: Level
    due: Due
    sent_on: Day
    next_on: Day | None


def remind(
    dues: Sequence[Due],
    sent: Mapping[str, Collection[Level]],
    today: Day,
    rule: ReminderRule = DEFAULT_RULE,
) -> list[Reminder]:
    """The reminders to be sent today, for what is open still."""
    levels = list(Level)
    made = []
    for due in dues:
        level = reminder_due(due.due_on, today, sent.get(due.reference, ()), rule)
        if due.open_minor <= 0 or level is None:
            continue
        later = levels[levels.index(level) + 1 :]
        following = due.due_on + timedelta(rule.days[later[0]]) if later else None
        made.append(Reminder(level, due, today, following))
    return made
