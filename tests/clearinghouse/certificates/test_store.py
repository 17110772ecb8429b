"""Authorities and revocations on a real PostgreSQL: each EVSP's own, and told once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from clearinghouse.certificates import flows
from clearinghouse.certificates.model import Authorities
from clearinghouse.certificates.store import SqlCertificates
from kit import event_log
from kit.database import Database
from roaming.party import PartyId
from tests.clearinghouse.certificates import pki

XYZ, ABC = PartyId("FR*XYZ"), PartyId("DE*ABC")
NOON = datetime(2025, 1, 7, 12, tzinfo=UTC)
ROOT = pki.root()


async def told(database: Database) -> list[str]:
    async with database.hot() as connection:
        return [one.type for one in await event_log.read(connection, event_log.START)]


async def test_an_evsp_keeps_its_own_authorities_in_place_of_those_before(
    database: Database,
) -> None:
    certificates = SqlCertificates(database)
    sub = ROOT.authority("below")
    for pem in (ROOT.pem + sub.pem, sub.pem, sub.pem):
        await flows.keep(pem, caller=XYZ, certificates=certificates, clock=lambda: NOON)
    assert (await certificates.find(XYZ, ())).certificates == (sub.certificate,)
    assert await certificates.find(ABC, ()) == Authorities((), {})
    assert await told(database) == ["contract-certificates-changed"] * 2
    await flows.keep("", caller=XYZ, certificates=certificates, clock=lambda: NOON)
    assert (await certificates.find(XYZ, ())).certificates == ()


async def test_what_is_revoked_stays_so_and_no_later_than_it_was(database: Database) -> None:
    certificates = SqlCertificates(database)
    hour = timedelta(hours=1)
    for serial, at, since in (
        ("00AB", None, NOON),
        ("ab", NOON + hour, NOON),
        ("AB", NOON - hour, NOON - hour),
        ("cd", None, NOON),
    ):
        revoked = await flows.revoke(
            serial, at, caller=XYZ, certificates=certificates, clock=lambda: NOON
        )
        assert revoked == (serial.lower().lstrip("0"), since)
    assert (await certificates.find(XYZ, {"ab", "ef"})).revoked == {"ab": NOON - hour}
    assert (await certificates.find(ABC, {"ab"})).revoked == {}
    assert await told(database) == ["contract-certificate-revoked"] * 3
