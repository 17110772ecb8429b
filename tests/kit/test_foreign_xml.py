"""A stranger's XML: what is taken, and all that is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit import foreign_xml
from kit.foreign_xml import NotXml

MOST = 100_000


def test_xml_is_read_without_its_comments_and_instructions() -> None:
    root = foreign_xml.read(b"<a><!-- c --><?p i?>x<b/></a>", most_bytes=MOST)
    assert (root.tag, root.text, len(root)) == ("a", "x", 1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_an_encoding_that_xml_names_is_read(encoding: str) -> None:
    content = f'<?xml version="1.0" encoding="{encoding}"?><a>é</a>'.encode(encoding)
    assert foreign_xml.read(content, most_bytes=MOST).text == "é"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"\x00\xff",
        b"<html><br></html>",
        b'<?xml version="1.0" encoding="utf-8"?><a>\xe9</a>',
        b'<?xml version="1.0" encoding="no-such"?><a/>',
        b'<?xml version="1.0" encoding="utf-16"?><a/>',
        b"<a>&e;</a>",
        b"<z:a/>",
        b"<!DOCTYPE a><a/>",
        '<!DOCTYPE a [<!ENTITY e "e">]><a>&e;</a>'.encode("utf-16"),
        b"<a>" * 300 + b"</a>" * 300,
        b"<a/>" + b" " * MOST,
    ],
    ids=range(13),
)
def test_what_is_no_xml_for_us_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(NotXml):
        foreign_xml.read(content, most_bytes=MOST)


def test_no_file_of_ours_is_read_for_a_stranger(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary")
    for encoding in ("utf-8", "utf-16"):
        doctype = f'<!DOCTYPE a [<!ENTITY e SYSTEM "{secret.as_uri()}">]><a>&e;</a>'
        with pytest.raises(NotXml) as refused:
            foreign_xml.read(doctype.encode(encoding), most_bytes=MOST)
        assert "canary" not in str(refused.value)


def test_entities_that_multiply_are_not_followed() -> None:
    layers = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    for where in ("<a>&e11;</a>", '<a b="&e11;"/>'):
        bomb = f'<!DOCTYPE a [<!ENTITY e0 "ha">{layers}]>{where}'
        for encoding in ("utf-8", "utf-16"):
            with pytest.raises(NotXml):
                foreign_xml.read(bomb.encode(encoding), most_bytes=MOST)
