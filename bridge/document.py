"""An interface document as a provider uploads it: one file, and those that it imports.

Nothing in it is ever fetched: what a file imports must have come with it. So a document is the same
tomorrow, and reading one opens no connection into anybody's network.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from roaming.refusal import Malformed, TooLarge

MOST_FILES = 100
MOST_BYTES = 4 * 1024 * 1024


class BadDocument(Malformed):
    """An interface document that cannot be read; `field` is the file, `rule` what it must be."""


class DocumentTooLarge(TooLarge):
    """More files, or longer ones, than an interface needs."""


class Kind(StrEnum):
    OPENAPI = "openapi"
    WSDL = "wsdl"


@dataclass(frozen=True, slots=True)
class Document:
    """`files` by their paths, `root` the one to begin with. Paths are relative, with slashes."""

    kind: Kind
    root: str
    files: Mapping[str, bytes]

    @property
    def digest(self) -> bytes:
        """SHA-256 of all of it: the same files are the same document."""
        return hashlib.sha256(self.to_bytes()).digest()

    def to_bytes(self) -> bytes:
        """All of it in one piece, as it is kept."""
        told = {
            "kind": self.kind.value,
            "root": self.root,
            "files": {name: self.files[name].decode("latin-1") for name in sorted(self.files)},
        }
        return zlib.compress(json.dumps(told, separators=(",", ":")).encode(), 6)

    @staticmethod
    def of_bytes(kept: bytes) -> Document:
        """The inverse of `to_bytes`."""
        told = json.loads(zlib.decompress(kept))
        files = {name: content.encode("latin-1") for name, content in told["files"].items()}
        return Document(Kind(told["kind"]), told["root"], files)


def checked(document: Document) -> Document:
    """The document itself, within its bounds. Raises BadDocument, DocumentTooLarge."""
    if not 0 < len(document.files) <= MOST_FILES:
        raise DocumentTooLarge(
            "an interface has too many files, or none",
            field="files",
            value=len(document.files),
            rule=f"1 to {MOST_FILES}",
        )
    size = sum(map(len, document.files.values()))
    if size > MOST_BYTES:
        raise DocumentTooLarge(
            "an interface document is too long",
            field="files",
            value=size,
            rule=f"at most {MOST_BYTES} bytes in all",
        )
    for name in document.files:
        parts = name.split("/")
        if not name.isprintable() or len(name) > 200 or "" in parts or {".", ".."} & set(parts):
            raise BadDocument(
                "this cannot name a file of an interface",
                field="files",
                value=name[:100],
                rule="a relative path without dots, as types/data-types.xsd",
            )
    if document.root not in document.files:
        raise BadDocument(
            "the file to begin with is not among the files",
            field="root",
            value=document.root[:100],
            rule="one of: " + ", ".join(sorted(document.files)[:20]),
        )
    return document
