"""How a supply gets its VAT: the two sides on paper at the time of the fact, then the rules."""

from __future__ import annotations

from datetime import datetime

from clearinghouse.tax import model
from clearinghouse.tax.model import Supply, Treatment
from clearinghouse.tax.ports import Businesses
from roaming.party import PartyId


def treat(
    businesses: Businesses,
    seller: PartyId,
    buyer: PartyId,
    point: str | None,
    at: datetime,
    supply: Supply = Supply.ELECTRICITY,
) -> Treatment | None:
    """The VAT of a supply; None where a side has told no details, so that the agreed rate holds.

    Asked for every charge: it looks nothing up outside this process, and remembers what it decided.
    """
    sells = businesses.details_at(seller, at)
    if sells is None:
        return None
    buys = businesses.details_at(buyer, at)
    if buys is None:
        return None
    return model.treatment(model.facts_of(sells, buys, point, at, supply))
