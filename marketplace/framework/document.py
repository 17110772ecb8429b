"""The contract as a document: one JSON object that both sides can sign, and its one spelling.

Law: the same content is the same bytes (RFC 8785), whoever puts it together and in whatever order.
It is made of what was agreed and kept, texts included, and never of what a module says today.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import rfc8785

from marketplace.framework.model import Clause
from roaming.party import PartyId

FORMAT = "gridroam-contract/1"
"""What the members mean. A document of another form gets another tag."""

Document = dict[str, Any]
"""Texts, whole numbers, truths, lists and objects only: what JSON spells in one way."""


@dataclass(frozen=True, slots=True)
class OnPaper:
    """A party as a contract names it: what it had told of itself when the two agreed.

    `name` is the one that it is registered under; all else is None where it has told nothing.
    """

    party: PartyId
    name: str | None = None
    legal_name: str | None = None
    street: str | None = None
    postal_code: str | None = None
    city: str | None = None
    country: str | None = None
    vat_id: str | None = None
    tax_id: str | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """A party's detached JWS over the canonical bytes, as the document's last page lists it."""

    party: PartyId
    key_id: str
    algorithm: str
    signed_at: datetime
    jws: str


def contract_document(
    *,
    provider: OnPaper,
    requester: OnPaper,
    service: str,
    major: int,
    terms: Mapping[str, Any],
    clauses: Sequence[Clause],
    valid_from: datetime | None,
    valid_until: datetime | None,
    environment: str = "live",
    contract_id: str | None = None,
    negotiation_id: str | None = None,
    offering_id: str | None = None,
    agreed_at: datetime | None = None,
    replaces: str | None = None,
) -> Document:
    """The document of a contract, or of one that is negotiated and has no id of its own yet.

    `terms` and the clauses' parameters are plain JSON, as they are kept. `valid_from` None: from
    the last signature on; `valid_until` None: without an end. `replaces`: the contract that ends
    where this one begins. What there is not is left out, so that what comes to be said of later
    contracts does not change the bytes of this one.
    """
    return _given(
        {
            "format": FORMAT,
            "contract_id": contract_id,
            "negotiation_id": negotiation_id,
            "offering_id": offering_id,
            "replaces": replaces,
            "agreed_at": None if agreed_at is None else _moment(agreed_at),
            "parties": {"provider": _party(provider), "requester": _party(requester)},
            "service": {"name": service, "major": major, "environment": environment},
            "validity": {
                "from": None if valid_from is None else _moment(valid_from),
                "until": None if valid_until is None else _moment(valid_until),
            },
            "terms": dict(terms),
            "clauses": [
                {
                    "name": one.name,
                    "version": one.version,
                    "title": one.title,
                    "parameters": dict(one.parameters),
                    "text": one.text,
                }
                for one in clauses
            ],
        }
    )


def canonical(document: Document) -> bytes:
    """The bytes that are signed, hashed and kept: RFC 8785."""
    return rfc8785.dumps(document)


def digest(document: Document) -> bytes:
    """SHA-256 of the canonical bytes."""
    return hashlib.sha256(canonical(document)).digest()


def _party(one: OnPaper) -> dict[str, str]:
    return _given(
        {
            "party": str(one.party),
            "name": one.name,
            "legal_name": one.legal_name,
            "street": one.street,
            "postal_code": one.postal_code,
            "city": one.city,
            "country": one.country,
            "vat_id": one.vat_id,
            "tax_id": one.tax_id,
        }
    )


def _given(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _moment(at: datetime) -> str:
    """One spelling for one moment: UTC, and no more places than it needs."""
    assert at.tzinfo is not None
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
