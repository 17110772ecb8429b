"""A contract on paper."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

from pypdf import PdfReader

from documents.printed import printer
from marketplace.framework.document import Document, Signature, canonical
from marketplace.framework.model import Clause
from marketplace.framework.paper import MOST_ROWS, day_of, page_of, print_contract
from marketplace.framework.ports import Paper
from roaming.party import PartyId
from tests.marketplace.framework.test_document import BEGINS, CLAUSE, document

SIGNED_AT = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
SIGNATURES = [
    Signature(PartyId("NL*FCS"), "key-1", "EdDSA", SIGNED_AT, "eyJhbGciOi..c2lnbmVk"),
    Signature(PartyId("FR*PD1"), "key-2", "ES256", SIGNED_AT + timedelta(1), "eyJhbGciOi..dG9v"),
]


def read(pdf: bytes) -> tuple[str, dict[str, bytes]]:
    reader = PdfReader(BytesIO(pdf))
    texts = [page.extract_text() for page in reader.pages]
    return "\n".join(texts), {name: found[0] for name, found in reader.attachments.items()}


def printed(made: Document, *signatures: Signature) -> bytes:
    return print_contract(Paper(canonical(made), signatures), printer())


def test_the_page_says_what_the_document_says_and_has_it_attached() -> None:
    made = document()
    words, attached = read(printed(made))
    for word in ("Forecasts B.V.", "load-forecast v1", "1.1", CLAUSE.title, "liability, version 1"):
        assert word in words
    assert attached["contract.json"] == canonical(made)
    assert hashlib.sha256(canonical(made)).hexdigest() in words
    assert "Not signed." in words


def test_the_same_document_is_the_same_paper() -> None:
    made = document(agreed_at=BEGINS)
    assert printed(made) == printed(json.loads(canonical(made)))
    assert printed(made) != printed(made, *SIGNATURES)


def test_the_last_page_lists_who_signed_and_the_signatures_are_attached() -> None:
    pdf = printed(document(), *SIGNATURES)
    words, attached = read(pdf)
    last = PdfReader(BytesIO(pdf)).pages[-1].extract_text()
    for one in SIGNATURES:
        assert one.key_id in last
        assert one.algorithm in last
    assert "Both parties have signed" in words
    assert [one["jws"] for one in json.loads(attached["signatures.json"])] == [
        one.jws for one in SIGNATURES
    ]
    assert day_of(document(), SIGNATURES).isoformat() == "2026-03-03"


def test_long_terms_are_cut_on_paper_and_whole_in_the_attachment() -> None:
    terms: dict[str, Any] = {"groups": [{"n": n} for n in range(MOST_ROWS + 5)], "x": "y" * 1_000}
    page = page_of(document(terms=terms), b"", ())
    assert len(page["terms"]) == MOST_ROWS
    assert page["more_terms"].startswith("6 more")
    _, attached = read(printed(document(terms=terms)))
    assert json.loads(attached["contract.json"])["terms"] == terms


def test_whatever_a_text_holds_is_printed_as_text() -> None:
    clause = replace(CLAUSE, text='#pagebreak() $x$ \\ "]\n\n- *one*\n\n漢字 \u202e')
    words, _ = read(printed(document(clauses=[clause, Clause("a", 2, "#T", {}, "x")])))
    assert "#pagebreak() $x$" in words
    assert "#T" in words
