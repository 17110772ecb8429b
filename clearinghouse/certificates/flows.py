"""How an EVSP tells of its certificate authorities, and takes a certificate back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from clearinghouse.certificates import model
from clearinghouse.certificates.ports import Certificates
from kit.clock import Clock
from kit.event_log import NewEvent
from roaming.events import EventType
from roaming.party import PartyId


async def keep(
    pem: str, *, caller: PartyId, certificates: Certificates, clock: Clock
) -> Sequence[x509.Certificate]:
    """Keep the caller's authorities; none of those that it does not name stays."""
    found = model.authorities_of(pem)
    event = NewEvent(
        stream=f"customers:{caller}",
        type=EventType.CONTRACT_CERTIFICATES_CHANGED,
        party=str(caller),
        body={"fingerprints": [one.fingerprint(hashes.SHA256()).hex() for one in found]},
        occurred_at=clock(),
    )
    await certificates.keep(caller, found, event)
    return found


async def revoke(
    serial_number: str,
    revoked_at: datetime | None,
    *,
    caller: PartyId,
    certificates: Certificates,
    clock: Clock,
) -> tuple[str, datetime]:
    """Take a certificate back, from now on or since an earlier time: its number, and since when."""
    number, now = model.serial_number_of(serial_number), clock()
    since = now if revoked_at is None else model.instant_of(revoked_at)
    event = NewEvent(
        stream=f"customers:{caller}",
        type=EventType.CONTRACT_CERTIFICATE_REVOKED,
        party=str(caller),
        body={"serial_number": number, "revoked_at": since},
        occurred_at=now,
    )
    return number, await certificates.revoke(caller, number, since, event)
