"""Customer contracts on a real PostgreSQL: one contract a token, one EVSP's rows at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from clearinghouse.customers.model import (
    AuthorisationMode,
    CustomerContract,
    Kept,
    Limits,
    Status,
    TokensRaced,
    draw_up,
)
from clearinghouse.customers.store import SqlCustomers
from kit.database import Database
from roaming.contract_id import ContractId
from roaming.party import PartyId
from roaming.token import TokenUid

XYZ, ABC = PartyId("FR*XYZ"), PartyId("DE*ABC")
NOW = datetime(2025, 1, 7, 12, tzinfo=UTC)
FIRST, SECOND, THIRD = "FRXYZ000000001", "FRXYZ000000002", "FRXYZ000000003"
FOREIGN = "DEABC000000001"


@pytest.fixture
def customers(database: Database) -> SqlCustomers:
    return SqlCustomers(database)


async def keep(customers: SqlCustomers, *contracts: CustomerContract) -> Kept:
    async with customers.write(contracts[0].evsp) as book:
        return await book.keep(contracts, NOW)


async def uids(customers: SqlCustomers, contract_id: str) -> Sequence[str]:
    known = ContractId(contract_id)
    found = await customers.find(known.provider, known)
    assert found is not None
    return found.token_uids


async def test_what_is_kept_is_found_as_it_was(customers: SqlCustomers) -> None:
    contract = draw_up(
        FIRST,
        token_uids=["A1", "B2"],
        valid_from=NOW,
        valid_until=datetime(9999, 12, 31, tzinfo=UTC),
        status=Status.BLOCKED,
        services=["charging", "parking"],
        authorisation=AuthorisationMode.ASK,
        display_name="Zoë, fleet 7",
        limits=Limits("EUR", per_charge_minor=5_000, per_day_minor=9_000),
    )
    assert await keep(customers, contract) == Kept(created=1, changed=0)
    assert await customers.find(XYZ, contract.contract_id) == contract


async def test_a_contract_is_not_found_for_another_party(customers: SqlCustomers) -> None:
    await keep(customers, draw_up(FIRST))
    assert await customers.find(ABC, ContractId(FIRST)) is None


async def test_keeping_the_same_again_changes_nothing(customers: SqlCustomers) -> None:
    contract = draw_up(FIRST, token_uids=["A1"])
    await keep(customers, contract)
    assert await keep(customers, contract) == Kept(0, 0)


@pytest.mark.parametrize(
    "different",
    [
        draw_up(FIRST, token_uids=["A1"], status=Status.BLOCKED),
        draw_up(FIRST, token_uids=["A1"], valid_until=NOW),
        draw_up(FIRST, token_uids=["A1"], display_name="n"),
        draw_up(FIRST, token_uids=["A1"], limits=Limits("EUR", per_day_minor=1)),
        draw_up(FIRST, token_uids=["A1"], authorisation=AuthorisationMode.BOTH),
        draw_up(FIRST, token_uids=["A1", "A2"]),
        draw_up(FIRST),
    ],
)
async def test_keeping_it_differently_is_one_change(
    customers: SqlCustomers, different: CustomerContract
) -> None:
    await keep(customers, draw_up(FIRST, token_uids=["A1"]))
    assert await keep(customers, different) == Kept(created=0, changed=1)
    assert await customers.find(XYZ, ContractId(FIRST)) == different


async def test_a_uid_goes_to_the_contract_of_the_evsp_that_names_it_last(
    customers: SqlCustomers,
) -> None:
    await keep(customers, draw_up(FIRST, token_uids=["A1", "B2"]))
    await keep(customers, draw_up(SECOND, token_uids=["B2"]), draw_up(THIRD, token_uids=["A1"]))
    assert await uids(customers, FIRST) == ()
    assert await uids(customers, SECOND) == ("B2",)
    assert await uids(customers, THIRD) == ("A1",)


async def test_of_two_in_one_batch_the_later_has_the_uid(customers: SqlCustomers) -> None:
    await keep(customers, draw_up(SECOND, token_uids=["A1"]), draw_up(FIRST, token_uids=["A1"]))
    assert await uids(customers, FIRST) == ("A1",)
    assert await uids(customers, SECOND) == ()


async def test_only_the_uids_of_others_are_held_elsewhere(customers: SqlCustomers) -> None:
    await keep(customers, draw_up(FIRST, token_uids=["A1"]))
    await keep(customers, draw_up(FOREIGN, token_uids=["B2"]))
    asked = [TokenUid("A1"), TokenUid("B2"), TokenUid("C3")]
    async with customers.write(XYZ) as book:
        assert await book.held_elsewhere(asked) == {"B2"}


async def test_a_uid_is_never_taken_from_another_evsp(customers: SqlCustomers) -> None:
    await keep(customers, draw_up(FOREIGN, token_uids=["A1"]))
    with pytest.raises(TokensRaced):
        await keep(customers, draw_up(FIRST, token_uids=["A1"]))
    assert await uids(customers, FOREIGN) == ("A1",)
    assert await customers.find(XYZ, ContractId(FIRST)) is None


async def test_of_two_evsps_that_take_a_uid_at_once_one_has_it(customers: SqlCustomers) -> None:
    ours = draw_up(FIRST, token_uids=["A1", "Z9"])
    theirs = draw_up(FOREIGN, token_uids=["Z9", "A1"])
    results = await asyncio.gather(
        keep(customers, ours), keep(customers, theirs), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["Kept", "TokensRaced"]


async def test_pages_show_the_evsps_own_in_order_of_their_id(customers: SqlCustomers) -> None:
    await keep(customers, draw_up(THIRD), draw_up(FIRST, token_uids=["A1"]), draw_up(SECOND))
    await keep(customers, draw_up(FOREIGN))
    first_page = await customers.page(XYZ, after=None, limit=2)
    assert [one.contract_id for one in first_page] == [ContractId(FIRST), ContractId(SECOND)]
    assert first_page[0].token_uids == ("A1",)
    rest = await customers.page(XYZ, after=first_page[-1].contract_id, limit=2)
    assert [one.contract_id for one in rest] == [ContractId(THIRD)]


async def test_an_exception_undoes_the_whole_book(customers: SqlCustomers) -> None:
    async def fail() -> None:
        async with customers.write(XYZ) as book:
            await book.keep([draw_up(FIRST)], NOW)
            raise KeyError("of the caller")

    with pytest.raises(KeyError):
        await fail()
    assert await customers.find(XYZ, ContractId(FIRST)) is None
