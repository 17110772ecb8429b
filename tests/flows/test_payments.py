"""A settled month is paid: the payer's bank gets a file; what a bank tells is counted once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from pypdf import PdfReader

from clearinghouse.invoicing.store import SqlBooks as Invoices
from clearinghouse.ledger.store import SqlLedger
from clearinghouse.payments import flows
from clearinghouse.payments import tasks as payment_tasks
from clearinghouse.payments.camt053 import read_statements
from clearinghouse.payments.flows import Imported
from clearinghouse.payments.model import BadBankFile, Outcome, match
from clearinghouse.payments.store import SqlBooks
from clearinghouse.periods.model import Month
from clearinghouse.settlement.store import SqlBooks as Statements
from clearinghouse.settling.flows import House
from gridroam import clearing
from gridroam.answers import BusinessesForInvoicing
from gridroam.documents import Desk, Written, write_documents
from kit import event_log
from kit.clock import utc_now
from kit.event_log import START, Event
from roaming.events import EventType
from tests.clearinghouse.payments.samples import EVSP as PAYER
from tests.clearinghouse.payments.samples import OPERATOR as PAYEE
from tests.clearinghouse.payments.samples import camt, ntry, tx
from tests.clearinghouse.payments.test_pain001 import NS, schema
from tests.flows.test_vat import BERLIN, LYON, tells
from tests.flows.world import CARD, EVSE, World, settled, world
from tests.hub import CLEARING_HOUSE, Hub, Partner, until

LAST_MONTH = Month.of(utc_now().replace(day=1) - timedelta(days=1))
ENDED = datetime(LAST_MONTH.year, LAST_MONTH.number, 20, 12, tzinfo=UTC)


@pytest.fixture
async def month(hub: Hub) -> World:
    """10 kWh at 0.50 EUR with VAT of 20 %: 6.00 EUR, invoiced and settled."""
    found = await world(hub)
    record = {
        "cdr_id": "A-1",
        "evse_id": EVSE,
        "token_uid": CARD,
        "start": (ENDED - timedelta(hours=1)).isoformat(),
        "end": ENDED.isoformat(),
        "energy_wh": 10_000,
    }
    await found.operator.post(f"{CLEARING_HOUSE}/cdrs", record)
    await tells(found.operator, LYON | {"iban": PAYEE.iban})
    await tells(found.evsp, BERLIN | {"iban": PAYER.iban})
    await settled(hub, str(LAST_MONTH))
    return found


async def told_by_bank(hub: Hub, file: bytes) -> list[Imported]:
    await hub.parts.businesses.load()
    return await flows.import_statements(
        file,
        books=SqlBooks(hub.parts.database),
        house=clearing.settling(hub.parts),
        businesses=BusinessesForInvoicing(hub.parts.businesses),
    )


async def payment(partner: Partner) -> dict[str, Any]:
    (one,) = (await partner.get(f"{CLEARING_HOUSE}/settlement-payments"))["payments"]
    found: dict[str, Any] = one
    return found


async def raw(partner: Partner, path: str) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {partner.token}"}
    answer = await partner.http.get(f"{CLEARING_HOUSE}{path}", headers=headers)
    return answer.status_code, answer.content


async def test_from_the_payer_s_file_to_the_payee_s_bank_statement(month: World, hub: Hub) -> None:
    status, file = await raw(month.evsp, f"/payment-files/{LAST_MONTH}")
    assert status == 200
    root = etree.fromstring(file)
    schema().assertValid(root)
    due = await payment(month.evsp)
    assert [one.text for one in root.iterfind(".//p:EndToEndId", NS)] == [due["reference"]]
    assert [one.text for one in root.iterfind(".//p:InstdAmt", NS)] == ["6.00"]

    came = camt(ntry("6.00", tx(due["reference"], "6.00")))
    ((found,),) = [one.matches for one in await told_by_bank(hub, came)]
    assert found.outcome is Outcome.MATCHED
    paid = await payment(month.operator)
    assert (paid["state"], paid["open"]) == ("paid", "0.00")
    # The same file again counts nothing, and there is nothing left to be put into a file.
    (again,) = await told_by_bank(hub, came)
    assert (list(again.matches), again.known) == ([], 1)
    status, _ = await raw(month.evsp, f"/payment-files/{LAST_MONTH}")
    assert status == 404
    balances = await SqlLedger(hub.parts.database).balances(month.operator.party)
    assert all(one.amount.minor == 0 for one in balances)

    back = camt(
        ntry("6.00", tx(due["reference"], "6.00", sign="DBIT", returned="AC04"), sign="DBIT"),
        statement_id="STMT-2",
    )
    ((found,),) = [one.matches for one in await told_by_bank(hub, back)]
    assert found.outcome is Outcome.RETURNED
    open_again = await payment(month.operator)
    assert (open_again["state"], open_again["open"]) == ("due", "6.00")
    assert list((await SqlLedger(hub.parts.database).audit()).faults) == []


async def test_what_is_broken_off_after_matching_is_gone_on_with(month: World, hub: Hub) -> None:
    due = await payment(month.operator)
    came = camt(ntry("6.00", tx(due["reference"], "6.00")))
    await hub.parts.businesses.load()
    house, bank = clearing.settling(hub.parts), SqlBooks(hub.parts.database)
    dues = [
        flows.due_of(one, BusinessesForInvoicing(hub.parts.businesses), house.clock)
        for one in await flows._payments(None, None, house)
    ]
    (statement,) = read_statements(came)
    async with bank.open() as book:
        matches = match(month.operator.party, statement.entries, dues)
        await book.keep(month.operator.party, matches, utc_now())
    assert (await payment(month.operator))["state"] == "due"
    await told_by_bank(hub, came)
    assert (await payment(month.operator))["state"] == "paid"


async def test_what_was_matched_to_a_payment_that_is_no_more_waits_for_a_person(
    month: World, hub: Hub
) -> None:
    due = await payment(month.operator)
    came = camt(ntry("6.00", tx(due["reference"], "6.00")))
    await hub.parts.businesses.load()
    house, bank = clearing.settling(hub.parts), SqlBooks(hub.parts.database)
    [one] = await flows._payments(None, None, house)
    dues = [flows.due_of(one, BusinessesForInvoicing(hub.parts.businesses), house.clock)]
    (statement,) = read_statements(came)
    async with bank.open() as book:
        matches = match(month.operator.party, statement.entries, dues)
        await book.keep(month.operator.party, matches, utc_now())
    # The hub was killed here; before the file comes again the payee gives up what it was owed.
    await month.operator.post(f"{CLEARING_HOUSE}/settlement-payments/{due['payment_id']}/write-off")
    (again,) = await told_by_bank(hub, came)
    assert again.known == 1
    assert (await payment(month.operator))["state"] == "written-off"
    async with hub.parts.database.hot() as connection:
        why = await connection.fetchval("SELECT refused FROM clearinghouse.bank_entry")
    assert why == "the payment is written-off"


async def test_both_banks_tell_of_the_same_money_and_it_counts_once(month: World, hub: Hub) -> None:
    due = await payment(month.operator)
    left = camt(ntry("2.00", tx(due["reference"], "2.00", sign="DBIT"), sign="DBIT"))
    left = left.replace(str(PAYEE.iban).encode(), str(PAYER.iban).encode())
    (of_payer,) = await told_by_bank(hub, left)
    assert (of_payer.owner, of_payer.refused) == (month.evsp.party, {})
    assert (await payment(month.operator))["open"] == "4.00"
    (of_payee,) = await told_by_bank(hub, camt(ntry("2.00", tx(due["reference"], "2.00"))))
    [(key, why)] = of_payee.refused.items()
    assert key.account == PAYEE.iban
    assert why.startswith("the bank of the other side has told of this payment")
    assert (await payment(month.operator))["open"] == "4.00"


async def test_more_than_is_open_pays_what_is_open_and_says_so(month: World, hub: Hub) -> None:
    due = await payment(month.operator)
    ((found,),) = [
        one.matches
        for one in await told_by_bank(hub, camt(ntry("7.00", tx(due["reference"], "7.00"))))
    ]
    assert (found.outcome, found.over_minor) == (Outcome.OVER, 100)
    assert (await payment(month.operator))["state"] == "paid"


async def test_an_account_that_nobody_here_has_is_refused(month: World, hub: Hub) -> None:
    foreign = camt(ntry("1.00")).replace(str(PAYEE.iban).encode(), b"NL91ABNA0417164300")
    with pytest.raises(BadBankFile, match="nobody"):
        await told_by_bank(hub, foreign)


async def test_what_was_set_off_is_told_invoice_by_invoice(month: World) -> None:
    path = f"/set-off-statements/{LAST_MONTH}/invoices"
    for partner, owed, owing in ((month.operator, "6.00", "0.00"), (month.evsp, "0.00", "6.00")):
        (group,) = (await partner.get(f"{CLEARING_HOUSE}{path}"))["groups"]
        assert (group["owed"], group["owing"]) == (owed, owing)
        (invoice,) = group["invoices"]
        assert (invoice["total"], group["not_invoiced"]) == ("6.00", [])
        assert [one["amount"] for one in group["payments"]] == ["6.00"]
        status, pdf = await raw(partner, f"{path}?format=pdf")
        assert status == 200
        text = " ".join(page.extract_text() for page in PdfReader(BytesIO(pdf)).pages)
        for words in ("Set-off", invoice["number"], group["payments"][0]["reference"], "6.00"):
            assert words in text


async def test_the_documents_of_a_settled_month_hold_what_was_set_off(
    month: World, hub: Hub, tmp_path: Path
) -> None:
    desk = Desk(
        statements=Statements(hub.parts.database),
        invoices=Invoices(hub.parts.database),
        names={},
        hub=hub.parts.hub,
        out=tmp_path,
        house=clearing.settling(hub.parts),
    )
    assert await write_documents(LAST_MONTH, ["EUR"], desk) == Written(2, 2, 1, set_offs=2)
    (invoice,) = (await month.evsp.get(f"{CLEARING_HOUSE}/invoices"))["invoices"]
    pdf = (tmp_path / str(LAST_MONTH) / month.evsp.party.compact / "set-off.pdf").read_bytes()
    assert invoice["number"] in PdfReader(BytesIO(pdf)).pages[0].extract_text()


def later(hub: Hub, days: int) -> House:
    """The house so many days from now; payments are due in 30."""
    house = clearing.settling(hub.parts)
    return replace(house, clock=lambda: utc_now() + timedelta(days))


async def test_who_does_not_pay_is_reminded_once_for_each_level(month: World, hub: Hub) -> None:
    books = SqlBooks(hub.parts.database)
    await hub.parts.businesses.load()
    businesses = BusinessesForInvoicing(hub.parts.businesses)

    async def remind(days: int) -> int:
        return await flows.remind(books=books, house=later(hub, days), businesses=businesses)

    assert await remind(0) == 0
    worker = payment_tasks.reminders(books, later(hub, 40), businesses)
    worker.start()

    async def reminded() -> bool:
        return bool((await month.evsp.get(f"{CLEARING_HOUSE}/reminders"))["reminders"])

    await until(reminded)
    await worker.close()
    assert await remind(41) == 0
    assert await remind(52) == 1
    told = (await month.evsp.get(f"{CLEARING_HOUSE}/reminders"))["reminders"]
    assert [one["level"] for one in told] == ["second", "first"]
    assert (await month.operator.get(f"{CLEARING_HOUSE}/reminders"))["reminders"] == told
    path = f"/reminders/{told[0]['reference']}/second"
    status, pdf = await raw(month.evsp, path)
    assert status == 200
    assert "Second reminder" in PdfReader(BytesIO(pdf)).pages[0].extract_text()
    assert (await raw(month.evsp, path.replace("second", "final")))[0] == 404
    events = await logged(hub, EventType.PAYMENT_REMINDED)
    assert [one.body["level"] for one in events] == ["first", "second"]
    # It is paid: there is no further one.
    await told_by_bank(hub, camt(ntry("6.00", tx(told[0]["reference"], "6.00"))))
    assert await remind(400) == 0


async def logged(hub: Hub, kind: EventType) -> list[Event]:
    async with hub.parts.database.hot() as connection:
        return await event_log.read(connection, START, types=[kind])
