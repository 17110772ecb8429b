"""SOAP 1.1, as little of it as a partner's endpoint needs: an envelope out, a body or a fault in.

What comes is a stranger's XML: no entities, no documents from elsewhere, no more than was agreed.
"""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
CONTENT_TYPE = "text/xml; charset=utf-8"


class NotSoap(Exception):
    """What came is no SOAP 1.1 envelope with one element in its body."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`client`: the sender of the request is at fault; else it is the one who answers."""

    client: bool
    says: str


def envelope(body: etree._Element) -> bytes:
    """A request or an answer, in UTF-8."""
    whole = etree.Element(f"{{{ENVELOPE}}}Envelope", nsmap={"soap": ENVELOPE})
    etree.SubElement(whole, f"{{{ENVELOPE}}}Body").append(body)
    return bytes(etree.tostring(whole, xml_declaration=True, encoding="UTF-8"))


def read(content: bytes, *, most_bytes: int) -> etree._Element | Fault:
    """What an envelope holds. Raises NotSoap."""
    if len(content) > most_bytes:
        raise NotSoap(f"more than {most_bytes} bytes")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_pis=True
    )
    try:
        whole = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise NotSoap(f"no XML: {error}") from None
    if whole.getroottree().docinfo.internalDTD is not None:
        raise NotSoap("a document type, which SOAP forbids")
    body = whole.find(f"{{{ENVELOPE}}}Body") if whole.tag == f"{{{ENVELOPE}}}Envelope" else None
    held = [] if body is None else [one for one in body if isinstance(one.tag, str)]
    if len(held) != 1:
        raise NotSoap("no SOAP 1.1 envelope with one element in its body")
    if held[0].tag != f"{{{ENVELOPE}}}Fault":
        return held[0]
    code = (held[0].findtext("faultcode") or "").strip().rpartition(":")[2]
    says = " ".join((held[0].findtext("faultstring") or "").split())
    # Client.Authentication and its like are kinds of Client (SOAP 1.1, 4.4.1).
    return Fault(code.partition(".")[0] == "Client", says)
