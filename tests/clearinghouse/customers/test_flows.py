"""Keeping customer contracts, step by step: order, refusals, and what is told in the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from clearinghouse.customers import flows, model
from clearinghouse.customers.model import (
    BulkReport,
    CustomerContract,
    Line,
    Mode,
    Removal,
    Status,
    Upload,
    UploadState,
    draw_up,
)
from clearinghouse.customers.store import SqlCustomers
from kit import event_log
from kit.database import Database
from roaming.contract_id import ContractId
from roaming.party import PartyId
from roaming.refusal import Malformed

Content = CustomerContract | Removal | Malformed
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


async def slices(contents: Iterable[Content], first: int = 1) -> AsyncIterator[Sequence[Line]]:
    """Two lines at a time, as they would come in parts."""
    lines = [
        Line(number, one, None if isinstance(one, Malformed) else one.contract_id)
        for number, one in enumerate(contents, start=first)
    ]
    for place in range(0, len(lines), 2):
        yield lines[place : place + 2]


async def keep_many(
    customers: SqlCustomers,
    contents: Iterable[Content],
    *,
    batch: int = flows.BATCH,
) -> BulkReport:
    return await flows.keep_many(
        slices(contents), caller=XYZ, customers=customers, clock=now, batch=batch
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
    most = model.REJECTIONS_MOST
    report = await keep_many(customers, [Malformed("no", rule="r") for _ in range(most + 9)])
    assert (report.rejected, len(report.rejections)) == (most + 9, most)
    assert report.unnamed == most + 9


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


class Connection(Exception):
    """It broke."""


async def upload(
    customers: SqlCustomers,
    contents: Sequence[Content],
    *,
    name: str = "u1",
    first: int = 1,
    breaks: bool = False,
    batch: int = 2,
    **asked: Any,
) -> Upload:
    async def coming() -> AsyncIterator[Sequence[Line]]:
        async for lines in slices(contents, first):
            yield lines
        if breaks:
            raise Connection

    return await flows.upload(
        coming(),
        flows.Asked(name, from_line=first, **asked),
        caller=XYZ,
        customers=customers,
        clock=now,
        batch=batch,
    )


async def complete(
    customers: SqlCustomers, lines: int, *, name: str = "u1", confirmed: int | None = None
) -> Upload:
    return await flows.complete(
        name, lines=lines, confirmed=confirmed, caller=XYZ, customers=customers, clock=now
    )


def ours(*numbers: int, **more: Any) -> list[Content]:
    return [draw_up(f"FRXYZ{n:09}", token_uids=[f"UID{n}"], **more) for n in numbers]


async def active(customers: SqlCustomers) -> list[int]:
    page = await customers.page(XYZ, after=None, limit=1000)
    return [int(one.contract_id[5:14]) for one in page if one.status is Status.ACTIVE]


async def test_a_broken_upload_goes_on_where_it_was_kept_and_comes_out_the_same(
    customers: SqlCustomers,
) -> None:
    lines = [*ours(1, 2, 3), Malformed("nonsense", field="line", rule="JSON"), *ours(5, 6, 7)]
    with pytest.raises(Connection):
        await upload(customers, lines[:5], breaks=True)
    half = await flows.show_upload("u1", caller=XYZ, customers=customers)
    assert 2 <= half.lines <= 4
    assert half.report.read == half.lines
    # It sends one line again, which is not counted again.
    whole = await upload(customers, lines[half.lines - 1 :], first=half.lines)
    assert (whole.lines, whole.report.read, whole.report.kept.created) == (7, 7, 6)
    assert [one.line for one in whole.report.rejections] == [4]
    assert (await complete(customers, 7)).state is UploadState.COMPLETE
    assert await active(customers) == [1, 2, 3, 5, 6, 7]


async def test_an_upload_leaves_no_line_out_and_stays_what_it_is(customers: SqlCustomers) -> None:
    await upload(customers, ours(1, 2))
    with pytest.raises(model.LinesMissing):
        await upload(customers, ours(4), first=4)
    with pytest.raises(model.UploadDiffers):
        await upload(customers, ours(3), first=3, mode=Mode.FULL)
    with pytest.raises(model.LinesMissing):
        await complete(customers, 3)
    done = await complete(customers, 2)
    assert await complete(customers, 2) == done
    with pytest.raises(model.UploadDiffers):
        await upload(customers, ours(3), first=3)
    with pytest.raises(model.UnknownUpload):
        await complete(customers, 1, name="u2")
    with pytest.raises(model.BadUpload):
        await upload(customers, [], name="u/2")


async def test_of_two_calls_that_write_one_upload_one_is_told_to_ask(
    customers: SqlCustomers,
) -> None:
    results = await asyncio.gather(
        *(upload(customers, ours(*range(20))) for _ in range(2)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in results) == ["Upload", "UploadElsewhere"]
    known = await flows.show_upload("u1", caller=XYZ, customers=customers)
    assert (known.lines, known.report.kept.created) == (20, 20)


async def test_a_full_list_ends_what_it_does_not_name_only_when_it_has_come_whole(
    customers: SqlCustomers, database: Database
) -> None:
    await keep_many(customers, ours(*range(10)))
    with pytest.raises(Connection):
        await upload(customers, ours(*range(5)), mode=Mode.FULL, breaks=True)
    assert await active(customers) == list(range(10))
    await upload(customers, ours(*range(1, 9), 12), name="u2", mode=Mode.FULL)
    # Told meanwhile, and so newer than the list.
    await keep(customers, draw_up(f"FRXYZ{77:09}"))
    assert await active(customers) == [*range(10), 12, 77]
    done = await complete(customers, 9, name="u2")
    assert (done.ended, done.report.kept) == (2, model.Kept(created=1, changed=0))
    assert await active(customers) == [*range(1, 9), 12, 77]
    assert (await told(database))[-1] == {
        "upload": "u2",
        "mode": "full",
        "lines": 9,
        "ended": 2,
    }
    # What has ended is still known with its card, so that a late record finds it.
    ended = await customers.find(XYZ, ContractId(f"FRXYZ{0:09}"))
    assert ended is not None
    assert (ended.status, ended.token_uids) == (Status.BLOCKED, ("UID0",))
    with pytest.raises(model.UploadDiffers):
        await complete(customers, 4)


async def test_a_full_list_that_would_end_many_stops_until_their_number_is_confirmed(
    customers: SqlCustomers,
) -> None:
    await keep_many(customers, ours(*range(10)))
    with pytest.raises(model.EndsTooMany) as stopped:
        await upload(customers, ours(*range(7)), mode=Mode.FULL, lines=7)
    assert stopped.value.rule is not None
    assert "confirm=3" in stopped.value.rule
    with pytest.raises(model.EndsTooMany):
        await complete(customers, 7, confirmed=2)
    assert await active(customers) == list(range(10))
    assert (await complete(customers, 7, confirmed=3)).ended == 3
    assert await active(customers) == list(range(7))


async def test_a_line_that_is_refused_ends_nobody(customers: SqlCustomers) -> None:
    await keep(customers, draw_up(FOREIGN, token_uids=["HELD"]))
    await keep_many(customers, ours(*range(10)))
    held = draw_up(f"FRXYZ{9:09}", token_uids=["HELD"])
    await upload(customers, [*ours(*range(9)), held], mode=Mode.FULL)
    assert (await complete(customers, 10)).ended == 0
    # Where a line does not tell whom it names, it could be anybody of those that would end.
    unread = Malformed("nonsense", field="line", rule="JSON")
    await upload(customers, [*ours(*range(9)), unread], name="u2", mode=Mode.FULL)
    with pytest.raises(model.EndsTooMany):
        await complete(customers, 10, name="u2")
    assert await active(customers) == list(range(10))


async def test_what_is_removed_is_blocked_and_gives_its_card_back(customers: SqlCustomers) -> None:
    await keep_many(customers, ours(1, 2))
    removals = [Removal(ContractId(f"FRXYZ{n:09}")) for n in (1, 1, 3)]
    report = await keep_many(customers, removals)
    assert (report.kept, report.unchanged) == (model.Kept(created=0, changed=1), 2)
    assert await active(customers) == [2]
    await keep(customers, draw_up(FOREIGN, token_uids=["UID1"]))
    foreign = await keep_many(customers, [Removal(ContractId(FOREIGN))])
    assert (foreign.rejected, foreign.rejections[0].field) == (1, "contract_id")
    found = await customers.find(ABC, ContractId(FOREIGN))
    assert found is not None
    assert found.token_uids == ("UID1",)


async def test_a_list_sent_again_changes_nothing_and_a_mixed_one_only_what_differs(
    customers: SqlCustomers,
) -> None:
    await keep_many(customers, ours(*range(6)), batch=2)
    again = await keep_many(customers, ours(*range(6)), batch=2)
    assert (again.kept, again.unchanged) == (model.NOTHING_KEPT, 6)
    mixed = [*ours(10, 11, 4), *ours(5, status=Status.BLOCKED), *ours(12, 13)]
    report = await keep_many(customers, mixed, batch=2)
    assert (report.kept, report.unchanged) == (model.Kept(created=4, changed=1), 1)
