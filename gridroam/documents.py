"""All documents of a month as files, and what a bank's file tells.

2025-01/FRPD1/statement-EUR.json|csv|pdf
2025-01/FRPD1/set-off.pdf                          of a settled month: what payments settle
2025-01/FRPD1/sent/FRPD1-2025-000001.xml|pdf       invoices and credit notes that it sent
2025-01/DEXYZ/received/FRPD1-2025-000001.xml|pdf   the same files, for whom they are to
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearinghouse.invoicing import flows as invoicing_flows
from clearinghouse.invoicing.ports import Books as Invoices
from clearinghouse.invoicing.ports import Found
from clearinghouse.invoicing.store import SqlBooks as SqlInvoices
from clearinghouse.netting.model import Period
from clearinghouse.payments import flows as payment_flows
from clearinghouse.payments.flows import Imported
from clearinghouse.payments.model import Outcome
from clearinghouse.payments.paper import print_set_off
from clearinghouse.payments.store import SqlBooks as SqlBank
from clearinghouse.periods import flows as period_flows
from clearinghouse.periods.model import Month, State
from clearinghouse.settlement import flows as settlement_flows
from clearinghouse.settlement.model import Statement
from clearinghouse.settlement.paper import print_statement
from clearinghouse.settlement.ports import After
from clearinghouse.settlement.ports import Books as Statements
from clearinghouse.settlement.routes import item_shown, items_csv, shown, statement_csv
from clearinghouse.settlement.store import SqlBooks as SqlStatements
from clearinghouse.settling.flows import House
from documents.paper import print_invoice
from documents.printed import printer
from gridroam import clearing
from gridroam.answers import BusinessesForInvoicing, DirectoryForConsole
from gridroam.office import content_of, open_core
from kit.encoding import encode_json
from roaming.money import Money
from roaming.party import PartyId

AT_ONCE = 500
ITEMS_AT_ONCE = 10_000


@dataclass(slots=True)
class Written:
    """How much there was, by kind."""

    partners: int = 0
    statements: int = 0
    invoices: int = 0
    set_offs: int = 0
    items: int = 0


Progress = Callable[[str, int, int], None]
"""Of what kind so many of so many are written."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What writing documents needs. `house`: of a settled month, for what was set off. `items`:
    also each charge of each partner, as CSV.
    """

    statements: Statements
    invoices: Invoices
    names: Mapping[str, str]
    hub: PartyId
    out: Path
    house: House | None = None
    items: bool = False
    progress: Progress = lambda kind, done, total: None


async def write_month(
    home: Path,
    database_url: str | None,
    period_id: str,
    out: Path,
    *,
    items: bool,
    progress: Progress,
) -> Written:
    """The documents of a month of the hub on `home`; of one that runs, as it stands."""
    month = Month.parse(period_id)
    async with open_core(home, database_url) as parts:
        overview = await period_flows.show(month, books=clearing.periods(parts))
        desk = Desk(
            statements=SqlStatements(parts.database),
            invoices=SqlInvoices(parts.database),
            names=await DirectoryForConsole(parts.partners).names(),
            hub=parts.hub,
            out=out,
            house=clearing.settling(parts) if overview.period.state is State.SETTLED else None,
            items=items,
            progress=progress,
        )
        return await write_documents(month, [one.currency for one in overview.totals], desk)


async def write_documents(month: Month, currencies: list[str], desk: Desk) -> Written:
    """Every document of a month; what is there already is written over with the same."""
    written = Written()
    folder = desk.out / str(month)
    parties: set[PartyId] = set()
    period = Period(month.starts_at, month.ends_at)
    for currency in currencies:
        drawn_up = await settlement_flows.statements(period, currency, books=desk.statements)
        for number, (party, statement) in enumerate(drawn_up.items(), start=1):
            own = folder / party.compact
            own.mkdir(parents=True, exist_ok=True)
            _write_statement(own, statement, desk)
            if desk.items:
                written.items += await _write_items(own, party, period, currency, desk)
            parties.add(party)
            written.statements += 1
            desk.progress(f"statements in {currency}", number, len(drawn_up))
    written.partners = len(parties)
    total = await invoicing_flows.count(month, books=desk.invoices)
    after = 0
    while page := await invoicing_flows.page(
        party=desk.hub,
        hub=desk.hub,
        period_id=str(month),
        after=after,
        limit=AT_ONCE,
        books=desk.invoices,
    ):
        for found in page:
            _write_invoice(folder, found)
            written.invoices += 1
            desk.progress("invoices", written.invoices, total)
        after = page[-1].position
    if desk.house is not None:
        for number, party in enumerate(sorted(parties), start=1):
            written.set_offs += await _write_set_off(
                folder / party.compact, party, month, desk, desk.house
            )
            desk.progress("set-off statements", number, len(parties))
    return written


async def _write_set_off(
    folder: Path, party: PartyId, month: Month, desk: Desk, house: House
) -> int:
    found = await payment_flows.set_off_documents(month, party, house=house, invoices=desk.invoices)
    if not found:
        return 0
    paper = print_set_off(
        party,
        str(month),
        found,
        printer(),
        day=month.ends_at.date(),
        name_of=lambda one: desk.names.get(one, one),
    )
    (folder / "set-off.pdf").write_bytes(paper)
    return 1


def _write_statement(folder: Path, statement: Statement, desk: Desk) -> None:
    name = f"statement-{statement.currency}"
    told = shown(statement).model_dump(mode="json", by_alias=True)
    (folder / f"{name}.json").write_bytes(encode_json(told))
    (folder / f"{name}.csv").write_text(statement_csv(statement), encoding="utf-8", newline="")
    paper = print_statement(
        statement,
        printer(),
        day=statement.period.end.date(),
        name_of=lambda party: desk.names.get(party, party),
    )
    (folder / f"{name}.pdf").write_bytes(paper)


async def _write_items(
    folder: Path, party: PartyId, period: Period, currency: str, desk: Desk
) -> int:
    """The charges one by one, a page at a time: of a large partner there are many."""
    after: After | None = None
    counted = 0
    with (folder / f"items-{currency}.csv").open("w", encoding="utf-8", newline="") as file:
        while page := await settlement_flows.items(
            party, period, currency, after=after, limit=ITEMS_AT_ONCE, books=desk.statements
        ):
            text = items_csv(item_shown(one, currency) for one in page)
            # The head stands once.
            file.write(text if after is None else text.partition("\n")[2])
            after = After(page[-1].value_at, page[-1].position)
            counted += len(page)
    return counted


def _write_invoice(folder: Path, found: Found) -> None:
    invoice = found.invoice
    sent = folder / invoice.seller.party.compact / "sent"
    received = folder / invoice.buyer.party.compact / "received"
    sent.mkdir(parents=True, exist_ok=True)
    received.mkdir(parents=True, exist_ok=True)
    for name, content in (
        (f"{invoice.number}.xml", found.xml),
        (f"{invoice.number}.pdf", print_invoice(invoice, found.xml, printer())),
    ):
        (sent / name).write_bytes(content)
        with suppress(FileNotFoundError):
            (received / name).unlink()
        try:
            os.link(sent / name, received / name)
        except OSError:
            shutil.copyfile(sent / name, received / name)


async def import_bank_file(home: Path, database_url: str | None, file: Path) -> dict[str, Any]:
    """Read a bank's file; what each entry of it was found to be."""
    told = await content_of(file)
    async with open_core(home, database_url) as parts:
        await parts.businesses.load()
        found = await payment_flows.import_statements(
            told,
            books=SqlBank(parts.database),
            house=clearing.settling(parts),
            businesses=BusinessesForInvoicing(parts.businesses),
        )
    return {"statements": [_imported(one) for one in found]}


def _imported(one: Imported) -> dict[str, Any]:
    return {
        "statement_id": one.statement.statement_id,
        "account": one.statement.account,
        "party": one.owner,
        "entries": len(one.statement.entries),
        "known_already": one.known,
        "pending": one.statement.pending,
        "outcomes": dict(Counter(match.outcome.value for match in one.matches)),
        "for_a_person": [
            {
                "entry": match.entry.key.entry_ref,
                "amount": str(Money(match.entry.amount_minor, match.entry.currency)),
                "outcome": match.outcome.value,
                "because": match.because,
                "reference": match.reference,
                "guesses": list(match.guesses),
            }
            for match in one.matches
            if match.outcome is not Outcome.MATCHED
        ],
        "refused": [
            {"statement_id": key.statement_id, "entry": key.entry_ref, "because": why}
            for key, why in one.refused.items()
        ],
    }
