"""An operator asks for a customer that it does not know, and is told yes or the one reason why not.

All of it by the public API, EVSPs on real sockets; the map is docs/flows/authorisation.md.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from clearinghouse.certificates.model import to_pem
from kit.clock import utc_now
from tests.clearinghouse.certificates import pki
from tests.flows.world import (
    CARD,
    CONTRACT,
    EVSE,
    OTHER_EVSE,
    SINCE,
    STRANGERS_EVSE,
    World,
    agreed,
    world,
)
from tests.hub import (
    CLEARING_HOUSE,
    Behaviour,
    Hub,
    answering,
    hanging,
    server,
    talking_nonsense,
)

NOBODYS_CARD = "DEADBEEF"


@pytest.fixture
async def day(hub: Hub) -> World:
    return await world(hub)


def is_refused(answer: Any, reason: str) -> None:
    assert (answer["decision"], answer["reason"]) == ("refused", reason)
    assert answer["services"] == []
    assert answer["price"] is None
    assert answer["authorisation_id"]


async def test_a_known_customer_may_charge_and_the_price_is_told(day: World) -> None:
    answer = await day.operator.asks(EVSE, CARD)
    assert (answer["decision"], answer["reason"]) == ("accepted", None)
    assert answer["evsp"] == "FR*XYZ"
    assert answer["contract_id"] == CONTRACT.replace("-", "")
    assert answer["services"] == ["charging"]
    assert answer["price"]["agreement_id"] == day.agreement
    [component] = answer["price"]["components"]
    assert (component["type"], component["price"]) == ("ENERGY", "0.5")


async def test_the_customer_may_also_be_known_by_the_contract_id(day: World) -> None:
    for kind in ("contract-id", "plug-and-charge", "remote"):
        answer = await day.operator.asks(
            EVSE, CONTRACT, identification={"type": kind, "value": CONTRACT}
        )
        assert (kind, answer["decision"]) == (kind, "accepted")


async def test_an_evse_is_found_however_it_is_spelt(day: World) -> None:
    for spelling in ("frpd1e1", "FR-PD1-E1", "FR*PD1*E1"):
        assert (await day.operator.asks(spelling, CARD))["decision"] == "accepted"


async def test_an_evse_that_nobody_told_of_is_unknown(day: World) -> None:
    is_refused(await day.operator.asks("FR*PD1*E999", CARD), "evse-unknown")


async def test_an_evse_of_another_operator_is_unknown_to_this_one(day: World) -> None:
    stranger = await day.hub.partner("NL*STR", "evse-operator")
    await stranger.provides(STRANGERS_EVSE)
    is_refused(await day.operator.asks(STRANGERS_EVSE, CARD), "evse-unknown")
    is_refused(await stranger.asks(EVSE, CARD), "evse-unknown")


async def test_what_is_no_evse_id_is_told_with_field_value_and_rule(day: World) -> None:
    answer = await day.operator.call(
        "POST",
        f"{CLEARING_HOUSE}/authorisations",
        {"evse_id": "not an EVSE", "identification": {"type": "rfid", "value": CARD}},
    )
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body["field"] == "evse_id"
    assert answer.body["value"] == "not an EVSE"
    assert answer.body["rule"]
    assert answer.body["request_id"]


async def test_a_card_that_no_evsp_told_of_is_an_unknown_contract(day: World) -> None:
    is_refused(await day.operator.asks(EVSE, NOBODYS_CARD), "unknown-contract")


async def test_without_an_agreement_there_is_no_roaming(day: World) -> None:
    newcomer = await day.hub.partner("DE*NEW", "evsp")
    await newcomer.keeps("DE-NEW-123456789", "04FFFFFFFFFFFF")
    answer = await day.operator.asks(EVSE, "04FFFFFFFFFFFF")
    is_refused(answer, "no-roaming-agreement")
    # Whose customer it is may be told, so that the two can agree; which one may not.
    assert (answer["evsp"], answer["contract_id"]) == ("DE*NEW", None)


async def test_an_agreement_is_about_its_own_evses_only(day: World) -> None:
    other = await day.hub.partner("DE*SOM", "evsp")
    await other.keeps("DE-SOM-123456789", "04EEEEEEEEEEEE")
    await agreed(day.operator, other, evses=[EVSE])
    assert (await day.operator.asks(EVSE, "04EEEEEEEEEEEE"))["decision"] == "accepted"
    is_refused(await day.operator.asks(OTHER_EVSE, "04EEEEEEEEEEEE"), "no-roaming-agreement")


async def test_a_suspended_agreement_holds_no_longer_and_a_resumed_one_does(day: World) -> None:
    contract = f"/marketplace/contracts/{day.agreement}"
    await day.evsp.post(f"{contract}/suspend", {"reason": "unpaid"})
    is_refused(await day.operator.asks(EVSE, CARD), "no-roaming-agreement")
    await day.evsp.post(f"{contract}/resume")
    assert (await day.operator.asks(EVSE, CARD))["decision"] == "accepted"


async def test_an_agreement_counts_at_the_time_of_the_fact(day: World) -> None:
    before = (SINCE - timedelta(days=1)).isoformat()
    is_refused(await day.operator.asks(EVSE, CARD, at=before), "no-roaming-agreement")


async def test_a_blocked_contract_is_refused_at_once(day: World) -> None:
    assert (await day.operator.asks(EVSE, CARD))["decision"] == "accepted"
    blocked = await day.evsp.call("DELETE", f"{CLEARING_HOUSE}/customer-contracts/{CONTRACT}")
    assert blocked.status == 200
    is_refused(await day.operator.asks(EVSE, CARD), "contract-blocked")


async def test_a_contract_out_of_its_validity_is_expired(day: World) -> None:
    yesterday = (utc_now() - timedelta(days=1)).isoformat()
    await day.evsp.keeps(CONTRACT, CARD, valid_until=yesterday)
    is_refused(await day.operator.asks(EVSE, CARD), "contract-expired")
    earlier = (utc_now() - timedelta(days=2)).isoformat()
    assert (await day.operator.asks(EVSE, CARD, at=earlier))["decision"] == "accepted"


async def test_a_service_that_the_contract_leaves_out_is_not_covered(day: World) -> None:
    answer = await day.operator.asks(EVSE, CARD, services=["charging", "parking"])
    is_refused(answer, "service-not-covered")


@pytest.mark.parametrize(
    ("behaviour", "decision", "reason"),
    [
        (answering({"decision": "accepted"}), "accepted", None),
        (answering({"decision": "refused"}), "refused", "contract-blocked"),
        (answering({"decision": "refused", "reason": "over-limit"}), "refused", "over-limit"),
        (hanging, "refused", "evsp-silent"),
        (talking_nonsense, "refused", "evsp-silent"),
        (answering({"decision": "accepted"}, status=500), "refused", "evsp-silent"),
    ],
    ids=["accepts", "refuses", "over-limit", "hangs", "nonsense", "broken"],
)
async def test_an_evsp_that_wants_to_be_asked_is_asked(
    day: World, behaviour: Behaviour, decision: str, reason: str | None
) -> None:
    await day.evsp.keeps(CONTRACT, CARD, authorisation="ask")
    async with server(behaviour) as evsp:
        await day.evsp.listens_at("authorisation", evsp.url)
        answer = await day.operator.asks(EVSE, CARD)
        assert (answer["decision"], answer["reason"]) == (decision, reason)
        [asked] = evsp.came
    assert asked.json["evse_id"] == EVSE
    assert asked.json["contract_id"] == CONTRACT.replace("-", "")
    assert asked.json["operator"] == "FR*PD1"
    # The operator's own token is between it and the hub.
    assert "Authorization" not in asked.headers


async def test_an_evsp_without_an_endpoint_is_silent_unless_its_silence_accepts(day: World) -> None:
    await day.evsp.keeps(CONTRACT, CARD, authorisation="ask")
    is_refused(await day.operator.asks(EVSE, CARD), "evsp-silent")
    await day.evsp.put(f"{CLEARING_HOUSE}/evsp-policy", {"on_silence": "accept"})
    assert (await day.operator.asks(EVSE, CARD))["decision"] == "accepted"


async def test_where_several_reasons_hold_the_first_in_the_published_order_is_given(
    day: World,
) -> None:
    """Everything is wrong at once; then it is mended, one by one, in the order of INTERFACES."""
    yesterday = (utc_now() - timedelta(days=1)).isoformat()
    wrong: dict[str, Any] = {"authorisation": "ask", "services": ["parking"]}
    await day.evsp.keeps(CONTRACT, CARD, status="blocked", valid_until=yesterday, **wrong)
    agreement = f"/marketplace/contracts/{day.agreement}"
    await day.evsp.post(f"{agreement}/suspend")

    is_refused(await day.operator.asks("FR*PD1*E999", NOBODYS_CARD), "evse-unknown")
    is_refused(await day.operator.asks(EVSE, NOBODYS_CARD), "unknown-contract")
    is_refused(await day.operator.asks(EVSE, CARD), "no-roaming-agreement")
    await day.evsp.post(f"{agreement}/resume")
    is_refused(await day.operator.asks(EVSE, CARD), "contract-blocked")
    await day.evsp.keeps(CONTRACT, CARD, valid_until=yesterday, **wrong)
    is_refused(await day.operator.asks(EVSE, CARD), "contract-expired")
    await day.evsp.keeps(CONTRACT, CARD, **wrong)
    is_refused(await day.operator.asks(EVSE, CARD), "service-not-covered")
    async with server(answering({"decision": "refused", "reason": "over-limit"})) as evsp:
        await day.evsp.listens_at("authorisation", evsp.url)
        # Not asked as long as its answer could change nothing.
        is_refused(await day.operator.asks(EVSE, CARD), "service-not-covered")
        assert evsp.came == []
        await day.evsp.keeps(CONTRACT, CARD, authorisation="ask")
        is_refused(await day.operator.asks(EVSE, CARD), "over-limit")
    is_refused(await day.operator.asks(EVSE, CARD), "evsp-silent")
    await day.evsp.keeps(CONTRACT, CARD)
    assert (await day.operator.asks(EVSE, CARD))["decision"] == "accepted"


async def test_where_the_list_and_the_evsp_both_decide_either_no_holds(day: World) -> None:
    await day.evsp.keeps(CONTRACT, CARD, authorisation="both")
    async with server(answering({"decision": "refused", "reason": "over-limit"})) as evsp:
        await day.evsp.listens_at("authorisation", evsp.url)
        is_refused(await day.operator.asks(EVSE, CARD), "over-limit")
        await day.evsp.keeps(CONTRACT, CARD, authorisation="both", status="blocked")
        is_refused(await day.operator.asks(EVSE, CARD), "contract-blocked")
        assert len(evsp.came) == 1
    await day.evsp.keeps(CONTRACT, CARD, authorisation="both")
    assert (await day.operator.asks(EVSE, CARD))["decision"] == "accepted"


async def test_a_silence_that_accepts_up_to_an_amount_tells_the_operator_which(day: World) -> None:
    await day.evsp.keeps(CONTRACT, CARD, authorisation="ask")
    policy = {"on_silence": "accept", "accept_up_to_minor": 2_000, "currency": "EUR"}
    await day.evsp.put(f"{CLEARING_HOUSE}/evsp-policy", policy)
    answer = await day.operator.asks(EVSE, CARD)
    assert answer["decision"] == "accepted"
    assert answer["max_amount"] == {"currency": "EUR", "amount": "20.00"}
    path = f"{CLEARING_HOUSE}/authorisations/{answer['authorisation_id']}"
    for side in (day.operator, day.evsp):
        told = await side.get(path)
        assert told["max_amount"] == answer["max_amount"]
        assert told["decided_by"] == "policy"
    assert told["policy"]["accept_up_to"] == "20.00 EUR"


async def test_a_card_that_nobody_here_knows_is_shown_to_those_who_want_it_and_no_others(
    day: World,
) -> None:
    willing, shy = await day.hub.partner("DE*SOM", "evsp"), await day.hub.partner("NL*SHY", "evsp")
    agreement = await agreed(day.operator, willing)
    await agreed(day.operator, shy)
    yes = answering({"decision": "accepted", "contract_id": "DE-SOM-123456789"})
    async with (
        server(answering({"decision": "refused"})) as first,
        server(yes) as second,
        server(yes) as third,
    ):
        for evsp, end in ((day.evsp, first), (willing, second), (shy, third)):
            await evsp.listens_at("authorisation", end.url)
        is_refused(await day.operator.asks(EVSE, NOBODYS_CARD), "unknown-contract")
        assert first.came + second.came + third.came == []
        for evsp in (day.evsp, willing):
            policy = {"on_silence": "refuse", "asks_unknown": True}
            await evsp.put(f"{CLEARING_HOUSE}/evsp-policy", policy)
        answer = await day.operator.asks(EVSE, NOBODYS_CARD)
        assert (answer["decision"], answer["evsp"]) == ("accepted", "DE*SOM")
        assert answer["contract_id"].startswith("DESOM123456789")
        assert answer["price"]["agreement_id"] == agreement
        assert third.came == []
        [asked] = second.came
    assert asked.json["identification"] == {"type": "rfid", "value": NOBODYS_CARD}
    assert asked.json["contract_id"] is None
    path = f"{CLEARING_HOUSE}/authorisations/{answer['authorisation_id']}"
    operators = await day.operator.get(path)
    assert (operators["evsps_asked"], operators["asked"]) == (2, [])
    theirs = await willing.get(path)
    assert [one["said"] for one in theirs["asked"]] == ["accepted"]
    assert theirs["evsps_asked"] is None
    # Asked in vain: its own answer, and neither the outcome nor who else was asked.
    in_vain = await day.evsp.get(path)
    assert [one["evsp"] for one in in_vain["asked"]] == ["FR*XYZ"]
    assert (in_vain["decision"], in_vain["evsp"], in_vain["steps"]) == (None, None, [])
    assert "SOM" not in str(in_vain)
    assert (await shy.call("GET", path)).status == 404


async def test_a_vehicle_is_known_by_its_contract_certificate(day: World) -> None:
    root = pki.root()
    await day.evsp.put(f"{CLEARING_HOUSE}/contract-certificates", {"certificates": root.pem})
    begin, years = utc_now() - timedelta(days=1), timedelta(days=730)

    async def asks(leaf: x509.Certificate) -> Any:
        shown = root.hash_data(leaf)
        identification = {
            "type": "plug-and-charge",
            "value": CONTRACT,
            "certificate_hash_data": [asdict(shown)],
            "contract_certificate_chain": to_pem([leaf]),
        }
        return await day.operator.asks(EVSE, CONTRACT, identification=identification)

    leaf = root.contract(CONTRACT, begin=begin, valid=years)
    assert (await asks(leaf))["decision"] == "accepted"
    is_refused(await asks(root.contract("FR-XYZ-999999999", begin=begin)), "unknown-contract")
    is_refused(await asks(pki.root().contract(CONTRACT, begin=begin)), "unknown-contract")
    revoked = f"{CLEARING_HOUSE}/contract-certificates/revoked/{leaf.serial_number:x}"
    await day.evsp.put(revoked, {})
    answer = await asks(leaf)
    is_refused(answer, "contract-blocked")
    told = await day.operator.get(f"{CLEARING_HOUSE}/authorisations/{answer['authorisation_id']}")
    assert told["certificate"]["outcome"] == "revoked"


async def test_a_remote_start_is_decided_like_any_other_by_contract_or_by_card(day: World) -> None:
    for value in (CONTRACT, CARD):
        remote = {"type": "remote", "value": value}
        answer = await day.operator.asks(EVSE, value, identification=remote)
        assert (answer["decision"], answer["evsp"]) == ("accepted", "FR*XYZ")
        path = f"{CLEARING_HOUSE}/authorisations/{answer['authorisation_id']}"
        told = await day.operator.get(path)
        assert (told["identification_type"], told["decided_by"]) == ("remote", "list")
        assert {step["outcome"] for step in told["steps"]} == {"passed"}
    await day.evsp.keeps(CONTRACT, CARD, status="blocked")
    is_refused(await day.operator.asks(EVSE, CARD, identification=remote), "contract-blocked")


async def test_what_a_customer_may_have_is_what_authorising_it_says(day: World) -> None:
    """A look first, then the question itself, for each service and each way to decide."""
    look = {"evse_id": EVSE, "identification": {"type": "rfid", "value": CARD}}

    async def seen() -> Any:
        return await day.operator.post(f"{CLEARING_HOUSE}/customer-services", look)

    for kept in (
        {"services": ["charging", "parking"]},
        {"services": ["charging"], "status": "blocked"},
        {"services": ["parking"], "valid_until": (utc_now() - timedelta(days=1)).isoformat()},
    ):
        await day.evsp.keeps(CONTRACT, CARD, **kept)
        told = await seen()
        assert [one["service"] for one in told["services"]] == kept["services"]
        for one in told["services"]:
            answer = await day.operator.asks(EVSE, CARD, services=[one["service"]])
            assert one["allowed"] is (answer["decision"] == "accepted")
            assert one["reason"] == answer["reason"]
    path = f"{CLEARING_HOUSE}/authorisations/{answer['authorisation_id']}/services"
    assert await day.operator.get(path) == await day.evsp.get(path) == told
    # Where the EVSP has the last word a look asks nobody and leaves it open.
    await day.evsp.keeps(CONTRACT, CARD, authorisation="ask")
    async with server(answering({"decision": "accepted"})) as evsp:
        await day.evsp.listens_at("authorisation", evsp.url)
        [service] = (await seen())["services"]
        assert (service["allowed"], evsp.came) == (None, [])
    await day.evsp.post(f"/marketplace/contracts/{day.agreement}/suspend", {"reason": "unpaid"})
    nothing = await seen()
    assert (nothing["reason"], nothing["services"]) == ("no-roaming-agreement", [])
    assert nothing["contract_id"] is None


async def test_a_decision_is_explained_to_both_sides_and_to_nobody_else(day: World) -> None:
    await day.evsp.keeps(CONTRACT, CARD, status="blocked")
    answer = await day.operator.asks(EVSE, CARD)
    path = f"{CLEARING_HOUSE}/authorisations/{answer['authorisation_id']}"
    for side in (day.operator, day.evsp):
        told = await side.get(path)
        assert [step["reason"] for step in told["steps"] if step["outcome"] == "failed"] == [
            "contract-blocked"
        ]
    stranger = await day.hub.partner("NL*STR", "evsp", "evse-operator")
    assert (await stranger.call("GET", path)).status == 404


async def test_asking_again_about_the_same_charge_gives_the_first_decision(day: World) -> None:
    first = await day.operator.asks(EVSE, CARD, charge_id="charge-1")
    await day.evsp.keeps(CONTRACT, CARD, status="blocked")
    again = await day.operator.asks(EVSE, CARD, charge_id="charge-1")
    assert again == first
    other = await day.operator.call(
        "POST",
        f"{CLEARING_HOUSE}/authorisations",
        {
            "evse_id": OTHER_EVSE,
            "identification": {"type": "rfid", "value": CARD},
            "services": ["charging"],
            "charge_id": "charge-1",
        },
    )
    assert (other.status, other.problem) == (409, "charge-asked-differently")
