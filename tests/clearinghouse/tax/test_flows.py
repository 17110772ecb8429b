"""How a supply gets its VAT: by who the two sides are on paper at that time."""

from __future__ import annotations

from datetime import UTC, datetime

from clearinghouse.tax import flows
from clearinghouse.tax.model import Business
from roaming.party import PartyId
from tests.clearinghouse.tax.test_model import NOON, Paper

OPERATOR, EVSP = PartyId("FR*PD1"), PartyId("DE*EVL")
MOVED = datetime(2025, 6, 1, tzinfo=UTC)


class Papers:
    """The EVSP moves from Germany to France on MOVED; the operator has told details since NOON."""

    def details_at(self, party: PartyId, at: datetime) -> Business | None:
        if party == EVSP:
            return Paper("FR" if at >= MOVED else "DE")
        return Paper("FR") if at >= NOON else None


def test_the_details_of_the_time_decide() -> None:
    found = flows.treat(Papers(), OPERATOR, EVSP, "FR", NOON)
    assert found is not None
    assert found.rule == "reverse-charge-dealer"
    later = flows.treat(Papers(), OPERATOR, EVSP, "FR", MOVED)
    assert later is not None
    assert later.rule == "domestic-reverse-charge"


def test_without_details_of_either_side_what_was_agreed_holds() -> None:
    before = datetime(2025, 1, 1, tzinfo=UTC)
    assert flows.treat(Papers(), OPERATOR, EVSP, "FR", before) is None
    assert flows.treat(Papers(), EVSP, OPERATOR, "FR", before) is None
