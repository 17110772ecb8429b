"""SOAP's own part of a message, 1.1 and 1.2: envelopes, headers, faults. Knows no WSDL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lxml import etree

from bridge.xml_nodes import XSI, escaped, told_as_xml
from kit import foreign_xml
from kit.foreign_xml import NotXml
from roaming.refusal import Malformed

SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"
ENVELOPES = {"1.1": SOAP_11, "1.2": SOAP_12}
_VERSIONS = {f"{{{namespace}}}Envelope": version for version, namespace in ENVELOPES.items()}
# SOAP 1.2 has other words for the same two.
_CODES_12 = {"Client": "Sender", "Server": "Receiver"}
_CODES_11 = {told: code for code, told in _CODES_12.items()}
MOST_BYTES = 16 * 1024 * 1024


class BadEnvelope(Malformed):
    """No SOAP message that can be read. `code`: of the fault that says so."""

    code = "Client"


class VersionMismatch(BadEnvelope):
    code = "VersionMismatch"


class MustUnderstand(BadEnvelope):
    """A header that must be understood, and is not."""

    code = "MustUnderstand"


@dataclass(frozen=True, slots=True)
class SoapFault:
    """`code` in the words of SOAP 1.1: Client, Server, VersionMismatch, MustUnderstand, or what
    else came; `subcode` as 1.2 has it, or after the point in 1.1. `detail` is a JSON value: an
    object with a member for each element."""

    code: str
    reason: str
    subcode: str | None = None
    actor: str | None = None
    detail: object = None

    def as_json(self) -> dict[str, object]:
        """As a problem's member "fault", which the generated OpenAPI document describes."""
        told = {
            "code": self.code,
            "subcode": self.subcode,
            "reason": self.reason,
            "actor": self.actor,
            "detail": self.detail,
        }
        return {key: value for key, value in told.items() if value is not None}

    @property
    def client(self) -> bool:
        """The sender of the request is at fault; else it is the one who answers."""
        return self.code == "Client"


@dataclass(frozen=True, slots=True)
class Parts:
    """An envelope taken apart: the header's elements, and the body's."""

    version: str
    headers: tuple[etree._Element, ...]
    body: tuple[etree._Element, ...]


def content_type(version: str, action: str) -> str:
    """Of a message of this SOAP version; 1.2 tells its action here."""
    if version == "1.1":
        return "text/xml; charset=utf-8"
    told = f'; action="{action}"' if action else ""
    return f"application/soap+xml; charset=utf-8{told}"


def version_of(type_of_content: str) -> str:
    """The SOAP version that a content type speaks of: 1.1 unless it is that of 1.2."""
    return "1.2" if type_of_content.startswith("application/soap+xml") else "1.1"


