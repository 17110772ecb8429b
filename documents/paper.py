"""An invoice on paper, with the XML in it: one file for people and for programs (Factur-X)."""

from __future__ import annotations

import re

from documents import printed
from documents.invoice import Business, Category, Invoice, Kind, Line, VatTotal
from documents.printed import Page
from kit.printing import Printer

TEMPLATE = "documents/invoice.typ"
TITLES = {Kind.INVOICE: "Invoice", Kind.CREDIT_NOTE: "Credit note"}
# What stands over the two columns that say how much.
CHARGING = ("Charges", "Energy")
SERVICES = ("Quantity", "Unit")
CATEGORIES = {
    Category.ZERO: "Zero rate",
    Category.EXEMPT: "Exempt",
    Category.REVERSE_CHARGE: "Reverse charge",
    Category.INTRA_COMMUNITY: "Intra-Community",
    Category.EXPORT: "Export",
    Category.OUTSIDE_SCOPE: "No VAT",
}


def print_invoice(invoice: Invoice, xml: bytes, printer: Printer) -> bytes:
    """PDF/A-3 with the XML attached; the same invoice and XML give the same bytes."""
    page = page_of(invoice)
    return hybrid(
        printer.pdf(TEMPLATE, page, day=invoice.issued_on, attached=xml.decode()),
    )


def page_of(invoice: Invoice) -> Page:
    title = TITLES[invoice.kind]
    currency = invoice.currency
    credit = invoice.kind is Kind.CREDIT_NOTE
    return {
        "title": title,
        "number": invoice.number,
        "subject": f"{title} {invoice.number}",
        "foot": f"{invoice.seller.legal_name} to {invoice.buyer.legal_name}",
        "seller": _party(invoice.seller),
        "buyer": _party(invoice.buyer),
        "facts": [
            ("Number", invoice.number),
            ("Issued", printed.day(invoice.issued_on)),
            *([] if invoice.due_on is None else [("Due", printed.day(invoice.due_on))]),
            ("Currency", currency),
        ],
        "about": f"Supplied in {printed.days(invoice.first_day, invoice.last_day)}",
        "quantity": list(SERVICES if invoice.lines[0].counted is not None else CHARGING),
        "lines": [_line(line, invoice) for line in invoice.lines],
        "vat": [_vat(total, invoice) for total in invoice.vat_totals],
        "totals": [
            ("Net", printed.amount(invoice.net_minor, currency)),
            ("VAT", printed.amount(invoice.vat_minor, currency)),
            ("Credited" if credit else "Total", printed.money(invoice.gross_minor, currency)),
        ],
        "pay": _pay(invoice),
        "corrects": [
            f"Invoice {one.number} of {printed.day(one.issued_on)}" for one in invoice.preceding
        ],
        "notes": [
            *invoice.notes,
            *([] if invoice.items_at is None else [f"The charges one by one: {invoice.items_at}"]),
            "The invoice for programs (EN 16931) is attached to this file as factur-x.xml.",
        ],
    }


def _party(business: Business) -> Page:
    ids = [("Party", str(business.party))]
    if business.vat_id is not None:
        ids.append(("VAT id", business.vat_id))
    if business.registration_id is not None:
        ids.append(("Registered as", business.registration_id))
    if business.vat_id is None and business.tax_id is not None:
        ids.append(("Tax id", business.tax_id))
    return {
        "name": business.legal_name,
        "lines": [
            business.street,
            f"{business.postcode} {business.city}",
            printed.country(business.country),
        ],
        "ids": ids,
    }


def _line(line: Line, invoice: Invoice) -> Page:
    return {
        "description": line.description,
        "detail": " · ".join(f"{name} {value}" for name, value in line.facts if name != "Charges"),
        "quantity": _quantity(line),
        "vat": _rate(line.vat.category, line),
        "amount": printed.amount(line.amount_minor, invoice.currency),
    }


def _quantity(line: Line) -> list[str]:
    """As many cells as there are headings for it: see `page_of`."""
    if line.counted is not None:
        return [printed.quantity(line.counted.quantity), line.counted.named]
    return [
        printed.count(line.charges),
        printed.kwh(line.energy_wh) if line.energy_wh else "",
    ]


def _rate(category: Category, line: Line) -> str:
    return CATEGORIES.get(category) or printed.percent(line.vat.percent)


