"""Double entry: every posting sums to zero, nothing is ever changed, only added.

Every amount is written twice: on a receivable of the one who is owed (positive) and on a payable
of the one who owes (negative). A charge and its VAT are posted apart, since they are told apart:
VAT is owed on invoices.

Each posting belongs to a book, the operator's for its charges and the hub's for the rest, and each
book is a hash chain: a posting carries the SHA-256 of its predecessor's hash and its own content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from roaming.money import Money
from roaming.party import PartyId

FIRST = b""
"""What stands before the first posting of a book."""


class Subject(StrEnum):
    """What an amount is owed for; each has a receivable and a payable."""

    CHARGE = "charge"
    VAT = "vat"
    DISPUTED_CHARGE = "disputed-charge"
    DISPUTED_VAT = "disputed-vat"
    FEE = "fee"
    FEE_VAT = "fee-vat"
    SETTLEMENT = "settlement"
    PREPAYMENT = "prepayment"
    COLLATERAL = "collateral"


class Account(StrEnum):
    CHARGE_RECEIVABLE = "charge-receivable"
    CHARGE_PAYABLE = "charge-payable"
    VAT_RECEIVABLE = "vat-receivable"
    VAT_PAYABLE = "vat-payable"
    DISPUTED_CHARGE_RECEIVABLE = "disputed-charge-receivable"
    DISPUTED_CHARGE_PAYABLE = "disputed-charge-payable"
    DISPUTED_VAT_RECEIVABLE = "disputed-vat-receivable"
    DISPUTED_VAT_PAYABLE = "disputed-vat-payable"
    FEE_RECEIVABLE = "fee-receivable"
    FEE_PAYABLE = "fee-payable"
    FEE_VAT_RECEIVABLE = "fee-vat-receivable"
    FEE_VAT_PAYABLE = "fee-vat-payable"
    SETTLEMENT_RECEIVABLE = "settlement-receivable"
    SETTLEMENT_PAYABLE = "settlement-payable"
    PREPAYMENT_RECEIVABLE = "prepayment-receivable"
    PREPAYMENT_PAYABLE = "prepayment-payable"
    COLLATERAL_RECEIVABLE = "collateral-receivable"
    COLLATERAL_PAYABLE = "collateral-payable"


RECEIVABLE = {subject: Account(f"{subject}-receivable") for subject in Subject}
PAYABLE = {subject: Account(f"{subject}-payable") for subject in Subject}
assert {*RECEIVABLE.values(), *PAYABLE.values()} == set(Account)


class Kind(StrEnum):
    """What a posting was made for."""

    CHARGE = "charge"
    CREDIT = "credit"
    DISPUTE_OPENED = "dispute-opened"
    DISPUTE_RELEASED = "dispute-released"
    FEE = "fee"
    VAT_ROUNDING = "vat-rounding"
    SETTLEMENT = "settlement"
    PAYMENT = "payment"
    DEPOSIT = "deposit"
    DEFAULT = "default"


class Entry(NamedTuple):
    """One line of the ledger; `amount_minor` is signed, in minor units of `currency`.

    `cdrs`: by how many records this line changes what the receivable counts. `clearing_group`: with
    what other debts it is cleared (`strategy` or `strategy:name`); empty where it never is.
    """

    account: Account
    party: PartyId
    counterparty: PartyId
    currency: str
    amount_minor: int
    cdrs: int = 0
    clearing_group: str = ""


@dataclass(frozen=True, slots=True)
class Posting:
    """What one fact means in money. `posting_id` is the position of that fact in the log.

    `value_at` says which period it belongs to; `operator` and `cdr_id` name the record that it is
    about, if it is about one.
    """

    posting_id: int
    kind: Kind
    book: PartyId
    operator: PartyId | None
    cdr_id: str | None
    value_at: datetime
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        assert sum([entry.amount_minor for entry in self.entries]) == 0, "debits equal credits"
        assert len({entry.currency for entry in self.entries}) <= 1, "one currency a posting"


@dataclass(frozen=True, slots=True)
class Balance:
    """The sum of one party's entries on one account against one counterparty."""

    account: Account
    counterparty: PartyId
    amount: Money


def mirrored(
    subject: Subject,
    *,
    creditor: PartyId,
    debtor: PartyId,
    amount: Money,
    cdrs: int = 0,
    clearing_group: str = "",
) -> tuple[Entry, Entry]:
    """One amount as both sides see it; a negative one takes back."""
    currency, minor = amount.currency, amount.minor
    return (
        Entry(RECEIVABLE[subject], creditor, debtor, currency, minor, cdrs, clearing_group),
        Entry(PAYABLE[subject], debtor, creditor, currency, -minor, 0, clearing_group),
    )


def charge_entries(
    debtor: PartyId, creditor: PartyId, excl_vat: Money, vat: Money, clearing_group: str = ""
) -> tuple[Entry, ...]:
    """The entries of one priced charge. A charge for nothing is posted too, so that it counts."""
    return _owed(
        debtor, creditor, excl_vat, vat, clearing_group, (Subject.CHARGE, Subject.VAT), cdrs=1
    )


