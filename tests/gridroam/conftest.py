"""A whole hub for whoever asks for one, and databases for hubs that are processes of their own."""

from __future__ import annotations

import asyncpg
import pytest

from gridroam import migrating
from tests.hub import hub

__all__ = ["hub", "hub_database_url"]


@pytest.fixture
async def hub_database_url(database_url: str) -> str:
    """A database as a hub that ran before has left it: with its tables, and known to be current."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
    await connection.execute("INSERT INTO alembic_version VALUES ($1)", migrating.head())
    await connection.close()
    return database_url
