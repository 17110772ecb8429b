"""Keeping customer contracts, step by step: order, refusals, and what is told in the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from clearinghouse.customers import flows, model
from clearinghouse.customers.model import BulkReport, CustomerContract, Line, Status, draw_up
from clearinghouse.customers.store import SqlCustomers
from kit import event_log
from kit.database import Database
from roaming.contract_id import ContractId
from roaming.party import PartyId
from roaming.refusal import Malformed

XYZ, ABC = PartyId("FR*XYZ"), PartyId("DE*ABC")
FIRST, SECOND, FOREIGN = "FRXYZ000000001", "FRXYZ000000002", "DEABC000000001"


def now() -> datetime:
    return datetime(2025, 1, 7, 12, tzinfo=UTC)


@pytest.fixture
def customers(database: Database) -> SqlCustomers:
    return SqlCustomers(database)


async def told(database: Database) -> list[dict[str, Any]]:
    async with database.hot() as connection:
        return [dict(one.body) for one in await event_log.read(connection, event_log.START)]


async def keep(customers: SqlCustomers, contract: CustomerContract) -> model.Kept:
    return await flows.keep(contract, caller=contract.evsp, customers=customers, clock=now)


async def keep_many(
    customers: SqlCustomers,
    contents: Iterable[CustomerContract | Malformed],
    *,
    batch: int = flows.BATCH,
    shown: int = model.REJECTIONS_SHOWN,
) -> BulkReport:
    async def lines() -> AsyncIterator[Line]:
        for number, content in enumerate(contents, start=1):
            yield Line(number, content)

    return await flows.keep_many(
        lines(), caller=XYZ, customers=customers, clock=now, batch=batch, shown=shown
    )


async def test_a_kept_contract_is_told_without_its_token_uids(
    customers: SqlCustomers, database: Database
) -> None:
    await keep(customers, draw_up(FIRST, token_uids=["SECRET1"]))
    (body,) = await told(database)
    assert body["contract_id"] == ContractId(FIRST)
    assert (body["tokens"], body["status"], body["created"]) == (1, "active", 1)
    assert "SECRET1" not in str(body)


async def test_keeping_the_same_again_tells_nothing(
    customers: SqlCustomers, database: Database
) -> None:
    await keep(customers, draw_up(FIRST))
    await keep(customers, draw_up(FIRST))
    assert len(await told(database)) == 1


async def test_a_contract_of_another_evsp_is_refused(
    customers: SqlCustomers, database: Database
) -> None:
    with pytest.raises(model.NotYourCustomer):
        await flows.keep(draw_up(FOREIGN), caller=XYZ, customers=customers, clock=now)
    with pytest.raises(model.NotYourCustomer):
        await flows.block(ContractId(FOREIGN), caller=XYZ, customers=customers, clock=now)
    with pytest.raises(model.NotYourCustomer):
        await flows.show(ContractId(FOREIGN), caller=XYZ, customers=customers)
    assert await told(database) == []


async def test_a_refused_contract_changes_nothing(
    customers: SqlCustomers, database: Database
) -> None:
    await keep(customers, draw_up(FOREIGN, token_uids=["A1"]))
    with pytest.raises(model.TokenHeldElsewhere):
        await keep(customers, draw_up(FIRST, token_uids=["B2", "A1"]))
    assert await customers.find(XYZ, ContractId(FIRST)) is None
    assert len(await told(database)) == 1


async def test_two_evsps_that_take_a_uid_at_once_are_both_answered_clearly(
    customers: SqlCustomers,
) -> None:
    results = await asyncio.gather(
        *(
            keep(customers, draw_up(f"{evsp.compact}00000000{n}", token_uids=["A1", f"{evsp}{n}"]))
            for n in range(3)
            for evsp in (XYZ, ABC)
        ),
        return_exceptions=True,
    )
    refused = [one for one in results if isinstance(one, BaseException)]
    assert {type(one) for one in refused} == {model.TokenHeldElsewhere}
    assert len(refused) == 3


async def test_blocking_keeps_all_else_and_is_told_once(
    customers: SqlCustomers, database: Database
) -> None:
    contract = draw_up(FIRST, token_uids=["A1"], display_name="n")
    await keep(customers, contract)
    for _ in range(2):
        blocked = await flows.block(
            contract.contract_id, caller=XYZ, customers=customers, clock=now
        )
        assert blocked == contract.blocked()
    assert await customers.find(XYZ, contract.contract_id) == contract.blocked()
    assert [body["status"] for body in await told(database)] == ["active", "blocked"]


async def test_what_is_not_kept_is_neither_shown_nor_blocked(customers: SqlCustomers) -> None:
    with pytest.raises(model.UnknownCustomerContract):
        await flows.show(ContractId(FIRST), caller=XYZ, customers=customers)
    with pytest.raises(model.UnknownCustomerContract):
        await flows.block(ContractId(FIRST), caller=XYZ, customers=customers, clock=now)


async def test_a_bad_line_stops_no_other_and_all_are_counted(customers: SqlCustomers) -> None:
    await keep(customers, draw_up(FOREIGN, token_uids=["HELD"]))
    await keep(customers, draw_up(FIRST, token_uids=["A1"]))
    report = await keep_many(
        customers,
        [
            draw_up(FIRST, token_uids=["A1"]),
            Malformed("nonsense", field="line", rule="JSON"),
            draw_up(SECOND, token_uids=["HELD"]),
            draw_up(FOREIGN),
            draw_up("FRXYZ000000003", token_uids=["C3"]),
            draw_up(FIRST, token_uids=["A1", "B2"]),
        ],
    )
    assert (report.read, report.rejected) == (6, 3)
    assert (report.kept, report.unchanged) == (model.Kept(created=1, changed=1), 1)
    assert [(one.line, one.field) for one in report.rejections] == [
        (2, "line"),
        (3, "token_uids[0]"),
        (4, "contract_id"),
    ]
    assert await customers.find(XYZ, ContractId(SECOND)) is None


async def test_a_bulk_tells_one_event_a_batch_with_its_count(
    customers: SqlCustomers, database: Database
) -> None:
    contents = [draw_up(f"FRXYZ{n:09}", token_uids=[f"UID{n}"]) for n in range(10)]
    await keep_many(customers, contents, batch=4)
    bodies = await told(database)
    assert [body["created"] for body in bodies] == [4, 4, 2]
    assert "UID" not in str(bodies)


async def test_only_the_first_rejections_are_told_and_all_are_counted(
    customers: SqlCustomers,
) -> None:
    report = await keep_many(customers, [Malformed("no", rule="r") for _ in range(9)], shown=2)
    assert (report.rejected, len(report.rejections)) == (9, 2)


some_lines = some.lists(
    some.builds(
        lambda contract, tokens: (f"FRXYZ{contract:09}", tokens),
        some.integers(1, 3),
        some.lists(some.sampled_from(["A1", "B2", "C3", "HELD"]), max_size=3, unique=True),
    ),
    max_size=8,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lines=some_lines, batch=some.integers(1, 4))
async def test_a_bulk_comes_out_as_if_each_line_came_by_itself(
    database: Database, lines: list[tuple[str, list[str]]], batch: int
) -> None:
    customers = SqlCustomers(database)
    async with database.hot() as connection:
        await connection.execute("TRUNCATE clearinghouse.customer_contract CASCADE")
    await keep(customers, draw_up(FOREIGN, token_uids=["HELD"]))
    await keep_many(customers, [draw_up(one, token_uids=uids) for one, uids in lines], batch=batch)

    expected: dict[str, set[str]] = {}
    for contract_id, uids in lines:
        if "HELD" in uids:
            continue
        for others in expected.values():
            others -= set(uids)
        expected[ContractId(contract_id)] = set(uids)
    page = await customers.page(XYZ, after=None, limit=10)
    assert {str(one.contract_id): set(one.token_uids) for one in page} == expected


async def test_a_blocked_contract_may_become_active_again(customers: SqlCustomers) -> None:
    await keep(customers, draw_up(FIRST, status=Status.BLOCKED))
    await keep(customers, draw_up(FIRST))
    found = await customers.find(XYZ, ContractId(FIRST))
    assert found is not None
    assert found.status is Status.ACTIVE
