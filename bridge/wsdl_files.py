"""The XML files of an interface document, parsed, and which of them one names by an import."""

from __future__ import annotations

import posixpath
from urllib.parse import unquote, urlsplit

from lxml import etree

from bridge.document import MOST_BYTES, BadDocument, Document
from kit import foreign_xml
from kit.foreign_xml import NotXml


class XmlFiles:
    """Nothing but what was uploaded: no other file, no network."""

    def __init__(self, document: Document) -> None:
        self._contents = document.files
        self._roots: dict[str, etree._Element] = {}

    def root(self, name: str) -> etree._Element:
        """Raises BadDocument."""
        if name not in self._roots:
            try:
                root = foreign_xml.read(self._contents[name], most_bytes=MOST_BYTES)
            except NotXml as error:
                raise bad(name, None, f"well-formed XML without a document type: {error}") from None
            self._roots[name] = root
        return self._roots[name]

    def named(self, importing: str, location: str) -> str:
        """The file that `importing` means by `location`. Raises BadDocument."""
        parts = urlsplit(location)
        if parts.scheme or parts.netloc or parts.query or location.startswith("/"):
            rule = "nothing is fetched: upload what it imports, and name it by a relative path"
            raise bad(importing, location, rule)
        folder = posixpath.dirname(importing)
        name = posixpath.normpath(posixpath.join(folder, unquote(parts.path)))
        if name not in self._contents:
            rule = f"upload the file that it imports, as {name}"
            raise bad(importing, location, rule)
        return name


def bad(file: str, value: object, rule: str) -> BadDocument:
    """`file` cannot be read: `value` is what it says, `rule` what it must say."""
    return BadDocument(f"{file} cannot be read: {rule}", field=file, value=value, rule=rule)
