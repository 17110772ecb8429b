"""What the ledger's routes ask of the outside world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from clearinghouse.ledger.model import Balance
from roaming.party import PartyId


class Ledger(Protocol):
    async def balances(self, party: PartyId) -> Sequence[Balance]:
        """What a party is owed and owes, over all periods."""
