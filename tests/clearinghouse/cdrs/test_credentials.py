"""Whose charge it is, read from what customers and authorisation keep."""

from __future__ import annotations

from clearinghouse.cdrs import flows
from clearinghouse.cdrs.life import State
from kit.database import Database, Hot
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from tests.clearinghouse.cdrs.fakes import (
    CONTRACT,
    EVSP,
    NOON,
    OPERATOR,
    intake_of,
    keep_customer,
    submission,
)


async def test_a_blocked_contract_is_billed_only_for_what_was_authorised(
    database: Database,
) -> None:
    await keep_customer(database, status="blocked")
    async with database.hot() as connection:
        await authorise(connection, "auth-1", CONTRACT, EvseId("FR*PD1*E1"))
    intake = intake_of(database)
    refused, given = await flows.receive(
        [submission("A-1"), submission("A-2", authorisation_id="auth-1")], intake=intake
    )
    assert [reason.name for reason in refused.cdr.reasons] == ["contract-blocked"]
    assert given.cdr.state is State.ACCEPTED


async def test_an_authorisation_alone_names_the_customer(database: Database) -> None:
    async with database.hot() as connection:
        await authorise(connection, "auth-1", CONTRACT, EvseId("FR*PD1*E1"))
        await authorise(connection, "auth-2", CONTRACT, EvseId("FR*PD1*E2"))
    intake = intake_of(database)
    good, elsewhere = await flows.receive(
        [
            submission("A-1", contract_id=None, authorisation_id="auth-1"),
            submission("A-2", contract_id=None, authorisation_id="auth-2", energy_wh=1),
        ],
        intake=intake,
    )
    assert (good.cdr.state, good.cdr.evsp, good.cdr.contract_id) == (
        State.ACCEPTED,
        EVSP,
        CONTRACT,
    )
    assert [reason.name for reason in elsewhere.cdr.reasons] == [
        "unknown-contract",
        "authorisation-mismatch",
    ]


async def authorise(
    connection: Hot, authorisation_id: str, contract_id: ContractId, evse_id: EvseId
) -> None:
    await connection.execute(
        "INSERT INTO clearinghouse.authorisation (authorisation_id, operator, evse_id,"
        " identification_type, identification_value, services, at, at_given, decided_at,"
        " contract_id, evsp, details) VALUES ($1, $2, $3, 'contract-id', $4, '{charging}', $5,"
        " true, $5, $4, $6, '{}')",
        authorisation_id,
        OPERATOR,
        evse_id,
        contract_id,
        NOON,
        contract_id.provider,
    )
