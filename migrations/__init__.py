"""The history of the tables, as alembic migrations: one line of them for all wings."""
