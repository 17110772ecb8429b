"""An invoice on paper: people read the page, programs the XML in it, and both say the same."""

from __future__ import annotations

import re
from io import BytesIO
from typing import cast

import facturx
import pytest
from pypdf import PdfReader
from pypdf.generic import StreamObject

from documents.en16931 import to_xml
from documents.invoice import Invoice
from documents.paper import hybrid, print_invoice
from documents.printed import amount, iban, printer
from tests.documents.norm import broken_rules
from tests.documents.samples import STANDARD_19, invoice, line
from tests.documents.test_en16931 import GOOD


def pdf_of(made: Invoice) -> bytes:
    return print_invoice(made, to_xml(made), printer())


def text_of(pdf: bytes) -> str:
    text = " ".join(page.extract_text() for page in PdfReader(BytesIO(pdf)).pages)
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("case", GOOD)
def test_every_kind_of_invoice_can_be_printed_and_carries_its_xml(case: str) -> None:
    made = GOOD[case]
    name, xml = facturx.get_facturx_xml_from_pdf(pdf_of(made), check_xsd=False)
    assert name == "factur-x.xml"
    assert xml == to_xml(made)
    assert broken_rules(xml) == []


def test_the_page_says_what_the_xml_says() -> None:
    made = GOOD["several rates"]
    text = text_of(pdf_of(made))
    for words in (
        made.number,
        made.seller.legal_name,
        made.buyer.legal_name,
        str(made.seller.vat_id),
        iban(str(made.seller.iban)),
        "January 2025",
        "Reverse charge",
        "VATEX-EU-AE",
        amount(made.gross_minor, "EUR"),
        amount(made.vat_minor, "EUR"),
        "Issued by Gridroam in the name and on behalf of the seller.",
    ):
        assert words in text, words


def test_what_is_counted_is_told_in_its_own_words() -> None:
    text = text_of(pdf_of(GOOD["calls of a service"]))
    assert "12.345 kilobyte" in text
    assert "Contract contract-1" in text
    assert "Energy" not in text
    assert "Roaming" not in text


def test_a_credit_note_says_so_and_what_it_corrects() -> None:
    text = text_of(pdf_of(GOOD["credit note"]))
    assert "Credit note" in text
    assert "Invoice FRPD1-2024-000007 of 3 Dec 2024" in text


def test_an_invoice_that_is_set_off_asks_for_no_payment() -> None:
    text = text_of(pdf_of(GOOD["set off"]))
    assert "nothing is to be paid" in text
    assert "IBAN" not in text


def test_metadata_tell_programs_what_is_in_it() -> None:
    reader = PdfReader(BytesIO(pdf_of(invoice())), strict=True)
    stream = cast(StreamObject, reader.root_object["/Metadata"].get_object())
    metadata = stream.get_data().decode()
    for said in (
        "<fx:ConformanceLevel>EN 16931</fx:ConformanceLevel>",
        "<fx:DocumentFileName>factur-x.xml</fx:DocumentFileName>",
        "<pdfaProperty:name>ConformanceLevel</pdfaProperty:name>",
        "<pdfaid:part>3</pdfaid:part>",
    ):
        assert said in metadata, said


def test_the_same_invoice_is_the_same_bytes() -> None:
    assert pdf_of(invoice()) == pdf_of(invoice())


def test_many_lines_take_many_pages() -> None:
    made = invoice(*(line(STANDARD_19, 100 + n) for n in range(120)))
    pages = PdfReader(BytesIO(pdf_of(made))).pages
    assert len(pages) > 3
    assert all("Amount" in page.extract_text() for page in pages[:-1])


def test_what_no_printer_of_ours_has_made_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="metadata"):
        hybrid(b"%PDF-1.7\n")
