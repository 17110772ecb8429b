"""The EVSPs of a replay count a record once, however often it comes."""

from __future__ import annotations

import aiohttp

from gridroam.rehearsal.evsp import listening
from roaming.party import PartyId

ALFA, BETA = PartyId("NL*ALF"), PartyId("DE*BET")


async def test_a_repeat_is_told_by_operator_and_id() -> None:
    first = {"delivery_id": "d1", "cdrs": [{"operator": "FR*PD1", "cdr_id": "1", "price": {}}]}
    other = {"delivery_id": "d2", "cdrs": [{"operator": "FR*ABC", "cdr_id": "1"}]}
    async with listening() as endpoints, aiohttp.ClientSession() as session:
        for party, delivery in ((ALFA, first), (ALFA, first), (ALFA, other), (BETA, first)):
            async with session.post(endpoints.url_of(party), json=delivery) as answer:
                assert answer.status == 204
        assert endpoints.count == 3
        assert endpoints.repeats == 1
