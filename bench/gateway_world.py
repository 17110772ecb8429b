"""Whom the gateway knows in its benchmarks: 2,000 partners, 8,000 contracts, and the one who calls.

Every contract but those on one service has a quota, which is too high to be used up.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

from bench.processes import Asked
from bridge.document import Document, Kind
from kit.database import Database
from marketplace.contracts.rows import contracts
from marketplace.offerings.model import Quota, ServiceTerms
from marketplace.offerings.store import keep_terms, offerings
from marketplace.partners.store import partners
from marketplace.services.store import interfaces, services
from roaming.party import PartyId

PARTNERS = 2_000
SERVICES = 20
CONTRACTS_EACH = 4
CALLS_A_DAY = 1_000_000_000
ISSUER = "https://hub.example"
REST, SOAP, WITHOUT_QUOTA = "service-0", "service-5", "service-10"
"""Three services that the one caller has a contract on; the first two with a document."""
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Providers:
    """Where their servers listen on this machine."""

    rest: int
    soap: int


def party_of(number: int) -> PartyId:
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    a, rest = divmod(number, 36 * 36)
    return PartyId("DE" + alphabet[a] + alphabet[rest // 36] + alphabet[rest % 36])


def pairs() -> Iterator[tuple[PartyId, str]]:
    """Who has a contract on what: every partner on CONTRACTS_EACH services, spread evenly."""
    for number in range(PARTNERS):
        for turn in range(CONTRACTS_EACH):
            yield party_of(number), f"service-{(number + turn * 5) % SERVICES}"


class Caller:
    """One partner of the many, and what it asks."""

    def __init__(self, scratch: Path) -> None:
        self.party = party_of(PARTNERS // 2)
        key = ECKey.generate_key("P-256", {"kid": "bench", "use": "sig", "alg": "ES256"})
        now = datetime.now(UTC)
        self.token = jwt.encode(
            {"alg": "ES256", "typ": "at+jwt", "kid": "bench"},
            {
                "iss": ISSUER,
                "aud": ISSUER,
                "sub": "bench",
                "client_id": "bench",
                "party": str(self.party),
                "roles": ["evse-operator"],
                "scope": "services",
                "iat": int(now.timestamp()),
                "exp": int((now + timedelta(hours=6)).timestamp()),
                "jti": secrets.token_hex(8),
            },
            key,
        )
        self.keys_file = scratch / "jwks.json"
        self.keys_file.write_text(json.dumps([key.as_dict(private=False)]))

    def plain(self, port: int, service: str = REST) -> Asked:
        return self._asked(f"http://127.0.0.1:{port}/services/{service}/evses?near=48.1,11.5", {})

    def json_to_soap(self, port: int) -> Asked:
        url = f"http://127.0.0.1:{port}/services/{SOAP}/FindEvses"
        question = {"lat": 48.1, "lon": 11.5, "limit": 4}
        return self._asked(url, {"Content-Type": "application/json"}, json.dumps(question).encode())

    def soap_to_rest(self, port: int) -> Asked:
        envelope = (
            '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
            f'<findEvses xmlns="urn:gridroam:{REST}:1"><near>48.1,11.5</near></findEvses>'
            "</s:Body></s:Envelope>"
        )
        url = f"http://127.0.0.1:{port}/services/{REST}/soap"
        told = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'}
        return self._asked(url, told, envelope.encode())

    def _asked(self, url: str, headers: Mapping[str, str], body: bytes = b"") -> Asked:
        return Asked(url, {"Authorization": f"Bearer {self.token}", **headers}, body)


def _document(kind: Kind, name: str) -> Document:
    return Document(kind, name, {name: (_HERE / name).read_bytes()})


async def fill(database: Database, listening: Providers) -> None:
    """Partners, services, offerings and contracts as the marketplace keeps them."""
    now = datetime.now(UTC)
    documents = {
        REST: _document(Kind.OPENAPI, "evses.openapi.json"),
        SOAP: _document(Kind.WSDL, "evses.wsdl"),
    }
    providers = [party_of(PARTNERS + number) for number in range(SERVICES)]
    async with database.begin() as connection:
        for table in (contracts, offerings, services, interfaces, partners):
            await connection.execute(table.delete())
        terms = [ServiceTerms(quota=Quota(calls_per_day=CALLS_A_DAY)), ServiceTerms()]
        limited, free = await keep_terms(connection, terms)
        digests = {WITHOUT_QUOTA: free}
        for document in documents.values():
            await connection.execute(
                interfaces.insert().values(
                    digest=document.digest,
                    kind=document.kind.value,
                    content=document.to_bytes(),
                    uploaded_at=now,
                )
            )
        await connection.execute(
            partners.insert(),
            [
                {
                    "party": str(party),
                    "name": str(party),
                    "roles": ["evse-operator"],
                    "scope": "services",
                    "status": "active",
                    "registered_at": now,
                }
                for party in [*map(party_of, range(PARTNERS)), *providers]
            ],
        )
        both = {"major": 1}
        await connection.execute(
            services.insert(),
            [
                _service(f"service-{number}", provider, documents, listening, now)
                for number, provider in enumerate(providers)
            ],
        )
        await connection.execute(
            offerings.insert(),
            [
                {
                    **both,
                    "offering_id": f"O-{number}",
                    "provider": str(provider),
                    "service": f"service-{number}",
                    "terms_digest": digests.get(f"service-{number}", limited),
                    "audience": "public",
                    "audience_names": [],
                    "status": "published",
                    "published_at": now,
                    "content": str(number).encode(),
                }
                for number, provider in enumerate(providers)
            ],
        )
        agreed = now.isoformat()
        await connection.execute(
            contracts.insert(),
            [
                {
                    **both,
                    "contract_id": f"C-{number:06d}",
                    "offering_id": f"O-{service.removeprefix('service-')}",
                    "provider": str(providers[int(service.removeprefix("service-"))]),
                    "requester": str(party),
                    "service": service,
                    "terms_digest": digests.get(service, limited),
                    "valid_from": now - timedelta(days=1),
                    "history": [["agreed", agreed, str(party), agreed, None]],
                    "suspended_by": [],
                    "version": 1,
                }
                for number, (party, service) in enumerate(pairs())
            ],
        )


def _service(
    name: str,
    provider: PartyId,
    documents: Mapping[str, Document],
    listening: Providers,
    now: datetime,
) -> dict[str, Any]:
    """As it is registered and, where it has a document, described."""
    document = documents.get(name)
    soap = document is not None and document.kind is Kind.WSDL
    operations = [] if document is None or soap else [["findEvses", "GET", "/evses"]]
    return {
        "name": name,
        "major": 1,
        "provider": str(provider),
        "status": "published",
        "category": "value-added",
        "description": "",
        "endpoint": f"http://127.0.0.1:{listening.soap if soap else listening.rest}",
        "protocol": "soap" if soap else "rest",
        "documentation": "",
        "operations": operations,
        "registered_at": now,
        "interface_digest": None if document is None else document.digest,
    }
