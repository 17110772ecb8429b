"""What comes of speaking to PostgreSQL when it is gone."""

from __future__ import annotations

import asyncpg

# Of a connection that has been told goodbye and is not closed yet, asyncpg says that its own
# protocol broke.
AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
