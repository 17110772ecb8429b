"""Envelopes as they are passed on: read for what the door must know, and changed in no byte but
where a login is taken out or put in.

A signature over the rest still holds, and so does whatever our reader would not have understood.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.parsers import expat

from lxml import etree

from bridge.soap_envelope import ENVELOPES, BadEnvelope, VersionMismatch
from bridge.username_token import SECURITY
from gateway.bridging.model import media_type_of
from kit import foreign_xml
from kit.foreign_xml import NotXml

MOST_BYTES = 16 * 1024 * 1024
_ENCODINGS = frozenset(("UTF-8", "US-ASCII", "ASCII", "UTF-16", "UTF-16LE", "UTF-16BE"))
_MARKS = (b"\xff\xfe", b"\xfe\xff")
_MEDIA_TYPES = frozenset(("text/xml", "application/soap+xml", "application/xml"))
_PARAMETER = re.compile(r';\s*([a-z]+)\s*=\s*(?:"([^"]*)"|([^\s;]*))', re.IGNORECASE)
# WS-Addressing 1.0, and the draft that many servers know.
_ADDRESSED = tuple(
    f"{{{space}}}Action"
    for space in (
        "http://www.w3.org/2005/08/addressing",
        "http://schemas.xmlsoap.org/ws/2004/08/addressing",
    )
)
_VERSIONS = {namespace: version for version, namespace in ENVELOPES.items()}


@dataclass(frozen=True, slots=True)
class Envelope:
    """`version` is "1.1" or "1.2", `tag` what its body holds; `action` is what HTTP said of it.

    `actions` are all that are told, wherever a server may look for one: it may go by that alone.
    """

    content: bytes
    version: str
    tag: str | None
    security: etree._Element | None
    action: str | None
    actions: frozenset[str] = frozenset()

    @property
    def secured(self) -> bool:
        return self.security is not None


def read(content: bytes, headers: Mapping[bytes, bytes]) -> Envelope:
    """Raises BadEnvelope. Slow for a long one: in a thread."""
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    told = [(name.lower(), a or b) for name, a, b in _PARAMETER.findall(content_type)]
    parameters = dict(told)
    if media_type_of(content_type) not in _MEDIA_TYPES:
        raise BadEnvelope(
            "the body is not announced as an envelope",
            field="Content-Type",
            value=content_type[:100],
            rule="text/xml for SOAP 1.1, application/soap+xml for SOAP 1.2; no attachments",
        )
    charset = parameters.get("charset", "UTF-8")
    root = _root(content, charset)
    version = _version(root)
    parts = _elements(root)
    space = ENVELOPES[version]
    usual = [f"{{{space}}}Header", f"{{{space}}}Body"]
    if [one.tag for one in parts] not in (usual, usual[1:]):
        raise BadEnvelope(
            "the envelope holds something else than a header and a body",
            field="body",
            value=", ".join(str(one.tag) for one in parts[:3])[:200],
            rule="a Header or none, and a Body",
        )
    asked = _elements(parts[-1])
    if len(asked) > 1:
        # Who knows which of them a server goes by?
        raise BadEnvelope(
            "the envelope asks for more than one thing",
            field="body",
            value=", ".join(str(one.tag) for one in asked[:3])[:200],
            rule="a Body with one element",
        )
    security = root.find(f"{{{space}}}Header/{SECURITY}")
    header = headers.get(b"soapaction", b"").decode("latin-1").strip().strip('"')
    parameter = parameters.get("action", "")
    addressed = (root.iterfind(f"{{{space}}}Header/{name}") for name in _ADDRESSED)
    addressing = [(one.text or "").strip() for found in addressed for one in found]
    return Envelope(
        content,
        version,
        str(asked[0].tag) if asked else None,
        security,
        header or parameter or None,
        frozenset((header, *(value for name, value in told if name == "action"), *addressing))
        - {""},
    )


def _elements(parent: etree._Element) -> list[etree._Element]:
    return [one for one in parent if isinstance(one.tag, str)]


def _version(root: etree._Element) -> str:
    name = etree.QName(root)
    version = _VERSIONS.get(name.namespace or "")
    if name.localname == "Envelope" and version is not None:
        return version
    raise (VersionMismatch if name.localname == "Envelope" else BadEnvelope)(
        "the body is no SOAP envelope",
        field="body",
        value=str(root.tag)[:200],
        rule="an Envelope of SOAP 1.1 or 1.2",
    )


def _root(content: bytes, charset: str) -> etree._Element:
    try:
        root = foreign_xml.read(content, most_bytes=MOST_BYTES)
    except NotXml as error:
        raise BadEnvelope(
            f"the body cannot be read: {error}"[:300],
            field="body",
            rule="well-formed XML in UTF-8, without a document type",
        ) from None
    told = root.getroottree().docinfo
    for encoding in (told.encoding or "UTF-8", charset):
        if encoding.upper() not in _ENCODINGS:
            raise BadEnvelope(
                "the body is in an encoding that is not taken",
                field="encoding",
                value=encoding[:50],
                rule="UTF-8 or UTF-16",
            )
    if (told.encoding or "").upper().startswith("UTF-16") and content[:2] not in _MARKS:
        raise BadEnvelope(
            "the body does not begin with a byte order mark",
            field="encoding",
            value=told.encoding,
            rule="UTF-16 begins with one; or UTF-8",
        )
    return root


def without_security(content: bytes) -> bytes:
    """The envelope without any WS-Security header, which tells the caller's secret."""
    content = _in_utf_8(content)
    places = _Places(content)
    for begin, end in reversed(places.security):
        content = content[:begin] + content[end:]
    return content


