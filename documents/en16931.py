"""An invoice as EN 16931 wants it, in UN/CEFACT's Cross Industry Invoice; Factur-X takes it whole.

BT and BG numbers are those of EN 16931-1. The same invoice gives the same bytes.
"""

from __future__ import annotations

from decimal import Decimal
from xml.etree import ElementTree

from drafthorse.models import NS_RAM
from drafthorse.models.accounting import ApplicableTradeTax
from drafthorse.models.document import Document
from drafthorse.models.note import IncludedNote
from drafthorse.models.party import TaxRegistration, TradeParty
from drafthorse.models.payment import PaymentMeans, PaymentTerms
from drafthorse.models.product import ProductCharacteristic
from drafthorse.models.references import AdditionalReferencedDocument, InvoiceReferencedDocument
from drafthorse.models.tradelines import LineItem

from documents.invoice import Business, Category, Invoice, Kind, Line, VatTotal
from roaming.money import Money

GUIDELINE = "urn:cen.eu:en16931:2017"
_SEPA, _TRANSFER, _BETWEEN_PARTNERS = "58", "30", "97"
_SUPPORTING = "916"


def to_xml(invoice: Invoice) -> bytes:
    document = Document()
    document.context.guideline_parameter.id = GUIDELINE
    header = document.header
    header.id = invoice.number
    header.type_code = invoice.kind.value
    header.issue_date_time = invoice.issued_on
    for text in invoice.notes:
        note = IncludedNote()
        note.content = text
        header.notes.add(note)

    outside = invoice.lines[0].vat.category is Category.OUTSIDE_SCOPE
    agreement = document.trade.agreement
    _name(agreement.seller, invoice.seller, with_vat_id=not outside, seller=True)
    _name(agreement.buyer, invoice.buyer, with_vat_id=not outside, seller=False)
    if invoice.items_at is not None:
        items = AdditionalReferencedDocument()
        items.issuer_assigned_id = f"{invoice.number}-items"
        items.uri_id = invoice.items_at
        items.type_code = _SUPPORTING
        items.name = "The charges one by one"
        agreement.additional_references.add(items)
    document.trade.delivery.event.occurrence = invoice.last_day
    for number, line in enumerate(invoice.lines, start=1):
        document.trade.items.add(_line(number, line, invoice))
    _settle(document, invoice)
    root: ElementTree.Element = document.to_etree()
    _refer(root, invoice)
    xml: bytes = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    return xml


def _refer(root: ElementTree.Element, invoice: Invoice) -> None:
    """All preceding invoices (BG-3): drafthorse knows the first one only."""
    settlement = root.find(f".//{{{NS_RAM}}}ApplicableHeaderTradeSettlement")
    assert settlement is not None
    for one in invoice.preceding:
        referred = InvoiceReferencedDocument()
        referred.issuer_assigned_id = one.number
        referred.issue_date_time = one.issued_on
        settlement.append(referred.to_etree())


def _name(to: TradeParty, business: Business, *, with_vat_id: bool, seller: bool) -> None:
    to.id = business.party
    to.name = business.legal_name
    if business.registration_id is not None:
        to.legal_organization.id = business.registration_id
    to.address.line_one = business.street
    to.address.postcode = business.postcode
    to.address.city_name = business.city
    to.address.country_id = business.country
    if business.email is not None:
        to.electronic_address.uri_ID = ("EM", business.email)
    if with_vat_id and business.vat_id is not None:
        _register(to, "VA", business.vat_id)
    elif with_vat_id and seller and business.tax_id is not None:
        _register(to, "FC", business.tax_id)


def _register(to: TradeParty, scheme: str, number: str) -> None:
    registration = TaxRegistration()
    registration.id = (scheme, number)
    to.tax_registrations.add(registration)


def _line(number: int, line: Line, invoice: Invoice) -> LineItem:
    """The net price is that of the whole quantity, so that price times quantity is the amount."""
    item = LineItem()
    item.document.line_id = str(number)
    item.product.name = line.description
    for name, value in line.facts:
        characteristic = ProductCharacteristic()
        characteristic.description = name
        characteristic.value = value
        item.product.characteristics.add(characteristic)
    quantity, unit = line.quantity
    sign = -1 if line.amount_minor < 0 else 1
    item.agreement.net.amount = _decimal(sign * line.amount_minor, invoice)
    item.agreement.net.basis_quantity = (f"{quantity:f}", unit.value)
    item.delivery.billed_quantity = (f"{sign * quantity:f}", unit.value)
    tax = item.settlement.trade_tax
    tax.type_code = "VAT"
    tax.category_code = line.vat.category.value
    if line.vat.category is not Category.OUTSIDE_SCOPE:
        tax.rate_applicable_percent = f"{line.vat.percent:f}"
    item.settlement.monetary_summation.total_amount = _decimal(line.amount_minor, invoice)
    return item


def _settle(document: Document, invoice: Invoice) -> None:
    settlement = document.trade.settlement
    settlement.currency_code = invoice.currency
    settlement.payment_reference = invoice.number
    settlement.payment_means.add(_means(invoice))
    for total in invoice.vat_totals:
        settlement.trade_tax.add(_vat(total, invoice))
    settlement.period.start = invoice.first_day
    settlement.period.end = invoice.last_day
    terms = PaymentTerms()
    if invoice.set_off is not None:
        terms.description = invoice.set_off
    if invoice.due_on is not None:
        terms.due = invoice.due_on
    settlement.terms.add(terms)
    totals = settlement.monetary_summation
    totals.line_total = _decimal(invoice.net_minor, invoice)
    totals.tax_basis_total = _decimal(invoice.net_minor, invoice)
    totals.tax_total = (_decimal(invoice.vat_minor, invoice), invoice.currency)
    totals.grand_total = _decimal(invoice.gross_minor, invoice)
    totals.due_amount = _decimal(invoice.gross_minor, invoice)


def _means(invoice: Invoice) -> PaymentMeans:
    means = PaymentMeans()
    # A credit note's money goes the other way.
    payee = invoice.buyer if invoice.kind is Kind.CREDIT_NOTE else invoice.seller
    if invoice.set_off is not None or payee.iban is None:
        means.type_code = _BETWEEN_PARTNERS
        return means
    means.type_code = _SEPA if invoice.currency == "EUR" else _TRANSFER
    means.payee_account.iban = payee.iban
    means.payee_account.account_name = payee.legal_name
    if payee.bic is not None:
        means.payee_institution.bic = payee.bic
    return means


def _vat(total: VatTotal, invoice: Invoice) -> ApplicableTradeTax:
    tax = ApplicableTradeTax()
    tax.calculated_amount = _decimal(total.tax_minor, invoice)
    tax.type_code = "VAT"
    words, code = total.vat.told
    if words is not None:
        tax.exemption_reason = words
    if code is not None:
        tax.exemption_reason_code = code
    tax.basis_amount = _decimal(total.taxable_minor, invoice)
    tax.category_code = total.vat.category.value
    if total.vat.category is not Category.OUTSIDE_SCOPE:
        tax.rate_applicable_percent = f"{total.vat.percent:f}"
    return tax


def _decimal(minor: int, invoice: Invoice) -> Decimal:
    return Money(minor, invoice.currency).decimal
