"""A contract on paper: its document as PDF/A, with the canonical JSON and the signatures in it.

Law: the same document and signatures are the same bytes. All that stands on the pages comes from
the document; what is signed is the JSON, whose digest the last page tells.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from datetime import date as Day
from typing import Any

from documents import printed
from documents.printed import Page
from kit.encoding import encode_json
from kit.printing import Printer
from marketplace.framework.document import Document, Signature
from marketplace.framework.ports import Paper

TEMPLATE = "marketplace/framework/contract.typ"
MOST_ROWS = 300
LONGEST_VALUE = 400
_NOTE = (
    "The clauses are modules of the marketplace's contract framework in the versions given. Those "
    "that came with the hub are model text, not legal advice."
)


def print_contract(paper: Paper, printer: Printer) -> bytes:
    """PDF/A-3 with the canonical JSON attached as contract.json."""
    document: Document = json.loads(paper.body)
    page = page_of(document, paper.body, paper.signatures)
    return printer.pdf(
        TEMPLATE, page, day=day_of(document, paper.signatures), attached=paper.body.decode()
    )


def day_of(document: Document, signatures: Sequence[Signature]) -> Day:
    """The day that the file is dated by: that of the last signature, or of the agreement."""
    if signatures:
        return max(one.signed_at for one in signatures).astimezone(UTC).date()
    told = document.get("agreed_at") or document["validity"]["from"]
    return _EARLIEST if told is None else _at(told).date()


def page_of(document: Document, body: bytes, signatures: Sequence[Signature]) -> Page:
    number = document.get("contract_id") or document.get("negotiation_id") or ""
    parties = document["parties"]
    names = [_name(parties[side]) for side in ("provider", "requester")]
    rows = list(_flat(document["terms"], ""))
    return {
        "title": "Contract",
        "number": number,
        "subject": f"Contract {number}",
        "foot": f"{names[0]} and {names[1]}",
        "provider": _party(parties["provider"]),
        "requester": _party(parties["requester"]),
        "facts": _facts(document),
        "clauses": [_clause(n, clause) for n, clause in enumerate(document["clauses"], start=1)],
        "terms": rows[:MOST_ROWS],
        "more_terms": (
            ""
            if len(rows) <= MOST_ROWS
            else f"{printed.count(len(rows) - MOST_ROWS)} more are in the attached contract.json."
        ),
        "notes": [_NOTE],
        "concluded": _concluded(document, signatures),
        "digest": hashlib.sha256(body).hexdigest(),
        "format": document["format"],
        "signatures": [_signature(one, parties) for one in signatures],
        "signatures_json": (
            encode_json([_told(one) for one in signatures]).decode() if signatures else ""
        ),
    }


def _facts(document: Document) -> list[tuple[str, str]]:
    service, validity = document["service"], document["validity"]
    begins, ends = validity["from"], validity["until"]
    facts = [
        ("Service", f"{service['name']} v{service['major']}"),
        ("Environment", service["environment"]),
        ("Valid from", _moment(begins) if begins else "the last signature"),
        ("Until", _moment(ends) if ends else "further notice"),
    ]
    if "agreed_at" in document:
        facts.append(("Agreed", _moment(document["agreed_at"])))
    if "replaces" in document:
        facts.append(("Replaces", document["replaces"]))
    return facts


def _concluded(document: Document, signatures: Sequence[Signature]) -> str:
    if signatures:
        return "Both parties have signed the attached contract.json, whose digest stands below."
    if "agreed_at" in document:
        return (
            "Concluded in the marketplace: the Requester accepted the Provider's offering "
            f"{document.get('offering_id', '')} on {_moment(document['agreed_at'])}. "
            "The record of it is kept there."
        )
    return "Not signed."


def _party(told: Mapping[str, str]) -> Page:
    place = f"{told.get('postal_code', '')} {told.get('city', '')}".strip()
    country = printed.country(told["country"]) if "country" in told else ""
    ids = [("Party", told["party"])]
    if "vat_id" in told:
        ids.append(("VAT id", told["vat_id"]))
    elif "tax_id" in told:
        ids.append(("Tax id", told["tax_id"]))
    return {
        "name": _name(told),
        "lines": [line for line in (told.get("street", ""), place, country) if line],
        "ids": ids,
    }


def _name(told: Mapping[str, str]) -> str:
    return told.get("legal_name") or told.get("name") or told["party"]


def _clause(number: int, clause: Mapping[str, Any]) -> Page:
    paragraphs, n = [], 0
    for text in clause["text"].split("\n\n"):
        if text.startswith("- "):
            paragraphs.append({"number": "•", "text": text[2:], "item": True})
        else:
            n += 1
            paragraphs.append({"number": f"{number}.{n}", "text": text, "item": False})
    return {
        "heading": f"{number}  {clause['title']}",
        "module": f"{clause['name']}, version {clause['version']}",
        "paragraphs": paragraphs,
    }


def _signature(one: Signature, parties: Mapping[str, Mapping[str, str]]) -> Page:
    name = next(
        (_name(party) for party in parties.values() if party["party"] == one.party), one.party
    )
    return {
        "name": name,
        "facts": [
            ("Party", str(one.party)),
            ("Signed", _moment(one.signed_at.isoformat())),
            ("Key", one.key_id),
            ("Algorithm", one.algorithm),
        ],
        "jws": one.jws,
    }


def _told(one: Signature) -> dict[str, str]:
    return {
        "party": str(one.party),
        "key_id": one.key_id,
        "algorithm": one.algorithm,
        "signed_at": one.signed_at.astimezone(UTC).isoformat(),
        "jws": one.jws,
    }


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """The terms as lines of a name and a value; lists of plain values on one line."""
    if isinstance(value, Mapping) and value:
        for key, member in value.items():
            yield from _flat(member, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list) and any(isinstance(one, Mapping | list) for one in value):
        for n, member in enumerate(value, start=1):
            yield from _flat(member, f"{path} {n}")
    else:
        told = _word(value)
        yield path, told if len(told) <= LONGEST_VALUE else f"{told[:LONGEST_VALUE]} …"


def _word(value: Any) -> str:
    if value is None or value in ({}, []):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(_word, value)) if isinstance(value, list) else str(value)


_EARLIEST = Day(2000, 1, 1)


def _at(told: str) -> datetime:
    return datetime.fromisoformat(told).astimezone(UTC)


def _moment(told: str) -> str:
    at = _at(told)
    return f"{printed.day(at.date())}, {at:%H:%M} UTC"
