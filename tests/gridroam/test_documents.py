"""A month's documents as files: complete, the same when written again, and nobody else's."""

from __future__ import annotations

import csv
import json
from hashlib import sha256
from pathlib import Path

import facturx
import pytest

from clearinghouse.invoicing.store import SqlBooks as Invoices
from clearinghouse.settlement.store import SqlBooks as Statements
from gridroam.documents import Desk, Written, write_documents
from gridroam.office import content_of
from kit.database import Database
from roaming.refusal import Malformed
from tests.clearinghouse.cdrs.fakes import OTHER_CONTRACT, many
from tests.clearinghouse.invoicing.fakes import HUB, JANUARY, Months


@pytest.fixture
async def months(database: Database) -> Months:
    months = Months(database)
    await months.book(
        [
            *many(3),
            *many(
                2,
                prefix="=O",
                first=JANUARY.starts_at.replace(day=9),
                contract_id=str(OTHER_CONTRACT),
            ),
        ]
    )
    await months.close()
    return months


async def written(months: Months, out: Path, *, items: bool = True) -> Written:
    told: list[tuple[str, int, int]] = []
    desk = Desk(
        statements=Statements(months.database),
        invoices=Invoices(months.database),
        names={"FR*PD1": "Point du Jour"},
        hub=HUB,
        out=out,
        items=items,
        progress=lambda *one: told.append(one),
    )
    done = await write_documents(JANUARY, ["EUR"], desk)
    assert told[-1] == ("invoices", done.invoices, done.invoices)
    return done


def files_in(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


async def test_every_partner_has_its_statement_and_its_invoices(
    months: Months, tmp_path: Path
) -> None:
    assert await written(months, tmp_path) == Written(3, 3, 2, items=10)
    statement = [f"statement-EUR.{form}" for form in ("csv", "json", "pdf")]
    sent = [f"sent/FRPD1-2025-00000{n}.{form}" for n in (1, 2) for form in ("pdf", "xml")]
    assert sorted(files_in(tmp_path / "2025-01" / "FRPD1")) == sorted(
        [*statement, *sent, "items-EUR.csv"]
    )
    assert sorted(files_in(tmp_path / "2025-01" / "DEBET")) == sorted(
        [
            *statement,
            "received/FRPD1-2025-000001.pdf",
            "received/FRPD1-2025-000001.xml",
            "items-EUR.csv",
        ]
    )


async def test_what_they_say_is_what_the_hub_says(months: Months, tmp_path: Path) -> None:
    await written(months, tmp_path)
    own = tmp_path / "2025-01" / "FRPD1"
    statement = json.loads((own / "statement-EUR.json").read_bytes())
    assert statement["owed"] == {"amount": "25.00", "vat": "5.00", "cdrs": 5}
    with (own / "items-EUR.csv").open(newline="") as file:
        items = list(csv.DictReader(file))
    assert len(items) == 5
    # An operator chooses the ids; a spreadsheet must not run them.
    assert [one["cdr_id"] for one in items if "O" in one["cdr_id"]] == ["'=O-0", "'=O-1"]
    (found, _) = await months.invoices()
    xml = (own / "sent" / f"{found.invoice.number}.xml").read_bytes()
    assert xml == found.xml
    pdf = (own / "sent" / f"{found.invoice.number}.pdf").read_bytes()
    assert facturx.get_facturx_xml_from_pdf(pdf)[1] == xml


async def test_written_again_they_are_the_same(months: Months, tmp_path: Path) -> None:
    await written(months, tmp_path / "one")
    await written(months, tmp_path / "two")
    await written(months, tmp_path / "two")
    assert files_in(tmp_path / "one") == files_in(tmp_path / "two")


async def test_charges_one_by_one_only_when_asked_for(months: Months, tmp_path: Path) -> None:
    assert (await written(months, tmp_path, items=False)).items == 0
    assert not [name for name in files_in(tmp_path) if "items-" in name]


async def test_a_bank_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match="cannot read") as refused:
        await content_of(tmp_path / "camt.xml")
    assert (refused.value.field, refused.value.value) == ("FILE", tmp_path / "camt.xml")
