"""An interface document is kept as it came, and within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bridge import document
from bridge.document import BadDocument, Document, DocumentTooLarge, Kind


@given(some.dictionaries(some.text(max_size=20), some.binary(max_size=200), max_size=5))
def test_what_was_kept_is_what_came(files: dict[str, bytes]) -> None:
    one = Document(Kind.WSDL, "a.wsdl", files)
    assert Document.of_bytes(one.to_bytes()) == one


def test_the_order_of_files_makes_no_other_document() -> None:
    one = Document(Kind.WSDL, "a", {"a": b"1", "b": b"2"})
    other = Document(Kind.WSDL, "a", {"b": b"2", "a": b"1"})
    assert one.digest == other.digest


@pytest.mark.parametrize("name", ["../a.xsd", "/a.xsd", "a//b", "./a", "a\nb", ""])
def test_a_file_is_named_by_a_plain_path(name: str) -> None:
    with pytest.raises(BadDocument):
        document.checked(Document(Kind.WSDL, name, {name: b""}))


def test_the_file_to_begin_with_is_there() -> None:
    with pytest.raises(BadDocument) as refused:
        document.checked(Document(Kind.WSDL, "b", {"a": b""}))
    assert refused.value.field == "root"


def test_a_document_has_bounds() -> None:
    with pytest.raises(DocumentTooLarge):
        document.checked(Document(Kind.WSDL, "a", {"a": b"x" * (document.MOST_BYTES + 1)}))
    with pytest.raises(DocumentTooLarge):
        document.checked(Document(Kind.WSDL, "a", {}))
