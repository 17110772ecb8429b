"""What VAT asks of the outside world: who the two sides are on paper."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from clearinghouse.tax.model import Business
from roaming.party import PartyId


class Businesses(Protocol):
    def details_at(self, party: PartyId, at: datetime) -> Business | None:
        """A party's business details at a moment, out of memory."""
        ...
