"""Bank statements: ISO 20022 camt.053, of any version, since banks are slow to change theirs.

A file from outside: no entities, no network, a limit to its size. What is only pending is not read,
since it may still not come to be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date as Day
from decimal import Decimal, InvalidOperation

from lxml import etree

from clearinghouse.payments.model import BadBankFile, BankEntry, EntryKey
from roaming.money import BadMoney, places_of

LARGEST_BYTES = 64 << 20
BOOKED = "BOOK"
NOT_PROVIDED = "NOTPROVIDED"
_NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001."


@dataclass(frozen=True, slots=True)
class BankStatement:
    """One account's statement. `pending`: how many entries were not booked yet, and left out."""

    statement_id: str
    account: str
    entries: tuple[BankEntry, ...]
    pending: int = 0


def read_statements(file: bytes) -> tuple[BankStatement, ...]:
    """The statements in a file. Raises BadBankFile, which says where."""
    if len(file) > LARGEST_BYTES:
        raise _bad("the file is too large", str(len(file)), f"at most {LARGEST_BYTES} bytes")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_pis=True
    )
    try:
        root = etree.fromstring(file, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise _bad(f"not XML: {error}", None, "ISO 20022 camt.053") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise _bad("the file declares a document type", None, "XML without a DOCTYPE")
    if not str(root.tag).startswith(f"{{{_NAMESPACE}"):
        raise _bad("not a camt.053", str(root.tag)[:100], f"the namespace {_NAMESPACE}NN")
    statements = tuple(_statement(one) for one in _all(root, "BkToCstmrStmt", "Stmt"))
    if not statements:
        raise _bad("no statement in the file", None, "BkToCstmrStmt/Stmt")
    return statements


def _statement(node: etree._Element) -> BankStatement:
    statement_id = _needed(node, "Id")
    account = _text(node, "Acct", "Id", "IBAN") or _text(node, "Acct", "Id", "Othr", "Id")
    if account is None:
        raise _bad("a statement without an account", statement_id, "Stmt/Acct/Id")
    entries: list[BankEntry] = []
    named: Counter[str] = Counter()
    pending = 0
    for number, entry in enumerate(_all(node, "Ntry"), start=1):
        # Version 02 says it in one word, later ones in a code.
        status = _text(entry, "Sts", "Cd") or _text(entry, "Sts")
        if status != BOOKED:
            pending += 1
            continue
        reference = _text(entry, "AcctSvcrRef") or _text(entry, "NtryRef") or f"#{number}"
        named[reference] += 1
        if named[reference] > 1:
            # Banks that have no reference of their own give all entries the same word.
            reference = f"{reference}#{named[reference]}"
        entries += _entries(entry, EntryKey(account, statement_id, reference, 0))
    return BankStatement(statement_id, account, tuple(entries), pending)


def _entries(entry: etree._Element, key: EntryKey) -> Iterator[BankEntry]:
    """One for each payment in it, where the bank tells them apart and they make up the sum."""
    whole, currency = _amount(entry, key.entry_ref)
    details = [one for group in _all(entry, "NtryDtls") for one in _all(group, "TxDtls")]
    amounts = [_own_amount(one, entry, currency, key.entry_ref) for one in details]
    if len(details) > 1 and None not in amounts and sum(filter(None, amounts)) == whole:
        for number, (detail, amount) in enumerate(zip(details, amounts, strict=True)):
            assert amount is not None
            yield _entry(entry, detail, key._replace(number=number), amount, currency)
        return
    only = details[0] if len(details) == 1 else None
    yield _entry(entry, only, key, whole, currency)


def _entry(
    entry: etree._Element,
    detail: etree._Element | None,
    key: EntryKey,
    amount_minor: int,
    currency: str,
) -> BankEntry:
    returned = _text(entry, "RvslInd") in ("true", "1")
    booked = _text(entry, "BookgDt", "Dt") or _text(entry, "BookgDt", "DtTm")
    said = {
        "key": key,
        "booked_on": _day(booked, key.entry_ref),
        "currency": currency,
        "amount_minor": amount_minor,
    }
    if detail is None:
        text = _text(entry, "AddtlNtryInf") or ""
        return BankEntry(**said, text=text, returned=returned)  # type: ignore[arg-type]
    end_to_end = _text(detail, "Refs", "EndToEndId")
    reason = _first(detail, "RtrInf")
    # Money that came is of the debtor, money that left is for the creditor; of a return, the
    # parties are those of the payment that comes back.
    back = returned or reason is not None
    other = "Dbtr" if (amount_minor > 0) != back else "Cdtr"
    texts = [
        *(one.text or "" for one in _all(detail, "RmtInf", "Ustrd")),
        *(one.text or "" for one in _all(detail, "RmtInf", "Strd", "CdtrRefInf", "Ref")),
        _text(detail, "AddtlTxInf") or "",
    ]
    return BankEntry(
        **said,  # type: ignore[arg-type]
        end_to_end_id=None if end_to_end == NOT_PROVIDED else end_to_end,
        counterparty_iban=_text(detail, "RltdPties", f"{other}Acct", "Id", "IBAN"),
        counterparty_name=_text(detail, "RltdPties", other, "Pty", "Nm")
        or _text(detail, "RltdPties", other, "Nm"),
        text=" ".join(filter(None, texts)),
        returned=back,
        reason=None if reason is None else _reason(reason),
    )


def _reason(node: etree._Element) -> str:
    code = _text(node, "Rsn", "Cd") or _text(node, "Rsn", "Prtry") or ""
    words = " ".join(one.text or "" for one in _all(node, "AddtlInf"))
    return " ".join(filter(None, (code, words)))


def _own_amount(
    detail: etree._Element, entry: etree._Element, currency: str, where: str
) -> int | None:
    found = _first(detail, "Amt")
    if found is None:
        found = _first(detail, "AmtDtls", "TxAmt", "Amt")
    if found is None or found.get("Ccy") != currency:
        return None
    minor = _minor(found.text, currency, where)
    return minor * _sign(detail, _sign(entry, None, where), where)


def _amount(entry: etree._Element, where: str) -> tuple[int, str]:
    amount = _first(entry, "Amt")
    if amount is None:
        raise _bad("an entry without an amount", where, "Ntry/Amt")
    currency = amount.get("Ccy") or ""
    return _minor(amount.text, currency, where) * _sign(entry, None, where), currency


def _sign(node: etree._Element, otherwise: int | None, where: str) -> int:
    said = _text(node, "CdtDbtInd")
    if said is None and otherwise is not None:
        return otherwise
    if said not in ("CRDT", "DBIT"):
        raise _bad("credit or debit?", where, "CdtDbtInd: CRDT or DBIT")
    return 1 if said == "CRDT" else -1


def _minor(text: str | None, currency: str, where: str) -> int:
    try:
        places = places_of(currency)
        amount = Decimal(text or "")
        if not amount.is_finite() or not 0 <= amount < 10**16:
            raise ValueError("out of range")
        minor = amount.scaleb(places)
        if minor != minor.to_integral_value():
            raise ValueError("more places than the currency has")
    except (BadMoney, InvalidOperation, ValueError) as error:
        raise _bad(
            f"no amount of {currency!r}: {text!r} ({error})",
            where,
            "a decimal and an ISO 4217 code",
        ) from None
    return int(minor)


def _day(text: str | None, where: str) -> Day:
    try:
        return Day.fromisoformat((text or "")[:10])
    except ValueError:
        raise _bad(f"no day: {text!r}", where, "BookgDt, as 2025-02-03") from None


def _all(node: etree._Element, *path: str) -> Sequence[etree._Element]:
    found = [node]
    for name in path:
        found = [child for one in found for child in one.iterchildren(f"{{*}}{name}")]
    return found


def _first(node: etree._Element, *path: str) -> etree._Element | None:
    found = _all(node, *path)
    return found[0] if found else None


def _text(node: etree._Element, *path: str) -> str | None:
    found = _first(node, *path)
    text = None if found is None else (found.text or "").strip()
    return text or None


def _needed(node: etree._Element, *path: str) -> str:
    text = _text(node, *path)
    if text is None:
        raise _bad(f"no {'/'.join(path)}", None, "ISO 20022 camt.053")
    return text


def _bad(detail: str, value: str | None, rule: str) -> BadBankFile:
    return BadBankFile(detail, field="file", value=value, rule=rule)
