"""What comes as a document: one file, an archive, an object; and what only looks like one."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bridge.document import MOST_BYTES, MOST_FILES, BadDocument, DocumentTooLarge, Kind
from marketplace.services.upload import FILES, TYPES, ZIP, document_of, shown

names = some.from_regex(r"[a-z]{1,8}(/[a-z]{1,8}){0,2}\.(xsd|txt)", fullmatch=True)


def zipped(files: Sequence[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, text in files:
            archive.writestr(name, text)
    return content.getvalue()


def wsdl(*imports: str) -> bytes:
    inner = "".join(f"<import namespace='x' location='{one}'/>" for one in imports)
    return f"<definitions>{inner}</definitions>".encode()


@pytest.mark.parametrize(
    ("media_type", "kind", "name"),
    [
        ("application/json", Kind.OPENAPI, "openapi.json"),
        ("application/json; charset=utf-8", Kind.OPENAPI, "openapi.json"),
        ("Application/YAML", Kind.OPENAPI, "openapi.yaml"),
        ("text/xml", Kind.WSDL, "service.wsdl"),
        ("application/wsdl+xml", Kind.WSDL, "service.wsdl"),
    ],
)
def test_a_single_file_is_told_by_its_media_type(media_type: str, kind: Kind, name: str) -> None:
    document = document_of(b"x", media_type, None)
    assert (document.kind, document.root, document.files) == (kind, name, {name: b"x"})
    assert document_of(b"x", media_type, "own.name").files == {"own.name": b"x"}


@given(some.dictionaries(names, some.binary(max_size=200), max_size=5))
def test_an_archive_and_an_object_of_the_same_files_are_the_same_document(
    files: Mapping[str, bytes],
) -> None:
    texts = {name: content.decode("latin-1") for name, content in files.items()}
    every = {"root.wsdl": "<definitions/>", **texts}
    archive = zipped([(name, text.encode()) for name, text in every.items()])
    told = json.dumps({"kind": "wsdl", "root": "root.wsdl", "files": every}).encode()
    one = document_of(archive, ZIP, None)
    other = document_of(told, FILES, None)
    assert one == other
    assert one.digest == other.digest
    assert sum(file["bytes"] for file in shown(one)["files"]) == sum(map(len, one.files.values()))


@pytest.mark.parametrize(
    ("files", "root"),
    [
        ({"a.wsdl": wsdl("b.wsdl"), "b.wsdl": wsdl()}, "a.wsdl"),
        ({"a.wsdl": wsdl(), "b.wsdl": wsdl("a.wsdl")}, "b.wsdl"),
        ({"wsdl/a.wsdl": wsdl("../parts/b.wsdl"), "parts/b.wsdl": wsdl()}, "wsdl/a.wsdl"),
        ({"a.wsdl": wsdl("a.wsdl"), "c.json": b'{"openapi": "3.1.0"}'}, "a.wsdl"),
        ({"api.yaml": b"openapi: 3.0.1\n", "more.yaml": b"Place: {}\n"}, "api.yaml"),
        (
            {
                "api.yaml": b'openapi: 3.0.1\npaths: {"/a": {$ref: "b.yaml#/a"}}\n',
                "b.yaml": b"openapi: 3.0.1\n",
            },
            "api.yaml",
        ),
        ({"api.json": b'{\n  "openapi": "3.1.0"}', "b.json": b"{}"}, "api.json"),
        ({"a.wsdl": wsdl(), "__MACOSX/._b.wsdl": b"\x00", ".DS_Store": b"\x00"}, "a.wsdl"),
        ({"a%20b.wsdl": wsdl("c%20d.wsdl"), "c d.wsdl": wsdl()}, "a%20b.wsdl"),
    ],
    ids=str,
)
def test_the_file_that_no_other_imports_is_the_one_to_begin_with(
    files: Mapping[str, bytes], root: str
) -> None:
    assert document_of(zipped(list(files.items())), ZIP, None).root == root


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"readme.txt": b"hello"},
        {"a.wsdl": wsdl(), "b.wsdl": wsdl()},
        {"a.wsdl": wsdl("b.wsdl"), "b.wsdl": wsdl("a.wsdl")},
        {"a.json": b'{"openapi": ""}', "b.yaml": b"swagger: 2\n"},
    ],
    ids=str,
)
def test_where_several_or_none_could_be_the_uploader_is_asked(files: Mapping[str, bytes]) -> None:
    archive = zipped(list(files.items()))
    with pytest.raises(BadDocument) as refused:
        document_of(archive, ZIP, None)
    assert refused.value.field == "root"
    for name in files:
        assert document_of(archive, ZIP, name).root == name
    with pytest.raises((BadDocument, DocumentTooLarge)):
        document_of(archive, ZIP, "no-such.wsdl")


@pytest.mark.parametrize("name", ["../a.xsd", "/a.xsd", "a//b.xsd", "./a.xsd", "a\nb.xsd"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(BadDocument):
        document_of(zipped([("a.wsdl", wsdl()), (name, b"")]), ZIP, None)


def test_an_archive_that_would_grow_is_not_opened() -> None:
    # A thousand times as long as it looks, and told as no longer than allowed.
    bomb = zipped([("a.wsdl", wsdl()), ("b.xsd", b"\x00" * (MOST_BYTES + 1))])
    assert len(bomb) < 10_000
    with pytest.raises(DocumentTooLarge):
        document_of(bomb, ZIP, None)
    lying = bomb.replace(struct.pack("<I", MOST_BYTES + 1), struct.pack("<I", 10))
    assert lying != bomb
    with pytest.raises(BadDocument):
        document_of(lying, ZIP, None)
    many = zipped([(f"f{n}.xsd", b"") for n in range(MOST_FILES + 1)])
    with pytest.raises(DocumentTooLarge):
        document_of(many, ZIP, "f1.xsd")


def test_an_archive_with_a_file_twice_or_packed_otherwise_is_refused() -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zipped([("a.wsdl", wsdl()), ("a.wsdl", wsdl("b"))])
    locked = bytearray(zipped([("a.wsdl", wsdl())]))
    central = locked.index(b"PK\x01\x02")
    locked[central + 8] |= 1
    for content in (
        twice,
        bytes(locked),
        zipped([("a.wsdl", wsdl())], zipfile.ZIP_BZIP2),
        zipped([("a.wsdl", wsdl())], zipfile.ZIP_LZMA),
    ):
        with pytest.raises(BadDocument):
            document_of(content, ZIP, None)


def test_a_file_without_a_name_is_refused() -> None:
    archive = zipped([("a.wsdl", wsdl()), ("nameless", b"x")])
    # A name ends where a NUL is.
    archive = archive.replace(b"nameless", b"\x00ameless")
    with pytest.raises(BadDocument):
        document_of(archive, ZIP, None)


WHOLE = zipped([("a.wsdl", wsdl("b.xsd")), ("b.xsd", b"<schema/>" * 50)])


@given(
    some.integers(0, len(WHOLE) - 1),
    some.binary(min_size=1, max_size=4),
    some.integers(0, len(WHOLE)),
)
def test_a_spoilt_archive_is_refused_or_read_and_never_our_fault(
    place: int, bytes_: bytes, length: int
) -> None:
    for content in (
        WHOLE[:place] + bytes_ + WHOLE[place + len(bytes_) :],
        WHOLE[:length],
    ):
        try:
            document = document_of(content, ZIP, None)
        except (BadDocument, DocumentTooLarge):
            continue
        assert sum(map(len, document.files.values())) <= MOST_BYTES


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"kind": "word", "root": "a", "files": {"a": ""}}',
        b'{"kind": "wsdl", "root": "a", "files": {"a": 1}}',
        b'{"kind": "wsdl", "root": "b", "files": {"a": ""}}',
        b'{"kind": "wsdl", "root": "a", "files": {"a": ""}, "more": 1}',
        b'{"kind": "wsdl", "root": "a", "files": {"a": "\\ud800"}}',
        b'{"kind": "wsdl", "root": "\xff", "files": {}}',
        b"[" * 100_000,
    ],
    ids=lambda content: repr(content[:60]),
)
def test_an_object_that_tells_no_document_is_refused(content: bytes) -> None:
    with pytest.raises(BadDocument):
        document_of(content, FILES, None)


@pytest.mark.parametrize("media_type", ["", "text/plain", "multipart/form-data; boundary=x", "zip"])
def test_another_form_is_refused_and_the_good_ones_are_told(media_type: str) -> None:
    with pytest.raises(BadDocument) as refused:
        document_of(b"x", media_type, None)
    assert all(one in (refused.value.rule or "") for one in TYPES)
