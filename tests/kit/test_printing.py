"""Paper: the same bytes every time, whatever the names in it look like."""

from __future__ import annotations

from datetime import date
from io import BytesIO
from pathlib import Path

import pytest
import typst
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from kit.printing import Printer

DAY = date(2025, 2, 3)
TEMPLATE = """
#let d = json(bytes(sys.inputs.data))
#set document(title: d.name, date: datetime(year: 2025, month: 2, day: 3))
#if sys.inputs.attached != "" { pdf.attach("/a.txt", bytes(sys.inputs.attached),
  mime-type: "text/plain", description: "a", relationship: "source") }
#set page(width: 400pt, height: 100pt)
#d.name
"""


@pytest.fixture(scope="module")
def printer(tmp_path_factory: pytest.TempPathFactory) -> Printer:
    root = tmp_path_factory.mktemp("templates")
    (root / "name.typ").write_text(TEMPLATE)
    (root / "bad.typ").write_text("#nothing-of-this-name")
    (root / "secret.typ").write_text("#read(json(bytes(sys.inputs.data)).name)")
    return Printer(root)


def text_of(pdf: bytes) -> str:
    return " ".join(page.extract_text() for page in PdfReader(BytesIO(pdf)).pages)


def printed(printer: Printer, name: str) -> str:
    return text_of(printer.pdf("name.typ", {"name": name}, day=DAY))


@pytest.mark.parametrize(
    "name", ['#panic("x")', "*bold* _not_ $x$ `y`", '#read("/etc/passwd")', "</script>", '"', "\\"]
)
def test_what_looks_like_a_command_is_printed_as_it_is_written(printer: Printer, name: str) -> None:
    assert printed(printer, name) == name


def test_letters_of_europe_are_printed(printer: Printer) -> None:
    assert printed(printer, "Łódź Ñandú Þór Ψ Київ") == "Łódź Ñandú Þór Ψ Київ"


@pytest.mark.parametrize(
    ("name", "seen"),
    [("日本 KK", "?? KK"), ("a\x07b", "a?b"), ("x\ue000", "x?"), ("\ud83d!", "?!")],
)
def test_a_letter_that_no_font_has_is_stood_in_for(printer: Printer, name: str, seen: str) -> None:
    assert printed(printer, name) == seen


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=40))
def test_any_name_at_all_can_be_printed(printer: Printer, name: str) -> None:
    assert printer.pdf("name.typ", {"name": name}, day=DAY).startswith(b"%PDF")


def test_the_same_data_are_the_same_bytes_on_another_printer_too(printer: Printer) -> None:
    data = {"name": "Point du Jour"}
    other = Printer(printer._root)
    assert printer.pdf("name.typ", data, day=DAY) == other.pdf("name.typ", data, day=DAY)


def test_it_is_made_to_last_and_dated(printer: Printer) -> None:
    metadata = printer.pdf("name.typ", {"name": "x"}, day=DAY).decode("latin-1")
    assert "<pdfaid:part>3</pdfaid:part>" in metadata
    assert "2025-02-03T00:00:00Z" in metadata


def test_a_file_can_be_attached(printer: Printer) -> None:
    pdf = printer.pdf("name.typ", {"name": "x"}, day=DAY, attached="ä")
    assert PdfReader(BytesIO(pdf)).attachments["a.txt"] == ["ä".encode()]


def test_a_template_reads_nothing_outside_its_folder(printer: Printer, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    for name in (str(secret), "../secret.txt", "../" * 9 + str(secret)):
        with pytest.raises(typst.TypstError):
            printer.pdf("secret.typ", {"name": name}, day=DAY)


def test_a_fault_in_a_template_is_told_not_covered_up(printer: Printer) -> None:
    with pytest.raises(typst.TypstError, match="nothing-of-this-name"):
        printer.pdf("bad.typ", {}, day=DAY)


def test_pages_can_be_had_as_pictures(printer: Printer) -> None:
    (page,) = printer.png("name.typ", {"name": "x"}, day=DAY)
    assert page.startswith(b"\x89PNG")