def _vat(total: VatTotal, invoice: Invoice) -> Page:
    words, code = total.vat.told
    name = CATEGORIES.get(total.vat.category)
    reason = "" if words == name else (words or "")
    return {
        "label": name or printed.percent(total.vat.percent),
        "reason": ", ".join(filter(None, (reason, code))),
        "taxable": printed.amount(total.taxable_minor, invoice.currency),
        "tax": printed.amount(total.tax_minor, invoice.currency),
    }


def _pay(invoice: Invoice) -> Page:
    payee = invoice.buyer if invoice.kind is Kind.CREDIT_NOTE else invoice.seller
    if invoice.set_off is not None:
        return {"title": "Settlement", "rows": [], "text": invoice.set_off}
    assert invoice.due_on is not None
    if payee.iban is None:
        return {"title": "Settlement", "rows": [], "text": "Through the clearing house."}
    rows = [("To", payee.legal_name), ("IBAN", printed.iban(payee.iban))]
    if payee.bic is not None:
        rows.append(("BIC", payee.bic))
    rows += [("Reference", invoice.number), ("By", printed.day(invoice.due_on))]
    return {"title": "Payment", "rows": rows, "text": ""}


# Factur-X 1.0, 6.2: what a PDF's metadata must say of the XML in it, and of these words themselves.
_FX = "urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#"
_WORDS = {
    "DocumentFileName": ("factur-x.xml", "The name of the embedded XML document"),
    "DocumentType": ("INVOICE", "The type of the hybrid document in capital letters"),
    "Version": ("1.0", "The version of the standard that the embedded XML is in"),
    "ConformanceLevel": ("EN 16931", "The conformance level of the embedded XML"),
}
_SCHEMA = (
    '<rdf:li rdf:parseType="Resource"><pdfaSchema:schema>Factur-X PDFA Extension Schema'
    f"</pdfaSchema:schema><pdfaSchema:namespaceURI>{_FX}</pdfaSchema:namespaceURI>"
    "<pdfaSchema:prefix>fx</pdfaSchema:prefix><pdfaSchema:property><rdf:Seq>"
    + "".join(
        '<rdf:li rdf:parseType="Resource"><pdfaProperty:category>external</pdfaProperty:category>'
        f"<pdfaProperty:description>{words}</pdfaProperty:description>"
        f"<pdfaProperty:name>{name}</pdfaProperty:name>"
        "<pdfaProperty:valueType>Text</pdfaProperty:valueType></rdf:li>"
        for name, (_, words) in _WORDS.items()
    )
    + "</rdf:Seq></pdfaSchema:property></rdf:li>"
).encode()
_SAID = (
    f'<rdf:Description rdf:about="" xmlns:fx="{_FX}">'
    + "".join(f"<fx:{name}>{value}</fx:{name}>" for name, (value, _) in _WORDS.items())
    + "</rdf:Description>"
).encode()
_BAG = b"<pdfaExtension:schemas><rdf:Bag>"
_END = b"</rdf:RDF>"
_METADATA = re.compile(
    rb"\n(\d+) (\d+) obj\s*<<[^>]*/Type\s*/Metadata[^>]*>>\s*stream\r?\n(.*?)\r?\nendstream",
    re.DOTALL,
)
_TRAILER = re.compile(rb"trailer\s*<<(.*)>>\s*startxref\s+(\d+)\s+%%EOF\s*$", re.DOTALL)


def hybrid(pdf: bytes) -> bytes:
    """Tell in the metadata what the attached XML is: an update at the end (ISO 32000, 7.5.6).

    To take the file apart and write it anew would cost more than making the page.
    """
    found, trailer = _METADATA.search(pdf), _TRAILER.search(pdf)
    assert found is not None, "the printer writes its metadata in the clear"
    assert trailer is not None, "and one table of its objects"
    metadata = found[3]
    assert metadata.count(_BAG) == metadata.count(_END) == 1
    metadata = metadata.replace(_BAG, _BAG + _SCHEMA).replace(_END, _SAID + _END)
    number, generation = found[1], found[2]
    at = len(pdf) + 1
    head = b"%s %s obj\n<</Type/Metadata/Subtype/XML/Length %d>>\nstream\n" % (
        *(number, generation),
        len(metadata),
    )
    body = b"\n" + head + metadata + b"\nendstream\nendobj\n"
    table = b"xref\n%s 1\n%010d %05d n \n" % (number, at, int(generation))
    entries = re.sub(rb"/Prev\s+\d+", b"", trailer[1])
    ending = b"trailer\n<<%s/Prev %s>>\nstartxref\n%d\n%%%%EOF\n" % (
        *(entries, trailer[2]),
        len(pdf) + len(body),
    )
    return pdf + body + table + ending
