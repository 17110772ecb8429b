"""Modules, clauses and papers on PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from kit.database import Database
from marketplace.framework import flows
from marketplace.framework.library import built_in
from marketplace.framework.model import Clause, Clauses
from marketplace.framework.store import (
    SqlShelves,
    clauses_of,
    clauses_table,
    keep_clauses,
    modules_table,
)
from tests.marketplace.fakes import HUB, NOW
from tests.marketplace.framework.modules import module

CLAUSES = Clauses((Clause("liability", 1, "Liability", {"share": 0.5, "n": 99.0}, "Text “x”."),))


async def test_a_module_comes_back_as_it_was_published(database: Database) -> None:
    shelves = SqlShelves(database)
    kept = await flows.publish(shelves, HUB, HUB, module(), NOW)
    library = await flows.read(shelves)
    assert library.find("parking") == kept == module(1)


async def test_clauses_are_kept_once_byte_for_byte(database: Database) -> None:
    async with database.begin() as connection:
        first = await keep_clauses(connection, [CLAUSES, CLAUSES])
        again = await keep_clauses(connection, [CLAUSES])
        assert first == [*again, *again] == [CLAUSES.digest] * 2
        [row] = (await connection.execute(select(clauses_table))).all()
        assert bytes(row.body) == CLAUSES.body
        found = await clauses_of(connection, again)
        assert found[CLAUSES.digest].digest == CLAUSES.digest


@pytest.mark.parametrize("table", ["contract_module", "clauses", "contract_document"])
@pytest.mark.parametrize("verb", ["DELETE FROM {}", "TRUNCATE {}"])
async def test_nothing_is_ever_changed(database: Database, table: str, verb: str) -> None:
    with pytest.raises(DBAPIError, match=r"is append-only|cannot truncate"):
        async with database.begin() as connection:
            await connection.execute(text(verb.format(f"marketplace.{table}")))


async def test_versions_published_at_once_are_numbered_one_after_the_other(
    database: Database,
) -> None:
    shelves = SqlShelves(database)
    wanted = [module(title=f"Parking {n}") for n in range(8)]
    made = await asyncio.gather(
        *(flows.publish(shelves, HUB, HUB, one, NOW) for one in [*wanted, *wanted[:1]])
    )
    library = await flows.read(shelves)
    assert [one.version for one in library.versions("parking")] == list(
        range(1, len(library.versions("parking")) + 1)
    )
    assert {one.title for one in made} == {one.title for one in wanted}


async def test_processes_that_start_at_once_publish_the_library_once(database: Database) -> None:
    await asyncio.gather(*(flows.ensure_library(SqlShelves(database), NOW) for _ in range(4)))
    async with database.begin() as connection:
        rows = (await connection.execute(select(modules_table))).all()
    assert len(rows) == len(built_in())
    assert {(row.version, row.published_by) for row in rows} == {(1, None)}


async def test_a_module_of_another_release_gets_another_version_and_the_operators_stays(
    database: Database,
) -> None:
    shelves = SqlShelves(database)
    # As an older release had two of them, one of which the operator has replaced.
    async with shelves.open() as shelf:
        for one in built_in():
            if one.name in ("liability", "confidentiality"):
                await shelf.add(replace(one, version=1, purpose="Of before."), None, NOW)
    own = next(one for one in built_in() if one.name == "liability")
    await flows.publish(shelves, HUB, HUB, replace(own, purpose="The operator's."), NOW)
    await flows.ensure_library(shelves, NOW)
    await flows.ensure_library(shelves, NOW)
    library = await flows.read(shelves)
    assert [one.purpose for one in library.versions("liability")] == [
        "Of before.",
        "The operator's.",
    ]
    assert len(library.versions("confidentiality")) == 2
    assert len(library.versions("price")) == 1
