"""How those parts of the clearing house are put together that need more than one of its stores."""

from __future__ import annotations

from clearinghouse.periods.store import SqlBooks as Periods
from kit.database import Database


def periods(database: Database) -> Periods:
    """Accounting periods, with what the house itself posts before one is closed."""
    return Periods(database, closings=[])
