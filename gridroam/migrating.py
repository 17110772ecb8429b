"""Bring a database's tables up to date, once, whoever comes first."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.engine import make_url

# By its place, not by importing it: its own code stands on the roof's.
MIGRATIONS = Path(__file__).parent.parent / "migrations"
# Any number, the same for all: two processes that start at once migrate one after the other.
ADVISORY_LOCK = 7_431_001


def config(url: str | None = None) -> Config:
    """Alembic's settings; the migrations are found beside their package, wherever that is."""
    found = Config()
    found.set_main_option("script_location", str(MIGRATIONS))
    found.attributes["url"] = url
    return found


async def upgrade(url: str) -> None:
    """Run what is missing. A database that is up to date costs two queries."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(plain)
    try:
        head = ScriptDirectory.from_config(config()).get_current_head()
        await connection.execute("SELECT pg_advisory_lock($1)", ADVISORY_LOCK)
        known = await connection.fetchval("SELECT to_regclass('public.alembic_version')")
        if known and head == await connection.fetchval("SELECT version_num FROM alembic_version"):
            return
        await asyncio.to_thread(command.upgrade, config(plain), "head")
    finally:
        await connection.close()
