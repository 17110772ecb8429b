"""What keeping an EVSP's certificate authorities asks of the outside world."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from cryptography import x509

from clearinghouse.certificates.model import Authorities
from kit.event_log import NewEvent
from roaming.party import PartyId


class Certificates(Protocol):
    async def find(self, evsp: PartyId, serial_numbers: Collection[str]) -> Authorities:
        """The EVSP's authorities, and which of `serial_numbers` it has revoked."""

    async def keep(
        self, evsp: PartyId, certificates: Sequence[x509.Certificate], event: NewEvent
    ) -> None:
        """Keep these as the EVSP's authorities in place of all others, and tell `event` if that is
        a change."""

    async def revoke(
        self, evsp: PartyId, serial_number: str, revoked_at: datetime, event: NewEvent
    ) -> datetime:
        """Keep that a certificate is revoked and tell it; since when it is. What is revoked stays
        so, and no later than it was."""