def with_security(content: bytes, security: bytes) -> bytes:
    """The envelope with this element as the first of its header."""
    content = _in_utf_8(content)
    places = _Places(content)
    if places.header is None:
        space = places.namespace.encode()
        header = b'<soap:Header xmlns:soap="%b">%b</soap:Header>' % (space, security)
        return content[: places.body] + header + content[places.body :]
    begin, end, empty = places.header
    if not empty:
        return content[:end] + security + content[end:]
    # `<soap:Header/>` becomes `<soap:Header>…</soap:Header>`, with its name as it is written.
    tag = content[begin:end]
    name = re.match(rb"<([^\s/>]+)", tag)
    assert name is not None, "an element begins with its name"
    opened = tag[: tag.rindex(b"/")] + b">"
    return content[:begin] + opened + security + b"</%b>" % name[1] + content[end:]


def _in_utf_8(content: bytes) -> bytes:
    """What is cut is cut in UTF-8: what came in UTF-16 becomes the same characters."""
    if content[:2] not in _MARKS:
        return content
    return re.sub(r"^<\?xml.*?\?>", "", content.decode("utf-16"), count=1).encode()


class Beginning:
    """The beginning of an answer that is passed on: read until it is known whether it is a fault,
    and whom that blames.

    What cannot be read so far is taken for none: it is the caller's affair.
    """

    def __init__(self) -> None:
        self.is_fault = False
        self.blames_caller = False
        self._path: list[str] = []
        self._code = ""
        self._parser: expat.XMLParserType | None = expat.ParserCreate(namespace_separator="}")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._give_up

    def read(self, chunk: bytes) -> None:
        if self._parser is None:
            return
        try:
            self._parser.Parse(chunk)
        except (expat.ExpatError, _KnownEnough):
            self._parser = None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        path = self._path
        path.append(name)
        space = path[0].rpartition("}")[0]
        if len(path) == 3 and path[1] == f"{space}}}Body":
            self.is_fault = name == f"{space}}}Fault" and space in _VERSIONS
            if not self.is_fault:
                raise _KnownEnough

    def _text(self, text: str) -> None:
        if self.is_fault and self._at_code():
            self._code += text

    def _end(self, name: str) -> None:
        if self.is_fault and self._at_code():
            # "soap:Client.Moved" in SOAP 1.1, "soap:Sender" in 1.2.
            local = self._code.strip().rpartition(":")[2].partition(".")[0]
            self.blames_caller = local in ("Client", "Sender")
            raise _KnownEnough
        self._path.pop()

    def _at_code(self) -> bool:
        within = [one.rpartition("}")[2] for one in self._path[3:]]
        return within in (["faultcode"], ["Code", "Value"])

    def _give_up(self, *_: object) -> None:
        raise _KnownEnough


class _KnownEnough(Exception):
    """The rest need not be read."""


class _Places:
    """Where in an envelope the parts of its header stand. `header`: its tag's begin and end, and
    whether it is empty; `security`: whole elements; `body`: where its tag begins.
    """

    def __init__(self, content: bytes) -> None:
        self.header: tuple[int, int, bool] | None = None
        self.security: list[tuple[int, int]] = []
        self.body = 0
        self.namespace = ""
        self._content = content
        self._path: list[str] = []
        self._begun = 0
        self._parser = expat.ParserCreate(namespace_separator="}")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        try:
            self._parser.Parse(content, True)
        except expat.ExpatError as error:
            raise BadEnvelope(
                f"the body is no XML: {error}", field="body", rule="well-formed XML in UTF-8"
            ) from None

    def _start(self, name: str, _: dict[str, str]) -> None:
        at = self._parser.CurrentByteIndex
        self._path.append(name)
        depth = len(self._path)
        if depth == 1:
            self.namespace = name.rpartition("}")[0]
        elif depth == 2 and name == f"{self.namespace}}}Header":
            end = self._tag_end(at)
            self.header = (at, end, self._content[end - 2 : end] == b"/>")
        elif depth == 2 and name == f"{self.namespace}}}Body":
            self.body = at
            # What follows is none of our business.
            self._parser.StartElementHandler = None
            self._parser.EndElementHandler = None
        elif depth == 3 and "{" + name == SECURITY:
            self._begun = at

    def _end(self, name: str) -> None:
        depth = len(self._path)
        self._path.pop()
        if depth == 3 and "{" + name == SECURITY:
            end = self._tag_end(self._begun)
            if self._content[end - 2 : end] != b"/>":
                end = self._tag_end(self._parser.CurrentByteIndex)
            self.security.append((self._begun, end))

    def _tag_end(self, at: int) -> int:
        """Behind the `>` of the tag that begins here; one in quotes does not end it."""
        match = _TAG.match(self._content, at)
        assert match is not None, "a tag that was parsed has an end"
        return match.end()


_TAG = re.compile(rb"""<(?:[^"'>]|"[^"]*"|'[^']*')*>""")
