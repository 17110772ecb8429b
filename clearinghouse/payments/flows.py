"""Payments of a settled month: the file for the bank, the bank's answer, and what was set off."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clearinghouse.invoicing import flows as invoicing_flows
from clearinghouse.invoicing.ports import Books as Invoices
from clearinghouse.invoicing.ports import Found
from clearinghouse.payments import model
from clearinghouse.payments.camt053 import BankStatement, read_statements
from clearinghouse.payments.model import (
    BadBankFile,
    BankAccount,
    Due,
    EntryKey,
    Level,
    Match,
    Reminder,
    UnknownPayment,
    UnknownReminder,
)
from clearinghouse.payments.pain001 import payment_file
from clearinghouse.payments.ports import Books, Businesses
from clearinghouse.periods.model import Month
from clearinghouse.settling import flows as settling_flows
from clearinghouse.settling.flows import House
from clearinghouse.settling.model import EXPECTED, PairTotal, Payment, PaymentState
from clearinghouse.settling.ports import After
from clearinghouse.settling.setoff import SetOff
from kit.clock import Clock
from roaming.money import Money
from roaming.party import PartyId
from roaming.refusal import Refusal

PAGE = 1_000
TELLS = EXPECTED | {PaymentState.PAID}
"""Payments that a bank may tell something of: of those paid, that the money came back."""


async def file_for_bank(
    month: Month,
    party: PartyId,
    currency: str,
    *,
    house: House,
    businesses: Businesses,
) -> bytes:
    """All that a party has still to pay of a settled month, as one pain.001.

    Raises UnknownPayment where there is nothing, NoPaymentFile, which says what is missing.
    """
    now = house.clock()
    found = await _payments(party, month, house)
    dues = [
        due_of(one, businesses, house.clock)
        for one in found
        if one.payer == party and one.currency == currency and one.open_minor > 0
        if one.state in EXPECTED
    ]
    if not dues:
        raise UnknownPayment(
            f"{party} has nothing to pay of {month} in {currency}",
            field="period_id",
            value=str(month),
            rule="a settled month with an open payment of the caller",
        )
    payer = _account(party, businesses, house.clock) or BankAccount(party, party, None)
    execute_on = max(now.date(), min(due.due_on for due in dues))
    return await asyncio.to_thread(payment_file, payer, dues, made_at=now, execute_on=execute_on)


def due_of(payment: Payment, businesses: Businesses, clock: Clock) -> Due:
    """A payment of a settlement, with the accounts of both."""
    return Due(
        reference=payment.reference,
        payer=payment.payer,
        payee=payment.payee,
        currency=payment.currency,
        amount_minor=payment.amount_minor,
        due_on=payment.due_on,
        about=f"settlement {payment.period_id}",
        paid_minor=payment.paid_minor,
        payer_account=_account(payment.payer, businesses, clock),
        payee_account=_account(payment.payee, businesses, clock),
    )


def _account(party: PartyId, businesses: Businesses, clock: Clock) -> BankAccount | None:
    business = businesses.business_at(party, clock())
    if business is None:
        return None
    return BankAccount(party, business.legal_name, business.iban, business.bic)


async def _payments(party: PartyId | None, month: Month | None, house: House) -> list[Payment]:
    found: list[Payment] = []
    after: After | None = None
    while page := await settling_flows.payments(
        party, month=month, state=None, after=after, limit=PAGE, books=house.books
    ):
        found += page
        after = After(page[-1].due_on, page[-1].payment_id)
    return found


async def remind(*, books: Books, house: House, businesses: Businesses) -> int:
    """Remind of every payment whose day has come, once for each level; how many were reminded."""
    now = house.clock()
    today = now.date()
    dues = [
        due_of(one, businesses, house.clock)
        for one in await _payments(None, None, house)
        if one.state in EXPECTED and one.open_minor > 0 and one.due_on < today
    ]
    async with books.open() as book:
        sent = await book.reminded([due.reference for due in dues])
        return await book.keep_reminders(model.remind(dues, sent, today), now)


async def reminders(
    party: PartyId, *, hub: PartyId, limit: int, books: Books
) -> Sequence[Reminder]:
    """The latest reminders to a party, or of what it is owed; the hub sees all."""
    async with books.open() as book:
        return await book.reminders(None if party == hub else party, limit)


async def show_reminder(
    reference: str, level: Level, *, party: PartyId, hub: PartyId, books: Books
) -> Reminder:
    async with books.open() as book:
        found = await book.reminder(reference, level, None if party == hub else party)
    if found is None:
        raise UnknownReminder(
            f"no {level} reminder of {reference}", field="reference", value=reference
        )
    return found


@dataclass(frozen=True, slots=True)
class Imported:
    """What a bank statement brought. `known`: entries that were read before, and count no more.

    `refused`: matched entries of which the ledger would not hear, and why; for a person to look at.
    """

    statement: BankStatement
    owner: PartyId
    matches: Sequence[Match]
    known: int
    refused: Mapping[EntryKey, str]


async def import_statements(
    file: bytes, *, books: Books, house: House, businesses: Businesses
) -> list[Imported]:
    """Read a bank's file: match its entries to payments, and tell the ledger what came.

    First it is kept what each entry was found to be, then payments are told: broken off in
    between, the next import goes on with that before it looks. Raises BadBankFile.
    """
    statements = await asyncio.to_thread(read_statements, file)
    await _apply(books, house)
    imported: list[Imported] = []
    for statement in statements:
        # Anew for each: the statement before may have paid some.
        payments = await _payments(None, None, house)
        dues = [due_of(one, businesses, house.clock) for one in payments]
        owner = _owner(statement, dues)
        dues = [due for due, one in zip(dues, payments, strict=True) if one.state in TELLS]
        async with books.open() as book:
            seen = await book.seen(statement.account, statement.statement_id)
            matches = model.match(owner, statement.entries, dues, seen=seen)
            await book.keep(owner, matches, house.clock())
        refused = await _apply(books, house)
        known = len(statement.entries) - len(matches)
        imported.append(Imported(statement, owner, matches, known, refused))
    return imported


def _owner(statement: BankStatement, dues: Sequence[Due]) -> PartyId:
    for due in dues:
        for account in (due.payer_account, due.payee_account):
            if account is not None and account.iban == statement.account:
                return account.party
    raise BadBankFile(
        "nobody who pays or is paid has this account",
        field="account",
        value=statement.account,
        rule="an IBAN in the business details of a partner with payments",
    )


async def _apply(books: Books, house: House) -> dict[EntryKey, str]:
    """Tell payments of what was matched and not told yet; what was refused of it, and why."""
    refusals: dict[EntryKey, str] = {}
    async with books.open() as book:
        waiting = await book.unapplied()
    if not waiting:
        return refusals
    # Of any state: a payment may have been taken back since an entry was found to be about it.
    payment_ids = {one.reference: one.payment_id for one in await _payments(None, None, house)}
    for one in waiting:
        refused: str | None = None
        async with books.open() as book:
            told_already = await book.told_from_elsewhere(one.reference, one.key.account)
        if told_already:
            # The money that leaves one account and comes to the other is the same.
            refused = "the bank of the other side has told of this payment: look which is right"
        elif one.amount_minor:
            try:
                await settling_flows.record_payment(
                    payment_ids[one.reference],
                    Money(one.amount_minor, one.currency),
                    one.booked_at,
                    "bank " + " ".join(map(str, one.key)),
                    house=house,
                )
            except Refusal as refusal:
                # For a person to look at; the rest of the file goes on.
                refused = refusal.detail
        async with books.open() as book:
            await book.applied(one.key, house.clock(), refused)
        if refused is not None:
            refusals[one.key] = refused
    return refusals


@dataclass(frozen=True, slots=True)
class SetOffDocument:
    """A party's part of a settlement, with the invoices and credit notes that it settles."""

    set_off: SetOff
    invoices: Sequence[Found]

    @property
    def without_invoice(self) -> Sequence[PairTotal]:
        """The pairs of which nothing could be invoiced; owed, and settled, all the same."""
        invoiced = {
            (one.invoice.seller.party, one.invoice.buyer.party, one.invoice.currency)
            for one in self.invoices
        }
        return [
            pair
            for pair in self.set_off.pairs
            if (pair.creditor, pair.debtor, pair.currency) not in invoiced
        ]


async def set_off_documents(
    month: Month, party: PartyId, *, house: House, invoices: Invoices
) -> list[SetOffDocument]:
    """What a party's payments of a settled month settle, invoice by invoice."""
    found = await settling_flows.set_offs(month, party, books=house.books)
    issued: list[Found] = []
    after = 0
    while page := await invoicing_flows.page(
        party=party,
        # The hub is one of two parties here, not the one that sees all.
        hub=_NOBODY,
        period_id=str(month),
        after=after,
        limit=PAGE,
        books=invoices,
    ):
        issued += page
        after = page[-1].position
    documents = []
    for one in found:
        pairs = {(pair.creditor, pair.debtor, pair.currency) for pair in one.pairs}
        documents.append(
            SetOffDocument(
                one,
                [
                    paper
                    for paper in issued
                    if paper.clearing_group == one.clearing_group
                    and (
                        paper.invoice.seller.party,
                        paper.invoice.buyer.party,
                        paper.invoice.currency,
                    )
                    in pairs
                ],
            )
        )
    return documents


_NOBODY = PartyId("ZZ*ZZZ")
