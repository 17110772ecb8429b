"""The vault's law: forgetting one person closes all that was sealed for them, and nothing else."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from kit.database import Database
from kit.personal_data import Vault, key_name
from kit.secrets import SealBroken

SECRET = b"the hub's own secret of 32 bytes"
CARD = "04A2BF11223344"
OTHER = "04FFEE99887766"


class SetClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2024, 12, 19, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def vault(clock: SetClock) -> Vault:
    return Vault(SECRET, clock)


async def sealed_by(vault: Vault, database: Database, *uids: str) -> list[str]:
    async with database.hot() as connection:
        return await vault.seal_many(connection, uids)


async def opened_by(vault: Vault, database: Database, sealed: str) -> str | None:
    async with database.hot() as connection:
        return await vault.open(connection, sealed)


async def forgotten_by(vault: Vault, database: Database, uid: str) -> bool:
    async with database.hot() as connection:
        return await vault.forget(connection, uid)


async def test_what_is_sealed_opens_on_both_kinds_of_connection(
    vault: Vault, database: Database
) -> None:
    async with database.begin() as connection:
        (one,) = await vault.seal_many(connection, [CARD])
        assert await vault.open(connection, one) == CARD
    (two,) = await sealed_by(vault, database, CARD)
    assert await opened_by(vault, database, two) == CARD
    async with database.begin() as connection:
        assert await vault.open(connection, two) == CARD
        assert await vault.forget(connection, CARD)


async def test_sealing_twice_gives_two_texts_of_one_person(
    vault: Vault, database: Database
) -> None:
    first, again, other = await sealed_by(vault, database, CARD, CARD, OTHER)
    (later,) = await sealed_by(vault, database, CARD)
    assert len({first, again, later, other}) == 4
    assert key_name(first) == key_name(again) == key_name(later) != key_name(other)
    assert all(one.startswith("sealed:v1:") and CARD not in one for one in (first, again, later))


async def test_after_forgetting_nothing_opens_and_the_data_of_others_does(
    vault: Vault, database: Database
) -> None:
    mine = await sealed_by(vault, database, CARD, CARD)
    (theirs,) = await sealed_by(vault, database, OTHER)
    assert await forgotten_by(vault, database, CARD)
    assert [await opened_by(vault, database, one) for one in mine] == [None, None]
    assert await opened_by(vault, database, theirs) == OTHER
    assert not await forgotten_by(vault, database, CARD)


async def test_who_comes_back_is_somebody_new(vault: Vault, database: Database) -> None:
    (before,) = await sealed_by(vault, database, CARD)
    await forgotten_by(vault, database, CARD)
    (after,) = await sealed_by(vault, database, CARD)
    assert await opened_by(vault, database, before) is None
    assert await opened_by(vault, database, after) == CARD
    assert key_name(before) != key_name(after)


async def test_another_process_opens_it_and_forgets_with_us(
    vault: Vault, database: Database, clock: SetClock
) -> None:
    elsewhere = Vault(SECRET, clock)
    (sealed,) = await sealed_by(vault, database, CARD)
    assert await opened_by(elsewhere, database, sealed) == CARD
    assert key_name((await sealed_by(elsewhere, database, CARD))[0]) == key_name(sealed)
    await forgotten_by(vault, database, CARD)
    (under_the_old_key,) = await sealed_by(elsewhere, database, CARD)
    assert await opened_by(elsewhere, database, sealed) is None
    assert await opened_by(elsewhere, database, under_the_old_key) is None
    clock.now += timedelta(seconds=60)
    (anew,) = await sealed_by(elsewhere, database, CARD)
    assert await opened_by(vault, database, anew) == CARD


async def test_a_key_made_in_a_transaction_that_failed_is_not_used_again(
    vault: Vault, database: Database
) -> None:
    async def seal_twice_and_fail() -> None:
        async with database.begin() as connection:
            async with connection.begin_nested():
                await vault.seal_many(connection, [CARD])
            await vault.seal_many(connection, [CARD, OTHER])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await seal_twice_and_fail()
    card, other = await sealed_by(vault, database, CARD, OTHER)
    assert await opened_by(vault, database, card) == CARD
    assert await opened_by(vault, database, other) == OTHER


async def test_forgetting_that_is_undone_is_not_forgetting(
    vault: Vault, database: Database
) -> None:
    (sealed,) = await sealed_by(vault, database, CARD)

    async def forget_and_fail() -> None:
        async with database.hot() as connection:
            await vault.forget(connection, CARD)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await forget_and_fail()
    assert await opened_by(vault, database, sealed) == CARD


async def test_many_at_once_agree_on_one_key_a_person(database: Database, clock: SetClock) -> None:
    uids = [f"CARD{n}" for n in range(20)]
    vaults = [Vault(SECRET, clock) for _ in range(6)]
    answers = await asyncio.gather(
        *(
            sealed_by(vault, database, *(uids if n % 2 else uids[::-1]))
            for n, vault in enumerate(vaults)
        )
    )
    names = {
        (uid, key_name(sealed))
        for n, answer in enumerate(answers)
        for uid, sealed in zip(uids if n % 2 else uids[::-1], answer, strict=True)
    }
    assert len(names) == len(uids)
    assert await opened_by(vaults[0], database, answers[-1][0]) == uids[0]


async def test_memory_is_bounded_and_what_fell_out_still_opens(
    database: Database, clock: SetClock
) -> None:
    vault = Vault(SECRET, clock, most_remembered=2)
    uids = [f"CARD{n}" for n in range(5)]
    sealed = await sealed_by(vault, database, *uids)
    again = await sealed_by(vault, database, *uids)
    assert [key_name(one) for one in again] == [key_name(one) for one in sealed]
    for uid, one in zip(uids, sealed, strict=True):
        assert await opened_by(vault, database, one) == uid


async def test_a_known_person_is_sealed_without_a_query(vault: Vault, database: Database) -> None:
    await sealed_by(vault, database, CARD)
    await sealed_by(vault, database, CARD)
    async with database.hot() as connection:
        await connection.execute("DROP TABLE kit.subject_key")
        (sealed,) = await vault.seal_many(connection, [CARD])
    assert sealed.startswith("sealed:v1:")


async def test_the_table_tells_neither_uid_nor_key(vault: Vault, database: Database) -> None:
    (sealed,) = await sealed_by(vault, database, CARD)
    async with database.begin() as connection:
        row = (await connection.execute(text("SELECT k::text FROM kit.subject_key AS k"))).scalar()
    assert row is not None
    assert CARD not in row
    assert CARD.encode().hex() not in row
    with pytest.raises(SealBroken):
        await opened_by(Vault(b"x" * 32, SetClock()), database, sealed)


async def test_a_text_that_was_changed_does_not_open(vault: Vault, database: Database) -> None:
    mine, theirs = await sealed_by(vault, database, CARD, OTHER)
    raw, other = (
        base64.urlsafe_b64decode(one.removeprefix("sealed:v1:")) for one in (mine, theirs)
    )
    longer, cut, moved = raw + b"\0", raw[:-1], other[:16] + raw[16:]
    for changed in (longer, cut, moved):
        wrong = "sealed:v1:" + base64.urlsafe_b64encode(changed).decode()
        with pytest.raises(SealBroken):
            await opened_by(vault, database, wrong)


@pytest.mark.parametrize("wrong", ["", CARD, "sealed:v1:", "sealed:v1:????", "sealed:v2:AAAA"])
async def test_what_is_no_sealed_text_is_told_so(
    vault: Vault, database: Database, wrong: str
) -> None:
    with pytest.raises(SealBroken):
        await opened_by(vault, database, wrong)


async def test_no_uids_need_no_database(vault: Vault, database: Database) -> None:
    assert await sealed_by(vault, database) == []


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        Vault(b"short", SetClock())
