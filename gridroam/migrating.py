"""Bring a database's tables up to date, once, whoever comes first."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
from sqlalchemy.engine import make_url

from roaming.refusal import Clash

# It takes a tenth of a start, and most starts find nothing to migrate: hence where it is needed.
if TYPE_CHECKING:
    from alembic.config import Config

# By its place, not by importing it: its own code stands on the roof's.
MIGRATIONS = Path(__file__).parent.parent / "migrations"
# Any number, the same for all: two processes that start at once migrate one after the other.
ADVISORY_LOCK = 7_431_001


class NewerDatabase(Clash):
    """A later gridroam has been here; this one would not understand what it finds."""


def config(url: str | None = None) -> Config:
    """Alembic's settings; the migrations are found beside their package, wherever that is."""
    from alembic.config import Config

    found = Config()
    found.set_main_option("script_location", str(MIGRATIONS))
    found.attributes["url"] = url
    return found


def head() -> str:
    """The newest migration that this code knows."""
    return known()[-1]


def known() -> list[str]:
    """The migrations of this code, oldest first: each file is called by its number and its name."""
    return sorted(file.stem.partition("_")[0] for file in MIGRATIONS.glob("versions/[0-9]*_*.py"))


async def upgrade(url: str) -> None:
    """Run what is missing; NewerDatabase for what is ahead. Costs two queries where nothing is."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(plain)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", ADVISORY_LOCK)
        if await connection.fetchval("SELECT to_regclass('public.alembic_version')"):
            found = await connection.fetchval("SELECT version_num FROM alembic_version")
            if found == head():
                return
            _must_be_known(found)
        await asyncio.to_thread(_run_what_is_missing, plain)
    finally:
        await connection.close()


def _run_what_is_missing(url: str) -> None:
    from alembic import command

    command.upgrade(config(url), "head")


def _must_be_known(version: str) -> None:
    if version not in known():
        raise NewerDatabase(
            f"the database is at migration {version!r}, which this gridroam does not know",
            field="database",
            value=version,
            rule=f"gridroam of that time or later; this one ends at {head()!r}",
        )