def credit_entries(
    debtor: PartyId,
    creditor: PartyId,
    excl_vat: Money,
    vat: Money,
    clearing_group: str = "",
    *,
    disputed: bool = False,
) -> tuple[Entry, ...]:
    """What takes a charge back; `excl_vat` and `vat` are the charge's own amounts.

    A disputed one is no longer among the charges, and is taken from where it waits.
    """
    subjects = (Subject.CHARGE, Subject.VAT)
    if disputed:
        subjects = (Subject.DISPUTED_CHARGE, Subject.DISPUTED_VAT)
    return _owed(debtor, creditor, -excl_vat, -vat, clearing_group, subjects, cdrs=-1)


def dispute_entries(
    debtor: PartyId, creditor: PartyId, excl_vat: Money, vat: Money, clearing_group: str = ""
) -> tuple[Entry, ...]:
    """A charge is held out of what is cleared, and waits among the disputed."""
    away = _owed(
        debtor, creditor, -excl_vat, -vat, clearing_group, (Subject.CHARGE, Subject.VAT), cdrs=-1
    )
    held = (Subject.DISPUTED_CHARGE, Subject.DISPUTED_VAT)
    return (*away, *_owed(debtor, creditor, excl_vat, vat, clearing_group, held, cdrs=1))


def release_entries(
    debtor: PartyId, creditor: PartyId, excl_vat: Money, vat: Money, clearing_group: str = ""
) -> tuple[Entry, ...]:
    """The reverse of `dispute_entries`: the charge is cleared like any other again."""
    back = _owed(
        debtor, creditor, excl_vat, vat, clearing_group, (Subject.CHARGE, Subject.VAT), cdrs=1
    )
    held = (Subject.DISPUTED_CHARGE, Subject.DISPUTED_VAT)
    return (*back, *_owed(debtor, creditor, -excl_vat, -vat, clearing_group, held, cdrs=-1))


def _owed(
    debtor: PartyId,
    creditor: PartyId,
    excl_vat: Money,
    vat: Money,
    clearing_group: str,
    subjects: tuple[Subject, Subject],
    *,
    cdrs: int,
) -> tuple[Entry, ...]:
    assert vat.currency == excl_vat.currency
    entries = mirrored(
        subjects[0],
        creditor=creditor,
        debtor=debtor,
        amount=excl_vat,
        cdrs=cdrs,
        clearing_group=clearing_group,
    )
    if not vat.minor:
        return entries
    return (
        *entries,
        *mirrored(
            subjects[1], creditor=creditor, debtor=debtor, amount=vat, clearing_group=clearing_group
        ),
    )


Line = tuple[str, str, str, str, int, int, str]
"""An entry's fields in order, as they are sealed."""


def posting_hash(
    previous: bytes,
    *,
    posting_id: int,
    kind: str,
    book: str,
    book_no: int,
    operator: str | None,
    cdr_id: str | None,
    value_at: datetime,
    recorded_at: datetime,
    lines: Iterable[Line],
) -> bytes:
    """What a posting is sealed with in its book; the same on any machine.

    Takes fields, not a Posting: what is looked at later may be one that could not be made.
    """
    head = (
        f"{posting_id}\n{kind}\n{book}\n{book_no}\n{operator or ''}\n{cdr_id or ''}\n"
        f"{value_at.astimezone(UTC).isoformat()}\n{recorded_at.astimezone(UTC).isoformat()}"
    )
    body = "".join(
        f"\n{account}\t{party}\t{other}\t{currency}\t{minor}\t{cdrs}\t{group}"
        for account, party, other, currency, minor, cdrs, group in lines
    )
    return hashlib.sha256(previous + (head + body).encode()).digest()


@dataclass(frozen=True, slots=True)
class Head:
    """How far a book has come."""

    postings: int
    hash: bytes


def chained(
    postings: Iterable[Posting], heads: dict[PartyId, Head], recorded_at: datetime
) -> list[Head]:
    """The place of each posting in its book, in order; `heads` moves on."""
    places: list[Head] = []
    for posting in postings:
        head = heads[posting.book]
        number = head.postings + 1
        sealed = posting_hash(
            head.hash,
            posting_id=posting.posting_id,
            kind=posting.kind,
            book=posting.book,
            book_no=number,
            operator=posting.operator,
            cdr_id=posting.cdr_id,
            value_at=posting.value_at,
            recorded_at=recorded_at,
            lines=posting.entries,
        )
        place = Head(number, sealed)
        heads[posting.book] = place
        places.append(place)
    return places


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in the ledger that cannot be: which law it breaks, where, and how."""

    law: str
    where: str
    says: str


@dataclass(frozen=True, slots=True)
class Audit:
    """What looking at every line of the ledger came to; without faults the books are sound."""

    postings: int
    entries: int
    books: int
    balances: int
    faults: Sequence[Fault]
