"""Payment files for banks: ISO 20022 pain.001.001.09, as SEPA credit transfers.

The same payments give the same file, so a bank that is handed it twice can tell.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date as Day
from datetime import datetime
from hashlib import sha256
from typing import Any

from sepaxml import SepaTransfer

from clearinghouse.payments.model import BankAccount, Due, NoPaymentFile

SCHEMA = "pain.001.001.09"
CURRENCY = "EUR"
# EPC217-08: what every bank of SEPA takes; sepaxml has brought it to ASCII before.
_NOT_SEPA = re.compile(r"[^A-Za-z0-9/?:().,'+ -]")


def payment_file(
    payer: BankAccount, dues: Sequence[Due], *, made_at: datetime, execute_on: Day
) -> bytes:
    """One file of all that a payer owes. Raises NoPaymentFile, which says what is missing."""
    _check(payer, dues)
    config = {
        "name": payer.name,
        "IBAN": payer.iban,
        "currency": CURRENCY,
        "batch": True,
        **({} if payer.bic is None else {"BIC": payer.bic}),
    }
    transfer = SepaTransfer(config, schema=SCHEMA, clean=True)
    for due in sorted(dues, key=lambda due: due.reference):
        transfer.add_payment(_payment(due, execute_on))
    transfer._finalize_batch()
    _settle_names(transfer, _message_id(payer, dues, execute_on), made_at)
    # Its batches are written already.
    transfer._batches.clear()
    exported: bytes = transfer.export(validate=False)
    return exported


def _check(payer: BankAccount, dues: Sequence[Due]) -> None:
    if not dues:
        raise NoPaymentFile("nothing is to be paid", rule="at least one open payment")
    for due in dues:
        if due.currency != CURRENCY:
            raise NoPaymentFile(
                f"{due.reference} is due in {due.currency}",
                field="currency",
                value=due.currency,
                rule="SEPA moves euros only; other currencies are paid by the bank's own means",
            )
    accounts = [(payer, f"the payer {payer.party}")]
    for due in dues:
        payee = due.payee_account or BankAccount(due.payee, "", None)
        accounts.append((payee, f"the payee {due.payee}"))
    for account, whose in accounts:
        if account.iban is None:
            raise NoPaymentFile(
                f"{whose} has no account on record",
                field="iban",
                value=account.party,
                rule="an IBAN in the business details of both",
            )


def _payment(due: Due, execute_on: Day) -> dict[str, Any]:
    payee = due.payee_account
    assert payee is not None
    return {
        "name": payee.name,
        "IBAN": payee.iban,
        "amount": due.open_minor,
        "execution_date": execute_on,
        "description": f"{due.reference} {due.about}".strip(),
        "endtoend_id": due.reference,
        **({} if payee.bic is None else {"BIC": payee.bic}),
    }


def _message_id(payer: BankAccount, dues: Sequence[Due], execute_on: Day) -> str:
    owed = sorted(f"{due.reference}:{due.open_minor}" for due in dues)
    told = "|".join([payer.party, execute_on.isoformat(), *owed])
    return f"GR{sha256(told.encode()).hexdigest()[:30].upper()}"


def _settle_names(transfer: SepaTransfer, message_id: str, made_at: datetime) -> None:
    """Ours come from the payments; the library takes random ones and the clock of the machine."""
    root = transfer._xml
    for path, text in (
        (".//GrpHdr/MsgId", message_id),
        (".//GrpHdr/CreDtTm", made_at.strftime("%Y-%m-%dT%H:%M:%S")),
    ):
        node = root.find(path)
        assert node is not None
        node.text = text
    for name in ("Nm", "Ustrd"):
        for node in root.iter(name):
            node.text = _NOT_SEPA.sub(" ", node.text or "").strip() or "-"
    for number, node in enumerate(root.findall(".//PmtInfId"), start=1):
        node.text = f"{message_id[:30]}-{number}"
