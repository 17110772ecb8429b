"""A stranger's XML, read: no document type, no entities, nothing from elsewhere, no bombs.

What libxml2 bounds by itself stays bounded: depth (256 elements) and the length of one text.
"""

from __future__ import annotations

from lxml import etree

# One for all: lxml lets one caller at a time use it, and it keeps nothing between documents.
_PARSER = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    huge_tree=False,
    remove_pis=True,
    remove_comments=True,
)


class NotXml(Exception):
    """What came is no XML, or XML of a kind that we take from nobody."""


def read(content: bytes, *, most_bytes: int) -> etree._Element:
    """The root. Raises NotXml, which says why."""
    if len(content) > most_bytes:
        raise NotXml(f"more than {most_bytes} bytes")
    if b"<!DOCTYPE" in content:
        raise NotXml("a document type, which is not taken")
    try:
        root = etree.fromstring(content, _PARSER)
    except (etree.XMLSyntaxError, ValueError, LookupError) as error:
        raise NotXml(f"no XML: {error}") from None
    if root.getroottree().docinfo.internalDTD is not None:
        # In UTF-16, say, where the bytes above do not show it.
        raise NotXml("a document type, which is not taken")
    return root
