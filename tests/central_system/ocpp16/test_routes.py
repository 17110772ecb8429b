"""A charge point's day on a real socket: charges, refusals, lost connections, a hub away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from ocpp.v16 import call
from ocpp.v16.enums import ChargePointStatus
from websockets.exceptions import ConnectionClosed, InvalidStatus

from central_system.cards.model import Card, CardStatus
from central_system.ocpp16.session import Limits
from central_system.stations.model import StationRef
from central_system.transactions.model import CdrState
from kit.clock import utc_now
from kit.database import Database
from tests.central_system.fakes import (
    ACCEPTED,
    EVSE,
    OPERATOR,
    OTHER,
    Central,
    FakeHub,
    assemble,
    eventually,
    listening,
    minutes,
)
from tests.central_system.virtual_station import VirtualStation, exchange, open_socket, station

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
CARD = "04AABBCC"


@pytest.fixture
async def central(database: Database) -> AsyncIterator[Central]:
    central = assemble(database, FakeHub(decisions={CARD: ACCEPTED}), trust_station_time=True)
    await central.enrol("CP1", "CP2")
    async with listening(central):
        yield central


async def test_a_charge_becomes_a_record_at_the_clearing_house(central: Central) -> None:
    central.sender.start()
    async with station(central) as point:
        await point.status(ChargePointStatus.preparing, NOON)
        allowed = await point.authorise(CARD)
        assert allowed == {"status": "Accepted", "expiry_date": "2030-01-01T00:00:00.000Z"}
        started = await point.start(CARD, NOON, 1_000)
        assert started.id_tag_info["status"] == "Accepted"
        await point.meter(started.transaction_id, NOON + minutes(30), "5.5", "kWh")
        stopped = await point.stop(started.transaction_id, NOON + minutes(60), 11_000, CARD)
        assert stopped.id_tag_info["status"] == "Accepted"
    await eventually(central.all_sent)
    assert list(central.fake.cdrs.values()) == [
        {
            "cdr_id": f"CP1-{started.transaction_id}",
            "evse_id": EVSE,
            "authorisation_id": "auth-1",
            "token_uid": CARD,
            "start": "2025-03-01T12:00:00+00:00",
            "end": "2025-03-01T13:00:00+00:00",
            "energy_wh": 10_000,
            "periods": [
                {"start": "2025-03-01T12:00:00+00:00", "energy_wh": 4_500},
                {"start": "2025-03-01T12:30:00+00:00", "energy_wh": 5_500},
            ],
        }
    ]
    charge = await central.transactions.find(StationRef(OPERATOR, "CP1"), started.transaction_id)
    assert charge is not None
    assert charge.cdr_state is CdrState.ACCEPTED


async def test_the_hub_is_asked_once_for_an_authorize_and_the_start_that_follows(
    central: Central,
) -> None:
    async with station(central) as point:
        await point.status(ChargePointStatus.preparing, NOON)
        await point.authorise(CARD)
        await point.start(CARD, NOON + minutes(14))
        await point.start(CARD, NOON + minutes(40))
    first, second = central.fake.asked
    assert first == {
        "evse_id": EVSE,
        "identification": {"type": "rfid", "value": CARD},
        "services": ["charging"],
        "charge_id": first["charge_id"],
        "at": "2025-03-01T12:00:00Z",
    }
    assert second["at"] == "2025-03-01T12:40:00Z"
    assert first["charge_id"] != second["charge_id"]
    assert central.fake.askers == [OPERATOR, OPERATOR]


async def test_a_refused_card_is_told_its_reason(central: Central) -> None:
    central.fake.decisions |= {
        "BLOCKED": {"decision": "refused", "reason": "contract-blocked"},
        "EXPIRED": {"decision": "refused", "reason": "contract-expired"},
    }
    async with station(central) as point:
        said = {}
        for card in ("BLOCKED", "EXPIRED", "STRANGER"):
            status = (await point.authorise(card))["status"]
            why = await point.call(call.DataTransfer("org.gridroam", "LastRefusal", card))
            said[card] = (status, json.loads(why.data))
        other = await point.call(call.DataTransfer("org.gridroam", "LastRefusal", "BLOCKED"))
    assert said == {
        "BLOCKED": ("Blocked", {"reason": "contract-blocked", "authorisation_id": "auth-1"}),
        "EXPIRED": ("Expired", {"reason": "contract-expired", "authorisation_id": "auth-2"}),
        "STRANGER": ("Invalid", {"reason": "unknown-contract", "authorisation_id": "auth-3"}),
    }
    assert other.status == "Rejected"


async def test_other_vendors_data_is_refused_by_name(central: Central) -> None:
    async with station(central) as point:
        vendor = await point.call(call.DataTransfer("com.example", "Anything", "x"))
        message = await point.call(call.DataTransfer("org.gridroam", "Anything", "x"))
    assert (vendor.status, message.status) == ("UnknownVendorId", "UnknownMessageId")


async def test_the_operators_own_card_needs_no_hub_and_makes_no_record(central: Central) -> None:
    central.fake.away = True
    await central.cards.put(OPERATOR, [Card.of("staff1", CardStatus.ACCEPTED)])
    async with station(central) as point:
        assert (await point.authorise("STAFF1"))["status"] == "Accepted"
        started = await point.start("Staff1", NOON, 0)
        await point.stop(started.transaction_id, NOON + minutes(10), 500, "staff1")
    assert await central.transactions.unsent_cdrs() == 0
    assert central.fake.cdr_calls == 0


async def test_while_the_hub_is_away_cards_are_refused_and_no_record_is_lost_or_doubled(
    central: Central,
) -> None:
    central.sender.start()
    async with station(central) as point:
        await point.status(ChargePointStatus.preparing, NOON)
        started = await point.start(CARD, NOON, 0)
        central.fake.away = True
        refused = await point.authorise("ANOTHER")
        assert refused["status"] == "Invalid"
        told = await point.call(call.DataTransfer("org.gridroam", "LastRefusal", "ANOTHER"))
        assert json.loads(told.data)["reason"] == "hub-unreachable"
        await point.stop(started.transaction_id, NOON + minutes(60), 7_000, CARD)
        assert await central.transactions.unsent_cdrs() == 1
        central.fake.away = False
        await eventually(central.all_sent)
    assert [cdr["energy_wh"] for cdr in central.fake.cdrs.values()] == [7_000]


async def test_that_the_hub_was_away_is_not_remembered_against_the_card(central: Central) -> None:
    central.fake.away = True
    async with station(central) as point:
        await point.status(ChargePointStatus.preparing, NOON)
        assert (await point.authorise(CARD))["status"] == "Invalid"
        central.fake.away = False
        started = await point.start(CARD, NOON + minutes(1))
    assert started.id_tag_info["status"] == "Accepted"


async def test_a_dropped_station_comes_back_with_its_queue(central: Central) -> None:
    central.sender.start()
    point = VirtualStation("CP1", await open_socket(central))
    await point.boot()
    started = await point.start(CARD, NOON, 100)
    await point.drop()
    again = VirtualStation("CP1", await open_socket(central))
    await again.meter(started.transaction_id, NOON + minutes(20), "2100")
    await again.stop(started.transaction_id, NOON + minutes(50), 4_100, CARD)
    await again.close()
    await eventually(central.all_sent)
    (cdr,) = central.fake.cdrs.values()
    assert [period["energy_wh"] for period in cdr["periods"]] == [2_000, 2_000]


async def test_the_same_start_and_stop_again_change_nothing(central: Central) -> None:
    central.sender.start()
    async with station(central) as point:
        first = await point.start(CARD, NOON, 0)
        second = await point.start(CARD.lower(), NOON, 0)
        assert second.transaction_id == first.transaction_id
        stopped = await point.stop(first.transaction_id, NOON + minutes(9), 900, CARD)
        await point.meter(first.transaction_id, NOON + minutes(5), "450")
        again = await point.stop(first.transaction_id, NOON + minutes(10), 1_000, CARD)
        assert again == stopped
    # The answer to a start that was lost with its connection is the same on the next one.
    async with station(central) as point:
        third = await point.start(CARD, NOON, 0)
        assert third == first
    await eventually(central.all_sent)
    assert [cdr["energy_wh"] for cdr in central.fake.cdrs.values()] == [900]
    assert len(await central.happened("charge-started")) == 1
    assert len(await central.happened("charge-stopped")) == 1


async def test_a_repeated_start_keeps_its_first_answer_when_the_hub_is_gone(
    central: Central,
) -> None:
    async with station(central) as point:
        first = await point.start(CARD, NOON)
    central.fake.away = True
    async with station(central) as point:
        second = await point.start(CARD, NOON)
    assert second == first


async def test_a_charge_of_another_station_cannot_be_stopped(central: Central) -> None:
    async with station(central, "CP1") as mine, station(central, "CP2") as other:
        started = await mine.start(CARD, NOON)
        answer = await other.stop(started.transaction_id, NOON + minutes(1), 5)
        assert answer.id_tag_info is None
        await other.meter(started.transaction_id, NOON + minutes(1), "77")
    charge = await central.transactions.find(StationRef(OPERATOR, "CP1"), started.transaction_id)
    assert charge is not None
    assert charge.stopped_at is None
    assert await central.database.pool.fetchval("SELECT count(*) FROM central_system.reading") == 0


async def test_a_stop_of_an_unknown_charge_is_confirmed(central: Central) -> None:
    async with station(central) as point:
        answer = await point.stop(-1, NOON, 5, CARD)
    assert answer.id_tag_info is None


async def test_a_refused_start_without_energy_makes_no_record_and_with_energy_one(
    central: Central,
) -> None:
    central.sender.start()
    central.fake.cdr_state = lambda _: "rejected"
    async with station(central) as point:
        idle = await point.start("STRANGER", NOON, 50)
        assert idle.id_tag_info["status"] == "Invalid"
        await point.stop(idle.transaction_id, NOON + minutes(1), 50)
        taken = await point.start("STRANGER", NOON + minutes(2), 50)
        await point.stop(taken.transaction_id, NOON + minutes(9), 20)
    await eventually(central.all_sent)
    (cdr,) = central.fake.cdrs.values()
    assert (cdr["energy_wh"], len(cdr["periods"])) == (-30, 1)
    row = await central.database.pool.fetchrow(
        "SELECT cdr_state, cdr_reasons FROM central_system.transaction WHERE transaction_id = $1",
        taken.transaction_id,
    )
    assert row is not None
    assert tuple(row) == ("rejected", ["negative-energy"])


async def test_a_connector_that_is_enrolled_later_gives_its_charges_an_evse(
    central: Central,
) -> None:
    central.sender.start()
    async with station(central) as point:
        started = await point.start(CARD, NOON, 0, connector_id=2)
        assert started.id_tag_info["status"] == "Invalid"
        await point.stop(started.transaction_id, NOON + minutes(5), 300)
        await central.database.pool.execute(
            "INSERT INTO central_system.connector (operator, charge_point, connector_id, evse_id)"
            " VALUES ('FR*PD1', 'CP1', 2, 'FRPD1E9')"
        )
        await eventually(lambda: _has_cdr(central))
    (cdr,) = central.fake.cdrs.values()
    assert cdr["evse_id"] == "FR*PD1*E9"


async def _has_cdr(central: Central) -> bool:
    return bool(central.fake.cdrs)


async def test_enrolling_anew_reaches_a_station_that_is_connected(central: Central) -> None:
    async with station(central) as point:
        await point.authorise(CARD)
        await central.enrol("CP1", evses=["FR*PD1*E77"])

        async def asked_there() -> bool:
            await point.authorise(CARD)
            return bool(central.fake.asked[-1]["evse_id"] == "FR*PD1*E77")

        await eventually(asked_there)


async def test_the_log_has_every_message_and_no_card_in_clear(central: Central) -> None:
    async with station(central) as point:
        await point.authorise(CARD)
        await point.call(call.DataTransfer("org.gridroam", "LastRefusal", CARD))
        started = await point.start(CARD, NOON)
        await point.stop(started.transaction_id, NOON + minutes(1), 10, CARD)
        with pytest.raises(Exception, match="idTag"):
            await point.call(call.Authorize(CARD * 3))
    messages = await central.messages()
    assert [(one["direction"], one["action"]) for one in messages] == [
        (direction, action)
        for action in (
            "BootNotification",
            "Authorize",
            "DataTransfer",
            "StartTransaction",
            "StopTransaction",
        )
        for direction in ("in", "out")
    ]
    assert CARD not in await central.all_text_of_log()
    sealed = messages[2]["payload"]["idTag"]
    async with central.database.hot() as connection:
        assert await central.vault.open(connection, sealed) == CARD
    assert {one["unique_id"] for one in messages[2:4]} == {messages[2]["unique_id"]}


async def test_two_stations_at_once_do_not_disturb_each_other(central: Central) -> None:
    central.sender.start()

    async def charge(identity: str, energy_wh: int) -> None:
        async with station(central, identity) as point:
            for n in range(10):
                at = NOON + minutes(n * 10)
                started = await point.start(CARD, at, 0)
                await point.stop(started.transaction_id, at + minutes(5), energy_wh + n)

    await asyncio.gather(charge("CP1", 1_000), charge("CP2", 2_000))
    await eventually(central.all_sent)
    energies = sorted(cdr["energy_wh"] for cdr in central.fake.cdrs.values())
    assert energies == [1_000 + n for n in range(10)] + [2_000 + n for n in range(10)]


async def test_a_second_connection_takes_the_place_of_the_first(central: Central) -> None:
    first = await open_socket(central)
    second = await open_socket(central)
    with pytest.raises(ConnectionClosed) as closed:
        await first.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.reason == "another connection of this charge point"
    answer = await exchange(second, [2, "1", "Heartbeat", {}])
    assert answer[0] == 3
    await second.close()


async def test_a_connection_to_another_process_takes_the_place_as_well(central: Central) -> None:
    elsewhere = assemble(central.database, central.fake)
    first = await open_socket(central)
    async with listening(elsewhere):
        second = await open_socket(elsewhere)
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(10):
                await first.recv()
        assert (await exchange(second, [2, "1", "Heartbeat", {}]))[0] == 3
        await second.close()


@pytest.mark.parametrize(
    ("identity", "operator", "user", "password", "status"),
    [
        ("CP1", OPERATOR, None, "wrong password entirely", 401),
        ("CP1", OPERATOR, "CP2", "correct horse battery", 401),
        ("CP1", OPERATOR, None, None, 401),
        ("CP9", OPERATOR, None, "correct horse battery", 404),
        ("CP1", OTHER, None, "correct horse battery", 404),
        ("CP1/x", OPERATOR, None, "correct horse battery", 404),
    ],
)
async def test_a_stranger_is_refused_before_the_handshake(
    central: Central, identity: str, operator: str, user: str, password: str, status: int
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await open_socket(
            central,
            identity,
            operator=operator,  # type: ignore[arg-type]
            user=user,
            password=password,
        )
    assert refused.value.response.status_code == status
    challenge = refused.value.response.headers.get("WWW-Authenticate", "")
    assert challenge.startswith("Basic ") == (status == 401)


async def test_both_spellings_of_an_operator_lead_to_its_stations(central: Central) -> None:
    dashed = central.url_of
    central.url_of = lambda *a, **k: dashed(*a, **k).replace("FR-PD1", "FRPD1")  # type: ignore[method-assign]
    socket = await open_socket(central)
    assert (await exchange(socket, [2, "1", "Heartbeat", {}]))[0] == 3
    await socket.close()


async def test_without_the_subprotocol_the_connection_ends_at_once(central: Central) -> None:
    for offered in ((), ("ocpp2.0.1",)):
        socket = await open_socket(central, subprotocols=offered)
        assert socket.subprotocol is None
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    preferred = await open_socket(central, subprotocols=("ocpp2.0.1", "ocpp1.6"))
    assert preferred.subprotocol == "ocpp1.6"
    await preferred.close()


async def test_an_operator_has_so_many_connections_and_no_more(database: Database) -> None:
    central = assemble(database, FakeHub(), limits=Limits(connections_of_operator=1))
    await central.enrol("CP1", "CP2")
    async with listening(central):
        first = await open_socket(central, "CP1")
        with pytest.raises(InvalidStatus) as refused:
            await open_socket(central, "CP2")
        assert refused.value.response.status_code == 429
        # The same station again is no further one.
        again = await open_socket(central, "CP1")
        await first.close()
        await again.close()


async def test_a_station_shows_as_connected_while_it_is(central: Central) -> None:
    async def connected() -> bool:
        page = await central.stations.page(OPERATOR, after="", limit=1, now=utc_now())
        return page[0].connected

    assert not await connected()
    async with station(central):
        assert await connected()

    async def gone() -> bool:
        return not await connected()

    await eventually(gone)


async def test_statuses_reach_the_search_and_only_the_newest(central: Central) -> None:
    async with station(central) as point:
        await point.status(ChargePointStatus.available, NOON)
        await point.status(ChargePointStatus.preparing, NOON)
        await point.status(ChargePointStatus.charging, NOON)
        await central.teller.step()
        await central.teller.step()
        assert central.fake.statuses == [("FRPD1E1", "CHARGING")]
        central.fake.away = True
        await point.status(ChargePointStatus.faulted, NOON)
        with pytest.raises(Exception, match="503"):
            await central.teller.step()
        central.fake.away = False
        await point.status(ChargePointStatus.available, NOON)
        await central.teller.step()
    assert central.fake.statuses[1:] == [("FRPD1E1", "AVAILABLE")]
