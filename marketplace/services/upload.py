"""An interface document as it comes over HTTP: a single file, a zip of several, or a JSON object.

Nothing here understands OpenAPI or WSDL. It is only seen which file the others are imported by,
where the uploader has not said it.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from bridge.document import (
    MOST_BYTES,
    MOST_FILES,
    BadDocument,
    Document,
    DocumentTooLarge,
    Kind,
    checked,
)

ZIP = "application/zip"
FILES = "application/vnd.gridroam.interface+json"
_SINGLE: Mapping[str, tuple[Kind, str]] = {
    "application/json": (Kind.OPENAPI, "openapi.json"),
    "application/vnd.oai.openapi+json": (Kind.OPENAPI, "openapi.json"),
    "application/yaml": (Kind.OPENAPI, "openapi.yaml"),
    "application/x-yaml": (Kind.OPENAPI, "openapi.yaml"),
    "text/yaml": (Kind.OPENAPI, "openapi.yaml"),
    "application/vnd.oai.openapi": (Kind.OPENAPI, "openapi.yaml"),
    "text/xml": (Kind.WSDL, "service.wsdl"),
    "application/xml": (Kind.WSDL, "service.wsdl"),
    "application/wsdl+xml": (Kind.WSDL, "service.wsdl"),
}
TYPES = (*_SINGLE, ZIP, FILES)
# JSON spells a character in up to six bytes.
MOST_UPLOADED = 2 * MOST_BYTES
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_LITTER = re.compile(r"(^|/)(__MACOSX/|\.DS_Store$)")
_OPENAPI_NAMES = (".json", ".yaml", ".yml")
_IS_OPENAPI = re.compile(rb"""^\s*[{,]?\s*["']?(openapi|swagger)["']?\s*:""", re.MULTILINE)
_IMPORTED = {
    Kind.WSDL: re.compile(rb"""\b(?:schemaLocation|location)\s*=\s*["']([^"'<>]{1,300})["']"""),
    Kind.OPENAPI: re.compile(rb"""\$ref["']?\s*:\s*["']?([^"'#\s{}]{1,300})"""),
}


def document_of(content: bytes, media_type: str, root: str | None) -> Document:
    """The document in a request's body, within its bounds. BadDocument, DocumentTooLarge.

    `root`: the file to begin with, where several could be; of a single file, its name.
    """
    essence = media_type.partition(";")[0].strip().lower()
    if essence in _SINGLE:
        kind, name = _SINGLE[essence]
        name = root or name
        return checked(Document(kind, name, {name: content}))
    if essence == ZIP:
        files = _unzipped(content)
        kind, name = _root(files, root)
        return checked(Document(kind, name, files))
    if essence == FILES:
        return _of_json(content)
    raise BadDocument(
        "no form in which a document is taken",
        field="Content-Type",
        value=essence[:100],
        rule="one of: " + ", ".join(TYPES),
    )


class _Told(msgspec.Struct, forbid_unknown_fields=True):
    kind: Kind
    root: str
    files: dict[str, str]


def _of_json(content: bytes) -> Document:
    try:
        told = msgspec.json.decode(content, type=_Told)
        files = {name: text.encode() for name, text in told.files.items()}
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadDocument(
            f"this does not tell a document: {error}"[:300],
            field="body",
            rule='{"kind": "wsdl" | "openapi", "root": …, "files": {path: text}}',
        ) from None
    return checked(Document(told.kind, told.root, files))


def _unzipped(content: bytes) -> dict[str, bytes]:
    """The files of an archive. What it says of their sizes is held to, before and while reading."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [one for one in archive.infolist() if _is_file(one)]
            _check_members(members)
            return {one.filename: _content(archive, one) for one in members}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError):
        raise BadDocument("this is no zip archive that can be read", field="body") from None


def _is_file(member: zipfile.ZipInfo) -> bool:
    # Not `is_dir`, which stumbles over a name that is empty; that one is refused with its reason.
    return not member.filename.endswith("/") and not _LITTER.search(member.filename)


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    size = sum(one.file_size for one in members)
    if len(members) > MOST_FILES or size > MOST_BYTES:
        raise DocumentTooLarge(
            "the archive holds more than an interface needs",
            field="files",
            value=f"{len(members)} files of {size} bytes",
            rule=f"at most {MOST_FILES} files of {MOST_BYTES} bytes in all",
        )
    names = set()
    for one in members:
        if one.filename in names:
            raise BadDocument(
                "a file is in the archive twice", field="files", value=one.filename[:100]
            )
        names.add(one.filename)
        if one.compress_type not in _METHODS or one.flag_bits & _ENCRYPTED:
            raise BadDocument(
                "a file of the archive cannot be read",
                field="files",
                value=one.filename[:100],
                rule="stored or deflated, without a password",
            )


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with archive.open(member) as file:
        found = file.read(member.file_size + 1)
    if len(found) != member.file_size:
        raise zipfile.BadZipFile("not of the size that it says")
    return found


def _root(files: Mapping[str, bytes], told: str | None) -> tuple[Kind, str]:
    """What kind of document it is, and which file nothing else imports."""
    if told is not None:
        kind = Kind.OPENAPI if told.lower().endswith(_OPENAPI_NAMES) else Kind.WSDL
        return kind, told
    wsdls = [name for name in files if name.lower().endswith(".wsdl")]
    kind = Kind.WSDL if wsdls else Kind.OPENAPI
    candidates = wsdls or [
        name
        for name, content in files.items()
        if name.lower().endswith(_OPENAPI_NAMES) and _IS_OPENAPI.search(content)
    ]
    imported = {other for name, content in files.items() for other in _imports(kind, name, content)}
    found = [name for name in candidates if name not in imported]
    if len(found) != 1:
        raise BadDocument(
            "which file is the document to begin with?",
            field="root",
            value=", ".join(sorted(found or candidates)[:20])[:200] or None,
            rule="?root= with the path of one of the files",
        )
    return kind, found[0]


def _imports(kind: Kind, name: str, content: bytes) -> set[str]:
    """The files that one refers to, other than itself."""
    found: set[str] = set()
    for (target,) in ((match,) for match in _IMPORTED[kind].findall(content)):
        path = unquote(target.decode("latin-1")).partition("#")[0]
        found.add(posixpath.normpath(posixpath.join(posixpath.dirname(name), path)))
    return found - {name}


def shown(document: Document) -> dict[str, Any]:
    """What is told of a document, its files' contents aside."""
    return {
        "kind": document.kind.value,
        "root": document.root,
        "digest": document.digest.hex(),
        "files": [
            {"path": name, "bytes": len(document.files[name])} for name in sorted(document.files)
        ],
    }
