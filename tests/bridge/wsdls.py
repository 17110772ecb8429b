"""WSDLs to test with: OCHP 1.4 whole, and small ones of our own, each about one thing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from bridge.document import Document, Kind
from bridge.wsdl import SoapInterface

OCHP = Path(__file__).with_name("data") / "ochp-1.4"


@cache
def ochp_document() -> Document:
    files = {
        str(path.relative_to(OCHP)): path.read_bytes()
        for path in sorted(OCHP.rglob("*"))
        if path.suffix in (".wsdl", ".xsd")
    }
    return Document(Kind.WSDL, "ochp.wsdl", files)


@cache
def ochp() -> SoapInterface:
    return SoapInterface.read(ochp_document())


def wsdl(
    schema: str,
    *,
    request: str = '<part name="p" element="t:Ask"/>',
    answer: str | None = '<part name="p" element="t:Told"/>',
    style: str = "document",
    use: str = 'use="literal"',
    version: str = "1.1",
    form: str = "qualified",
    header: str = "",
    faults: str = "",
    top: str = "",
) -> bytes:
    """One operation, `Ask`. `schema` is the content of the schema of urn:t, for which t: stands."""
    soap = "soap" if version == "1.1" else "soap12"
    output = "" if answer is None else '<output message="t:AskOut"/>'
    bound_output = (
        "" if answer is None else f"<output><s:body {use}/>{header and header.strip()}</output>"
    )
    fault_message = '<message name="Sorry"><part name="p" element="t:Sorry"/></message>'
    return f"""<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" targetNamespace="urn:t"
      name="Small" xmlns:t="urn:t" xmlns:x="http://www.w3.org/2001/XMLSchema"
      xmlns:s="http://schemas.xmlsoap.org/wsdl/{soap}/">
    <documentation>A small service.</documentation>{top}
    <types><x:schema targetNamespace="urn:t" elementFormDefault="{form}">{schema}</x:schema></types>
    <message name="AskIn">{request}</message>
    <message name="AskOut">{answer or ""}</message>
    {fault_message if faults else ""}
    <portType name="P"><operation name="Ask"><documentation>Asks.</documentation>
      <input message="t:AskIn"/>{output}{faults}</operation></portType>
    <binding name="B" type="t:P">
      <s:binding style="{style}" transport="http://schemas.xmlsoap.org/soap/http"/>
      <operation name="Ask"><s:operation soapAction="urn:t/Ask"/>
        <input><s:body {use}/>{header}</input>{bound_output}</operation></binding>
    <service name="S"><port name="B" binding="t:B">
      <s:address location="https://provider.example/"/></port></service>
    </definitions>""".encode()


def read(root: bytes, files: Mapping[str, bytes] | None = None) -> SoapInterface:
    return SoapInterface.read(Document(Kind.WSDL, "a.wsdl", {"a.wsdl": root, **(files or {})}))


def asking(
    content: str,
    *,
    types: str = "",
    version: str = "1.1",
    form: str = "qualified",
) -> SoapInterface:
    """An interface whose operation Ask takes, and answers with, a complex type of this content."""
    one = f"<x:complexType>{content}</x:complexType>"
    schema = f'<x:element name="Ask">{one}</x:element><x:element name="Told">{one}</x:element>'
    return read(wsdl(schema + types, version=version, form=form))


def there_and_back(interface: SoapInterface, payload: object) -> object:
    """The payload as the provider reads it from our request."""
    return interface.question(interface.request("Ask", payload).content).payload
