"""HTTP for contract certificates: an EVSP's own authorities, and what it has revoked."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from fastapi import APIRouter, Depends
from pydantic import AwareDatetime, BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from clearinghouse.certificates import flows, model
from clearinghouse.certificates.ports import Certificates
from kit.clock import Clock
from kit.database import Database
from kit.http import Caller, caller_with, json_response
from kit.idempotency import once


class CertificatesAsked(BaseModel):
    """`certificates`: all of the EVSP's certificate authorities in PEM, one behind the other."""

    model_config = ConfigDict(extra="forbid")

    certificates: str


class AuthorityShown(BaseModel):
    subject: str
    fingerprint: str
    serial_number: str
    valid_from: datetime
    valid_until: datetime

    @classmethod
    def of(cls, one: x509.Certificate) -> AuthorityShown:
        return cls(
            subject=one.subject.rfc4514_string(),
            fingerprint=one.fingerprint(hashes.SHA256()).hex(),
            serial_number=model.serial_of(one),
            valid_from=one.not_valid_before_utc,
            valid_until=one.not_valid_after_utc,
        )


class AuthoritiesShown(BaseModel):
    authorities: list[AuthorityShown]

    @classmethod
    def of(cls, certificates: Iterable[x509.Certificate]) -> AuthoritiesShown:
        return cls(authorities=[AuthorityShown.of(one) for one in certificates])


class RevocationAsked(BaseModel):
    """`revoked_at`: since when, if that is not now."""

    model_config = ConfigDict(extra="forbid")

    revoked_at: AwareDatetime | None = None


class RevocationShown(BaseModel):
    serial_number: str
    revoked_at: datetime


Evsp = Annotated[Caller, Depends(caller_with("evsp"))]


def router(certificates: Certificates, *, database: Database, clock: Clock) -> APIRouter:
    """`/contract-certificates`: what contract certificates are checked against."""
    routes = APIRouter(tags=["clearing house: contract certificates"])

    @routes.get("/contract-certificates")
    async def show_contract_certificates(caller: Evsp) -> AuthoritiesShown:
        """The caller's own certificate authorities."""
        return AuthoritiesShown.of((await certificates.find(caller.party, ())).certificates)

    @routes.put("/contract-certificates", response_model=AuthoritiesShown)
    async def keep_contract_certificates(
        request: Request, asked: CertificatesAsked, caller: Evsp
    ) -> Response:
        """The caller's certificate authorities, in place of all that it told before."""

        async def keep() -> Response:
            kept = await flows.keep(
                asked.certificates, caller=caller.party, certificates=certificates, clock=clock
            )
            return json_response(AuthoritiesShown.of(kept).model_dump(mode="json"))

        return await once(request, keep, database=database, party=caller.party, clock=clock)

    @routes.put("/contract-certificates/revoked/{serial_number}", response_model=RevocationShown)
    async def revoke_contract_certificate(
        request: Request, serial_number: str, asked: RevocationAsked, caller: Evsp
    ) -> Response:
        """Refuse a certificate of the caller's authorities from a moment on; for good."""

        async def revoke() -> Response:
            number, since = await flows.revoke(
                serial_number,
                asked.revoked_at,
                caller=caller.party,
                certificates=certificates,
                clock=clock,
            )
            shown = RevocationShown(serial_number=number, revoked_at=since)
            return json_response(shown.model_dump(mode="json"))

        return await once(request, revoke, database=database, party=caller.party, clock=clock)

    return routes
