"""A no in SOAP: the problem that a REST caller would be told, as a fault of the caller's version.

SOAP 1.1 faults have the status 500, whoever is to blame (WS-I Basic Profile 1.1, R1126); those of
SOAP 1.2 have 400 where the sender is (SOAP 1.2 part 2, table 20).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from lxml import etree

from bridge import soap_envelope
from bridge.soap_envelope import SoapFault

PROBLEM = "urn:gridroam:problem"
# What XML 1.0 has no way to say, not even escaped.
_UNSAYABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")


def words(version: str) -> Callable[[int, Mapping[str, Any]], tuple[int, str, bytes]]:
    """How a no is put: (status, members of the problem) -> (status, content type, envelope)."""

    def say(status: int, members: Mapping[str, Any]) -> tuple[int, str, bytes]:
        client = status < 500
        fault = SoapFault("Client" if client else "Server", str(members["detail"]))
        content = soap_envelope.fault(version, fault, problem(members))
        return (
            fault_status(version, client=client),
            soap_envelope.content_type(version, ""),
            content,
        )

    return say


def fault_status(version: str, *, client: bool) -> int:
    return 400 if client and version == "1.2" else 500


def problem(members: Mapping[str, Any]) -> str:
    """The members of a problem document (RFC 9457), each an element."""
    found = etree.Element(f"{{{PROBLEM}}}problem", nsmap={"p": PROBLEM})
    for name, value in members.items():
        if _NAME.fullmatch(name):
            etree.SubElement(found, f"{{{PROBLEM}}}{name}").text = sayable(str(value))
    return etree.tostring(found, encoding="unicode")


def sayable(text: str) -> str:
    """The text with what XML cannot say replaced: it may hold whatever a caller has sent."""
    return _UNSAYABLE.sub("\ufffd", text)
