"""What the contract framework is told of contracts, for their documents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec

from gridroam.core import Core
from kit.encoding import encode_json
from marketplace.contracts import flows as contract_flows
from marketplace.framework.document import Document, OnPaper, contract_document
from roaming.party import PartyId


@dataclass(frozen=True, slots=True)
class AgreementsForFramework:
    """One-click contracts by what is kept of them; who is in them, as told when they agreed."""

    parts: Core

    async def must_be_in(self, caller: PartyId, contract_id: str) -> None:
        await contract_flows.find(self.parts.contracts, caller, contract_id)

    async def document(self, caller: PartyId, contract_id: str) -> Document:
        found = await contract_flows.find(self.parts.contracts, caller, contract_id)
        agreed_at = found.history[0].since
        async with self.parts.offerings.open() as stall:
            clauses = await stall.clauses(found.clauses_digest)
        return contract_document(
            contract_id=found.contract_id,
            offering_id=found.offering_id,
            agreed_at=agreed_at,
            provider=await on_paper(self.parts, found.provider, agreed_at),
            requester=await on_paper(self.parts, found.requester, agreed_at),
            service=found.service,
            major=found.major,
            environment=found.environment.value,
            terms=msgspec.json.decode(encode_json(found.terms.to_json())),
            clauses=clauses.chosen,
            valid_from=found.valid_from,
            valid_until=found.valid_until,
        )


async def on_paper(parts: Core, party: PartyId, at: datetime) -> OnPaper:
    """A party as it had told of itself at a moment."""
    async with parts.partners.open() as directory:
        partner = await directory.find(party)
    async with parts.business_files.open() as file:
        told = await file.find(party, at)
    name = None if partner is None else partner.name
    if told is None:
        return OnPaper(party, name)
    return OnPaper(
        party,
        name,
        told.legal_name,
        told.street,
        told.postal_code,
        told.city,
        told.country,
        told.vat_id,
        told.tax_id,
    )