def written(version: str, prefixes: str, headers: str, body: str) -> bytes:
    """`prefixes`: further declarations, as ` xmlns:n0="urn:x"`."""
    head = f"<s:Header>{headers}</s:Header>" if headers else ""
    return (
        f"<?xml version='1.0' encoding='UTF-8'?>\n"
        f'<s:Envelope xmlns:s="{ENVELOPES[version]}" xmlns:xsi="{XSI}"{prefixes}>'
        f"{head}<s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def taken_apart(content: bytes, *, most_bytes: int = MOST_BYTES) -> Parts:
    """Raises BadEnvelope."""
    try:
        root = foreign_xml.read(content, most_bytes=most_bytes)
    except NotXml as error:
        raise BadEnvelope(
            f"no SOAP message: {error}",
            field="body",
            rule="a SOAP envelope in well-formed XML, without a document type",
        ) from None
    version = _VERSIONS.get(root.tag)
    if version is None:
        kind = VersionMismatch if etree.QName(root).localname == "Envelope" else BadEnvelope
        raise kind(
            "no SOAP 1.1 or 1.2 envelope",
            field="body",
            value=str(root.tag)[:100],
            rule=f"an Envelope of {SOAP_11} or {SOAP_12}",
        )
    namespace = ENVELOPES[version]
    body = root.find(f"{{{namespace}}}Body")
    if body is None:
        raise BadEnvelope("an envelope without Body", field="body", rule="Envelope with a Body")
    header = root.find(f"{{{namespace}}}Header")
    return Parts(version, () if header is None else tuple(header), tuple(body))


def only(content: bytes, *, most_bytes: int) -> tuple[etree._Element, str]:
    """The one element of a message's body, and the SOAP version. Raises BadEnvelope."""
    parts = taken_apart(content, most_bytes=most_bytes)
    if len(parts.body) != 1:
        raise BadEnvelope("no SOAP message with one element in its body", field="body")
    return parts.body[0], parts.version


def must_be_understood(header: etree._Element, version: str) -> bool:
    return header.get(f"{{{ENVELOPES[version]}}}mustUnderstand") in ("1", "true")


def is_fault(node: etree._Element, version: str) -> bool:
    return bool(node.tag == f"{{{ENVELOPES[version]}}}Fault")


# --- faults ---


def fault(version: str, fault: SoapFault, detail: str = "", prefixes: str = "") -> bytes:
    """A fault as a message; `detail`: its elements, as XML."""
    reason = escaped(_printable(fault.reason))
    actor = escaped(_printable(fault.actor or ""))
    if version == "1.1":
        code = fault.code if not fault.subcode else f"{fault.code}.{_name(fault.subcode)}"
        body = (
            f"<s:Fault><faultcode>s:{_dotted(code)}</faultcode>"
            f"<faultstring>{reason}</faultstring>"
            + (f"<faultactor>{actor}</faultactor>" if actor else "")
            + (f"<detail>{detail}</detail>" if detail else "")
            + "</s:Fault>"
        )
        return written(version, prefixes, "", body)
    code = _CODES_12.get(fault.code, fault.code)
    code = code if code in _KNOWN_12 else "Receiver"
    subcode = ""
    if fault.subcode:
        subcode = f"<s:Subcode><s:Value>{_name(fault.subcode)}</s:Value></s:Subcode>"
    body = (
        f"<s:Fault><s:Code><s:Value>s:{code}</s:Value>{subcode}</s:Code>"
        f'<s:Reason><s:Text xml:lang="en">{reason}</s:Text></s:Reason>'
        + (f"<s:Role>{actor}</s:Role>" if actor else "")
        + (f"<s:Detail>{detail}</s:Detail>" if detail else "")
        + "</s:Fault>"
    )
    return written(version, prefixes, "", body)


_KNOWN_12 = {"Sender", "Receiver", "VersionMismatch", "MustUnderstand", "DataEncodingUnknown"}


def read_fault(node: etree._Element, version: str) -> tuple[SoapFault, tuple[etree._Element, ...]]:
    """A fault without its detail, and the detail's elements."""
    if version == "1.1":
        code, _, subcode = _local(node.findtext("{*}faultcode")).partition(".")
        detail = node.find("{*}detail")
        told = SoapFault(
            code or "Server", _line(node.findtext("{*}faultstring")), subcode or None,
            _line(node.findtext("{*}faultactor")) or None,
        )  # fmt: skip
    else:
        s = f"{{{SOAP_12}}}"
        code = _local(node.findtext(f"{s}Code/{s}Value"))
        subcode = _local(node.findtext(f"{s}Code/{s}Subcode/{s}Value"))
        detail = node.find(f"{s}Detail")
        told = SoapFault(
            _CODES_11.get(code, code) or "Server",
            _line(node.findtext(f"{s}Reason/{s}Text")),
            subcode or None,
            _line(node.findtext(f"{s}Role")) or None,
        )
    return told, () if detail is None else tuple(detail)


def _local(name: str | None) -> str:
    return (name or "").strip().rpartition(":")[2]


def _line(text: str | None) -> str:
    return " ".join((text or "").split())


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text)


def _name(text: str) -> str:
    """What may stand in a code; a stranger's subcode may hold anything."""
    return "".join(one for one in text if one.isalnum() or one in "_-") or "Other"


def _dotted(code: str) -> str:
    return ".".join(_name(one) for one in code.split(".")[:2])


# --- details that no interface declares ---


def untyped_xml(members: Mapping[str, object]) -> str:
    """A JSON object as elements without namespace, as well as XML can tell it."""
    return "".join(_untyped(str(key), value) for key, value in members.items())


def _untyped(key: str, value: object) -> str:
    if isinstance(value, list | tuple):
        return "".join(_untyped(key, one) for one in value)
    name = _name(key)
    name = name if name[0].isalpha() or name[0] == "_" else f"_{name}"
    if isinstance(value, Mapping):
        return f"<{name}>{untyped_xml(value)}</{name}>"
    if value is None:
        return f'<{name} xsi:nil="true"/>'
    told = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<{name}>{escaped(_printable(told))}</{name}>"


def untyped_json(nodes: tuple[etree._Element, ...]) -> dict[str, object]:
    """Elements that no interface declares, by their names: text, objects of elements, and XML as a
    string where text and elements are mixed."""
    found: dict[str, object] = {}
    for node in nodes:
        add_to(found, etree.QName(node).localname, _untyped_value(node))
    return found


def _untyped_value(node: etree._Element) -> object:
    text = (node.text or "").strip()
    attributes = {
        f"@{etree.QName(str(key)).localname}": value for key, value in node.attrib.items()
    }
    if not len(node):
        return {"value": text, **attributes} if attributes else text
    if text or any((child.tail or "").strip() for child in node):
        return told_as_xml(node)
    return {**attributes, **untyped_json(tuple(node))}


def add_to(found: dict[str, object], key: str, value: object) -> None:
    """A second of the same name makes it an array."""
    if key not in found:
        found[key] = value
        return
    before = found[key]
    if isinstance(before, list):
        # In its place: there may be as many as an answer has room for.
        before.append(value)
    else:
        found[key] = [before, value]
