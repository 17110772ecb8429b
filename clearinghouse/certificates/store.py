"""Contract certificate authorities and revocations on PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from cryptography import x509
from sqlalchemy import Column, DateTime, Table, Text, func, select
from sqlalchemy.dialects.postgresql import insert

from clearinghouse.certificates.model import Authorities, authorities_of, to_pem
from kit import event_log
from kit.database import Database, metadata
from kit.event_log import NewEvent
from roaming.party import PartyId

_Identifier = Text(collation="C")

# Public by their nature: nothing here is sealed.
contract_authority = Table(
    "contract_authority",
    metadata,
    Column("evsp", _Identifier, primary_key=True),
    Column("certificates", Text, nullable=False),
    schema="clearinghouse",
)
revoked_certificate = Table(
    "revoked_certificate",
    metadata,
    Column("evsp", _Identifier, primary_key=True),
    Column("serial_number", _Identifier, primary_key=True),
    Column("revoked_at", DateTime(timezone=True), nullable=False),
    schema="clearinghouse",
)


class SqlCertificates:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, evsp: PartyId, serial_numbers: Collection[str]) -> Authorities:
        pem = await self._database.pool.fetchval(
            f"SELECT certificates FROM {contract_authority.fullname} WHERE evsp = $1", evsp
        )
        rows = await self._database.pool.fetch(
            f"SELECT serial_number, revoked_at FROM {revoked_certificate.fullname}"
            " WHERE evsp = $1 AND serial_number = ANY($2::text[])",
            evsp,
            list(serial_numbers),
        )
        revoked = {row["serial_number"]: row["revoked_at"] for row in rows}
        return Authorities(authorities_of(pem or ""), revoked)

    async def keep(
        self, evsp: PartyId, certificates: Sequence[x509.Certificate], event: NewEvent
    ) -> None:
        new = insert(contract_authority).values(evsp=evsp, certificates=to_pem(certificates))
        async with self._database.begin() as connection:
            changed = await connection.execute(
                new.on_conflict_do_update(
                    index_elements=[contract_authority.c.evsp],
                    set_={"certificates": new.excluded.certificates},
                    where=contract_authority.c.certificates != new.excluded.certificates,
                ).returning(contract_authority.c.evsp)
            )
            if changed.first() is not None:
                await event_log.append(connection, [event])

    async def revoke(
        self, evsp: PartyId, serial_number: str, revoked_at: datetime, event: NewEvent
    ) -> datetime:
        table = revoked_certificate
        new = insert(table).values(evsp=evsp, serial_number=serial_number, revoked_at=revoked_at)
        async with self._database.begin() as connection:
            changed = await connection.execute(
                new.on_conflict_do_update(
                    index_elements=[table.c.evsp, table.c.serial_number],
                    set_={"revoked_at": func.least(table.c.revoked_at, new.excluded.revoked_at)},
                    where=table.c.revoked_at > new.excluded.revoked_at,
                ).returning(table.c.revoked_at)
            )
            row = changed.first()
            if row is not None:
                await event_log.append(connection, [event])
                return revoked_at
            since: datetime = (
                await connection.execute(
                    select(table.c.revoked_at).where(
                        table.c.evsp == evsp, table.c.serial_number == serial_number
                    )
                )
            ).scalar_one()
            return since
